# SPDX-License-Identifier: Apache-2.0
"""A piece of work as a CUDA graph: one replay instead of tens or hundreds of launches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Captured:
    """A function of one tensor, captured once and replayed from then on; off CUDA just called.

    Args:
        work: Asks nothing of the host, and launches the same whatever the values are. It is run
            twice here, so that whatever it remembers has to be reset afterwards.
        x: Input of the shape and on the device that are meant.
        pool: Memory that captures share which never run at the same time, from
            `torch.cuda.graph_pool_handle`; None for memory of its own.
    """

    def __init__(self, work: Callable[[Tensor], Tensor], x: Tensor, pool: Any = None):
        self._graph: torch.cuda.CUDAGraph | None = None
        if not x.is_cuda:
            self._work, self._y = work, x
            return
        self._x = torch.zeros_like(x)
        with torch.no_grad(), torch.cuda.device_of(x):
            # Compiles kernels, and allocates what a graph must not allocate.
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                work(self._x)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, pool):
                self._y = work(self._x)

    def __call__(self, x: Tensor) -> Tensor:
        """Runs the work; on CUDA its result is overwritten by the next call."""
        if self._graph is None:
            self._y = self._work(x)
            return self._y
        self._x.copy_(x, non_blocking=True)
        self._graph.replay()
        return self._y

    def wait(self) -> Tensor:
        """Waits for the result of the last call, and brings it to the host.

        Nothing else in a micro-turn waits for the device.
        """
        return self._y.cpu()

    def read(self, x: Tensor) -> Tensor:
        """Runs the work and waits for its result, which is on the host."""
        self(x)
        return self.wait()


def put(x: Tensor, device: torch.device) -> Tensor:
    """Moves a tensor of the host to a device, without waiting until it is there."""
    host = x.pin_memory() if device.type == 'cuda' else x
    return host.to(device, non_blocking=True)


def when(chosen: Tensor, work: Callable[[], None]) -> None:
    """Does a piece of work if a tensor says so, without asking the host where that can be.

    Args:
        chosen: One bool. Captured work looks at it in every replay; off CUDA it is looked at now.
        work: What it makes it writes into tensors that were there before. On CUDA outside of a
            capture it is always done, so that all it needs has been compiled.
    """
    chosen = chosen.view(())
    if not chosen.is_cuda:
        if chosen:
            work()
    elif torch.cuda.is_current_stream_capturing():
        graph = torch.cuda.CUDAGraph.get_currently_capturing_graph()
        graph.begin_capture_to_if_node(chosen)
        try:
            work()
        finally:
            graph.end_capture_to_conditional_node()
    else:
        work()


def can_branch(device: torch.device) -> bool:
    """Whether a CUDA graph can leave out a part of itself: since CUDA 12.4, driver included."""
    if device.type != 'cuda':
        return False
    runtime = tuple(int(part) for part in (torch.version.cuda or '0').split('.')[:2])
    knows = hasattr(torch.cuda.CUDAGraph, 'begin_capture_to_if_node')
    driver = getattr(torch._C, '_cuda_getDriverVersion', int)  # only a build for CUDA has it
    return knows and runtime >= (12, 4) and driver() >= 12040
