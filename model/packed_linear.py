# SPDX-License-Identifier: Apache-2.0
"""Linear layers for few tokens on a CPU: 16-bit weights, sums in fp32, rows independent of others.

Dims: n tokens, I inputs, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Below this, the library multiplies matrices in another order of summation.
MIN_ROWS = 4
# Without AVX-512 rows are multiplied in groups of up to six; small groups sum in another order.
_GROUP = 6
_ROWS_ALIKE = torch.backends.cpu.get_cpu_capability() == 'AVX512'
# Half of the smallest fp16.
_SMALLEST = 2.0**-25


class PackedLinear:
    """A linear layer without bias; its weights are kept as fp16 if that changes none of them.

    A checkpoint's weights were rounded to bf16, which fp16 holds exactly but for the tiniest; sums
    are in fp32 either way. fp32 weights of a training in progress stay as they are.

    Args:
        weight_OI: (O, I) weights.

    Attributes:
        packed: Whether they are kept as fp16.
    """

    def __init__(self, weight_OI: Tensor):
        weight_OI = weight_OI.detach().float().contiguous()
        rounded_OI = weight_OI.half().float()
        self.packed = 'x86' in torch.backends.quantized.supported_engines and torch.allclose(
            rounded_OI, weight_OI, rtol=0.0, atol=_SMALLEST
        )
        self._weight = weight_OI
        if self.packed:
            self._weight = torch.ops.quantized.linear_prepack_fp16(weight_OI, None)

    def __call__(self, x_nI: Tensor) -> Tensor:
        """(n, I) to (n, O)."""
        if self.packed:
            rows = len(x_nI)
            if not _ROWS_ALIKE:
                x_nI = functional.pad(x_nI, (0, 0, 0, -rows % _GROUP))
            return torch.ops.quantized.linear_dynamic_fp16.default(x_nI, self._weight)[:rows]
        return functional.linear(x_nI, self._weight)


def fill_rows(x_KXF: Tensor) -> Tensor:
    """Adds rows of zeros where there are too few for a product that ignores the other rows."""
    missing = MIN_ROWS - x_KXF.shape[-2]
    return functional.pad(x_KXF, (0, 0, 0, missing)) if missing > 0 else x_KXF
