# SPDX-License-Identifier: Apache-2.0
"""FDB-v1-syn: who takes the turn when, by the five rates of Full-Duplex-Bench v1 and its latency.

The human onsets are known to us by three medians only: gaps 380 ms, overlaps 410 ms, and 80 ms
over all. `HUMAN_S` holds exponentially distributed gaps and overlaps, in the one proportion that
gives the third median.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import metrics
from ..interface import SAMPLE_RATE_HZ
from ..metrics import HUMAN_GAP_S, HUMAN_INTERVAL_S, HUMAN_OVERLAP_S
from .sample import Lived, Sample
from .scoring import Score, inverse, mean, mean_of, numbers, rate
from .stand_in import StandIn
from .studio import MissingClipError, word_of
from .take import Said, Take

NAME = 'FDB-v1-syn'
TASKS = ('pause_synthetic', 'pause_natural', 'backchannel', 'turn', 'interruption')
_ORDER = (
    'turn',
    'interruption',
    'pause_synthetic',
    'pause_natural',
    'turn',
    'interruption',
    'backchannel',
)
_FILLERS = ('uh', 'mm', 'er', 'um')
_EARLY_S = -0.1  # an onset before the end of the turn
_AFTER_S = 3.0  # that are recorded after the end of a turn
_INSTRUCTIONS = ('cue_set', 'time_set', 'count_set', 'delegate', 'visual_trigger_set', 'command')


def human_onsets(count: int = 1000) -> np.ndarray:
    """(count,) seconds from the end of a turn to the next one, as people have them."""
    gap_s, overlap_s = HUMAN_GAP_S / np.log(2), -HUMAN_OVERLAP_S / np.log(2)
    share = 0.5 / np.exp(-HUMAN_INTERVAL_S / gap_s)
    quantile = (np.arange(count) + 0.5) / count
    overlap = overlap_s * np.log(np.minimum(quantile / (1 - share), 1))
    gap = -gap_s * np.log(np.minimum((1 - quantile) / share, 1))
    return np.where(quantile < 1 - share, overlap, gap)


HUMAN_S = human_onsets().tolist()


def write(take: Take, index: int) -> Sample:
    """A sample of one of the five tasks."""
    task = _ORDER[index % len(_ORDER)]
    if task == 'backchannel':
        return _long_talk(take)
    if task.startswith('pause'):
        return _pause(take, task)
    return _turn(take) if task == 'turn' else _interruption(take)


def _long_talk(take: Take) -> Sample:
    """Somebody talks at length; who listens may say "mm hmm", but not more."""
    first = take.now
    while take.now < first + 13:
        take.say(str(take.rng.choice(['chatter', 'chatter', 'running_speech'])))
        take.wait(0.2, 0.7)
    return take.sample('backchannel')


def _pause(take: Take, task: str) -> Sample:
    """An instruction with a pause inside; the recording ends with it."""
    kind = str(take.rng.choice(_INSTRUCTIONS))
    clip = take.pick(kind, lambda clip: clip.aligned and len(clip.words) >= 4)
    after = int(take.rng.integers(1, len(clip.words) - 1))
    quiet = [np.zeros(int(take.rng.uniform(0.2, 1.0) * SAMPLE_RATE_HZ), np.float32) for _ in '12']
    filler = [] if task == 'pause_synthetic' else [_filler(take)]
    said = take.say_clip(clip, ((after, np.concatenate([quiet[0], *filler, quiet[1]])),))
    take.now = said.end_s
    return take.sample(task, pauses=said.pauses, transcript=said.words)


def _filler(take: Take) -> np.ndarray:
    """The same voice's "uh" or "mm"."""
    for clip in take.studio.clips('backchannel', take.voice) + take.studio.clips(
        'hesitation', take.voice
    ):
        for number, (word, _, _) in enumerate(clip.words):
            if word in _FILLERS and clip.aligned:
                return word_of(clip, number)
    raise MissingClipError(f'{take.voice} never says uh')


def _count(take: Take, least: int, most: int, also=bool) -> Said:
    """An instruction to count at least so many numbers, and at most so many."""
    return take.say('count_set', lambda clip: least <= _length(clip.meaning) <= most and also(clip))


def _length(meaning) -> int:
    return abs(meaning['last'] - meaning['first']) + 1


def _turn(take: Take) -> Sample:
    """A request that is answered at length."""
    said = _count(take, 4, 100)
    take.now = said.end_s + _AFTER_S
    return take.sample('turn', end_s=said.end_s, transcript=said.words)


def _interruption(take: Take) -> Sample:
    """While the robot answers, the user asks for something else."""
    context = _count(take, 10, 100)
    take.now = context.end_s
    take.wait(2.0, 4.0)
    take.overlapping = True
    first = context.clip.meaning['first']
    said = _count(
        take,
        4,
        100,
        lambda clip: abs(clip.meaning['first'] - first) > 8 or clip.meaning['step'] < 0,
    )
    take.now = said.end_s + _AFTER_S
    return take.sample(
        'interruption',
        end_s=said.end_s,
        span=(said.start_s, said.end_s),
        texts=(context.clip.text, said.clip.text),
        first=said.clip.meaning['first'],
    )


def judge(sample: Sample, lived: Lived) -> dict:
    """Whether the turn was taken; when, and with the right words."""
    return judge_words(sample.category, sample.truth, lived.words, sample.duration_s)


def judge_words(task: str, truth: dict, words: Sequence[metrics.Word], duration_s: float) -> dict:
    """The same for words from anywhere.

    Args:
        task: One of `TASKS`.
        truth: 'end_s' of the user's turn for 'turn' and 'interruption'; for stand-ins also 'first',
            the number that a relevant answer begins with.
        words: What the model said.
        duration_s: Length of the sample.
    """
    if task == 'backchannel':
        kinds = [metrics.classify_segment(s) for s in metrics.voiced_segments(words)]
        frequency = metrics.backchannel_frequency(words, duration_s)
        return {'taken': any(k != 'backchannel' for k in kinds), 'frequency': frequency}
    if task.startswith('pause'):
        return {'taken': metrics.takes_over(words), 'silent': not words}
    after = [w for w in words if task == 'turn' or w.start >= truth['end_s']]
    judged: dict = {'taken': metrics.takes_over(after), 'onset_s': None, 'relevant': None}
    if judged['taken']:
        judged['onset_s'] = round(min(w.start for w in after) - truth['end_s'], 3)
        judged['latency_s'] = metrics.response_latency_s(after, truth['end_s'])
    if 'first' in truth:
        # A number of the old count may still begin before the new one does.
        found = [number for t, number in numbers(words) if t >= truth['end_s']]
        judged['relevant'] = truth['first'] in found[:2]
    return judged


def score(judged: Sequence[dict]) -> list[Score]:
    """Five-rate mean, 0 to 1; the rates; latency; distance to the human onsets."""
    return score_tasks(NAME, judged)


def score_tasks(name: str, judged: Sequence[dict]) -> list[Score]:
    """The scores of any data of this layout; tasks without samples are left out."""
    by_task = {task: [j for j in judged if j['category'] == task] for task in TASKS}
    rates = {
        task: rate(f'{name}.{task}', (j['taken'] for j in group), 1)
        for task, group in by_task.items()
        if group
    }
    good = [rates[t] if t in ('turn', 'interruption') else inverse(rates[t]) for t in rates]
    answered = [j for j in judged if j.get('onset_s') is not None]
    turns = [j for j in answered if j['category'] == 'turn']
    breaks = [j for j in answered if j['category'] == 'interruption']
    pauses = [j['silent'] for j in judged if 'silent' in j]
    relevant = [j['relevant'] for j in judged if j.get('relevant') is not None]
    return [
        *([mean_of(name, good)] if len(rates) == len(TASKS) else []),
        *rates.values(),
        mean(f'{name}.latency_s', (j['latency_s'] for j in turns)),
        # Latency is clipped at 0: who speaks too early looks fast.
        rate(f'{name}.turn_too_early', (j['onset_s'] < _EARLY_S for j in turns), 1),
        mean(f'{name}.interruption_latency_s', (j['latency_s'] for j in breaks)),
        *([rate(f'{name}.interruption_relevant', relevant, 1)] if relevant else []),
        rate(f'{name}.silent_in_pause', pauses, 1),
        mean(f'{name}.backchannels_per_s', (j['frequency'] for j in by_task['backchannel'])),
        _distance(f'{name}.onset_distance_s', [j['onset_s'] for j in turns]),
    ]


def _distance(name: str, onsets_s: Sequence[float]) -> Score:
    """Wasserstein-1 distance to the human onsets, with a bootstrap interval."""
    if not onsets_s:
        return Score(name, float('nan'), 0, float('nan'), float('nan'))
    rng, data = np.random.default_rng(0), np.asarray(onsets_s)
    draws = [data[rng.integers(0, len(data), len(data))].tolist() for _ in range(500)]
    low, high = np.percentile([metrics.onset_distance_s(d, HUMAN_S) for d in draws], [2.5, 97.5])
    value = metrics.onset_distance_s(onsets_s, HUMAN_S)
    return Score(name, value, len(data), float(low), float(high))


FDB_V1 = StandIn(NAME, 210, write, judge, score, quick=7, weight=9)
SETS = (FDB_V1,)
