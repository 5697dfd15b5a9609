# SPDX-License-Identifier: Apache-2.0
from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_node.image_conversion import ENCODINGS, compressed_to_rgb, image_to_rgb

BYTES_A_PIXEL = {
    'rgb8': 3,
    'bgr8': 3,
    'rgba8': 4,
    'bgra8': 4,
    'mono8': 1,
    '8UC1': 1,
    'mono16': 2,
    '16UC1': 2,
    '32FC1': 4,
    'yuv422': 2,
    'uyvy': 2,
    'yuv422_yuy2': 2,
    'yuyv': 2,
}


def convert(encoding, pixels, is_bigendian=0, padding=0):
    """Puts (h, w, ...) pixels into a message with `padding` bytes after each row and reads it."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    padded = np.full((height, rows.shape[1] + padding), 0xA5, np.uint8)
    padded[:, : rows.shape[1]] = rows
    data = array('B', padded.tobytes())
    return image_to_rgb(encoding, width, height, padded.shape[1], is_bigendian, data)


@pytest.fixture
def rgb():
    return np.random.default_rng(1).integers(0, 256, (5, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize('padding', [0, 1, 7])
def test_colour_orders(rgb, padding):
    alpha = np.full((5, 6, 1), 77, np.uint8)
    rgba = np.concatenate([rgb, alpha], axis=2)
    bgra = np.concatenate([rgb[..., ::-1], alpha], axis=2)
    for encoding, pixels in (
        ('rgb8', rgb),
        ('bgr8', rgb[..., ::-1]),
        ('rgba8', rgba),
        ('bgra8', bgra),
    ):
        assert np.array_equal(convert(encoding, pixels, padding=padding), rgb), encoding


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_mono_becomes_grey(rgb, encoding):
    converted = convert(encoding, rgb[..., 0], padding=3)
    assert np.array_equal(converted, np.stack([rgb[..., 0]] * 3, axis=2))


@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
@pytest.mark.parametrize(('is_bigendian', 'order'), [(0, '<'), (1, '>')])
def test_16_bits_keep_their_byte_order(encoding, is_bigendian, order):
    levels = np.array([[0, 257, 514, 32896, 65535, 256]], np.uint16)
    converted = convert(encoding, levels.astype(order + 'u2'), is_bigendian)
    assert converted[0, :, 0].tolist() == [0, 1, 2, 128, 255, 1]
    assert np.array_equal(converted[..., 0], converted[..., 2])


@pytest.mark.parametrize(('is_bigendian', 'order'), [(0, '<'), (1, '>')])
def test_float_images_span_their_range_and_nan_is_black(is_bigendian, order):
    depth = np.array([[1.0, 2.0, 3.0], [np.nan, np.inf, -np.inf]], order + 'f4')
    converted = convert('32FC1', depth, is_bigendian)
    assert converted[..., 1].tolist() == [[0, 128, 255], [0, 0, 0]]


@pytest.mark.parametrize('value', [np.nan, 4.0, 3e38])
def test_float_images_without_contrast(value):
    assert not convert('32FC1', np.full((2, 3), value, '<f4')).any()


def test_float_images_of_the_widest_range():
    converted = convert('32FC1', np.array([[-3e38, 0.0, 3e38]], '<f4'))
    assert converted[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')],
)
def test_yuv422_keeps_primary_colours(encoding, order):
    # BT.601, studio range: what these encodings mean.
    colours = {(255, 0, 0): (81, 90, 240), (0, 0, 255): (41, 240, 110), (255,) * 3: (235, 128, 128)}
    for colour, (y, u, v) in colours.items():
        pair = {'uyvy': (u, y, v, y), 'yuyv': (y, u, y, v)}[order]
        converted = convert(encoding, np.array([pair, pair], np.uint8).reshape(2, 2, 2))
        assert np.abs(converted.astype(int) - colour).max() <= 2


def test_the_result_does_not_share_the_message(rgb):
    data = bytearray(rgb.tobytes())
    converted = image_to_rgb('rgb8', 6, 5, 18, 0, data)
    data[:] = bytes(len(data))
    assert np.array_equal(converted, rgb)


@given(
    st.sampled_from(sorted(BYTES_A_PIXEL)),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 5),
    st.integers(0, 1),
    st.randoms(use_true_random=False),
)
def test_every_encoding_gives_rgb_of_its_size(encoding, half, height, padding, big, random):
    width = 2 * half
    step = width * BYTES_A_PIXEL[encoding] + padding
    data = random.randbytes(step * height)
    converted = image_to_rgb(encoding, width, height, step, big, data)
    assert converted.shape == (height, width, 3)
    assert converted.dtype == np.uint8
    assert converted.flags.c_contiguous


def test_all_encodings_are_tested():
    assert set(ENCODINGS) == set(BYTES_A_PIXEL)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('rgb9', 2, 2, 6, 0, bytes(12)), r"encoding is 'rgb9', expected one of rgb8, bgr8"),
        (('rgb8', 0, 2, 0, 0, b''), 'width is 0, expected at least 1'),
        (('rgb8', 2, 0, 6, 0, b''), 'height is 0, expected at least 1'),
        (('rgb8', 2, 2, 5, 0, bytes(10)), 'step is 5, expected at least 6 for rgb8'),
        (('rgb8', 2, 2, 6, 0, bytes(11)), r'data has 11 bytes, expected .* = 12'),
        (('rgb8', 2, 2, 6, 0, b''), r'data has 0 bytes, expected .* = 12'),
        (('rgb8', 2, 2, 6, 0, bytes(13)), r'data has 13 bytes, expected .* = 12'),
        (('uyvy', 3, 2, 6, 0, bytes(12)), 'width is 3, expected an even number for uyvy'),
    ],
)
def test_wrong_fields_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        image_to_rgb(*arguments)


def test_png_is_lossless_and_jpeg_is_near():
    rgb = np.zeros((24, 32, 3), np.uint8)
    rgb[:, :16] = (200, 40, 10)
    for suffix, tolerance in (('.png', 0), ('.jpg', 12)):
        file = cv2.imencode(suffix, rgb[..., ::-1])[1]
        for data in (file.tobytes(), array('B', file.tobytes())):
            converted = compressed_to_rgb(data, suffix)
            assert converted.dtype == np.uint8
            assert np.abs(converted[:, 2:12].astype(int) - rgb[:, 2:12]).max() <= tolerance


@pytest.mark.parametrize('data', [b'', b'not an image', b'\xff\xd8\xff\xe0' + bytes(20)])
def test_what_is_no_image_is_named(data):
    with pytest.raises(ValueError, match=r"data \(\d+ bytes, format 'jpeg'\) is no image"):
        compressed_to_rgb(data, 'jpeg')


def test_a_truncated_png_does_not_crash():
    file = cv2.imencode('.png', np.full((20, 20, 3), 9, np.uint8))[1].tobytes()
    try:
        converted = compressed_to_rgb(file[: len(file) // 2])
    except ValueError:
        return
    assert converted.shape == (20, 20, 3)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'mono16'])
def test_equals_cv_bridge(encoding):
    cv_bridge = pytest.importorskip('cv_bridge')
    image = pytest.importorskip('sensor_msgs.msg').Image
    step = 8 * BYTES_A_PIXEL[encoding]
    data = np.random.default_rng(3).integers(0, 256, step * 4, dtype=np.uint8).tobytes()
    message = image(encoding=encoding, width=8, height=4, step=step, data=array('B', data))
    expected = cv_bridge.CvBridge().imgmsg_to_cv2(message, 'rgb8')
    assert np.array_equal(image_to_rgb(encoding, 8, 4, step, 0, data), expected)
