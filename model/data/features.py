# SPDX-License-Identifier: Apache-2.0
"""Mel features of the phrase bank, augmented in the waveform and stored once.

Sessions are mixed from these in the mel-power domain (`mixing.py`), which is some fifty times
cheaper than mixing waveforms: a trainer on one core then never waits for its data. The last word
is with the waveform: evaluation mixes samples (`render.py`) and runs the session on them.

Legend: F frames of 20 ms, M mel bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal

from ..mel import HOP, LOG_MAX, LOG_MIN, SAMPLE_RATE_HZ, WINDOW, mel_levels, mel_magnitude
from ..tokens import normalise

REFERENCE_RMS = 0.05
_SYLLABLE = 11  # frames, about four a second
_STEP = (LOG_MAX - LOG_MIN) / 255


@dataclass(frozen=True)
class Utterance:
    """One augmented rendering of a clip.

    Attributes:
        levels_FM: (F, M) uint8, log10 of the mel magnitude at `REFERENCE_RMS`, see `to_power`.
        words: (word, first frame, frame after the last), in frames from the start.
        clip: Shard and index of the clip in it.
        kind: Kind of phrase.
        meaning: What the phrase asks for.
        voice: Name of the voice.
        text: What is said.
    """

    levels_FM: np.ndarray
    words: tuple[tuple[str, int, int], ...]
    clip: tuple[str, int]
    kind: str
    meaning: dict
    voice: str
    text: str

    @property
    def frames(self) -> int:
        """Length, frames of 20 ms."""
        return len(self.levels_FM)


_POWER = (10 ** (2 * (LOG_MIN + _STEP * np.arange(256)))).astype(np.float32)
_POWER[0] = 0.0


def to_power(levels_FM: np.ndarray) -> np.ndarray:
    """Squared mel magnitudes of quantised levels."""
    return _POWER[levels_FM]


def speech_rms(samples: np.ndarray) -> float:
    """Level of the speaking parts of a float signal."""
    frames = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    power = np.sort((frames**2).mean(axis=1)) if len(frames) else np.zeros(1)
    return float(np.sqrt(power[len(power) // 2 :].mean()) + 1e-6)


def room(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Puts dry samples into a random room: a direct sound, some reflections, a decaying tail."""
    reverberation_s = rng.uniform(0.1, 0.6)
    length = int(reverberation_s * SAMPLE_RATE_HZ * 0.7)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / (length / 0.7))
    tail *= rng.uniform(0.2, 0.9) / (np.sqrt((tail**2).sum()) + 1e-9)
    tail[0] = 1.0
    for _ in range(rng.integers(0, 5)):
        tail[rng.integers(40, max(length, 41) if length > 41 else 42) % length] += (
            rng.normal() * 0.3
        )
    return scipy.signal.fftconvolve(samples, tail)[: len(samples) + SAMPLE_RATE_HZ // 5]


def telephone(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Limits samples to a narrow band, as telephones and cheap microphones do."""
    low_hz, high_hz = rng.uniform(80, 350), rng.uniform(3000, 3800)
    sos = scipy.signal.butter(3, [low_hz, high_hz], 'band', fs=SAMPLE_RATE_HZ, output='sos')
    return scipy.signal.sosfilt(sos, samples)


def augment(samples: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Changes size and speed of the speaker, the room and the microphone.

    Args:
        samples: (n,) float samples at 16 kHz.
        rng: Random numbers.

    Returns:
        The changed samples and the factor by which time was stretched.
    """
    stretch = float(np.exp(rng.uniform(np.log(0.84), np.log(1.19)))) if rng.random() < 0.85 else 1.0
    if stretch != 1.0:
        up = round(stretch * 100)
        samples = scipy.signal.resample_poly(samples, up, 100)
        stretch = up / 100
    samples = np.concatenate([np.zeros(rng.integers(0, HOP)), samples])
    if rng.random() < 0.45:
        samples = room(samples, rng)
    if rng.random() < 0.2:
        samples = telephone(samples, rng)
    return samples.astype(np.float32), stretch


def other_rhythm(frames: int, rng: np.random.Generator) -> np.ndarray:
    """A rhythm for somebody else: some syllables drawn out, others hurried.

    Args:
        frames: Length of what was said.
        rng: Random numbers.

    Returns:
        (frames + 1,) float64, ascending from 0: where each frame, and the end, comes to lie.
    """
    knots = np.arange(0, frames + _SYLLABLE, _SYLLABLE)
    slower = rng.normal(0, 0.08) + np.clip(rng.normal(0, 0.18, len(knots)), -0.4, 0.4)
    lasts = np.exp(np.interp(np.arange(frames), knots, slower))
    return np.concatenate([[0.0], np.cumsum(lasts)])


def in_rhythm(levels_FM: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Levels as they are when every frame lies where `other_rhythm` puts it, (G, M) uint8."""
    at = np.interp(np.arange(int(places[-1])), places[:-1], np.arange(len(levels_FM)))
    low = at.astype(int)
    high = np.minimum(low + 1, len(levels_FM) - 1)
    share = (at - low)[:, None]
    return np.round(levels_FM[low] * (1 - share) + levels_FM[high] * share).astype(np.uint8)


def utterance(clip, index: tuple[str, int], rng: np.random.Generator | None) -> Utterance:
    """Features of one clip of the bank.

    Args:
        clip: A `bank.Clip`.
        index: Its shard and the index in it.
        rng: Random numbers for the augmentation; None for the clip as it is.
    """
    samples = clip.audio.astype(np.float32) / 32768
    samples *= REFERENCE_RMS / speech_rms(samples)
    stretch = 1.0
    if rng is not None:
        samples, stretch = augment(samples, rng)
    samples = np.concatenate([samples, np.zeros(HOP + WINDOW, np.float32)])
    scale = stretch * SAMPLE_RATE_HZ / HOP
    words = []
    for text, start_s, end_s in clip.words:
        for part in normalise(text) or [text]:
            words.append((part, int(start_s * scale), int(np.ceil(end_s * scale))))
    levels_FM = mel_levels(mel_magnitude(samples))
    if rng is not None and rng.random() < 0.7:
        places = other_rhythm(len(levels_FM), rng)
        levels_FM = in_rhythm(levels_FM, places)
        ends = np.round(places).astype(int).tolist()
        words = [
            (text, ends[min(a, len(ends) - 1)], ends[min(b, len(ends) - 1)]) for text, a, b in words
        ]
    return Utterance(
        levels_FM,
        tuple(words),
        index,
        clip.kind,
        dict(clip.meaning),
        clip.voice,
        clip.text,
    )
