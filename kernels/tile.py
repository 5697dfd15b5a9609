# SPDX-License-Identifier: Apache-2.0
"""Pieces of kernels: products of a few rows with a tile of weights, norms and short convolutions.

Every sum runs over its dimension in the same order whatever else is in the batch.
"""

import triton
import triton.language as tl


@triton.jit
def dot_rows(x_M, x_ok_M, w_N, w_ok_N, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """Multiplies rows by rows: (M, SIZE) and (N, SIZE) to (M, N) in fp32.

    Args:
        x_M: (M,) pointers to the first element of each row.
        x_ok_M: (M,) rows to read; others count as zeros.
        w_N: (N,) pointers to the first weight of each output; int8 or the dtype of x.
        w_ok_N: (N,) outputs that exist.
        SIZE: Length of a row.
        BLOCK: Elements at a time.
    """
    acc = tl.zeros((x_M.shape[0], w_N.shape[0]), tl.float32)
    for start in range(0, SIZE, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < SIZE
        x = tl.load(x_M[:, None] + at[None, :], mask=x_ok_M[:, None] & inside[None, :], other=0.0)
        w = tl.load(w_N[None, :] + at[:, None], mask=w_ok_N[None, :] & inside[:, None], other=0)
        acc = tl.dot(x, w.to(x.dtype), acc, input_precision='ieee')
    return acc


@triton.jit
def silu(x):
    """Returns x * sigmoid(x), in fp32."""
    return x / (1.0 + tl.exp(-x))


@triton.jit
def rms_norm(x, gain, SIZE: tl.constexpr, eps):
    """Norms the last dimension of fp32 values, which are zero beyond SIZE."""
    mean_square = tl.sum(x * x, axis=-1, keep_dims=True) / SIZE
    return gain * (x * tl.rsqrt(mean_square + eps))


@triton.jit
def convolve(new, past, taps, token, at, ok, stride_new, stride_past, TAPS: tl.constexpr):
    """The short convolution with its residual, for some channels of one token, in fp32.

    Args:
        new: Pointer to the first new token.
        past: Pointer to the oldest of the TAPS - 1 remembered tokens.
        taps: Pointer to (TAPS, stride_past) weights, oldest first.
        token: Number of the token among the new ones.
        at: (C,) channels.
        ok: (C,) channels that exist.
        stride_new: Elements from one new token to the next.
        stride_past: Elements from one remembered token to the next.
        TAPS: Number of taps.
    """
    mixed = tl.load(new + token * stride_new + at, mask=ok, other=0.0).to(tl.float32)
    for tap in tl.static_range(TAPS):
        source = token - (TAPS - 1) + tap
        value = recall(new, past, source, at, ok, stride_new, stride_past, TAPS)
        weight = tl.load(taps + tap * stride_past + at, mask=ok, other=0.0).to(tl.float32)
        mixed += weight * value.to(tl.float32)
    return mixed


@triton.jit
def recall(new, past, source, at, ok, stride_new, stride_past, TAPS: tl.constexpr):
    """Some channels of new token number `source`, or of a remembered one if that is negative."""
    is_new = source >= 0
    fresh = tl.load(new + source * stride_new + at, mask=ok & is_new, other=0.0)
    old_at = past + (source + TAPS - 1) * stride_past + at
    old = tl.load(old_at, mask=ok & (source < 0), other=0.0)
    return tl.where(is_new, fresh, old)


@triton.jit
def remember(new, past, tokens, at, ok, stride_new, stride_past, TAPS: tl.constexpr):
    """Moves the memory of some channels on by `tokens`, in place, oldest first."""
    for row in tl.static_range(TAPS - 1):
        source = tokens - (TAPS - 1) + row
        value = recall(new, past, source, at, ok, stride_new, stride_past, TAPS)
        # No thread may overwrite what another one has yet to read.
        tl.debug_barrier()
        tl.store(past + row * stride_past + at, value, mask=ok)
