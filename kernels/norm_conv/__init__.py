# SPDX-License-Identifier: Apache-2.0
"""What lies between two layers: short convolution, residual and RMSNorm, in one pass.

Dims: B sequences, t tokens, D width, K taps, P = K - 1 remembered tokens.
"""

from __future__ import annotations

import torch

from interaction_node.kernels.launch import ROWS, blocks, launch, power_of_two, runs_kernels
from interaction_node.kernels.norm_conv import reference


def norm_conv(
    y_BtD: torch.Tensor,
    past_BPD: torch.Tensor,
    taps_KD: torch.Tensor,
    residual_BtD: torch.Tensor,
    gain_D: torch.Tensor,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Convolves what a layer made, adds the residual, and norms the sum for the next layer.

    Args:
        y_BtD: (B, t, D), contiguous, output of the layer.
        past_BPD: (B, K - 1, D), its last outputs, same dtype; moved on in place.
        taps_KD: (K, D), weights, the newest token's last.
        residual_BtD: (B, t, D), contiguous, fp32 or the dtype of `y_BtD`.
        gain_D: (D,), gain of the norm.
        eps: Added to the mean square.

    Returns:
        (B, t, D) sum, dtype of the residual; (B, t, D) normed sum, dtype of `y_BtD`.

    Raises:
        ValueError: If shapes or dtypes don't match.
    """
    taps, width = taps_KD.shape
    batch, tokens, _ = y_BtD.shape
    if past_BPD.shape != (batch, taps - 1, width) or past_BPD.dtype != y_BtD.dtype:
        raise ValueError(
            f'past_BPD must be {(batch, taps - 1, width)} of {y_BtD.dtype}, '
            f'got {tuple(past_BPD.shape)} of {past_BPD.dtype}'
        )
    if not runs_kernels(y_BtD):
        return reference.norm_conv(y_BtD, past_BPD, taps_KD, residual_BtD, gain_D, eps)
    from interaction_node.kernels.norm_conv import kernel

    x_BtD, normed_BtD = torch.empty_like(residual_BtD), torch.empty_like(y_BtD)
    block = power_of_two(width, 16)
    args = (y_BtD, past_BPD, taps_KD, residual_BtD, gain_D, x_BtD, normed_BtD, tokens, eps)
    options = {'num_warps': warps(block)}
    grid = (blocks(tokens, ROWS), batch)
    launch(kernel.norm_conv, grid, *args, width, block, taps, ROWS, **options)
    return x_BtD, normed_BtD


def norm(x: torch.Tensor, gain_D: torch.Tensor, eps: float, dtype: torch.dtype) -> torch.Tensor:
    """Scales vectors to unit root mean square (https://arxiv.org/abs/1910.07467).

    Args:
        x: (..., D), contiguous.
        gain_D: (D,), gain.
        eps: Added to the mean square.
        dtype: Of the result.

    Returns:
        (..., D).
    """
    if not runs_kernels(x):
        return reference.norm(x, gain_D, eps, dtype)
    from interaction_node.kernels.norm_conv import kernel

    width = x.shape[-1]
    normed, block = torch.empty_like(x, dtype=dtype), power_of_two(width, 16)
    options = {'num_warps': warps(block)}
    launch(kernel.norm, (x.numel() // width,), x, gain_D, normed, eps, width, block, **options)
    return normed


def warps(block: int) -> int:
    """Returns the warps that hold `block` elements at most 8 to a thread, 8 warps at most."""
    return min(8, max(1, block // 256))
