# SPDX-License-Identifier: Apache-2.0
"""When each sample of a microphone was acquired, and how many were lost."""

from __future__ import annotations

from collections import deque

# A block that is late says nothing, a whole series says that samples are missing.
_SERIES = 25
_LOST_S = 0.1
_FOLLOW = 0.02


class CaptureClock:
    """Counts a device's samples and relates the counter to a steady clock.

    Blocks arrive with jitter of a few milliseconds; the relation follows their mean slowly. Where
    a series of blocks arrives later than their number allows, samples were lost: the counter
    jumps by as many.
    """

    def __init__(self, rate_hz: int) -> None:
        """Starts at sample 0.

        Args:
            rate_hz: Sampling rate of the device.
        """
        self._rate_hz = rate_hz
        self._next = 0
        self._offset_s: float | None = None
        self._recent: deque[float] = deque(maxlen=_SERIES)

    @property
    def next_sample(self) -> int:
        """Number of the sample that comes next."""
        return self._next

    def push(self, frames: int, acquired_s: float, lost: int = 0, overflowed: bool = False) -> int:
        """Counts a block.

        Args:
            frames: Samples in it.
            acquired_s: When its first sample was acquired, as far as the device knows.
            lost: Samples that are known to be lost before it.
            overflowed: Whether the device says that more were lost; time tells how many.

        Returns:
            Number of the block's first sample.
        """
        self._next += lost
        if self._offset_s is None:
            self._offset_s = acquired_s - self._next / self._rate_hz
        if overflowed:
            self._next += max(0, round((acquired_s - self.time_of(self._next)) * self._rate_hz))
        self._recent.append(acquired_s - self._next / self._rate_hz)
        self._next += self._unnoticed()
        self._follow(acquired_s - self._next / self._rate_hz)
        first = self._next
        self._next += frames
        return first

    def time_of(self, sample: float) -> float:
        """Returns when a sample was acquired, seconds on the clock of `acquired_s`."""
        return (self._offset_s or 0.0) + sample / self._rate_hz

    def _unnoticed(self) -> int:
        """Counts samples that were lost without a word from the device."""
        if self._offset_s is None or len(self._recent) < _SERIES:
            return 0
        behind_s = min(self._recent) - self._offset_s
        if behind_s < _LOST_S:
            return 0
        self._recent.clear()
        return round(behind_s * self._rate_hz)

    def _follow(self, deviation_s: float) -> None:
        assert self._offset_s is not None
        step_s = deviation_s - self._offset_s
        # Late blocks are jitter, early ones show that the relation was too late.
        if abs(step_s) < _LOST_S:
            self._offset_s += _FOLLOW * step_s
        elif step_s < 0:
            self._offset_s = deviation_s
