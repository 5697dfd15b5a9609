# SPDX-License-Identifier: Apache-2.0
"""Short causal depthwise convolution with a residual.

Dims: B batch, T time, C channels, K taps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ShortConv(nn.Module):
    """Adds to every channel a learned mix of its own last few values.

    Args:
        channels: Number of channels.
        kernel: Number of taps, the current token included.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        # Zero taps: every block starts without the convolution.
        self.weight_KC = nn.Parameter(torch.zeros(kernel, channels))
        self.kernel = kernel

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        """Convolves whole sequences that begin at the first token.

        Args:
            x_BTC: (B, T, C), any floating dtype; summed in fp32.

        Returns:
            (B, T, C), dtype of `x_BTC`.
        """
        return self._mix(F.pad(x_BTC, (0, 0, self.kernel - 1, 0)), x_BTC.shape[1])

    def append(self, x_BtC: torch.Tensor, past_BPC: torch.Tensor) -> torch.Tensor:
        """Convolves the next tokens and moves the state on in place.

        Args:
            x_BtC: (B, t, C), the new tokens.
            past_BPC: (B, K - 1, C), the last inputs; overwritten.

        Returns:
            (B, t, C), dtype of `x_BtC`.
        """
        padded_BSC = torch.cat((past_BPC, x_BtC), dim=1)
        past_BPC.copy_(padded_BSC[:, x_BtC.shape[1] :])
        windows_BtCK = padded_BSC.unfold(1, self.kernel, 1).float()
        mixed = (windows_BtCK * self.weight_KC.T.float()).sum(-1)
        return mixed.add_(x_BtC).to(x_BtC.dtype)

    def _mix(self, padded_BSC: torch.Tensor, length: int) -> torch.Tensor:
        # A sum of shifted products: the compiler makes one pass over memory of it.
        mixed = padded_BSC[:, self.kernel - 1 :].float()
        for tap in range(self.kernel):
            mixed = mixed + padded_BSC[:, tap : tap + length].float() * self.weight_KC[tap].float()
        return mixed.to(padded_BSC.dtype)
