# SPDX-License-Identifier: Apache-2.0
"""Trains the vocoder on recordings of one voice.

python -m interaction_node.model.train_vocoder --data .cache/bank --minutes 30
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from interaction_node.model import speech_features as sf
from interaction_node.model.data.bank import DEFAULT_ROOT, Bank
from interaction_node.model.descent import save_state
from interaction_node.model.vocoder import Vocoder

CROP_FRAMES = 48
WARM_FRAMES = 8
RESOLUTIONS = ((2048, 512), (1024, 256), (512, 128), (256, 64))


@dataclass(frozen=True)
class Recording:
    """One utterance and its features.

    Attributes:
        wave_N: (320 T,) float32.
        features_TF: (T, 82) float32.
    """

    wave_N: torch.Tensor
    features_TF: torch.Tensor


def load_recordings(roots: Sequence[Path], limit: int) -> list[Recording]:
    """Reads what the robot says from phrase banks and computes its features.

    Args:
        roots: Folders of banks.
        limit: Clips at most, evenly spread.
    """
    clips = [clip for root in roots for clip in Bank.load(root, 'robot')]
    chosen = clips[:: max(1, len(clips) // limit)]
    return [as_recording(clip.audio) for clip in tqdm(chosen, desc='features', mininterval=2)]


def as_recording(pcm: np.ndarray) -> Recording:
    """Pads an utterance (int16) to whole frames with silence around it; computes its features."""
    wave_N = np.asarray(pcm, np.float32) / 32768
    lead = WARM_FRAMES * sf.HOP
    wave = np.pad(wave_N, (lead, lead + -len(wave_N) % sf.HOP))
    wave = np.pad(wave, (0, max(0, CROP_FRAMES * sf.HOP - len(wave))))
    return Recording(torch.from_numpy(wave.astype(np.float32)), sf.features(wave))


def crops(
    recordings: list[Recording], batch: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws excerpts, longer recordings more often: features (B, T, 82) and waves (B, 320 T)."""
    lengths = torch.tensor([float(len(r.features_TF)) for r in recordings])
    chosen = torch.multinomial(lengths, batch, replacement=True, generator=generator)
    features, waves = [], []
    for index in chosen.tolist():
        recording = recordings[index]
        last = len(recording.features_TF) - CROP_FRAMES
        first = int(torch.randint(0, last + 1, (1,), generator=generator))
        features.append(recording.features_TF[first : first + CROP_FRAMES])
        waves.append(recording.wave_N[first * sf.HOP : (first + CROP_FRAMES) * sf.HOP])
    return torch.stack(features), torch.stack(waves)


def magnitudes(wave_BN: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    """Magnitude spectrogram, (B, frames, bins)."""
    frames = wave_BN.unfold(-1, n_fft, hop) * torch.hann_window(n_fft)
    return torch.sqrt(torch.fft.rfft(frames).abs().square() + 1e-7)


def spectral_loss(made_BN: torch.Tensor, true_BN: torch.Tensor) -> torch.Tensor:
    """Multi-resolution spectral convergence and log-magnitude distance (arXiv:1910.11480)."""
    total = torch.zeros(())
    for n_fft, hop in RESOLUTIONS:
        made, true = magnitudes(made_BN, n_fft, hop), magnitudes(true_BN, n_fft, hop)
        scale = (n_fft * 0.375) ** 0.5
        floor = 1e-3 * scale
        log_distance = (torch.log(made + floor) - torch.log(true + floor)).abs().mean()
        convergence = ((made - true).square().sum() / true.square().sum()).sqrt()
        total = total + log_distance + 0.5 * convergence
    return total / len(RESOLUTIONS)


def train(
    recordings: list[Recording], out: Path, minutes: float, batch: int, rate: float, seed: int
) -> Vocoder:
    """Trains until the time is over; carries on from `out` where it exists."""
    torch.manual_seed(seed)
    vocoder = Vocoder()
    optimiser = torch.optim.AdamW(vocoder.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.01)
    step, spent_s = 0, 0.0
    if out.exists():
        saved = torch.load(out, weights_only=True)
        vocoder.load_state_dict(saved['vocoder'])
        optimiser.load_state_dict(saved['optimiser'])
        step, spent_s = saved['step'], saved['spent_s']
    generator = torch.Generator().manual_seed(seed + step)
    began, mean_loss = time.process_time(), None
    with tqdm(total=int(minutes * 60), unit='s', mininterval=5, desc='vocoder') as bar:
        while (used_s := spent_s + time.process_time() - began) < minutes * 60:
            lr = (
                rate
                * min(1, (step + 1) / 200)
                * max(0.02, math.cos(used_s / minutes / 60 * math.pi / 2))
            )
            for group in optimiser.param_groups:
                group['lr'] = lr
            features, waves = crops(recordings, batch, generator)
            jitter = torch.randn(features.shape, generator=generator) * 0.1
            jitter[..., sf.N_MELS :] *= 0.1
            made, _ = vocoder(features + jitter, vocoder.start(batch))
            keep = WARM_FRAMES * sf.HOP
            loss = spectral_loss(made[:, keep:], waves[:, keep:])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(vocoder.parameters(), 1.0)
            optimiser.step()
            mean_loss = loss.item() if mean_loss is None else 0.98 * mean_loss + 0.02 * loss.item()
            step += 1
            bar.n = int(used_s)
            bar.set_postfix(step=step, loss=f'{mean_loss:.4f}')
            if step % 300 == 0:
                save(out, vocoder, optimiser, step, used_s)
    save(out, vocoder, optimiser, step, minutes * 60)
    return vocoder


def save(
    out: Path, vocoder: Vocoder, optimiser: torch.optim.Optimizer, step: int, spent_s: float
) -> None:
    """Writes a checkpoint that training can carry on from, atomically."""
    save_state(
        out,
        {
            'vocoder': vocoder.state_dict(),
            'optimiser': optimiser.state_dict(),
            'step': step,
            'spent_s': spent_s,
        },
    )


def main(args: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, nargs='+', default=[DEFAULT_ROOT], help='phrase banks')
    parser.add_argument('--limit', type=int, default=2000, help='clips at most')
    parser.add_argument('--out', type=Path, default=Path('.cache/train/flow/vocoder.pt'))
    parser.add_argument('--minutes', type=float, default=30.0, help='processor time')
    parser.add_argument('--batch', type=int, default=12)
    parser.add_argument('--rate', type=float, default=2e-3)
    parser.add_argument('--seed', type=int, default=1)
    given = parser.parse_args(args)
    train(
        load_recordings(given.data, given.limit),
        given.out,
        given.minutes,
        given.batch,
        given.rate,
        given.seed,
    )


if __name__ == '__main__':
    main()
