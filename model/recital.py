# SPDX-License-Identifier: Apache-2.0
"""Synthesised speech with word times, cut into the 200 ms blocks of the micro-turn clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .snapshot import Snapshot

SAMPLE_RATE_HZ = 16_000
BLOCK_SAMPLES = 3_200
_FADE_SAMPLES = 320


@dataclass(frozen=True)
class Spoken:
    """One piece of synthesised speech.

    Attributes:
        text: What is said.
        pcm: (N,) int16 at 16 kHz.
        words: (word, start in s, end in s) in order.
        voice: Engine that spoke.
    """

    text: str
    pcm: np.ndarray
    words: tuple[tuple[str, float, float], ...]
    voice: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Block:
    """What sounds in one micro-turn.

    Attributes:
        words: Words that begin in it.
        pcm: (3200,) int16.
        last: Nothing is left after it.
    """

    words: tuple[str, ...]
    pcm: np.ndarray
    last: bool


class Recital:
    """Reads a text out, piece by piece, as the pieces become ready; never waits.

    Args:
        pieces: The text in pieces that are synthesised one by one.
        poll: Returns a piece's speech, None while it is not ready.
    """

    def __init__(self, pieces: list[str], poll: Callable[[str], Spoken | None]):
        self._waiting = list(pieces)
        self._poll = poll
        self._pcm = np.zeros(0, np.int16)
        self._words: list[tuple[str, int]] = []
        self.said: list[str] = []

    @property
    def done(self) -> bool:
        """Whether everything has been read out."""
        return not self._waiting and not len(self._pcm)

    @property
    def ready(self) -> bool:
        """Whether `block` has something now."""
        self._collect()
        return len(self._pcm) >= BLOCK_SAMPLES or (len(self._pcm) > 0 and not self._waiting)

    def block(self) -> Block | None:
        """Takes the next 200 ms.

        Returns:
            The block, its end padded with silence; None if it is not ready or all is said.
        """
        if not self.ready:
            return None
        pcm, self._pcm = self._pcm[:BLOCK_SAMPLES], self._pcm[BLOCK_SAMPLES:]
        words = tuple(word for word, first in self._words if first < BLOCK_SAMPLES)
        self._words = [(w, first - BLOCK_SAMPLES) for w, first in self._words[len(words) :]]
        self.said += words
        return Block(words, np.pad(pcm, (0, BLOCK_SAMPLES - len(pcm))), self.done)

    def stop(self) -> np.ndarray:
        """Drops the rest.

        Returns:
            (3200,) int16: the next 20 ms faded out, then silence.
        """
        tail = np.zeros(BLOCK_SAMPLES, np.int16)
        rest = self._pcm[:_FADE_SAMPLES]
        tail[: len(rest)] = rest * np.linspace(1, 0, _FADE_SAMPLES)[: len(rest)]
        self._waiting, self._pcm, self._words = [], np.zeros(0, np.int16), []
        return tail

    def snapshot(self) -> Snapshot:
        """What `restore` needs."""
        facts = {'waiting': list(self._waiting), 'words': list(self._words), 'said': [*self.said]}
        return Snapshot({'pcm': torch.from_numpy(self._pcm.copy())}, facts)

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on where the snapshot was taken."""
        facts = snapshot.facts
        self._pcm = snapshot.tensors['pcm'].numpy().copy()
        self._words = [(word, first) for word, first in facts['words']]
        self._waiting, self.said = list(facts['waiting']), list(facts['said'])

    def _collect(self) -> None:
        """Appends pieces that have become ready, in order."""
        while self._waiting and len(self._pcm) < BLOCK_SAMPLES:
            spoken = self._poll(self._waiting[0])
            if spoken is None:
                return
            self._waiting.pop(0)
            offset = len(self._pcm)
            self._words += [
                (word, offset + round(start_s * SAMPLE_RATE_HZ))
                for word, start_s, _ in spoken.words
            ]
            self._pcm = np.concatenate([self._pcm, spoken.pcm])
