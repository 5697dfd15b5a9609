# SPDX-License-Identifier: Apache-2.0
"""A deeper network says what the shallow one said, and goes on learning."""

import dataclasses
import subprocess
import sys

import pytest
import torch

from interaction_node.model.checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from interaction_node.model.deepen import deepen, deepen_config
from interaction_node.model.tokens import default_vocabulary

VOCABULARY = 60


def net_of(config):
    """A network that says something, with blocks and ear that do not begin silent."""
    torch.manual_seed(1)
    net = build_net(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return net


def deeper_shape(config, layer_types, **ear):
    """A shape with other blocks, and perhaps another ear."""
    decoder = dataclasses.replace(
        config.transformer, layer_types=layer_types, mlp_types=('dense',) * len(layer_types)
    )
    return dataclasses.replace(config, transformer=decoder, **ear)


def outputs(net):
    ids = torch.arange(2 * 30).view(2, 30) % VOCABULARY
    with torch.no_grad():
        return net.transformer.logits(net.transformer(net.transformer.embed(ids)))


@pytest.mark.parametrize(
    ('after', 'types'),
    [
        ([0], ('sliding', 'sliding', 'full')),
        ([1], ('sliding', 'full', 'full')),
        ([0, 1], ('sliding', 'sliding', 'full', 'full')),
    ],
)
def test_the_deeper_network_says_the_same_and_its_copies_learn(after, types):
    config = preset('tiny', VOCABULARY)
    net = net_of(config)
    deeper = deepen(net, deeper_shape(config, types), after)
    assert deeper.config.transformer.layer_types == types
    torch.testing.assert_close(outputs(deeper), outputs(net))
    copied = deeper.transformer.blocks[after[0] + 1].mlp.down_proj.weight
    assert not copied.any()
    ids = torch.arange(30)[None] % VOCABULARY
    deeper.transformer(deeper.transformer.embed(ids)).square().sum().backward()
    assert copied.grad.any()


def test_an_ear_begins_by_saying_nothing_and_learns():
    config = preset('tiny', VOCABULARY)
    deaf = net_of(dataclasses.replace(config, ear_blocks=0, ear_sounds=0))
    hearing = deepen(deaf, config, [])
    user = torch.rand(2, 5, config.turn_frames, config.mels)
    heard, _ = hearing.user_tokens(user, hearing.silence(2))
    torch.testing.assert_close(heard, deaf.user_tokens(user, deaf.silence(2))[0])
    heard[..., 0].sum().backward()
    assert hearing.ear is not None and hearing.ear.merge.weight.grad.any()


@pytest.mark.parametrize('ear', [{'ear_blocks': 3}, {'ear_width': 24}])
def test_a_larger_ear_hears_the_same_and_all_of_it_learns(ear):
    config = preset('tiny', VOCABULARY)
    small = net_of(config)
    large = deepen(small, dataclasses.replace(config, **ear), [])
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


def command(checkpoint, output, *after):
    """Runs the command."""
    line = [sys.executable, '-m', 'interaction_node.model.deepen']
    line += ['--checkpoint', str(checkpoint), '--output', str(output)]
    line += ['--after', *map(str, after)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


def test_the_command_makes_a_checkpoint_of_the_preset(tmp_path):
    vocabulary = default_vocabulary()
    wanted = preset('nano', len(vocabulary))
    kept, after = undoubled(wanted.transformer.layer_types)
    shallow = build_net(deeper_shape(wanted, kept))
    voice = {'flow.gain': torch.ones(3)}
    save_checkpoint(tmp_path / 'shallow.safetensors', shallow, vocabulary, voice, {'steps': 7})
    output = tmp_path / 'new' / 'deeper.safetensors'
    done = command(tmp_path / 'shallow.safetensors', output, *after)
    assert done.returncode == 0, done.stderr
    assert f'{len(kept)} blocks became {len(kept) + len(after)}' in done.stdout
    net, _, extra, notes = load_checkpoint(output)
    assert net.config == wanted
    assert extra['flow.gain'].equal(voice['flow.gain']) and notes == {'steps': 7}


def undoubled(types):
    """Types of layers without second ones of a kind, and the blocks that these are copies of."""
    kept, after = [], []
    for block in types:
        if kept and kept[-1] == block and after[-1:] != [len(kept) - 1]:
            after.append(len(kept) - 1)
        else:
            kept.append(block)
    return tuple(kept), after


def test_the_command_says_what_does_not_fit(tmp_path):
    net = build_net(preset('tiny', len(default_vocabulary())))
    save_checkpoint(tmp_path / 'tiny.safetensors', net, default_vocabulary())
    done = command(tmp_path / 'tiny.safetensors', tmp_path / 'deeper.safetensors', 0)
    assert done.returncode == 2
    assert "after: [0] gives layers ('sliding', 'sliding', 'full'), expected" in done.stderr
