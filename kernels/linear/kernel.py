# SPDX-License-Identifier: Apache-2.0
"""Dense layers for a few rows, at the speed at which weights can be read."""

import triton
import triton.language as tl

from interaction_node.kernels.tile import dot_rows, silu


@triton.jit(do_not_specialize=['rows'])
def linear(
    x,
    weight,
    scale,
    out,
    rows,
    factor,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_FACTOR: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Writes out = (x @ weight.T) * scale * factor for one tile; grid (outputs, rows)."""
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    row_ok, column_ok = row < rows, column < OUT
    x_rows = x + row.to(tl.int64) * IN
    weight_rows = weight + column.to(tl.int64) * IN
    y = dot_rows(x_rows, row_ok, weight_rows, column_ok, IN, BLOCK_IN)
    if HAS_SCALE:
        y *= tl.load(scale + column, mask=column_ok, other=0.0)[None, :]
    if HAS_FACTOR:
        y *= tl.load(factor).to(tl.float32)
    at = row.to(tl.int64)[:, None] * OUT + column[None, :]
    tl.store(out + at, y.to(out.dtype.element_ty), mask=row_ok[:, None] & column_ok[None, :])


@triton.jit(do_not_specialize=['rows'])
def gate_up(
    x,
    weight,
    scale,
    hidden,
    rows,
    IN: tl.constexpr,
    HIDDEN: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Writes hidden = silu(x @ gate.T) * (x @ up.T) for one tile; weight is gate over up."""
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    row_ok, column_ok = row < rows, column < HIDDEN
    x_rows = x + row.to(tl.int64) * IN
    gate_rows = weight + column.to(tl.int64) * IN
    up_rows = gate_rows + HIDDEN * IN
    gate = dot_rows(x_rows, row_ok, gate_rows, column_ok, IN, BLOCK_IN)
    up = dot_rows(x_rows, row_ok, up_rows, column_ok, IN, BLOCK_IN)
    if HAS_SCALE:
        gate *= tl.load(scale + column, mask=column_ok, other=0.0)[None, :]
        up *= tl.load(scale + HIDDEN + column, mask=column_ok, other=0.0)[None, :]
    y = silu(gate) * up
    at = row.to(tl.int64)[:, None] * HIDDEN + column[None, :]
    ok = row_ok[:, None] & column_ok[None, :]
    tl.store(hidden + at, y.to(hidden.dtype.element_ty), mask=ok)
