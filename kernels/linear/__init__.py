# SPDX-License-Identifier: Apache-2.0
"""Dense layers whose result for a row does not depend on the other rows.

Dims: N rows, I inputs, H hidden, X = 2 H (gate, then up), O outputs.
"""

from __future__ import annotations

import torch

from interaction_node.kernels.launch import ROWS, blocks, launch, power_of_two, runs_kernels
from interaction_node.kernels.linear import reference
from interaction_node.kernels.quantise import Weight

BLOCK_OUT, BLOCK_IN = 32, 128


def tiling(inputs: int) -> dict[str, int]:
    """Returns the compile-time constants of a product over `inputs`."""
    block_in = min(BLOCK_IN, power_of_two(inputs, 16))
    return {'ROWS': ROWS, 'BLOCK_OUT': BLOCK_OUT, 'BLOCK_IN': block_in, 'num_stages': 4}


def linear(
    x_NI: torch.Tensor,
    weight_OI: Weight,
    factor: torch.Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Multiplies rows by weights, accumulated in fp32.

    Args:
        x_NI: (N, I), contiguous.
        weight_OI: (O, I) weights of the dtype of `x_NI`, or int8.
        factor: (1,), factor on everything; None for 1.
        dtype: Of the result; that of `x_NI` if None.

    Returns:
        (N, O).

    Raises:
        ValueError: If the shapes don't match.
    """
    dtype = dtype or x_NI.dtype
    check_inputs(x_NI, weight_OI)
    if not runs_kernels(x_NI):
        return reference.linear(x_NI, weight_OI, factor, dtype)
    from interaction_node.kernels.linear import kernel

    (rows, inputs), outputs = x_NI.shape, weight_OI.values.shape[0]
    out_NO = x_NI.new_empty(rows, outputs, dtype=dtype)
    grid = (blocks(outputs, BLOCK_OUT), blocks(rows, ROWS))
    scale = x_NI if weight_OI.scale is None else weight_OI.scale
    args = (x_NI, weight_OI.values, scale, out_NO, rows, x_NI if factor is None else factor)
    options = (weight_OI.scale is not None, factor is not None)
    launch(kernel.linear, grid, *args, inputs, outputs, *options, **tiling(inputs))
    return out_NO


def gate_up(x_NI: torch.Tensor, weight_XI: Weight) -> torch.Tensor:
    """The first half of a SwiGLU: silu(x @ gate.T) * (x @ up.T).

    Args:
        x_NI: (N, I), contiguous.
        weight_XI: (2 H, I), gate over up, of the dtype of `x_NI` or int8.

    Returns:
        (N, H), dtype of `x_NI`.

    Raises:
        ValueError: If the shapes don't match.
    """
    check_inputs(x_NI, weight_XI)
    if not runs_kernels(x_NI):
        return reference.gate_up(x_NI, weight_XI)
    from interaction_node.kernels.linear import kernel

    (rows, inputs), hidden = x_NI.shape, weight_XI.values.shape[0] // 2
    hidden_NH = x_NI.new_empty(rows, hidden)
    grid = (blocks(hidden, BLOCK_OUT), blocks(rows, ROWS))
    scale = x_NI if weight_XI.scale is None else weight_XI.scale
    args = (x_NI, weight_XI.values, scale, hidden_NH, rows, inputs, hidden)
    launch(kernel.gate_up, grid, *args, weight_XI.scale is not None, **tiling(inputs))
    return hidden_NH


def check_inputs(x_NI: torch.Tensor, weight: Weight) -> None:
    """Raises ValueError where rows and weights don't fit, or aren't contiguous."""
    inputs = weight.values.shape[-1]
    if x_NI.dim() != 2 or x_NI.shape[1] != inputs or not x_NI.is_contiguous():
        raise ValueError(f'x_NI must be contiguous (N, {inputs}), got {tuple(x_NI.shape)}')
    if weight.values.dtype not in (torch.int8, x_NI.dtype):
        raise ValueError(f'weights must be {x_NI.dtype} or int8, got {weight.values.dtype}')
