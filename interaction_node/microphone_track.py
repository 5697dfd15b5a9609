# SPDX-License-Identifier: Apache-2.0
"""What the microphone heard, on the axis of the micro-turns.

Positions on this axis count samples from the start of micro-turn 0, without holes. A microphone
counts its own samples; its counter is anchored to the axis by a shift that is a multiple of a
micro-turn, so that windows begin at multiples of 3,200 of the counter. It is anchored anew when
the counter no longer belongs to the present: the microphone was away, or started again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interaction_node.audio_adapter import AudioAdapter, check_chunk
from interaction_node.clock_settings import ClockSettings
from interaction_node.model.interface import SAMPLE_RATE_HZ, TURN_SAMPLES
from interaction_node.once_log import OnceLog
from interaction_node.sample_clock import SampleClock
from interaction_node.sample_timeline import Placement, SampleTimeline
from interaction_node.turn_pacer import TurnPacer

_MISFIT_S = 0.2
_AHEAD_S = 1.0
_LATE_FOR_S = 0.5
_LATE_SHARE = 0.9
_TWICE_S = 1.0


class MicrophoneTrack:
    """Listens to one microphone at a time and puts its samples where they belong.

    Attributes:
        source: Key of the microphone that is listened to, None before the first.
        anchored: Whether its counter is tied to the axis.
        timeline: The samples that wait.
        clock: The counter of the microphone against the ROS clock.
        total: What became of all samples so far.
        anchors: How often a counter was anchored.
    """

    def __init__(self, settings: ClockSettings, pacer: TurnPacer, errors: OnceLog) -> None:
        """Shares the pacer and the errors with the clock that owns it."""
        self.source: str | None = None
        self.anchored = False
        self.timeline = SampleTimeline(round(settings.max_audio_s * SAMPLE_RATE_HZ))
        self.clock = SampleClock()
        self.total = Placement()
        self.anchors = 0
        self._realtime = settings.pace == 'realtime'
        self._takeover_s = settings.takeover_ms / 1000.0
        self._pacer = pacer
        self._errors = errors
        self._adapter = AudioAdapter()
        self._shift = 0
        self._shift_from = 0
        self._shift_before = 0
        self._heard_s = 0.0
        self._late_since_s: float | None = None
        self._late_samples = 0
        self._twice = 0.0

    def push(
        self,
        source: str,
        first_sample: int,
        sample_rate_hz: int,
        channels: int,
        pcm: Sequence[int] | np.ndarray,
        stamp_s: float,
        arrival_s: float,
    ) -> Placement:
        """Places one chunk; see `MicroTurnClock.push_audio`. The stamp must be known."""
        samples = check_chunk(first_sample, sample_rate_hz, channels, pcm)
        length_s = len(samples) / channels / sample_rate_hz
        if source != self.source:
            if self.source is not None and self._is_heard(arrival_s, length_s):
                return self._count(self._ignore(source, round(length_s * SAMPLE_RATE_HZ)))
            self.source, self.anchored, self._adapter = source, False, AudioAdapter()
        placement = Placement()
        stamp_s -= first_sample / sample_rate_hz
        for first, piece in self._adapter.convert(first_sample, sample_rate_hz, channels, samples):
            stamp_of_piece_s = stamp_s + first / SAMPLE_RATE_HZ
            placement += self._place(first, piece, stamp_of_piece_s, arrival_s, length_s)
        return self._count(placement)

    def first_sample(self, position: int) -> int:
        """Returns where the window at `position` begins on the microphone's counter."""
        if position < self._shift_from:
            return position - self._shift_before
        return position - self._shift

    def position(self, first_sample: int) -> int:
        """Returns the position of a sample of the microphone's counter."""
        return first_sample + self._shift

    def ros_time(self, position: float) -> float:
        """Returns the ROS time of a position, seconds; only when anchored."""
        return self.clock.ros_time(position - self._shift)

    def position_at(self, ros_time_s: float) -> float:
        """Returns the position at a ROS time; only when anchored."""
        return self.clock.sample_at(ros_time_s) + self._shift

    def _place(
        self, first: int, pcm: np.ndarray, stamp_s: float, arrival_s: float, length_s: float
    ) -> Placement:
        if not self.anchored:
            self._anchor(first, len(pcm), stamp_s, arrival_s)
        elif self._is_misfit(first, len(pcm), stamp_s, arrival_s):
            if self._is_heard(arrival_s, length_s):
                return self._ignore(self.source, len(pcm))
            self._anchor(first, len(pcm), stamp_s, arrival_s)
        elif self._is_behind_for_long(first, len(pcm), arrival_s):
            self._anchor(first, len(pcm), stamp_s, arrival_s)
        return self._insert(first, pcm, stamp_s, arrival_s)

    def _insert(self, first: int, pcm: np.ndarray, stamp_s: float, arrival_s: float) -> Placement:
        placed = self.timeline.insert(self.position(first), pcm)
        end = self.position(first) + len(pcm)
        self._heard_s = max(self._heard_s, arrival_s)
        self.clock.observe(first, stamp_s)
        if not placed.late:
            self._pacer.observe(end, arrival_s)
        elif self.timeline.begin - end <= TURN_SAMPLES:
            self._pacer.wait_for(end, arrival_s)
        self._watch_for_repetition(placed)
        if placed.dropped:
            self._errors.add('audio.dropped', f'audio is {placed.dropped} samples too far ahead')
        late = ((first, pcm[: placed.late].copy()),) if placed.late else ()
        return placed + Placement(late_pcm=late)

    def _anchor(self, first: int, count: int, stamp_s: float, arrival_s: float) -> None:
        """Puts a counter as close to now as its alignment and the samples that wait allow."""
        low = self.timeline.end
        position = low + (first - low) % TURN_SAMPLES
        if self._realtime and self._pacer.started:
            behind = round(self._pacer.position(arrival_s)) - count - position
            position += max(behind // TURN_SAMPLES, 0) * TURN_SAMPLES
        self._shift_before, self._shift = self._shift, position - first
        self.anchored = True
        self._shift_from = position - first % TURN_SAMPLES
        self.anchors += 1
        self.clock.restart(first, stamp_s)
        self._pacer.resync(position + count, arrival_s)

    def _is_misfit(self, first: int, count: int, stamp_s: float, arrival_s: float) -> bool:
        """Whether a chunk is from another counter than the one that is anchored."""
        start = self.position(first)
        newest = self.timeline.end
        if start + count < newest - _MISFIT_S * SAMPLE_RATE_HZ:
            return self.clock.disagrees(first, stamp_s, _MISFIT_S)
        expected = max(newest, self._pacer.position(arrival_s))
        return start > expected + _AHEAD_S * SAMPLE_RATE_HZ

    def _is_behind_for_long(self, first: int, count: int, arrival_s: float) -> bool:
        """Whether nothing but late chunks has come for so long that it is no mere hold-up."""
        if self.position(first) + count > self.timeline.begin:
            self._late_since_s, self._late_samples = None, 0
            return False
        if self._late_since_s is None:
            self._late_since_s = arrival_s
        self._late_samples += count
        # Two late chunks with a hole between them are not yet a stream that is late.
        if self._late_samples < _LATE_SHARE * _LATE_FOR_S * SAMPLE_RATE_HZ:
            return False
        return arrival_s - self._late_since_s > _LATE_FOR_S

    def _is_heard(self, arrival_s: float, length_s: float) -> bool:
        return arrival_s - self._heard_s < max(self._takeover_s, 2.0 * length_s)

    def _ignore(self, source: str | None, count: int) -> Placement:
        self._errors.add(
            'audio.second_source',
            f'audio from {source!r} has a counter of its own and is ignored while '
            f'{self.source!r} is heard; do two microphones publish?',
        )
        return Placement(foreign=count)

    def _watch_for_repetition(self, placed: Placement) -> None:
        self._twice = max(self._twice + placed.overlap - placed.taken / 2, 0.0)
        if self._twice > _TWICE_S * SAMPLE_RATE_HZ:
            self._errors.add(
                'audio.twice',
                f'audio from {self.source!r} comes twice; do two microphones publish?',
            )

    def _count(self, placement: Placement) -> Placement:
        self.total += Placement(
            taken=placement.taken,
            late=placement.late,
            overlap=placement.overlap,
            foreign=placement.foreign,
            dropped=placement.dropped,
        )
        return placement
