# SPDX-License-Identifier: Apache-2.0
"""Trains the interaction network: `python -m interaction_node.model.train --minutes 60`.

The learning rate warms up, stays, and decays only in a last phase (`--decay-minutes`), and an
average of the weights is kept all along: a run can be stopped, resumed and prolonged at any time.

Legend: B sessions, N micro-turns, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import re
import signal
import time
import warnings
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch._dynamo import config as dynamo
from tqdm import tqdm

from .checkpoint import build_net, load_checkpoint, preset
from .curves import draw_curves
from .data.feed import LENGTHS, Feed
from .data.tensors import Batch
from .descent import descend, save_state, warm_and_falling
from .interaction_net import InteractionNet
from .losses import (
    HEARD_WEIGHT,
    SOUND_WEIGHT,
    Losses,
    at_last_audio,
    compute_losses,
    to_tensors,
)
from .muon import Muon
from .parallel import Ranks
from .precision import training_autocast
from .tokens import default_vocabulary

# Gains of the front ends' norms stay fp32 among bf16 values, on purpose.
warnings.filterwarnings('ignore', 'Mismatch dtype between input and weight')

AVERAGE = 0.999
WARM_STEPS = 200
# Share of the batches in which the network reads the words that it heard itself.
OWN_HEARING = 0.4


def hear_for_itself(net: InteractionNet, batch: dict[str, Tensor], first_word: int) -> None:
    """Puts what the network makes of the words in the place of most of those that it reads.

    It then learns from its own mistakes: what was misheard must not carry it away. Words that it
    missed stay, and what it is to say stays.

    Args:
        net: The network.
        batch: From `to_tensors`; `ids` are changed in place.
        first_word: The least id of a word.
    """
    # With gradients, which are not used: a compiled network has no other way to go forward.
    logits = net.hear(at_last_audio(net(batch), batch, net.config.audio_tokens).detach())
    heard = batch['heard'].clone()
    heard[batch['valid']] = logits.argmax(-1)
    row, turn, slot = (batch['heard_pos'] >= 0).nonzero(as_tuple=True)
    word = heard[row, turn, slot]
    place = batch['heard_pos'][row, turn, slot]
    chosen = (word >= first_word) & (torch.rand(len(heard), device=word.device) < 0.8)[row]
    batch['ids'][row[chosen], place[chosen]] = word[chosen]


_MUON = re.compile(
    r'(qkvr_proj|o_proj|gate_up_proj|down_proj|mix|conv\d|gather|fold\d|merge|looks\.\d|mixes\.\d)\.weight$'
)


def build_optimisers(net: InteractionNet, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices; AdamW for embeddings, heads, first layers and vectors.

    Source: K. Jordan et al., "Muon", 2024; steps are scaled to the size of AdamW's, so that both
    share one learning rate.
    """
    hidden: list[Tensor] = []
    others: list[Tensor] = []
    vectors: list[Tensor] = []
    for name, parameter in net.named_parameters():
        if parameter.dim() < 2 or name.endswith(('weight_KC', 'rel_proj_RE')):
            vectors.append(parameter)
        else:
            (hidden if _MUON.search(name) else others).append(parameter)
    groups = [{'params': others, 'weight_decay': 0.05}, {'params': vectors, 'weight_decay': 0.0}]
    return [
        Muon(hidden, rate, weight_decay=0.05),
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98)),
    ]


class _Step(nn.Module):
    """Network and losses in one module: what several processes compute side by side."""

    def __init__(self, net: InteractionNet, boundaries: Tensor):
        super().__init__()
        self.net = net
        self.register_buffer('boundaries', boundaries, persistent=False)

    def forward(self, batch: dict[str, Tensor], *weights: float) -> Losses:
        return compute_losses(self.net, batch, self.get_buffer('boundaries'), *weights)


class Trainer:
    """State of a training run: weights, their average, optimiser, step count.

    Args:
        folder: Where checkpoints and curves go.
        preset_name: Preset of a new run; a run that exists in `folder` is resumed.
        learning_rate: Peak learning rate.
        ranks: The processes that train together, and where.
        init: Checkpoint that a new run goes on from; None for fresh weights.
        ear_dropout: Share of what blocks of the ear add that is dropped.

    Raises:
        ValueError: `init` is no checkpoint, or of another shape or vocabulary.
    """

    def __init__(
        self,
        folder: Path,
        preset_name: str,
        learning_rate: float,
        ranks: Ranks,
        init: Path | None = None,
        ear_dropout: float = 0.0,
    ):
        self.folder, self.device, self.ranks = folder, ranks.device, ranks
        self.config = preset(preset_name, len(default_vocabulary()))
        self.net = build_net(self.config).to(self.device)
        if self.net.ear is not None:
            self.net.ear.dropout = ear_dropout
        self.average = build_net(self.config).to(self.device)
        self.learning_rate, self.step, self.trained_s = learning_rate, 0, 0.0
        self._warm_from = 0
        if init is not None:
            self._begin_with(init)
        self.average.load_state_dict(self.net.state_dict())
        self.optimisers = build_optimisers(self.net, learning_rate)
        self._random = random.Random(ranks.rank)
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        ids = default_vocabulary().ids
        self.boundaries = torch.zeros(len(ids), dtype=torch.bool, device=self.device)
        self.boundaries[[ids['<silent>'], ids['<speak>']]] = True
        self._model = ranks.together(_Step(self.net, self.boundaries))

    @property
    def path(self) -> Path:
        """The resumable checkpoint."""
        return self.folder / 'state.pt'

    def _begin_with(self, checkpoint: Path) -> None:
        net, vocabulary, _, notes = load_checkpoint(checkpoint)
        # What a session adds to a score is no matter of shape.
        shape = dataclasses.replace(net.config, silence_bias=self.config.silence_bias)
        if shape != self.config or vocabulary.tokens != default_vocabulary().tokens:
            raise ValueError(
                f'init: {checkpoint} has another shape or vocabulary, expected that of the preset'
            )
        self.net.load_state_dict(net.state_dict())
        self.step, self.trained_s = notes.get('steps', 0), float(notes.get('trained_s', 0))
        self._warm_from = self.step

    def _resume(self) -> None:
        if not self.path.exists():
            return
        state = torch.load(self.path, map_location=self.device, weights_only=True)
        self.net.load_state_dict(state['net'], strict=False)
        self.average.load_state_dict(state['average'], strict=False)
        self.step, self.trained_s = state['step'], state['trained_s']
        for optimiser, kept in zip(self.optimisers, state['optimisers'], strict=True):
            optimiser.load_state_dict(kept)
            if not kept['state']:
                self._warm_from = self.step

    def save(self) -> None:
        """Writes the checkpoint; a crash while writing leaves the old one."""
        if not self.ranks.is_first:
            return
        save_state(
            self.path,
            {
                'net': self.net.state_dict(),
                'average': self.average.state_dict(),
                'optimisers': [optimiser.state_dict() for optimiser in self.optimisers],
                'step': self.step,
                'trained_s': self.trained_s,
            },
        )

    def rate(self, decay: float) -> float:
        """Learning rate now; `decay` runs from 0 to 1 in the last phase."""
        steps = self.step - self._warm_from
        return warm_and_falling(self.learning_rate, steps, WARM_STEPS, decay)

    def train_step(
        self,
        batch: Batch,
        decay: float = 0.0,
        heard_weight: float = HEARD_WEIGHT,
        sound_weight: float = SOUND_WEIGHT,
    ) -> Losses:
        """One step of the optimiser."""
        tensors = to_tensors(batch, self.device)
        with training_autocast(self.device):
            if self.config.heard_tokens and self._random.random() < OWN_HEARING:
                hear_for_itself(self.net, tensors, default_vocabulary().first_word)
            losses = self._model(tensors, heard_weight, sound_weight)
        losses.total.backward()
        losses.total = losses.total.detach()
        rate = self.rate(decay)
        descend(self.net, self.average, self.optimisers, rate, self.step, AVERAGE)
        self.step += 1
        return losses


def keep_ear(net: InteractionNet) -> None:
    """Trains no more of the ear than how the decoder is told what it hears."""
    for name, parameter in net.named_parameters():
        if name.startswith(('ear.', 'sounds.')) and not name.startswith('ear.merge'):
            parameter.requires_grad_(False)


def compile_net(net: InteractionNet, chunk: int = 256, backend: str = 'inductor') -> None:
    """Compiles decoder and eyes in place; pictures go in chunks of one size, so of one shape.

    Blocks of one type share what is compiled, so that a deep decoder takes no longer than two.
    """
    dynamo.recompile_limit = 64  # two types of block, several lengths, with video and not
    for block in net.transformer.blocks:
        block.compile(dynamic=False, backend=backend)
    if net.video is None:
        return
    see = torch.compile(net.video.forward, dynamic=False, backend=backend)

    def in_chunks(frames_X2HWC: Tensor) -> Tensor:
        count = len(frames_X2HWC)
        padding = frames_X2HWC.new_zeros(-count % chunk, *frames_X2HWC.shape[1:])
        padded = torch.cat([frames_X2HWC, padding])
        return torch.cat([see(part) for part in padded.split(chunk)])[:count]

    cast(nn.Module, net.video).forward = in_chunks


def train(arguments: argparse.Namespace) -> None:
    """Trains for some minutes and leaves checkpoint and curves."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    ranks = Ranks(arguments.device)
    trainer = Trainer(
        arguments.folder,
        arguments.preset,
        arguments.rate,
        ranks,
        arguments.init,
        arguments.ear_dropout,
    )
    if arguments.keep_ear:
        keep_ear(trainer.net)
    if arguments.compile:
        compile_net(trainer.net)
    practises = trainer.config.ear_sounds and not arguments.keep_ear
    feed = Feed(
        arguments.bank,
        arguments.seed + trainer.step + 1_000_003 * ranks.rank,
        arguments.tokens,
        arguments.variants,
        arguments.refresh_minutes * 60,
        heard_tokens=trainer.config.heard_tokens,
        processes=arguments.feeders,
        lengths=sorted(arguments.lengths),
        listening_s=arguments.listening_seconds if practises else 0.0,
    )
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    signal.signal(signal.SIGINT, lambda *_: stop.append(True))
    rows = arguments.folder / 'curves.jsonl'
    curves = (rows if ranks.is_first else Path(os.devnull)).open('a', encoding='utf-8')
    begun = last_save = time.monotonic()
    total_s = arguments.minutes * 60
    bar = tqdm(
        total=round(total_s), unit='s', desc='training', smoothing=0, disable=not ranks.is_first
    )
    sums: dict[str, float] = {}
    since = 0
    decay_s = arguments.decay_minutes * 60
    while True:
        elapsed = time.monotonic() - begun
        decay = max(0.0, (elapsed - (total_s - decay_s)) / decay_s) if decay_s else 0.0
        # One process decides for all: they must take the same steps.
        decay = ranks.agree(-1.0 if stop or elapsed >= total_s else decay)
        if decay < 0:
            break
        started = time.monotonic()
        try:
            batch = feed.next()
        except RuntimeError:
            trainer.save()
            raise
        waited = time.monotonic() - started
        losses = trainer.train_step(batch, decay, arguments.heard_weight, arguments.sound_weight)
        took = time.monotonic() - started
        trainer.trained_s += took
        since += 1
        figures = vars(losses) | {
            'total': losses.total.item(),
            'step_s': took,
            'wait_s': waited,
            'turns': int(batch.valid_BN.sum()),
            'tokens': int(batch.ids_BT.size),
        }
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + value
        bar.update(round(time.monotonic() - begun) - bar.n)
        if since == 20:
            row = {name: round(value / since, 5) for name, value in sums.items()}
            row |= {'step': trainer.step, 'trained_s': round(trainer.trained_s)}
            curves.write(json.dumps(row) + '\n')
            curves.flush()
            bar.set_postfix(
                step=trainer.step,
                out=f'{row["out_correct"]:.2f}',
                heard=f'{row["heard_correct"]:.2f}',
            )
            sums, since = {}, 0
        if time.monotonic() - last_save > arguments.save_minutes * 60:
            trainer.save()
            if ranks.is_first:
                draw_curves(rows, rows.with_suffix('.png'))
            last_save = time.monotonic()
    trainer.save()
    curves.close()
    if ranks.is_first:
        draw_curves(rows, rows.with_suffix('.png'))
    feed.close()
    bar.close()
    ranks.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Train the interaction network.')
    parser.add_argument('--minutes', type=float, default=60, help='how long to train')
    parser.add_argument('--decay-minutes', type=float, default=0, help='length of the last phase')
    parser.add_argument('--folder', type=Path, default=Path('.cache/train/nano'))
    parser.add_argument('--bank', type=Path, default=Path('.cache/bank'), help='phrase bank')
    parser.add_argument('--preset', default='nano')
    parser.add_argument(
        '--init', type=Path, help='checkpoint that a new run goes on from (model/nano.safetensors)'
    )
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--rate', type=float, default=1.5e-3, help='peak learning rate')
    parser.add_argument(
        '--heard-weight', type=float, default=HEARD_WEIGHT, help='weight of the transcript loss'
    )
    parser.add_argument(
        '--sound-weight', type=float, default=SOUND_WEIGHT, help='weight of the loss of the sounds'
    )
    parser.add_argument(
        '--listening-seconds',
        type=float,
        default=208,
        help='speech on which the ear alone practises, with each batch',
    )
    parser.add_argument(
        '--keep-ear',
        action='store_true',
        help='leave the ear as it is: steps take less time',
    )
    parser.add_argument(
        '--ear-dropout',
        type=float,
        default=0.05,
        help='share of what blocks of the ear add that is dropped: it errs as on unknown voices',
    )
    parser.add_argument('--tokens', type=int, default=8192, help='padded tokens in a batch')
    parser.add_argument(
        '--lengths',
        type=int,
        nargs='+',
        default=LENGTHS,
        help='padded lengths of sessions: fewer are compiled sooner, more waste less',
    )
    parser.add_argument('--variants', type=int, default=4, help='augmentations of each clip')
    parser.add_argument('--refresh-minutes', type=float, default=0, help='read a grown bank again')
    parser.add_argument(
        '--feeders', type=int, default=1, help='processes that mix sessions; a GPU wants several'
    )
    parser.add_argument('--save-minutes', type=float, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--compile', action='store_true', help='compile the decoder first')
    parser.add_argument('--seed', type=int, default=0)
    train(parser.parse_args())


if __name__ == '__main__':
    main()
