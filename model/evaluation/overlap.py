# SPDX-License-Identifier: Apache-2.0
"""FDB-v1.5-syn: what the robot does when somebody else speaks while it is speaking.

It counts aloud. Whoever interrupts it must be answered; "mm hmm", talk to others and a voice in the
background must not stop it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .. import metrics
from ..metrics import Word
from .sample import Lived, Sample
from .scoring import Score, is_number, macro_rate, mean, numbers, utterances
from .stand_in import StandIn
from .take import Said, Take

NAME = 'FDB-v1.5-syn'
TASKS = ('user_interruption', 'user_backchannel', 'talking_to_other', 'background_speech')
QUIET_S = 0.6  # after the interrupting word: two micro-turns and the rest of a word
ANSWER_S = (-0.3, 1.2)
_AFTER_S = 3.2
_SLOWEST_S = 1.7  # between two numbers of a count that goes on
_WHOLE_S = 0.8  # that a number may take


def write(take: Take, index: int) -> Sample:
    """The robot counts; something happens; a few seconds pass."""
    task = TASKS[index % len(TASKS)]
    asked = take.say(
        'count_set', lambda clip: abs(clip.meaning['last'] - clip.meaning['first']) > 13
    )
    take.now = asked.end_s
    take.wait(2.2, 3.8)
    take.overlapping = True
    said = _event(take, task)
    end_s = take.halted_s if task == TASKS[0] else said.end_s
    take.now = max(take.now, end_s) + _AFTER_S
    answer = {'stopped': 'stopped', 'yes': 'yes'}.get(said.clip.meaning.get('then', ''), '')
    return take.sample(
        task,
        span=(said.start_s, end_s),
        texts=(asked.clip.text, said.clip.text),
        step=asked.clip.meaning['step'],
        answer=answer,
    )


def _event(take: Take, task: str) -> Said:
    if task == 'user_interruption':
        return take.say('interruption')
    if task == 'user_backchannel':
        return take.say('backchannel')
    if task == 'talking_to_other':
        return take.overhear(take.pick('chatter'), 'side')
    voices = [v for v in take.studio.voices if v != take.voice] or [take.voice]
    voice = str(take.rng.choice(voices))
    kind = str(take.rng.choice(['chatter', 'running_speech', 'command', 'delegate']))
    return take.overhear(take.pick(kind, voice=voice), 'background')


def judge(sample: Sample, lived: Lived) -> dict:
    """Right if the robot was speaking and then did what was called for."""
    start_s, end_s = sample.truth['span']
    spoke = len(numbers([w for w in lived.words if w.start < start_s])) >= 2
    if sample.category == 'user_interruption':
        right = spoke and stops(lived.words, end_s, sample.truth['answer'])
    else:
        right = spoke and not lived.acts and goes_on(lived.words, start_s, sample)
    return {
        'right': bool(right),
        'spoke': spoke,
        'stop_s': metrics.stop_latency_s(lived.words, start_s),
        'response_s': _answer_s(lived.words, end_s, sample.truth['answer']),
    }


def _answer_s(words: Sequence[Word], end_s: float, answer: str) -> float | None:
    """Onset of the answer after the end of the interruption, clipped at 0."""
    onsets = (w.start for w in words if w.text == answer and w.start >= end_s + ANSWER_S[0])
    return next((max(0.0, onset - end_s) for onset in onsets), None)


def stops(words: Sequence[Word], end_s: float, answer: str) -> bool:
    """Whether it fell silent but for the answer, which came in time."""
    after = utterances([w for w in words if w.start >= end_s + ANSWER_S[0]], [answer])
    answers = [t for t, text in after if text == answer]
    others = [t for t, text in after if text != answer and t > end_s + QUIET_S]
    return bool(answers) and answers[0] <= end_s + ANSWER_S[1] and not others


def goes_on(words: Sequence[Word], start_s: float, sample: Sample) -> bool:
    """Whether the count went on without a gap, a wrong number or another word."""
    if not all(is_number(word.text) for word in words):
        return False
    counted = numbers(words)
    before = [i for i, (t, _) in enumerate(counted) if t < start_s]
    rest = counted[before[-1] :] if before else []
    to_the_end = bool(rest) and rest[-1][0] > sample.duration_s - _SLOWEST_S
    # The end of the sample may cut a number of two words.
    whole = [(t, number) for t, number in rest if t < sample.duration_s - _WHOLE_S]
    steps = {b[1] - a[1] for a, b in pairwise(whole)}
    gaps = [b[0] - a[0] for a, b in pairwise(whole)]
    return to_the_end and steps == {sample.truth['step']} and max(gaps) <= _SLOWEST_S


def score(judged: Sequence[dict]) -> list[Score]:
    """Mean of the four cases in percent, each case, and how fast it stopped and answered."""
    broken = [j for j in judged if j['category'] == 'user_interruption' and j['right']]
    return [
        *macro_rate(NAME, judged),
        mean(f'{NAME}.stop_s', (j['stop_s'] for j in broken if j['stop_s'] is not None)),
        mean(f'{NAME}.response_s', (j['response_s'] for j in broken)),
    ]


FDB_V15 = StandIn(NAME, 120, write, judge, score, weight=12)
SETS = (FDB_V15,)
