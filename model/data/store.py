# SPDX-License-Identifier: Apache-2.0
"""Utterances to build sessions from, by kind of phrase, by voice and by word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from .features import Utterance

_MARGIN = 1


class SpeechStore:
    """Looks utterances up.

    Args:
        utterances: What people say.
        robot: What the robot says, in its own voice.
        sounds: Noise and music.
        taught: Further utterances of people, which the theme 'taught' is about.
    """

    def __init__(
        self,
        utterances: list[Utterance],
        robot: list[Utterance],
        sounds: list[Utterance],
        taught: Sequence[Utterance] = (),
    ):
        self.sounds = sounds
        self._by_voice: dict[str, dict[str, list[Utterance]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._by_word: dict[str, dict[str, list[tuple[Utterance, int, int]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._robot: dict[str, list[Utterance]] = defaultdict(list)
        self.robot_open = [u for u in robot if u.kind == 'robot_open']
        self._taught: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
        for utterance in taught:
            self._taught[utterance.voice][utterance.kind].append(utterance)
        self.taught_voices = sorted(self._taught)
        for utterance in [*utterances, *taught]:
            self._by_voice[utterance.voice][utterance.kind].append(utterance)
            for word, first, last in utterance.words:
                if utterance.kind not in ('chatter', 'open_talk'):
                    self._by_word[utterance.voice][word].append((utterance, first, last))
        for utterance in robot:
            self._robot[utterance.text].append(utterance)
        self.voices = sorted(self._by_voice)
        self._who_says: dict[str, list[str]] = {}

    def kinds(self, voice: str) -> dict[str, list[Utterance]]:
        """All utterances of a voice by kind."""
        return self._by_voice[voice]

    def pick(self, rng: np.random.Generator, voice: str, kind: str) -> Utterance | None:
        """A random utterance, None if the voice has none of this kind."""
        choice = self._by_voice[voice].get(kind)
        return choice[rng.integers(len(choice))] if choice else None

    def taught(self, voice: str) -> dict[str, list[Utterance]]:
        """What a voice says of the things that are being taught, by kind."""
        return self._taught.get(voice, {})

    def cue(self, rng: np.random.Generator, voice: str, text: str) -> Utterance | None:
        """A voice saying a cue of several words, None if it never did."""
        choice = [u for u in self._by_voice[voice].get('cue_word', ()) if u.text == text]
        return choice[rng.integers(len(choice))] if choice else None

    def word(
        self, rng: np.random.Generator, voice: str, word: str
    ) -> tuple[Utterance, int, int] | None:
        """A piece (utterance, first frame, last frame) in which a voice says a word."""
        choice = self._by_word[voice].get(word)
        if not choice:
            return None
        utterance, first, last = choice[rng.integers(len(choice))]
        return utterance, max(0, first - _MARGIN), min(utterance.frames, last + _MARGIN)

    def word_of_anybody(
        self, rng: np.random.Generator, voice: str, word: str
    ) -> tuple[Utterance, int, int] | None:
        """A piece in which somebody says a word: best a voice of the same engine as `voice`."""
        if word not in self._who_says:
            self._who_says[word] = [each for each in self.voices if self._by_word[each].get(word)]
        those = self._who_says[word]
        if not those:
            return None
        alike = [each for each in those if each.partition('-')[0] == voice.partition('-')[0]]
        chosen = alike or those
        return self.word(rng, chosen[rng.integers(len(chosen))], word)

    def words(self, voice: str) -> list[str]:
        """Words that a voice has said."""
        return list(self._by_word[voice])

    def robot(self, rng: np.random.Generator, text: str) -> Utterance:
        """The robot saying a text that is in its bank.

        Raises:
            KeyError: It never said that.
        """
        takes = self._robot[text]
        if not takes:
            raise KeyError(f'robot phrase: {text!r} is not in the bank')
        return takes[rng.integers(len(takes))]

    def robot_says(self, text: str) -> bool:
        """Whether the bank has the robot saying this text."""
        return text in self._robot
