# SPDX-License-Identifier: Apache-2.0
"""Where stamps and arrivals lie on the axis of the micro-turns, and its ROS time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from interaction_node.clock_settings import ClockSettings
from interaction_node.microphone_track import MicrophoneTrack
from interaction_node.model.interface import SAMPLE_RATE_HZ
from interaction_node.once_log import OnceLog
from interaction_node.turn_pacer import TurnPacer

_ROS_JUMP_S = 0.2
_ROS_NOISE_S = 0.005


@dataclass(frozen=True)
class Stamped:
    """Something that arrived, and when.

    Attributes:
        content: A frame or a line of text.
        kind: 'image' or 'text', for messages.
        stamp_s: ROS time, None if unknown.
        arrival: Position that had been heard when it arrived.
    """

    content: Any
    kind: str
    stamp_s: float | None
    arrival: int


class TurnAxis:
    """Translates between ROS time, pacing time and positions (samples since micro-turn 0).

    With a microphone its counter rules; without one, the ROS clock as seen at the last poll.
    """

    def __init__(
        self,
        settings: ClockSettings,
        pacer: TurnPacer,
        microphone: MicrophoneTrack,
        errors: OnceLog,
    ) -> None:
        """Looks at the pacer and the microphone of the clock that owns it."""
        self._lookahead_s = settings.lookahead_s
        self._realtime = settings.pace == 'realtime'
        self._pacer = pacer
        self._microphone = microphone
        self._errors = errors
        self._ros_minus_pacing_s: float | None = None
        self._suspected_s = 0.0

    def follow_ros_clock(self, ros_minus_pacing_s: float) -> None:
        """Learns how far apart the two clocks are; a jump moves the microphone's offset, too."""
        known_s, suspected_s = self._ros_minus_pacing_s, self._suspected_s
        self._suspected_s = ros_minus_pacing_s
        if known_s is None:
            self._ros_minus_pacing_s = known_s = ros_minus_pacing_s
        jump_s = ros_minus_pacing_s - known_s
        # Told twice: between reading one clock and the other, the caller may have been suspended.
        if abs(jump_s) < _ROS_NOISE_S or abs(ros_minus_pacing_s - suspected_s) > _ROS_NOISE_S:
            return
        # In the graph's own pace the stamps of a file have nothing to do with the time of day.
        if self._realtime and abs(jump_s) > _ROS_JUMP_S:
            self._microphone.clock.step(jump_s)
        self._ros_minus_pacing_s = ros_minus_pacing_s

    def stamp_of_arrival(self, arrival_s: float) -> float:
        """Returns the ROS time of a pacing time, seconds."""
        return arrival_s + (self._ros_minus_pacing_s or 0.0)

    def ros_time(self, position: float) -> float:
        """Returns the ROS time of a position, seconds."""
        if self._microphone.anchored:
            return self._microphone.ros_time(position)
        return self.stamp_of_arrival(self._pacer.time_of(position))

    def stamped(self, content: object, kind: str, stamp_s: float, arrival_s: float) -> Stamped:
        """Notes when something arrived."""
        return Stamped(content, kind, known(stamp_s), self._arrival(arrival_s))

    def position_of(self, item: Stamped) -> int:
        """Returns where something belongs: by its stamp, or by its arrival if that is absurd."""
        if item.stamp_s is None:
            return item.arrival
        if not self._pacer.started:
            return round(item.stamp_s * SAMPLE_RATE_HZ)  # in order, though nowhere yet
        if self._microphone.anchored:
            position = round(self._microphone.position_at(item.stamp_s))
        else:
            position = round(self._pacer.position(item.stamp_s - self.stamp_of_arrival(0.0)))
        ahead_s = (position - item.arrival) / SAMPLE_RATE_HZ
        if ahead_s <= self._lookahead_s:
            return position
        self._errors.add(
            f'{item.kind}.stamp',
            f'{item.kind} stamped {ahead_s:.3f} s ahead of its arrival, expected at most '
            f'{self._lookahead_s} s; its arrival counts',
        )
        return item.arrival

    def _arrival(self, arrival_s: float) -> int:
        if not self._pacer.started:
            return 0
        heard = self._microphone.timeline.end
        return max(heard, round(self._pacer.position(arrival_s))) if self._realtime else heard


def known(stamp_s: float) -> float | None:
    """Returns a stamp, or None where the sender left it out."""
    return stamp_s if math.isfinite(stamp_s) and stamp_s > 0 else None
