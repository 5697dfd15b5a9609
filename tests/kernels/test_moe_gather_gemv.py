# SPDX-License-Identifier: Apache-2.0
"""Experts agree with plain PyTorch and with the model, and no token depends on its company."""

import pytest
import torch

from interaction_node.kernels.moe_gather_gemv import moe, reference, route
from interaction_node.kernels.quantise import Weight, quantise
from interaction_node.model.config import TransformerConfig
from interaction_node.model.moe import MixtureOfExperts

# Relative to the largest value: fp32 sums in another order; fp16 rounds hidden units and result.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 3e-3}
SHAPE = {'width': 40, 'hidden': 24, 'experts': 5, 'chosen': 2, 'shared': 1}


def make(device, tokens, width, hidden, experts, chosen, shared, dtype=torch.float32, int8=False):
    def weight(*size):
        values = torch.randn(size, device=device) * size[-1] ** -0.5
        return quantise(values) if int8 else Weight(values.to(dtype))

    x = torch.randn(tokens, width, device=device).to(dtype)
    picked = torch.rand(tokens, experts, device=device).argsort(dim=1)[:, :chosen]
    shares = torch.rand(tokens, chosen + shared, device=device)
    routed = weight(experts, 2 * hidden, width), weight(experts, width, hidden)
    side = weight(2 * shared * hidden, width), weight(width, shared * hidden)
    return x, picked.to(torch.int32).contiguous(), shares, *routed, *side


def assert_near(found, wanted):
    assert found.dtype == wanted.dtype
    limit = TOLERANCE[found.dtype] * wanted.float().abs().max()
    assert (found.float() - wanted.float()).abs().max() <= limit


@pytest.mark.parametrize('int8', [False, True])
@pytest.mark.parametrize(
    ('tokens', 'shape', 'dtype'),
    [
        (1, SHAPE, torch.float32),
        (6, SHAPE | {'width': 33, 'hidden': 17, 'chosen': 3}, torch.float32),
        (5, SHAPE | {'width': 150, 'hidden': 40, 'shared': 2}, torch.float16),
        (17, SHAPE | {'experts': 2, 'chosen': 2, 'hidden': 8}, torch.float32),
        (3, SHAPE | {'experts': 1, 'chosen': 1}, torch.float32),
    ],
)
def test_agrees_with_plain_pytorch(device, tokens, shape, dtype, int8):
    inputs = make(device, tokens, **shape, dtype=dtype, int8=int8)
    assert_near(moe(*inputs), reference.moe(*inputs))


def test_all_tokens_may_want_the_same_experts(device):
    x, experts, *rest = make(device, 16, **SHAPE)
    experts[:] = torch.tensor([4, 1], dtype=torch.int32)
    assert_near(moe(x, experts, *rest), reference.moe(x, experts, *rest))


@pytest.mark.parametrize('int8', [False, True])
def test_a_token_is_the_same_bits_alone_and_among_others(device, int8):
    x, experts, shares, *weights = make(device, 17, **SHAPE, int8=int8)
    together = moe(x, experts, shares, *weights)
    for part in (slice(0, 1), slice(3, 7), slice(16, 17)):
        mine = (t[part].contiguous() for t in (x, experts, shares))
        assert torch.equal(moe(*mine, *weights), together[part])


@pytest.mark.parametrize('sink', [False, True])
def test_router_and_experts_agree_with_the_model(device, sink):
    config = TransformerConfig(
        vocab=8,
        width=40,
        layer_types=('full',),
        mlp_types=('sparse',),
        heads=1,
        kv_heads=1,
        head_dim=8,
        mlp_width=8,
        expert_width=24,
        experts=7,
        experts_per_token=3,
        shared_experts=2,
        route_scale=2.5,
        shared_expert_sink=sink,
    )
    layer = MixtureOfExperts(config).to(device).eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    layer.router.bias_E.normal_(0, 0.1)
    x = torch.randn(9, 40, device=device)
    router = layer.router
    weight, picking = Weight(router.weight_ED.detach()), (router.bias_E, router.scale.detach())
    experts, shares = route(x, weight, *picking, 3, 2.5, sink)
    with torch.no_grad():
        wanted = router(x)
        assert torch.equal(experts.long(), wanted.experts_NA)
        both = torch.cat((wanted.weights_NA, wanted.shared_NS), dim=1)
        torch.testing.assert_close(shares, both, atol=1e-6, rtol=1e-5)
        weights = (layer.gate_up_EXD, layer.down_EDI, layer.shared_gate_up.weight)
        weights = [Weight(w.detach()) for w in (*weights, layer.shared_down.weight)]
        assert_near(moe(x, experts, shares, *weights), layer(x[None])[0])
    alone = route(x[4:5].clone(), weight, *picking, 3, 2.5, sink)
    assert torch.equal(alone[0], experts[4:5])
    assert torch.equal(alone[1], shares[4:5])


def test_mixed_dtypes_are_refused(device):
    x, experts, shares, gate_up, *rest = make(device, 2, **SHAPE)
    with pytest.raises(ValueError, match='all weights must be of one dtype'):
        moe(x, experts, shares, quantise(gate_up.values), *rest)
