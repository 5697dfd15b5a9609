# SPDX-License-Identifier: Apache-2.0
"""Sound becomes tokens: the same micro-turn by micro-turn as all at once, and nothing of later."""

import pytest
import torch

from interaction_node.model.checkpoint import build_net, preset

TURNS = 9


@pytest.fixture(params=['tiny', 'nano'])
def net(request):
    torch.manual_seed(1)
    net = build_net(preset(request.param, 300))
    with torch.no_grad():
        net.ear.merge.weight.normal_(std=0.05)
    return net.eval()


@pytest.fixture
def user(net):
    generator = torch.Generator().manual_seed(2)
    return torch.rand(2, TURNS, net.config.turn_frames, net.config.mels, generator=generator)


@torch.no_grad()
def test_micro_turns_one_by_one_are_heard_as_all_at_once(net, user):
    whole, end = net.user_tokens(user, net.silence(2))
    memory, pieces = net.silence(2), []
    for turn in range(TURNS):
        tokens, memory = net.user_tokens(user[:, turn : turn + 1], memory)
        pieces.append(tokens)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-5)
    assert len(memory) == len(end) == 2 + net.config.ear_blocks
    for step_by_step, at_once in zip(memory, end, strict=True):
        torch.testing.assert_close(step_by_step, at_once, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_its_memory_of_silence_is_what_silence_leaves(net):
    quiet = torch.zeros(1, TURNS, net.config.turn_frames, net.config.mels)
    before = net.silence(1)
    tokens, after = net.user_tokens(quiet, before)
    torch.testing.assert_close(tokens[0, 0], tokens[0, -1], rtol=1e-4, atol=1e-5)
    for remembered, silence in zip(after, before, strict=True):
        torch.testing.assert_close(remembered, silence, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_past_is_heard_as_long_as_it_looks_back_and_the_future_never(net, user):
    changed = user.clone()
    changed[:, 4] = 0.5
    first, second = (net.user_tokens(each, net.silence(2))[0] for each in (user, changed))
    differs = (first != second).flatten(2).any(-1).any(0)
    assert not differs[:4].any()
    frames_back = 2 + 2 * sum(net.ear.strides)
    last = 4 + -(-frames_back // net.config.turn_frames)
    assert differs[4 : last + 1].all()
    assert not differs[last + 1 :].any()


@torch.no_grad()
def test_what_blocks_add_is_dropped_at_random_only_while_it_is_trained(net, user):
    net.ear.dropout = 0.3
    levels = user.flatten(1, 2)
    assert torch.equal(net.sounds_in(levels), net.sounds_in(levels))
    net.train()
    assert not torch.equal(net.sounds_in(levels), net.sounds_in(levels))
