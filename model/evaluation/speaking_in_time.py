# SPDX-License-Identifier: Apache-2.0
"""CueSpeak-syn and TimeSpeak-syn: the right words at the right moment, and no others."""

from __future__ import annotations

from collections.abc import Sequence

from ..interface import TURN_S
from ..metrics import Expected
from .sample import Lived, Sample
from .scoring import Score, in_time, macro_rate, mean
from .stand_in import StandIn
from .take import Said, Take

ANSWER_S = (-0.1, 0.8)  # an answer begins within 3 micro-turns after the one that the cue ended in
DUE_S = 2 * TURN_S
_LONGEST_EVERY_S, _LONGEST_ONCE_S = 9, 20
_CUE = ('alone', 'several', 'inside_speech', 'forgotten')
_TIME = ('every', 'every_word', 'once', 'until_stop')


def answer(text: str, end_s: float) -> Expected:
    """An answer that is due after something ended."""
    return Expected(text, end_s + ANSWER_S[0], end_s + ANSWER_S[1])


def cue_sample(take: Take, index: int) -> Sample:
    """Cues are bound, then heard, among other words."""
    category = _CUE[index % len(_CUE)]
    many = category == 'several'
    said = take.say('cue_set', lambda clip: (len(clip.meaning['cues']) > 1) == many)
    bound = dict(said.clip.meaning['cues'])
    take.wait(0.5, 1.4)
    spoken = [_cue(take, bound, category == 'inside_speech')]
    _something_else(take, bound, spoken)
    take.wait(1.0, 1.8)
    expected, optional = [], []
    if category == 'forgotten':
        said = take.say('cue_cancel')
        _, last_s, _ = said.words[-1]  # who says "forget it" is understood before "it" ends
        optional.append(Expected('okay', last_s, answer('okay', said.end_s).latest))
        take.wait(1.0, 1.6)
        _cue(take, bound, inside=False)
    else:
        spoken.append(_cue(take, bound, category == 'inside_speech' and take.rng.random() < 0.5))
    take.wait(1.2, 1.6)
    for each in spoken:
        expected += [answer(bound[w], end) for w, _, end in each.words if w in bound]
    return take.sample(category, expected=expected, optional=optional, middle_s=-ANSWER_S[0])


def _cue(take: Take, bound: dict[str, str], inside: bool) -> Said:
    """A bound cue, alone or in a sentence."""
    kind = 'running_speech' if inside else 'cue_word'
    said = take.say(kind, lambda clip: clip.aligned and bool(bound.keys() & clip.text.split()))
    take.wait(0.4, 0.9)
    return said


def _something_else(take: Take, bound: dict[str, str], spoken: list[Said]) -> None:
    """Another cue word, or talk that is not for the robot; nothing should happen."""
    draw = take.rng.random()
    if draw < 0.4:
        take.wait(0.8, 1.4)
        spoken.append(take.say('cue_word', lambda clip: clip.text not in bound))
    elif draw < 0.7:
        take.wait(0.8, 1.4)
        spoken.append(take.say('chatter', lambda clip: clip.aligned))


def time_sample(take: Take, index: int) -> Sample:
    """Something is to be said at set times."""
    category = _TIME[index % len(_TIME)]
    said = take.say('time_set', lambda clip: _fits(clip.meaning, category))
    meaning, word = said.clip.meaning, said.clip.meaning['answer']
    period = meaning.get('every_s', meaning.get('in_s'))
    times = 1 if category == 'once' else int(take.rng.integers(2, 4))
    due = [said.end_s + period * (i + 1) for i in range(times)]
    expected = [Expected(word, t - DUE_S, t + DUE_S) for t in due]
    if period > 6 and take.rng.random() < 0.4:
        take.wait(0.8, period - 4.5)
        take.say('chatter', lambda clip: clip.duration_s < 3)
    take.now = due[-1]
    if category == 'until_stop':
        take.wait(0.8, max(0.9, min(period - 1.2, 2.0)))
        stop = take.say('interruption', lambda clip: clip.meaning['then'] == 'stopped')
        early_s = stop.end_s - take.halted_s  # "quiet please" is acted on before it ends
        due_s = answer('stopped', stop.end_s)
        expected.append(Expected('stopped', due_s.earliest - early_s - TURN_S, due_s.latest))
        take.now = max(take.now + 1.2, due[-1] + period + 0.8)
    else:
        take.now += min(period / 2, 1.4)
    return take.sample(category, expected=expected, optional=[], middle_s=DUE_S)


def _fits(meaning, category: str) -> bool:
    if category == 'once':
        return 'in_s' in meaning and meaning['in_s'] <= _LONGEST_ONCE_S
    if not 2 <= meaning.get('every_s', 99) <= _LONGEST_EVERY_S:
        return False
    return category == 'until_stop' or (meaning['answer'] != 'now') == (category == 'every_word')


def judge(sample: Sample, lived: Lived) -> dict:
    """Right if all was said in time and nothing else; how late what was said in time came."""
    expected = sample.truth['expected']
    right = in_time(lived.words, expected, sample.truth['optional'])
    found = [(each, _onset(lived, each)) for each in expected]
    late = [round(t - sample.truth['middle_s'] - e.earliest, 3) for e, t in found if t is not None]
    return {'right': right, 'late_s': late}


def _onset(lived: Lived, each: Expected) -> float | None:
    first = each.text.split()[0]
    starts = (w.start for w in lived.words if w.text == first and w.start <= each.latest)
    return next((start for start in starts if start >= each.earliest), None)


def score_cue(judged: Sequence[dict]) -> list[Score]:
    """Macro-accuracy over the categories in percent; latency of the answers."""
    late = (late_s for each in judged for late_s in each['late_s'])
    return [*macro_rate('CueSpeak-syn', judged), mean('CueSpeak-syn.latency_s', late)]


def score_time(judged: Sequence[dict]) -> list[Score]:
    """Macro-accuracy over the categories in percent; distance from the due times."""
    error = (abs(late_s) for each in judged for late_s in each['late_s'])
    return [*macro_rate('TimeSpeak-syn', judged), mean('TimeSpeak-syn.error_s', error)]


CUE_SPEAK = StandIn('CueSpeak-syn', 120, cue_sample, judge, score_cue, weight=12)
TIME_SPEAK = StandIn('TimeSpeak-syn', 88, time_sample, judge, score_time, weight=24)
SETS = (CUE_SPEAK, TIME_SPEAK)
