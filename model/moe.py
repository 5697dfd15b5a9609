# SPDX-License-Identifier: Apache-2.0
"""Mixture of experts with a sigmoid router and shared experts, as in the public Inkling code.

Dims: B batch, T time, N tokens, D width, E routed experts, S shared experts, A experts per token,
I expert width, X = 2 I (gate, then up), M rows of a block, Q blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from interaction_node.model.config import TransformerConfig

# Below this many rows, reading each row's own expert costs less than sorting rows by expert.
GATHER_ROWS = 64
BLOCK_ROWS = 64


@dataclass(frozen=True)
class Routing:
    """Where every token goes.

    Attributes:
        experts_NA: (N, A) int64, routed experts of each token.
        weights_NA: (N, A) fp32, their weights.
        shared_NS: (N, S) fp32, weights of the shared experts.
    """

    experts_NA: torch.Tensor
    weights_NA: torch.Tensor
    shared_NS: torch.Tensor


class Router(nn.Module):
    """Picks the experts with the highest sigmoid scores, in fp32 so that scores don't tie.

    The picks are balanced without a loss: `bias_E` is added to the scores for picking only, and
    `rebalance` moves it against the load (https://arxiv.org/abs/2408.15664).

    Args:
        config: Shapes.
    """

    bias_E: torch.Tensor
    load_E: torch.Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.weight_ED = nn.Parameter(
            torch.empty(config.experts + config.shared_experts, config.width)
        )
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer('bias_E', torch.zeros(config.experts))
        self.register_buffer('load_E', torch.zeros(config.experts), persistent=False)

    def forward(self, x_ND: torch.Tensor) -> Routing:
        """Routes tokens.

        Args:
            x_ND: (N, D).

        Returns:
            Experts and weights of each token.
        """
        config = self.config
        # The meta device knows no autocast.
        device = 'cpu' if x_ND.is_meta else x_ND.device.type
        with torch.autocast(device, enabled=False):
            logits = F.linear(x_ND.float(), self.weight_ED.float())
            routed, shared = logits.split((config.experts, config.shared_experts), dim=-1)
            experts = (routed.sigmoid() + self.bias_E.float()).topk(config.experts_per_token)[1]
            chosen = F.logsigmoid(routed.gather(-1, experts))
            if config.shared_expert_sink:
                chosen = torch.cat((chosen, F.logsigmoid(shared)), dim=-1)
            weights = chosen.softmax(-1) * (config.route_scale * self.scale.float())
            if not config.shared_expert_sink:
                weights = torch.cat((weights, self.scale.float().expand_as(shared)), dim=-1)
        if self.training:
            self._count(experts)
        return Routing(experts, *weights.split((experts.shape[1], shared.shape[1]), dim=-1))

    @torch.no_grad()
    def _count(self, experts_NA: torch.Tensor) -> None:
        picks = experts_NA.flatten()
        ones = torch.ones_like(picks, dtype=self.load_E.dtype)
        self.load_E.add_(torch.zeros_like(self.load_E).scatter_add(0, picks, ones))

    @torch.no_grad()
    def rebalance(self, rate: float = 1e-3) -> None:
        """Moves the bias of every expert one step against its load since the last call.

        Args:
            rate: Size of the step.
        """
        self.bias_E += rate * torch.sign(self.load_E.mean() - self.load_E)
        self.load_E.zero_()


class MixtureOfExperts(nn.Module):
    """Feed-forward layer of which every token uses a few experts and all shared ones.

    Args:
        config: Shapes.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.expert_width
        self.router = Router(config)
        self.gate_up_EXD = nn.Parameter(torch.empty(config.experts, 2 * hidden, width))
        self.down_EDI = nn.Parameter(torch.empty(config.experts, width, hidden))
        # All shared experts at once: hidden units side by side.
        self.shared_gate_up = nn.Linear(width, 2 * config.shared_experts * hidden, bias=False)
        self.shared_down = nn.Linear(config.shared_experts * hidden, width, bias=False)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Transforms each token by itself.

        Args:
            x_BTD: (B, T, D).

        Returns:
            (B, T, D).
        """
        x_ND = x_BTD.flatten(0, -2)
        routing = self.router(x_ND)
        y_NAD = self._routed(x_ND, routing.experts_NA)
        y_ND = (y_NAD * routing.weights_NA.to(y_NAD.dtype)[..., None]).sum(1)
        return (y_ND + self._shared(x_ND, routing.shared_NS)).view(x_BTD.shape)

    def _shared(self, x_ND: torch.Tensor, weights_NS: torch.Tensor) -> torch.Tensor:
        gate, up = self.shared_gate_up(x_ND).chunk(2, dim=-1)
        hidden = (F.silu(gate) * up).unflatten(-1, (weights_NS.shape[1], -1))
        hidden = hidden * weights_NS.to(hidden.dtype)[..., None]
        return self.shared_down(hidden.flatten(1))

    def _routed(self, x_ND: torch.Tensor, experts_NA: torch.Tensor) -> torch.Tensor:
        """Returns (N, A, D): what each chosen expert makes of each token."""
        tokens, chosen = experts_NA.shape
        if tokens * chosen <= GATHER_ROWS:
            rows = x_ND.repeat_interleave(chosen, dim=0)[:, None]
            return self._run_blocks(rows, experts_NA.flatten()).view(tokens, chosen, -1)
        source, place, block_experts = sort_into_blocks(
            experts_NA.flatten(), self.gate_up_EXD.shape[0], BLOCK_ROWS
        )
        padded = F.pad(x_ND, (0, 0, 0, 1))
        token = source.div(chosen, rounding_mode='floor').clamp(max=tokens)
        rows = padded[token].view(-1, BLOCK_ROWS, x_ND.shape[-1])
        out = self._run_blocks(rows, block_experts).flatten(0, 1)
        return out[place].view(tokens, chosen, -1)

    def _run_blocks(self, rows_QMD: torch.Tensor, experts_Q: torch.Tensor) -> torch.Tensor:
        """Runs each block through its expert; returns (Q, M, D)."""
        gate, up = (rows_QMD @ self.gate_up_EXD[experts_Q].mT).chunk(2, dim=-1)
        return (F.silu(gate) * up) @ self.down_EDI[experts_Q].mT


def sort_into_blocks(
    experts_R: torch.Tensor, experts: int, block_rows: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Groups rows by expert into blocks of one expert each; all sizes are known beforehand.

    Args:
        experts_R: (R,) int64, expert of each row.
        experts: E, number of experts.
        block_rows: M, rows of a block.

    Returns:
        source (Q * M,), the row that comes to each place, R for none; place (R,), where each row
        went; block_experts (Q,), expert of each block. Q is ceil(R / M) + E.
    """
    rows = experts_R.shape[0]
    blocks = -(-rows // block_rows) + experts
    order = experts_R.argsort(stable=True)
    sorted_experts = experts_R[order]
    counts = torch.zeros(experts, dtype=torch.int64, device=experts_R.device)
    counts = counts.scatter_add(0, experts_R, torch.ones_like(experts_R))
    # Ends of each expert's blocks, and how far each row is from its expert's first one.
    ends = ((counts + block_rows - 1) // block_rows).cumsum(0)
    starts = F.pad(ends, (1, -1))
    first = F.pad(counts.cumsum(0), (1, -1))
    rank = torch.arange(rows, device=experts_R.device) - first[sorted_experts]
    sorted_place = starts[sorted_experts] * block_rows + rank
    source = torch.full((blocks * block_rows,), rows, device=experts_R.device)
    source = source.scatter(0, sorted_place, order)
    place = torch.empty_like(order).scatter(0, order, sorted_place)
    block_experts = torch.searchsorted(
        ends, torch.arange(blocks, device=experts_R.device), right=True
    )
    return source, place, block_experts.clamp(max=experts - 1)
