# SPDX-License-Identifier: Apache-2.0
"""Numbers that a training step computes with: bf16 where the hardware has it, else fp32."""

from __future__ import annotations

import functools

import torch


def training_autocast(device: torch.device | str) -> torch.autocast:
    """A context for the forward pass, bf16 on GPUs and on CPUs that have instructions for it.

    Other CPUs work bf16 out number by number, which made a step of the flow head nine times as
    slow there as fp32.

    Args:
        device: Where the step runs.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=has_bf16(device))


def has_bf16(device: torch.device | str) -> bool:
    """Whether a device has instructions for bf16; GPUs do."""
    return torch.device(device).type != 'cpu' or _cpu_has_bf16()


@functools.cache
def _cpu_has_bf16() -> bool:
    """Whether any extension for bf16 is there: AVX-512, AMX or Arm's."""
    return any(there for name, there in torch.cpu.get_capabilities().items() if 'bf16' in name)
