# SPDX-License-Identifier: Apache-2.0
import itertools
from array import array

import numpy as np
import pytest

from interaction_node.audio_adapter import AudioAdapter, check_chunk


def tone(first, count, rate_hz, hz=440.0):
    return np.rint(9000 * np.sin(2 * np.pi * hz * np.arange(first, first + count) / rate_hz))


def stream(adapter, pcm, rate_hz, chunk, first=0, channels=1):
    pieces = []
    for start in range(0, len(pcm) // channels, chunk):
        part = pcm[start * channels : (start + chunk) * channels].astype(np.int16)
        pieces += adapter.convert(first + start, rate_hz, channels, part)
    return pieces


def join(pieces):
    """Returns the first position and the samples; fails if the pieces don't touch."""
    for (start, pcm), (following, _) in itertools.pairwise(pieces):
        assert start + len(pcm) == following
    return pieces[0][0], np.concatenate([pcm for _, pcm in pieces])


def test_16_khz_mono_passes_unchanged():
    pcm = np.arange(-500, 500, dtype=np.int16)
    ((start, converted),) = AudioAdapter().convert(77, 16_000, 1, pcm)
    assert start == 77
    assert np.array_equal(converted, pcm)


def test_channels_are_averaged():
    pcm = np.array([100, 200, -32768, -32768, 32767, 32767, 7, 8], np.int16)
    ((_, converted),) = AudioAdapter().convert(0, 16_000, 2, pcm)
    assert converted.tolist() == [150, -32768, 32767, 8]


def test_arrays_of_ros_messages_are_read():
    ((_, converted),) = AudioAdapter().convert(0, 16_000, 1, array('h', [1, -2, 3]))
    assert converted.tolist() == [1, -2, 3]


@pytest.mark.parametrize('rate_hz', [8_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize('channels', [1, 2])
def test_other_rates_stay_aligned(rate_hz, channels):
    pcm = np.repeat(tone(0, rate_hz, rate_hz), channels)
    adapter = AudioAdapter()
    pieces = stream(adapter, pcm, rate_hz, rate_hz // 50, channels=channels) + adapter.flush()
    start, converted = join(pieces)
    assert start == 0
    assert abs(len(converted) - 16_000) <= 2
    expected = tone(0, len(converted), 16_000)
    assert np.abs(converted - expected)[200:-200].max() <= 3


def test_the_chunks_do_not_matter():
    pcm = np.random.default_rng(0).integers(-9000, 9000, 48_000).astype(np.int16)
    results = []
    for chunk in (480, 7, 48_000):
        adapter = AudioAdapter()
        results.append(join(stream(adapter, pcm, 48_000, chunk) + adapter.flush())[1])
    # The resampler computes in 32-bit floats, in an order that depends on the chunks.
    assert np.abs(results[0].astype(int) - results[1]).max() <= 1
    assert np.abs(results[0].astype(int) - results[2]).max() <= 1


def test_a_long_stream_does_not_drift():
    adapter = AudioAdapter()
    last = 0
    for second in range(120):
        for start, pcm in adapter.convert(second * 44_100, 44_100, 1, np.ones(44_100, np.int16)):
            assert start == last
            last += len(pcm)
    assert 0 <= 120 * 16_000 - last < 2_000


def test_a_gap_ends_the_stream_and_loses_nothing():
    adapter = AudioAdapter()
    pieces = stream(adapter, tone(0, 4_800, 48_000), 48_000, 480)
    pieces += stream(adapter, tone(9_600, 4_800, 48_000), 48_000, 480, first=9_600)
    pieces += adapter.flush()
    heard = np.zeros(4_800, bool)
    for start, pcm in pieces:
        assert not heard[start : start + len(pcm)].any()
        heard[start : start + len(pcm)] = True
        # Away from the edges of the stream it is the same tone.
        inner = slice(start + 100, start + len(pcm) - 100)
        assert np.abs(pcm[100:-100] - tone(0, 4_800, 16_000)[inner]).max(initial=0) <= 3
    assert np.flatnonzero(heard).tolist() == [*range(1_600), *range(3_200, 4_800)]


def test_the_rate_may_change_in_the_middle():
    adapter = AudioAdapter()
    pieces = adapter.convert(0, 48_000, 1, np.ones(4_800, np.int16))
    pieces += adapter.convert(4_410, 44_100, 1, np.ones(4_410, np.int16))
    pieces += adapter.convert(3_200, 16_000, 1, np.ones(1_600, np.int16))
    start, converted = join(pieces)
    assert start == 0
    assert len(converted) == 4_800


def test_counters_of_days_stay_exact():
    first = 48_000 * 86_400 * 30 + 1
    pieces = AudioAdapter().convert(first, 48_000, 1, np.ones(48_000, np.int16))
    assert pieces[0][0] == round(first / 3)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((0, 1, np.ones(4, np.int16)), 'sample_rate_hz is 0, expected 4000 to 384000'),
        ((16_000, 0, np.ones(4, np.int16)), 'channels is 0, expected 1 to 32'),
        ((16_000, 33, np.ones(33, np.int16)), 'channels is 33, expected 1 to 32'),
        ((16_000, 1, np.ones(0, np.int16)), r'pcm has shape \(0,\), expected \(n,\) with n >= 1'),
        ((16_000, 1, np.ones((2, 2), np.int16)), r'pcm has shape \(2, 2\)'),
        ((16_000, 1, np.ones(4, np.float32)), 'pcm is float32, expected int16'),
        ((16_000, 3, np.ones(4, np.int16)), 'pcm has 4 samples, expected a multiple of channels'),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_chunk(0, *arguments)
    with pytest.raises(ValueError, match=message):
        AudioAdapter().convert(0, *arguments)


def test_negative_positions_are_named():
    with pytest.raises(ValueError, match='first_sample is -1, expected a position >= 0'):
        AudioAdapter().convert(-1, 16_000, 1, np.ones(1, np.int16))
