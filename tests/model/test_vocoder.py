# SPDX-License-Identifier: Apache-2.0
"""The vocoder: blocks equal the whole, no clicks, no sample held back, no look ahead."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.model import speech_features as sf
from interaction_node.model.vocoder import Vocoder

BLOCK = sf.FRAMES_PER_BLOCK


@pytest.fixture(scope='module')
def vocoder():
    torch.manual_seed(0)
    made = Vocoder().eval().requires_grad_(False)
    torch.nn.init.normal_(made.control.weight, std=0.02)
    return made


def voice(n_frames, seed=0, batch=1):
    """Features that wander like a voice does, (batch, n_frames, 82)."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.standard_normal((batch, n_frames, sf.N_FEATURES)) * 0.3, axis=1)
    features = np.clip(walk - 2, -9, 2)
    features[..., sf.PITCH_INDEX] = np.log(110) + 0.02 * walk[..., sf.PITCH_INDEX]
    features[..., sf.VOICING_INDEX] = 0.8
    return torch.from_numpy(features.astype(np.float32))


def in_blocks(vocoder, features, sizes):
    state, waves, first = vocoder.start(len(features)), [], 0
    for size in sizes:
        wave, state = vocoder(features[:, first : first + size], state)
        waves.append(wave)
        first += size
    return torch.cat(waves, dim=1), state


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6), seed=st.integers(0, 9))
def test_blocks_of_any_size_equal_the_whole(vocoder, sizes, seed):
    features = voice(sum(sizes), seed)
    whole, _ = vocoder(features, vocoder.start())
    parts, state = in_blocks(vocoder, features, sizes)
    torch.testing.assert_close(parts, whole, atol=2e-5, rtol=1e-4)
    assert state.sample == whole.shape[1]


def test_every_call_gives_its_samples_from_the_first_on(vocoder):
    state = vocoder.start()
    for block in voice(4 * BLOCK).split(BLOCK, dim=1):
        wave, state = vocoder(block, state)
        assert wave.shape == (1, sf.BLOCK_SAMPLES)


def test_a_block_does_not_depend_on_what_follows(vocoder):
    features = voice(3 * BLOCK)
    other = features.clone()
    other[:, BLOCK:] += 1
    first, _ = vocoder(features, vocoder.start())
    second, _ = vocoder(other, vocoder.start())
    torch.testing.assert_close(first[:, : sf.BLOCK_SAMPLES], second[:, : sf.BLOCK_SAMPLES])
    assert not torch.allclose(first, second)


def test_streams_side_by_side_do_not_mix(vocoder):
    features = voice(2 * BLOCK, batch=2)
    both, _ = vocoder(features, vocoder.start(2))
    for row in range(2):
        alone, _ = vocoder(features[row : row + 1], vocoder.start())
        torch.testing.assert_close(both[row : row + 1], alone, atol=2e-5, rtol=1e-4)


def test_no_clicks_where_blocks_join(vocoder):
    """Steps between samples at borders are no larger than steps inside blocks."""
    features = voice(1).expand(-1, 20 * BLOCK, -1)
    wave, _ = in_blocks(vocoder, features, [BLOCK] * 20)
    steps = wave[0].diff().abs()
    borders = steps[sf.BLOCK_SAMPLES - 1 :: sf.BLOCK_SAMPLES]
    assert borders.max() <= steps.max()
    assert borders.mean() < 3 * steps.mean()


def test_pitch_is_the_one_asked_for(vocoder):
    features = voice(1).expand(-1, 3 * BLOCK, -1).clone()
    features[..., sf.PITCH_INDEX] = float(np.log(125.0))
    pulses, log_pitch, _ = vocoder._pulses(features, in_blocks(vocoder, features, [BLOCK])[1])
    spectrum = np.abs(np.fft.rfft(pulses[0, -8000:].numpy() * np.hanning(8000)))
    assert spectrum[40:90].argmax() + 40 in (62, 63)
    assert log_pitch == pytest.approx(np.log(125.0), abs=1e-4)


def test_silence_stays_silent(vocoder):
    torch.manual_seed(0)
    fresh = Vocoder().eval().requires_grad_(False)
    wave, _ = fresh(sf.silence_frame().expand(1, 30, -1), fresh.start())
    assert wave.abs().max() < 2e-3


def test_state_is_not_changed_and_can_be_cloned(vocoder):
    features = voice(BLOCK)
    state = in_blocks(vocoder, features, [BLOCK])[1]
    copy = state.clone()
    first, _ = vocoder(features, state)
    second, _ = vocoder(features, copy)
    assert torch.equal(first, second)


@pytest.mark.parametrize('length', [0, 100, 333])
def test_log_mel_refuses_broken_hops(length):
    with pytest.raises(ValueError, match='multiple of 320'):
        sf.log_mel(torch.zeros(1, length))


@pytest.mark.parametrize('hz', [80.0, 110.0, 163.0, 240.0])
def test_pitch_of_a_pulse_train(hz):
    phase = np.cumsum(np.full(16_000, hz / sf.SAMPLE_RATE_HZ))
    wave = np.where(np.diff(np.floor(phase), prepend=0) > 0, 0.5, 0.0)
    wave = np.convolve(wave, np.exp(-np.arange(60) / 12), 'same')
    found, voicing = sf.pitch(wave.astype(np.float32), 50)
    assert np.median(np.abs(found[5:45] / hz - 1)) < 0.01
    assert voicing[5:45].min() > 0.8


def test_noise_has_no_voice():
    wave = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    assert np.median(sf.pitch(wave, 50)[1]) < 0.5


def test_log_mel_frame_looks_20_ms_past_its_hop():
    wave = torch.zeros(1, 3200)
    wave[0, 1600:] = torch.randn(1600)
    mel = sf.log_mel(wave)[0]
    loud = (mel > sf.SILENCE_LOG_MEL + 1).any(1)
    assert loud.nonzero()[0].item() == 4
