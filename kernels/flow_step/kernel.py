# SPDX-License-Identifier: Apache-2.0
"""One Euler step of the flow head in one launch: a program makes the block of one speaker.

The head is small and its layers depend on each other, so that launches would cost more than the
arithmetic. The residual stream stays in registers; what goes into a product and what comes out of
it goes through memory that no other program touches: `operands` and, in fp32, `products`.

Dims: M rows (frames, padded), W width, F features, N keys.
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
def hand_over(operands, y, row, at, ok, WIDE: tl.constexpr):
    """Writes rows to memory for every thread of the program to read."""
    tl.debug_barrier()
    place = operands + row[:, None] * WIDE + at[None, :]
    tl.store(place, y.to(operands.dtype.element_ty), mask=ok[None, :])
    tl.debug_barrier()


@triton.jit
def project(
    operands,
    weight,
    products,
    row,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Writes products = operands @ weight.T for every thread of the program to read."""
    for begin in range(0, OUT, BLOCK_OUT):
        column = begin + tl.arange(0, BLOCK_OUT)
        ok = column < OUT
        y = dot_rows(operands + row * WIDE, row >= 0, weight + column * IN, ok, IN, BLOCK_IN)
        tl.store(products + row[:, None] * WIDE + column[None, :], y, mask=ok[None, :])
    tl.debug_barrier()


@triton.jit
def rows_of(products, row, at, ok, WIDE: tl.constexpr):
    """Reads rows that `project` wrote."""
    return tl.load(products + row[:, None] * WIDE + at[None, :], mask=ok[None, :], other=0.0)


@triton.jit
def attend(
    query,
    keys,
    out,
    row,
    key_ok,
    count,
    WIDE: tl.constexpr,
    KEY_STRIDE: tl.constexpr,
    WIDTH: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD_PAD: tl.constexpr,
    KEYS_PAD: tl.constexpr,
):
    """Attends head by head; keys lie in the first WIDTH of each row, values in the next."""
    head_width: tl.constexpr = WIDTH // HEADS
    dtype = out.dtype.element_ty
    channel, key = tl.arange(0, HEAD_PAD), tl.arange(0, KEYS_PAD)
    inside = channel < head_width
    seen = (key < count) & (key_ok != 0)
    for head in range(HEADS):
        at = head * head_width + channel
        q = rows_of(query, row, at, inside, WIDE).to(dtype)
        place = keys + key[:, None] * KEY_STRIDE + at[None, :]
        there = (key < count)[:, None] & inside[None, :]
        k = tl.load(place, mask=there, other=0.0).to(dtype)
        v = tl.load(place + WIDTH, mask=there, other=0.0).to(dtype)
        scores = tl.dot(q, tl.trans(k), input_precision='ieee') / tl.sqrt(head_width * 1.0)
        scores = tl.where(seen[None, :], scores, float('-inf'))
        share = tl.exp(scores - tl.max(scores, axis=1)[:, None])
        share = share / tl.sum(share, axis=1)[:, None]
        y = tl.dot(share.to(dtype), v, input_precision='ieee')
        place = out + row[:, None] * WIDE + at[None, :]
        tl.store(place, y.to(dtype), mask=inside[None, :])
    tl.debug_barrier()


@triton.jit
def part(vectors, at, ok, number: tl.constexpr, WIDTH: tl.constexpr):
    """Reads vector number `number` of several that lie one behind the other, as one row."""
    return tl.load(vectors + number * WIDTH + at, mask=ok, other=0.0)[None, :]


@triton.jit
def modulate(h, modulation, vectors, at, ok, first: tl.constexpr, WIDTH: tl.constexpr):
    """Norms rows and shifts and scales them by modulations `first` and `first` + 1."""
    shift = part(modulation, at, ok, first, WIDTH) + part(vectors, at, ok, first, WIDTH)
    scale = part(modulation, at, ok, first + 1, WIDTH) + part(vectors, at, ok, first + 1, WIDTH)
    return layer_norm(h, ok, WIDTH) * (1.0 + scale) + shift


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
    operands,
    products,
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
    OUT: tl.constexpr,
    IN: tl.constexpr,
):
    """Moves the noisy features of one speaker on by one step; grid (speakers,)."""
    speaker = tl.program_id(0).to(tl.int64)
    row, at = tl.arange(0, ROWS), tl.arange(0, WIDTH_PAD)
    feature, key = tl.arange(0, FEATURES_PAD), tl.arange(0, MEMORY_PAD)
    row_ok, ok, feature_ok = row < FRAMES, at < WIDTH, feature < FEATURES
    square: tl.constexpr = WIDTH * WIDTH
    operands += speaker * (ROWS * WIDE)
    products += speaker * (ROWS * WIDE)
    modulation += speaker * (6 * WIDTH)
    memory += speaker * LAYERS * remembered * (2 * WIDTH)
    known = tl.load(memory_ok + speaker * remembered + key, mask=key < remembered, other=0)

    frame_ok = row_ok[:, None] & feature_ok[None, :]
    frame_at = (speaker * FRAMES + row)[:, None] * FEATURES + feature[None, :]
    frames = tl.load(x + frame_at, mask=frame_ok, other=0.0)
    hand_over(operands, frames, row, feature, feature_ok, WIDE)
    project(operands, frame_in, products, row, FEATURES, WIDTH, WIDE, OUT, IN)
    table = frame_table + row[:, None] * WIDTH + at[None, :]
    h = tl.load(table, mask=row_ok[:, None] & ok[None, :], other=0.0)
    h += rows_of(products, row, at, ok, WIDE)

    for layer in range(LAYERS):
        weight, vector = matrices + layer * 10 * square, vectors + layer * 13 * WIDTH
        y = modulate(h, modulation, vector, at, ok, 0, WIDTH)
        hand_over(operands, y, row, at, ok, WIDE)
        project(operands, weight, products, row, WIDTH, 3 * WIDTH, WIDE, OUT, IN)
        attend(
            *(products, products + WIDTH, operands, row, tl.full((ROWS,), 1, tl.int32), FRAMES),
            *(WIDE, WIDE, WIDTH, HEADS, HEAD_PAD, ROWS),
        )
        project(operands, weight + 3 * square, products, row, WIDTH, WIDTH, WIDE, OUT, IN)
        y = rows_of(products, row, at, ok, WIDE) + part(vector, at, ok, 6, WIDTH)
        h += (part(modulation, at, ok, 2, WIDTH) + part(vector, at, ok, 2, WIDTH)) * y

        y = layer_norm(h, ok, WIDTH) * part(vector, at, ok, 7, WIDTH)
        hand_over(operands, y + part(vector, at, ok, 8, WIDTH), row, at, ok, WIDE)
        project(operands, weight + 4 * square, products, row, WIDTH, WIDTH, WIDE, OUT, IN)
        keys = memory + layer * remembered * (2 * WIDTH)
        attend(
            *(products, keys, operands, row, known, remembered),
            *(WIDE, 2 * WIDTH, WIDTH, HEADS, HEAD_PAD, MEMORY_PAD),
        )
        project(operands, weight + 5 * square, products, row, WIDTH, WIDTH, WIDE, OUT, IN)
        h += rows_of(products, row, at, ok, WIDE) + part(vector, at, ok, 9, WIDTH)

        y = modulate(h, modulation, vector, at, ok, 3, WIDTH)
        hand_over(operands, y, row, at, ok, WIDE)
        project(operands, weight + 6 * square, products, row, WIDTH, 2 * WIDTH, WIDE, OUT, IN)
        for half in range(2):
            y = rows_of(products + half * WIDTH, row, at, ok, WIDE)
            y += part(vector + half * WIDTH, at, ok, 10, WIDTH)
            y = 0.5 * y * (1.0 + tl.erf(y * 0.7071067811865476))
            hand_over(operands + half * WIDTH, y, row, at, ok, WIDE)
        project(operands, weight + 8 * square, products, row, 2 * WIDTH, WIDTH, WIDE, OUT, IN)
        y = rows_of(products, row, at, ok, WIDE) + part(vector, at, ok, 12, WIDTH)
        h += (part(modulation, at, ok, 5, WIDTH) + part(vector, at, ok, 5, WIDTH)) * y

    y = layer_norm(h, ok, WIDTH) * part(tail, at, ok, 0, WIDTH) + part(tail, at, ok, 1, WIDTH)
    hand_over(operands, y, row, at, ok, WIDE)
    project(operands, out_weight, products, row, WIDTH, FEATURES, WIDE, OUT, IN)
    velocity = rows_of(products, row, feature, feature_ok, WIDE)
    velocity += part(tail + 1, feature, feature_ok, 3, WIDTH)
    tl.store(x_out + frame_at, frames + velocity * rate, mask=frame_ok)
    mean = tl.sum(tl.where(row_ok[:, None], y, 0.0), axis=0) / FRAMES
    end = tl.sum(mean[None, :] * part(tail, at, ok, 2, WIDTH)) + tl.load(tail + 3 * WIDTH)
    tl.store(end_out + speaker, end)
