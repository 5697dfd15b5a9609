# SPDX-License-Identifier: Apache-2.0
"""A microphone's blocks: one unbroken counter, gaps that show, stamps without jitter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.capture import Capture
from interaction_node.capture_clock import CaptureClock
from interaction_node.level_meter import LevelMeter

RATE_HZ = 16_000
CHUNK = 320


def noise(count: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9_000, 9_000, (count, channels)).astype(np.int16)


def opened(rate_hz: int = RATE_HZ, channel: int = -1) -> Capture:
    capture = Capture(CHUNK, channel)
    capture.open(rate_hz)
    return capture


def test_samples_pass_bit_for_bit_in_chunks():
    said, capture = noise(2_000), opened()
    chunks = []
    for at in range(0, 2_000, 250):
        chunks += capture.push(said[at : at + 250], 5.0 + at / RATE_HZ)
    assert [chunk.first_sample for chunk in chunks] == [0, 320, 640, 960, 1_280, 1_600]
    assert np.array_equal(np.concatenate([chunk.pcm for chunk in chunks]), said[:1_920, 0])
    assert np.allclose([c.acquired_s for c in chunks], [5.0 + 0.02 * n for n in range(6)])


@pytest.mark.parametrize(('channel', 'expected'), [(-1, 2_000), (0, 1_000), (1, 3_000)])
def test_channels_are_averaged_or_chosen(channel, expected):
    block_FC = np.tile(np.int16([1_000, 3_000]), (CHUNK, 1))
    assert np.all(opened(channel=channel).push(block_FC, 0.0)[0].pcm == expected)


def test_other_rates_keep_time_and_pitch():
    capture, rate_hz = opened(48_000), 48_000
    tone = np.rint(9_000 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz))
    chunks = []
    for at in range(0, rate_hz, 960):
        block_FC = tone[at : at + 960].astype(np.int16)[:, None]
        chunks += capture.push(block_FC, at / rate_hz)
    pcm = np.concatenate([chunk.pcm for chunk in chunks])
    expected = 9_000 * np.sin(2 * np.pi * 440 * np.arange(len(pcm)) / RATE_HZ)
    assert len(pcm) > 15_000
    assert np.abs(pcm - expected)[500:].max() < 30
    assert np.allclose([c.acquired_s for c in chunks], [c.first_sample / RATE_HZ for c in chunks])


def test_dropped_blocks_are_a_gap():
    capture = opened()
    chunks = capture.push(noise(400), 0.0)
    chunks += capture.push(noise(400, seed=1), 1_000 / RATE_HZ, lost=600)
    assert [(c.first_sample, len(c.pcm)) for c in chunks] == [(0, 320), (320, 80), (1_000, 320)]
    assert capture.lost_samples == 600


def test_an_overflow_is_measured_by_time():
    capture = opened()
    chunks = capture.push(noise(320), 0.0)
    chunks += capture.push(noise(320), 0.05, overflowed=True)
    assert [chunk.first_sample for chunk in chunks] == [0, 800]


def test_a_device_that_was_gone_leaves_a_gap():
    capture = opened()
    capture.push(noise(320), 10.0)
    capture.open(48_000)
    chunks = []
    for n in range(4):
        chunks += capture.push(noise(960), 13.0 + 0.02 * n)
    assert chunks[0].first_sample == 3 * RATE_HZ
    assert chunks[0].acquired_s == pytest.approx(13.0)


def test_late_blocks_are_jitter_but_a_series_is_loss():
    clock = CaptureClock(RATE_HZ)
    for n in range(100):
        clock.push(320, n * 0.02)
    assert clock.push(320, 100 * 0.02 + 0.3) == 32_000  # one late block
    for n in range(101, 130):
        clock.push(320, n * 0.02)
    assert clock.next_sample == 130 * 320
    assert clock.time_of(0) == pytest.approx(0.0, abs=0.01)
    for n in range(130, 160):  # and now all of them: half a second is missing
        clock.push(320, n * 0.02 + 0.5)
    assert clock.next_sample == 160 * 320 + 8_000


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 700), st.integers(0, 900), st.floats(0, 0.03)), max_size=30),
    st.sampled_from([8_000, 16_000, 44_100]),
)
def test_the_counter_never_goes_back(blocks, rate_hz):
    capture, now_s, end = opened(rate_hz), 0.0, 0
    for frames, lost, jitter_s in blocks:
        now_s += lost / rate_hz
        for chunk in capture.push(noise(frames), now_s + jitter_s, lost):
            assert chunk.first_sample >= end
            assert 0 < len(chunk.pcm) <= CHUNK
            end = chunk.first_sample + len(chunk.pcm)
        now_s += frames / rate_hz
    assert end <= (now_s + 0.1) * RATE_HZ + 2


def test_level():
    meter = LevelMeter()
    assert meter.read() == {'peak_dbfs': -120.0, 'rms_dbfs': -120.0}
    meter.push(np.int16([16_384, -16_384] * 100))
    assert meter.read()['peak_dbfs'] == pytest.approx(-6.02, abs=0.01)
    meter.push(np.int16([-32_768]))
    assert meter.read()['rms_dbfs'] == 0.0
