# SPDX-License-Identifier: Apache-2.0
"""Attention of appended tokens to what a session remembers, in ring buffers.

Dims: B sequences, t appended tokens, H heads, K kv heads, F head size, R slots, E bias extent,
X = H F + 2 K F + H * rank, Z = 2 K F, T taps, P = T - 1 remembered tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from interaction_node.kernels.append_attention import reference
from interaction_node.kernels.launch import ROWS, blocks, launch, power_of_two, runs_kernels

SPLIT, BLOCK = 128, 64
# Queries whose partial sums are held at a time; what comes out doesn't depend on it.
QUERIES = 256


@dataclass(frozen=True)
class Layout:
    """Sizes of one layer's attention and of its ring.

    Attributes:
        heads: Query heads.
        kv_heads: Key/value heads; divides `heads`.
        head_dim: Size of one head.
        rank: Size of the state that mixes the bias profiles.
        window: Most recent tokens that are visible, the token itself included.
        sink: First tokens that stay visible.
        ring: Slots besides those of the sink; at least the window and the appended tokens less one.
        eps: Added to the mean square of queries and keys.
        floor: Number of visible tokens from which queries sharpen; 0 for never.
        alpha: Strength of that sharpening.
    """

    heads: int
    kv_heads: int
    head_dim: int
    rank: int
    window: int
    sink: int
    ring: int
    eps: float = 1e-6
    floor: int = 0
    alpha: float = 0.1

    @property
    def width(self) -> int:
        """X, queries, keys, values and relative states of a token."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim + self.heads * self.rank

    def slot(self, position: int) -> int:
        """Returns where a position is held."""
        return position if position < self.sink else (position - self.sink) % self.ring + self.sink

    def visible(self, position: int) -> list[int]:
        """Returns the positions that a token sees, oldest first."""
        first = max(0, position - self.window + 1)
        return [*range(min(self.sink, first)), *range(first, position + 1)]

    def sharpening(self, position: int) -> float:
        """Returns the factor on query and bias at a position."""
        if not self.floor:
            return 1.0
        seen = min(position + 1, self.sink + self.window)
        return 1 + self.alpha * math.log(max(1.0, seen / self.floor))


@dataclass(frozen=True)
class Weights:
    """Weights of one layer's attention besides its projections.

    Attributes:
        taps_TZ: (T, 2 K F), short convolution of keys and values, the newest token's last.
        q_gain_F: (F,), gain of the norm of queries.
        k_gain_F: (F,), gain of the norm of keys.
        profiles_ER: (E, rank), bias profiles; the dtype of the activations.
    """

    taps_TZ: torch.Tensor
    q_gain_F: torch.Tensor
    k_gain_F: torch.Tensor
    profiles_ER: torch.Tensor


@dataclass(frozen=True)
class Memory:
    """What one layer's attention remembers; written in place. All of the activations' dtype.

    Attributes:
        k_BKRF: Keys.
        v_BKRF: Values.
        past_BPZ: Last inputs of the convolution of keys and values.
    """

    k_BKRF: torch.Tensor
    v_BKRF: torch.Tensor
    past_BPZ: torch.Tensor


def append_attention(
    qkvr_BtX: torch.Tensor,
    position: torch.Tensor,
    weights: Weights,
    memory: Memory,
    layout: Layout,
) -> torch.Tensor:
    """Writes the new keys and values and attends from the new tokens to everything visible.

    Convolution, norms and sharpening are those of `model.attention.Attention.append`.

    Args:
        qkvr_BtX: (B, t, X), contiguous: what the layer's first projection made of the tokens.
        position: () or (B,) int64, on the same device, tokens appended before.
        weights: Convolution, gains and bias profiles.
        memory: Rings and the convolution's state.
        layout: Sizes.

    Returns:
        (B, t, H F), dtype of `qkvr_BtX`.

    Raises:
        ValueError: If the sizes don't fit.
    """
    batch, tokens, width = qkvr_BtX.shape
    if width != layout.width or not qkvr_BtX.is_contiguous():
        raise ValueError(f'qkvr_BtX must be contiguous (B, t, {layout.width}), got width {width}')
    if tokens + layout.window - 1 > layout.ring:
        most = layout.ring - layout.window + 1
        raise ValueError(f'qkvr_BtX must bring at most {most} tokens, got {tokens}')
    if not runs_kernels(qkvr_BtX):
        return reference.append_attention(qkvr_BtX, position, weights, memory, layout)
    _store(qkvr_BtX, position, weights, memory, layout)
    table = _bias(qkvr_BtX, position, weights, layout)
    out = qkvr_BtX.new_empty(batch, tokens, layout.heads * layout.head_dim)
    if tokens <= QUERIES:
        _attend(qkvr_BtX, table, position, weights, memory, layout, out)
        return out
    for begin in range(0, tokens, QUERIES):
        part = slice(begin, begin + QUERIES)
        piece = torch.empty_like(out[:, part])
        some = qkvr_BtX[:, part].contiguous(), table[:, part].contiguous()
        _attend(*some, position + begin, weights, memory, layout, piece)
        out[:, part] = piece
    return out


def _store(
    qkvr: torch.Tensor, position: torch.Tensor, weights: Weights, memory: Memory, layout: Layout
) -> None:
    from interaction_node.kernels.append_attention import kernel

    batch, tokens, width = qkvr.shape
    kv = qkvr[..., layout.heads * layout.head_dim :]
    inputs = (kv, memory.past_BPZ, weights.taps_TZ, weights.k_gain_F, position)
    rings = (memory.k_BKRF, memory.v_BKRF, tokens, layout.ring, layout.eps)
    head_pad = power_of_two(layout.head_dim, 16)
    sizes = (width, layout.kv_heads, layout.head_dim, head_pad, layout.sink)
    tiling = (len(weights.taps_TZ), ROWS, position.dim())
    grid = (blocks(tokens, ROWS), batch, 2 * layout.kv_heads)
    launch(kernel.store_kv, grid, *inputs, *rings, *sizes, *tiling, num_warps=1)


def _bias(
    qkvr: torch.Tensor, position: torch.Tensor, weights: Weights, layout: Layout
) -> torch.Tensor:
    """Returns (B, t, H, E) fp32, the bias at each distance."""
    from interaction_node.kernels.append_attention import kernel

    batch, tokens, width = qkvr.shape
    extent, rows = len(weights.profiles_ER), batch * tokens * layout.heads
    relative = qkvr[..., width - layout.heads * layout.rank :]
    table = qkvr.new_empty(batch, tokens, layout.heads, extent, dtype=torch.float32)
    args = (relative, weights.profiles_ER, position, table, tokens, rows)
    sizes = (width, layout.heads, layout.rank, power_of_two(layout.rank, 16), extent)
    sharpens = (layout.sink + layout.window, layout.floor, layout.alpha)
    grid = (blocks(extent, BLOCK), blocks(rows, ROWS))
    launch(kernel.bias_table, grid, *args, *sizes, *sharpens, ROWS, BLOCK, position.dim())
    return table


def _attend(
    qkvr: torch.Tensor,
    table: torch.Tensor,
    position: torch.Tensor,
    weights: Weights,
    memory: Memory,
    layout: Layout,
    out: torch.Tensor,
) -> None:
    from interaction_node.kernels.append_attention import kernel

    batch, tokens, width = qkvr.shape
    groups_pad = power_of_two(layout.heads // layout.kv_heads)
    rows = max(ROWS, groups_pad)
    tiles = blocks(tokens, rows // groups_pad)
    sink_splits = blocks(layout.sink, SPLIT)
    # A window that begins anywhere in its first split, and the tokens of a tile behind it.
    splits = sink_splits + blocks(layout.window + rows // groups_pad - 2, SPLIT) + 1
    head_pad = power_of_two(layout.head_dim, 16)
    parts = (batch, layout.kv_heads, tiles, splits, rows)
    peaks, totals = (qkvr.new_empty(parts, dtype=torch.float32) for _ in range(2))
    sums = qkvr.new_empty(*parts, head_pad, dtype=torch.float32)
    inputs = (qkvr, weights.q_gain_F, table, position, memory.k_BKRF, memory.v_BKRF)
    args = (*inputs, peaks, totals, sums, tokens, layout.ring, splits, layout.eps, width)
    sizes = (layout.heads, layout.kv_heads, groups_pad, layout.head_dim, head_pad)
    seen = (table.shape[-1], layout.window, layout.sink, sink_splits)
    sharpens = (layout.sink + layout.window, layout.floor, layout.alpha)
    grid = (tiles * splits, layout.kv_heads, batch)
    tiling = (rows, SPLIT, BLOCK, position.dim())
    # Left to itself, the assembler spills a few registers for the sake of more blocks at a time.
    registers = 128 if head_pad <= 64 else 168
    launch(kernel.attend, grid, *args, *sizes, *seen, *sharpens, *tiling, maxnreg=registers)
    merged = (peaks, totals, sums, out, tokens, splits, *sizes, rows, power_of_two(splits))
    launch(kernel.merge, (layout.heads, tokens, batch), *merged, num_warps=1)
