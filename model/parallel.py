# SPDX-License-Identifier: Apache-2.0
"""Training in several processes: `torchrun --nproc-per-node 2 -m interaction_node.model.train`."""

from __future__ import annotations

import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Ranks:
    """The processes that train together; one alone where torchrun did not start this one.

    Args:
        device: 'cpu' or 'cuda'; with several processes each takes a GPU of its own.

    Attributes:
        rank: Number of this process, from 0.
        world: Number of processes.
        device: Where this process trains.
    """

    def __init__(self, device: str):
        self.world = int(os.environ.get('WORLD_SIZE', '1'))
        self.rank = int(os.environ.get('RANK', '0'))
        self.device = torch.device(device)
        if self.world == 1:
            return
        if self.device.type == 'cuda':
            self.device = torch.device('cuda', int(os.environ['LOCAL_RANK']))
            torch.cuda.set_device(self.device)
        distributed.init_process_group('nccl' if self.device.type == 'cuda' else 'gloo')

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and the progress."""
        return self.rank == 0

    def together(self, module: nn.Module) -> nn.Module:
        """A module whose gradients are the mean over all processes, and its weights the first's.

        Sessions without pictures leave the eyes without gradients, hence the search for those.
        """
        if self.world == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=True)

    def agree(self, value: float) -> float:
        """The first process's value, in all of them."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared)

    def close(self) -> None:
        """Leaves the group, all at once: who left alone would tear connections that are in use."""
        if self.world > 1:
            distributed.barrier()
            distributed.destroy_process_group()
