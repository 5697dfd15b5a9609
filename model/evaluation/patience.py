# SPDX-License-Identifier: Apache-2.0
"""Patience-syn: what takes half a minute and more. Is it still known what was asked for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ..metrics import Expected, Word
from .sample import Lived, Sample
from .scoring import Score, in_time, is_number, macro_rate, numbers
from .speaking_in_time import DUE_S, answer
from .stand_in import StandIn
from .take import Take

NAME = 'Patience-syn'
TASKS = ('reminder', 'once', 'count', 'cue')
_LEAST_S = 20  # of a reminder or an alarm
_LONGEST_REMINDER_S = 45
_NUMBERS = (25, 60)  # of a count
_CUE_AFTER_S = (40.0, 100.0)
_FIRST_S, _SLOWEST_S = 1.5, 1.7  # until the first number, and between two


def write(take: Take, index: int) -> Sample:
    """Something is asked for, and nothing else happens for long."""
    task = TASKS[index % len(TASKS)]
    if task == 'count':
        return _count(take)
    if task == 'cue':
        return _cue(take)
    key, longest = ('in_s', 60) if task == 'once' else ('every_s', _LONGEST_REMINDER_S)
    said = take.say('time_set', lambda clip: _LEAST_S <= clip.meaning.get(key, 0) <= longest)
    word, period = said.clip.meaning['answer'], said.clip.meaning[key]
    due = [said.end_s + period * (number + 1) for number in range(1 if task == 'once' else 2)]
    take.now = due[-1] + 1.4
    expected = [Expected(word, t - DUE_S, t + DUE_S) for t in due]
    return take.sample(task, expected=expected, count=None)


def _cue(take: Take) -> Sample:
    said = take.say('cue_set', lambda clip: len(clip.meaning['cues']) == 1)
    ((cue, word),) = said.clip.meaning['cues']
    take.wait(*_CUE_AFTER_S)
    heard = take.say('cue_word', lambda clip: clip.aligned and clip.text == cue)
    take.wait(1.2, 1.6)
    return take.sample('cue', expected=[answer(word, heard.end_s)], count=None)


def _count(take: Take) -> Sample:
    def fits(clip) -> bool:
        return _NUMBERS[0] <= abs(clip.meaning['last'] - clip.meaning['first']) < _NUMBERS[1]

    said = take.say('count_set', fits)
    wanted = numbers_of(said.clip.meaning)
    take.now = said.end_s + 3.0 + 1.1 * len(wanted)
    return take.sample('count', expected=[], count=wanted, asked_s=said.end_s)


def numbers_of(meaning: Mapping) -> list[int]:
    """What is to be counted."""
    first, last, step = (meaning[name] for name in ('first', 'last', 'step'))
    return list(range(first, last + step, step))


def judge(sample: Sample, lived: Lived) -> dict:
    """Right if all was said in time, or counted without a gap, and nothing else."""
    wanted = sample.truth['count']
    if wanted is None:
        return {'right': in_time(lived.words, sample.truth['expected'])}
    return {'right': counts(lived.words, wanted, sample.truth['asked_s'])}


def counts(words: Sequence[Word], wanted: Sequence[int], asked_s: float) -> bool:
    """Whether numbers were said one after the other, at once and without a gap, and nothing else.

    Args:
        words: What was said.
        wanted: The numbers.
        asked_s: When they were asked for.
    """
    counted = numbers(words)
    gaps = [b[0] - a[0] for a, b in pairwise(counted)]
    return (
        all(is_number(word.text) for word in words)
        and [number for _, number in counted] == list(wanted)
        and counted[0][0] <= asked_s + _FIRST_S
        and max(gaps, default=0.0) <= _SLOWEST_S
    )


def score(judged: Sequence[dict]) -> list[Score]:
    """Macro-accuracy over the categories in percent."""
    return macro_rate(NAME, judged)


PATIENCE = StandIn(NAME, 40, write, judge, score, weight=70)
SETS = (PATIENCE,)
