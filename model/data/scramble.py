# SPDX-License-Identifier: Apache-2.0
"""Phrases with words out of place, so that only their sound tells which words they are.

People say things in ways that nobody wrote down. A network that has heard a few thousand ways of
saying them hears those in everything: after "count" it hears "to", whatever is said. These phrases
mean nothing, and nothing is asked of the robot in them but to name the words.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol, TypeVar

from .phrases import SPLITS, Phrase, grammar, is_held_out, sample, split_of

KIND = 'scrambled'
# Kinds whose words are put out of place, with their shares.
SCRAMBLED = {
    'command': 4, 'cue_set': 4, 'time_set': 3, 'count_set': 3, 'delegate': 2, 'chatter': 3,
    'running_speech': 1, 'interruption': 1, 'resume': 0.5, 'cue_cancel': 0.5,
    'visual_trigger_set': 0.5, 'visual_count_set': 0.5, 'visual_start_stop_set': 0.5,
}  # fmt: skip
_SHORTEST = 3  # words
_CUT_SHARE = 0.3
_LEAST, _MOST = 0.1, 0.5  # of the words that are changed
_TRIES = 1000
_Part = TypeVar('_Part')


class Chance(Protocol):
    """`random.Random`, or numpy's `Generator`."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


def scramble(parts: list[_Part], draw: Callable[[], _Part | None], rng: Chance) -> list[_Part]:
    """Changes, adds, leaves out and swaps some parts of a phrase, one at least.

    Args:
        parts: Its words, or pieces of sound that are words.
        draw: Gives another word; None for none, and the phrase stays as it is there.
        rng: Random numbers.

    Returns:
        The parts of the new phrase, one or more.
    """
    share = _LEAST + (_MOST - _LEAST) * rng.random()
    always = int(rng.random() * len(parts))
    made: list[_Part] = []
    for place, part in enumerate(parts):
        if place != always and rng.random() >= share:
            made.append(part)
            continue
        other, how = draw(), rng.random()
        if how < 0.25:
            made += [part] if other is None else [other, part]
        elif how < 0.4 and len(parts) > 1:
            pass
        elif how < 0.55 and made:
            made.insert(-1, part)
        else:
            made.append(part if other is None else other)
    return made or parts[:1]


def scrambled(rng: Random, split: str) -> Phrase:
    """Draws one phrase.

    Args:
        rng: Source of chance.
        split: 'train', 'val' or 'test', of the phrase and of those that it is made of.

    Raises:
        ValueError: `split` is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be one of {SPLITS}, got {split!r}')

    def words() -> list[str]:
        kind = rng.choices(list(SCRAMBLED), list(SCRAMBLED.values()))[0]
        return sample(kind, rng, split).text.split()

    def word() -> str:
        return rng.choice(words() if rng.random() < 0.5 else grammar()['slots']['any'])

    for _ in range(_TRIES):
        phrase = words()
        if rng.random() < _CUT_SHARE:
            other = words()
            phrase = phrase[: rng.randint(1, len(phrase))] + other[rng.randrange(len(other)) :]
        made = scramble(phrase, word, rng)
        text = ' '.join(made)
        if len(made) < _SHORTEST:
            continue
        if split_of(text) == split and (split != 'train' or not is_held_out(text)):
            return Phrase(KIND, text, {}, split)
    raise ValueError(f'split: no scrambled phrase of {split!r} was found')
