# SPDX-License-Identifier: Apache-2.0
"""RMSNorm, alone or after a short convolution and the residual, with the state moved on."""

import triton
import triton.language as tl

from interaction_node.kernels.tile import convolve, remember, rms_norm


@triton.jit(do_not_specialize=['tokens'])
def norm_conv(
    y,
    past,
    taps,
    residual,
    gain,
    x_out,
    normed,
    tokens,
    eps,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    TAPS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Takes CHUNK tokens of one sequence one after another; grid (chunks, sequences).

    Only the first chunk touches the state: it alone reads it, and it writes it last.
    """
    chunk, sequence = tl.program_id(0), tl.program_id(1).to(tl.int64)
    at = tl.arange(0, BLOCK)
    ok = at < WIDTH
    y += sequence * tokens * WIDTH
    past += sequence * (TAPS - 1) * WIDTH
    weight = tl.load(gain + at, mask=ok, other=0.0).to(tl.float32)
    for token in range(chunk * CHUNK, min(chunk * CHUNK + CHUNK, tokens)):
        place = (sequence * tokens + token) * WIDTH + at
        mixed = convolve(y, past, taps, token, at, ok, WIDTH, WIDTH, TAPS)
        x = mixed + tl.load(residual + place, mask=ok, other=0.0).to(tl.float32)
        tl.store(x_out + place, x.to(x_out.dtype.element_ty), mask=ok)
        # What is normed is what was stored, also where that was rounded.
        x = x.to(x_out.dtype.element_ty).to(tl.float32)
        found = rms_norm(x, weight, WIDTH, eps)
        tl.store(normed + place, found.to(normed.dtype.element_ty), mask=ok)
    if chunk == 0:
        remember(y, past, tokens, at, ok, WIDTH, WIDTH, TAPS)


@triton.jit
def norm(x, gain, normed, eps, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Norms one row; grid (rows,)."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    ok = at < WIDTH
    value = tl.load(x + row * WIDTH + at, mask=ok, other=0.0).to(tl.float32)
    weight = tl.load(gain + at, mask=ok, other=0.0).to(tl.float32)
    found = rms_norm(value, weight, WIDTH, eps)
    tl.store(normed + row * WIDTH + at, found.to(normed.dtype.element_ty), mask=ok)
