# SPDX-License-Identifier: Apache-2.0
"""Microphone, time and bounds; the other inputs are in test_micro_turn_inputs.py."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from interaction_node.clock_settings import ClockSettings
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import Missing, Role, TextInput

TURN = 3200
ROS_S = 1.7e9
START_S = 100.0
JITTER_S = 0.04


def values(first, count):
    """Returns samples that are never silent and tell where they are from."""
    return ((np.arange(first, first + count) % 65521) + 1).astype(np.uint16).view(np.int16)


def push(clock, first, count, at_s, source='', lead_s=0.0):
    """Pushes samples that arrive at `at_s`, just recorded (`lead_s` ago)."""
    stamp_s = ROS_S + at_s - START_S - count / 16_000 - lead_s
    return clock.push_audio(first, 16_000, 1, values(first, count), stamp_s, at_s, source)


def ros(at_s):
    return ROS_S + at_s - START_S


def poll(clock, at_s, ros_jump_s=0.0):
    return clock.poll(at_s, ROS_S + at_s - START_S + ros_jump_s)


def talk(clock, seconds, at_s=START_S, first=0, source='', ros_jump_s=0.0, rate=1.0):
    """Lets a microphone speak in chunks of 20 ms and polls after each; returns the micro-turns."""
    handed = []
    for number in range(round(seconds * 50 * rate)):
        sample = first + number * 320
        now_s = at_s + (number + 1) * 0.02 / rate
        stamp_s = ROS_S + now_s - START_S - 0.02 / rate + ros_jump_s
        clock.push_audio(sample, 16_000, 1, values(sample, 320), stamp_s, now_s, source)
        handed += poll(clock, now_s, ros_jump_s)
    return handed


def wait(clock, seconds, at_s, step_s=0.01):
    handed = []
    for number in range(round(seconds / step_s)):
        handed += poll(clock, at_s + (number + 1) * step_s)
    return handed


def heard(handed):
    return np.concatenate([turn.user_pcm for turn, _ in handed])


def check_windows(handed):
    for turn, report in handed:
        expected = values(report.first_sample, TURN)
        assert np.array_equal(turn.user_pcm[turn.user_pcm != 0], expected[turn.user_pcm != 0])


def test_a_window_is_due_with_its_last_sample():
    clock = MicroTurnClock()
    assert talk(clock, 0.18) == []
    push(clock, 2880, 319, START_S + 0.199)
    assert poll(clock, START_S + 0.199) == []
    push(clock, 3199, 1, START_S + 0.2)
    ((turn, report),) = poll(clock, START_S + 0.2)
    assert np.array_equal(turn.user_pcm, values(0, TURN))
    assert turn.user_pcm.dtype == turn.own_pcm.dtype == np.int16
    assert not turn.own_pcm.any()
    assert turn.start_s == pytest.approx(ROS_S, abs=1e-4)
    assert (turn.index, turn.emit, turn.text, turn.frames) == (0, True, (), None)
    assert turn.missing == Missing.IMAGE
    assert (report.first_sample, report.source, report.audio_gap_samples) == (0, '', 0)
    ages_ms = (report.audio_age_ms, report.playback_age_ms, report.image_age_ms)
    assert ages_ms == (0.0, -1.0, -1.0)
    assert report.ros_offset_s == pytest.approx(ROS_S, abs=1e-4)
    assert report.latency_ms == pytest.approx(0.0, abs=1.5)
    assert poll(clock, START_S + 0.2) == []


def test_windows_begin_at_multiples_of_3200_on_the_counter():
    clock = MicroTurnClock()
    handed = talk(clock, 1.0, first=1_000_003)
    assert [turn.index for turn, _ in handed] == list(range(len(handed)))
    assert [r.first_sample for _, r in handed] == [998_400 + TURN * i for i in range(len(handed))]
    assert [r.audio_gap_samples for _, r in handed] == [1603] + [0] * (len(handed) - 1)
    check_windows(handed)


def test_one_large_chunk_makes_several_micro_turns():
    clock = MicroTurnClock()
    push(clock, 0, 3 * TURN + 5, START_S + 0.6)
    handed = poll(clock, START_S + 0.6)
    assert np.array_equal(heard(handed), values(0, 3 * TURN))
    assert [turn.emit for turn, _ in handed] == [False, False, True]
    assert [report.backlog for _, report in handed] == [2, 1, 0]


def test_a_late_chunk_is_waited_for_no_longer_than_the_jitter_and_is_told():
    clock = MicroTurnClock()
    handed = talk(clock, 0.4)
    push(clock, 6400, 2000, START_S + 0.525)
    push(clock, 8720, 880, START_S + 0.6)
    assert poll(clock, START_S + 0.6 + JITTER_S - 0.001) == []
    ((turn, report),) = poll(clock, START_S + 0.6 + JITTER_S)
    assert np.array_equal(turn.user_pcm[:2000], values(6400, 2000))
    assert not turn.user_pcm[2000:2320].any()
    assert turn.missing & Missing.AUDIO
    assert report.audio_gap_samples == 320
    assert report.latency_ms == pytest.approx(40.0, abs=1.0)
    placed = push(clock, 8300, 420, START_S + 0.65)
    assert (placed.taken, placed.late) == (0, 420)
    ((first, pcm),) = placed.late_pcm
    assert first == 8300
    assert np.array_equal(pcm, values(8300, 420))
    handed = talk(clock, 0.2, START_S + 0.65, first=9600)
    assert handed[0][1].audio_late_samples == 420
    assert handed[0][1].audio_gap_samples == 0


def test_a_late_chunk_within_the_jitter_is_heard():
    clock = MicroTurnClock()
    talk(clock, 0.2)
    push(clock, 3520, 2880, START_S + 0.4)
    assert poll(clock, START_S + 0.4) == []
    push(clock, 3200, 320, START_S + 0.435)
    ((turn, report),) = poll(clock, START_S + 0.435)
    assert np.array_equal(turn.user_pcm, values(3200, TURN))
    assert (turn.missing & Missing.AUDIO, report.audio_late_samples) == (0, 0)


def test_a_chunk_that_is_partly_late_is_heard_in_part():
    clock = MicroTurnClock()
    talk(clock, 0.2)
    push(clock, 3200, 3000, START_S + 0.39)
    ((_, report),) = poll(clock, START_S + 0.45)
    assert report.audio_gap_samples == 200
    placed = push(clock, 6200, 320, START_S + 0.46)
    assert (placed.late, placed.taken) == (200, 120)
    push(clock, 6520, 3080, START_S + 0.6)
    ((turn, _),) = poll(clock, START_S + 0.6)
    assert np.array_equal(turn.user_pcm, values(6400, TURN))


def test_of_repeated_samples_the_first_stay():
    clock = MicroTurnClock()
    push(clock, 0, 2000, START_S + 0.125)
    other = np.full(1500, 7, np.int16)
    placed = clock.push_audio(1000, 16_000, 1, other, ROS_S + 0.0625, START_S + 0.16)
    assert (placed.taken, placed.overlap) == (500, 1000)
    push(clock, 2500, 700, START_S + 0.2)
    ((turn, report),) = poll(clock, START_S + 0.2)
    expected = values(0, TURN)
    expected[2000:2500] = 7
    assert np.array_equal(turn.user_pcm, expected)
    assert report.audio_overlap_samples == 1000
    assert report.errors == ()


@pytest.mark.parametrize('rate', [0.99, 1.01])
def test_a_microphone_off_by_one_percent_loses_nothing(rate):
    clock = MicroTurnClock()
    handed = talk(clock, 60.0, rate=rate)
    assert np.array_equal(heard(handed), values(0, len(handed) * TURN))
    assert len(handed) == pytest.approx(300 * rate, abs=1)
    report = handed[-1][1]
    assert report.drift_ppm == pytest.approx((1 / rate - 1) * 1e6, rel=0.01)
    assert clock.drift_ppm == pytest.approx(report.drift_ppm, rel=0.01)
    for turn, window in handed[10:]:
        assert turn.start_s == pytest.approx(ROS_S + window.first_sample / 16_000 / rate, abs=2e-3)
        assert abs(window.latency_ms) < 2.0


@pytest.mark.parametrize('jump_s', [-1000.0, -0.5, 0.5, 1000.0])
def test_ros_time_may_jump(jump_s):
    clock = MicroTurnClock()
    handed = talk(clock, 2.0)
    handed += talk(clock, 2.0, START_S + 2.0, first=32_000, ros_jump_s=jump_s)
    assert np.array_equal(heard(handed), values(0, 20 * TURN))
    assert handed[9][0].start_s == pytest.approx(ROS_S + 1.8, abs=1e-4)
    for number, (turn, report) in enumerate(handed[10:]):
        assert turn.start_s == pytest.approx(ROS_S + 2.0 + number * 0.2 + jump_s, abs=1e-3)
        assert report.ros_offset_s == pytest.approx(ROS_S + jump_s, abs=1e-3)
    assert clock.offset_s == pytest.approx(ROS_S + jump_s, abs=1e-3)
    assert handed[-1][1].errors == ()


def test_stamps_may_jump_while_the_ros_clock_does_not():
    clock = MicroTurnClock()
    talk(clock, 1.0)
    for number in range(50):
        first, now_s = 16_000 + number * 320, START_S + 1.02 + number * 0.02
        push(clock, first, 320, now_s, lead_s=30.0)
        handed = poll(clock, now_s)
    assert handed[-1][0].start_s == pytest.approx(ROS_S + 1.8 - 30.0, abs=1e-3)


def test_a_hiccup_between_reading_two_clocks_is_no_jump():
    clock = MicroTurnClock()
    talk(clock, 1.0)
    push(clock, 16_000, TURN, START_S + 1.2)
    ((turn, _),) = poll(clock, START_S + 1.2, ros_jump_s=0.5)
    assert turn.start_s == pytest.approx(ROS_S + 1.0, abs=1e-4)
    ((turn, _),) = talk(clock, 0.2, START_S + 1.2, first=19_200)
    assert turn.start_s == pytest.approx(ROS_S + 1.2, abs=1e-4)


def test_ros_time_may_jump_while_the_microphone_is_dead():
    clock = MicroTurnClock()
    talk(clock, 1.0)
    poll(clock, START_S + 1.1, ros_jump_s=-50.0)
    ((turn, _),) = poll(clock, START_S + 1.25, ros_jump_s=-50.0)
    assert turn.start_s == pytest.approx(ROS_S + 1.0 - 50.0, abs=1e-3)


def test_chunks_without_a_stamp_are_as_old_as_they_are_long():
    clock = MicroTurnClock()
    poll(clock, START_S)
    for number in range(10):
        now_s = START_S + 0.02 * (number + 1)
        clock.push_audio(number * 320, 16_000, 1, values(number * 320, 320), 0.0, now_s)
    ((turn, _),) = poll(clock, START_S + 0.2)
    assert turn.start_s == pytest.approx(ROS_S, abs=1e-4)


def test_simulated_time_that_pauses_makes_nothing_due():
    clock = MicroTurnClock()
    for number in range(100):
        clock.push_audio(number * 320, 16_000, 1, values(0, 320), ROS_S, ROS_S + number * 0.02)
    assert len(clock.poll(ROS_S + 2.0)) == 10
    assert [clock.poll(ROS_S + 2.0) for _ in range(1000)] == [[]] * 1000
    # Time goes on, without the microphone.
    assert clock.poll(ROS_S + 2.0 + 0.2 + JITTER_S - 0.03) == []
    assert len(clock.poll(ROS_S + 2.0 + 0.2 + JITTER_S)) == 1


def test_simulated_time_that_starts_again_goes_on_from_there():
    clock = MicroTurnClock()
    assert len(clock.poll(500.0)) == 0
    assert len(clock.poll(500.6)) == 3
    assert clock.poll(0.0) == []
    ((turn, _),) = clock.poll(0.2)
    assert turn.index == 3
    assert turn.start_s == pytest.approx(0.0, abs=0.01)


def test_without_a_microphone_time_drives():
    clock = MicroTurnClock()
    assert poll(clock, START_S) == []
    assert poll(clock, START_S + 0.199) == []
    handed = wait(clock, 2.0, START_S)
    assert len(handed) == 10
    for number, (turn, report) in enumerate(handed):
        assert turn.index == number
        assert turn.start_s == pytest.approx(ROS_S + number * 0.2, abs=1e-4)
        assert turn.missing & Missing.AUDIO
        assert (report.source, report.audio_age_ms) == (None, -1.0)
        assert (report.audio_gap_samples, report.first_sample) == (TURN, number * TURN)
        assert 0 <= report.latency_ms < 11
    assert poll(clock, START_S + 2.1, ros_jump_s=50.0) == []
    ((turn, _),) = poll(clock, START_S + 2.2, ros_jump_s=50.0)
    assert turn.start_s == pytest.approx(ROS_S + 52.0, abs=1e-4)


def test_a_microphone_that_comes_later_starts_a_window():
    clock = MicroTurnClock()
    handed = wait(clock, 1.07, START_S, step_s=0.01)
    handed += talk(clock, 1.0, START_S + 1.07)
    indices = [turn.index for turn, _ in handed]
    assert indices == list(range(len(handed)))
    (number,) = [i for i, (_, r) in enumerate(handed) if r.source == '' and r.first_sample == 0][:1]
    assert np.array_equal(heard(handed[number:]), values(0, (len(handed) - number) * TURN))
    assert number in (5, 6)
    assert len(handed) - number == 5
    assert handed[number][0].start_s == pytest.approx(ROS_S + 1.07, abs=1e-3)


def test_a_dead_microphone_is_replaced_by_silence_at_the_same_pace():
    clock = MicroTurnClock()
    talk(clock, 1.0)
    silent = wait(clock, 2.0, START_S + 1.0)
    assert len(silent) == 9
    for number, (turn, report) in enumerate(silent):
        assert turn.index == 5 + number
        assert not turn.user_pcm.any()
        assert turn.missing & Missing.AUDIO
        assert turn.start_s == pytest.approx(ROS_S + 1.0 + number * 0.2, abs=1e-3)
        assert report.audio_age_ms == pytest.approx(200.0 * (number + 1))
        assert 40.0 - 0.01 <= report.latency_ms <= 51.0


@pytest.mark.parametrize('away_s', [0.6, 3.0, 7.13])
@pytest.mark.parametrize('counter', ['ran on', 'stood', 'restarted', 'leapt'])
def test_a_microphone_returns(away_s, counter):
    clock = MicroTurnClock()
    handed = talk(clock, 5.0)
    back_s = START_S + 5.0 + away_s
    handed += wait(clock, away_s, START_S + 5.0)
    first = {
        'ran on': 80_000 + round(away_s * 16_000),
        'stood': 80_000,
        'restarted': 0,
        'leapt': 10_000_000,
    }[counter]
    back = talk(clock, 2.0, back_s, first=first)
    assert [turn.index for turn, _ in handed + back] == list(range(len(handed + back)))
    assert len(handed + back) == pytest.approx((7.0 + away_s) / 0.2, abs=2)
    assert [report.first_sample % TURN for _, report in back] == [0] * len(back)
    whole = [(turn, report) for turn, report in back if not turn.missing & Missing.AUDIO]
    assert len(whole) >= 9
    assert whole[0][1].first_sample - first < TURN
    check_windows(whole)
    last = back[-1][1]
    assert last.audio_late_samples == last.audio_foreign_samples == 0
    assert last.reanchors == (1 if counter == 'ran on' else 2)
    for turn, report in whole:
        expected_s = ROS_S + back_s - START_S + (report.first_sample - first) / 16_000
        assert turn.start_s == pytest.approx(expected_s, abs=2e-3)


def test_samples_held_up_for_seconds_are_late_and_the_rest_is_heard():
    clock = MicroTurnClock()
    talk(clock, 2.0)
    wait(clock, 3.0, START_S + 2.0)
    placed = [
        push(clock, 32_000 + i * 320, 320, START_S + 5.0, lead_s=2.98 - i * 0.02)
        for i in range(150)
    ]
    assert sum(p.late for p in placed) > 2.5 * 16_000
    assert sum(p.late + p.taken for p in placed) == 48_000
    back = talk(clock, 1.0, START_S + 5.0, first=80_000)
    assert back[-1][1].reanchors == 1
    assert not any(turn.missing & Missing.AUDIO for turn, _ in back[1:])


def test_a_source_that_stays_seconds_behind_is_heard_in_the_end():
    clock = MicroTurnClock()
    talk(clock, 2.0)
    wait(clock, 3.0, START_S + 2.0)
    handed = []
    for number in range(150):
        now_s = START_S + 5.0 + number * 0.02
        push(clock, 32_000 + number * 320, 320, now_s, lead_s=3.0)
        handed += poll(clock, now_s)
    assert handed[-1][1].reanchors == 2
    assert not any(turn.missing & Missing.AUDIO for turn, _ in handed[-5:])
    assert handed[-1][1].audio_late_samples < 0.6 * 16_000


def test_single_old_chunks_do_not_move_the_counter():
    clock = MicroTurnClock()
    handed = []
    for second in range(5):
        handed += talk(clock, 1.0, START_S + second, first=second * 16_000)
        assert push(clock, second * 16_000, 320, START_S + second + 1.0, lead_s=1.0).late == 320
    assert handed[-1][1].reanchors == 1
    assert np.array_equal(heard(handed), values(0, 25 * TURN))


def test_after_it_was_moved_for_being_late_a_source_is_given_time_again():
    clock = MicroTurnClock()
    handed = talk(clock, 2.0)
    for outage in (1, 2):
        wait(clock, 3.0, START_S + 5.0 * outage - 3.0)
        for number in range(100):
            now_s = START_S + 5.0 * outage + number * 0.02
            first = 32_000 * outage + number * 320
            push(clock, first, 320, now_s, lead_s=3.0 * outage)
            handed = poll(clock, now_s) or handed
    assert handed[-1][1].reanchors == 3
    assert handed[-1][1].audio_late_samples == pytest.approx(2 * 0.5 * 16_000, rel=0.2)


def test_a_chunk_that_was_held_up_does_not_make_the_clock_patient():
    clock = MicroTurnClock()
    talk(clock, 1.1)
    push(clock, 17_600, 320, START_S + 1.155)
    assert poll(clock, START_S + 1.2 + JITTER_S - 0.002) == []
    assert len(poll(clock, START_S + 1.2 + JITTER_S + 0.003)) == 1


def test_another_microphone_gets_a_resampler_of_its_own():
    clock = MicroTurnClock()
    for source, value, start_s in (('front', 1000, START_S), ('back', 2000, START_S + 1.5)):
        handed = []
        for number in range(50):
            now_s = start_s + (number + 1) * 0.02
            pcm = np.full(960, value, np.int16)
            clock.push_audio(number * 960, 48_000, 1, pcm, ros(now_s) - 0.02, now_s, source)
            handed += poll(clock, now_s)
        assert np.abs(heard(handed[-2:]) - value).max() <= 1
        handed = [] if source == 'front' else handed
        wait(clock, 0.5, start_s + 1.0)
    # Nothing of the first microphone is left in the stream of the second.
    levels = heard(handed)
    assert not np.any(np.abs(levels - 1000) <= 1)


@pytest.mark.parametrize('keys', [('front', 'back'), ('', '')])
def test_of_two_microphones_one_is_kept(keys):
    clock = MicroTurnClock()
    handed = []
    for number in range(200):
        now_s = START_S + (number + 1) * 0.02
        assert push(clock, number * 320, 320, now_s, keys[0]).taken == 320
        first = 5_000_000 + number * 320
        assert push(clock, first, 320, now_s, keys[1]).foreign == 320
        handed += poll(clock, now_s)
    assert np.array_equal(heard(handed), values(0, len(handed) * TURN))
    errors = [error for _, report in handed for error in report.errors]
    assert [key for key, _ in errors] == ['audio.second_source']
    assert handed[-1][1].audio_foreign_samples == 200 * 320
    assert handed[-1][1].source == keys[0]


def test_the_second_microphone_is_heard_when_the_first_is_gone():
    clock = MicroTurnClock()
    talk(clock, 1.0, source='front')
    assert push(clock, 0, 320, START_S + 1.2, 'back').foreign == 320
    wait(clock, 0.3, START_S + 1.0)
    handed = talk(clock, 1.0, START_S + 1.3, first=320, source='back')
    assert handed[-1][1].source == 'back'
    check_windows(handed[-4:])
    assert not any(turn.missing & Missing.AUDIO for turn, _ in handed[-4:])


def test_two_microphones_with_the_same_counter_are_told():
    clock = MicroTurnClock()
    handed = []
    for number in range(200):
        now_s = START_S + (number + 1) * 0.02
        push(clock, number * 320, 320, now_s)
        push(clock, number * 320, 320, now_s)
        handed += poll(clock, now_s)
    assert [key for _, r in handed for key, _ in r.errors] == ['audio.twice']


def test_after_a_stall_all_are_heard_and_only_the_last_is_answered():
    clock = MicroTurnClock()
    talk(clock, 0.2)
    for number in range(50):
        push(clock, 3200 + number * 320, 320, START_S + 0.22 + number * 0.02)
    handed = poll(clock, START_S + 1.2)
    assert np.array_equal(heard(handed), values(3200, 5 * TURN))
    assert [turn.emit for turn, _ in handed] == [False] * 4 + [True]
    assert [report.backlog for _, report in handed] == [4, 3, 2, 1, 0]


def test_at_most_ten_seconds_of_silence_are_made_up():
    clock = MicroTurnClock()
    talk(clock, 1.0)
    handed = poll(clock, START_S + 3600.0)
    assert len(handed) == 49
    assert handed[0][1].errors[0][0] == 'clock.jump'
    assert len(wait(clock, 1.0, START_S + 3600.0)) == 5
    back = talk(clock, 1.0, START_S + 3601.0, first=57_616_000)
    check_windows(back)
    assert not any(turn.missing & Missing.AUDIO for turn, _ in back[1:])


def test_audio_beyond_the_bound_is_dropped_and_told():
    clock = MicroTurnClock(ClockSettings(max_audio_s=2.0))
    placed = [push(clock, i * 320, 320, START_S + i * 0.02) for i in range(200)]
    assert sum(p.dropped for p in placed) == 32_000
    handed = poll(clock, START_S + 4.0)
    assert np.array_equal(heard(handed[:10]), values(0, 32_000))
    assert handed[0][1].errors[0][0] == 'audio.dropped'
    assert handed[0][1].audio_dropped_samples == 32_000


def test_other_rates_and_channels_are_converted():
    clock = MicroTurnClock()
    time_s = np.arange(96_000) / 48_000
    tone = np.rint(8000 * np.sin(2 * np.pi * 300 * time_s)).astype(np.int16)
    handed = []
    for number in range(100):
        chunk = np.repeat(tone[number * 960 : (number + 1) * 960], 2)
        now_s = START_S + (number + 1) * 0.02
        clock.push_audio(number * 960, 48_000, 2, chunk, ROS_S + number * 0.02, now_s)
        handed += poll(clock, now_s)
    expected = 8000 * np.sin(2 * np.pi * 300 * np.arange(len(handed) * TURN) / 16_000)
    assert len(handed) == 9
    assert np.abs(heard(handed) - expected).max() < 100
    assert np.abs(heard(handed) - expected)[300:].max() < 3
    assert handed[-1][0].start_s == pytest.approx(ROS_S + 1.6, abs=1e-4)
    assert handed[-1][1].audio_overlap_samples == 0


def test_bad_audio_is_named_and_changes_nothing():
    clock = MicroTurnClock()
    talk(clock, 0.1)
    for arguments in (
        (1600, 16_000, 0, values(0, 4)),
        (1600, 0, 1, values(0, 4)),
        (1600, 16_000, 1, values(0, 0)),
        (1600, 16_000, 3, values(0, 4)),
        (-5, 16_000, 1, values(0, 4)),
    ):
        for source in ('', 'another'):
            with pytest.raises(ValueError, match='expected'):
                clock.push_audio(*arguments, ROS_S, START_S + 0.1, source)
    ((turn, report),) = talk(clock, 0.1, START_S + 0.1, first=1600)
    assert np.array_equal(turn.user_pcm, values(0, TURN))
    assert (report.source, report.audio_foreign_samples) == ('', 0)


@pytest.mark.parametrize('stamp_s', [float('nan'), float('inf'), -1.0, 1e300])
def test_absurd_stamps_do_no_lasting_harm(stamp_s):
    clock = MicroTurnClock()
    talk(clock, 0.1)
    clock.push_audio(1600, 16_000, 1, values(1600, 320), stamp_s, START_S + 0.12)
    handed = talk(clock, 0.28, START_S + 0.12, first=1920)
    assert np.array_equal(heard(handed), values(0, 2 * TURN))
    assert handed[-1][0].start_s == pytest.approx(ROS_S + 0.2, abs=0.02)


def test_reset_forgets_everything():
    clock = MicroTurnClock()
    talk(clock, 0.5, first=9_000)
    clock.push_text(TextInput(Role.USER, 'old'), 0.0, START_S + 0.5)
    clock.push_frame(np.ones((2, 2, 3), np.uint8), 0.0, START_S + 0.5)
    clock.expect_playback(0)
    clock.reset()
    ((turn, report),) = talk(clock, 0.2, 7.0, source='new')
    assert (turn.index, turn.text, turn.frames, turn.missing) == (0, (), None, Missing.IMAGE)
    assert (report.first_sample, report.source, report.reanchors) == (0, 'new', 1)


def test_threads_may_push_and_poll_at_once():
    clock = MicroTurnClock()
    done = threading.Event()
    handed = []

    def drain():
        while not done.is_set():
            handed.extend(clock.poll(START_S))
            time.sleep(0.0005)

    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(drain)
        for number in range(2000):
            push(clock, number * 160, 160, START_S)
        done.set()
        drained.result()
    handed.extend(clock.poll(START_S))
    assert np.array_equal(heard(handed), values(0, 100 * TURN))


@pytest.mark.parametrize(
    'call',
    [
        lambda clock: push(clock, 0, 320, START_S),
        lambda clock: clock.push_playback(0, 16_000, values(0, 4), 0.0, START_S),
        lambda clock: clock.push_frame(np.ones((2, 2, 3), np.uint8), 0.0, START_S),
        lambda clock: clock.push_text(TextInput(Role.USER, 'a'), 0.0, START_S),
        lambda clock: clock.expect_playback(1),
        lambda clock: clock.forget_playback(),
        lambda clock: poll(clock, START_S),
        lambda clock: clock.reset(),
    ],
)
def test_one_thread_waits_for_the_other(call):
    clock = MicroTurnClock()
    with ThreadPoolExecutor(1) as pool:
        with clock._lock:
            waiting = pool.submit(call, clock)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.05)
        waiting.result(timeout=10.0)


def test_a_poll_costs_well_under_a_millisecond():
    clock = MicroTurnClock()
    costs_s = []
    for number in range(500):
        now_s = START_S + (number + 1) * 0.02
        push(clock, number * 320, 320, now_s)
        if number % 2:
            clock.push_frame(np.full((240, 320, 3), 9, np.uint8), ROS_S + now_s - START_S, now_s)
        before_s = time.thread_time()
        poll(clock, now_s)
        costs_s.append(time.thread_time() - before_s)
    assert np.median(costs_s) < 0.0003
    assert np.quantile(costs_s, 0.95) < 0.001


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'pace': 'fast'}, "pace is 'fast', expected one of"),
        ({'jitter_ms': -1.0}, r'jitter_ms is -1.0, expected a finite number >= 0'),
        ({'lookahead_s': float('nan')}, 'lookahead_s is nan'),
        ({'max_frames': 1}, 'max_frames is 1, expected at least 2'),
        ({'max_text': 0}, 'max_text is 0, expected at least 1'),
        ({'max_audio_s': 0.5}, 'max_audio_s is 0.5, expected at least 1'),
        ({'max_catch_up_s': 0.0}, 'max_catch_up_s is 0.0, expected at least 1'),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        ClockSettings(**changes)
