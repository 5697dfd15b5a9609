# SPDX-License-Identifier: Apache-2.0
"""Each metric against cases worked out by hand, and by silent, chattering and perfect models."""

import pytest

from interaction_node.model import metrics
from interaction_node.model.metrics import Expected, Word


def words(*spans):
    return [Word(f'w{i}', start, end) for i, (start, end) in enumerate(spans)]


CHATTER = words(*((0.3 * i, 0.3 * i + 0.25) for i in range(60)))


@pytest.mark.parametrize(
    ('said', 'taken'),
    [
        ([], False),
        (words((0.0, 0.4)), False),
        (words((0.0, 0.3), (0.4, 0.6), (0.7, 0.95)), False),
        (words((0.0, 0.2), (0.25, 0.4), (0.45, 0.6), (0.65, 0.8)), True),
        (words((0.0, 1.0)), True),
        (words((0.0, 0.3), (2.0, 2.3)), True),
        (CHATTER, True),
    ],
)
def test_takeover(said, taken):
    assert metrics.takes_over(said) is taken


def test_five_rates_of_the_models_that_know_nothing():
    perfect = metrics.five_rate_mean(0, 0, 0, 1, 1)
    silent = metrics.five_rate_mean(0, 0, 0, 0, 0)
    chattering = metrics.five_rate_mean(1, 1, 1, 1, 1)
    assert (perfect, silent, chattering) == (1.0, pytest.approx(0.6), pytest.approx(0.4))


def test_latency_is_clipped_and_needs_a_takeover():
    long = words((2.4, 2.8), (2.9, 3.8))
    assert metrics.response_latency_s(long, 2.0) == pytest.approx(0.4)
    assert metrics.response_latency_s(long, 3.0) == 0.0
    assert metrics.response_latency_s(words((2.4, 2.8)), 2.0) is None


def test_segments_are_joined_and_classified():
    segments = metrics.voiced_segments(words((0, 0.3), (0.5, 0.8), (2.0, 2.4)))
    assert [len(s) for s in segments] == [2, 1]
    assert metrics.classify_segment(segments[0]) == 'backchannel'
    assert metrics.classify_segment(words((0, 3.2))) == 'takeover'
    assert metrics.classify_segment(words((0, 1.5))) == 'other'
    assert metrics.backchannel_frequency(words((0, 0.3), (2.0, 2.4), (4, 6)), 10.0) == 0.2


def test_stopping_and_starting_again():
    said = words((0.0, 0.4), (0.5, 1.3), (3.0, 3.5))
    assert metrics.stop_latency_s(said, 1.0) == pytest.approx(0.3)
    assert metrics.stop_latency_s(said, 2.0) is None
    assert metrics.restart_latency_s(said, 2.2) == pytest.approx(0.8)
    assert metrics.restart_latency_s(said, 4.0) is None


WANTED = [Expected('seven', 2.0, 2.6), Expected('seven', 5.0, 5.6)]


@pytest.mark.parametrize(
    ('said', 'right'),
    [
        ([(2.2, 'seven'), (5.1, 'seven')], True),
        ([(5.1, 'seven'), (2.2, 'seven')], True),
        ([(2.2, 'seven')], False),
        ([(2.2, 'seven'), (5.7, 'seven')], False),
        ([(2.2, 'seven'), (5.1, 'six')], False),
        ([(2.2, 'seven'), (5.1, 'seven'), (7.0, 'seven')], False),
        ([], False),
    ],
)
def test_everything_must_be_said_in_time_and_nothing_else(said, right):
    assert metrics.all_in_time(said, WANTED) is right


def test_silence_is_right_where_nothing_is_expected():
    assert metrics.all_in_time([], [])
    assert not metrics.all_in_time([(1.0, 'now')], [])


def test_macro_accuracy_weighs_categories_not_examples():
    right = {'a': [True] * 9 + [False], 'b': [False, True], 'c': []}
    assert metrics.macro_accuracy(right) == pytest.approx(70.0)


def test_counting():
    numbers = [(1.0, 1), (2.0, 2), (3.1, 3), (4.1, 4)]
    assert metrics.count_at(numbers, 3.0) == 4
    assert metrics.count_at(numbers, 5.0) == 0
    assert metrics.off_by_one([4, 7, 0], [5, 5, 1]) == pytest.approx(200 / 3)
    assert metrics.count_error([4, 6], [5, 5]) == pytest.approx(0.2)


def test_pauc_by_hand():
    assert metrics.pauc((0.0, 10.0), []) == 0.25
    # One full reply at 4 s counts from 2 s on: (2 * 0.5 + 8 * 2) / 20.
    assert metrics.pauc((0.0, 10.0), [(4.0, 2)]) == pytest.approx(0.85)
    # Wrong at once: everything lost.
    assert metrics.pauc((0.0, 10.0), [(0.0, 0)]) == 0.0
    # Wrong at 2 s (from 1 s on), right at 6 s (from 3 s on): (1 * .5 + 2 * 0 + 7 * 2) / 20.
    assert metrics.pauc((0.0, 10.0), [(6.0, 2), (2.0, 0)]) == pytest.approx(0.725)


@pytest.mark.parametrize(
    ('predicted', 'iou'),
    [
        ((2.0, 6.0), 1.0),
        ((2.0, 4.0), 0.5),
        ((4.0, 8.0), pytest.approx(1 / 3)),
        ((7.0, 9.0), 0.0),
        ((None, 6.0), 0.0),
        ((2.0, None), 0.0),
        ((6.0, 2.0), 0.0),
    ],
)
def test_temporal_iou(predicted, iou):
    assert metrics.temporal_iou(predicted, (2.0, 6.0)) == iou


def test_pass_at_1_wants_all_and_none_extra():
    go, stop = ('navigate_to', {'place': 'door'}), ('stop', {})
    assert metrics.pass_at_1([stop, go], [go, stop])
    assert not metrics.pass_at_1([go], [go, stop])
    assert not metrics.pass_at_1([go, go], [go])
    assert not metrics.pass_at_1([('navigate_to', {'place': 'table'})], [go])
    assert metrics.pass_at_1([], [])


def test_onset_distance_is_the_shift_of_equal_shapes():
    assert metrics.onset_distance_s([0.1, 0.2], [0.4, 0.5]) == pytest.approx(0.3)


def test_interval_holds_the_mean_and_narrows():
    few, many = [0, 1] * 10, [0, 1] * 500
    low, high = metrics.interval_95(few)
    assert low < 0.5 < high
    assert metrics.interval_95(many)[1] - metrics.interval_95(many)[0] < high - low
