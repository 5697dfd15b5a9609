# SPDX-License-Identifier: Apache-2.0
"""Own voice, frames and text of the micro-turn clock, and the pace of the graph."""

import numpy as np
import pytest
from clock_sound import ROS_S, START_S, TURN, ros

from interaction_node.clock_settings import ClockSettings
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import Missing, Role, TextInput


def voice(count, first=1):
    return np.arange(first, first + count).astype(np.int16)


def hear(clock, first, count, at_s):
    pcm = np.ones(count, np.int16)
    clock.push_audio(first, 16_000, 1, pcm, ros(at_s) - count / 16_000, at_s)


def turn_over(clock, index, poll=True):
    """Lets the microphone fill the window of a micro-turn; returns what is due at its end."""
    end_s = START_S + (index + 1) * 0.2
    for number in range(10):
        hear(clock, index * TURN + number * 320, 320, end_s - 0.18 + number * 0.02)
    return clock.poll(end_s, ros(end_s)) if poll else []


def show(clock, value, stamp_s, at_s=None, size=(2, 3)):
    frame = np.full((*size, 3), value, np.uint8)
    clock.push_frame(frame, stamp_s, START_S + stamp_s - ROS_S if at_s is None else at_s)


def say(clock, text, stamp_s, at_s):
    clock.push_text(TextInput(Role.USER, text), stamp_s, at_s)


def shown(turn):
    return turn.frames[:, 0, 0, 0].tolist()


def said(handed):
    return [[line.text for line in turn.text] for turn, _ in handed]


# Own voice


def test_own_voice_is_placed_by_sample():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    placed = clock.push_playback(3300, 16_000, voice(3200), 0.0, START_S + 0.4)
    assert placed.taken == 3200
    ((first, _),) = turn_over(clock, 1)
    ((second, report),) = turn_over(clock, 2)
    assert np.array_equal(first.own_pcm, np.r_[np.zeros(100), voice(3100)])
    assert np.array_equal(second.own_pcm, np.r_[voice(100, 3101), np.zeros(3100)])
    assert report.playback_age_ms == pytest.approx(3100 / 16)
    assert not second.missing & Missing.PLAYBACK


def test_own_voice_is_placed_by_sample_after_the_counter_restarted():
    clock = MicroTurnClock()
    for index in range(3):
        turn_over(clock, index)
    handed = []
    for number in range(20):
        now_s = START_S + 2.0 + number * 0.02
        hear(clock, number * 320, 320, now_s)
        handed += clock.poll(now_s, ros(now_s))
    clock.push_playback(6400, 16_000, voice(100), 0.0, START_S + 2.4)
    for number in range(20, 31):
        now_s = START_S + 2.0 + number * 0.02
        hear(clock, number * 320, 320, now_s)
        handed += clock.poll(now_s, ros(now_s))
    ((turn, _),) = [(t, r) for t, r in handed if r.first_sample == 6400 and r.reanchors == 2]
    assert np.array_equal(turn.own_pcm[:100], voice(100))


def test_own_voice_is_placed_by_stamp_and_stays_in_one_piece():
    clock = MicroTurnClock()
    for index in range(5):
        turn_over(clock, index)
    for number, jitter_s in enumerate((0.0, 0.003, -0.002, 0.001)):
        stamp_s = ROS_S + 1.01 + number * 0.02 + jitter_s
        clock.push_playback(-1, 16_000, voice(320, 1 + 320 * number), stamp_s, START_S + 1.1)
    ((turn, report),) = turn_over(clock, 5)
    (start,) = np.flatnonzero(turn.own_pcm == 1)
    assert abs(start - 160) <= 2
    assert np.array_equal(turn.own_pcm[start : start + 1280], voice(1280))
    assert np.count_nonzero(turn.own_pcm) == 1280
    assert report.playback_overlap_samples == 0


def test_a_pause_between_utterances_stays():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    clock.push_playback(-1, 16_000, voice(320), ROS_S + 0.21, START_S + 0.4)
    clock.push_playback(-1, 16_000, voice(320), ROS_S + 0.25, START_S + 0.4)
    ((turn, _),) = turn_over(clock, 1)
    assert np.diff(np.flatnonzero(turn.own_pcm == 1))[0] == pytest.approx(640, abs=2)


def test_own_voice_at_another_rate_is_resampled_in_one_stream():
    clock = MicroTurnClock()
    tone = np.rint(8000 * np.sin(2 * np.pi * 300 * np.arange(19_200) / 48_000)).astype(np.int16)
    turn_over(clock, 0)
    turn_over(clock, 1, poll=False)
    turn_over(clock, 2, poll=False)
    for number in range(20):
        chunk = tone[number * 960 : (number + 1) * 960]
        clock.push_playback(3200 + number * 320, 48_000, chunk, 0.0, START_S, number == 19)
    handed = clock.poll(START_S + 0.6, ros(START_S + 0.6))
    own = np.concatenate([turn.own_pcm for turn, _ in handed])
    expected = 8000 * np.sin(2 * np.pi * 300 * np.arange(6400) / 16_000)
    assert np.abs(own - expected)[200:-200].max() < 3
    assert np.count_nonzero(own[-100:]) > 90


def test_own_voice_that_comes_too_late_or_twice_is_counted():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    placed = clock.push_playback(3000, 16_000, voice(400), 0.0, START_S + 0.3)
    assert (placed.late, placed.taken) == (200, 200)
    assert clock.push_playback(3200, 16_000, voice(100), 0.0, START_S + 0.3).overlap == 100
    ((turn, report),) = turn_over(clock, 1)
    assert np.array_equal(turn.own_pcm[:200], voice(200, 201))
    assert (report.playback_late_samples, report.playback_overlap_samples) == (200, 100)


def test_promised_speech_is_waited_for_up_to_the_jitter_and_flagged():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    clock.expect_playback(1)
    assert turn_over(clock, 1) == []
    assert clock.poll(START_S + 0.435, ros(START_S + 0.435)) == []
    ((turn, _),) = clock.poll(START_S + 0.442, ros(START_S + 0.442))
    assert turn.missing == Missing.PLAYBACK | Missing.IMAGE
    ((turn, _),) = turn_over(clock, 2)
    assert not turn.missing & Missing.PLAYBACK


def test_promised_speech_that_comes_makes_the_window_due():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    clock.expect_playback(1)
    assert turn_over(clock, 1) == []
    clock.push_playback(3400, 16_000, voice(2999), 0.0, START_S + 0.41)
    assert clock.poll(START_S + 0.41, ros(START_S + 0.41)) == []
    clock.push_playback(6399, 16_000, voice(201), 0.0, START_S + 0.42)
    ((turn, _),) = clock.poll(START_S + 0.42, ros(START_S + 0.42))
    assert np.count_nonzero(turn.own_pcm) == 3000
    assert not turn.missing & Missing.PLAYBACK


@pytest.mark.parametrize('how', ['done', 'flushed before it began', 'forgotten'])
def test_nothing_more_is_waited_for_after_the_end(how):
    clock = MicroTurnClock()
    turn_over(clock, 0)
    clock.expect_playback(1)
    assert turn_over(clock, 1) == []
    if how == 'forgotten':
        clock.forget_playback()
    else:
        pcm = voice(900) if how == 'done' else voice(0)
        clock.push_playback(3200, 16_000, pcm, 0.0, START_S + 0.405, ended=True)
    ((turn, _),) = clock.poll(START_S + 0.405, ros(START_S + 0.405))
    assert not turn.missing & Missing.PLAYBACK


def test_the_end_of_one_utterance_does_not_end_the_next():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    clock.expect_playback(2)
    clock.push_playback(3200, 16_000, voice(900), 0.0, START_S + 0.405, ended=True)
    assert len(turn_over(clock, 1)) == 1
    assert turn_over(clock, 2) == []


def test_bad_playback_is_named():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    with pytest.raises(ValueError, match='sample_rate_hz is 0'):
        clock.push_playback(0, 0, voice(4), 0.0, START_S)
    with pytest.raises(ValueError, match='pcm is float64, expected int16'):
        clock.push_playback(-1, 16_000, np.ones(4), ROS_S, START_S)


# Frames


def test_the_newest_two_frames_of_the_window_are_seen():
    clock = MicroTurnClock()
    for number in range(15):
        show(clock, number, ROS_S + number / 30, START_S)
    ((turn, report),) = turn_over(clock, 0)
    assert shown(turn) == [5, 6]
    assert turn.frame_age_s == pytest.approx(0.0, abs=1e-3)
    ((turn, report),) = turn_over(clock, 1)
    assert shown(turn) == [11, 12]
    assert turn.missing == Missing.NONE
    assert report.image_drops == 0
    assert report.image_age_ms == pytest.approx(0.0, abs=1.0)


def test_a_frame_stays_until_the_next_and_gets_older():
    clock = MicroTurnClock(ClockSettings(camera_timeout_ms=500.0))
    show(clock, 1, ROS_S + 0.05)
    turns = [turn_over(clock, index)[0] for index in range(4)]
    assert [shown(turn) for turn, _ in turns] == [[1, 1]] * 4
    ages_s = [turn.frame_age_s for turn, _ in turns]
    assert ages_s == pytest.approx([0.15, 0.35, 0.55, 0.75], abs=1e-3)
    assert [report.image_age_ms for _, report in turns] == pytest.approx(
        [150, 350, 550, 750], abs=1
    )
    assert [bool(turn.missing & Missing.IMAGE) for turn, _ in turns] == [False, False, True, True]
    show(clock, 2, ROS_S + 0.9)
    ((turn, _),) = turn_over(clock, 4)
    assert shown(turn) == [1, 2]
    assert not turn.missing & Missing.IMAGE


def test_frames_may_come_out_of_order_and_after_their_window():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    for stamp_s in (0.15, 0.39, 0.31, 0.05):
        show(clock, round(stamp_s * 100), ROS_S + stamp_s, START_S + 0.4)
    ((turn, _),) = turn_over(clock, 1)
    assert shown(turn) == [31, 39]


def test_a_frame_of_another_size_is_shown_twice():
    clock = MicroTurnClock()
    show(clock, 1, ROS_S + 0.05)
    show(clock, 2, ROS_S + 0.1, size=(4, 4))
    ((turn, _),) = turn_over(clock, 0)
    assert turn.frames.shape == (2, 4, 4, 3)
    assert shown(turn) == [2, 2]


def test_after_a_stall_each_window_sees_its_own_frames():
    clock = MicroTurnClock()
    for number in range(60):
        show(clock, number, ROS_S + number / 60, START_S)
    for index in range(5):
        turn_over(clock, index, poll=False)
    handed = clock.poll(START_S + 1.0, ros(START_S + 1.0))
    assert [shown(turn) for turn, _ in handed[:4]] == [[11, 12], [23, 24], [35, 36], [47, 48]]
    assert shown(handed[4][0]) == [58, 59]
    assert handed[-1][1].image_drops == 0


def test_frames_never_fill_the_memory():
    clock = MicroTurnClock(ClockSettings(max_frames=4))
    turn_over(clock, 0)
    for number in range(300):
        show(clock, number % 256, ROS_S + 0.2 + number * 0.006, START_S + 0.21)
    assert len(clock._frames._frames) <= 4
    ((_, report),) = turn_over(clock, 1)
    assert report.image_drops > 0


def test_a_camera_whose_clock_is_ahead_is_seen_as_it_comes():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    for number in range(6):
        at_s = START_S + 0.2 + number * 0.03
        show(clock, number, ros(at_s) + 3.0, at_s)
    ((turn, report),) = turn_over(clock, 1)
    assert shown(turn) == [4, 5]
    assert turn.frame_age_s == pytest.approx(0.05, abs=0.03)
    ((key, message),) = report.errors
    assert key == 'image.stamp'
    assert 'ahead of its arrival, expected at most 2.0 s' in message


def test_frames_without_a_stamp_count_as_of_their_arrival():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    show(clock, 7, 0.0, START_S + 0.3)
    ((turn, _),) = turn_over(clock, 1)
    assert shown(turn) == [7, 7]
    assert turn.frame_age_s == pytest.approx(0.1, abs=0.03)


def test_frames_survive_a_jump_of_the_ros_clock():
    clock = MicroTurnClock()
    show(clock, 1, ROS_S + 0.1)
    turn_over(clock, 0)
    for number in range(20):
        now_s = START_S + 0.22 + number * 0.02
        first, stamp_s = 3200 + number * 320, ros(now_s) - 0.02 - 500.0
        clock.push_audio(first, 16_000, 1, np.ones(320, np.int16), stamp_s, now_s)
        show(clock, 2 + number, stamp_s, now_s)
        handed = clock.poll(now_s, ros(now_s) - 500.0)
    assert shown(handed[-1][0]) == [20, 21]


@pytest.mark.parametrize(
    'frame', [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3))]
)
def test_bad_frames_are_named(frame):
    with pytest.raises(ValueError, match='expected uint8'):
        MicroTurnClock().push_frame(frame, ROS_S, START_S)


# Text


def test_text_is_placed_by_its_stamp():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    say(clock, 'now', ROS_S + 0.39, START_S + 0.395)
    say(clock, 'soon', ROS_S + 0.41, START_S + 0.395)
    say(clock, 'late', ROS_S + 0.1, START_S + 0.395)
    say(clock, 'unstamped', 0.0, START_S + 0.395)
    say(clock, 'absurd', ROS_S + 99.0, START_S + 0.395)
    handed = turn_over(clock, 1) + turn_over(clock, 2)
    assert said(handed) == [['now', 'late', 'unstamped', 'absurd'], ['soon']]
    assert [key for _, report in handed for key, _ in report.errors] == ['text.stamp']


def test_text_of_a_window_that_waits_for_late_audio_is_in_it():
    clock = MicroTurnClock()
    turn_over(clock, 0)
    hear(clock, 3200, 3199, START_S + 0.4)
    say(clock, 'in', ROS_S + 0.39, START_S + 0.41)
    say(clock, 'after', ROS_S + 0.405, START_S + 0.41)
    assert said(clock.poll(START_S + 0.45, ros(START_S + 0.45))) == [['in']]


def test_text_without_a_microphone_is_placed_by_the_ros_clock():
    clock = MicroTurnClock()
    clock.poll(START_S, ROS_S)
    say(clock, 'second', ROS_S + 0.3, START_S + 0.1)
    say(clock, 'first', 0.0, START_S + 0.1)
    handed = clock.poll(START_S + 0.4, ROS_S + 0.4)
    assert said(handed) == [['first'], ['second']]


def test_text_before_the_start_is_not_lost():
    clock = MicroTurnClock()
    say(clock, 'early', ROS_S - 5.0, START_S - 5.0)
    assert said(turn_over(clock, 0)) == [['early']]


def test_more_text_than_the_bound_is_told():
    clock = MicroTurnClock(ClockSettings(max_text=3))
    for number in range(5):
        say(clock, str(number), ROS_S + 0.1, START_S + 0.1)
    ((turn, report),) = turn_over(clock, 0)
    assert [line.text for line in turn.text] == ['0', '1', '2']
    assert report.text_drops == 2
    assert report.errors == (('text.dropped', 'more than 3 lines wait'),)


def test_an_error_is_told_once():
    clock = MicroTurnClock(ClockSettings(max_text=1))
    told = []
    for index in range(4):
        for _ in range(3):
            say(clock, 'x', 0.0, START_S + index * 0.2)
        told += [report.errors for _, report in turn_over(clock, index)]
    assert [len(errors) for errors in told] == [1, 0, 0, 0]


# The pace of the graph


@pytest.fixture
def graph():
    return MicroTurnClock(ClockSettings(pace='graph', graph_wait_s=5.0))


def fill(clock, index, count=TURN, start=0):
    stamp_s = ROS_S + index * 0.2 + start / 16_000
    pcm = np.ones(count, np.int16)
    clock.push_audio(index * TURN + start, 16_000, 1, pcm, stamp_s, START_S)


def test_in_the_graph_time_makes_nothing_due(graph):
    assert graph.poll(START_S, ROS_S) == []
    assert graph.poll(START_S + 1e5, ROS_S + 1e5) == []
    fill(graph, 0, TURN - 1)
    assert graph.poll(START_S + 2e5, ROS_S) == []
    fill(graph, 0, 1, TURN - 1)
    ((turn, report),) = graph.poll(START_S + 2e5, ROS_S)
    assert (turn.index, turn.emit, report.audio_gap_samples) == (0, True, 0)
    assert turn.start_s == pytest.approx(ROS_S, abs=1e-3)


def test_in_the_graph_one_micro_turn_a_poll_is_due(graph):
    for index in range(5):
        fill(graph, index)
    handed = [graph.poll(START_S, ROS_S) for _ in range(6)]
    assert [len(each) for each in handed] == [1, 1, 1, 1, 1, 0]
    assert all(turn.emit for ((turn, _),) in handed[:5])
    assert [report.backlog for ((_, report),) in handed[:5]] == [4, 3, 2, 1, 0]


def test_in_the_graph_a_lost_chunk_is_known_by_what_follows(graph):
    fill(graph, 0, 3000)
    fill(graph, 1, 639)
    assert graph.poll(START_S, ROS_S) == []
    fill(graph, 1, 1, 639)
    ((turn, report),) = graph.poll(START_S, ROS_S)
    assert report.audio_gap_samples == 200
    assert turn.missing & Missing.AUDIO


def test_in_the_graph_own_voice_is_what_was_decided(graph):
    spoken = [voice(TURN, 1 + index) for index in range(10)]
    handed = []
    for index in range(10):
        fill(graph, index)
    for index in range(10):
        (item,) = graph.poll(START_S, ROS_S)
        handed.append(item)
        graph.expect_playback(index + 1)
        if index + 1 < 10:
            assert graph.poll(START_S, ROS_S) == []
            first = item[1].first_sample + TURN
            graph.push_playback(first, 16_000, spoken[index], 0.0, START_S)
    for index in range(1, 10):
        assert np.array_equal(handed[index][0].own_pcm, spoken[index - 1])


def test_in_the_graph_a_dead_speaker_is_given_up(graph):
    fill(graph, 0)
    graph.expect_playback(0)
    assert graph.poll(START_S, ROS_S) == []
    assert graph.poll(START_S + 4.9, ROS_S) == []
    ((turn, _),) = graph.poll(START_S + 5.0, ROS_S)
    assert turn.missing & Missing.PLAYBACK


def test_in_the_graph_images_may_be_waited_for():
    settings = ClockSettings(pace='graph', graph_wait_s=5.0, wait_for_image=True)
    clock = MicroTurnClock(settings)
    for index in range(4):
        fill(clock, index)
    show(clock, 1, ROS_S + 0.1, START_S)
    assert clock.poll(START_S, ROS_S) == []
    show(clock, 2, ROS_S + 0.2, START_S)
    ((turn, _),) = clock.poll(START_S, ROS_S)
    assert shown(turn) == [1, 2]
    # The camera ends: it is waited for once.
    assert clock.poll(START_S + 1.0, ROS_S) == []
    assert len(clock.poll(START_S + 6.0, ROS_S)) == 1
    assert len(clock.poll(START_S + 6.0, ROS_S)) == 1
    show(clock, 3, ROS_S + 0.7, START_S)
    assert clock.poll(START_S + 6.0, ROS_S) == []


def test_in_the_graph_text_may_be_sent_long_before():
    clock = MicroTurnClock(ClockSettings(pace='graph', lookahead_s=1e9))
    say(clock, 'third', ROS_S + 0.5, START_S)
    say(clock, 'first', ROS_S + 0.1, START_S)
    handed = []
    for index in range(3):
        fill(clock, index)
        handed += clock.poll(START_S, ROS_S)
    assert said(handed) == [['first'], [], ['third']]
