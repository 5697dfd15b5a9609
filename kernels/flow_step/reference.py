# SPDX-License-Identifier: Apache-2.0
"""Plain PyTorch of one Euler step of the flow head, in fp32.

Dims: B speakers, T frames of a block, F features, W width, L layers, H heads, M memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from interaction_node.kernels.flow_step import FlowWeights

_MATRICES = ('qkv', 'self_out', 'query', 'memory_out', 'up', 'down')
_VECTORS = ('shared', 'self_out', 'norm_gain', 'norm_bias', 'memory_out', 'up', 'down')


def flow_step(
    x_BTF: torch.Tensor,
    modulation_B6W: torch.Tensor,
    memory_BLMX: torch.Tensor,
    memory_ok_BM: torch.Tensor,
    weights: FlowWeights,
    rate: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `interaction_node.kernels.flow_step.flow_step`."""
    width, heads = weights.frame_table_TW.shape[1], weights.heads
    h = x_BTF.float() @ weights.frame_in_WF.float().T + weights.frame_table_TW
    for layer, (matrices, vectors) in enumerate(
        zip(weights.matrices_LX.float(), weights.vectors_LX, strict=True)
    ):
        sizes = [3 * width, width, width, width, 2 * width]
        m = dict(
            zip(_MATRICES, matrices.split([n * width for n in [*sizes, 2 * width]]), strict=True)
        )
        m = {k: v.view(-1, 2 * width if k == 'down' else width) for k, v in m.items()}
        sizes = [6 * width, width, width, width, width, 2 * width, width]
        b = dict(zip(_VECTORS, vectors.split(sizes), strict=True))
        change = (modulation_B6W + b['shared'].view(6, width))[:, :, None].unbind(1)
        y = F.layer_norm(h, (width,)) * (1 + change[1]) + change[0]
        q, k, v = (y @ m['qkv'].T).chunk(3, dim=-1)
        y = _attend(q, k, v, heads, None)
        h = h + change[2] * (y @ m['self_out'].T + b['self_out'])
        y = F.layer_norm(h, (width,), b['norm_gain'], b['norm_bias'])
        k, v = memory_BLMX[:, layer].float().chunk(2, dim=-1)
        y = _attend(y @ m['query'].T, k, v, heads, memory_ok_BM)
        h = h + y @ m['memory_out'].T + b['memory_out']
        y = F.layer_norm(h, (width,)) * (1 + change[4]) + change[3]
        y = F.gelu(y @ m['up'].T + b['up'])
        h = h + change[5] * (y @ m['down'].T + b['down'])
    gain, bias, end, end_bias, out_bias = weights.tail_X.split([width] * 3 + [1, x_BTF.shape[-1]])
    h = F.layer_norm(h, (width,), gain, bias)
    velocity = h @ weights.out_FW.float().T + out_bias
    return x_BTF + velocity * rate, h.mean(1) @ end + end_bias


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, ok_BM: torch.Tensor | None
) -> torch.Tensor:
    q, k, v = (y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in (q, k, v))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if ok_BM is not None:
        scores = scores.masked_fill(~ok_BM.bool()[:, None, None], float('-inf'))
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
