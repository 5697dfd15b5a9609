# SPDX-License-Identifier: Apache-2.0
"""Mixes the sources of a session in the mel-power domain.

The power of a sum of independent signals is, on average, the sum of their powers; a mel frame of a
mixture is therefore close to the root of the summed squares of its parts. Some rooms, speaker size
and bands were applied to the waveform before (`features.augment`); level, colour, distance and echo
are here.

Legend: F frames of 20 ms, M mel bins.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.signal

from ..mel import HOP, LOG_MAX, LOG_MIN, MELS, SAMPLE_RATE_HZ, slaney_mel_weights
from .features import Utterance, to_power
from .ideal import OwnSpeech

_KNOTS, _BENT = 7, 1.2  # of `bend`: places, and mel bins


@dataclass(frozen=True)
class Piece:
    """Frames [first, last) of an utterance, placed at frame `start`.

    Attributes:
        source: What sounds.
        first: First frame of the source.
        last: Frame after the last.
        start: Frame of the session at which it begins.
        gain_db: Level over the reference level.
        far: Whether it comes from a distance: duller, with an echo.
        tract: (M, M) change of the speaker's vocal tract, from `vocal_tract`; None for none.
    """

    source: Utterance
    first: int
    last: int
    start: int
    gain_db: float
    far: bool = False
    tract: np.ndarray | None = None


def add_power(power_FM: np.ndarray, piece: Piece, colour_M: np.ndarray) -> None:
    """Adds one piece to the power of a session, in place."""
    levels = piece.source.levels_FM[piece.first : piece.last]
    skip = max(0, -piece.start)
    start = max(0, piece.start)
    levels = levels[skip : skip + max(0, len(power_FM) - start)]
    if len(levels) == 0:
        return
    gain_M = colour_M * np.float32(10 ** (piece.gain_db / 10))
    power = to_power(levels)
    if piece.tract is not None:
        power = power @ piece.tract
    power *= gain_M
    power_FM[start : start + len(power)] += power
    if piece.far:
        late = start + 5
        tail = power[: max(0, len(power_FM) - late)]
        power_FM[late : late + len(tail)] += 0.1 * tail


def vocal_tract(factor: float, bend_M: np.ndarray | None = None) -> np.ndarray:
    """(M, M) matrix that moves formants by a factor, as a shorter or longer vocal tract would.

    Source: L. Lee, R. Rose, "A frequency warping approach to speaker normalization", 1998.

    Args:
        factor: Above 1 for a shorter tract; frequencies are compressed again above 4.5 kHz.
        bend_M: Further bins by which each bin reads off its place, from `bend`; None for none.
    """
    hz = _mel_centres()
    top, knee = SAMPLE_RATE_HZ / 2, 4500.0
    upper = top - (top - hz) * (top - knee * factor) / (top - knee)
    moved = np.where(hz < knee, hz * factor, upper)
    # Output bin j reads the input where its frequency came from.
    source = np.interp(hz, moved, np.arange(MELS))
    if bend_M is not None:
        source = np.clip(source + bend_M, 0, MELS - 1)
    low = np.clip(np.floor(source).astype(int), 0, MELS - 2)
    share = (source - low).astype(np.float32)
    matrix = np.zeros((MELS, MELS), np.float32)
    matrix[low, np.arange(MELS)] = 1 - share
    matrix[low + 1, np.arange(MELS)] += share
    return matrix


def bend(rng: np.random.Generator) -> np.ndarray:
    """(M,) bins by which formants lie off their place, each region by its own: other vowels.

    A factor moves all formants alike, as the size of a speaker does; an accent does not.
    """
    knots = np.linspace(0, MELS - 1, _KNOTS)
    off = np.clip(rng.normal(0, _BENT, _KNOTS), -2 * _BENT, 2 * _BENT)
    return np.interp(np.arange(MELS), knots, off)


def blur(width: float) -> np.ndarray:
    """(M, M) matrix that spreads power over neighbouring bins, so that overtones merge.

    Whoever speaks lower, or whispers, has no overtones that mel bins tell apart.

    Args:
        width: Standard deviation, bins.
    """
    return scipy.ndimage.gaussian_filter1d(np.eye(MELS, dtype=np.float32), width, axis=0)


@functools.cache
def _mel_centres() -> np.ndarray:
    weights = slaney_mel_weights()
    hz = np.linspace(0, SAMPLE_RATE_HZ / 2, len(weights))
    return (weights * hz[:, None]).sum(0) / weights.sum(0)


def colour(rng: np.random.Generator, far: bool = False) -> np.ndarray:
    """(M,) random power response of a microphone, a mouth's direction or a distance."""
    x = np.linspace(-1, 1, MELS, dtype=np.float32)
    tilt_db = rng.normal(0, 3) * x + rng.normal(0, 1.5) * np.cos(np.pi * x * rng.integers(1, 4))
    if far:
        tilt_db = tilt_db - 12 * np.clip((x - rng.uniform(0.2, 0.5)) * 3, 0, 2)
    return (10 ** (tilt_db / 10)).astype(np.float32)


def reverberate(power_FM: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Speech as it sounds some way off in a room: every frame is followed by a tail.

    From a mouth close by to one so far away that more sound comes from the walls than from it.
    What is decided at random fluctuates as sound does that comes from all sides; and the first
    reflections strengthen some bins and weaken others.

    Args:
        power_FM: (F, M) power of the dry sources.
        rng: Random numbers; they decide on the room.
    """
    clarity_db = rng.uniform(-8, 12)
    ripple_db = rng.uniform(0.5, 2.5) * rng.standard_normal(MELS)
    reverberation_s = np.exp(rng.uniform(np.log(0.1), np.log(0.6)))
    kept = 10 ** (-6 * HOP / SAMPLE_RATE_HZ / reverberation_s)
    tail = scipy.signal.lfilter([0.0, 1 - kept], [1.0, -kept], power_FM, axis=0)
    duller_db = rng.uniform(0, 4) * np.linspace(-1, 1, MELS)
    tail *= 10 ** (-(clarity_db + duller_db) / 10)
    tail *= rng.chisquare(4, power_FM.shape) / 4
    return ((power_FM + tail) * 10 ** (ripple_db / 10)).astype(np.float32)


def own_power(own: list[OwnSpeech], frames: int, delay: int = 0) -> np.ndarray:
    """(frames, M) power of the robot's own voice as played, `delay` frames late."""
    power = np.zeros((frames, MELS), np.float32)
    flat = np.ones(MELS, np.float32)
    for piece in own:
        add_power(
            power, Piece(piece.utterance, piece.first, piece.last, piece.start + delay, 6.0), flat
        )
    return power


def to_log(power_FM: np.ndarray) -> np.ndarray:
    """Log10 mel magnitude, clamped, scaled to [0, 1]; what the front end computes from samples."""
    log = 0.5 * np.log10(np.maximum(power_FM, 1e-18))
    return ((np.clip(log, LOG_MIN, LOG_MAX) - LOG_MIN) / (LOG_MAX - LOG_MIN)).astype(np.float32)
