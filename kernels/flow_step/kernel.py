# SPDX-License-Identifier: Apache-2.0
"""One Euler step of the flow head in one launch: a program makes the block of one speaker.

The head is small and its layers depend on each other, so that launches would cost more than the
arithmetic. The residual stream stays in registers; what a product needs goes through `scratch`,
which no other program touches.

Dims: M rows (frames, padded), W width, C padded width, F features, N keys.
"""

import triton
import triton.language as tl

from interaction_node.kernels.tile import dot_rows


@triton.jit
def layer_norm(x, ok, WIDTH: tl.constexpr):
    """Norms rows of fp32 values, zero where not `ok` (https://arxiv.org/abs/1607.06450)."""
    mean = tl.sum(x, axis=1)[:, None] / WIDTH
    centred = tl.where(ok[None, :], x - mean, 0.0)
    variance = tl.sum(centred * centred, axis=1)[:, None] / WIDTH
    return centred * tl.rsqrt(variance + 1e-5)


@triton.jit
def hand_over(scratch, y, row, at, ok, stride):
    """Writes rows to scratch memory for every thread to read."""
    tl.debug_barrier()
    place = scratch + row[:, None] * stride + at[None, :]
    tl.store(place, y.to(scratch.dtype.element_ty), mask=ok[None, :])
    tl.debug_barrier()


@triton.jit
def attend(
    query,
    keys,
    out,
    row,
    q_stride,
    key_stride,
    key_ok,
    count,
    WIDTH: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD_PAD: tl.constexpr,
    KEYS_PAD: tl.constexpr,
):
    """Attends head by head; keys lie in the first WIDTH of each row, values in the next."""
    head_width: tl.constexpr = WIDTH // HEADS
    channel, key = tl.arange(0, HEAD_PAD), tl.arange(0, KEYS_PAD)
    inside = channel < head_width
    seen = (key < count) & (key_ok != 0)
    for head in range(HEADS):
        at = head * head_width + channel
        q = tl.load(query + row[:, None] * q_stride + at[None, :], mask=inside[None, :], other=0.0)
        place = keys + key[:, None] * key_stride + at[None, :]
        there = (key < count)[:, None] & inside[None, :]
        k = tl.load(place, mask=there, other=0.0)
        v = tl.load(place + WIDTH, mask=there, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision='ieee') / tl.sqrt(head_width * 1.0)
        scores = tl.where(seen[None, :], scores, float('-inf'))
        share = tl.exp(scores - tl.max(scores, axis=1)[:, None])
        share = share / tl.sum(share, axis=1)[:, None]
        y = tl.dot(share.to(v.dtype), v, input_precision='ieee')
        place = out + row[:, None] * q_stride + at[None, :]
        tl.store(place, y.to(out.dtype.element_ty), mask=inside[None, :])
    tl.debug_barrier()


@triton.jit(do_not_specialize=['remembered'])
def flow_step(
    x,
    modulation,
    memory,
    memory_ok,
    matrices,
    vectors,
    frame_in,
    frame_table,
    out_weight,
    tail,
    scratch,
    x_out,
    end_out,
    remembered,
    rate,
    FRAMES: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
    LAYERS: tl.constexpr,
    HEADS: tl.constexpr,
    WIDE: tl.constexpr,
    WIDTH_PAD: tl.constexpr,
    FEATURES_PAD: tl.constexpr,
    HEAD_PAD: tl.constexpr,
    MEMORY_PAD: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Moves the noisy features of one speaker on by one step; grid (speakers,)."""
    speaker = tl.program_id(0).to(tl.int64)
    row, at = tl.arange(0, ROWS), tl.arange(0, WIDTH_PAD)
    feature, key = tl.arange(0, FEATURES_PAD), tl.arange(0, MEMORY_PAD)
    row_ok, ok, feature_ok = row < FRAMES, at < WIDTH, feature < FEATURES
    scratch += speaker * (2 * ROWS * WIDE)
    other = scratch + ROWS * WIDE
    mine, others = scratch + row * WIDE, other + row * WIDE
    every_row = row >= 0

    frame_ok = row_ok[:, None] & feature_ok[None, :]
    frame_at = (speaker * FRAMES + row)[:, None] * FEATURES + feature[None, :]
    frames = tl.load(x + frame_at, mask=frame_ok, other=0.0)
    hand_over(scratch, frames, row, feature, feature_ok, WIDE)
    h = dot_rows(mine, every_row, frame_in + at * FEATURES, ok, FEATURES, BLOCK_IN)
    table = frame_table + row[:, None] * WIDTH + at[None, :]
    h += tl.load(table, mask=row_ok[:, None] & ok[None, :], other=0.0)

    modulation += speaker * 6 * WIDTH + at
    memory += speaker * LAYERS * remembered * 2 * WIDTH
    known = tl.load(memory_ok + speaker * remembered + key, mask=key < remembered, other=0)
    inputs = at * WIDTH
    square: tl.constexpr = WIDTH * WIDTH
    for layer in range(LAYERS):
        weight = matrices + layer * 10 * square
        vector = vectors + layer * 13 * WIDTH + at
        shift = tl.load(modulation, mask=ok, other=0.0) + tl.load(vector, mask=ok, other=0.0)
        scale = _part(modulation, ok, 1, WIDTH) + _part(vector, ok, 1, WIDTH)
        gate = _part(modulation, ok, 2, WIDTH) + _part(vector, ok, 2, WIDTH)
        y = layer_norm(h, ok, WIDTH) * (1.0 + scale)[None, :] + shift[None, :]
        hand_over(scratch, y, row, at, ok, WIDE)
        for third in range(3):
            y = dot_rows(mine, every_row, weight + third * square + inputs, ok, WIDTH, BLOCK_IN)
            place = other + row[:, None] * WIDE + third * WIDTH + at[None, :]
            tl.store(place, y.to(scratch.dtype.element_ty), mask=ok[None, :])
        tl.debug_barrier()
        valid = tl.full((ROWS,), 1, tl.int32)
        attend(
            other,
            other + WIDTH,
            scratch,
            row,
            WIDE,
            WIDE,
            valid,
            FRAMES,
            WIDTH,
            HEADS,
            HEAD_PAD,
            ROWS,
        )
        y = dot_rows(mine, every_row, weight + 3 * square + inputs, ok, WIDTH, BLOCK_IN)
        h += gate[None, :] * (y + _part(vector, ok, 6, WIDTH)[None, :])

        y = layer_norm(h, ok, WIDTH) * _part(vector, ok, 7, WIDTH)[None, :]
        y += _part(vector, ok, 8, WIDTH)[None, :]
        hand_over(scratch, y, row, at, ok, WIDE)
        y = dot_rows(mine, every_row, weight + 4 * square + inputs, ok, WIDTH, BLOCK_IN)
        hand_over(other, y, row, at, ok, WIDE)
        attend(
            other,
            memory + layer * remembered * 2 * WIDTH,
            scratch,
            row,
            WIDE,
            2 * WIDTH,
            known,
            remembered,
            WIDTH,
            HEADS,
            HEAD_PAD,
            MEMORY_PAD,
        )
        y = dot_rows(mine, every_row, weight + 5 * square + inputs, ok, WIDTH, BLOCK_IN)
        h += y + _part(vector, ok, 9, WIDTH)[None, :]

        shift = _part(modulation, ok, 3, WIDTH) + _part(vector, ok, 3, WIDTH)
        scale = _part(modulation, ok, 4, WIDTH) + _part(vector, ok, 4, WIDTH)
        gate = _part(modulation, ok, 5, WIDTH) + _part(vector, ok, 5, WIDTH)
        y = layer_norm(h, ok, WIDTH) * (1.0 + scale)[None, :] + shift[None, :]
        hand_over(scratch, y, row, at, ok, WIDE)
        for half in range(2):
            up = weight + (6 + half) * square + inputs
            y = dot_rows(mine, every_row, up, ok, WIDTH, BLOCK_IN)
            y += tl.load(vector + (10 + half) * WIDTH, mask=ok, other=0.0)[None, :]
            y = 0.5 * y * (1.0 + tl.erf(y * 0.7071067811865476))
            place = other + row[:, None] * WIDE + half * WIDTH + at[None, :]
            tl.store(place, y.to(scratch.dtype.element_ty), mask=ok[None, :])
        tl.debug_barrier()
        y = dot_rows(others, every_row, weight + 8 * square + 2 * inputs, ok, 2 * WIDTH, BLOCK_IN)
        h += gate[None, :] * (y + _part(vector, ok, 12, WIDTH)[None, :])

    y = layer_norm(h, ok, WIDTH) * tl.load(tail + at, mask=ok, other=0.0)[None, :]
    y += _part(tail + at, ok, 1, WIDTH)[None, :]
    hand_over(scratch, y, row, at, ok, WIDE)
    weight = out_weight + feature * WIDTH
    velocity = dot_rows(mine, every_row, weight, feature_ok, WIDTH, BLOCK_IN)
    velocity += tl.load(tail + 3 * WIDTH + 1 + feature, mask=feature_ok, other=0.0)[None, :]
    tl.store(x_out + frame_at, frames + velocity * rate, mask=frame_ok)
    mean = tl.sum(tl.where(row_ok[:, None], y, 0.0), axis=0) / FRAMES
    end = tl.sum(mean * _part(tail + at, ok, 2, WIDTH)) + tl.load(tail + 3 * WIDTH)
    tl.store(end_out + speaker, end)


@triton.jit
def _part(vector, ok, number: tl.constexpr, WIDTH: tl.constexpr):
    """Loads vector number `number` of several that lie one behind the other."""
    return tl.load(vector + number * WIDTH, mask=ok, other=0.0)
