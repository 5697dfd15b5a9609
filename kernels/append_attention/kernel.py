# SPDX-License-Identifier: Apache-2.0
"""Attention of appended tokens to ring buffers, with a relative-position bias.

Keys are visited in splits of SPLIT positions, which begin at multiples of SPLIT counted from the
first token of the session, and within a split in blocks of BLOCK. A query therefore sums over the
same blocks in the same order whether it came alone or with others, and wherever the ring begins.
A block of which a query sees nothing leaves its sums as they are, bit for bit.

Dims: M rows of a tile (tokens x padded query heads of one kv head), S keys of a block, F head size.
"""

import triton
import triton.language as tl

from interaction_node.kernels.tile import convolve, dot_rows, remember, rms_norm


@triton.jit
def slot_of(position, ring, SINK: tl.constexpr):
    """Returns the slot of a position: sinks stay, the others go round."""
    return tl.where(position < SINK, position, (position - SINK) % ring + SINK)


@triton.jit
def sharpening(position, SEEN: tl.constexpr, FLOOR: tl.constexpr, ALPHA: tl.constexpr):
    """Returns the factor on queries and bias, which grows with what is seen beyond FLOOR."""
    seen = tl.minimum(position + 1, SEEN).to(tl.float32)
    return 1.0 + ALPHA * tl.log(tl.maximum(seen / FLOOR, 1.0))


@triton.jit(do_not_specialize=['tokens', 'ring'])
def store_kv(
    kv,
    past,
    taps,
    gain,
    position,
    keys,
    values,
    tokens,
    ring,
    eps,
    STRIDE: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    HEAD_PAD: tl.constexpr,
    SINK: tl.constexpr,
    TAPS: tl.constexpr,
    CHUNK: tl.constexpr,
    POSITION_STRIDE: tl.constexpr,
):
    """Convolves keys and values, norms keys, writes both; grid (chunks, sequences, 2 kv heads).

    Only the first chunk touches the state: it alone reads it, and it writes it last.
    """
    chunk, batch, head = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2)
    width: tl.constexpr = 2 * KV_HEADS * HEAD
    at = tl.arange(0, HEAD_PAD)
    ok = at < HEAD
    kv += batch * tokens * STRIDE + head * HEAD
    past += batch * (TAPS - 1) * width + head * HEAD
    taps += head * HEAD
    first = tl.load(position + batch * POSITION_STRIDE).to(tl.int32)
    weight = tl.load(gain + at, mask=ok, other=0.0).to(tl.float32)
    is_key = head < KV_HEADS
    line = (batch * KV_HEADS + head % KV_HEADS) * (ring + SINK)
    for token in range(chunk * CHUNK, min(chunk * CHUNK + CHUNK, tokens)):
        mixed = convolve(kv, past, taps, token, at, ok, STRIDE, width, TAPS)
        place = (line + slot_of(first + token, ring, SINK)) * HEAD + at
        dtype = keys.dtype.element_ty
        normed = rms_norm(mixed.to(dtype).to(tl.float32), weight, HEAD, eps)
        tl.store(keys + place, normed.to(dtype), mask=ok & is_key)
        tl.store(values + place, mixed.to(dtype), mask=ok & (head >= KV_HEADS))
    if chunk == 0:
        remember(kv, past, tokens, at, ok, STRIDE, width, TAPS)


@triton.jit(do_not_specialize=['tokens', 'rows'])
def bias_table(
    relative,
    profiles,
    position,
    table,
    tokens,
    rows,
    STRIDE: tl.constexpr,
    HEADS: tl.constexpr,
    RANK: tl.constexpr,
    RANK_PAD: tl.constexpr,
    EXTENT: tl.constexpr,
    SEEN: tl.constexpr,
    FLOOR: tl.constexpr,
    ALPHA: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    POSITION_STRIDE: tl.constexpr,
):
    """Writes the bias of every token and head at distances 0 to EXTENT - 1; grid (extent, rows)."""
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    distance = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row_ok, distance_ok = row < rows, distance < EXTENT
    token = row // HEADS
    mixes = relative + token.to(tl.int64) * STRIDE + row % HEADS * RANK
    bias = dot_rows(mixes, row_ok, profiles + distance * RANK, distance_ok, RANK, RANK_PAD)
    if FLOOR > 0:
        batch = token // tokens
        first = tl.load(position + batch * POSITION_STRIDE, mask=row_ok, other=0)
        bias *= sharpening((first + token % tokens).to(tl.int32), SEEN, FLOOR, ALPHA)[:, None]
    at = row.to(tl.int64)[:, None] * EXTENT + distance[None, :]
    tl.store(table + at, bias, mask=row_ok[:, None] & distance_ok[None, :])


@triton.jit(do_not_specialize=['tokens', 'ring', 'splits'])
def attend(
    query,
    gain,
    table,
    position,
    keys,
    values,
    peaks,
    totals,
    sums,
    tokens,
    ring,
    splits,
    eps,
    STRIDE: tl.constexpr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    GROUPS_PAD: tl.constexpr,
    HEAD: tl.constexpr,
    HEAD_PAD: tl.constexpr,
    EXTENT: tl.constexpr,
    WINDOW: tl.constexpr,
    SINK: tl.constexpr,
    SINK_SPLITS: tl.constexpr,
    SEEN: tl.constexpr,
    FLOOR: tl.constexpr,
    ALPHA: tl.constexpr,
    ROWS: tl.constexpr,
    SPLIT: tl.constexpr,
    BLOCK: tl.constexpr,
    POSITION_STRIDE: tl.constexpr,
):
    """Attends from a tile of queries to one split; grid (tiles * splits, kv heads, sequences)."""
    tile, split = tl.program_id(0) // splits, tl.program_id(0) % splits
    kv_head, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    groups: tl.constexpr = HEADS // KV_HEADS
    together: tl.constexpr = ROWS // GROUPS_PAD
    row, at = tl.arange(0, ROWS), tl.arange(0, HEAD_PAD)
    token = tile * together + row // GROUPS_PAD
    row_ok, at_ok = (token < tokens) & (row % GROUPS_PAD < groups), at < HEAD
    head = kv_head * groups + row % GROUPS_PAD
    start = tl.load(position + batch * POSITION_STRIDE).to(tl.int32)
    place, first = start + token, start + tile * together
    newest = start + tl.minimum(tile * together + together, tokens) - 1

    # Splits of the sinks come first, unless they lie in the window.
    in_window = tl.maximum(first - WINDOW + 1, 0) // SPLIT
    index = tl.where(split < SINK_SPLITS, split, in_window + split - SINK_SPLITS)
    needed = (split >= SINK_SPLITS) | (index < in_window)
    end = tl.where(needed, tl.minimum(index * SPLIT + SPLIT, newest + 1), 0)

    # Sizes of a session fit 32 bits; only where it begins may not.
    query += batch * tokens * STRIDE
    q_at = token[:, None] * STRIDE + head[:, None] * HEAD + at[None, :]
    q = tl.load(query + q_at, mask=row_ok[:, None] & at_ok[None, :], other=0.0)
    weight = tl.load(gain + at, mask=at_ok, other=0.0).to(tl.float32)
    normed = rms_norm(q.to(tl.float32), weight[None, :], HEAD, eps)
    if FLOOR > 0:
        normed *= sharpening(place, SEEN, FLOOR, ALPHA)[:, None]
    q = normed.to(q.dtype)

    line = (batch * KV_HEADS + kv_head) * (ring + SINK) * HEAD
    keys, values = keys + line, values + line
    table += batch * tokens * HEADS * EXTENT
    profile = (token * HEADS + head) * EXTENT
    peak = tl.full((ROWS,), float('-inf'), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, HEAD_PAD), tl.float32)
    for begin in range(index * SPLIT, end, BLOCK):
        key = begin + tl.arange(0, BLOCK)
        key_ok = (key <= newest) & ((first - key < WINDOW) | (key < SINK))
        memory = slot_of(key, ring, SINK)[:, None] * HEAD + at[None, :]
        memory_ok = key_ok[:, None] & at_ok[None, :]
        k = tl.load(keys + memory, mask=memory_ok, other=0.0)
        v = tl.load(values + memory, mask=memory_ok, other=0.0)
        away = place[:, None] - key[None, :]
        seen = (away >= 0) & ((away < WINDOW) | (key < SINK)[None, :])
        near = seen & (away < EXTENT) & row_ok[:, None]
        bias = tl.load(table + profile[:, None] + away, mask=near, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision='ieee') * (1.0 / HEAD) + bias
        scores = tl.where(seen, scores, float('-inf'))
        higher = tl.maximum(peak, tl.max(scores, axis=1))
        base = tl.where(higher == float('-inf'), 0.0, higher)
        kept = tl.exp(peak - base)
        share = tl.exp(scores - base[:, None])
        total = total * kept + tl.sum(share, axis=1)
        acc = tl.dot(share.to(v.dtype), v, acc * kept[:, None], input_precision='ieee')
        peak = higher

    tiles = tl.cdiv(tokens, together)
    part = (((batch * KV_HEADS + kv_head) * tiles + tile) * splits + split) * ROWS + row
    tl.store(peaks + part, peak)
    tl.store(totals + part, total)
    tl.store(sums + part[:, None] * HEAD_PAD + at[None, :], acc)


@triton.jit(do_not_specialize=['tokens', 'splits'])
def merge(
    peaks,
    totals,
    sums,
    out,
    tokens,
    splits,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    GROUPS_PAD: tl.constexpr,
    HEAD: tl.constexpr,
    HEAD_PAD: tl.constexpr,
    ROWS: tl.constexpr,
    SPLITS_PAD: tl.constexpr,
):
    """Adds up the splits of one token and head, oldest first; grid (heads, tokens, sequences)."""
    head, token, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    groups: tl.constexpr = HEADS // KV_HEADS
    together: tl.constexpr = ROWS // GROUPS_PAD
    tile = token // together
    row = token % together * GROUPS_PAD + head % groups
    tiles = tl.cdiv(tokens, together)
    part = ((batch * KV_HEADS + head // groups) * tiles + tile) * splits * ROWS + row
    split, at = tl.arange(0, SPLITS_PAD), tl.arange(0, HEAD_PAD)
    peak = tl.load(peaks + part + split * ROWS, mask=split < splits, other=float('-inf'))
    highest = tl.max(peak, axis=0)
    total = tl.zeros((), tl.float32)
    acc = tl.zeros((HEAD_PAD,), tl.float32)
    for number in range(splits):
        place = part + number * ROWS
        kept = tl.exp(tl.load(peaks + place) - highest)
        total += kept * tl.load(totals + place)
        acc += kept * tl.load(sums + place * HEAD_PAD + at)
    result = (acc / total).to(out.dtype.element_ty)
    place = ((batch * tokens + token) * HEADS + head) * HEAD + at
    tl.store(out + place, result, mask=at < HEAD)
