# SPDX-License-Identifier: Apache-2.0
"""The decoder against the public code, and against a naive computation of its own."""

import os

import inkling_reference
import pytest
import torch
import torch.nn.functional as F

from interaction_node.model.config import TransformerConfig
from interaction_node.model.load_inkling import load_transformer, read_config
from interaction_node.model.transformer import Transformer

TOLERANCE = {'atol': 2e-5, 'rtol': 2e-5}


def small_config(**changes):
    values = {
        'vocab': 24,
        'width': 32,
        'layer_types': ('sliding', 'full'),
        'heads': 4,
        'kv_heads': 2,
        'head_dim': 8,
        'sliding_heads': 6,
        'sliding_kv_heads': 3,
        'sliding_head_dim': 4,
        'mlp_width': 48,
        'window': 16,
        'd_rel': 4,
        'rel_extent': 24,
    }
    return TransformerConfig(**values | changes)


def small_model(**changes):
    torch.manual_seed(0)
    model = Transformer(small_config(**changes))
    for name, parameter in model.named_parameters():
        if name.endswith(('weight_KC', 'rel_proj_RE')):
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def naive_attention(attention, x_BTD):
    """Attention with explicit distances, a gather and a mask; every head with its own keys."""
    config, shape, length = attention.config, attention.shape, x_BTD.shape[1]
    widths = (attention.q_width, attention.kv_width, attention.r_width)
    q, kv, r = attention.qkvr_proj(x_BTD).split(widths, dim=-1)
    taps = attention.kv_conv.weight_KC
    padded = F.pad(kv, (0, 0, taps.shape[0] - 1, 0))
    kv = kv + sum(padded[:, i : i + length] * taps[i] for i in range(taps.shape[0]))
    k, v = kv.chunk(2, dim=-1)
    q = attention.q_norm(q.unflatten(-1, (shape.heads, -1)))
    k = attention.k_norm(k.unflatten(-1, (shape.kv_heads, -1)))
    v = v.unflatten(-1, (shape.kv_heads, -1))
    k, v = (y.repeat_interleave(shape.heads // shape.kv_heads, dim=2) for y in (k, v))
    distance = torch.arange(length)[:, None] - torch.arange(length)
    rel = r.unflatten(-1, (shape.heads, -1)).transpose(1, 2) @ attention.rel_proj_RE
    index = distance.clamp(0, shape.extent - 1).expand(rel.shape[:2] + distance.shape)
    near = (distance >= 0) & (distance < shape.extent)
    scores = torch.einsum('bihf,bjhf->bhij', q, k) / shape.head_dim + rel.gather(-1, index) * near
    hidden = distance < 0
    if shape.sliding:
        hidden = hidden | (distance >= config.window)
    elif config.full_window:
        gone = distance >= config.full_window
        hidden = hidden | (gone & (torch.arange(length) >= config.sink_tokens))
    weights = scores.masked_fill(hidden, float('-inf')).softmax(-1)
    return attention.o_proj(torch.einsum('bhij,bjhf->bihf', weights, v).flatten(2))


@pytest.mark.parametrize('floor', [None, 10])
@pytest.mark.parametrize('shared', [1, 2])
def test_logits_equal_those_of_the_public_code(tmp_path, floor, shared):
    theirs = inkling_reference.text_model(log_scaling_n_floor=floor, n_shared_experts=shared)
    folder = inkling_reference.save(theirs, tmp_path)
    ours = Transformer(read_config(folder)).eval()
    load_transformer(ours, folder)
    ids_BT = torch.randint(0, 48, (2, 75))
    with torch.no_grad():
        expected = theirs(ids_BT).logits
        found = ours.logits(ours(ours.embed(ids_BT)))
        assert expected.std() > 0.05
        torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize('floor', [None, 10])
@pytest.mark.parametrize('turn_tokens', [1, 5])
def test_appended_logits_equal_those_of_the_public_code(tmp_path, floor, turn_tokens):
    theirs = inkling_reference.text_model(log_scaling_n_floor=floor)
    folder = inkling_reference.save(theirs, tmp_path)
    from transformers import DynamicCache

    ours = Transformer(read_config(folder)).eval()
    load_transformer(ours, folder)
    cache = DynamicCache(config=theirs.config)
    state = ours.init_state(2, turn_tokens, capacity=60)
    ids_BT = torch.randint(0, 48, (2, 60))
    with torch.inference_mode():
        for turn_BT in ids_BT.split(turn_tokens, dim=1):
            expected = theirs(turn_BT, past_key_values=cache, use_cache=True).logits
            found = ours.logits(ours.append(ours.embed(turn_BT), state))
            torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize('length', [1, 5, 16, 17, 48, 100])
@pytest.mark.parametrize('bounds', [{}, {'full_window': 40, 'sink_tokens': 3}, {'full_window': 9}])
@pytest.mark.parametrize('layer', [0, 1])
def test_attention_equals_the_naive_computation(length, bounds, layer):
    attention = small_model(**bounds).blocks[layer].attention
    x_BTD = torch.randn(2, length, 32, requires_grad=True)
    inputs = [x_BTD, *attention.parameters()]
    found, expected = attention(x_BTD), naive_attention(attention, x_BTD)
    torch.testing.assert_close(found, expected, **TOLERANCE)
    upstream = torch.randn_like(found)
    gradients = torch.autograd.grad(found, inputs, upstream)
    for ours, naive in zip(gradients, torch.autograd.grad(expected, inputs, upstream), strict=True):
        torch.testing.assert_close(ours, naive, atol=2e-5, rtol=1e-4)


def test_nothing_looks_ahead():
    model = small_model()
    x_BTD = torch.randn(1, 60, 32)
    changed = x_BTD.clone()
    changed[:, 41:] = torch.randn(1, 19, 32)
    with torch.no_grad():
        before, after = model(x_BTD), model(changed)
    assert torch.equal(before[:, :41], after[:, :41])
    assert not torch.allclose(before[:, 41:], after[:, 41:], atol=1e-2)


def test_sliding_layers_forget_and_the_sink_stays():
    model = small_model(layer_types=('full',), full_window=10, sink_tokens=2, conv_kernel=1)
    x_BTD = torch.randn(1, 50, 32)

    def last(position):
        changed = x_BTD.clone()
        changed[:, position] += 3.0
        return model(changed)[:, -1]

    with torch.no_grad():
        unchanged = model(x_BTD)[:, -1]
        assert not torch.allclose(last(1), unchanged, atol=1e-4)
        assert torch.equal(last(2), unchanged)
        assert torch.equal(last(39), unchanged)
        assert not torch.allclose(last(40), unchanged, atol=1e-4)


def check_compiled(backend, length):
    model = small_model(full_window=40, sink_tokens=3)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    x_BTD = torch.randn(2, length, 32, requires_grad=True)
    upstream = torch.randn(2, length, 32)
    with torch.autocast('cpu', torch.bfloat16):
        eager, fast = model(x_BTD), compiled(x_BTD)
    assert (fast - eager).norm() < 0.01 * eager.norm()
    expected = torch.autograd.grad(eager, x_BTD, upstream)[0]
    found = torch.autograd.grad(fast, x_BTD, upstream)[0]
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_training_is_traced_without_graph_breaks():
    check_compiled('aot_eager', 60)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    'TEST_COMPILE' not in os.environ, reason='compiles for minutes; TEST_COMPILE=1 runs it'
)
def test_compiled_training_equals_eager():
    check_compiled('inductor', 48)


def test_bfloat16_is_close_to_float32():
    model = small_model()
    x_BTD = torch.randn(2, 60, 32)
    with torch.no_grad():
        exact = model(x_BTD)
        with torch.autocast('cpu', torch.bfloat16):
            rounded = model(x_BTD)
    assert (rounded - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'layer_types': ('local',)}, 'layer_types must hold'),
        ({'kv_heads': 3}, 'kv_heads must divide heads'),
        ({'mlp_types': ('dense',)}, 'mlp_types must have one entry per layer'),
        ({'mlp_types': ('dense', 'sparse')}, 'expert_width must be positive'),
        ({'window': 0}, 'window must be positive'),
        ({'full_window': 0}, 'full_window must be positive'),
        ({'sink_tokens': -1}, 'sink_tokens must be 0 or more'),
    ],
)
def test_bad_shapes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small_config(**changes)
