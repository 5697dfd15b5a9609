# SPDX-License-Identifier: Apache-2.0
"""Plain PyTorch of the dense layers, in fp32.

Dims: N rows, I inputs, H hidden, O outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from interaction_node.kernels.quantise import Weight


def linear(
    x_NI: torch.Tensor, weight_OI: Weight, factor: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """See `interaction_node.kernels.linear.linear`."""
    y_NO = x_NI.float() @ weight_OI.float().T
    return (y_NO if factor is None else y_NO * factor.float()).to(dtype)


def gate_up(x_NI: torch.Tensor, weight_XI: Weight) -> torch.Tensor:
    """See `interaction_node.kernels.linear.gate_up`."""
    gate, up = (x_NI.float() @ weight_XI.float().T).chunk(2, dim=-1)
    return (F.silu(gate) * up).to(x_NI.dtype)
