# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from interaction_node.sample_clock import SampleClock

ROS_S = 1.7e9


def run(clock, seconds, rate=1.0, jitter_s=0.0, start_s=0.0, jump_s=0.0, seed=0, chunk=320):
    """Stamps chunks of a counter that runs at `rate` from `start_s` of sample time on."""
    random = np.random.default_rng(seed)
    first = round(start_s * 16_000)
    for sample in range(first, first + round(seconds * 16_000), chunk):
        stamp_s = ROS_S + jump_s + sample / 16_000 / rate + random.normal() * jitter_s
        if not clock.known:
            clock.restart(sample, stamp_s)
        clock.observe(sample, stamp_s)
    return ROS_S + jump_s + sample / 16_000 / rate - clock.ros_time(sample)


def test_exact_stamps_give_the_exact_offset():
    clock = SampleClock()
    assert abs(run(clock, 1.0)) < 1e-6
    assert clock.offset_s == pytest.approx(ROS_S, abs=1e-6)
    assert clock.drift_ppm == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize('rate', [0.99, 0.9999, 1.0, 1.0001, 1.01])
@pytest.mark.parametrize('chunk', [160, 3200])
def test_drift_is_tracked_through_jitter(rate, chunk):
    clock = SampleClock()
    error_s = run(clock, 60.0, rate, jitter_s=0.003, chunk=chunk)
    assert abs(error_s) < 0.002
    assert clock.drift_ppm == pytest.approx((1 / rate - 1) * 1e6, abs=200)


def test_it_smooths():
    clock = SampleClock()
    run(clock, 20.0, jitter_s=0.005)
    offsets = []
    for second in range(20, 40):
        run(clock, 1.0, jitter_s=0.005, start_s=second, seed=second)
        offsets.append(clock.offset_s - ROS_S)
    assert np.std(offsets) < 0.001


def test_a_few_outliers_change_nothing():
    clock = SampleClock()
    run(clock, 10.0, jitter_s=0.001)
    before_s = clock.offset_s
    for number, wrong_s in enumerate((0.3, 5.0, -2.0, 0.5)):
        sample = 160_000 + number * 320
        clock.observe(sample, ROS_S + sample / 16_000 + wrong_s)
    assert clock.offset_s == pytest.approx(before_s, abs=1e-4)


@pytest.mark.parametrize('jump_s', [-100.0, -0.3, 0.3, 3600.0])
def test_a_jump_is_followed_within_a_window(jump_s):
    clock = SampleClock()
    run(clock, 10.0, rate=1.001, jitter_s=0.002)
    error_s = run(clock, 0.2, rate=1.001, jitter_s=0.002, start_s=10.0, jump_s=jump_s)
    assert abs(error_s) < 0.01
    assert clock.drift_ppm == pytest.approx(-999, abs=300)


def test_wild_stamps_are_given_up_on_and_not_for_ever():
    clock = SampleClock()
    run(clock, 1.0)
    run(clock, 2.0, jitter_s=1.0, start_s=1.0, jump_s=50.0)
    assert abs(run(clock, 1.0, start_s=3.0, jump_s=50.0)) < 0.02


def test_a_step_is_taken_at_once():
    clock = SampleClock()
    run(clock, 1.0)
    clock.step(7.0)
    assert clock.ros_time(16_000) == pytest.approx(ROS_S + 8.0, abs=1e-5)


def test_old_chunks_teach_nothing():
    clock = SampleClock()
    run(clock, 1.0)
    for _ in range(50):
        clock.observe(0, ROS_S + 0.019)
    assert clock.offset_s == pytest.approx(ROS_S, abs=1e-6)


def test_ros_time_and_sample_are_inverse():
    clock = SampleClock()
    run(clock, 30.0, rate=0.99)
    for sample in (0, 1_000_000, 123_456_789):
        assert clock.sample_at(clock.ros_time(sample)) == pytest.approx(sample, abs=0.02)


def test_a_restart_keeps_the_drift():
    clock = SampleClock()
    run(clock, 30.0, rate=0.99)
    clock.restart(0, ROS_S + 100.0)
    assert clock.ros_time(0) == pytest.approx(ROS_S + 100.0)
    assert clock.ros_time(160_000) == pytest.approx(ROS_S + 110.101, abs=0.005)


def test_hours_do_not_wear_it_out():
    clock = SampleClock()
    assert abs(run(clock, 4 * 3600.0, rate=1.0001, jitter_s=0.003, chunk=3200)) < 0.002
