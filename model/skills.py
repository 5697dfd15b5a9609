# SPDX-License-Identifier: Apache-2.0
"""From the words of an `<act>` to a skill with arguments."""

from __future__ import annotations

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


def parse_act(skill: str, words: list[str]) -> dict[str, str | int] | None:
    """Arguments of a skill.

    Args:
        skill: One of `tokens.SKILLS`.
        words: The words that follow it, e.g. ['red', 'cup'].

    Returns:
        JSON-ready arguments, distances in metres; None if the words don't fit the skill.

    Raises:
        ValueError: There is no such skill.
    """
    if skill not in SKILLS:
        raise ValueError(f'skill: {skill!r}, expected one of {SKILLS}')
    if skill in _ONE_WORD:
        return {_ONE_WORD[skill]: ' '.join(words)} if words else None
    if skill == 'move':
        distance = parse_number(words[1:])
        return {'direction': words[0], 'distance_m': distance} if distance is not None else None
    if skill in ('pick', 'bring'):
        colour = {'colour': words[0]} if words and words[0] in COLOURS else {}
        rest = ' '.join(words[len(colour) :])
        return colour | {'object': rest} if rest else None
    return {} if not words else None
