# SPDX-License-Identifier: Apache-2.0
"""What every training does alike: a step of its optimisers, and a state that outlives a crash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def descend(
    net: nn.Module,
    average: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    rate: float,
    step: int,
    slowness: float,
) -> None:
    """Takes the step that the gradients ask for; the average of the weights follows.

    Args:
        net: Has gradients, which are cut to a norm of 1, used and dropped.
        average: A copy of it.
        optimisers: Of its weights.
        rate: Learning rate of this step.
        step: Steps before this one; early on the average follows faster.
        slowness: Share of the average that stays later on.
    """
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group['lr'] = rate
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    with torch.no_grad():
        slow: list[Tensor] = list(average.parameters())
        fast: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(slow, fast, 1 - min(slowness, (step + 1) / (step + 10)))


def warm_and_falling(peak: float, steps: int, warm_steps: int, decay: float) -> float:
    """Learning rate that rises at first and, when `decay` goes from 0 to 1, falls to 2 %.

    Args:
        peak: Highest rate.
        steps: Steps before this one.
        warm_steps: Steps in which it rises.
        decay: How much of the last phase is over, 0 to 1.
    """
    return peak * min(1.0, (steps + 1) / warm_steps) * (1 - 0.98 * math.sqrt(decay))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes what a training goes on from; a crash while writing leaves the old file."""
    fresh = path.with_suffix('.new')
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, fresh)
    fresh.replace(path)
