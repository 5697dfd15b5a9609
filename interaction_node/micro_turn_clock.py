# SPDX-License-Identifier: Apache-2.0
"""Batches microphone, own voice, camera and text into micro-turns of 200 ms."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from interaction_node.clock_settings import ClockSettings
from interaction_node.frame_buffer import FrameBuffer
from interaction_node.microphone_track import MicrophoneTrack
from interaction_node.model.interface import (
    SAMPLE_RATE_HZ,
    TURN_SAMPLES,
    MicroTurn,
    Missing,
    TextInput,
)
from interaction_node.once_log import OnceLog
from interaction_node.playback_track import PlaybackTrack
from interaction_node.sample_timeline import Placement
from interaction_node.text_queue import TextQueue
from interaction_node.turn_axis import Stamped, TurnAxis, known
from interaction_node.turn_pacer import TurnPacer
from interaction_node.turn_report import TurnReport

Handout = tuple[MicroTurn, TurnReport]


class MicroTurnClock:
    """Makes micro-turns of whatever arrives, whenever it arrives.

    Micro-turn n covers 3,200 samples of the microphone's own counter; the ROS clock is tied to the
    counter by an estimate, never the other way round. What is late becomes silence or the last
    frame, flagged and counted. No micro-turn is ever skipped.

    Two clocks come in. Stamps are ROS time in seconds, 0 if unknown. Arrivals and `now_s` are the
    pacing clock: a steady clock (`time.monotonic()`), or, with simulated time, the ROS clock. So a
    jump of the ROS clock only moves stamps, and nothing is due while simulated time pauses.

    All methods may be called from any thread.
    """

    def __init__(self, settings: ClockSettings | None = None) -> None:
        """Starts at micro-turn 0, which begins at the first chunk or the first poll."""
        self._settings = settings or ClockSettings()
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forgets everything and starts at micro-turn 0 again."""
        settings = self._settings
        with self._lock:
            self._errors = OnceLog()
            self._pacer = TurnPacer()
            self._microphone = MicrophoneTrack(settings, self._pacer, self._errors)
            self._axis = TurnAxis(settings, self._pacer, self._microphone, self._errors)
            self._playback = PlaybackTrack(round(settings.max_audio_s * SAMPLE_RATE_HZ))
            self._frames = FrameBuffer(settings.max_frames)
            self._text = TextQueue(settings.max_text)
            self._index = 0
            self._held_since_s: float | None = None
            self._image_given_up = False

    @property
    def offset_s(self) -> float:
        """ROS time minus the microphone's sample clock at the newest sample, seconds."""
        return self._microphone.clock.offset_s

    @property
    def drift_ppm(self) -> float:
        """By how much the ROS clock runs faster than the microphone's, parts per million."""
        return self._microphone.clock.drift_ppm

    def push_audio(
        self,
        first_sample: int,
        sample_rate_hz: int,
        channels: int,
        pcm: Sequence[int] | np.ndarray,
        stamp_s: float,
        arrival_s: float,
        source: str = '',
    ) -> Placement:
        """Takes one chunk of a microphone.

        Args:
            first_sample: Position of the first sample on the source's counter, at its own rate.
            sample_rate_hz: 4,000 to 384,000; other rates than 16,000 are resampled.
            channels: 1 to 32, interleaved; they are averaged.
            pcm: (n * channels,) int16; copied.
            stamp_s: ROS time of the first sample.
            arrival_s: Pacing clock.
            source: Who publishes; one source is listened to at a time.

        Returns:
            What became of the samples, and those that came too late.

        Raises:
            ValueError: As `AudioAdapter.convert`; nothing was taken.
        """
        with self._lock:
            arrival_s = self._pacer.steady(arrival_s)
            stamp = known(stamp_s)
            if stamp is None:
                length_s = len(pcm) / max(channels * sample_rate_hz, 1)
                stamp = self._axis.stamp_of_arrival(arrival_s) - length_s
            return self._microphone.push(
                source, first_sample, sample_rate_hz, channels, pcm, stamp, arrival_s
            )

    def push_playback(
        self,
        first_sample: int,
        sample_rate_hz: int,
        pcm: Sequence[int] | np.ndarray,
        stamp_s: float,
        arrival_s: float,
        ended: bool = False,
    ) -> Placement:
        """Takes what the robot has really played.

        Args:
            first_sample: Position of the first sample on the microphone's 16 kHz counter; if
                negative, the stamp counts.
            sample_rate_hz: 4,000 to 384,000.
            pcm: (n,) int16, n >= 0.
            stamp_s: ROS time at which the first sample sounded.
            arrival_s: Pacing clock.
            ended: Flushed or done; nothing more comes of what was promised.

        Raises:
            ValueError: As `AudioAdapter.convert`; nothing was taken.
        """
        samples = np.asarray(pcm, None if len(pcm) else np.int16)
        with self._lock:
            if first_sample >= 0:
                position = self._microphone.position(first_sample)
            else:
                item = self._stamped(None, 'playback', stamp_s, arrival_s)
                position = self._axis.position_of(item)
            return self._playback.push(position, first_sample >= 0, sample_rate_hz, samples, ended)

    def push_frame(self, rgb: np.ndarray, stamp_s: float, arrival_s: float) -> None:
        """Takes a frame of (h, w, 3) uint8 RGB, which must not be written to afterwards.

        Raises:
            ValueError: Shape or type is wrong.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise ValueError(f'rgb is {rgb.dtype} {rgb.shape}, expected uint8 (h, w, 3)')
        with self._lock:
            item = self._stamped(rgb, 'image', stamp_s, arrival_s)
            self._frames.push(item, self._axis.position_of)
            self._image_given_up = False

    def push_text(self, text: TextInput, stamp_s: float, arrival_s: float) -> None:
        """Takes a line of text; it goes into the window of its stamp, or else into the next."""
        with self._lock:
            if not self._text.push(self._stamped(text, 'text', stamp_s, arrival_s)):
                self._errors.add('text.dropped', f'more than {self._settings.max_text} lines wait')

    def expect_playback(self, index: int) -> None:
        """Says that speech was sent for the window of micro-turn `index`."""
        with self._lock:
            self._playback.expect(index)

    def forget_playback(self) -> None:
        """Says that speech sent so far won't be played, as after a flush."""
        with self._lock:
            self._playback.forget()

    def poll(self, now_s: float, ros_now_s: float | None = None) -> list[Handout]:
        """Returns the micro-turns that are due, oldest first.

        Args:
            now_s: Pacing clock.
            ros_now_s: ROS clock; None if it is the pacing clock.

        Returns:
            In pace 'realtime' all that are due; only the last one is worth an answer (`emit`).
            In pace 'graph' at most one.
        """
        with self._lock:
            now = self._pacer.steady(now_s)
            self._axis.follow_ros_clock((now_s if ros_now_s is None else ros_now_s) - now)
            if self._settings.pace == 'graph':
                return [self._close_window(now)] if self._is_due_in_graph(now) else []
            if not self._pacer.started:
                self._pacer.resync(0, now)
            self._limit_catch_up(now)
            turns = []
            while self._is_due(now):
                turns.append(self._close_window(now))
            return _only_last_emits(turns)

    @property
    def _end(self) -> int:
        return (self._index + 1) * TURN_SAMPLES

    def _stamped(self, content: object, kind: str, stamp_s: float, arrival_s: float) -> Stamped:
        return self._axis.stamped(content, kind, stamp_s, self._pacer.steady(arrival_s))

    def _is_due(self, now: float) -> bool:
        """Everything is there, or time is up."""
        wait_s = now - self._pacer.time_of(self._end)
        if wait_s >= self._settings.jitter_ms / 1000.0:
            return True
        heard = self._microphone.timeline.count(self._end - TURN_SAMPLES, self._end) == TURN_SAMPLES
        without_microphone = self._microphone.source is None and wait_s >= 0.0
        return (heard or without_microphone) and self._playback.is_ready(self._index)

    def _is_due_in_graph(self, now: float) -> bool:
        """The microphone is through with the window, and nothing else is under way."""
        timeline = self._microphone.timeline
        slack = round(self._settings.jitter_ms / 1000.0 * SAMPLE_RATE_HZ)
        heard = timeline.count(timeline.begin, self._end) == TURN_SAMPLES
        if not heard and timeline.end < self._end + slack:
            return False
        if self._held_since_s is None:
            self._held_since_s = now
        waited = now - self._held_since_s >= self._settings.graph_wait_s
        if not waited and not (self._playback.is_ready(self._index) and self._image_is_ready()):
            return False
        self._image_given_up = self._image_given_up or not self._image_is_ready()
        self._held_since_s = None
        return True

    def _image_is_ready(self) -> bool:
        """A camera that kept a micro-turn waiting in vain has ended until it sends again."""
        if not self._settings.wait_for_image or self._image_given_up:
            return True
        return self._frames.reaches(self._end, self._axis.position_of)

    def _limit_catch_up(self, now: float) -> None:
        ahead = self._pacer.position(now) - self._microphone.timeline.end
        excess = ahead - self._settings.max_catch_up_s * SAMPLE_RATE_HZ
        if excess > 0:
            self._pacer.hold_back(excess)
            self._errors.add(
                'clock.jump',
                f'{ahead / SAMPLE_RATE_HZ:.1f} s passed without a poll or a sound, expected at '
                f'most {self._settings.max_catch_up_s} s; the rest is left out',
            )

    def _close_window(self, now: float) -> Handout:
        """Takes everything that belongs to the next window."""
        index, end = self._index, self._end
        begin = end - TURN_SAMPLES
        user_pcm, gap = self._microphone.timeline.take(TURN_SAMPLES)
        own_pcm, unspoken = self._playback.take(index)
        frames, seen = self._frames.newest_two(end, self._axis.position_of)
        frame_age_s = 0.0 if seen is None else max(end - seen, 0.0) / SAMPLE_RATE_HZ
        blind = frames is None or frame_age_s * 1000.0 > self._settings.camera_timeout_ms
        turn = MicroTurn(
            index=index,
            start_s=self._axis.ros_time(begin),
            user_pcm=user_pcm,
            own_pcm=own_pcm,
            frames=frames,
            frame_age_s=frame_age_s,
            text=self._text.take(end, self._axis.position_of),
            missing=_missing(gap > 0, unspoken, blind),
        )
        self._index += 1
        return turn, self._report(turn, end, gap, now)

    def _report(self, turn: MicroTurn, end: int, gap: int, now: float) -> TurnReport:
        microphone, playback = self._microphone, self._playback
        begin = end - TURN_SAMPLES
        first_sample = microphone.first_sample(begin)
        return TurnReport(
            index=turn.index,
            first_sample=first_sample,
            source=microphone.source,
            ros_offset_s=turn.start_s - first_sample / SAMPLE_RATE_HZ,
            drift_ppm=microphone.clock.drift_ppm,
            audio_age_ms=_age_ms(microphone.timeline.newest, end),
            playback_age_ms=_age_ms(playback.timeline.newest, end),
            image_age_ms=-1.0 if turn.frames is None else turn.frame_age_s * 1000.0,
            latency_ms=(now - self._pacer.time_of(end)) * 1000.0,
            missing=turn.missing,
            audio_gap_samples=gap,
            audio_late_samples=microphone.total.late,
            audio_overlap_samples=microphone.total.overlap,
            audio_foreign_samples=microphone.total.foreign,
            audio_dropped_samples=microphone.total.dropped,
            playback_late_samples=playback.late,
            playback_overlap_samples=playback.overlap,
            image_drops=self._frames.drops,
            text_drops=self._text.drops,
            reanchors=microphone.anchors,
            backlog=(microphone.timeline.end - end) // TURN_SAMPLES,
            errors=self._errors.drain(),
        )


def _only_last_emits(turns: list[Handout]) -> list[Handout]:
    """Marks all but the last as too late to answer, and tells how many follow each."""
    last = len(turns) - 1
    return [
        (replace(turn, emit=i == last), replace(report, backlog=last - i))
        for i, (turn, report) in enumerate(turns)
    ]


def _missing(audio: bool, playback: bool, image: bool) -> Missing:
    flags = Missing.AUDIO if audio else Missing.NONE
    flags |= Missing.PLAYBACK if playback else Missing.NONE
    return flags | (Missing.IMAGE if image else Missing.NONE)


def _age_ms(newest: int | None, end: int) -> float:
    """Returns how long before the end of a window the newest sample was, -1 if there is none."""
    return -1.0 if newest is None else max(end - newest, 0) * 1000.0 / SAMPLE_RATE_HZ
