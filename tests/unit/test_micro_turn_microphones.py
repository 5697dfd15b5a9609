# SPDX-License-Identifier: Apache-2.0
"""Microphones that come, go, return, fall behind, or are two; and time without one."""

import numpy as np
import pytest
from clock_sound import (
    JITTER_S,
    ROS_S,
    START_S,
    TURN,
    check_windows,
    heard,
    poll,
    push,
    ros,
    talk,
    values,
    wait,
)

from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import Missing


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
