# SPDX-License-Identifier: Apache-2.0
"""Mixture of experts for a few tokens: router, gathered experts and shared ones.

Dims: N tokens, D width, E routed experts, S shared experts, A experts per token, I expert width,
X = 2 I (gate, then up), Y = A + S.
"""

from __future__ import annotations

import torch

from interaction_node.kernels.launch import ROWS, blocks, launch, power_of_two, runs_kernels
from interaction_node.kernels.linear import BLOCK_OUT, check_inputs, linear, tiling
from interaction_node.kernels.moe_gather_gemv import reference
from interaction_node.kernels.quantise import Weight

_BLOCK_SUM = 256


def route(
    x_ND: torch.Tensor,
    weight_ED: Weight,
    bias_E: torch.Tensor,
    scale: torch.Tensor,
    chosen: int,
    route_scale: float,
    sink: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Picks the experts with the highest sigmoid scores, as `model.moe.Router` does.

    Args:
        x_ND: (N, D), contiguous.
        weight_ED: (E + S, D) weights of the router, dtype of `x_ND`.
        bias_E: (E,) fp32, added to the scores for picking only.
        scale: (1,), factor on all weights.
        chosen: A.
        route_scale: Another factor; only on shared experts if they take part in normalising.
        sink: Shared experts take part in normalising.

    Returns:
        (N, A) int32, experts, best first; (N, A + S) fp32, weights, shared experts last.
    """
    logits_NE = linear(x_ND, weight_ED, dtype=torch.float32)
    if not runs_kernels(x_ND):
        return reference.route(logits_NE, bias_E, scale, chosen, route_scale, sink)
    from interaction_node.kernels.moe_gather_gemv import kernel

    (tokens, both), experts = logits_NE.shape, len(bias_E)
    experts_NA = x_ND.new_empty(tokens, chosen, dtype=torch.int32)
    weights_NY = x_ND.new_empty(tokens, chosen + both - experts, dtype=torch.float32)
    args = (logits_NE, bias_E, scale, experts_NA, weights_NY, tokens, route_scale)
    pads = power_of_two(both), power_of_two(chosen + both - experts)
    sizes = (experts, chosen, both - experts, sink, *pads, ROWS)
    launch(kernel.pick, (blocks(tokens, ROWS),), *args, *sizes)
    return experts_NA, weights_NY


def moe(
    x_ND: torch.Tensor,
    experts_NA: torch.Tensor,
    weights_NY: torch.Tensor,
    gate_up_EXD: Weight,
    down_EDI: Weight,
    shared_gate_up_XD: Weight,
    shared_down_DI: Weight,
) -> torch.Tensor:
    """Runs every token through its experts and through the shared ones, and adds them up.

    Args:
        x_ND: (N, D), contiguous.
        experts_NA: (N, A) int32, experts of each token, no expert twice.
        weights_NY: (N, A + S) fp32, their weights, then those of the shared experts.
        gate_up_EXD: (E, 2 I, D) weights, gate over up, of the dtype of `x_ND` or int8.
        down_EDI: (E, D, I) weights.
        shared_gate_up_XD: (2 S I, D) weights: gates of all shared experts over their ups.
        shared_down_DI: (D, S I) weights.

    Returns:
        (N, D), dtype of `x_ND`.

    Raises:
        ValueError: If shapes or dtypes don't match, or only some weights are int8.
    """
    weights = (gate_up_EXD, down_EDI, shared_gate_up_XD, shared_down_DI)
    check_inputs(x_ND, gate_up_EXD)
    if len({weight.values.dtype for weight in weights}) > 1:
        raise ValueError(f'all weights must be of one dtype, got {weights[0].values.dtype} first')
    if not runs_kernels(x_ND):
        return reference.moe(x_ND, experts_NA, weights_NY, *weights)
    from interaction_node.kernels.moe_gather_gemv import kernel

    (tokens, width), chosen = x_ND.shape, experts_NA.shape[1]
    hidden, shared = down_EDI.values.shape[2], weights_NY.shape[1] - chosen
    hidden_NAI = x_ND.new_empty(tokens, chosen, hidden)
    hidden_NSI = x_ND.new_empty(tokens, shared, hidden)
    parts_NAD = x_ND.new_empty(tokens, chosen + 1, width, dtype=torch.float32)
    out_ND = torch.empty_like(x_ND)
    pairs, chunks = min(tokens, ROWS) * chosen, blocks(tokens, ROWS)
    has_scale = gate_up_EXD.scale is not None
    sizes = (tokens, pairs, width, hidden, chosen, shared, power_of_two(chosen), has_scale)
    up, down, shared_up, shared_down = (_pointers(weight) for weight in weights)
    launch(
        kernel.gate_up,
        (pairs * blocks(hidden, BLOCK_OUT) + blocks(shared * hidden, BLOCK_OUT), chunks),
        *(x_ND, experts_NA, weights_NY, *up, *shared_up, hidden_NAI, hidden_NSI, *sizes),
        **tiling(width),
    )
    launch(
        kernel.down,
        ((pairs + 1) * blocks(width, BLOCK_OUT), chunks),
        *(hidden_NAI, experts_NA, *down, *shared_down, hidden_NSI, parts_NAD, *sizes),
        **tiling(hidden),
    )
    grid = (tokens, blocks(width, _BLOCK_SUM))
    launch(kernel.add_up, grid, parts_NAD, weights_NY, out_ND, width, chosen, shared, _BLOCK_SUM)
    return out_ND


def _pointers(weight: Weight) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and scale; where there is no scale, something that is never read."""
    return weight.values, weight.values if weight.scale is None else weight.scale
