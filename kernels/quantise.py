# SPDX-License-Identifier: Apache-2.0
"""Weights as the kernels take them: in a floating dtype, or int8 with one scale a row.

Dims: any leading ones, O outputs, I inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Weight:
    """A matrix of weights.

    Attributes:
        values: (..., O, I), contiguous; bf16, fp16, fp32, or int8 from -127 to 127.
        scale: (..., O) fp32, factor of each row of an int8 matrix; else None.
    """

    values: torch.Tensor
    scale: torch.Tensor | None = None

    def float(self) -> torch.Tensor:
        """Returns (..., O, I) fp32."""
        values = self.values.float()
        return values if self.scale is None else values * self.scale[..., None]


def quantise(values: torch.Tensor) -> Weight:
    """Rounds weights to int8, the largest of each row to 127.

    Args:
        values: (..., O, I), any floating dtype.

    Returns:
        The nearest int8 weights.
    """
    scale = values.float().abs().amax(-1).clamp(min=1e-12) / 127
    rounded = (values.float() / scale[..., None]).round().to(torch.int8)
    return Weight(rounded.contiguous(), scale)
