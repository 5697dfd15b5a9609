# SPDX-License-Identifier: Apache-2.0
"""The ear is trained alone, and the decoder knows it again."""

import argparse
import copy
import dataclasses

import numpy as np
import pytest
import torch
from burst_bank import write_burst_bank

from interaction_node.model.checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from interaction_node.model.tokens import default_vocabulary
from interaction_node.model.train_ear import EarTrainer, Listening, fit_merge, train


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
    return write_burst_bank(tmp_path_factory.mktemp('listened') / 'bank', each=3)


@pytest.fixture
def before(tmp_path):
    torch.manual_seed(3)
    net = build_net(preset('tiny', len(default_vocabulary())))
    torch.nn.init.normal_(net.ear.merge.weight, std=0.05)
    save_checkpoint(tmp_path / 'before.safetensors', net, default_vocabulary(), None, {'steps': 7})
    return tmp_path / 'before.safetensors'


def options(before, bank, folder, **changes):
    settings = {
        'minutes': 0.1, 'decay_minutes': 0.05, 'init': before, 'folder': folder,
        'output': None, 'bank': bank, 'rate': 2e-3, 'rows': 2,
        'variants': 1, 'refresh_minutes': 0.0, 'threads': 1, 'seed': 0, 'compile': False,
        'dropout': 0.1,
    }  # fmt: skip
    return argparse.Namespace(**settings | changes)


def test_only_the_ear_changes_and_a_second_run_goes_on(before, bank, tmp_path):
    train(options(before, bank, tmp_path / 'ear'))
    old, new = (load_checkpoint(p)[0] for p in (before, tmp_path / 'ear' / 'net.safetensors'))
    changed = {
        name.partition('.')[0]
        for (name, one), two in zip(old.named_parameters(), new.parameters(), strict=True)
        if not torch.equal(one, two)
    }
    assert changed == {'ear', 'sounds'}
    steps = EarTrainer(tmp_path / 'ear', before, 2e-3).step
    assert steps > 0
    train(options(before, bank, tmp_path / 'ear', minutes=0.05, decay_minutes=0.0))
    notes = load_checkpoint(tmp_path / 'ear' / 'net.safetensors')[3]
    assert notes['steps'] == 7
    assert notes['ear_steps'] > steps


def test_it_learns_which_sounds_there_are(before, bank, tmp_path):
    trainer = EarTrainer(tmp_path / 'ear', before, 2e-2)
    levels, sounds = next(iter(Listening(bank, 2, 1, 0.0, 1)))
    trainer.step = 100  # warm
    found = [trainer.train_step(levels, sounds, 0.0)['sound'] for _ in range(20)]
    assert found[-1] < 0.7 * found[0]


def test_the_decoder_is_told_what_it_was_told_before(before):
    ear = load_checkpoint(before)[0].ear
    other = copy.deepcopy(ear)
    # The same channels, upside down, some louder: a linear map can undo that.
    other.norms[-1].weight.data *= torch.empty_like(ear.norms[-1].weight).uniform_(-2, -0.5)
    levels = torch.rand(6, 600, 64)
    kept = fit_merge(other, ear, levels)
    assert kept == pytest.approx(1, abs=0.01)
    torch.nn.init.zeros_(other.norms[-1].weight[8:])
    assert fit_merge(other, ear, levels) < 0.8


def test_a_network_without_sounds_is_refused(tmp_path):
    config = dataclasses.replace(preset('tiny', len(default_vocabulary())), ear_sounds=0)
    path = tmp_path / 'mute.safetensors'
    save_checkpoint(path, build_net(config), default_vocabulary(), None, {})
    with pytest.raises(ValueError, match=r'init: .*mute\.safetensors has no ear'):
        EarTrainer(tmp_path / 'ear', path, 1e-3)


def test_a_bank_without_speech_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'bank: .* has no speech'):
        Listening(tmp_path / 'bank', 2, 1, 0.0, 1)


def test_the_sound_of_sessions_is_what_the_decoder_hears(bank):
    sound = Listening(bank, 2, 1, 0.0, 1).sessions(3, 300)
    assert sound.shape == (3, 300, 64)
    assert 0 <= sound.min() < sound.max() <= 1
    assert len({float(np.round(row.mean(), 4)) for row in sound}) == 3
