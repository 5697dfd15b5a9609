# SPDX-License-Identifier: Apache-2.0
"""RepCount-syn, Charades-syn and ProactiveVideoQA-syn: what is to be said of what is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from .. import metrics
from ..data.phrases import sample
from ..data.scenes import Bout, SceneScript, Thing
from ..metrics import Word
from ..tokens import number_words
from .sample import Lived, Sample
from .scoring import Score, macro, mean, numbers, rate
from .sights import MOVEMENTS, any_thing
from .stand_in import StandIn
from .take import FRAMES_PER_S, Take

SPAN_S = 5.0  # in which a reply to a sight is due
_NOTICED_S = 0.28  # a movement is seen to have begun or ended
_SIGHTS = ('thing', 'person', 'light')


def _ask(take: Take, kind: str, where: Callable[[Mapping], bool]) -> Mapping:
    """An instruction: spoken, or typed where no voice of the bank says it; returns its meaning."""
    if take.studio.has(kind, lambda clip: where(clip.meaning)):
        return take.say(kind, lambda clip: where(clip.meaning)).clip.meaning
    chance = Random(int(take.rng.integers(2**31)))
    while True:
        phrase = sample(kind, chance, take.studio.split)
        if where(phrase.meaning):
            take.type(phrase.text, kind, phrase.meaning)
            return phrase.meaning


def _bout(take: Take, shortest_s: float, longest_s: float, least: int, most: int) -> Bout:
    period = int(take.rng.uniform(shortest_s, longest_s) * FRAMES_PER_S)
    return Bout(int(take.now * FRAMES_PER_S), period, int(take.rng.integers(least, most + 1)))


def _with_distractions(take: Take, scene: SceneScript, until_s: float, unlike: str = '') -> None:
    for _ in range(take.rng.integers(0, 3)):
        appears = int(take.rng.integers(-100, int(until_s * FRAMES_PER_S)))
        scene.things.append(any_thing(take.rng, appears, unlike))


def count_sample(take: Take, index: int) -> Sample:
    """Somebody repeats a movement 3 to 10 times."""
    movement = MOVEMENTS[index % len(MOVEMENTS)]
    _ask(take, 'visual_count_set', lambda meaning: meaning['movement'] == movement)
    take.wait(0.8, 2.5)
    bout = _bout(take, 1.0, 2.2, 3, 10)
    ends = [(bout.start + bout.period * (i + 1)) / FRAMES_PER_S for i in range(bout.count)]
    for number, end_s in enumerate(ends, 1):
        take.see(end_s, number_words(number))
    take.scene = SceneScript(movement, [bout])
    take.now = ends[-1] + 1.8
    _with_distractions(take, take.scene, take.now)
    return take.sample(movement.replace(' ', '_'), count=bout.count, penultimate_s=ends[-2])


def judge_count(sample: Sample, lived: Lived) -> dict:
    """The last number that was said after the penultimate repetition."""
    counted = metrics.count_at(numbers(lived.words), sample.truth['penultimate_s'])
    return {'counted': counted, 'count': sample.truth['count']}


def score_count(judged: Sequence[dict]) -> list[Score]:
    """Off-by-one accuracy in percent, and the mean relative error."""
    pairs = [(each['counted'], each['count']) for each in judged]
    errors = [metrics.count_error([c], [t]) for c, t in pairs]
    exact = rate('RepCount-syn.exact', (c == t for c, t in pairs))
    return [
        rate('RepCount-syn', (metrics.off_by_one([c], [t]) > 0 for c, t in pairs)),
        exact,
        mean('RepCount-syn.mae', errors),
    ]


def interval_sample(take: Take, index: int) -> Sample:
    """Somebody moves for a while."""
    movement = MOVEMENTS[index % len(MOVEMENTS)]
    _ask(take, 'visual_start_stop_set', lambda meaning: meaning['movement'] == movement)
    take.wait(1.0, 3.5)
    bout = _bout(take, 0.7, 1.8, 3, 7)
    start_s, end_s = bout.start / FRAMES_PER_S, bout.end / FRAMES_PER_S
    take.see(start_s + _NOTICED_S, 'start')
    take.see(end_s + _NOTICED_S, 'stop')
    take.scene = SceneScript(movement, [bout])
    take.now = end_s + 2.0
    _with_distractions(take, take.scene, take.now)
    return take.sample(movement.replace(' ', '_'), span=(start_s, end_s))


def judge_interval(sample: Sample, lived: Lived) -> dict:
    """IoU of the first "start" and the first "stop" after it with the truth."""
    start = next((w.start for w in lived.words if w.text == 'start'), None)
    stop = next((w.start for w in lived.words if w.text == 'stop' and w.start > (start or 0)), None)
    return {'iou': metrics.temporal_iou((start, stop), sample.truth['span'])}


def score_interval(judged: Sequence[dict]) -> list[Score]:
    """Mean IoU x 100."""
    return [mean('Charades-syn', (each['iou'] for each in judged), 100)]


def trigger_sample(take: Take, index: int) -> Sample:
    """Something comes into view that the robot was told to wait for."""
    category = _SIGHTS[index % len(_SIGHTS)]
    meaning = _ask(take, 'visual_trigger_set', lambda meaning: _sight(meaning['see']) == category)
    see, text = meaning['see'], meaning['answer']
    take.wait(1.0, 6.0)
    frame = int(take.now * FRAMES_PER_S)
    scene = take.scene = SceneScript()
    if category == 'person':
        scene.enters = frame
    elif category == 'light':
        scene.light_green = frame
    else:
        colour, shape = see.split()
        scene.things.append(Thing(colour, shape, frame))
    if category != 'person' and take.rng.random() < 0.3:
        scene.movement = str(take.rng.choice(MOVEMENTS))
    take.see(take.now + 0.08, text)
    event_s = take.now
    take.now += SPAN_S
    _with_distractions(take, scene, take.now, see)
    return take.sample(category, span=(event_s, event_s + SPAN_S), text=text)


def _sight(see: str) -> str:
    return {'person': 'person', 'green light': 'light'}.get(see, 'thing')


def reply_score(said: str, wanted: str) -> int:
    """2 for the right words, 1 for the right kind with one of colour and shape right, else 0."""
    if said == wanted:
        return 2
    mine, right = said.split(), wanted.split()
    if mine[:2] != ['i', 'see'] or right[:2] != ['i', 'see']:
        return 0
    return int(len(set(mine[3:]) & set(right[3:])) > 0)


def _segments(words: Sequence[Word]) -> list[tuple[float, str]]:
    """(onset, text) of what was said without a pause."""
    segments = metrics.voiced_segments(words, 0.6)
    return [(s[0].start, ' '.join(w.text for w in s)) for s in segments]


def judge_trigger(sample: Sample, lived: Lived) -> dict:
    """PAUC of the replies within the span; whether the only reply was the right one."""
    t0, t1 = sample.truth['span']
    replies = [
        (t, reply_score(text, sample.truth['text']))
        for t, text in _segments([w for w in lived.words if t0 <= w.start <= t1])
    ]
    said = _segments(lived.words)
    exact = [(t >= t0, text) for t, text in said] == [(True, sample.truth['text'])]
    return {
        'pauc': metrics.pauc((t0, t1), replies),
        'exact': exact,
        'early': any(t < t0 for t, _ in said),
    }


def score_trigger(judged: Sequence[dict]) -> list[Score]:
    """PAUC x 100, mean over turns, then categories; share with exactly the right reply."""
    main = macro(
        'ProactiveVideoQA-syn',
        judged,
        lambda name, group: mean(name, (each['pauc'] for each in group), 100),
    )
    return [
        *main,
        rate('ProactiveVideoQA-syn.exact', (each['exact'] for each in judged)),
        rate('ProactiveVideoQA-syn.too_early', (each['early'] for each in judged)),
    ]


REP_COUNT = StandIn('RepCount-syn', 60, count_sample, judge_count, score_count, weight=22)
CHARADES = StandIn('Charades-syn', 50, interval_sample, judge_interval, score_interval, weight=20)
PROACTIVE = StandIn(
    'ProactiveVideoQA-syn', 60, trigger_sample, judge_trigger, score_trigger, weight=20
)
SETS = (REP_COUNT, CHARADES, PROACTIVE)
