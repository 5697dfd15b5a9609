# SPDX-License-Identifier: Apache-2.0
"""Runs a sample through the model without ROS, in the micro-turns of the live graph."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from interaction_node.clock_settings import ClockSettings
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import (
    SAMPLE_RATE_HZ,
    TURN_SAMPLES,
    InteractionModel,
    MicroTurn,
    StepResult,
    TextInput,
)
from interaction_node.sample_folder import Sample, SampleRecord, turn_end_s

START_S = 1000.0  # any ROS time but 0, which means unknown


class OfflineRun:
    """One sample, stepped as fast as the model can.

    Args:
        sample: What the model perceives.
        model: The model; it is reset first.
    """

    def __init__(self, sample: Sample, model: InteractionModel):
        self._sample = sample
        self._model = model
        self._clock = MicroTurnClock(
            ClockSettings(
                pace='graph',
                lookahead_s=1e9,
                max_text=len(sample.lines) + 1,
                graph_wait_s=0.0,
            )
        )
        self._frames = _frames(sample)
        self._frame = next(self._frames, None)
        self.record = SampleRecord.of(sample)

    def steps(self) -> Iterator[int]:
        """Steps through the sample.

        Yields:
            The index of each micro-turn, after its step.
        """
        self._model.reset()
        for line in self._sample.lines:
            self._clock.push_text(TextInput(line.role, line.text), START_S + line.time_s, 0.0)
        for index in range(self._sample.turns):
            self._push(index)
            ((turn, _),) = self._clock.poll(0.0)
            start_s = time.perf_counter()
            result = self._model.step(turn)
            self._take(turn, result, 1e3 * (time.perf_counter() - start_s))
            yield index

    def _push(self, index: int) -> None:
        """Gives the clock what is heard and seen until the end of a micro-turn."""
        first = index * TURN_SAMPLES
        pcm = self._sample.padded_pcm[first : first + TURN_SAMPLES]
        stamp_s = START_S + first / SAMPLE_RATE_HZ
        self._clock.push_audio(first, SAMPLE_RATE_HZ, 1, pcm, stamp_s, 0.0)
        # One window ahead, as a camera would be: the clock chooses.
        while self._frame is not None and self._frame[0] < turn_end_s(index + 1):
            time_s, rgb = self._frame
            self._clock.push_frame(rgb, START_S + time_s, 0.0)
            self._frame = next(self._frames, None)

    def _take(self, turn: MicroTurn, result: StepResult, step_ms: float) -> None:
        """Records a step, and plays its speech to the model in the next micro-turn."""
        self.record.add_turn(turn.index, step_ms, result.text, result.control)
        for goal in result.plan_goals:
            self.record.add_plan_request(turn.index, goal)
        for intent in result.intents:
            self.record.add_intent(turn.index, **vars(intent))
        first = (turn.index + 1) * TURN_SAMPLES
        if result.speech is not None:
            self._clock.expect_playback(turn.index + 1)
            self._clock.push_playback(first, SAMPLE_RATE_HZ, result.speech, 0.0, 0.0)
            self.record.add_speech(first, result.speech, result.text)


def _frames(sample: Sample) -> Iterator[tuple[float, np.ndarray]]:
    if sample.video is None:
        return iter(())
    from interaction_node.video_file import VideoFile

    return VideoFile(sample.video).frames()
