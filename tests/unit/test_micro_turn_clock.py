# SPDX-License-Identifier: Apache-2.0
"""Windows, clocks and bounds of the micro-turn clock; other files have its inputs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

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
    talk,
    values,
    wait,
)

from interaction_node.clock_settings import ClockSettings
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import Missing, Role, TextInput


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
