# SPDX-License-Identifier: Apache-2.0
"""When the samples of the micro-turns are due on the pacing clock."""

from __future__ import annotations

from interaction_node.model.interface import SAMPLE_RATE_HZ

_JUMP_BACK_S = 0.5
_STALL_S = 1.0
_LEAK = 0.05


class TurnPacer:
    """Predicts the arrival of a sample from those of the samples before it.

    The prediction follows the least delay seen, as later chunks were merely held up on their way;
    it forgets at 5 %, so that a source that is slower than its nominal rate is followed, too.

    The pacing clock is steady, or simulated time, which may pause and jump back; `steady` makes it
    go on from where it was.

    Attributes:
        started: Whether positions and times are tied to each other yet.
    """

    def __init__(self) -> None:
        self.started = False
        self._offset_s = 0.0
        self._observed_s = 0.0
        self._newest_s: float | None = None
        self._shift_s = 0.0

    def steady(self, clock_s: float) -> float:
        """Returns pacing time without jumps back, seconds."""
        if self._newest_s is None or clock_s < self._newest_s - _JUMP_BACK_S:
            self._shift_s += 0.0 if self._newest_s is None else self._newest_s - clock_s
            self._newest_s = clock_s
        self._newest_s = max(self._newest_s, clock_s)
        return clock_s + self._shift_s

    def resync(self, position: float, arrival_s: float) -> None:
        """Ties a position to the time when it arrived, whatever was before."""
        self.started = True
        self._offset_s = arrival_s - position / SAMPLE_RATE_HZ
        self._observed_s = arrival_s

    def observe(self, position: float, arrival_s: float) -> None:
        """Learns from a chunk that ended at `position` and arrived in time."""
        delay_s = arrival_s - self.time_of(position)
        if delay_s > _STALL_S:
            self.resync(position, arrival_s)
            return
        elapsed_s = min(max(arrival_s - self._observed_s, 0.0), _STALL_S)
        self._offset_s += min(delay_s, _LEAK * elapsed_s)
        self._observed_s = max(self._observed_s, arrival_s)

    def wait_for(self, position: float, arrival_s: float) -> None:
        """Expects later arrivals from now on, as a chunk came too late."""
        if arrival_s > self.time_of(position):
            self.resync(position, arrival_s)

    def hold_back(self, samples: float) -> None:
        """Makes everything due later."""
        self._offset_s += samples / SAMPLE_RATE_HZ

    def position(self, time_s: float) -> float:
        """Returns the position that has arrived at a pacing time if nothing is late."""
        return (time_s - self._offset_s) * SAMPLE_RATE_HZ

    def time_of(self, position: float) -> float:
        """Returns the pacing time at which a position should have arrived."""
        return position / SAMPLE_RATE_HZ + self._offset_s
