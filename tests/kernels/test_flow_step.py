# SPDX-License-Identifier: Apache-2.0
"""The flow step agrees with plain PyTorch and with the flow head, for each speaker by himself."""

import pytest
import torch
from torch.nn import functional

from interaction_node.kernels.flow_step import flow_step, pack, reference
from interaction_node.model.flow_head import FlowConfig, FlowHead, _waves
from interaction_node.model.flow_sampler import FlowSampler
from interaction_node.model.speech_text import MAX_LETTERS

# fp32 sums in another order through two layers; fp16 rounds every layer's input.
TOLERANCE = {torch.float32: 3e-5, torch.float16: 1e-2}


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = FlowHead(['go', 'stop'], FlowConfig(width=24, layers=2, heads=2, text_layers=1))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return head.eval().requires_grad_(False)


def inputs_of(head, device, speakers, dtype=torch.float32):
    """What the head's velocity sees, as the kernel takes it."""
    letters = torch.zeros(speakers, MAX_LETTERS, 4, dtype=torch.int16)
    letters[:, -5:] = torch.randint(1, 3, (speakers, 5, 4))
    past, begun = torch.randn(speakers, 10, 82), torch.randint(0, 15, (speakers,))
    condition = head.condition(letters[:, -9:], past, begun, torch.full((speakers,), 0.1))
    x, time = torch.randn(speakers, 10, 82), torch.full((speakers,), 0.5)
    summary = functional.silu(head.time(_waves(time)) + condition.summary_BW)
    memory = [b.attend_memory.key_value(condition.memory_BMW) for b in head.blocks]
    packed = (x, head.modulation(summary).unflatten(-1, (6, -1)))
    packed += (torch.stack(memory, dim=1).to(dtype), condition.mask_BM)
    return condition, time, tuple(tensor.to(device).contiguous() for tensor in packed)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_agrees_with_plain_pytorch_and_with_the_head(device, head, dtype):
    condition, time, inputs = inputs_of(head, device, 2, dtype)
    state = {name: tensor.to(device) for name, tensor in head.state_dict().items()}
    weights = pack(state, 2, 2, dtype)
    found = flow_step(*inputs, weights, 0.5)
    velocity, end = head.velocity(inputs[0].cpu(), time, condition)
    for wanted in (
        reference.flow_step(*inputs, weights, 0.5),
        (inputs[0].cpu() + 0.5 * velocity, end),
    ):
        for one, other in zip(found, wanted, strict=True):
            other = other.to(one.device)
            assert (one - other).abs().max() <= TOLERANCE[dtype] * other.abs().max()


def test_a_speaker_is_the_same_bits_alone_and_among_others(device, head):
    _, _, inputs = inputs_of(head, device, 3)
    state = {name: tensor.to(device) for name, tensor in head.state_dict().items()}
    weights = pack(state, 2, 2, torch.float32)
    together = flow_step(*inputs, weights, 0.5)
    alone = flow_step(*(tensor[1:2].clone() for tensor in inputs), weights, 0.5)
    for one, all_of_them in zip(alone, together, strict=True):
        assert torch.equal(one[0], all_of_them[1])


def test_a_sampled_block_is_that_of_the_head(device, head):
    letters = torch.zeros(1, MAX_LETTERS, 4, dtype=torch.int16)
    letters[:, -5:] = torch.randint(1, 3, (1, 5, 4))
    begun, past_noise = torch.tensor([3]), torch.tensor([0.1])
    known = (letters[:, -5:], torch.randn(1, 10, 82), begun, past_noise, None)
    noise = torch.randn(1, 10, 82)
    wanted = head.make(noise, head.condition(*known), steps=2)
    found = FlowSampler(head, 2, device, torch.float32).make(noise, *known)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()


def test_a_memory_of_another_dtype_is_refused(device, head):
    _, _, inputs = inputs_of(head, device, 1, torch.float16)
    with pytest.raises(ValueError, match='memory_BLMX must be'):
        flow_step(*inputs, pack(head.state_dict(), 2, 2, torch.float32), 0.5)
