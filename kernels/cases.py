# SPDX-License-Identifier: Apache-2.0
"""What the presets ask of the kernels, through the entry points, without memory or a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from interaction_node.kernels import (
    append_attention,
    flow_step,
    linear,
    moe_gather_gemv,
    norm_conv,
)
from interaction_node.kernels.append_attention import Layout, Memory, Weights
from interaction_node.kernels.flow_step import FlowWeights
from interaction_node.kernels.launch import Launch, recorded
from interaction_node.kernels.quantise import Weight

TAPS = 4
MAX_APPEND = 16
# The flow head: width, layers, heads, features, frames of a block, letters and past frames.
FLOW = (192, 3, 4, 82, 10, 34)


@dataclass(frozen=True)
class Shape:
    """Sizes of a preset; `tests/kernels` compares them with `model.presets`.

    Attributes:
        width: Size of the residual stream.
        heads: Query heads.
        kv_heads: Key/value heads.
        head_dim: Size of one head.
        rank: Size of the state that mixes the bias profiles.
        window: Tokens that sliding layers see.
        full_window: Tokens that full layers see.
        sink: First tokens that full layers always see.
        extent: Distance from which the bias of full layers is zero.
        mlp_width: Hidden size of a dense layer.
        expert_width: Hidden size of an expert; 0 without experts.
        experts: Routed experts.
        chosen: Routed experts of a token.
        shared: Shared experts.
    """

    width: int
    heads: int
    kv_heads: int
    head_dim: int
    rank: int
    window: int
    full_window: int
    sink: int
    extent: int
    mlp_width: int
    expert_width: int = 0
    experts: int = 0
    chosen: int = 0
    shared: int = 0


SHAPES = {
    'nano': Shape(192, 3, 1, 64, 8, 96, 2048, 0, 192, 512),
    'orin': Shape(768, 12, 4, 64, 16, 256, 4096, 32, 512, 2048, 384, 32, 4, 1),
    'inkling_small': Shape(4096, 32, 8, 128, 16, 512, 8192, 0, 1024, 16_384, 2048, 256, 6, 2),
}


def launches_of(shape: Shape, tokens: int = 1) -> list[Launch]:
    """Records the launches of one layer of each type, with bf16 and with int8 weights.

    Args:
        shape: Sizes.
        tokens: Tokens appended at once.

    Returns:
        The launches, in order.
    """
    with torch.device('meta'), recorded() as launches:
        _layers(shape, tokens)
    return launches


def _layers(shape: Shape, tokens: int) -> None:
    for window, sink in ((shape.window, 0), (shape.full_window, shape.sink)):
        _attention(shape, tokens, window, sink)
    x = _bf16(1, tokens, shape.width)
    gain = torch.empty(shape.width)
    residual = torch.empty(1, tokens, shape.width)
    norm_conv.norm(residual, gain, 1e-6, torch.bfloat16)
    norm_conv.norm_conv(
        x, _bf16(1, TAPS - 1, shape.width), _bf16(TAPS, shape.width), residual, gain, 1e-6
    )
    for int8 in (False, True):
        _dense(shape, x[0], int8)
        if shape.experts:
            _experts(shape, x[0], int8)
        _flow()


def _bf16(*size: int) -> torch.Tensor:
    return torch.empty(size, dtype=torch.bfloat16)


def _weight(int8: bool, *size: int) -> Weight:
    if int8:
        return Weight(torch.empty(size, dtype=torch.int8), torch.empty(size[:-1]))
    return Weight(_bf16(*size))


def _attention(shape: Shape, tokens: int, window: int, sink: int) -> None:
    ring = window + MAX_APPEND
    layout = Layout(shape.heads, shape.kv_heads, shape.head_dim, shape.rank, window, sink, ring)
    kv_width = 2 * shape.kv_heads * shape.head_dim
    slots = (1, shape.kv_heads, sink + ring, shape.head_dim)
    memory = Memory(_bf16(*slots), _bf16(*slots), _bf16(1, TAPS - 1, kv_width))
    extent = min(window, shape.extent)
    gains = torch.empty(shape.head_dim), torch.empty(shape.head_dim)
    weights = Weights(_bf16(TAPS, kv_width), *gains, _bf16(extent, shape.rank))
    position = torch.empty((), dtype=torch.int64)
    qkvr = _bf16(1, tokens, layout.width)
    append_attention.append_attention(qkvr, position, weights, memory, layout)


def _dense(shape: Shape, x: torch.Tensor, int8: bool) -> None:
    hidden = linear.gate_up(x, _weight(int8, 2 * shape.mlp_width, shape.width))
    linear.linear(hidden, _weight(int8, shape.width, shape.mlp_width), torch.empty(1))
    linear.linear(x, _weight(int8, shape.width, shape.width))


def _experts(shape: Shape, x: torch.Tensor, int8: bool) -> None:
    router = Weight(_bf16(shape.experts + shape.shared, shape.width))
    bias, scale = torch.empty(shape.experts), torch.empty(1)
    experts, weights = moe_gather_gemv.route(x, router, bias, scale, shape.chosen, 1.0, True)
    side = shape.shared * shape.expert_width
    moe_gather_gemv.moe(
        x,
        experts,
        weights,
        _weight(int8, shape.experts, 2 * shape.expert_width, shape.width),
        _weight(int8, shape.experts, shape.width, shape.expert_width),
        _weight(int8, 2 * side, shape.width),
        _weight(int8, shape.width, side),
    )


def _flow() -> None:
    width, layers, heads, features, frames, remembered = FLOW
    weights = FlowWeights(
        heads,
        _bf16(layers, 10 * width * width),
        torch.empty(layers, 13 * width),
        _bf16(width, features),
        torch.empty(frames, width),
        _bf16(features, width),
        torch.empty(3 * width + 1 + features),
    )
    x, modulation = torch.empty(1, frames, features), torch.empty(1, 6, width)
    memory = _bf16(1, layers, remembered, 2 * width)
    known = torch.empty(1, remembered, dtype=torch.bool)
    flow_step.flow_step(x, modulation, memory, known, weights, 0.5)
