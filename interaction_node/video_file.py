# SPDX-License-Identifier: Apache-2.0
"""Reads a video file or a folder of images as RGB frames with their times.

Live and offline runs read through the same class, so that both see the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp')
_FOLDER_RATE_HZ = 10.0
_MIN_RATE_HZ, _MAX_RATE_HZ = 0.1, 240.0


class VideoFile:
    """Frames of a video or of a folder of images, in order."""

    def __init__(
        self, path: str | Path, rate_hz: float = 0.0, width: int = 0, height: int = 0
    ) -> None:
        """Opens it and reads the first frame.

        Args:
            path: A file that OpenCV reads, or a folder of PNG, JPEG or BMP images.
            rate_hz: Frames a second to deliver; 0 for the file's own (a folder: 10).
            width: Width to scale to, pixels; 0 keeps the aspect, or the file's own.
            height: Height to scale to, likewise.

        Raises:
            ValueError: The file is missing, holds no frame that can be read, or a number is
                negative.
        """
        for name, value in (('rate_hz', rate_hz), ('width', width), ('height', height)):
            if value < 0:
                raise ValueError(f'{name} is {value}; expected at least 0')
        self.path = Path(path).expanduser()
        self._size = (width, height)
        self._images = self._find_images()
        self.source_rate_hz = _FOLDER_RATE_HZ if self._images else self._probe_rate()
        if self._images and rate_hz:
            self.source_rate_hz = rate_hz
        self.rate_hz = rate_hz or self.source_rate_hz
        self.announced = len(self._images)
        if next(self._source(), None) is None:
            raise ValueError(f'video {str(self.path)!r} has no frame that can be read')

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Reads from the start.

        Yields:
            Seconds since the start, and (height, width, 3) uint8 RGB. Where the rate differs
            from the file's, each time gets the frame that is shown then.
        """
        count = 0
        newest: np.ndarray | None = None
        for number, frame in enumerate(self._source()):
            shown_s = number / self.source_rate_hz
            while newest is not None and self._before(count / self.rate_hz, shown_s):
                yield count / self.rate_hz, newest
                count += 1
            newest = frame
            end_s = (number + 1) / self.source_rate_hz
        while newest is not None and self._before(count / self.rate_hz, end_s):
            yield count / self.rate_hz, newest
            count += 1

    @property
    def duration_s(self) -> float:
        """Length that the file announces, seconds; 0 where it announces none."""
        return self.announced / self.source_rate_hz

    @staticmethod
    def _before(time_s: float, end_s: float) -> bool:
        return time_s < end_s - 1e-6

    def _find_images(self) -> list[Path]:
        if not self.path.exists():
            raise ValueError(f'video {str(self.path)!r} does not exist; expected a file or folder')
        if not self.path.is_dir():
            return []
        found = sorted(p for p in self.path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ValueError(f'folder {str(self.path)!r} holds no image; expected PNG or JPEG')
        return found

    def _probe_rate(self) -> float:
        capture = cv2.VideoCapture(str(self.path))
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        return rate_hz if _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ else _FOLDER_RATE_HZ

    def _source(self) -> Iterator[np.ndarray]:
        yield from self._read_images() if self._images else self._read_video()

    def _read_images(self) -> Iterator[np.ndarray]:
        for path in self._images:
            bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if bgr is None:
                raise ValueError(f'image {str(path)!r} cannot be read')
            yield self._converted(bgr)

    def _read_video(self) -> Iterator[np.ndarray]:
        capture = cv2.VideoCapture(str(self.path))
        try:
            self.announced = max(0, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            while True:
                read, bgr = capture.read()
                if not read:
                    return
                yield self._converted(bgr)
        finally:
            capture.release()

    def _converted(self, bgr: np.ndarray) -> np.ndarray:
        width, height = self._size
        if width or height:
            tall, wide = bgr.shape[:2]
            width = width or max(1, round(wide * height / tall))
            height = height or max(1, round(tall * width / wide))
            smaller = width * height < wide * tall
            method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            bgr = cv2.resize(bgr, (width, height), interpolation=method)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
