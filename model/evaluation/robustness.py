# SPDX-License-Identifier: Apache-2.0
"""Echo-syn: the robot hears itself. False-onsets-syn: it hears what is not meant for it."""

from __future__ import annotations

from collections.abc import Sequence

from .. import metrics
from ..interface import TURN_S
from ..metrics import Expected
from .sample import Echo, Lived, Sample
from .scoring import Score, in_time, is_number, macro_rate, numbers, per_hour
from .speaking_in_time import DUE_S
from .stand_in import StandIn
from .take import Take

_ECHO = ('own_words', 'count', 'command')
_OWN_WORDS = ('stop', 'hello', 'goodbye', 'start', 'one', 'two', 'yes', 'ready')
_SLOWEST_S = 1.7
_LENGTH_S = 60
_TOGETHER_S = 1.0


def echo_sample(take: Take, index: int) -> Sample:
    """Its own voice comes back at -6 to -20 dB after 20 to 250 ms."""
    category = _ECHO[index % len(_ECHO)]
    take.echo = Echo(float(take.rng.uniform(0.02, 0.25)), float(take.rng.uniform(-20, -6)))
    return {'own_words': _own_words, 'count': _count, 'command': _command}[category](take)


def _own_words(take: Take) -> Sample:
    """What it says again and again would mean something if a person said it."""
    said = take.say('time_set', lambda clip: _says_own_words(clip.meaning))
    period, word = said.clip.meaning['every_s'], said.clip.meaning['answer']
    due = [said.end_s + period * (i + 1) for i in range(3)]
    take.now = due[-1] + min(1.4, period / 2)
    return take.sample('own_words', expected=[Expected(word, t - DUE_S, t + DUE_S) for t in due])


def _says_own_words(meaning) -> bool:
    return 2 <= meaning.get('every_s', 99) <= 9 and meaning['answer'] in _OWN_WORDS


def _count(take: Take) -> Sample:
    """It counts, and hears nobody but itself."""
    said = take.say('count_set', lambda clip: 4 <= _length(clip.meaning) <= 14)
    meaning = said.clip.meaning
    take.now = said.end_s + 1.4 * _length(meaning) + 1
    step = meaning['step']
    return take.sample('count', numbers=list(range(meaning['first'], meaning['last'] + step, step)))


def _length(meaning) -> int:
    return abs(meaning['last'] - meaning['first']) + 1


def _command(take: Take) -> Sample:
    """It counts, and is given a command over its own voice."""
    asked = take.say('count_set', lambda clip: _length(clip.meaning) > 9)
    take.now = asked.end_s
    take.wait(2.0, 4.0)
    said = take.say('command')
    take.now += 1.8
    meaning = said.clip.meaning
    return take.sample('command', wanted=[(meaning['skill'], dict(meaning['arguments']))])


def judge_echo(sample: Sample, lived: Lived) -> dict:
    """Right if it did what was asked, and nothing because of itself."""
    truth = sample.truth
    if sample.category == 'command':
        return {'right': metrics.pass_at_1(lived.calls, truth['wanted'])}
    if sample.category == 'count':
        said = [number for _, number in numbers(lived.words)]
        only = all(is_number(word.text) for word in lived.words)
        return {'right': only and said == truth['numbers'] and not lived.acts}
    return {'right': in_time(lived.words, truth['expected']) and not lived.acts}


def score_echo(judged: Sequence[dict]) -> list[Score]:
    """Macro-accuracy, percent."""
    return macro_rate('Echo-syn', judged)


def idle_sample(take: Take, index: int) -> Sample:
    """A minute of talk among people, voices in the background, noise and music."""
    while take.now < _LENGTH_S - 4:
        draw = take.rng.random()
        if draw < 0.4:
            take.say(
                str(
                    take.rng.choice(
                        ['chatter', 'running_speech', 'cue_word', 'backchannel'],
                        p=[0.6, 0.2, 0.1, 0.1],
                    )
                )
            )
        elif draw < 0.65:
            take.overhear(take.pick('chatter', voice=_somebody(take)), 'beside')
        elif draw < 0.85:
            kind = str(take.rng.choice(['chatter', 'running_speech', 'command', 'delegate']))
            take.overhear(take.pick(kind, voice=_somebody(take)), 'background')
        take.wait(0.2, 2.5)
    take.now = _LENGTH_S
    return take.sample('idle')


def _somebody(take: Take) -> str:
    return str(take.rng.choice(take.studio.voices))


def judge_idle(sample: Sample, lived: Lived) -> dict:
    """How often it spoke or acted, and for how long it listened."""
    return {
        'onsets': onsets(lived),
        'hours': sample.turns * TURN_S / 3600,
        'said': ' '.join(word.text for word in lived.words),
        'calls': lived.calls,
    }


def onsets(lived: Lived) -> int:
    """Times at which it began to speak or to act; an action and its "okay" are one."""
    times = [segment[0].start for segment in metrics.voiced_segments(lived.words)]
    times = sorted([*times, *(t for t, *_ in lived.acts), *(t for t, _ in lived.goals)])
    return sum(i == 0 or t - times[i - 1] > _TOGETHER_S for i, t in enumerate(times))


def score_idle(judged: Sequence[dict]) -> list[Score]:
    """False onsets in an hour."""
    count = sum(each['onsets'] for each in judged)
    return [per_hour('False-onsets-per-hour', count, sum(each['hours'] for each in judged))]


ECHO = StandIn('Echo-syn', 60, echo_sample, judge_echo, score_echo, 3, 14)
IDLE = StandIn('False-onsets-per-hour', 60, idle_sample, judge_idle, score_idle, 2, 60)
SETS = (ECHO, IDLE)
