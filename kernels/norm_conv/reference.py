# SPDX-License-Identifier: Apache-2.0
"""Plain PyTorch of the norm and the short convolution, token by token, in fp32.

Dims: B sequences, t tokens, D width, K taps, P = K - 1 remembered tokens.
"""

from __future__ import annotations

import torch


def norm(x: torch.Tensor, gain_D: torch.Tensor, eps: float, dtype: torch.dtype) -> torch.Tensor:
    """See `interaction_node.kernels.norm_conv.norm`."""
    x = x.float()
    return (gain_D.float() * x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()).to(dtype)


def conv(y_BtD: torch.Tensor, past_BPD: torch.Tensor, taps_KD: torch.Tensor) -> torch.Tensor:
    """The convolution with its residual, fp32; moves `past_BPD` on in place."""
    seen = torch.cat((past_BPD, y_BtD), dim=1)
    taps = taps_KD.shape[0]
    mixed = [
        (seen[:, token : token + taps].float() * taps_KD.float()).sum(1)
        for token in range(y_BtD.shape[1])
    ]
    past_BPD.copy_(seen[:, y_BtD.shape[1] :])
    return torch.stack(mixed, dim=1) + y_BtD.float()


def norm_conv(
    y_BtD: torch.Tensor,
    past_BPD: torch.Tensor,
    taps_KD: torch.Tensor,
    residual_BtD: torch.Tensor,
    gain_D: torch.Tensor,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `interaction_node.kernels.norm_conv.norm_conv`."""
    x_BtD = (conv(y_BtD, past_BPD, taps_KD) + residual_BtD.float()).to(residual_BtD.dtype)
    return x_BtD, norm(x_BtD, gain_D, eps, y_BtD.dtype)
