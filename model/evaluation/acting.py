# SPDX-License-Identifier: Apache-2.0
"""Command-syn and Delegate-syn: from what is said to actions and plan requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .. import metrics
from ..interface import TURN_S
from ..tokens import normalise
from .sample import Lived, Sample
from .scoring import Score, in_time, mean, rate
from .speaking_in_time import answer
from .stand_in import StandIn
from .take import Said, Take

_COMMANDS = ('one', 'one', 'one', 'two', 'unclear')
_IN_TIME_S = 4 * TURN_S
_WAITING = ('quiet', 'command', 'talk')
_REPLY_S = (-0.1, 1.0)  # a result begins to be read, with the silence before its first sound


def command_sample(take: Take, index: int) -> Sample:
    """One command, two, or one whose arguments are unclear."""
    category = _COMMANDS[index % len(_COMMANDS)]
    if category == 'unclear':
        take.say('ambiguous')
        said: list[Said] = []
    else:
        said = [take.say('command')]
    if category == 'two':
        take.wait(1.0, 1.8)
        said.append(take.say('command'))
    take.wait(1.6, 1.9)
    return take.sample(
        category,
        wanted=[(s.clip.meaning['skill'], dict(s.clip.meaning['arguments'])) for s in said],
        ends=[s.end_s for s in said],
        unseen=bool(said) and all(s.clip.text_split == take.studio.split for s in said),
    )


def judge_command(sample: Sample, lived: Lived) -> dict:
    """Pass@1: every expected skill with exactly its arguments, and none extra."""
    wanted, ends = sample.truth['wanted'], sample.truth['ends']
    latencies = [
        round(t - end, 3)
        for (skill, arguments), end in zip(wanted, ends, strict=True)
        for t, *call in lived.acts
        if call == [skill, arguments] and t > end - TURN_S
    ]
    return {
        'right': metrics.pass_at_1(lived.calls, wanted),
        'unseen': sample.truth['unseen'],
        'latency_s': latencies[: len(wanted)],
        'in_time': [latency <= _IN_TIME_S for latency in latencies[: len(wanted)]],
        'calls': lived.calls,
        'wanted': wanted,
    }


def score_command(judged: Sequence[dict]) -> list[Score]:
    """Pass@1 in percent; that of phrasings that were never trained; delay of the right intents."""
    categories = sorted({each['category'] for each in judged})
    return [
        rate('Command-syn', (each['right'] for each in judged)),
        *(
            rate(f'Command-syn.{name}', (j['right'] for j in judged if j['category'] == name))
            for name in categories
        ),
        rate('Command-syn.unseen_phrasing', (j['right'] for j in judged if j['unseen'])),
        mean('Command-syn.latency_s', (late for j in judged for late in j['latency_s'])),
    ]


def delegate_sample(take: Take, index: int) -> Sample:
    """A question for the planner; the result comes in silence, after a command, or in talk."""
    category = _WAITING[index % len(_WAITING)]
    asked = take.say('delegate', lambda clip: clip.text_split == take.studio.split)
    expected, wanted = [answer('one moment', asked.end_s)], []
    take.wait(1.8, 3.0)
    if category == 'command':
        said = take.say('command', lambda clip: clip.meaning['skill'] != 'stop')
        wanted.append((said.clip.meaning['skill'], dict(said.clip.meaning['arguments'])))
        expected.append(answer('okay', said.end_s))
        take.wait(1.4, 2.0)
    result = _result(take)
    if category == 'talk':
        start_s = take.now
        said = take.say('chatter', lambda clip: clip.duration_s > 1.2)
        after_s, take.now = take.now, start_s + float(take.rng.uniform(0.3, 0.8))
        take.deliver(result)
        ready_s = said.end_s
        take.now = after_s
    else:
        ready_s = take.deliver(result)
    take.now = ready_s + 1.6 + 0.5 * len(result.split())
    return take.sample(
        category,
        end_s=asked.end_s,
        expected=expected,
        wanted=wanted,
        result=result,
        ready_s=ready_s,
        goal=asked.clip.text,
    )


def _result(take: Take) -> str:
    """A short planner's result whose text was kept out of training."""
    found = take.studio.robot
    split = take.studio.split
    texts = sorted({c.text for c in found if (c.kind, c.text_split) == ('robot_open', split)})
    short = [text for text in texts if len(text.split()) <= 9]
    return str(take.rng.choice(short or texts or ['the train leaves at nine']))


def judge_delegate(sample: Sample, lived: Lived) -> dict:
    """Acknowledged, asked for once, other commands obeyed, and the result said when it is time."""
    truth = sample.truth
    result = normalise(truth['result'])
    reading = [i for i, w in enumerate(lived.words) if normalise(w.text) == result[:1]]
    starts = [lived.words[i].start for i in reading]
    low, high = (truth['ready_s'] + s for s in _REPLY_S)
    begun = next((i for i, t in zip(reading, starts, strict=True) if low <= t <= high), None)
    before = lived.words if begun is None else lived.words[:begun]
    read = (
        [] if begun is None else [part for w in lived.words[begun:] for part in normalise(w.text)]
    )
    request = [t for t, _ in lived.goals]
    asked = len(request) == 1 and -TURN_S <= request[0] - truth['end_s'] <= _IN_TIME_S
    judged = {
        'acknowledged': in_time(before, truth['expected']),
        'asked': asked,
        'obeyed': metrics.pass_at_1(lived.calls, truth['wanted']),
        'told': begun is not None and read[: len(result)] == result,
        'goal_words': _share(
            normalise(truth['goal']), normalise(' '.join(g for _, g in lived.goals))
        ),
    }
    keys = ('acknowledged', 'asked', 'obeyed', 'told')
    return judged | {'right': all(judged[key] for key in keys)}


def _share(wanted: Sequence[str], got: Sequence[str]) -> float:
    both = Counter(wanted) & Counter(got)
    return both.total() / max(1, len(wanted))


def score_delegate(judged: Sequence[dict]) -> list[Score]:
    """Share of conversations that went right all through, in percent, and its parts."""
    parts = ('acknowledged', 'asked', 'obeyed', 'told')
    return [
        rate('Delegate-syn', (each['right'] for each in judged)),
        *(rate(f'Delegate-syn.{key}', (each[key] for each in judged)) for key in parts),
        mean('Delegate-syn.goal_words', (each['goal_words'] for each in judged), 100),
    ]


COMMAND = StandIn('Command-syn', 120, command_sample, judge_command, score_command, 5, 4)
DELEGATE = StandIn('Delegate-syn', 42, delegate_sample, judge_delegate, score_delegate, 3, 14)
SETS = (COMMAND, DELEGATE)
