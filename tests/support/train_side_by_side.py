# SPDX-License-Identifier: Apache-2.0
"""Run by torchrun: one of several processes that train together; writes down what it saw."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from interaction_node.model.data.feed import load_store
from interaction_node.model.data.sessions import SessionFactory
from interaction_node.model.data.tensors import collate
from interaction_node.model.losses import compute_losses, to_tensors
from interaction_node.model.parallel import Ranks
from interaction_node.model.tokens import default_vocabulary
from interaction_node.model.train import Trainer

STEPS = 12


def gradients(net) -> torch.Tensor:
    """All gradients in one row, zeros where there are none; and forgets them."""
    row = torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in net.parameters()]
    ).clone()
    net.zero_grad(set_to_none=True)
    return row


def gathered(row: torch.Tensor) -> list[torch.Tensor]:
    """The row of every process."""
    rows = [torch.empty_like(row) for _ in range(distributed.get_world_size())]
    distributed.all_gather(rows, row)
    return rows


def main(bank: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    ranks = Ranks('cpu')
    vocabulary = default_vocabulary()
    # Only one process has pictures: the eyes get gradients from it alone.
    theme = 'watch_count' if ranks.rank else 'command'
    factory = SessionFactory(load_store(bank, 'train', 0), vocabulary, ranks.rank, {theme: 1.0})
    sessions = [factory.make() for _ in range(40)]
    sessions = [s for s in sessions if (s.frames_N is not None) == bool(ranks.rank)][:2]
    batch = collate(sessions, vocabulary, np.random.default_rng(ranks.rank), replace=0.0)
    trainer = Trainer(folder, 'tiny', 3e-3, ranks)
    facts = {
        'rank': ranks.rank,
        'first_step': trainer.step,
        'pictures': batch.frames_BN is not None,
    }
    tensors = to_tensors(batch, ranks.device)

    compute_losses(trainer.net, tensors, trainer.boundaries).total.backward()
    own = gradients(trainer.net)
    trainer._model(tensors, 0.5).total.backward()
    shared = gathered(gradients(trainer.net))
    mean = torch.stack(gathered(own)).mean(0)
    facts['gradients_equal'] = bool(torch.equal(shared[0], shared[1]))
    facts['gradients_are_the_mean'] = bool(torch.allclose(shared[0], mean, rtol=1e-4, atol=1e-6))
    facts['own_gradients_differ'] = not torch.allclose(own, mean, rtol=1e-2, atol=1e-6)

    facts['losses'] = [float(trainer.train_step(batch).total) for _ in range(STEPS)]
    weights = gathered(torch.cat([p.detach().flatten() for p in trainer.net.parameters()]))
    facts['weights_equal'] = bool(torch.equal(weights[0], weights[1]))
    averages = gathered(torch.cat([p.detach().flatten() for p in trainer.average.parameters()]))
    facts['averages_equal'] = bool(torch.equal(averages[0], averages[1]))
    trainer.save()
    (folder / f'rank{ranks.rank}.json').write_text(json.dumps(facts), 'utf-8')
    ranks.close()


if __name__ == '__main__':
    main(Path(sys.argv[1]), Path(sys.argv[2]))
