# SPDX-License-Identifier: Apache-2.0
"""Muon for CPUs without bf16.

PyTorch's Muon orthogonalises in bf16, which such CPUs work out number by number: seconds a step for
`nano`. Here it is done in fp32, for all matrices of one shape at once.

Dims: S matrices of one shape, A and B their sides, A the shorter one.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from .precision import has_bf16


class Muon(torch.optim.Muon):
    """PyTorch's Muon with Nesterov's momentum, and states that either can load.

    Source: K. Jordan et al., "Muon", 2024; step sizes of J. Liu et al., "Muon is Scalable for LLM
    Training", 2025.

    Args:
        params: Matrices.
        lr: Learning rate, as AdamW's.
        weight_decay: Share of the weights that a step takes away, times `lr`.
    """

    def __init__(self, params: list[Tensor], lr: float, weight_decay: float):
        super().__init__(params, lr, weight_decay, adjust_lr_fn='match_rms_adamw')

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step, from the gradients that are there."""
        if has_bf16(self.param_groups[0]['params'][0].device):
            super().step()
            return
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group['params']:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                self._move(parameters, group)

    def _move(self, parameters: list[Tensor], group: dict) -> None:
        updates = []
        for parameter in parameters:
            grad, state = parameter.grad, self.state[parameter]
            assert grad is not None
            if 'momentum_buffer' not in state:
                state['momentum_buffer'] = torch.zeros_like(grad)
            state['momentum_buffer'].lerp_(grad, 1 - group['momentum'])
            updates.append(grad.lerp(state['momentum_buffer'], group['momentum']))
        made = orthogonalise(
            torch.stack(updates), group['ns_coefficients'], group['ns_steps'], group['eps']
        )
        rate = group['lr'] * 0.2 * max(parameters[0].shape) ** 0.5
        for parameter, update in zip(parameters, made, strict=True):
            parameter.mul_(1 - group['lr'] * group['weight_decay'])
            parameter.add_(update, alpha=-rate)


def orthogonalise(
    matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Brings all singular values near 1, by Newton and Schulz's iteration of fifth order.

    Args:
        matrices: (S, A, B) or (S, B, A).
        coefficients: Of the first, third and fifth power.
        steps: Iterations.
        eps: Least norm that is divided by.

    Returns:
        Of the same shape.
    """
    first, third, fifth = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x_SAB = matrices.mT if tall else matrices
    x_SAB = x_SAB / x_SAB.flatten(1).norm(dim=1).clamp(min=eps)[:, None, None]
    for _ in range(steps):
        gram_SAA = x_SAB @ x_SAB.mT
        gram_SAA = torch.baddbmm(gram_SAA, gram_SAA, gram_SAA, beta=third, alpha=fifth)
        x_SAB = torch.baddbmm(x_SAB, gram_SAA, x_SAB, beta=first)
    return x_SAB.mT if tall else x_SAB
