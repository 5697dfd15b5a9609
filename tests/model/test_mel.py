# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_node.model.mel import HOP, MELS, MelStream, mel_levels, mel_magnitude


def noise(frames, seed=0):
    return np.random.default_rng(seed).integers(-9000, 9000, frames * HOP).astype(np.int16)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_streaming_equals_offline(pieces):
    pcm = noise(sum(pieces))
    stream = MelStream()
    parts = np.split(pcm, np.cumsum(pieces)[:-1] * HOP)
    streamed = np.concatenate([stream.push(part) for part in parts])
    offline = mel_levels(mel_magnitude(pcm.astype(np.float32) / 32768))
    np.testing.assert_array_equal(streamed, offline)


def test_a_frame_sees_nothing_after_its_end():
    pcm = noise(10)
    changed = pcm.copy()
    changed[5 * HOP :] = 0
    one, other = MelStream().push(pcm), MelStream().push(changed)
    np.testing.assert_array_equal(one[:5], other[:5])
    assert (one[5:] != other[5:]).any()


def test_a_tone_lights_up_its_own_bin():
    t = np.arange(HOP * 10) / 16_000
    peaks = [
        int(mel_magnitude(0.3 * np.sin(2 * np.pi * hz * t))[5].argmax()) for hz in (300, 1000, 4000)
    ]
    assert 0 < peaks[0] < peaks[1] < peaks[2] < MELS


def test_an_odd_length_is_refused():
    with pytest.raises(ValueError, match='multiple of 320'):
        MelStream().push(np.zeros(321, np.int16))
