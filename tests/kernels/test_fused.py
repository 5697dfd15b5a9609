# SPDX-License-Identifier: Apache-2.0
"""The whole decoder through the kernels: training's forward and the session's step, bit for bit."""

import pytest
import torch

from interaction_node.model.config import TransformerConfig
from interaction_node.model.fused import FusedTransformer
from interaction_node.model.transformer import Transformer

MAX_APPEND = 9


@pytest.fixture
def model(device):
    config = TransformerConfig(
        vocab=24,
        width=32,
        layer_types=('sliding', 'full'),
        mlp_types=('dense', 'sparse'),
        heads=2,
        kv_heads=1,
        head_dim=16,
        mlp_width=40,
        window=6,
        d_rel=4,
        rel_extent=5,
        sink_tokens=2,
        full_window=8,
        expert_width=16,
        experts=3,
        experts_per_token=2,
        shared_experts=1,
        log_scaling_floor=4,
        logits_divisor=2.0,
    )
    model = Transformer(config).to(device).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith(('weight_KC', 'rel_proj_RE')):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def append_all(fused, x_BTD, lengths):
    state = fused.init_state(x_BTD.shape[0], MAX_APPEND, x_BTD.device)
    pieces = [fused.append(piece, state) for piece in x_BTD.split(lengths, dim=1)]
    assert int(state.position) == state.appended == sum(lengths)
    return torch.cat(pieces, dim=1)


def test_agrees_with_the_model(device, model):
    fused = FusedTransformer(model, torch.float32)
    ids = torch.randint(0, 24, (1, 17), device=device)
    wanted = model.logits(model(model.embed(ids)))
    found = fused.logits(append_all(fused, fused.embed(ids), [9, 1, 7]))
    # Sums in fp32 throughout, in another order, through two layers.
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=2e-5)


def test_training_forward_and_steps_are_the_same_bits(device, model):
    fused = FusedTransformer(model, torch.float32)
    x_BTD = torch.randn(1, 17, 32, device=device)
    whole = fused.forward(x_BTD)
    for lengths in ([9, 8], [1, 7, 1, 8]):
        assert torch.equal(append_all(fused, x_BTD, lengths), whole)


def test_a_sequence_is_the_same_bits_alone_and_among_others(device, model):
    fused = FusedTransformer(model, torch.float32)
    x_BTD = torch.randn(3, 5, 32, device=device)
    together = append_all(fused, x_BTD, [4, 1])
    assert torch.equal(append_all(fused, x_BTD[1:2], [4, 1])[0], together[1])


def test_int8_stays_near(device, model):
    x_BTD = torch.randn(1, 9, 32, device=device)
    wanted = append_all(FusedTransformer(model, torch.float32), x_BTD, [9])
    found = append_all(FusedTransformer(model, torch.float32, int8=True), x_BTD, [9])
    error = (found - wanted).norm() / wanted.norm()
    # Each weight is off by up to 1/254 of the largest of its row.
    assert 1e-4 < error < 2e-2


def test_too_many_tokens_are_refused(device, model):
    fused = FusedTransformer(model, torch.float32)
    state = fused.init_state(1, MAX_APPEND, device)
    with pytest.raises(ValueError, match='1 to 9 tokens, got 10'):
        fused.append(torch.zeros(1, 10, 32, device=device), state)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs an NVIDIA GPU')
@pytest.mark.parametrize('int8', [False, True])
def test_bf16_stays_near_and_keeps_its_bits_on_a_gpu(device, model, int8):
    x_BTD = torch.randn(2, 17, 32, device=device)
    fused = FusedTransformer(model, torch.bfloat16, int8)
    whole = fused.forward(x_BTD)
    wanted = model(x_BTD)
    # Weights, keys, values and what lies between two layers are rounded to 8 bits.
    assert (whole.float() - wanted).norm() <= 4e-2 * wanted.norm()
    assert torch.equal(append_all(fused, x_BTD, [1, 7, 1, 8]), whole)
