# SPDX-License-Identifier: Apache-2.0
"""Samples that arrive in pieces, in any order, and leave in windows without holes."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Placement:
    """What became of samples that were pushed; all counts at 16 kHz.

    Attributes:
        taken: Samples that will be part of a micro-turn.
        late: Samples whose micro-turn had been handed out already.
        overlap: Samples that were there already; the first ones stay.
        foreign: Samples of a second microphone.
        dropped: Samples too far ahead to be kept.
        late_pcm: (first sample on the source's 16 kHz counter, (n,) int16) of the late ones.
    """

    taken: int = 0
    late: int = 0
    overlap: int = 0
    foreign: int = 0
    dropped: int = 0
    late_pcm: tuple[tuple[int, np.ndarray], ...] = ()

    def __add__(self, other: Placement) -> Placement:
        return Placement(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )


class SampleTimeline:
    """Disjoint pieces of int16 audio, sorted by position, of which windows are taken in turn.

    Attributes:
        begin: Position of the next sample to be taken.
        newest: Position after the newest sample ever kept, None before the first.
    """

    def __init__(self, capacity: int) -> None:
        """Keeps samples up to `capacity` beyond `begin`."""
        self.begin = 0
        self.newest: int | None = None
        self._capacity = capacity
        self._pieces: list[tuple[int, np.ndarray]] = []

    @property
    def end(self) -> int:
        """Position after the last sample that waits, `begin` if none does."""
        if not self._pieces:
            return self.begin
        start, pcm = self._pieces[-1]
        return start + len(pcm)

    def insert(self, start: int, pcm: np.ndarray) -> Placement:
        """Keeps a copy of what is neither late, nor there already, nor too far ahead.

        Args:
            start: Position of the first sample.
            pcm: (n,) int16.

        Returns:
            Counts; `late_pcm` is left to the caller, who knows the source's counter.
        """
        first = min(max(start, self.begin), start + len(pcm))
        last = max(min(start + len(pcm), self.begin + self._capacity), first)
        taken = 0
        for low, high in self._holes(first, last):
            piece = pcm[low - start : high - start].copy()
            self._pieces.insert(bisect_right(self._pieces, low, key=_start), (low, piece))
            taken += high - low
            self.newest = high if self.newest is None else max(self.newest, high)
        return Placement(
            taken=taken,
            late=first - start,
            overlap=last - first - taken,
            dropped=start + len(pcm) - last,
        )

    def count(self, start: int, stop: int) -> int:
        """Returns how many samples of [start, stop) are there."""
        return stop - start - sum(high - low for low, high in self._holes(start, stop))

    def take(self, count: int) -> tuple[np.ndarray, int]:
        """Takes the next window.

        Returns:
            (count,) int16 with silence where nothing came, and how many samples are silence.
        """
        window = np.zeros(count, np.int16)
        stop = self.begin + count
        filled = 0
        while self._pieces and self._pieces[0][0] < stop:
            start, pcm = self._pieces.pop(0)
            used = min(len(pcm), stop - start)
            window[start - self.begin : start - self.begin + used] = pcm[:used]
            filled += used
            if used < len(pcm):
                self._pieces.insert(0, (stop, pcm[used:]))
        self.begin = stop
        return window, count - filled

    def _holes(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Returns the parts of [start, stop) that no piece covers."""
        holes = []
        index = max(bisect_right(self._pieces, start, key=_start) - 1, 0)
        while start < stop and index < len(self._pieces) and self._pieces[index][0] < stop:
            low, pcm = self._pieces[index]
            if start < low:
                holes.append((start, low))
            start = max(start, low + len(pcm))
            index += 1
        if start < stop:
            holes.append((start, stop))
        return holes


def _start(piece: tuple[int, np.ndarray]) -> int:
    return piece[0]
