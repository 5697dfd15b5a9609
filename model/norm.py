# SPDX-License-Identifier: Apache-2.0
"""Root-mean-square normalisation.

Dims: any leading ones, D normalised.
"""

from __future__ import annotations

import torch
from torch import nn


class RMSNorm(nn.Module):
    """Scales vectors to unit root mean square, computed in fp32 (https://arxiv.org/abs/1910.07467).

    Args:
        width: Size of the last dimension.
        eps: Added to the mean square.
        gain: First value of the learned gain.
    """

    def __init__(self, width: int, eps: float = 1e-6, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), gain))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises the last dimension.

        Args:
            x: (..., D), any floating dtype.

        Returns:
            (..., D) in the wider of the dtypes of `x` and of the gain.
        """
        x_fp32 = x.float()
        mean_square = x_fp32.pow(2).mean(-1, keepdim=True)
        return self.weight * (x_fp32 * torch.rsqrt(mean_square + self.eps)).to(x.dtype)
