# SPDX-License-Identifier: Apache-2.0
"""Long sessions made short: micro-turns in which nothing new happens are left out.

A reminder after a minute, or a count to a hundred, would be hundreds of micro-turns of practice in
waiting. Left out, the clock and the timer jump on as they would have; what follows is learned.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..tokens import number_words
from .ideal import TURN_FRAMES, Targets
from .script_speech import Script
from .tensors import Session

Range = tuple[int, int]
# Numbers of a count that are heard before and after what is left out. Where many are kept, what was
# asked for is as far away as it is on a robot.
_BEFORE, _AFTER, _LEAST = (3, 30), (8, 30), 5
TENS_SHARE = 0.6  # of the counts of which the last tens that they come to are kept
_NUMBERS = {number_words(n): n for n in range(101)}


def ranges_to_skip(
    script: Script, targets: Targets, user_speaks: np.ndarray, rng: np.random.Generator
) -> list[Range]:
    """What can be left out of a session.

    Args:
        script: Says where nothing was meant to happen.
        targets: What the robot does.
        user_speaks: (turns,) bool.
        rng: Random numbers.

    Returns:
        (first micro-turn, micro-turn after the last), ascending.
    """
    turns = len(user_speaks)
    found = []
    for first, last in script.skips:
        begin, end = -(-first // TURN_FRAMES), min(last // TURN_FRAMES, turns)
        if end - begin > 1 and _is_quiet(script, targets, user_speaks, begin, end):
            found.append((begin, end))
    if script.skips_counting:
        found += _of_a_count(targets, user_speaks, rng)
    return sorted(found)


def _is_quiet(script: Script, targets: Targets, user_speaks, begin: int, end: int) -> bool:
    typed = any(begin <= frame // TURN_FRAMES < end for frame, _, _ in script.typed)
    # One before: what was decided there sounds in the first that is left out.
    acts = any(targets.tokens[begin:end]) or any(targets.speak[begin - 1 : end])
    return not (typed or acts or user_speaks[begin - 1 : end].any())


def _of_a_count(targets: Targets, user_speaks: np.ndarray, rng) -> list[Range]:
    """The middle of the longest count, from the beginning of a number to that of another."""
    run = _longest_count(targets)
    first, kept = int(rng.integers(*_BEFORE)), int(rng.integers(*_AFTER))
    tens = [place for place, (_, number) in enumerate(run) if number > 10 and number % 10 == 0]
    if tens and rng.random() < TENS_SHARE:
        kept = len(run) - tens[-1] + int(rng.integers(2, 7))
    if len(run) - kept - first < _LEAST:
        return []
    begin, end = run[first][0], run[len(run) - kept][0]
    if end >= len(user_speaks) or user_speaks[[begin - 1, begin, end - 1, end]].any():
        return []
    targets.unasked.add(end)  # which number it is nobody can know
    return [(begin, end)]


def _longest_count(targets: Targets) -> list[tuple[int, int]]:
    """The longest count: in which micro-turn each of its numbers begins, and the number."""
    best: list[tuple[int, int]] = []
    run: list[tuple[int, int]] = []
    for turn, text in targets.said:
        number = _NUMBERS.get(text)
        if number is None:
            run = []
        elif run and abs(number - run[-1][1]) == 1:
            run = [*run, (turn, number)]
        else:
            run = [(turn, number)]
        best = run if len(run) > len(best) else best
    return best


def leave_out(session: Session, ranges: list[Range]) -> Session:
    """A session without some micro-turns.

    Args:
        session: Whole.
        ranges: From `ranges_to_skip`.
    """
    if not ranges:
        return session
    kept = np.ones(len(session.out), bool)
    for begin, end in ranges:
        kept[begin:end] = False
    turns = np.flatnonzero(kept)
    fields: dict[str, Any] = {
        name: [values[turn] for turn in turns]
        for name in ('text_in', 'out', 'speak', 'heard', 'elapsed')
        if (values := getattr(session, name)) is not None
    }
    fields |= {
        name: values[turns]
        for name in ('user_NFM', 'own_NFM', 'frames_N', 'phase_N3')
        if (values := getattr(session, name)) is not None
    }
    place = {int(turn): number for number, turn in enumerate(turns)}
    unasked = frozenset(place[turn] for turn in session.unasked if turn in place)
    return dataclasses.replace(session, **fields, unasked=unasked, turns_N=turns)
