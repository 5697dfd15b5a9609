# SPDX-License-Identifier: Apache-2.0
"""Where kernels run, and a record of what would be launched."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

# Rows of every tile. A token's result is the same bits in any row of any tile, so the same kernel
# serves one token, a micro-turn and a training sequence; 16 is the least that tensor cores take.
ROWS = 16
KERNELS_NEED = 'they need Triton and a GPU of compute capability 8.0 or above'


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel.

    Attributes:
        kernel: The `triton.jit` function.
        grid: Programs along each axis.
        args: Positional arguments.
        options: Compile-time constants, `num_warps` and `num_stages`.
    """

    kernel: Any
    grid: tuple[int, ...]
    args: tuple[Any, ...]
    options: dict[str, Any]


_record: list[Launch] | None = None


@contextlib.contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Notes launches instead of running them; for tensors on the meta device.

    Yields:
        The launches so far.
    """
    global _record
    before, _record = _record, []
    try:
        yield _record
    finally:
        _record = before


def launch(kernel: Any, grid: tuple[int, ...], *args: Any, **options: Any) -> None:
    """Runs a kernel, or notes it inside `recorded`."""
    if _record is not None:
        _record.append(Launch(kernel, grid, args, options))
    else:
        kernel[grid](*args, **options)


def runs_kernels(x: torch.Tensor) -> bool:
    """Whether a tensor goes through Triton: on CUDA, in its interpreter, or to be recorded."""
    return x.is_cuda or x.is_meta or os.environ.get('TRITON_INTERPRET') == '1'


def can_launch(device: torch.device) -> bool:
    """Whether kernels with bf16 weights run on a device."""
    if device.type != 'cuda' or importlib.util.find_spec('triton') is None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def blocks(size: int, block: int) -> int:
    """Number of blocks that cover a size."""
    return -(-size // block)


def power_of_two(size: int, least: int = 1) -> int:
    """The smallest power of two that is neither below `size` nor below `least`."""
    return max(least, 1 << max(0, size - 1).bit_length())
