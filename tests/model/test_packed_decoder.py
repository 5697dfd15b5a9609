# SPDX-License-Identifier: Apache-2.0
"""The decoder for few tokens says what the transformer says, bit for bit the same in any split."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.model.config import TransformerConfig
from interaction_node.model.packed_decoder import PackedDecoder, can_pack
from interaction_node.model.packed_linear import PackedLinear
from interaction_node.model.transformer import Transformer

MAX_APPEND = 7
TOLERANCE = {'atol': 1e-5, 'rtol': 1e-5}
SHAPES = {
    # Products of this size go through the same library calls as those of `nano`.
    'nano': {'width': 96, 'heads': 3, 'kv_heads': 1, 'head_dim': 32},
    'grouped': {'width': 64, 'heads': 4, 'kv_heads': 2, 'head_dim': 16},
    'experts': {'width': 64, 'heads': 4, 'kv_heads': 2, 'head_dim': 16}
    | {'mlp_types': ('dense', 'sparse', 'dense', 'sparse'), 'expert_width': 32, 'experts': 6}
    | {'experts_per_token': 2, 'shared_experts': 2, 'route_scale': 2.0},
    'sink': {'width': 64, 'heads': 4, 'kv_heads': 2, 'head_dim': 16, 'sink_tokens': 3},
}
X86 = 'x86' in torch.backends.quantized.supported_engines


def make_model(shape, **changes):
    torch.manual_seed(0)
    values = {
        'vocab': 40,
        'layer_types': ('sliding', 'full', 'sliding', 'full'),
        'mlp_width': 128,
        'window': 24,
        'd_rel': 4,
        'rel_extent': 20,
        'full_window': 100,
        'logits_divisor': 2.0,
    }
    model = Transformer(TransformerConfig(**values | SHAPES[shape] | changes)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(('weight_KC', 'rel_proj_RE')):
            torch.nn.init.normal_(parameter, std=0.5)
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 1.0, 0.2)
    # As a checkpoint holds them.
    return model.bfloat16().float()


def naive(model, x_TD, lengths):
    state = model.init_state(1, MAX_APPEND)
    pieces = [model.append(piece[None], state)[0] for piece in x_TD.split(list(lengths))]
    return torch.cat(pieces), state


def packed(model, x_TD, lengths, state=None):
    decoder = PackedDecoder(model)
    state = state or model.init_state(1, MAX_APPEND)
    pieces = [decoder.append([piece], [state])[0] for piece in x_TD.split(list(lengths))]
    return torch.cat(pieces), state


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, MAX_APPEND), min_size=1, max_size=60),
    shape=st.sampled_from(sorted(SHAPES)),
)
@torch.inference_mode()
def test_equals_the_transformer_in_any_split(lengths, shape):
    model = make_model(shape)
    x_TD = torch.randn(sum(lengths), model.config.width)
    expected, memory = naive(model, x_TD, lengths)
    found, state = packed(model, x_TD, lengths)
    torch.testing.assert_close(found, expected, **TOLERANCE)
    assert state.appended == int(state.position) == sum(lengths)
    for ours, theirs in zip(state.blocks, memory.blocks, strict=True):
        for one, other in zip(ours.tensors(), theirs.tensors(), strict=True):
            torch.testing.assert_close(one, other, **TOLERANCE)


@pytest.mark.skipif(not X86, reason='weights are packed on x86 only')
@pytest.mark.parametrize('shape', sorted(SHAPES))
@torch.inference_mode()
def test_any_split_gives_the_same_bits(shape):
    model = make_model(shape)
    assert PackedDecoder(model).bitwise
    x_TD = torch.randn(420, model.config.width)
    whole, _ = packed(model, x_TD, [7] * 60)
    for lengths in ([1] * 420, [2, 5] * 60, [4, 1, 1, 1] * 60, [6, 3, 5] * 30):
        found, _ = packed(model, x_TD, lengths)
        assert torch.equal(found, whole)


@pytest.mark.skipif(not X86, reason='weights are packed on x86 only')
@pytest.mark.parametrize('shape', sorted(SHAPES))
@torch.inference_mode()
def test_alone_and_among_others_gives_the_same_bits(shape):
    model = make_model(shape)
    decoder = PackedDecoder(model)
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(150, model.config.width) for _ in range(3)]
    states = [model.init_state(1, MAX_APPEND) for _ in inputs]
    found = [[] for _ in inputs]
    done = [0, 0, 0]
    while min(done) < 140:
        # Those that are here are appended together, each as much as it likes.
        present = [i for i in range(3) if torch.rand((), generator=generator) < 0.7]
        lengths = [int(torch.randint(1, 8, (), generator=generator)) for _ in present]
        present = [i for i in present if done[i] < 140]
        pieces = [inputs[i][done[i] : done[i] + n] for i, n in zip(present, lengths, strict=False)]
        if not pieces:
            continue
        together = decoder.append(pieces, [states[i] for i in present])
        for i, piece, h_tD in zip(present, pieces, together, strict=True):
            found[i].append(h_tD)
            done[i] += len(piece)
    for x_TD, pieces, length in zip(inputs, found, done, strict=True):
        alone, _ = packed(
            model, x_TD[:length], [5] * (length // 5) + [length % 5] * (length % 5 > 0)
        )
        assert torch.equal(torch.cat(pieces), alone)


@torch.inference_mode()
def test_embeddings_and_logits_equal_those_of_the_transformer():
    model = make_model('nano')
    decoder = PackedDecoder(model)
    ids_n = torch.arange(40)
    assert torch.equal(decoder.embed(ids_n), model.embed(ids_n))
    h_nD = torch.randn(5, model.config.width)
    torch.testing.assert_close(decoder.logits(h_nD), model.logits(h_nD), **TOLERANCE)


def test_weights_that_fp16_does_not_hold_are_kept_as_they_are():
    weight_OI = torch.randn(16, 32)
    x_nI = torch.randn(4, 32)
    assert not PackedLinear(weight_OI).packed
    torch.testing.assert_close(PackedLinear(weight_OI)(x_nI), x_nI @ weight_OI.T)
    assert not PackedLinear((weight_OI * 1e6).bfloat16()).packed


@pytest.mark.parametrize('length', [0, MAX_APPEND + 1])
def test_too_many_tokens_are_refused(length):
    model = make_model('nano')
    state = model.init_state(1, MAX_APPEND)
    with pytest.raises(ValueError, match=f'{length} tokens in one, expected 1 to {MAX_APPEND}'):
        PackedDecoder(model).append([torch.zeros(length, 96)], [state])
    assert state.appended == 0


@pytest.mark.parametrize(
    'changes',
    [
        {'full_window': None},
        {'log_scaling_floor': 8},
        {'full_window': 19},
    ],
)
def test_what_is_not_done_is_refused(changes):
    model = make_model('nano', **changes)
    assert not can_pack(model)
    with pytest.raises(ValueError, match='can not be packed'):
        PackedDecoder(model)


@pytest.mark.skipif(not X86, reason='weights are packed on x86 only')
def test_a_row_of_a_linear_layer_has_the_same_bits_among_any_number_of_others():
    weight_OI = torch.randn(172, 48).bfloat16().float()
    linear, x_nI = PackedLinear(weight_OI), torch.randn(150, 48)
    assert linear.packed
    expected_nO = linear(x_nI)
    for count in range(1, 150):
        assert torch.equal(linear(x_nI[:count]), expected_nO[:count]), count
