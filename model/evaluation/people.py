# SPDX-License-Identifier: Apache-2.0
"""Human-cue, Human-command: what real people say in recordings, on which nothing was trained.

The recordings hold the spelling alphabet, digits and "go forward ten meters", no instructions: the
cues are bound by a typed line, or by one of the synthetic test voices.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..data.bank import Clip
from ..data.phrases import sample as draw_phrase
from .acting import judge_command
from .human_recordings import HumanRecordings, recordings
from .robustness import judge_idle
from .sample import Sample
from .scoring import Score, macro_rate, mean, per_hour, rate
from .speaking_in_time import ANSWER_S, answer, judge
from .stand_in import StandIn
from .take import Take

_BOUND = ('typed', 'spoken')
_COMMANDS = 7 * 8  # seven numbers, eight rooms each
_LENGTH_S = 60


def _people(take: Take) -> HumanRecordings:
    return recordings(take.studio.human_root)


def cue_sample(take: Take, index: int) -> Sample:
    """A cue is bound, then a woman says it: alone, or in the middle of a call sign."""
    people, category = _people(take), _BOUND[index % len(_BOUND)]
    cue, text = _bind(take, category)
    take.voice = people.cues[cue].voice
    take.wait(0.7, 1.4)
    ends = []
    for number in range(2):
        if number == 0 or take.rng.random() < 0.5:
            others = [c for w, c in people.cues.items() if w != cue] + people.digits
            spelled = [others[take.rng.integers(len(others))] for _ in range(take.rng.integers(3))]
        else:
            spelled = []
        at = int(take.rng.integers(len(spelled) + 1))
        for clip in [*spelled[:at], people.cues[cue], *spelled[at:]]:
            said = take.say_clip(clip)
            ends += [said.end_s] if clip.text == cue else []
            take.wait(0.05, 0.25)
        take.wait(0.9, 1.5)
    return take.sample(
        category,
        expected=[answer(text, end_s) for end_s in ends],
        optional=[],
        middle_s=-ANSWER_S[0],
    )


def _bind(take: Take, category: str) -> tuple[str, str]:
    """Binds one cue; returns it and its answer."""
    if category == 'spoken':
        said = take.say('cue_set', lambda clip: len(clip.meaning['cues']) == 1)
        ((cue, text),) = said.clip.meaning['cues']
        return cue, text
    chance = Random(int(take.rng.integers(2**31)))
    while True:
        phrase = draw_phrase('cue_set', chance, take.studio.split)
        if len(phrase.meaning['cues']) == 1:
            take.type(phrase.text, 'cue_set', phrase.meaning)
            ((cue, text),) = phrase.meaning['cues']
            return cue, text


def score_cue(judged: Sequence[dict]) -> list[Score]:
    """Accuracy in percent, whichever way the cue was bound."""
    late = (late_s for each in judged for late_s in each['late_s'])
    return [*macro_rate('Human-cue', judged), mean('Human-cue.latency_s', late)]


def command_sample(take: Take, index: int) -> Sample:
    """A man says "go forward ten meters", or other numbers that were put in from him."""
    clips = _people(take).commands
    clip = clips[index % len(clips)]
    take.voice = clip.voice
    said = take.say_clip(clip)
    take.wait(1.6, 1.9)
    meaning = clip.meaning
    return take.sample(
        'whole' if clip is clips[0] else 'spliced',
        wanted=[(meaning['skill'], dict(meaning['arguments']))],
        ends=[said.end_s],
        unseen=False,
    )


def score_command(judged: Sequence[dict]) -> list[Score]:
    """Pass@1 in percent; that of the one recording that was not put together."""
    whole = [each['right'] for each in judged if each['category'] == 'whole']
    return [
        rate('Human-command', (each['right'] for each in judged)),
        rate('Human-command.whole', whole),
    ]


def talk_sample(take: Take, index: int) -> Sample:
    """A minute of people who are not talking to the robot."""
    sentences: list[Clip] = _people(take).sentences
    take.voice = 'human-others'
    while take.now < _LENGTH_S - 6:
        take.say_clip(sentences[take.rng.integers(len(sentences))])
        take.wait(0.3, 2.0)
    take.now = _LENGTH_S
    return take.sample('talk')


def score_talk(judged: Sequence[dict]) -> list[Score]:
    """False onsets in an hour."""
    hours = sum(each['hours'] for each in judged)
    return [per_hour('Human-false-onsets-per-hour', sum(j['onsets'] for j in judged), hours)]


CUE = StandIn('Human-cue', 80, cue_sample, judge, score_cue, 4, 8)
COMMAND = StandIn('Human-command', _COMMANDS, command_sample, judge_command, score_command, 7, 4)
TALK = StandIn('Human-false-onsets-per-hour', 30, talk_sample, judge_idle, score_talk, 1, 60)
SETS = (CUE, COMMAND, TALK)
