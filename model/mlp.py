# SPDX-License-Identifier: Apache-2.0
"""Dense feed-forward layer.

Dims: B batch, T time, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class SwiGlu(nn.Module):
    """Gated feed-forward layer (https://arxiv.org/abs/2002.05202) with one learned scale.

    Args:
        width: Size of input and output.
        hidden: Size of the hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(width, 2 * hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Transforms each token by itself.

        Args:
            x_BTD: (B, T, D).

        Returns:
            (B, T, D).
        """
        gate, up = self.gate_up_proj(x_BTD).chunk(2, dim=-1)
        y_BTD = self.down_proj(F.silu(gate) * up)
        return y_BTD * self.scale.to(y_BTD.dtype)
