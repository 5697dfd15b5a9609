# SPDX-License-Identifier: Apache-2.0
"""Typed-syn: the same behaviours by typed lines, so that nothing depends on hearing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from .. import metrics
from ..data.phrases import Phrase
from ..data.phrases import sample as draw_phrase
from ..metrics import Expected
from .patience import counts, numbers_of
from .sample import Lived, Sample
from .scoring import Score, in_time, macro_rate
from .speaking_in_time import DUE_S, answer
from .stand_in import StandIn
from .take import Take

NAME = 'Typed-syn'
TASKS = ('command', 'cue', 'time', 'count', 'planner')
_UNSEEN_SHARE = 0.6
_MOST_NUMBERS = 60
_NOTHING: dict[str, Any] = {'wanted': [], 'goals': 0, 'expected': [], 'count': None}


def write(take: Take, index: int) -> Sample:
    """One line, of which all numbers, words and things may be asked for, and what follows."""
    task = TASKS[index % len(TASKS)]
    return _WRITERS[task](take)


def _draw(take: Take, kind: str, where: Callable[[Mapping], bool] = bool) -> Phrase:
    """A phrase, more often than not one whose words were never trained."""
    chance = Random(int(take.rng.integers(2**31)))
    unseen = take.rng.random() < _UNSEEN_SHARE
    for attempt in range(10_000):
        phrase = draw_phrase(kind, chance, take.studio.split)
        fresh = phrase.split == take.studio.split or not unseen or attempt > 200
        if where(phrase.meaning) and fresh:
            return phrase
    raise ValueError(f'kind: {kind!r} has no such phrase')


def _type(take: Take, phrase: Phrase) -> float:
    return take.type(phrase.text, phrase.kind, phrase.meaning)


def _command(take: Take) -> Sample:
    phrase = _draw(take, 'command')
    end_s = _type(take, phrase)
    take.now += 1.8
    stops = phrase.meaning['skill'] == 'stop'
    wanted = [(phrase.meaning['skill'], dict(phrase.meaning['arguments']))]
    said = answer('stopped' if stops and 'stop' in phrase.text.split() else 'okay', end_s)
    return take.sample('command', **_NOTHING | {'wanted': wanted, 'expected': [said]})


def _cue(take: Take) -> Sample:
    phrase = _draw(take, 'cue_set', lambda meaning: len(meaning['cues']) == 1)
    ((cue, word),) = phrase.meaning['cues']
    _type(take, phrase)
    expected = []
    for _ in range(2):
        take.wait(1.5, 4.0)
        expected.append(answer(word, take.type(cue, 'cue_word', {'cue': cue})))
    take.now += 1.5
    return take.sample('cue', **_NOTHING | {'expected': expected})


def _time(take: Take) -> Sample:
    key = str(take.rng.choice(['every_s', 'in_s']))
    phrase = _draw(take, 'time_set', lambda meaning: key in meaning)
    period, word = phrase.meaning[key], phrase.meaning['answer']
    end_s = _type(take, phrase)
    due = [end_s + period * (number + 1) for number in range(2 if key == 'every_s' else 1)]
    take.now = due[-1] + 1.4
    return take.sample(
        'time', **_NOTHING | {'expected': [Expected(word, t - DUE_S, t + DUE_S) for t in due]}
    )


def _count(take: Take) -> Sample:
    phrase = _draw(take, 'count_set', lambda meaning: len(numbers_of(meaning)) <= _MOST_NUMBERS)
    asked_s, wanted = _type(take, phrase), numbers_of(phrase.meaning)
    take.now += 3.0 + 1.1 * len(wanted)
    return take.sample('count', **_NOTHING | {'count': wanted}, asked_s=asked_s)


def _planner(take: Take) -> Sample:
    end_s = _type(take, _draw(take, 'delegate'))
    take.now += 2.5
    expected = [answer('one moment', end_s)]
    return take.sample('planner', **_NOTHING | {'goals': 1, 'expected': expected})


_WRITERS = {'command': _command, 'cue': _cue, 'time': _time, 'count': _count, 'planner': _planner}


def judge(sample: Sample, lived: Lived) -> dict:
    """Right if just that was said and done that was asked for."""
    truth = sample.truth
    if truth['count'] is not None:
        said = counts(lived.words, truth['count'], truth['asked_s'])
    else:
        said = in_time(lived.words, truth['expected'])
    done = metrics.pass_at_1(lived.calls, truth['wanted']) and len(lived.goals) == truth['goals']
    return {'right': bool(said and done), 'line': sample.lines[0][2]}


def score(judged: Sequence[dict]) -> list[Score]:
    """Macro-accuracy over the categories in percent."""
    return macro_rate(NAME, judged)


TYPED = StandIn(NAME, 120, write, judge, score, quick=5, weight=20)
SETS = (TYPED,)
