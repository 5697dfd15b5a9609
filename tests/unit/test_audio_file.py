# SPDX-License-Identifier: Apache-2.0
"""Sound files in, WAV out: bit-exactness, rates, channels, clear errors."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.audio_file import audio_files, check_audio_files, read_pcm16, stream_pcm16
from interaction_node.wav_timeline import WavTimeline


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32_768, 32_768, count).astype(np.int16)


@pytest.mark.parametrize('suffix', ['wav', 'flac'])
def test_16_khz_mono_passes_bit_for_bit(tmp_path, suffix):
    pcm = noise(40_000)
    soundfile.write(tmp_path / f'a.{suffix}', pcm, 16_000, subtype='PCM_16')
    assert np.array_equal(read_pcm16(tmp_path / f'a.{suffix}'), pcm)


@pytest.mark.parametrize('rate_hz', [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize('channels', [1, 2])
def test_any_rate_keeps_time_and_level(tmp_path, rate_hz, channels):
    t = np.arange(rate_hz) / rate_hz
    samples = 0.5 * np.sin(2 * np.pi * 1_000 * t)
    soundfile.write(tmp_path / 'a.wav', np.stack([samples] * channels, 1), rate_hz)
    pcm = read_pcm16(tmp_path / 'a.wav')
    expected = 16_384 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
    assert abs(len(pcm) - 16_000) <= 1
    middle = slice(2_000, 14_000)
    assert np.abs(pcm[middle] - expected[middle]).max() < 40


def test_stereo_is_averaged(tmp_path):
    soundfile.write(tmp_path / 'a.wav', np.tile(np.int16([1_000, 3_000]), (500, 1)), 16_000)
    assert np.all(read_pcm16(tmp_path / 'a.wav') == 2_000)


def test_block_size_does_not_change_the_samples(tmp_path):
    soundfile.write(tmp_path / 'a.wav', noise(30_000), 44_100)
    whole = read_pcm16(tmp_path / 'a.wav')
    pieces = np.concatenate(list(stream_pcm16(tmp_path / 'a.wav', 333)))
    assert np.array_equal(whole, pieces)


def test_folder_is_read_in_order(tmp_path):
    for name in ('b.wav', 'a.flac', 'c.WAV'):
        soundfile.write(tmp_path / name, noise(10), 16_000)
    (tmp_path / 'notes.txt').write_text('no sound')
    assert [path.name for path in audio_files(tmp_path)] == ['a.flac', 'b.wav', 'c.WAV']


def test_errors_say_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match=r'nothing\.wav.*does not exist'):
        audio_files(tmp_path / 'nothing.wav')
    with pytest.raises(ValueError, match='holds no sound file'):
        audio_files(tmp_path)
    (tmp_path / 'bad.wav').write_bytes(b'RIFF nonsense')
    with pytest.raises(ValueError, match=r'bad\.wav.*cannot be read'):
        check_audio_files(audio_files(tmp_path))


def test_timeline_is_a_valid_file_at_every_moment(tmp_path):
    path = tmp_path / 'new' / 'out.wav'
    timeline = WavTimeline(path)
    assert soundfile.info(path).frames == 0
    timeline.write(3_200, noise(1_600, 1))
    assert soundfile.info(path).frames == 4_800
    timeline.write(0, noise(100, 2))
    timeline.extend(6_400)
    pcm, rate_hz = soundfile.read(path, dtype='int16')
    timeline.close()
    assert (rate_hz, len(pcm)) == (16_000, 6_400)
    assert np.array_equal(pcm[:100], noise(100, 2))
    assert not pcm[100:3_200].any()
    assert np.array_equal(pcm[3_200:4_800], noise(1_600, 1))
    assert not pcm[4_800:].any()


def test_timeline_refuses_impossible_positions(tmp_path):
    timeline = WavTimeline(tmp_path / 'out.wav')
    with pytest.raises(ValueError, match='first_sample is -1'):
        timeline.write(-1, noise(10))
    with pytest.raises(ValueError, match='first_sample is 1000000000000000'):
        timeline.write(10**15, noise(10))
    timeline.close()
    assert (tmp_path / 'out.wav').stat().st_size == 44


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 500)), max_size=8))
def test_timeline_equals_an_array(tmp_path_factory, writes):
    path = tmp_path_factory.mktemp('timeline') / 'out.wav'
    timeline, expected = WavTimeline(path), np.zeros(0, np.int16)
    for seed, (first, count) in enumerate(writes):
        timeline.write(first, noise(count, seed))
        if count:
            expected = np.pad(expected, (0, max(0, first + count - len(expected))))
            expected[first : first + count] = noise(count, seed)
    timeline.close()
    written = soundfile.read(path, dtype='int16')[0]
    assert np.array_equal(written[: len(expected)], expected)
    assert not written[len(expected) :].any()
