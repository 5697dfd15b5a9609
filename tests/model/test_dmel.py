# SPDX-License-Identifier: Apache-2.0
"""The sound front end: bit for bit the public one at its values, and the same streamed."""

import inkling_reference
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.model.dmel import DMel, DMelConfig, log_mel, nearest_level, slaney_filters

# What a network of a few million parameters uses.
SMALL = {'mels': 64, 'window': 640, 'hop': 320, 'levels': 256, 'lowest': -5.0, 'highest': 1.4}


def sound(samples, batch=1):
    """Noise from the faintest to the loudest."""
    torch.manual_seed(samples)
    return (torch.randn(batch, samples) * torch.logspace(-5, 0, samples)).clamp(-1, 1)


def public_features(samples_BS):
    inkling_reference.reference()
    from transformers.models.inkling.feature_extraction_inkling import InklingFeatureExtractor

    extractor = InklingFeatureExtractor()
    features = [extractor(x.numpy(), sampling_rate=16_000)['input_features'] for x in samples_BS]
    return extractor, torch.cat(features)


def test_filters_equal_the_public_ones_bit_for_bit():
    extractor, _ = public_features(sound(3200))
    assert torch.equal(slaney_filters(80, 801, 16_000), extractor.mel_filters)


@pytest.mark.parametrize('samples', [800, 3200, 16_000, 53_211, 160_000])
def test_levels_equal_the_public_ones_bit_for_bit(samples):
    x_BS = sound(samples)
    _, mel_BFM = public_features(x_BS)
    # As the public processor does: the nearest of all levels.
    centres = torch.linspace(-7.0, 2.0, 16, dtype=torch.float64).float()
    expected = (mel_BFM.clamp(-7.0, 2.0)[..., None] - centres).abs().argmin(-1)
    front_end = DMel(DMelConfig(width=8))
    assert torch.equal(front_end.levels(x_BS), expected)
    assert expected.unique().numel() > 1


def test_log_mel_equals_the_public_one_bit_for_bit():
    x_BS = sound(48_000)
    _, expected = public_features(x_BS)
    front_end = DMel(DMelConfig(width=8))
    padded = torch.nn.functional.pad(x_BS, (800, 0))
    found = log_mel(padded, front_end.window_S, front_end.filters_MK, 800)
    assert torch.equal(found, expected)


def test_embedding_equals_the_public_one_bit_for_bit():
    module = inkling_reference.reference()
    from transformers.models.inkling.configuration_inkling import InklingAudioConfig

    config = InklingAudioConfig(mel_vocab_size=16, text_hidden_size=48)
    theirs = inkling_reference.randomise(module.InklingAudioModel(config))
    ours = DMel(DMelConfig(width=48))
    embedding = theirs.embed_audio_tokens.embed_audio_tokens.weight
    ours.load_state_dict({'embedding.weight': embedding, 'norm.weight': theirs.norm.weight})
    levels_BFM = torch.randint(0, 16, (1, 37, 80))
    expected = theirs(levels_BFM[0]).last_hidden_state
    assert torch.equal(ours(levels_BFM)[0], expected)


@settings(max_examples=25, deadline=None)
@given(hops=st.lists(st.integers(1, 12), min_size=1, max_size=12), public=st.booleans())
def test_a_stream_in_any_pieces_equals_the_whole_bit_for_bit(hops, public):
    config = DMelConfig(width=8) if public else DMelConfig(width=8, **SMALL)
    front_end = DMel(config)
    x_BS = sound(sum(hops) * config.hop, batch=2)
    state = front_end.init_state(2)
    pieces = x_BS.split([n * config.hop for n in hops], dim=1)
    streamed = torch.cat([front_end.levels(piece, state) for piece in pieces], dim=1)
    assert torch.equal(streamed, front_end.levels(x_BS))


def test_a_frame_ends_with_its_hop():
    front_end = DMel(DMelConfig(width=8))
    x_BS = torch.zeros(1, 6400)
    x_BS[0, 2400:] = torch.randn(4000) * 0.1
    levels_BFM = front_end.levels(x_BS)
    silence = front_end.levels(torch.zeros(1, 800))[0, 0]
    assert torch.equal(levels_BFM[0, :3], silence.expand(3, -1))
    assert (levels_BFM[0, 3:] > silence).all()


def test_a_ragged_piece_of_a_stream_is_refused():
    front_end = DMel(DMelConfig(width=8))
    with pytest.raises(ValueError, match='multiple of 800 samples, got 900'):
        front_end.levels(torch.zeros(1, 900), front_end.init_state(1))


@settings(max_examples=60, deadline=None)
@given(levels=st.integers(2, 300), seed=st.integers(0, 1000))
def test_nearest_level_is_the_first_of_the_nearest(levels, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(500, generator=generator) * 12 - 8
    centres = torch.linspace(-7.0, 2.0, levels, dtype=torch.float64).float()
    # Values on and beside every level and every middle between two.
    middles = (centres[1:] + centres[:-1]) / 2
    special = torch.cat([centres, middles])
    below, above = (torch.nextafter(special, torch.tensor(end)) for end in (-99.0, 99.0))
    x = torch.cat([x, special, below, above])
    expected = (x.clamp(-7.0, 2.0)[:, None] - centres).abs().argmin(-1)
    assert torch.equal(nearest_level(x, levels, -7.0, 2.0), expected)


@pytest.mark.parametrize('embedding', ['table', 'linear'])
def test_frames_are_merged_into_tokens(embedding):
    front_end = DMel(DMelConfig(width=24, embedding=embedding, frames_per_token=5, **SMALL))
    levels_BFM = front_end.levels(sound(6400))
    tokens_BND = front_end(levels_BFM)
    assert tokens_BND.shape == (1, 4, 24)
    changed = levels_BFM.clone()
    changed[:, 7] = 255 - changed[:, 7]
    differs = (front_end(changed) != tokens_BND).any(-1)
    assert differs.tolist() == [[False, True, False, False]]


def test_linear_embedding_is_a_table_on_a_line():
    front_end = DMel(DMelConfig(width=24, embedding='linear', **SMALL))
    low, middle, high = (torch.full((1, 1, 64), level) for level in (0, 127.5, 255))
    with torch.no_grad():
        front_end.norm = torch.nn.Identity()
        front_end.norm.weight = front_end.merge.weight
        torch.testing.assert_close(
            front_end(low) + front_end(high), 2 * front_end(middle), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'hop': 2000}, 'hop must be 1 to window'),
        ({'levels': 1}, 'levels must be at least 2'),
        ({'lowest': 3.0}, 'lowest must be below highest'),
        ({'embedding': 'lookup'}, 'embedding must be one of'),
        ({'frames_per_token': 0}, 'frames_per_token must be positive'),
    ],
)
def test_bad_shapes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        DMelConfig(width=8, **changes)
