# SPDX-License-Identifier: Apache-2.0
"""A WAV file that is written at any position and is valid at every moment."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

_HEADER = struct.Struct('<4sI4s4sIHHIIHH4sI')
_MAX_SAMPLES = (2**32 - 1 - _HEADER.size) // 2


class WavTimeline:
    """Mono 16-bit sound on a time line that starts at sample 0; silent where nothing is written."""

    def __init__(self, path: str | Path, rate_hz: int = 16_000) -> None:
        """Creates the file, or empties it.

        Args:
            path: The file; its folder is made where it is missing.
            rate_hz: Sampling rate.

        Raises:
            OSError: The file can't be written.
        """
        path = Path(path).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rate_hz = rate_hz
        self._length = 0
        self._file = path.open('w+b', buffering=0)
        self._write_header()

    @property
    def length(self) -> int:
        """Samples from the start to the end of what was written."""
        return self._length

    def write(self, first_sample: int, pcm: np.ndarray) -> None:
        """Writes samples over what is there.

        Args:
            first_sample: Position of the first one, >= 0.
            pcm: (N,) int16.

        Raises:
            ValueError: The position lies before the start or beyond what a WAV file can hold.
            OSError: The disk is full or the like.
        """
        end = first_sample + len(pcm)
        if first_sample < 0 or end > _MAX_SAMPLES:
            raise ValueError(
                f'first_sample is {first_sample}; expected 0 to {_MAX_SAMPLES - len(pcm)}'
            )
        self._file.seek(_HEADER.size + 2 * first_sample)
        self._file.write(np.ascontiguousarray(pcm, '<i2').tobytes())
        if end > self._length:
            self._length = end
            self._write_header()

    def read(self, first_sample: int, count: int) -> np.ndarray:
        """Reads back up to `count` samples: (N,) int16, fewer at the end."""
        count = max(0, min(count, self._length - first_sample))
        self._file.seek(_HEADER.size + 2 * first_sample)
        return np.frombuffer(self._file.read(2 * count), '<i2').astype(np.int16)

    def extend(self, length: int) -> None:
        """Makes the file at least `length` samples long, silent at its end.

        Raises:
            ValueError: A WAV file can't hold as many.
        """
        if length > self._length:
            self.write(length - 1, np.zeros(1, np.int16))

    def close(self) -> None:
        """Closes the file; it was complete all the time."""
        self._file.close()

    def _write_header(self) -> None:
        # After the samples: a reader never sees a header that promises more than is there.
        size = 2 * self._length
        fmt = (b'fmt ', 16, 1, 1, self._rate_hz, 2 * self._rate_hz, 2, 16)
        header = _HEADER.pack(b'RIFF', _HEADER.size - 8 + size, b'WAVE', *fmt, b'data', size)
        self._file.seek(0)
        self._file.write(header)
