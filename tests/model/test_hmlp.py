# SPDX-License-Identifier: Apache-2.0
"""The picture front end: bit for bit the public one at its values, and its own options."""

import inkling_reference
import pytest
import torch

from interaction_node.model.hmlp import CLIP_MEAN, CLIP_STD, Hmlp, HmlpConfig, split_patches

SMALL_FOLDS = ((1, 5, 16), (1, 2, 24), (1, 4, 32), (2, 1, 0))


def test_tokens_equal_the_public_ones_bit_for_bit():
    pytest.importorskip('scipy', reason='the reference plans its layers with scipy')
    module = inkling_reference.reference()
    from transformers.models.inkling.configuration_inkling import InklingVisionConfig

    torch.manual_seed(0)
    config = InklingVisionConfig(text_hidden_size=48, num_hidden_layers=4)
    theirs = inkling_reference.randomise(module.InklingVisionModel(config))
    ours = Hmlp(HmlpConfig(width=48)).eval()
    names = {name.replace('encoder_layers', 'layers'): p for name, p in theirs.named_parameters()}
    ours.load_state_dict(names)
    patches_BQLHWC = torch.randn(1, 6, 2, 40, 40, 3)
    with torch.no_grad():
        expected = theirs(patches_BQLHWC[0]).last_hidden_state[:, 0]
        assert torch.equal(ours(patches_BQLHWC)[0], expected)


def test_patches_are_cut_row_by_row_and_normalised():
    frames = torch.randint(0, 256, (2, 2, 80, 120, 3), dtype=torch.uint8)
    patches = split_patches(frames)
    assert patches.shape == (2, 6, 2, 40, 40, 3)
    expected = frames[1, 0, 45, 90].float() / 255
    expected = (expected - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    torch.testing.assert_close(patches[1, 5, 0, 5, 10], expected)


def test_edges_are_filled_and_the_public_blank_column_can_be_had():
    frames = torch.full((1, 2, 50, 80, 3), 255, dtype=torch.uint8)
    assert split_patches(frames).shape[1] == 4
    patches = split_patches(frames, blank_column=True)
    assert patches.shape[1] == 6
    blank = (-1 / 255 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    torch.testing.assert_close(patches[0, 2, 0], blank.expand(40, 40, 3))
    torch.testing.assert_close(patches[0, 3, 1, 10:], blank.expand(30, 40, 3))
    assert (patches[0, 3, 1, :10] > 0).all()


def test_all_patches_are_merged_into_few_tokens():
    config = HmlpConfig(width=32, folds=SMALL_FOLDS, merge_tokens=2, grid=(2, 3))
    front_end = Hmlp(config)
    patches = torch.randn(4, 6, 2, 40, 40, 3)
    tokens = front_end(patches)
    assert tokens.shape == (4, 2, 32)
    changed = patches.clone()
    changed[:, 5, 1, 39, 39] += 9.0
    assert ((front_end(changed) != tokens).any(-1)).all()


def test_difference_sees_what_moves_only():
    front_end = Hmlp(HmlpConfig(width=32, folds=SMALL_FOLDS, difference=True)).double()
    weight = front_end.layers[0].projection.weight
    with torch.no_grad():
        # Colour channels off: what is left is the difference.
        weight.view(-1, 25, 6)[..., :3] = 0.0
        still = torch.randn(1, 1, 1, 40, 40, 3).double().expand(-1, -1, 2, -1, -1, -1)
        other = torch.randn(1, 1, 1, 40, 40, 3).double().expand(-1, -1, 2, -1, -1, -1)
        moving = torch.cat([still[:, :, :1], other[:, :, 1:]], dim=2)
        assert torch.equal(front_end(still), front_end(other))
        assert not torch.allclose(front_end(moving), front_end(still), atol=1e-3)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match='folds must fold 2 frames of 40 pixels, got 2 and 20'):
        HmlpConfig(width=8, folds=((1, 5, 8), (2, 4, 8)))
    with pytest.raises(ValueError, match='grid must be given with merge_tokens'):
        HmlpConfig(width=8, merge_tokens=1)
