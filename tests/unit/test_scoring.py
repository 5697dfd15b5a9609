# SPDX-License-Identifier: Apache-2.0
"""Intervals and readings against cases worked out by hand."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from interaction_node.model.evaluation import report, scoring
from interaction_node.model.evaluation.overlap import goes_on, stops
from interaction_node.model.evaluation.robustness import onsets
from interaction_node.model.evaluation.sample import Lived
from interaction_node.model.evaluation.scoring import Score
from interaction_node.model.evaluation.seeing import reply_score
from interaction_node.model.evaluation.turn_taking import human_onsets, judge_words, score_tasks
from interaction_node.model.metrics import Expected, Word, onset_distance_s

ROOT = Path(__file__).parents[2]


def said(*words):
    """Words of 0.3 s: (text, onset)."""
    return [Word(text, start, start + 0.3) for text, start in words]


def test_wilson_of_eight_in_ten():
    low, high = scoring.wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert scoring.wilson(0, 0) == (0.0, 1.0)
    assert scoring.wilson(5, 5)[1] == 1.0


def test_nothing_in_an_hour_is_at_most_3_7():
    score = scoring.per_hour('x', 0, 1.0)
    assert (score.value, score.low, score.high) == (0, 0, pytest.approx(3.689, abs=1e-3))
    score = scoring.per_hour('x', 6, 2.0)
    assert (score.value, score.low, score.high) == (
        3,
        pytest.approx(1.101, abs=1e-3),
        pytest.approx(6.530, abs=1e-3),
    )


def test_the_interval_of_a_mean_of_rates_is_narrower_than_theirs():
    parts = [Score('a', 0.5, 10, 0.2, 0.8), Score('b', 0.9, 10, 0.5, 1.0)]
    whole = scoring.mean_of('c', parts)
    assert whole.value == pytest.approx(0.7)
    assert whole.low == pytest.approx(0.7 - np.hypot(0.3, 0.4) / 2)
    assert whole.high == pytest.approx(0.7 + np.hypot(0.3, 0.1) / 2)
    assert whole.n == 20
    assert scoring.inverse(parts[1]) == Score('b', pytest.approx(0.1), 10, 0.0, 0.5)


def test_numbers_of_several_words_are_put_together():
    words = said(('nineteen', 0.0), ('twenty', 0.8), ('twenty', 1.6), ('one', 1.95), ('okay', 3.0))
    assert [n for _, n in scoring.numbers(words)] == [19, 20, 21]
    assert [n for _, n in scoring.numbers(said(('twenty', 0.0), ('one', 1.0)))] == [20, 1]
    assert [n for _, n in scoring.numbers(said(('one', 0.0), ('hundred', 0.35)))] == [100]
    assert scoring.numbers([]) == []


def test_everything_in_time_and_nothing_else():
    moment = Expected('one moment', 1.0, 2.0)
    seven, okay = Expected('seven', 3.0, 4.0), Expected('okay', 5.0, 6.0)
    right = said(('one', 1.2), ('moment', 1.5), ('seven', 3.1))
    assert scoring.in_time(right, [moment, seven])
    assert not scoring.in_time(right, [moment])
    assert not scoring.in_time(right[:2], [moment, seven])
    assert not scoring.in_time(said(('one', 0.9), ('moment', 1.2)), [moment])
    assert scoring.in_time([*right, *said(('okay', 5.5))], [moment, seven], [okay])
    assert not scoring.in_time([*right, *said(('okay', 4.5))], [moment, seven], [okay])


def test_human_onsets_have_the_three_medians():
    human = human_onsets(20_000)
    assert np.median(human) == pytest.approx(0.08, abs=0.003)
    assert np.median(human[human > 0]) == pytest.approx(0.38, abs=0.003)
    assert np.median(human[human < 0]) == pytest.approx(-0.41, abs=0.003)
    assert onset_distance_s(human, human) == 0


def test_an_interruption_is_answered_with_the_new_count():
    truth = {'end_s': 5.0, 'first': 9}
    # "four" still belongs to the old count; it began before the new one.
    answer = [('four', 5.1), ('nine', 5.5), ('eight', 6.3), ('seven', 7.1)]
    judged = judge_words('interruption', truth, said(('three', 4.4), *answer), 9.0)
    assert judged['taken']
    assert judged['relevant']
    assert judged['latency_s'] == pytest.approx(0.1)
    old = [('four', 5.1), ('five', 5.9), ('six', 6.7), ('seven', 7.5)]
    judged = judge_words('interruption', truth, said(*old), 9.0)
    assert judged['taken']
    assert not judged['relevant']


def test_speaking_before_the_end_of_a_turn_is_told_apart_from_being_fast():
    answer = [('one', 4.0), ('two', 4.8), ('three', 5.6), ('four', 6.4)]
    both = [judge_words('turn', {'end_s': end_s}, said(*answer), 9.0) for end_s in (3.8, 4.5)]
    scores = {s.name: s for s in score_tasks('x', [{'category': 'turn', **each} for each in both])}
    assert scores['x.latency_s'].value == pytest.approx(0.1)
    assert scores['x.turn_too_early'].value == 0.5
    assert 'x' not in scores, 'no mean of five rates without all five'


def test_an_action_and_its_okay_are_one_onset():
    words = said(('okay', 1.3), ('one', 5.0), ('moment', 5.3), ('okay', 9.0))
    lived = Lived(
        np.zeros(0, np.int16), words, [(1.2, 'wave', {}), (20.0, 'stop', {})], [(5.0, '')]
    )
    assert onsets(lived) == 4
    assert onsets(Lived(np.zeros(0, np.int16))) == 0


def counting(*onsets, first=1):
    names = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten']
    return said(*((names[first - 1 + i], t) for i, t in enumerate(onsets)))


class Bit:
    truth = {'step': 1}
    duration_s = 5.4


def test_a_count_goes_on_or_not():
    whole = counting(0.5, 1.3, 2.1, 2.9, 3.7, 4.5)
    assert goes_on(whole, 2.0, Bit)
    assert not goes_on(whole[:4], 2.0, Bit), 'it stopped'
    assert not goes_on([*whole, *said(('okay', 4.9))], 2.0, Bit), 'it said something else'
    skipped = whole[:2] + counting(2.1, 2.9, 3.7, 4.5, first=4)
    assert not goes_on(skipped, 1.9, Bit), 'it lost a number'
    assert not goes_on([], 2.0, Bit)


def test_an_interrupted_count_stops():
    count = counting(0.5, 1.3, 2.1)
    assert stops([*count, *said(('stopped', 2.6))], 2.2, 'stopped')
    assert not stops(count, 2.2, 'stopped'), 'no answer'
    assert not stops([*count, *said(('stopped', 3.6))], 2.2, 'stopped'), 'too late'
    late = [*count, *said(('stopped', 2.6), ('four', 3.4))]
    assert not stops(late, 2.2, 'stopped'), 'it went on'


@pytest.mark.parametrize(
    ('text', 'score'),
    [
        ('i see a red ball', 2),
        ('i see a blue ball', 1),
        ('i see a red cone', 1),
        ('i see a blue cone', 0),
        ('somebody is here', 0),
        ('', 0),
    ],
)
def test_replies_to_a_sight(text, score):
    assert reply_score(text, 'i see a red ball') == score


def test_scores_survive_the_flat_file():
    scores = [Score('CueSpeak-syn', 93.25, 120, 88.0, 96.5), Score('x.y_s', 0.25, 3, 0.2, 0.3)]
    numbers = report.flat(scores)
    assert numbers['CueSpeak-syn.low'] == 88.0
    assert report.unflat(numbers | {'step_cpu_ms_p50': 7.0}) == scores
    empty = report.flat([Score('a', float('nan'), 0, float('nan'), float('nan'))])
    assert empty['a'] is None
    assert '81.7' in report.table(scores)
    assert 'x.y_s' not in report.table(scores, parts=False)


PAGE = '# Title\n\nbefore\n\n<!-- scores -->\nold\n<!-- /scores -->\n\nafter\n'


def write_scores(root):
    script = runpy.run_path(str(ROOT / 'scripts' / 'write_scores.py'))
    script['main'](['--root', str(root), '--scores', str(root / 'eval' / 'scores.json')])


def test_scores_are_written_between_the_markers(tmp_path):
    for folder in ('docs', 'eval'):
        (tmp_path / folder).mkdir()
    pages = [tmp_path / 'README.md', tmp_path / 'docs' / 'model_card.md']
    for page in pages:
        page.write_text(PAGE)
    scores = [
        Score('CueSpeak-syn', 93.25, 120, 88.0, 96.5),
        Score('CueSpeak-syn.alone', 1, 3, 0, 2),
    ]
    numbers = report.flat(scores) | {'step_cpu_ms_p50': 7.5}
    (tmp_path / 'eval' / 'scores.json').write_text(json.dumps(numbers))
    for name in ('scores.png', 'onsets.png'):
        (tmp_path / 'eval' / name).write_bytes(b'picture')
    write_scores(tmp_path)
    once = [page.read_text() for page in pages]
    for text in once:
        assert text.startswith('# Title\n\nbefore\n\n<!-- scores -->\n')
        assert text.endswith('\n<!-- /scores -->\n\nafter\n')
        assert '93.2' in text
        assert 'old' not in text
    assert 'alone' not in once[0]
    assert 'alone' in once[1]
    assert '7.5 ms' in once[1]
    assert (tmp_path / 'docs' / 'scores.png').read_bytes() == b'picture'
    write_scores(tmp_path)
    assert [page.read_text() for page in pages] == once
    pages[0].write_text('no markers')
    with pytest.raises(ValueError, match='once each'):
        write_scores(tmp_path)


def test_the_pages_of_the_repository_have_their_markers():
    for name in ('README.md', 'docs/model_card.md'):
        text = (ROOT / name).read_text()
        assert text.count('<!-- scores -->') == text.count('<!-- /scores -->') == 1
