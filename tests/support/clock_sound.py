# SPDX-License-Identifier: Apache-2.0
"""A microphone for the micro-turn clock whose samples tell where they are from."""

import numpy as np

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
