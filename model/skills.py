# SPDX-License-Identifier: Apache-2.0
"""From the words of an `<act>` to a skill with arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .tokens import SKILLS, parse_number

COLOURS = frozenset(['red', 'green', 'blue', 'yellow', 'orange', 'black', 'white'])
_ONE_WORD = {
    'navigate_to': 'place',
    'place': 'place',
    'turn': 'direction',
    'look_at': 'object',
    'gripper': 'state',
    'speed': 'change',
}


@dataclass(frozen=True)
class Slot:
    """An argument of a skill that was taught; a checkpoint carries it.

    Attributes:
        name: Name of the argument.
        words: What it may be, each one or several words; empty for a number from 0 to 100.
        optional: Whether it may be left out.
    """

    name: str
    words: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, 'words', tuple(self.words))


def parse_act(
    skill: str, words: list[str], signatures: Mapping[str, tuple[Slot, ...]] | None = None
) -> dict[str, str | int] | None:
    """Arguments of a skill.

    Args:
        skill: One of `tokens.SKILLS`, or a key of `signatures`.
        words: The words that follow it, e.g. ['red', 'cup'].
        signatures: Arguments of taught skills; they go before the built-in ones.

    Returns:
        JSON-ready arguments, distances in metres; None if the words don't fit the skill.

    Raises:
        ValueError: There is no such skill.
    """
    if signatures and skill in signatures:
        return _fit(signatures[skill], words)
    if skill not in SKILLS:
        raise ValueError(f'skill: {skill!r}, expected one of {[*SKILLS, *(signatures or {})]}')
    if skill in _ONE_WORD:
        return {_ONE_WORD[skill]: ' '.join(words)} if words else None
    if skill == 'move':
        distance = parse_number(words[1:])
        return {'direction': words[0], 'distance_m': distance} if distance is not None else None
    if skill in ('pick', 'bring'):
        has_colour = bool(words) and words[0] in COLOURS
        rest = ' '.join(words[has_colour:])
        colour: dict[str, str | int] = {'colour': words[0]} if has_colour else {}
        return colour | {'object': rest} if rest else None
    return {} if not words else None


def _fit(slots: tuple[Slot, ...], words: list[str]) -> dict[str, str | int] | None:
    """Deals words out to arguments in order, the longest fit first; None if they don't go in."""
    if not slots:
        return {} if not words else None
    slot, rest = slots[0], slots[1:]
    for length in range(len(words), 0, -1):
        value = _value(slot, words[:length])
        if value is None:
            continue
        others = _fit(rest, words[length:])
        if others is not None:
            return {slot.name: value} | others
    return _fit(rest, words) if slot.optional else None


def _value(slot: Slot, words: list[str]) -> str | int | None:
    if not slot.words:
        return parse_number(words)
    text = ' '.join(words)
    return text if text in slot.words else None
