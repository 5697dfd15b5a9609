# SPDX-License-Identifier: Apache-2.0
"""Feed-forward layers for few tokens on a CPU; only the experts that are asked are read.

Dims: n tokens, D width, E experts, A experts per token, S shared experts, I expert width.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor
from torch.nn import functional

from .mlp import SwiGlu
from .moe import MixtureOfExperts
from .packed_linear import PackedLinear, fill_rows


class PackedSwiGlu:
    """What `SwiGlu` computes.

    Args:
        mlp: Where the weights come from.

    Attributes:
        packed: Whether all weights are packed.
    """

    def __init__(self, mlp: SwiGlu):
        self._gate_up = PackedLinear(mlp.gate_up_proj.weight)
        self._down, self._scale = PackedLinear(mlp.down_proj.weight), mlp.scale.detach().clone()
        self.packed = self._gate_up.packed and self._down.packed

    def __call__(self, x_nD: Tensor) -> Tensor:
        """(n, D) to (n, D)."""
        gate, up = self._gate_up(x_nD).chunk(2, -1)
        return self._down((functional.silu(gate) * up).mul_(self._scale))


class PackedExperts:
    """What `MixtureOfExperts` computes.

    Args:
        mlp: Where the weights come from; the router is used as it is.

    Attributes:
        packed: Whether all weights are packed.
    """

    def __init__(self, mlp: MixtureOfExperts):
        self._router = mlp.router
        self._experts = [
            (PackedLinear(gate_up_XD), PackedLinear(down_DI))
            for gate_up_XD, down_DI in zip(mlp.gate_up_EXD, mlp.down_EDI, strict=True)
        ]
        shared = PackedLinear(mlp.shared_gate_up.weight), PackedLinear(mlp.shared_down.weight)
        self._shared = shared
        linears = [*shared, *(linear for pair in self._experts for linear in pair)]
        self.packed = all(linear.packed for linear in linears)

    def __call__(self, x_nD: Tensor) -> Tensor:
        """(n, D) to (n, D)."""
        tokens = x_nD.shape[0]
        routing = self._router(fill_rows(x_nD))
        weights_nA, shared_nS = routing.weights_NA[:tokens], routing.shared_NS[:tokens]
        y_nAD = self._routed(x_nD, routing.experts_NA[:tokens])
        gate, up = self._shared[0](x_nD).chunk(2, -1)
        hidden = (functional.silu(gate) * up).unflatten(-1, (shared_nS.shape[1], -1))
        y_nD = self._shared[1]((hidden * shared_nS[..., None]).flatten(1))
        return y_nD + (y_nAD * weights_nA[..., None]).sum(1)

    def _routed(self, x_nD: Tensor, experts_nA: Tensor) -> Tensor:
        """(n, A, D): what each chosen expert makes of each token; each is read once."""
        chosen = experts_nA.shape[1]
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, expert in enumerate(experts_nA.flatten().tolist()):
            places[expert].append(place)
        y_XD = x_nD.new_empty(experts_nA.numel(), x_nD.shape[1])
        for expert, found in places.items():
            gate_up, down = self._experts[expert]
            at = torch.tensor(found)
            gate, up = gate_up(x_nD[at // chosen]).chunk(2, -1)
            y_XD[at] = down(functional.silu(gate) * up)
        return y_XD.unflatten(0, (-1, chosen))
