# SPDX-License-Identifier: Apache-2.0
"""Experts of the few tokens of a micro-turn: each expert that is used is read once.

Tokens come in chunks of ROWS. A pair is a token of the chunk and one of its experts. The program of
the first pair of an expert works for all tokens of the chunk that chose it; the programs of the
others leave at once. No sorting, no atomics: the grid is known beforehand. Behind the programs of
the pairs come those of the shared experts, which lie side by side as one wide expert.
"""

import triton
import triton.language as tl

from interaction_node.kernels.tile import dot_rows, silu


@triton.jit
def gather(experts, pair, row, tokens, CHOSEN: tl.constexpr, CHOSEN_PAD: tl.constexpr):
    """Finds the expert of a pair and who else in the chunk wants it.

    Returns the expert, whether this pair is the first that wants it, which rows do, and the slot
    (number among its experts) at which each of these rows has it.
    """
    slot = tl.arange(0, CHOSEN_PAD)
    first = row - tl.arange(0, row.shape[0])
    order = (row - first)[:, None] * CHOSEN + slot[None, :]
    exists = (row < tokens)[:, None] & (slot < CHOSEN)[None, :]
    ids = tl.load(experts + first[:, None] * CHOSEN + order, mask=exists, other=-1)
    expert = tl.max(tl.where(order == pair, tl.where(exists, ids, -1), -1))
    wants = exists & (ids == expert)
    earlier = tl.sum((wants & (order < pair)).to(tl.int32))
    rows = tl.sum(wants.to(tl.int32), axis=1) > 0
    slots = tl.sum(tl.where(wants, slot[None, :], 0), axis=1)
    return expert, (expert >= 0) & (earlier == 0), rows, slots


@triton.jit
def gated(x_rows, row_ok, weight, scale, unit, unit_ok, WIDTH, HIDDEN, HAS_SCALE, BLOCK_IN):
    """Returns silu(gate) * up of some hidden units of one expert; weight is gate over up."""
    gate_rows = weight + unit.to(tl.int64) * WIDTH
    gate = dot_rows(x_rows, row_ok, gate_rows, unit_ok, WIDTH, BLOCK_IN)
    up = dot_rows(x_rows, row_ok, gate_rows + HIDDEN * WIDTH, unit_ok, WIDTH, BLOCK_IN)
    if HAS_SCALE:
        gate *= tl.load(scale + unit, mask=unit_ok, other=0.0)[None, :]
        up *= tl.load(scale + HIDDEN + unit, mask=unit_ok, other=0.0)[None, :]
    return silu(gate) * up


@triton.jit(do_not_specialize=['tokens', 'pairs'])
def gate_up(
    x,
    experts,
    weights,
    routed,
    routed_scale,
    shared,
    shared_scale,
    hidden,
    shared_hidden,
    tokens,
    pairs,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    CHOSEN: tl.constexpr,
    SHARED: tl.constexpr,
    CHOSEN_PAD: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Writes hidden units; grid (pairs * blocks + shared blocks, chunks)."""
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    row_ok = row < tokens
    x_rows = x + row.to(tl.int64) * WIDTH
    program, tiles = tl.program_id(0), tl.cdiv(HIDDEN, BLOCK_OUT)
    if program < pairs * tiles:
        expert, leads, rows, slots = gather(
            experts, program // tiles, row, tokens, CHOSEN, CHOSEN_PAD
        )
        if leads:
            unit = program % tiles * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
            unit_ok = unit < HIDDEN
            weight = routed + expert.to(tl.int64) * (2 * HIDDEN * WIDTH)
            scale = routed_scale + expert * (2 * HIDDEN)
            y = gated(
                x_rows, rows, weight, scale, unit, unit_ok, WIDTH, HIDDEN, HAS_SCALE, BLOCK_IN
            )
            at = (row.to(tl.int64) * CHOSEN + slots)[:, None] * HIDDEN + unit[None, :]
            ok = rows[:, None] & unit_ok[None, :]
            tl.store(hidden + at, y.to(hidden.dtype.element_ty), mask=ok)
    else:
        unit = (program - pairs * tiles) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
        unit_ok = unit < SHARED * HIDDEN
        y = gated(
            x_rows,
            row_ok,
            shared,
            shared_scale,
            unit,
            unit_ok,
            WIDTH,
            SHARED * HIDDEN,
            HAS_SCALE,
            BLOCK_IN,
        )
        # Each shared expert has a weight of its own, behind those of the routed ones.
        ok = row_ok[:, None] & unit_ok[None, :]
        place = row[:, None] * (CHOSEN + SHARED) + CHOSEN + (unit // HIDDEN)[None, :]
        y *= tl.load(weights + place, mask=ok, other=0.0)
        at = row.to(tl.int64)[:, None] * (SHARED * HIDDEN) + unit[None, :]
        tl.store(shared_hidden + at, y.to(hidden.dtype.element_ty), mask=ok)


@triton.jit(do_not_specialize=['tokens', 'pairs'])
def down(
    hidden,
    experts,
    routed,
    routed_scale,
    shared,
    shared_scale,
    shared_hidden,
    parts,
    tokens,
    pairs,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    CHOSEN: tl.constexpr,
    SHARED: tl.constexpr,
    CHOSEN_PAD: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Writes what each expert makes of each token, shared ones last; grid as `gate_up`."""
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    row_ok = row < tokens
    program, tiles = tl.program_id(0), tl.cdiv(WIDTH, BLOCK_OUT)
    column = program % tiles * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    column_ok = column < WIDTH
    part = row.to(tl.int64) * (CHOSEN + 1)
    if program < pairs * tiles:
        expert, leads, rows, slots = gather(
            experts, program // tiles, row, tokens, CHOSEN, CHOSEN_PAD
        )
        if leads:
            hidden_rows = hidden + (row.to(tl.int64) * CHOSEN + slots) * HIDDEN
            weight_rows = routed + (expert.to(tl.int64) * WIDTH + column) * HIDDEN
            y = dot_rows(hidden_rows, rows, weight_rows, column_ok, HIDDEN, BLOCK_IN)
            if HAS_SCALE:
                scale = routed_scale + expert * WIDTH + column
                y *= tl.load(scale, mask=column_ok, other=0.0)[None, :]
            at = (part + slots)[:, None] * WIDTH + column[None, :]
            tl.store(parts + at, y, mask=rows[:, None] & column_ok[None, :])
    else:
        hidden_rows = shared_hidden + row.to(tl.int64) * (SHARED * HIDDEN)
        weight_rows = shared + column.to(tl.int64) * (SHARED * HIDDEN)
        y = dot_rows(hidden_rows, row_ok, weight_rows, column_ok, SHARED * HIDDEN, BLOCK_IN)
        if HAS_SCALE:
            y *= tl.load(shared_scale + column, mask=column_ok, other=0.0)[None, :]
        at = (part + CHOSEN)[:, None] * WIDTH + column[None, :]
        tl.store(parts + at, y, mask=row_ok[:, None] & column_ok[None, :])


@triton.jit
def add_up(
    parts,
    weights,
    out,
    WIDTH: tl.constexpr,
    CHOSEN: tl.constexpr,
    SHARED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sums the experts of one token in the order of their slots; grid (tokens, blocks)."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = column < WIDTH
    part = parts + token * (CHOSEN + 1) * WIDTH + column
    total = tl.load(part + CHOSEN * WIDTH, mask=ok, other=0.0)
    for slot in range(CHOSEN):
        weight = tl.load(weights + token * (CHOSEN + SHARED) + slot)
        total += weight * tl.load(part + slot * WIDTH, mask=ok, other=0.0)
    tl.store(out + token * WIDTH + column, total.to(out.dtype.element_ty), mask=ok)


@triton.jit
def log_sigmoid(x):
    """Returns log(sigmoid(x)) without overflow."""
    return tl.minimum(x, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(x)))


@triton.jit(do_not_specialize=['tokens'])
def pick(
    logits,
    bias,
    scale,
    experts,
    weights,
    tokens,
    route_scale,
    EXPERTS: tl.constexpr,
    CHOSEN: tl.constexpr,
    SHARED: tl.constexpr,
    SINK: tl.constexpr,
    EXPERTS_PAD: tl.constexpr,
    SLOTS_PAD: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Picks the experts with the highest biased scores, and weighs them; grid (chunks,)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row_ok = row < tokens
    column, slot = tl.arange(0, EXPERTS_PAD), tl.arange(0, SLOTS_PAD)
    ok = row_ok[:, None] & (column < EXPERTS + SHARED)[None, :]
    at = row[:, None] * (EXPERTS + SHARED) + column[None, :]
    logit = tl.load(logits + at, mask=ok, other=0.0)
    routed = column < EXPERTS
    score = 1.0 / (1.0 + tl.exp(-logit)) + tl.load(bias + column, mask=routed, other=0.0)[None, :]
    score = tl.where(routed[None, :], score, float('-inf'))
    chosen = tl.full((ROWS, SLOTS_PAD), float('-inf'), tl.float32)
    for turn in range(CHOSEN):
        best = tl.argmax(score, axis=1)
        tl.store(experts + row * CHOSEN + turn, best, mask=row_ok)
        is_best = column[None, :] == best[:, None]
        value = tl.sum(tl.where(is_best, logit, 0.0), axis=1)
        chosen = tl.where((slot == turn)[None, :], log_sigmoid(value)[:, None], chosen)
        score = tl.where(is_best, float('-inf'), score)
    if SINK:
        for turn in range(SHARED):
            mine = (column == EXPERTS + turn)[None, :]
            value = tl.sum(tl.where(mine, logit, 0.0), axis=1)
            place = (slot == CHOSEN + turn)[None, :]
            chosen = tl.where(place, log_sigmoid(value)[:, None], chosen)
    share = tl.exp(chosen - tl.max(chosen, axis=1)[:, None])
    share = share / tl.sum(share, axis=1)[:, None] * route_scale
    if not SINK:
        share = tl.where((slot >= CHOSEN)[None, :], 1.0, share)
    share *= tl.load(scale).to(tl.float32)
    slot_ok = row_ok[:, None] & (slot < CHOSEN + SHARED)[None, :]
    tl.store(weights + row[:, None] * (CHOSEN + SHARED) + slot[None, :], share, mask=slot_ok)
