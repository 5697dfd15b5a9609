# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from interaction_node.model.checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from interaction_node.model.skills import Slot
from interaction_node.model.tokens import Vocabulary


def test_a_checkpoint_comes_back_with_shape_words_and_notes(tmp_path):
    vocabulary = Vocabulary(['go', 'stop'])
    net = build_net(preset('tiny', len(vocabulary)))
    path = tmp_path / 'new' / 'tiny.safetensors'
    save_checkpoint(path, net, vocabulary, {'flow.x': torch.ones(2)}, {'steps': 3}, torch.float32)
    loaded, words, extra, notes = load_checkpoint(path)
    assert words.tokens == vocabulary.tokens
    assert loaded.config == net.config
    assert notes == {'steps': 3}
    np.testing.assert_array_equal(extra['flow.x'], [1, 1])
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'nowhere\.safetensors does not exist'):
        load_checkpoint(tmp_path / 'nowhere.safetensors')


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="preset: 'huge'"):
        preset('huge', 10)


def test_a_checkpoint_carries_the_skills_that_it_was_taught(tmp_path):
    signatures = {'water': (Slot('plant', ('fern', 'lemon tree')), Slot('cups', optional=True))}
    vocabulary = Vocabulary(['go', 'fern', '<water>'], signatures)
    path = tmp_path / 'taught.safetensors'
    save_checkpoint(path, build_net(preset('tiny', len(vocabulary))), vocabulary)
    _, loaded, _, _ = load_checkpoint(path)
    assert loaded.tokens == vocabulary.tokens
    assert loaded.signatures == signatures
    assert loaded.skills[-1] == 'water'
