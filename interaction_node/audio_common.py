# SPDX-License-Identifier: Apache-2.0
"""Sound from drivers that publish one of the two message sets called audio_common_msgs.

`AudioStamped` is that of github.com/mgonzs13/audio_common, `AudioDataStamped` with `AudioInfo` that
of github.com/ros-drivers/audio_common (branch ros2). Neither counts samples, so we do.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

GAP_S = 0.1
_SAMPLE_FORMATS = {'S16LE': '<i2', 'S16BE': '>i2', 'S32LE': '<i4', 'F32LE': '<f4', 'U8': 'u1'}


@dataclass(frozen=True)
class Sound:
    """A chunk of sound: interleaved int16, and its place on the driver's counter."""

    first_sample: int
    sample_rate_hz: int
    channels: int
    pcm: np.ndarray


def message_type(name: str) -> type:
    """Finds a message of the installed audio_common_msgs.

    Raises:
        ValueError: There is none of that name.
    """
    try:
        return getattr(importlib.import_module('audio_common_msgs.msg'), name)
    except (ImportError, AttributeError):
        raise ValueError(
            f"parameter 'microphone.message' is {name!r}; expected the package audio_common_msgs "
            'that has this message to be installed'
        ) from None


class AudioCommonReader:
    """Reads messages of either package, and counts their samples."""

    def __init__(self) -> None:
        self._info: tuple[int, int, str] | None = None
        self._next = 0
        self._end_s = math.nan

    def set_info(self, message: Any) -> None:
        """Takes ros-drivers' `AudioInfo`.

        Raises:
            ValueError: The sound is compressed or of an unknown sample format.
        """
        if message.coding_format.upper() not in ('', 'WAVE', 'RAW'):
            raise ValueError(f'coding_format is {message.coding_format!r}; expected WAVE')
        if message.sample_format not in _SAMPLE_FORMATS:
            raise ValueError(
                f'sample_format is {message.sample_format!r}; expected one of '
                f'{", ".join(_SAMPLE_FORMATS)}'
            )
        self._info = message.sample_rate, message.channels, message.sample_format

    def read_stamped(self, message: Any, stamp_s: float) -> Sound:
        """Reads mgonzs13's `AudioStamped`.

        Raises:
            ValueError: It holds no sound, or impossible numbers.
        """
        info, data = message.audio.info, message.audio.audio_data
        for field in ('int16', 'float32', 'int32', 'uint8', 'int8'):
            samples = np.asarray(getattr(data, f'{field}_data'), field)
            if len(samples):
                return self._place(to_int16(samples), info.rate, info.channels, stamp_s)
        raise ValueError('AudioStamped without samples')

    def read_data_stamped(self, message: Any, stamp_s: float) -> Sound:
        """Reads ros-drivers' `AudioDataStamped`.

        Raises:
            ValueError: No `AudioInfo` has come, or the bytes don't fit it.
        """
        if self._info is None:
            raise ValueError('no AudioInfo on audio_info yet; expected it before the sound')
        rate_hz, channels, sample_format = self._info
        raw = bytes(message.audio.data)
        samples = np.frombuffer(raw, _SAMPLE_FORMATS[sample_format])
        return self._place(to_int16(samples), rate_hz, channels, stamp_s)

    def _place(self, pcm: np.ndarray, rate_hz: int, channels: int, stamp_s: float) -> Sound:
        if rate_hz < 1 or channels < 1:
            raise ValueError(f'rate is {rate_hz} Hz, channels {channels}; expected at least 1')
        lost_s = stamp_s - self._end_s
        if lost_s > GAP_S:
            self._next += round(lost_s * rate_hz)
        first, frames = self._next, len(pcm) // channels
        self._next += frames
        self._end_s = stamp_s + frames / rate_hz
        return Sound(first, rate_hz, channels, pcm)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Converts samples of any type to int16; floats have a full scale of 1."""
    kind = samples.dtype
    if kind.kind == 'f':
        return np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype(np.int16)
    if kind == np.uint8:
        return (samples.astype(np.int16) - 128) << 8
    if kind == np.int8:
        return samples.astype(np.int16) << 8
    return (samples >> 16 if kind.itemsize == 4 else samples).astype(np.int16)
