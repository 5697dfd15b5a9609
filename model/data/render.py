# SPDX-License-Identifier: Apache-2.0
"""Renders the sound of a script as samples; evaluation and demonstrations listen to this."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.signal

from ..mel import HOP, SAMPLE_RATE_HZ
from .bank import read_shard
from .features import REFERENCE_RMS, speech_rms
from .mixing import Piece
from .scripts import Script


class Renderer:
    """Mixes waveforms of the bank.

    Args:
        bank_root: Folder of the bank.
        split: Split that the scripts' utterances come from.
    """

    def __init__(self, bank_root: Path, split: str):
        self._folder = bank_root / split
        self._shards: dict[str, list] = {}

    def audio(self, clip: tuple[str, int]) -> np.ndarray:
        """(n,) float32 samples of a clip at the reference level."""
        name, index = clip
        if name not in self._shards:
            self._shards[name] = read_shard(self._folder / name)
        samples = self._shards[name][index].audio.astype(np.float32) / 32768
        return samples * (REFERENCE_RMS / speech_rms(samples))

    def render(self, script: Script, turns: int, rng: np.random.Generator) -> np.ndarray:
        """The user's microphone without noise and echo.

        Args:
            script: Pieces whose utterances were made without augmentation.
            turns: Micro-turns.
            rng: Random numbers of the distance effects.

        Returns:
            (turns * 3200,) float32.
        """
        mixed = np.zeros(turns * 10 * HOP, np.float32)
        for piece in script.pieces:
            self._add(mixed, piece, rng)
        return mixed

    def _add(self, mixed: np.ndarray, piece: Piece, rng: np.random.Generator) -> None:
        samples = self.audio(piece.source.clip)[piece.first * HOP : piece.last * HOP].copy()
        fade = min(80, len(samples) // 2)
        if fade:
            ramp = np.linspace(0, 1, fade, dtype=np.float32)
            samples[:fade] *= ramp
            samples[-fade:] *= ramp[::-1]
        if piece.far:
            samples = distant(samples)
        samples *= 10 ** (piece.gain_db / 20)
        start = piece.start * HOP
        if start < 0:
            samples, start = samples[-start:], 0
        room_left = max(0, len(mixed) - start)
        mixed[start : start + len(samples)] += samples[:room_left]


def distant(samples: np.ndarray) -> np.ndarray:
    """A far voice: 3 kHz low-pass and an echo after 100 ms at -10 dB (Full-Duplex-Bench v1.5)."""
    sos = scipy.signal.butter(4, 3000, 'low', fs=SAMPLE_RATE_HZ, output='sos')
    dull = scipy.signal.sosfilt(sos, samples).astype(np.float32)
    late = SAMPLE_RATE_HZ // 10
    out = np.concatenate([dull, np.zeros(late, np.float32)])
    out[late:] += dull * np.float32(10 ** (-10 / 20))
    return out


def noise_floor(count: int, level_db: float, rng: np.random.Generator) -> np.ndarray:
    """(count,) float32 pinkish noise at a level in dB relative to full scale."""
    white = rng.standard_normal(count)
    pink = scipy.signal.lfilter([0.05, 0.05], [1, -0.9], white) + 0.02 * white
    return (pink / pink.std() * 10 ** (level_db / 20)).astype(np.float32)
