# SPDX-License-Identifier: Apache-2.0
"""Attention to rings agrees with plain PyTorch, and with itself however the tokens come."""

import dataclasses

import pytest
import torch

from interaction_node.kernels import append_attention as attention
from interaction_node.kernels.append_attention import Layout, Memory, Weights, reference

# Relative to the largest value: fp32 sums in another order; fp16 rounds keys, weights and result.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3}
SMALL = Layout(heads=6, kv_heads=2, head_dim=20, rank=3, window=9, sink=2, ring=24)


def make_weights(device, layout, extent, dtype=torch.float32):
    def random(*size):
        return torch.randn(size, device=device).to(dtype)

    width = 2 * layout.kv_heads * layout.head_dim
    size = layout.head_dim
    gains = (random(size).abs() * size**0.5, random(size).abs())
    return Weights(random(4, width) * 0.5, *gains, random(extent, layout.rank))


def make_memory(device, layout, batch, dtype=torch.float32):
    """Empty memory; what was never written must never be read."""
    size = (batch, layout.kv_heads, layout.sink + layout.ring, layout.head_dim)
    k, v = (torch.full(size, float('nan'), device=device, dtype=dtype) for _ in range(2))
    width = 2 * layout.kv_heads * layout.head_dim
    return Memory(k, v, torch.zeros(batch, 3, width, device=device, dtype=dtype))


def copy_of(memory):
    return Memory(*(getattr(memory, f.name).clone() for f in dataclasses.fields(memory)))


def run(attend, qkvr, lengths, weights, memory, layout, start=0):
    """Appends piece after piece; the position is one number for all sequences."""
    position = torch.tensor(start, device=qkvr.device)
    pieces = []
    for piece in qkvr.split(lengths, dim=1):
        pieces.append(attend(piece.contiguous(), position, weights, memory, layout))
        position = position + piece.shape[1]
    return torch.cat(pieces, dim=1)


@pytest.mark.parametrize(
    ('layout', 'extent', 'lengths', 'dtype'),
    [
        (SMALL, 9, [5, 1, 9], torch.float32),
        (
            dataclasses.replace(SMALL, heads=3, kv_heads=3, window=12, sink=0),
            5,
            [13, 2],
            torch.float32,
        ),
        (dataclasses.replace(SMALL, floor=4, alpha=0.3), 9, [7, 8], torch.float32),
        (Layout(2, 1, 16, 8, window=50, sink=3, ring=110), 20, [60, 1], torch.float32),
        (Layout(3, 1, 64, 8, window=8, sink=0, ring=16), 8, [3, 9], torch.float16),
    ],
)
def test_agrees_with_plain_pytorch(device, monkeypatch, layout, extent, lengths, dtype):
    # Shorter than in use, so that a short test has many of them.
    monkeypatch.setattr(attention, 'SPLIT', 32)
    monkeypatch.setattr(attention, 'BLOCK', 16)
    weights = make_weights(device, layout, extent, dtype)
    memory = make_memory(device, layout, 1, dtype)
    other = copy_of(memory)
    qkvr = torch.randn(1, sum(lengths), layout.width, device=device).to(dtype)
    found = run(attention.append_attention, qkvr, lengths, weights, memory, layout)
    wanted = run(reference.append_attention, qkvr, lengths, weights, other, layout)
    limit = TOLERANCE[dtype] * wanted.float().abs().max()
    assert (found.float() - wanted.float()).abs().max() <= limit
    written = ~other.k_BKRF.isnan()
    assert torch.equal(written, ~memory.k_BKRF.isnan())
    limit = TOLERANCE[dtype] * other.k_BKRF[written].abs().max()
    assert (memory.k_BKRF[written] - other.k_BKRF[written]).abs().max() <= limit
    assert torch.equal(memory.past_BPZ, other.past_BPZ)


@pytest.mark.parametrize('split', [[8, 4], [1, 6, 5], [3] * 4])
def test_prefill_and_decode_are_the_same_bits_in_any_split(device, split):
    # Windows begin in the middle of a split of the kernel and wrap around the ring.
    layout = dataclasses.replace(SMALL, heads=2, kv_heads=1, window=21, ring=40)
    weights = make_weights(device, layout, 21)
    qkvr = torch.randn(1, 12, layout.width, device=device)
    start = attention.SPLIT - 7
    before = make_memory(device, layout, 1)
    for tensor in (before.k_BKRF, before.v_BKRF):
        tensor.normal_()
    run_whole = copy_of(before)
    whole = run(attention.append_attention, qkvr, [12], weights, run_whole, layout, start)
    found = run(attention.append_attention, qkvr, split, weights, before, layout, start)
    assert torch.equal(found, whole)
    assert torch.equal(before.k_BKRF, run_whole.k_BKRF)


def test_the_size_of_the_ring_does_not_matter(device):
    layout = dataclasses.replace(SMALL, heads=2, kv_heads=1)
    weights = make_weights(device, layout, 9)
    qkvr = torch.randn(1, 20, layout.width, device=device)
    large = dataclasses.replace(layout, ring=51)
    results = [
        run(attention.append_attention, qkvr, split, weights, memory, sizes)
        for sizes, split in ((layout, [10] * 2), (large, [20]))
        for memory in [make_memory(device, sizes, 1)]
    ]
    assert torch.equal(*results)


def test_long_sequences_are_taken_in_pieces_of_queries(device, monkeypatch):
    layout = dataclasses.replace(SMALL, heads=2, kv_heads=1, ring=48)
    weights = make_weights(device, layout, 9)
    qkvr = torch.randn(1, 12, layout.width, device=device)
    memory = make_memory(device, layout, 1)
    whole = run(attention.append_attention, qkvr, [12], weights, copy_of(memory), layout)
    monkeypatch.setattr(attention, 'QUERIES', 5)
    assert torch.equal(run(attention.append_attention, qkvr, [12], weights, memory, layout), whole)


def test_a_session_is_the_same_bits_alone_and_among_others(device):
    """Sessions of different age side by side, each at its own position."""
    layout = dataclasses.replace(SMALL, heads=2, kv_heads=1)
    weights = make_weights(device, layout, 9)
    ages = [0, 31, 7]
    memory = make_memory(device, layout, 3)
    for tensor in (memory.k_BKRF, memory.v_BKRF, memory.past_BPZ):
        tensor.normal_()
    qkvr = torch.randn(3, 4, layout.width, device=device)
    single = [
        Memory(*(getattr(memory, f.name)[i : i + 1].clone() for f in dataclasses.fields(memory)))
        for i in range(3)
    ]
    positions = torch.tensor(ages, device=device)
    together = attention.append_attention(qkvr, positions, weights, memory, layout)
    for i, alone in enumerate(single):
        piece = qkvr[i : i + 1].clone()
        found = attention.append_attention(piece, positions[i], weights, alone, layout)
        assert torch.equal(found[0], together[i])


def test_more_tokens_than_the_ring_keeps_are_refused(device):
    weights, memory = make_weights(device, SMALL, 9), make_memory(device, SMALL, 1)
    qkvr = torch.zeros(1, 17, SMALL.width, device=device)
    with pytest.raises(ValueError, match='at most 16 tokens, got 17'):
        attention.append_attention(qkvr, torch.tensor(0), weights, memory, SMALL)
