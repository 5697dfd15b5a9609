# SPDX-License-Identifier: Apache-2.0
"""The robot's own voice as it was really played, on the axis of the micro-turns."""

from __future__ import annotations

import numpy as np

from interaction_node.audio_adapter import AudioAdapter, check_chunk
from interaction_node.model.interface import SAMPLE_RATE_HZ, TURN_SAMPLES
from interaction_node.sample_timeline import Placement, SampleTimeline

_SNAP_S = 0.005


class PlaybackTrack:
    """Places what was played and knows in which micro-turns something should have been played.

    Attributes:
        timeline: The samples that wait.
        late: Samples so far that came too late.
        overlap: Samples so far that came again.
    """

    def __init__(self, capacity: int) -> None:
        """Keeps samples up to `capacity` beyond the micro-turns handed out."""
        self.timeline = SampleTimeline(capacity)
        self.late = 0
        self.overlap = 0
        self._adapter = AudioAdapter()
        self._end = 0
        self._promised: set[int] = set()

    def push(
        self, position: int, exact: bool, sample_rate_hz: int, pcm: np.ndarray, ended: bool
    ) -> Placement:
        """Places one chunk.

        Args:
            position: Where its first sample sounded.
            exact: The position is a count, not a stamp, which jitters.
            sample_rate_hz: Rate of `pcm`.
            pcm: (n,) int16; none if n is 0.
            ended: Nothing more comes of what was promised up to here.

        Raises:
            ValueError: As `AudioAdapter.convert`.
        """
        placed = Placement()
        if len(pcm):
            check_chunk(0, sample_rate_hz, 1, pcm)
            exact = exact and sample_rate_hz == SAMPLE_RATE_HZ
            if not exact and abs(position - self._end) <= _SNAP_S * SAMPLE_RATE_HZ:
                position = self._end
            for start, piece in self._convert(position, sample_rate_hz, pcm):
                placed += self._insert(start, piece)
            self._end = position + round(len(pcm) * SAMPLE_RATE_HZ / sample_rate_hz)
        if ended:
            for start, piece in self._adapter.flush():
                placed += self._insert(start, piece)
            self._end_promises(len(pcm) > 0)
        return placed

    def expect(self, index: int) -> None:
        """Notes that speech was sent for the window of a micro-turn that is still to come."""
        if index * TURN_SAMPLES >= self.timeline.begin:
            self._promised.add(index)

    def forget(self) -> None:
        """Expects nothing more."""
        self._promised.clear()

    def is_ready(self, index: int) -> bool:
        """Whether all that was promised for a micro-turn has come."""
        newest = self.timeline.newest
        return index not in self._promised or (
            newest is not None and newest >= (index + 1) * TURN_SAMPLES
        )

    def take(self, index: int) -> tuple[np.ndarray, bool]:
        """Takes the window of a micro-turn.

        Returns:
            (3200,) int16, and whether something was promised and nothing came.
        """
        pcm, silent = self.timeline.take(TURN_SAMPLES)
        promised = index in self._promised
        self._promised = {later for later in self._promised if later > index}
        return pcm, promised and silent == TURN_SAMPLES

    def _convert(
        self, position: int, sample_rate_hz: int, pcm: np.ndarray
    ) -> list[tuple[int, np.ndarray]]:
        """Lets the adapter count from 0; a stream goes on as long as its chunks touch."""
        if sample_rate_hz == SAMPLE_RATE_HZ:
            return [*self._adapter.flush(), (position, pcm)]
        first = self._adapter.continues_at(sample_rate_hz)
        if first is None or position != self._end:
            first = max(round(position * sample_rate_hz / SAMPLE_RATE_HZ), 0)
        return self._adapter.convert(first, sample_rate_hz, 1, pcm)

    def _insert(self, start: int, pcm: np.ndarray) -> Placement:
        placed = self.timeline.insert(start, pcm)
        self.late += placed.late
        self.overlap += placed.overlap
        return placed

    def _end_promises(self, up_to_end: bool) -> None:
        last = (self._end - 1) // TURN_SAMPLES if up_to_end else None
        self._promised = {i for i in self._promised if last is not None and i > last}
