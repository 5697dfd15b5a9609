# SPDX-License-Identifier: Apache-2.0
"""Trains the flow head on word-aligned recordings of the robot's voice.

python -m interaction_node.model.train_flow --data .cache/bank --minutes 60

With --init it goes on from the head of a checkpoint, whose words and scales it keeps.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import torch
from torch.nn import functional
from tqdm import tqdm

from interaction_node.model import speech_features as sf
from interaction_node.model.checkpoint import load_checkpoint
from interaction_node.model.data.bank import DEFAULT_ROOT
from interaction_node.model.descent import descend, save_state
from interaction_node.model.flow_head import Condition, FlowConfig, FlowHead, deepen
from interaction_node.model.precision import training_autocast
from interaction_node.model.speech_lines import Lines, LineSampler, load_lines
from interaction_node.model.speech_out import SpeechOut

END_WEIGHT = 0.1
EMA = 0.999
DRAWS = 2


def time_samples(count: int, generator: torch.Generator) -> torch.Tensor:
    """Logit-normal times, (B,), a tenth of them uniform so that the ends are seen too."""
    normal = torch.sigmoid(torch.randn(count, generator=generator))
    uniform = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.1, uniform, normal)


def flow_loss(
    head: FlowHead, batch: dict[str, torch.Tensor], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared error of the velocity, and cross-entropy of the end flag."""
    target = head.normalise(batch['target_BTF'])
    count = len(target)
    past_noise = torch.rand(count, generator=generator) * 0.6
    past_noise[torch.rand(count, generator=generator) < 0.15] = 0
    past = batch['past_BPF']
    past = past + torch.randn(past.shape, generator=generator) * past_noise[:, None, None]
    condition = head.condition(batch['letters_BLC'], past, batch['begun_B'], past_noise)
    # Several times and noises a condition: encoding it costs as much as the frames do.
    condition = Condition(
        condition.memory_BMW.repeat(DRAWS, 1, 1),
        condition.mask_BM.repeat(DRAWS, 1),
        condition.summary_BW.repeat(DRAWS, 1),
    )
    target = target.repeat(DRAWS, 1, 1)
    noise = torch.randn(target.shape, generator=generator)
    at = time_samples(count * DRAWS, generator)
    mixed = noise + at[:, None, None] * (target - noise)
    velocity, end = head.velocity(mixed, at, condition)
    weight = torch.ones_like(target)
    # Where there is no voice, the pitch is a guess.
    voicing = batch['target_BTF'][..., sf.VOICING_INDEX].repeat(DRAWS, 1)
    weight[..., sf.PITCH_INDEX] = 0.05 + voicing
    error = (weight * (velocity.float() - (target - noise)).square()).mean()
    over = batch['end_B'].repeat(DRAWS)
    return error, functional.binary_cross_entropy_with_logits(end.float(), over)


@torch.no_grad()
def replay(head: FlowHead, before: dict[str, torch.Tensor], generator: torch.Generator):
    """Makes the block before with the head itself, (B, 10, 82) normalised.

    Training on its own past teaches the head to recover from its own slips.
    """
    noise = torch.full((len(before['begun_B']),), 0.1)
    past = before['past_BPF']
    past = past + torch.randn(past.shape, generator=generator) * 0.1
    condition = head.condition(before['letters_BLC'], past, before['begun_B'], noise)
    shape = (len(past), sf.FRAMES_PER_BLOCK, sf.N_FEATURES)
    made, _ = head.make(0.8 * torch.randn(shape, generator=generator), condition, 2)
    return made.float()


class Trainer:
    """Trains a head for a given time, keeping an average of its weights.

    Args:
        lines: What the voice says.
        out: Checkpoint; training carries on from it where it exists.
        minutes: Processor time in all, so that a busy machine changes nothing.
        batch: Blocks a step.
        rate: Highest learning rate.
        seed: Decides everything that is drawn.
        init: What a new training starts from; None for a fresh head.
    """

    def __init__(
        self,
        lines: Lines,
        out: Path,
        minutes: float,
        batch: int,
        rate: float,
        seed: int,
        init: FlowHead | None = None,
    ):
        torch.manual_seed(seed)
        self.out, self.budget_s, self.rate = out, minutes * 60, rate
        saved = torch.load(out, weights_only=True) if out.exists() else None
        self.head = FlowHead.from_state(saved['head']) if saved else init or _new_head(lines)
        self.average = copy.deepcopy(self.head).requires_grad_(False)
        decay = [p for p in self.head.parameters() if p.ndim > 1]
        plain = [p for p in self.head.parameters() if p.ndim < 2]
        groups = [{'params': decay, 'weight_decay': 0.03}, {'params': plain, 'weight_decay': 0.0}]
        self.optimiser = torch.optim.AdamW(groups, rate, betas=(0.9, 0.98))
        self.step, self.spent_s = 0, 0.0
        if saved:
            self._resume(saved)
        self.sampler = LineSampler(lines, self.head.vocabulary, batch, seed + self.step)
        self.generator = torch.Generator().manual_seed(seed + self.step)

    def run(self) -> FlowHead:
        """Trains until the time is over; returns the averaged head."""
        began, start_s = time.process_time(), self.spent_s
        shown: dict[str, float] = {}
        with tqdm(total=int(self.budget_s), unit='s', mininterval=5, desc='flow head') as bar:
            while self.spent_s < self.budget_s:
                for name, value in self._train_step().items():
                    shown[name] = value + 0.98 * (shown.get(name, value) - value)
                self.step += 1
                self.spent_s = start_s + time.process_time() - began
                bar.n = int(self.spent_s)
                bar.set_postfix(step=self.step, **{k: f'{v:.4f}' for k, v in shown.items()})
                if self.step % 300 == 0:
                    self._save()
        self._save()
        return self.average

    def _train_step(self) -> dict[str, float]:
        progress = min(1.0, self.spent_s / self.budget_s)
        rate = self.rate * min(1, (self.step + 1) / 300)
        rate *= max(0.02, 0.5 + 0.5 * math.cos(math.pi * progress))
        batch, before = self.sampler.draw()
        batch['past_BPF'] = self.head.normalise(batch['past_BPF'])
        with training_autocast('cpu'):
            if progress > 0.3 and self.step % 2:
                before['past_BPF'] = self.head.normalise(before['past_BPF'])
                made = replay(self.average, before, self.generator)
                later = batch['begun_B'] > 0
                batch['past_BPF'][later, -sf.FRAMES_PER_BLOCK :] = made[later]
            error, end = flow_loss(self.head, batch, self.generator)
        (error + END_WEIGHT * end).backward()
        descend(self.head, self.average, [self.optimiser], rate, self.step, EMA)
        return {'loss': error.item(), 'end': end.item()}

    def _resume(self, saved: dict) -> None:
        self.average.load_state_dict(saved['average'])
        self.optimiser.load_state_dict(saved['optimiser'])
        self.step, self.spent_s = saved['step'], saved['spent_s']

    def _save(self) -> None:
        saved = {
            'head': self.head.state_dict(),
            'average': self.average.state_dict(),
            'optimiser': self.optimiser.state_dict(),
            'step': self.step,
            'spent_s': self.spent_s,
        }
        save_state(self.out, saved)


def _new_head(lines: Lines) -> FlowHead:
    """A fresh head that knows the words and the scale of the lines."""
    head = FlowHead(lines.vocabulary())
    mean, scale = lines.statistics()
    head.mean_F.copy_(mean)
    head.scale_F.copy_(scale)
    return head


def _shipped_head(checkpoint: Path) -> FlowHead:
    """The head of a checkpoint, with more layers where a new one has more."""
    head = SpeechOut.from_state(load_checkpoint(checkpoint)[2]).head
    now, new = head.config, FlowConfig()
    deeper = deepen(head, max(now.layers, new.layers), max(now.text_layers, new.text_layers))
    return deeper.train()


def main(args: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, nargs='+', default=[DEFAULT_ROOT], help='phrase banks')
    parser.add_argument('--out', type=Path, default=Path('.cache/train/flow/head.pt'))
    parser.add_argument('--minutes', type=float, default=60.0, help='processor time')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--rate', type=float, default=1.5e-3)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--init', type=Path, help='checkpoint whose head it starts from')
    given = parser.parse_args(args)
    init = None
    if given.init:
        try:
            init = _shipped_head(given.init)
        except ValueError as error:
            parser.error(str(error))
    lines = load_lines(given.data, cache=given.out.with_name('lines.pt'))
    Trainer(lines, given.out, given.minutes, given.batch, given.rate, given.seed, init).run()


if __name__ == '__main__':
    main()
