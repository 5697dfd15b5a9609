# SPDX-License-Identifier: Apache-2.0
"""Plain PyTorch of the experts: one token and one expert at a time, in fp32.

Dims: N tokens, D width, E routed experts, S shared experts, A experts per token, I expert width,
X = 2 I, Y = A + S.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from interaction_node.kernels.quantise import Weight


def route(
    logits_NE: torch.Tensor,
    bias_E: torch.Tensor,
    scale: torch.Tensor,
    chosen: int,
    route_scale: float,
    sink: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `interaction_node.kernels.moe_gather_gemv.route`."""
    routed, shared = logits_NE.split((len(bias_E), logits_NE.shape[1] - len(bias_E)), dim=-1)
    order = (routed.sigmoid() + bias_E.float()).argsort(dim=-1, descending=True, stable=True)
    experts_NA = order[:, :chosen]
    logs = F.logsigmoid(routed.gather(1, experts_NA))
    if sink:
        logs = torch.cat((logs, F.logsigmoid(shared)), dim=-1)
    weights = logs.softmax(-1) * route_scale
    if not sink:
        weights = torch.cat((weights, torch.ones_like(shared)), dim=-1)
    return experts_NA.to(torch.int32), weights * scale.float()


def moe(
    x_ND: torch.Tensor,
    experts_NA: torch.Tensor,
    weights_NY: torch.Tensor,
    gate_up_EXD: Weight,
    down_EDI: Weight,
    shared_gate_up_XD: Weight,
    shared_down_DI: Weight,
) -> torch.Tensor:
    """See `interaction_node.kernels.moe_gather_gemv.moe`."""
    dtype, chosen = x_ND.dtype, experts_NA.shape[1]
    gate_up, down = gate_up_EXD.float(), down_EDI.float()
    shared_gate_up, shared_down = shared_gate_up_XD.float(), shared_down_DI.float()
    out = []
    for x_D, experts, weights in zip(x_ND.float(), experts_NA.tolist(), weights_NY, strict=True):
        shared = _gated(x_D, shared_gate_up).unflatten(0, (len(weights) - chosen, -1))
        shared = (shared * weights[chosen:, None]).flatten().to(dtype).float()
        y_D = shared_down @ shared
        for expert, weight in zip(experts, weights, strict=False):
            hidden = _gated(x_D, gate_up[expert]).to(dtype).float()
            y_D = y_D + weight * (down[expert] @ hidden)
        out.append(y_D)
    return torch.stack(out).to(dtype)


def _gated(x_D: torch.Tensor, gate_up_XD: torch.Tensor) -> torch.Tensor:
    gate, up = (gate_up_XD @ x_D).chunk(2)
    return F.silu(gate) * up
