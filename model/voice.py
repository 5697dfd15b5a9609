# SPDX-License-Identifier: Apache-2.0
"""The robot's voice: the flow head for what the model words itself, a synthesiser for results."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from torch import Tensor

from .interface import TURN_SAMPLES
from .open_voice import OpenVoice
from .recital import Block, Recital
from .snapshot import Snapshot, fill
from .speech_out import SpeechOut
from .speech_text import SpokenWords

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
        self._lent = False

    def sibling(self, seed: int = 0) -> Voice:
        """A voice for another session: same weights and synthesiser, a stream of its own.

        Args:
            seed: Decides the take of the flow head.
        """
        voice = Voice(self._speech, self._open, seed)
        voice.patience_s, voice._lent = self.patience_s, True
        return voice

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
        """Ends the synthesiser, unless it is a sibling's."""
        if not self._lent:
            self._open.close()

    def weights(self) -> dict[str, Tensor]:
        """Of flow head and vocoder, by name; none without them."""
        return self._speech.state_dict() if self._speech else {}

    def snapshot(self) -> Snapshot:
        """Everything that `restore` needs to go on sample by sample."""
        facts: dict[str, Any] = {
            'seed': self._seed,
            'finished_text': self.finished_text,
            'reading': len(self._recitals),
        }
        taken = Snapshot({}, facts)
        for index, recital in enumerate(self._recitals):
            taken.add(f'reading.{index}', recital.snapshot())
        if self._state is not None:
            spoken, vocoder = self._state.spoken, self._state.vocoder
            taken.tensors.update({k: t.clone() for k, t in self._stream().items()})
            facts['stream'] = {
                'block': self._state.block,
                'ended': self._state.ended,
                'words': spoken.words,
                'blocks': spoken.blocks,
                'sample': vocoder.sample,
            }
        return taken

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on as when the snapshot was taken, with the same weights."""
        facts = snapshot.facts
        self._seed = facts['seed']
        self.reset()
        if self._state is not None:
            stream = facts['stream']
            fill(self._stream(), snapshot.tensors)
            self._state.block, self._state.ended = stream['block'], stream['ended']
            self._state.spoken = SpokenWords(tuple(stream['words']), tuple(stream['blocks']))
            self._state.vocoder.sample = stream['sample']
        self.finished_text = facts['finished_text']
        for index in range(facts['reading']):
            part = snapshot.part(f'reading.{index}')
            spelled = 'turn' in part.facts
            recital = _Spelling(self, '') if spelled else Recital([], self._open.poll)
            recital.restore(part)
            self._recitals.append(recital)

    def _stream(self) -> dict[str, Tensor]:
        assert self._state is not None
        vocoder = {k: t for k, t in vars(self._state.vocoder).items() if isinstance(t, Tensor)}
        return {'past_PF': self._state.past_PF, **vocoder}

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

    def snapshot(self) -> Snapshot:
        """What `restore` needs."""
        facts = {'words': [*self._words], 'turn': self._turn, 'said': [*self.said]}
        return Snapshot({}, facts)

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on where the snapshot was taken."""
        facts = snapshot.facts
        self._words, self._turn, self.said = facts['words'], facts['turn'], facts['said']

    @property
    def done(self) -> bool:
        return not self._words and self._turn % _SPELLED_TURNS == 0

    def block(self) -> Block:
        """The next 200 ms, as `Recital.block`."""
        words = [self._words.pop(0)] if self._turn % _SPELLED_TURNS == 0 and self._words else []
        self._turn += 1
        self.said += words
        return Block(tuple(words), self._voice.speak(words, None), self.done)
