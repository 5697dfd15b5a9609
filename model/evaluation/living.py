# SPDX-License-Identifier: Apache-2.0
"""Lives through a sample: the one way in which anything is scored."""

from __future__ import annotations

import time

import numpy as np

from ..interface import SAMPLE_RATE_HZ, TURN_S, TURN_SAMPLES, InteractionModel, MicroTurn, TextInput
from ..word_times import word_times
from .sample import Lived, Sample


def live(model: InteractionModel, sample: Sample) -> Lived:
    """Steps a model through a sample; it hears itself as it was played.

    Args:
        model: Is reset first.
        sample: What it perceives.
    """
    model.reset()
    begin = getattr(model, 'begin', None)
    if begin is not None:  # the oracle is told what is right
        begin(sample)
    lived = Lived(np.zeros(sample.turns * TURN_SAMPLES, np.int16))
    played = np.zeros((sample.turns + 1) * TURN_SAMPLES, np.int16)
    said: list[tuple[float, str]] = []
    for index in range(sample.turns):
        turn = _micro_turn(sample, played, index)
        begun = time.thread_time()
        result = model.step(turn)
        lived.step_ms.append(1e3 * (time.thread_time() - begun))
        end_s = (index + 1) * TURN_S
        if result.speech is not None:
            first = (index + 1) * TURN_SAMPLES
            played[first : first + TURN_SAMPLES] = result.speech
            if result.text and index + 1 < sample.turns:
                said.append((end_s, result.text))
        lived.acts += [(end_s, i.skill, dict(i.arguments)) for i in result.intents]
        lived.goals += [(end_s, goal) for goal in result.plan_goals]
        lived.heard += [(end_s, word) for word in result.heard]
    lived.pcm = played[: len(lived.pcm)]
    lived.words = word_times(said, lived.pcm)
    return lived


def _micro_turn(sample: Sample, played: np.ndarray, index: int) -> MicroTurn:
    first = index * TURN_SAMPLES
    window = slice(first, first + TURN_SAMPLES)
    heard = sample.pcm[window]
    if sample.echo is not None:
        late = round(sample.echo.delay_s * SAMPLE_RATE_HZ)
        before = np.concatenate([np.zeros(late, np.int16), played])[window]
        mixed = heard + before * 10 ** (sample.echo.level_db / 20)
        heard = np.clip(np.round(mixed), -32768, 32767).astype(np.int16)
    frames = None if sample.pictures is None else sample.pictures[[max(0, index - 1), index]]
    lines = tuple(TextInput(role, text) for turn, role, text in sample.lines if turn == index)
    return MicroTurn(index, first / SAMPLE_RATE_HZ, heard, played[window], frames, text=lines)
