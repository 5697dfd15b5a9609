# SPDX-License-Identifier: Apache-2.0
"""The robot's timer: the model sets it, and reads from it how many whole seconds have gone by.

The output `<mark>` sets it, an `<end>` that closes no `<act>` takes it away. While it runs, each
whole second brings `<mark>` and its number as words: a due time is recognised like a cue, by the
word that was said.
"""

from __future__ import annotations

from collections.abc import Sequence

from .tokens import number_words

SECOND_TURNS = 5
LONGEST_S = 100


def timer_after(elapsed: int, tokens: Sequence[str]) -> int:
    """What the next micro-turn reads from the timer.

    Args:
        elapsed: Micro-turns on the timer as this micro-turn read it; 0 where none runs.
        tokens: What this micro-turn put out.

    Returns:
        Micro-turns since what was asked for ended; since the whole second, where the timer was set
        again on one. What is decided on a whole second sounds when that second is over.
    """
    acting = False
    after = elapsed + (elapsed > 0)
    for token in tokens:
        if token == '<mark>':
            after = 1 if elapsed else 2
        elif token == '<end>' and not acting:
            after = 0
        acting = token == '<act>' or (acting and token != '<end>')
    return after


def timer_words(elapsed: int) -> list[str]:
    """The tokens that a micro-turn reads from the timer, none between whole seconds."""
    second, rest = divmod(elapsed, SECOND_TURNS)
    if not elapsed or rest or second > LONGEST_S:
        return []
    return ['<mark>', *number_words(second).split()]
