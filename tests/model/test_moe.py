# SPDX-License-Identifier: Apache-2.0
"""The mixture of experts against the public code, and its grouping of rows by expert."""

import inkling_reference
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.model import moe
from interaction_node.model.config import TransformerConfig
from interaction_node.model.moe import MixtureOfExperts, sort_into_blocks


def small_config(**changes):
    values = {
        'vocab': 8,
        'width': 24,
        'layer_types': ('full',),
        'mlp_types': ('sparse',),
        'heads': 1,
        'kv_heads': 1,
        'head_dim': 8,
        'mlp_width': 0,
        'experts': 6,
        'experts_per_token': 2,
        'shared_experts': 2,
        'expert_width': 16,
        'route_scale': 2.5,
    }
    return TransformerConfig(**values | changes)


def small_layer(**changes):
    torch.manual_seed(0)
    layer = MixtureOfExperts(small_config(**changes))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer.eval()


def expert_by_expert(layer, x_ND):
    """Every token through each of its experts, one at a time."""
    routing, out = layer.router(x_ND), []
    for x_D, experts, weights in zip(x_ND, routing.experts_NA, routing.weights_NA, strict=True):
        y_D = 0
        for expert, weight in zip(experts.tolist(), weights, strict=True):
            gate, up = (layer.gate_up_EXD[expert] @ x_D).chunk(2)
            y_D = y_D + weight * (layer.down_EDI[expert] @ (gate.sigmoid() * gate * up))
        out.append(y_D)
    return torch.stack(out) + layer._shared(x_ND, routing.shared_NS)


@pytest.mark.parametrize('tokens', [1, 4, 90])
def test_equals_the_public_layer(tokens):
    module = inkling_reference.reference()
    torch.manual_seed(0)
    config = inkling_reference.text_config()
    theirs = inkling_reference.randomise(module.InklingMoE(config))
    ours = MixtureOfExperts(small_config(width=32, route_scale=config.route_scale)).eval()
    shared = theirs.shared_experts
    ours.load_state_dict(
        {
            'router.weight_ED': theirs.gate.weight,
            'router.scale': theirs.gate.global_scale,
            'router.bias_E': theirs.gate.e_score_correction_bias,
            'gate_up_EXD': theirs.experts.gate_up_proj,
            'down_EDI': theirs.experts.down_proj,
            'shared_gate_up.weight': torch.cat([shared.gate_proj, shared.up_proj]).flatten(0, 1),
            'shared_down.weight': shared.down_proj.transpose(0, 1).flatten(1),
        }
    )
    x_BTD = torch.randn(2, tokens, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x_BTD), theirs(x_BTD), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize('sink', [True, False])
@pytest.mark.parametrize('tokens', [3, 130])
def test_equals_one_expert_at_a_time(tokens, sink):
    layer = small_layer(shared_expert_sink=sink)
    x_ND = torch.randn(tokens, 24, requires_grad=True)
    inputs = [x_ND, *layer.parameters()]
    found, expected = layer(x_ND[None])[0], expert_by_expert(layer, x_ND)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    upstream = torch.randn_like(found)
    gradients = torch.autograd.grad(found, inputs, upstream)
    for ours, naive in zip(gradients, torch.autograd.grad(expected, inputs, upstream), strict=True):
        torch.testing.assert_close(ours, naive, atol=2e-5, rtol=1e-4)


def test_few_and_many_rows_agree(monkeypatch):
    layer = small_layer()
    x_BTD = torch.randn(1, 20, 24)
    with torch.no_grad():
        gathered = layer(x_BTD)
        monkeypatch.setattr(moe, 'GATHER_ROWS', 0)
        torch.testing.assert_close(layer(x_BTD), gathered, atol=1e-6, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(0, 6), min_size=1, max_size=80),
    block_rows=st.integers(1, 9),
)
def test_every_row_lands_in_a_block_of_its_expert(rows, block_rows):
    experts_R = torch.tensor(rows)
    source, place, block_experts = sort_into_blocks(experts_R, 7, block_rows)
    assert source.shape[0] == block_experts.shape[0] * block_rows
    assert torch.equal(source[place], torch.arange(len(rows)))
    assert int((source < len(rows)).sum()) == len(rows)
    assert torch.equal(block_experts[place // block_rows], experts_R)


def test_rebalancing_spreads_the_load():
    layer = small_layer(experts=8).train()
    x_BTD = torch.randn(1, 400, 24) + 2.0
    loads = []
    for _ in range(200):
        layer(x_BTD)
        loads.append(layer.router.load_E.clone())
        layer.router.rebalance(rate=0.01)
    assert loads[0].sum() == 800
    assert loads[-1].std() < 0.4 * loads[0].std()


def test_load_is_counted_in_training_only():
    layer = small_layer()
    layer(torch.randn(1, 9, 24))
    assert layer.router.load_E.sum() == 0
