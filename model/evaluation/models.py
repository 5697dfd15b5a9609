# SPDX-License-Identifier: Apache-2.0
"""What can be scored: a checkpoint, and three models that show what the scores mean.

One is silent, one talks all the time, and one, the oracle, is told what happens and does what the
policy does that training teaches. They speak in tones.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from ..data.ideal import TURN_FRAMES, IdealPartner
from ..interface import SAMPLE_RATE_HZ, TURN_SAMPLES, Intent, MicroTurn, Priority, StepResult
from ..session import load_session
from .sample import Sample

VOICE_PATIENCE_S = 30.0
_WORD_FRAMES = 18
_FRAME = SAMPLE_RATE_HZ // 50
_CHATTER = ('so', 'well', 'you', 'know', 'i', 'think', 'that', 'is', 'fine')


def tone(frames: int) -> np.ndarray:
    """(3200,) int16: a tone of some frames of 20 ms, then silence."""
    speech = np.zeros(TURN_SAMPLES, np.int16)
    time = np.arange(min(TURN_SAMPLES, frames * _FRAME))
    speech[: len(time)] = np.round(3000 * np.sin(2 * np.pi * 220 * time / SAMPLE_RATE_HZ + 0.5))
    return speech


class SilentModel:
    """Never says or does anything."""

    def reset(self) -> None:
        """Nothing is remembered."""

    def step(self, micro_turn: MicroTurn) -> StepResult:
        """Stays silent."""
        return StepResult(micro_turn.index)


class TalkingModel:
    """Talks all the time, whatever happens."""

    def reset(self) -> None:
        """Nothing is remembered."""

    def step(self, micro_turn: MicroTurn) -> StepResult:
        """Says another word every 400 ms."""
        turn = micro_turn.index
        word = _CHATTER[turn // 2 % len(_CHATTER)] if turn % 2 == 0 else ''
        return StepResult(turn, word, 'speak', tone(TURN_FRAMES if word else 8), voice='tone')


def _spoken(text: str) -> Any:
    words = text.split()
    times = [(word, _WORD_FRAMES * i, _WORD_FRAMES * (i + 1)) for i, word in enumerate(words)]
    return SimpleNamespace(frames=_WORD_FRAMES * len(words), words=times, text=text)


def _words_of(piece: Any) -> str:
    return ' '.join(w for w, at, _ in piece.utterance.words if piece.first <= at < piece.last)


class OracleModel:
    """Does what the ideal partner does that knows the script."""

    def __init__(self) -> None:
        self._results: list[StepResult] = []

    def reset(self) -> None:
        """Forgets the script."""
        self._results = []

    def begin(self, sample: Sample) -> None:
        """Is told what will happen."""
        targets = IdealPartner(_spoken, sample.turns, sample.user_speaks).run(sample.events)
        goal = str(sample.truth.get('goal', ''))
        self._results = []
        own = {piece.start // TURN_FRAMES - 1: piece for piece in targets.own}
        for turn in range(sample.turns):
            text, speech = '', None
            if turn in own:
                piece: Any = own[turn]
                text, speech = _words_of(piece), tone(piece.last - piece.first)
            acts = tuple(
                Intent(skill, arguments, 1.0, Priority.STOP if skill == 'stop' else Priority.NORMAL)
                for when, skill, arguments in targets.acts
                if when == turn
            )
            goals = (goal,) * targets.delegated.count(turn)
            flush = '<flush>' in targets.tokens[turn]
            control = 'flush' if flush else 'silent' if speech is None else 'speak'
            self._results.append(StepResult(turn, text, control, speech, acts, goals, voice='tone'))

    def step(self, micro_turn: MicroTurn) -> StepResult:
        """Does what is right."""
        return self._results[micro_turn.index]


MODELS = {'silent': SilentModel, 'talking': TalkingModel, 'oracle': OracleModel}


def load_model(name: str, seed: int = 0) -> Any:
    """A model by its name.

    Args:
        name: 'silent', 'talking', 'oracle', a checkpoint, or '' for the shipped one.
        seed: Decides the take of a checkpoint's voice.

    Raises:
        ValueError: There is no such checkpoint.
    """
    if name in MODELS:
        return MODELS[name]()
    session = load_session(name, device='cpu', threads=1, seed=seed)
    session.wait_for_voice(VOICE_PATIENCE_S)
    return session
