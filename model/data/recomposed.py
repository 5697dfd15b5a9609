# SPDX-License-Identifier: Apache-2.0
"""Utterances with other words of the same voice in their slots."""

from __future__ import annotations

import numpy as np

from ..tokens import number_words, parse_number
from . import phrases
from .features import Utterance

_SECONDS = [number_words(seconds) for seconds in range(2, 21)]
COMPOSED = frozenset(['cue_set', 'command', 'time_set'])
_SLOT_OF = {'place': 'place', 'object': 'object', 'colour': 'colour'}


class Recomposed(Utterance):
    """An utterance made of pieces of others."""

    @classmethod
    def of(cls, base: Utterance, parts, text: str, meaning: dict) -> Recomposed:
        """Makes one.

        Args:
            base: The utterance whose words were swapped.
            parts: Its pieces, one a word: (source, first frame, frame after the last, word).
            text: What it says now.
            meaning: What it means now.
        """
        made = cls(base.levels_FM, base.words, base.clip, base.kind, meaning, base.voice, text)
        object.__setattr__(made, 'parts', parts)
        return made


def choose_swaps(
    kind: str, meaning: dict, rng: np.random.Generator, known: set[str]
) -> dict[str, str]:
    """Draws other words for the slots of a phrase.

    Args:
        kind: Kind of phrase, one of `COMPOSED`.
        meaning: What it means.
        rng: Random numbers.
        known: Words that the voice has said.

    Returns:
        New word by old word; only those that change.
    """
    slots = phrases.grammar()['slots']

    def other(slot: str, taken) -> str:
        words = [w for w in slots[slot] if w in known and w not in taken]
        return str(rng.choice(words)) if words else ''

    swaps: dict[str, str] = {}
    if kind == 'cue_set':
        for cue, answer in meaning['cues']:
            if ' ' in cue or ' ' in answer:
                continue
            swaps[cue] = other('cue', set(swaps.values()) | {c for c, _ in meaning['cues']})
            if rng.random() < 0.7 and answer not in swaps:
                swaps[answer] = other('answer', set())
    elif kind == 'time_set':
        said = number_words(meaning.get('every_s', meaning.get('in_s')))
        if meaning['answer'] in slots['answer'] and meaning['answer'] not in ['now', *said.split()]:
            swaps[meaning['answer']] = other('answer', set())
        numbers = [word for word in _SECONDS if word in known and word != said]
        if numbers and said not in swaps and said != 'one' and ' ' not in said:
            swaps[said] = str(rng.choice(numbers))
    elif kind == 'command':
        for name, slot in _SLOT_OF.items():
            value = meaning['arguments'].get(name)
            if value and ' ' not in value:
                swaps[value] = other(slot, set())
    return {old: new for old, new in swaps.items() if new}


def swap_meaning(meaning, swaps: dict[str, str]):
    """Puts the new words into a meaning, however deep they are."""
    if isinstance(meaning, dict):
        return {key: swap_meaning(value, swaps) for key, value in meaning.items()}
    if isinstance(meaning, int):
        new = parse_number([swaps.get(number_words(meaning), '')])
        return meaning if new is None else new
    if isinstance(meaning, list | tuple):
        return [swap_meaning(value, swaps) for value in meaning]
    return swaps.get(meaning, meaning) if isinstance(meaning, str) else meaning
