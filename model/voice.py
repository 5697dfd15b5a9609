# SPDX-License-Identifier: Apache-2.0
"""The robot's voice: the flow head for what the model words itself, a synthesiser for results."""

from __future__ import annotations

import time

import numpy as np
from torch import Tensor

from .interface import TURN_SAMPLES
from .open_voice import OpenVoice
from .recital import Block, Recital
from .speech_out import SpeechOut

_FLOW = 'flow'
_SPELLED_TURNS = 2


class Voice:
    """Speaks 200 ms at a time.

    Args:
        speech: Flow head and vocoder; None for a checkpoint without, which then stays silent.
        open_voice: Synthesiser of texts outside the trained vocabulary.
        seed: Decides the take of the flow head.

    Attributes:
        patience_s: How long a block of a text may be waited for; 0 in real time.
    """

    def __init__(
        self,
        speech: SpeechOut | None,
        open_voice: OpenVoice,
        seed: int = 0,
    ):
        self._speech, self._open, self._seed = speech, open_voice, seed
        self.patience_s = 0.0
        self._state = speech.start(seed) if speech else None
        self._recitals: list[Recital | _Spelling] = []
        self.finished_text = False

    @property
    def name(self) -> str:
        """Who speaks the words that the model chooses."""
        return _FLOW

    @property
    def reader_name(self) -> str:
        """Who reads texts out."""
        return self._open.engine or _FLOW

    def reset(self) -> None:
        """Forgets what was to be read and starts the voice anew."""
        self._recitals.clear()
        self.finished_text = False
        self._state = self._speech.start(self._seed) if self._speech else None

    def close(self) -> None:
        """Ends the synthesiser."""
        self._open.close()

    def speak(self, words: list[str], hidden_D: Tensor | None) -> np.ndarray:
        """The next 200 ms of what the model says.

        Args:
            words: Words that begin.
            hidden_D: (D,) hidden state of the model.

        Returns:
            (3200,) int16.
        """
        if self._speech is None or self._state is None:
            return np.zeros(TURN_SAMPLES, np.int16)
        return self._speech.speak(self._state, words)

    def stop(self) -> None:
        """The utterance is over."""
        if self._speech is not None and self._state is not None and self._state.block:
            self._state = self._speech.start(self._seed)

    def add_text(self, text: str) -> None:
        """A text is waiting to be read out; its synthesis starts at once."""
        if self._open.engine:
            self._recitals.append(self._open.recite(text))
        else:
            self._recitals.append(_Spelling(self, text))

    def drop_text(self) -> None:
        """The text that is being read was interrupted; the rest of it is dropped."""
        if self._recitals and self._recitals[0].said:
            self._recitals.pop(0)

    def read(self) -> tuple[np.ndarray | None, str]:
        """The next 200 ms of the text that is waiting.

        Returns:
            (3200,) int16 and the words that begin; (None, '') if nothing is ready.
        """
        if not self._recitals:
            return None, ''
        recital = self._recitals[0]
        until = time.monotonic() + self.patience_s
        while not recital.ready and not recital.done and time.monotonic() < until:
            time.sleep(0.005)
        block = recital.block()
        if recital.done:
            self._recitals.pop(0)
            self.finished_text = True
        return (None, '') if block is None else (block.pcm, ' '.join(block.words))


class _Spelling:
    """Reads a text with the flow head, a word every 400 ms, where there is no synthesiser."""

    ready = True

    def __init__(self, voice: Voice, text: str):
        self._voice, self._words = voice, text.lower().split()
        self._turn = 0
        self.said: list[str] = []

    @property
    def done(self) -> bool:
        return not self._words and self._turn % _SPELLED_TURNS == 0

    def block(self) -> Block:
        """The next 200 ms, as `Recital.block`."""
        words = [self._words.pop(0)] if self._turn % _SPELLED_TURNS == 0 and self._words else []
        self._turn += 1
        self.said += words
        return Block(tuple(words), self._voice.speak(words, None), self.done)
