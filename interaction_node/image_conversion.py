# SPDX-License-Identifier: Apache-2.0
"""Makes RGB arrays of `sensor_msgs/Image` and `CompressedImage` without cv_bridge.

Arguments are the fields of the messages, so that nothing here needs ROS.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

Buffer = bytes | bytearray | memoryview | array | np.ndarray


def image_to_rgb(
    encoding: str, width: int, height: int, step: int, is_bigendian: int, data: Buffer
) -> np.ndarray:
    """Converts an uncompressed image.

    16-bit images are scaled by 255 / 65535, as cv_bridge does; float images from their least to
    their greatest finite value, with black where there is none (no depth).

    Args:
        encoding: One of `ENCODINGS`, as in `sensor_msgs/image_encodings.hpp`.
        width: Columns, >= 1.
        height: Rows, >= 1.
        step: Bytes of a row, padding included.
        is_bigendian: Byte order of 16- and 32-bit values, 0 or 1.
        data: step * height bytes.

    Returns:
        (height, width, 3) uint8 RGB, a copy.

    Raises:
        ValueError: A field is wrong; names it, its value and what was expected.
    """
    if encoding not in _FORMATS:
        raise ValueError(f'encoding is {encoding!r}, expected one of {", ".join(ENCODINGS)}')
    dtype, channels, to_rgb = _FORMATS[encoding]
    for name, value in (('width', width), ('height', height)):
        if value < 1:
            raise ValueError(f'{name} is {value}, expected at least 1')
    if to_rgb in (_uyvy, _yuyv) and width % 2:
        raise ValueError(f'width is {width}, expected an even number for {encoding}')
    row_bytes = width * channels * dtype.itemsize
    if step < row_bytes:
        raise ValueError(f'step is {step}, expected at least {row_bytes} for {encoding}')
    flat = _as_bytes(data)
    if flat.size != step * height:
        raise ValueError(
            f'data has {flat.size} bytes, expected step * height = {step} * {height} = '
            f'{step * height}'
        )
    rows = np.ascontiguousarray(flat.reshape(height, step)[:, :row_bytes])
    values = rows.view(dtype.newbyteorder('>' if is_bigendian else '<'))
    return to_rgb(values.reshape(height, width, channels))


def compressed_to_rgb(data: Buffer, image_format: str = '') -> np.ndarray:
    """Decodes a JPEG, a PNG or whatever else OpenCV reads.

    Args:
        data: The file.
        image_format: `CompressedImage.format`, for the message; the data tell what it is.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ValueError: The data are no image.
    """
    flat = _as_bytes(data)
    try:
        bgr = cv2.imdecode(flat, cv2.IMREAD_COLOR) if flat.size else None
    except cv2.error:
        bgr = None
    if bgr is None:
        raise ValueError(
            f'data ({flat.size} bytes, format {image_format!r}) is no image, expected JPEG or PNG'
        )
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _as_bytes(data: Buffer) -> np.ndarray:
    """Returns (n,) uint8 that share the memory of the data."""
    return np.frombuffer(data, np.uint8)


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return pixels.copy()  # rows without padding still share the message's memory


def _bgr(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _rgba(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)


def _bgra(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)


def _mono(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def _mono16(pixels: np.ndarray) -> np.ndarray:
    return _mono(cv2.convertScaleAbs(pixels.astype(np.uint16), alpha=255.0 / 65535.0))


def _float(pixels: np.ndarray) -> np.ndarray:
    finite = np.isfinite(pixels)
    if not finite.any():
        return np.zeros((*pixels.shape[:2], 3), np.uint8)
    low, high = float(pixels[finite].min()), float(pixels[finite].max())
    scale = 255.0 / (high - low) if high > low else 0.0
    levels = (np.where(finite, pixels, low).astype(np.float64) - low) * scale
    return _mono(np.rint(levels).astype(np.uint8))


def _uyvy(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_YUV2RGB_UYVY)


def _yuyv(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_YUV2RGB_YUY2)


_BYTE, _SHORT, _FLOAT = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)

# encoding: (type of a value, values a pixel, how)
_FORMATS: dict[str, tuple[np.dtype[Any], int, Callable[[np.ndarray], np.ndarray]]] = {
    'rgb8': (_BYTE, 3, _rgb),
    'bgr8': (_BYTE, 3, _bgr),
    'rgba8': (_BYTE, 4, _rgba),
    'bgra8': (_BYTE, 4, _bgra),
    'mono8': (_BYTE, 1, _mono),
    '8UC1': (_BYTE, 1, _mono),
    'mono16': (_SHORT, 1, _mono16),
    '16UC1': (_SHORT, 1, _mono16),
    '32FC1': (_FLOAT, 1, _float),
    'yuv422': (_BYTE, 2, _uyvy),
    'uyvy': (_BYTE, 2, _uyvy),
    'yuv422_yuy2': (_BYTE, 2, _yuyv),
    'yuyv': (_BYTE, 2, _yuyv),
}
ENCODINGS = tuple(_FORMATS)
