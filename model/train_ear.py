# SPDX-License-Identifier: Apache-2.0
"""Trains the ear alone: `python -m interaction_node.model.train_ear --minutes 60`.

Whether a word is understood is decided in the ear. By itself, on speech without pauses, it hears
far more in the same time than when the whole network is trained. What it tells the decoder is
fitted to what it told before, so that the decoder knows it again; `train --init` then trains both
together.

Legend: R rows, F frames of 20 ms, M mel bins, C channels of the ear, D width of a token, K channels
of all frames of a token.
"""

from __future__ import annotations

import argparse
import copy
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .checkpoint import load_checkpoint, save_checkpoint
from .data.feed import LISTENING_FRAMES, load_store, voice_weights
from .data.sessions import SessionFactory
from .descent import descend, save_state, warm_and_falling
from .interaction_net import Ear
from .losses import sound_loss
from .precision import training_autocast
from .session import DEFAULT_CHECKPOINT
from .tokens import default_vocabulary
from .train import build_optimisers

AVERAGE = 0.998
DROPOUT = 0.1
WARM_STEPS = 100
SHOWN = 20  # steps between rows of the curve
RIDGE = 1e-3  # of the fit, as a share of the mean square of what the ear says


class EarTrainer:
    """State of a training: the network whose ear is trained, its average, optimisers.

    Args:
        folder: Where state and curve go; a training that exists there is resumed.
        init: Checkpoint with the network.
        rate: Peak learning rate.
        dropout: Share of what its blocks add that is dropped.

    Raises:
        ValueError: The network has no ear that tells sounds apart.
    """

    def __init__(self, folder: Path, init: Path, rate: float, dropout: float = DROPOUT):
        self.net, self._vocabulary, self._extra, self._notes = load_checkpoint(init)
        if self.net.ear is None or not self.net.config.ear_sounds:
            raise ValueError(f'init: {init} has no ear that tells sounds apart')
        self.net.train()
        self.before: Ear = copy.deepcopy(self.net.ear).eval()
        self.net.ear.dropout = dropout
        self.hearing = nn.ModuleList([self.net.ear, self.net.sounds])
        self.average = copy.deepcopy(self.hearing)
        for parameter in self.net.parameters():
            parameter.requires_grad_(False)
        for parameter in self.hearing.parameters():
            parameter.requires_grad_(True)
        self.net.ear.merge.requires_grad_(False)
        self.rate, self.step, self.folder = rate, 0, folder
        self.optimisers = build_optimisers(self.net, rate)
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._resume()

    @property
    def path(self) -> Path:
        """The resumable state."""
        return self.folder / 'state.pt'

    def train_step(self, levels_RFM: np.ndarray, sounds_RF: np.ndarray, decay: float) -> dict:
        """One step.

        Args:
            levels_RFM: (R, F, M) in [0, 1].
            sounds_RF: (R, F) int8.
            decay: From 0 to 1 in the last phase.

        Returns:
            Cross-entropy and the share of frames of speech whose sound is right.
        """
        rate = warm_and_falling(self.rate, self.step, WARM_STEPS, decay)
        batch = {
            'practice': torch.from_numpy(np.round(levels_RFM * 255).astype(np.uint8)),
            'practice_sounds': torch.from_numpy(sounds_RF),
        }
        with training_autocast(torch.device('cpu')):
            loss, correct = sound_loss(self.net, batch)
        loss.backward()
        descend(self.hearing, self.average, self.optimisers, rate, self.step, AVERAGE)
        self.step += 1
        return {'sound': loss.item(), 'sound_correct': correct}

    def compile(self) -> None:
        """Compiles the ear that is trained; its copies stay as they are."""
        assert self.net.ear is not None
        self.net.ear.compile()

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.hearing.load_state_dict(state['hearing'])
        self.average.load_state_dict(state['average'])
        self.step = state['step']
        for optimiser, kept in zip(self.optimisers, state['optimisers'], strict=True):
            optimiser.load_state_dict(kept)

    def save(self) -> None:
        """Writes the state; a crash while writing leaves the old one."""
        state = {
            'hearing': self.hearing.state_dict(),
            'average': self.average.state_dict(),
            'optimisers': [optimiser.state_dict() for optimiser in self.optimisers],
            'step': self.step,
        }
        save_state(self.path, state)

    def write(self, output: Path, levels_RFM: Tensor) -> float:
        """Writes the network with the averaged ear, fitted to what the ear told before.

        Args:
            output: Checkpoint to write.
            levels_RFM: (R, F, M) in [0, 1], what sessions sound like.

        Returns:
            Share of the variance of what was told before that the new ear tells, too.
        """
        net = copy.deepcopy(self.net)
        ear, sounds = copy.deepcopy(self.average).eval()
        assert isinstance(ear, Ear) and isinstance(sounds, nn.Linear)
        explained = fit_merge(ear, self.before, levels_RFM)
        net.ear, net.sounds = ear, sounds
        notes = self._notes | {'ear_steps': self.step}
        save_checkpoint(output, net, self._vocabulary, self._extra, notes)
        return explained


@torch.no_grad()
def fit_merge(ear: Ear, before: Ear, levels_RFM: Tensor) -> float:
    """Lets an ear tell the decoder what another one told, as nearly as a linear map can.

    Args:
        ear: Its `merge` is changed (ridge regression towards that of `before`).
        before: The ear that the decoder knows.
        levels_RFM: (R, F, M) in [0, 1]; F is a multiple of a token's frames.

    Returns:
        Share of the variance that is kept.
    """
    told_XD = before.merged(_heard(before, levels_RFM)).flatten(0, 1).double()
    heard_RFC = _heard(ear, levels_RFM)
    heard_XK = heard_RFC.unflatten(1, (-1, ear.frames)).flatten(2).flatten(0, 1).double()
    square_KK = heard_XK.T @ heard_XK
    square_KK.diagonal().add_(RIDGE * square_KK.diagonal().mean())
    fitted_KD = torch.linalg.solve(square_KK, heard_XK.T @ told_XD)
    ear.merge.weight.copy_(fitted_KD.T)
    missed = (told_XD - heard_XK @ fitted_KD).square().sum()
    return float(1 - missed / (told_XD - told_XD.mean(0)).square().sum())


def _heard(ear: Ear, levels_RFM: Tensor) -> Tensor:
    """(R, F, C) what an ear makes of rows that begin after silence."""
    silence = [each.expand(len(levels_RFM), -1, -1) for each in ear.silence()]
    return ear(levels_RFM * 2 - 1, silence)[0]


class Listening:
    """Speech without end from a phrase bank, which may grow meanwhile.

    Args:
        bank: Folder of the phrase bank.
        rows: Voices at a time.
        variants: Augmented renderings of each clip.
        refresh_s: Seconds after which a grown bank is read again; 0 for never.
        seed: Seed.

    Raises:
        ValueError: The bank has no speech to train on.
    """

    def __init__(self, bank: Path, rows: int, variants: int, refresh_s: float, seed: int):
        self._bank, self._rows, self._variants = bank, rows, variants
        self._refresh_s, self._seed = refresh_s or float('inf'), seed
        self._factory = self._read()

    def _read(self) -> SessionFactory:
        store = load_store(self._bank, 'train', self._variants)
        if not store.voices:
            raise ValueError(f'bank: {self._bank} has no speech to train on, see docs/data.md')
        self._seed += 1
        weights = voice_weights(store)
        return SessionFactory(store, default_vocabulary(), self._seed, None, weights)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        read = time.monotonic()
        while True:
            if time.monotonic() - read > self._refresh_s:
                self._factory, read = self._read(), time.monotonic()
            yield self._factory.listen(self._rows, LISTENING_FRAMES)

    def sessions(self, rows: int, frames: int) -> Tensor:
        """(rows, frames, M) sound of the first frames of long enough sessions, in [0, 1]."""
        sounds: list[np.ndarray] = []
        while len(sounds) < rows:
            user_NFM = self._factory.make().user_NFM
            heard_FM = user_NFM.reshape(-1, user_NFM.shape[-1])
            if len(heard_FM) >= frames:
                sounds.append(heard_FM[:frames].astype(np.float32))
        return torch.from_numpy(np.stack(sounds))


def train(options: argparse.Namespace) -> None:
    """Trains for some minutes and leaves a checkpoint."""
    torch.set_num_threads(options.threads)
    trainer = EarTrainer(options.folder, options.init, options.rate, options.dropout)
    if options.compile:
        trainer.compile()
    seed = options.seed + trainer.step
    data = Listening(
        options.bank, options.rows, options.variants, options.refresh_minutes * 60, seed
    )
    stop: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    signal.signal(signal.SIGINT, lambda *_: stop.append(True))
    begun, total_s, decay_s = time.monotonic(), options.minutes * 60, options.decay_minutes * 60
    shown: dict[str, float] = {}
    with (
        (options.folder / 'curve.jsonl').open('a', encoding='utf-8') as curve,
        tqdm(total=round(total_s), unit='s', desc='ear') as bar,
    ):
        for levels_RFM, sounds_RF in data:
            elapsed = time.monotonic() - begun
            if stop or elapsed >= total_s:
                break
            decay = max(0.0, 1 - (total_s - elapsed) / decay_s) if decay_s else 0.0
            for name, value in trainer.train_step(levels_RFM, sounds_RF, decay).items():
                shown[name] = value + 0.95 * (shown.get(name, value) - value)
            bar.update(round(elapsed) - bar.n)
            bar.set_postfix(step=trainer.step, right=f'{shown["sound_correct"]:.3f}')
            if trainer.step % SHOWN == 0:
                row = {name: round(value, 4) for name, value in shown.items()}
                curve.write(json.dumps(row | {'step': trainer.step}) + '\n')
                curve.flush()
            if trainer.step % 200 == 0:
                trainer.save()
    trainer.save()
    output = options.output or options.folder / 'net.safetensors'
    explained = trainer.write(output, data.sessions(64, 600))
    print(f'{output}: keeps {explained:.0%} of what the decoder was told before')


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Train the ear of a network alone.')
    parser.add_argument('--minutes', type=float, default=60, help='how long to train')
    parser.add_argument('--decay-minutes', type=float, default=40, help='length of the last phase')
    parser.add_argument('--init', type=Path, default=DEFAULT_CHECKPOINT, help='a checkpoint')
    folder = Path('.cache/train/ear_alone')
    parser.add_argument('--folder', type=Path, default=folder, help='state and curve')
    parser.add_argument(
        '--output', type=Path, help='checkpoint to write (default: net.safetensors in that folder)'
    )
    parser.add_argument('--bank', type=Path, default=Path('.cache/bank'), help='phrase bank')
    parser.add_argument('--rate', type=float, default=1.5e-3, help='peak learning rate')
    parser.add_argument(
        '--dropout',
        type=float,
        default=DROPOUT,
        help='share of what its blocks add that is dropped',
    )
    parser.add_argument('--rows', type=int, default=8, help='pieces of 16 s of speech in a step')
    parser.add_argument('--variants', type=int, default=10, help='augmentations of each clip')
    parser.add_argument('--refresh-minutes', type=float, default=0, help='read a grown bank again')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--compile', action='store_true', help='torch.compile, a minute at first')
    try:
        train(parser.parse_args())
    except ValueError as error:
        parser.exit(1, f'train_ear: {error}\n')


if __name__ == '__main__':
    main()
