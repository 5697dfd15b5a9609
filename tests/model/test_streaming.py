# SPDX-License-Identifier: Apache-2.0
"""A session that appends tokens says what the whole sequence says, for as long as it lasts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.model.config import TransformerConfig
from interaction_node.model.transformer import Transformer

MAX_APPEND = 7
TOLERANCE = {'atol': 5e-6, 'rtol': 5e-6}


def make_model(sparse=False, **changes):
    torch.manual_seed(0)
    values = {
        'vocab': 24,
        'width': 32,
        'layer_types': ('sliding', 'full', 'sliding'),
        'heads': 4,
        'kv_heads': 2,
        'head_dim': 8,
        'mlp_width': 48,
        'window': 12,
        'd_rel': 4,
        'rel_extent': 10,
        'sink_tokens': 3,
        'full_window': 20,
    }
    if sparse:
        experts = {'experts': 5, 'experts_per_token': 2, 'shared_experts': 1, 'expert_width': 16}
        values |= experts | {'mlp_types': ('dense', 'sparse', 'sparse')}
    model = Transformer(TransformerConfig(**values | changes)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(('weight_KC', 'rel_proj_RE')):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def append_all(model, x_BTD, lengths, state=None):
    state = state or model.init_state(x_BTD.shape[0], MAX_APPEND)
    with torch.inference_mode():
        pieces = [model.append(piece, state) for piece in x_BTD.split(list(lengths), dim=1)]
    return torch.cat(pieces, dim=1), state


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, MAX_APPEND), min_size=1, max_size=40),
    sink=st.integers(0, 4),
    sparse=st.booleans(),
    floor=st.sampled_from([None, 6]),
)
def test_any_split_equals_the_whole(lengths, sink, sparse, floor):
    model = make_model(sparse=sparse, sink_tokens=sink, log_scaling_floor=floor)
    x_BTD = torch.randn(2, sum(lengths), 32)
    with torch.no_grad():
        whole = model(x_BTD)
    found, _ = append_all(model, x_BTD, lengths)
    torch.testing.assert_close(found, whole, **TOLERANCE)


def test_equals_the_whole_after_many_wraps_of_the_ring():
    model = make_model()
    x_BTD = torch.randn(1, 900, 32)
    with torch.no_grad():
        whole = model(x_BTD)
    found, state = append_all(model, x_BTD, [5, 1, 4] * 90)
    assert state.rings['full'].slots < 40
    torch.testing.assert_close(found, whole, **TOLERANCE)


def test_unbounded_full_layers_need_and_keep_a_capacity():
    model = make_model(full_window=None)
    with pytest.raises(ValueError, match='capacity must be given'):
        model.init_state(1, MAX_APPEND)
    state = model.init_state(1, MAX_APPEND, capacity=60)
    x_BTD = torch.randn(1, 60, 32)
    with torch.no_grad():
        whole = model(x_BTD)
    found, state = append_all(model, x_BTD, [6] * 10, state)
    torch.testing.assert_close(found, whole, **TOLERANCE)
    with pytest.raises(ValueError, match='capacity of 60'):
        model.append(x_BTD[:, :1], state)


def test_memory_is_allocated_once_and_written_in_place():
    model = make_model()
    state = model.init_state(1, MAX_APPEND)
    tensors = [tensor for block in state.blocks for tensor in block.tensors()]
    addresses = [tensor.data_ptr() for tensor in tensors]
    append_all(model, torch.randn(1, 200, 32), [5] * 40, state)
    assert [tensor.data_ptr() for tensor in tensors] == addresses
    assert int(state.position) == state.appended == 200


def test_steps_repeat_bit_for_bit_after_a_reset():
    model = make_model(sparse=True)
    x_BTD = torch.randn(1, 120, 32)
    first, state = append_all(model, x_BTD, [4] * 30)
    state.reset()
    second, _ = append_all(model, x_BTD, [4] * 30, state)
    assert torch.equal(first, second)


def test_sessions_do_not_share_memory():
    model = make_model()
    x_BTD = torch.randn(2, 60, 32)
    together, _ = append_all(model, x_BTD, [4] * 15)
    states = [model.init_state(1, MAX_APPEND) for _ in range(2)]
    for start in range(0, 60, 4):
        for index, state in enumerate(states):
            with torch.inference_mode():
                piece = x_BTD[index : index + 1, start : start + 4]
                found = model.append(piece, state)
            torch.testing.assert_close(found[0], together[index, start : start + 4], **TOLERANCE)


def test_memory_that_was_never_written_is_never_read():
    model = make_model()
    state = model.init_state(1, MAX_APPEND)
    for block in state.blocks:
        # Convolutions do read zeros from before the first token.
        block.attention.k_BKRF.fill_(1e4)
        block.attention.v_BKRF.fill_(1e4)
    x_BTD = torch.randn(1, 30, 32)
    with torch.no_grad():
        whole = model(x_BTD)
    found, _ = append_all(model, x_BTD, [3] * 10, state)
    torch.testing.assert_close(found, whole, **TOLERANCE)


@pytest.mark.parametrize('length', [0, MAX_APPEND + 1])
def test_too_many_tokens_are_refused(length):
    model = make_model()
    state = model.init_state(1, MAX_APPEND)
    with pytest.raises(ValueError, match=f'1 to {MAX_APPEND} tokens, got {length}'):
        model.append(torch.zeros(1, length, 32), state)
    assert state.appended == 0
