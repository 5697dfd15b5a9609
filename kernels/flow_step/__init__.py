# SPDX-License-Identifier: Apache-2.0
"""One step of the flow head for all speakers in one launch.

Dims: B speakers, T frames of a block, F features, W width, L layers, H heads, M memory (letters
and past frames), X several things of different size one behind the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from interaction_node.kernels.flow_step import reference
from interaction_node.kernels.launch import ROWS, launch, power_of_two, runs_kernels

BLOCK_OUT, BLOCK_IN = 64, 64


@dataclass(frozen=True)
class FlowWeights:
    """Weights of the head, laid out for the kernel.

    Attributes:
        heads: H; divides W.
        matrices_LX: (L, 10 W W), per layer: query, key, value and output of the attention among
            frames, query and output of that to the memory, both feed-forward layers.
        vectors_LX: (L, 13 W) fp32, per layer: the six modulations, bias of the output, gain and
            bias of the norm, bias of the memory's output, biases of the feed-forward layers.
        frame_in_WF: (W, F), what features become.
        frame_table_TW: (T, W) fp32, what is added to each frame.
        out_FW: (F, W), what becomes the velocity.
        tail_X: (3 W + 1 + F,) fp32: gain and bias of the last norm, weight and bias of the end's
            logit, bias of the velocity.
    """

    heads: int
    matrices_LX: torch.Tensor
    vectors_LX: torch.Tensor
    frame_in_WF: torch.Tensor
    frame_table_TW: torch.Tensor
    out_FW: torch.Tensor
    tail_X: torch.Tensor


def pack(state: Mapping[str, torch.Tensor], layers: int, heads: int, dtype: torch.dtype):
    """Lays out the weights of a flow head.

    Args:
        state: State dict of `model.flow_head.FlowHead`.
        layers: L.
        heads: H.
        dtype: Of the matrices.

    Returns:
        `FlowWeights` on the device of `state`.
    """

    def flat(*names: str) -> torch.Tensor:
        return torch.cat([state[name].detach().float().flatten() for name in names])

    def layer(number: int, *names: str) -> torch.Tensor:
        return flat(*(f'blocks.{number}.{name}' for name in names))

    linears: tuple[str, ...] = ('attend_self.query', 'attend_self.key_value', 'attend_self.out')
    linears += ('attend_memory.query', 'attend_memory.out', 'up', 'down')
    matrices = [f'{name}.weight' for name in linears]
    vectors: tuple[str, ...]
    vectors = ('bias', 'attend_self.out.bias', 'norm_memory.weight', 'norm_memory.bias')
    vectors += ('attend_memory.out.bias', 'up.bias', 'down.bias')
    tail = ('norm.weight', 'norm.bias', 'end.weight', 'end.bias', 'out.bias')
    return FlowWeights(
        heads,
        torch.stack([layer(i, *matrices) for i in range(layers)]).to(dtype),
        torch.stack([layer(i, *vectors) for i in range(layers)]),
        state['frame_in.weight'].detach().to(dtype).contiguous(),
        (state['frame_position'] + state['frame_in.bias']).detach().float(),
        state['out.weight'].detach().to(dtype).contiguous(),
        flat(*tail),
    )


def flow_step(
    x_BTF: torch.Tensor,
    modulation_B6W: torch.Tensor,
    memory_BLMX: torch.Tensor,
    memory_ok_BM: torch.Tensor,
    weights: FlowWeights,
    rate: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Moves noisy features along the flow by one Euler step.

    Args:
        x_BTF: (B, T, F) fp32, contiguous, T at most 16.
        modulation_B6W: (B, 6, W) fp32, contiguous: shift, scale and gate of the attention, then of
            the feed-forward layer, for the time of this step.
        memory_BLMX: (B, L, M, 2 W), contiguous, keys and values of each layer; the matrices' dtype.
        memory_ok_BM: (B, M) bool, contiguous, true where the memory holds something.
        weights: From `pack`.
        rate: Length of the step in the flow's time, 0 to 1.

    Returns:
        (B, T, F) fp32, features after the step; (B,) fp32, logit of "nothing is left to say".

    Raises:
        ValueError: If the memory is of another shape or dtype than the weights ask for.
    """
    (batch, frames, features), (_, width) = x_BTF.shape, weights.frame_table_TW.shape
    layers, remembered, dtype = (
        len(weights.matrices_LX),
        memory_ok_BM.shape[1],
        weights.out_FW.dtype,
    )
    wanted = (batch, layers, remembered, 2 * width)
    if memory_BLMX.shape != wanted or memory_BLMX.dtype != dtype or frames > ROWS:
        raise ValueError(
            f'memory_BLMX must be {wanted} of {dtype}, for at most {ROWS} frames, '
            f'got {tuple(memory_BLMX.shape)} of {memory_BLMX.dtype} for {frames}'
        )
    inputs = (x_BTF, modulation_B6W, memory_BLMX, memory_ok_BM)
    if not runs_kernels(x_BTF):
        return reference.flow_step(*inputs, weights, rate)
    from interaction_node.kernels.flow_step import kernel

    out, end = torch.empty_like(x_BTF), x_BTF.new_empty(batch)
    # Rows that are only padding are read, too.
    wide = max(3 * width, features)
    operands = x_BTF.new_zeros(batch, ROWS, wide, dtype=dtype)
    products = x_BTF.new_empty(batch, ROWS, wide, dtype=torch.float32)
    args: tuple[torch.Tensor | float, ...]
    args = (*inputs[:3], memory_ok_BM.to(torch.int32), weights.matrices_LX, weights.vectors_LX)
    args += (weights.frame_in_WF, weights.frame_table_TW, weights.out_FW, weights.tail_X)
    args += (operands, products, out, end, remembered, rate)
    sizes = (frames, features, width, layers, weights.heads, wide, power_of_two(width, 16))
    pads = (power_of_two(features, 16), power_of_two(width // weights.heads, 16))
    tiles = (power_of_two(max(remembered, 64)), ROWS, BLOCK_OUT, BLOCK_IN)
    launch(kernel.flow_step, (batch,), *args, *sizes, *pads, *tiles, num_warps=8)
    return out, end
