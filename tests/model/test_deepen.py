# SPDX-License-Identifier: Apache-2.0
"""A deeper network says what the shallow one said, and goes on learning."""

import copy
import dataclasses
import subprocess
import sys

import pytest
import torch

from interaction_node.model.checkpoint import build_net, preset
from interaction_node.model.deepen import deepen_config, deepen_run
from interaction_node.model.tokens import default_vocabulary
from interaction_node.model.train import build_optimisers

VOCABULARY = 60


def run_of(config, steps=3):
    """The state of a run that has taken some steps towards nothing in particular."""
    torch.manual_seed(1)
    net = build_net(config)
    optimisers = build_optimisers(net, 1e-2)
    for _ in range(steps):
        one_step(net, optimisers)
    return {
        'net': net.state_dict(),
        'average': copy.deepcopy(net.state_dict()),
        'optimisers': [optimiser.state_dict() for optimiser in optimisers],
        'step': steps,
        'trained_s': 1.0,
    }


def one_step(net, optimisers):
    sum(p.square().sum() for p in net.parameters()).backward()
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad()


def outputs(config, weights):
    net = build_net(config).eval()
    net.load_state_dict(weights)
    ids = torch.arange(2 * 30).view(2, 30) % VOCABULARY
    with torch.no_grad():
        h_BTD = net.transformer(net.transformer.embed(ids))
        return net.transformer.logits(h_BTD)


@pytest.mark.parametrize('after', [[0], [1], [0, 1]])
def test_the_deeper_network_says_the_same(after):
    config = preset('tiny', VOCABULARY)
    state = run_of(config)
    deeper, wider = deepen_run(state, config, after)
    assert wider.transformer.layers == config.transformer.layers + len(after)
    for name in ('net', 'average'):
        torch.testing.assert_close(outputs(wider, deeper[name]), outputs(config, state[name]))


def test_optimisers_remember_all_but_the_copies():
    config = preset('tiny', VOCABULARY)
    state = run_of(config)
    deeper, wider = deepen_run(state, config, [0])
    net = build_net(wider)
    net.load_state_dict(deeper['net'])
    optimisers = build_optimisers(net, 1e-2)
    for optimiser, kept in zip(optimisers, deeper['optimisers'], strict=True):
        optimiser.load_state_dict(kept)
    memory = {}
    for optimiser in optimisers:
        memory |= {id(p): list(held.values())[-1] for p, held in optimiser.state.items()}
    of = {name: memory[id(parameter)] for name, parameter in net.named_parameters()}
    norm = 'transformer.blocks.{}.mlp_norm.weight'
    matrix = 'transformer.blocks.{}.mlp.down_proj.weight'
    for name in (norm, matrix):
        assert of[name.format(0)].abs().sum() > 0
        assert of[name.format(1)].abs().sum() == 0
        assert of[name.format(2)].abs().sum() > 0
    before = net.state_dict()[matrix.format(1)].clone()
    assert not before.any()
    net.transformer.blocks[1].mlp.down_proj.weight.data.fill_(0.1)
    one_step(net, optimisers)
    assert (net.state_dict()[matrix.format(1)] != 0.1).all()


def test_an_ear_begins_by_saying_nothing_and_learns():
    config = dataclasses.replace(preset('tiny', VOCABULARY), ear_blocks=0, ear_sounds=0)
    state = run_of(config)
    deeper, wider = deepen_run(state, config, [], {'ear_blocks': 2, 'ear_sounds': 40})
    deaf, hearing = build_net(config), build_net(wider)
    deaf.load_state_dict(state['average'])
    hearing.load_state_dict(deeper['average'])
    user = torch.rand(2, 5, config.turn_frames, config.mels)
    torch.testing.assert_close(
        hearing.user_tokens(user, hearing.silence(2))[0], deaf.user_tokens(user, deaf.silence(2))[0]
    )
    for optimiser, kept in zip(build_optimisers(hearing, 1e-2), deeper['optimisers'], strict=True):
        optimiser.load_state_dict(kept)
        hearing.user_tokens(user, hearing.silence(2))[0][..., 0].sum().backward()
        optimiser.step()
    assert hearing.ear is not None and hearing.ear.merge.weight.any()


@pytest.mark.parametrize('ear', [{'ear_blocks': 3}, {'ear_width': 24}])
def test_a_larger_ear_hears_the_same_and_all_of_it_learns(ear):
    config = preset('tiny', VOCABULARY)
    state = run_of(config)
    for tensor in state['average'].values():
        tensor.normal_(std=0.3)
    deeper, wider = deepen_run(state, config, [], ear)
    small, large = build_net(config), build_net(wider)
    small.load_state_dict(state['average'])
    large.load_state_dict(deeper['average'])
    user = torch.rand(2, 5, config.turn_frames, config.mels)
    heard, _ = large.user_tokens(user, large.silence(2))
    alike, _ = small.user_tokens(user, small.silence(2))
    torch.testing.assert_close(heard, alike, rtol=1e-4, atol=1e-5)
    heard[..., 0].square().sum().backward()
    assert large.ear is not None
    # What is new moves in the first step, or in the second.
    assert large.ear.first.weight.grad[-1].any()
    assert large.ear.mixes[-1].weight.grad.any()


@pytest.mark.parametrize('after', [[2], [-1], [0, 0]])
def test_only_blocks_that_are_there(after):
    with pytest.raises(ValueError, match='after'):
        deepen_config(preset('tiny', VOCABULARY), after)


@pytest.fixture
def deepen(tmp_path):
    """The command, on a state."""

    def run(state, *after):
        torch.save(state, tmp_path / 'state.pt')
        command = [sys.executable, '-m', 'interaction_node.model.deepen']
        command += [
            '--state',
            str(tmp_path / 'state.pt'),
            '--output',
            str(tmp_path / 'deeper' / 'state.pt'),
        ]
        command += ['--after', *map(str, after)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    return run


def test_the_command_makes_a_run_of_the_preset(deepen, tmp_path):
    wanted = preset('nano', len(default_vocabulary()))
    decoder = dataclasses.replace(
        wanted.transformer,
        layer_types=('sliding', 'full', 'sliding', 'full'),
        mlp_types=('dense',) * 4,
    )
    state = run_of(dataclasses.replace(wanted, transformer=decoder), steps=1)
    done = deepen(state, 0, 2)
    assert done.returncode == 0, done.stderr
    assert '4 blocks became 6, step 1' in done.stdout
    build_net(wanted).load_state_dict(torch.load(tmp_path / 'deeper' / 'state.pt')['average'])


def test_the_command_says_what_does_not_fit(deepen):
    done = deepen(run_of(preset('tiny', VOCABULARY)), 0)
    assert done.returncode == 2
    assert '--after: 2 blocks become 3, preset has 6' in done.stderr
