# SPDX-License-Identifier: Apache-2.0
"""Many speakers out of one small neural voice (hibari-tts, Apache-2.0).

The network says what a phrase's pitch, harmonic filter, noise and free-phase spectra are, 80 times
a second; between network and waveform a voice can be made deeper, longer in the throat, brighter or
breathier at no cost.
"""

from __future__ import annotations

import os
from functools import cache
from random import Random

import numpy as np

from . import kokoro

SAMPLE_RATE_HZ = 24_000
_BIN_HZ = SAMPLE_RATE_HZ / 1_200
_VOICED_HZ = 40.0


def speak(
    text: str,
    rng: Random,
    *,
    pitch: float = 1.0,
    melody: float = 1.0,
    throat: float = 1.0,
    tilt_db: float = 0.0,
    breath_db: float = 0.0,
    pace: float = 1.0,
    accent: str = 'en-us',
) -> np.ndarray:
    """Says punctuated text as one of many speakers.

    Args:
        text: words with commas and an end mark.
        rng: moves pace, pitch and melody a little from phrase to phrase.
        pitch: factor on the fundamental; 1 is a woman of about 190 Hz, 0.58 a man.
        melody: factor on the movement of the pitch round its mean; 0 is a monotone.
        throat: factor on the formants; 0.85 is a long vocal tract, 1.15 a short one.
        tilt_db: change of the spectrum in dB an octave above 500 Hz.
        breath_db: change of the noise in dB.
        pace: factor on the speed.
        accent: an English accent of espeak-ng; 'en-us' uses hibari's own dictionary.

    Returns:
        float32 samples at 24 kHz, shape (n,).
    """
    from hibari import dsp

    tts = _tts()
    sounds = (
        ' '.join(tts.phonemize(_written(text)))
        if accent == 'en-us'
        else kokoro.phonemes(text, accent)
    )
    ids = np.asarray([tts.ids(sounds)], np.int64)
    speed = np.asarray([pace * rng.uniform(0.85, 1.18)], np.float32)
    lh, th, ln, lr, phi, f0 = (part[0] for part in tts.sess.run(None, {'ids': ids, 'speed': speed}))
    tilt = _tilt(len(lh), tilt_db)
    spectra = [warp(part, throat) for part in (lh, th, ln, lr)]
    return dsp.synth(
        spectra[0] + tilt,
        spectra[1],
        spectra[2] + tilt + breath_db / 8.686,
        spectra[3] + tilt,
        phi,
        _bend(
            f0,
            pitch * rng.uniform(0.94, 1.06),
            melody * rng.uniform(0.8, 1.25),
            rng.uniform(-0.08, 0.08),
        ),
        np.random.default_rng(rng.randrange(2**32)),
    )


def warp(spectrum: np.ndarray, factor: float) -> np.ndarray:
    """Stretches the frequency axis of a spectrum.

    Args:
        spectrum: shape (bins, frames).
        factor: what was at f Hz comes to factor * f Hz; the top is repeated where nothing is left.
    """
    source = np.minimum(np.arange(len(spectrum)) / factor, len(spectrum) - 1)
    low = np.minimum(source.astype(int), len(spectrum) - 2)
    part = (source - low)[:, None].astype(np.float32)
    return (spectrum[low] * (1 - part) + spectrum[low + 1] * part).astype(np.float32)


def _tilt(bins: int, tilt_db: float) -> np.ndarray:
    octaves = np.log2(np.maximum(np.arange(bins) * _BIN_HZ, 500.0) / 500.0)
    return (octaves * tilt_db / 8.686)[:, None].astype(np.float32)


def _bend(f0: np.ndarray, pitch: float, melody: float, slope: float) -> np.ndarray:
    """Moves a pitch curve in Hz, shape (frames,): its height, its liveliness and its slope."""
    voiced = f0 > _VOICED_HZ
    if not voiced.any():
        return f0
    logs = np.log(np.maximum(f0, _VOICED_HZ))
    middle = np.median(logs[voiced])
    moved = middle + (logs - middle) * melody + slope * np.linspace(-1, 1, len(f0))
    # Pulses need some 50 Hz at least, or the vocoder takes them for unvoiced.
    return np.where(voiced, np.maximum(np.exp(moved) * pitch, 52.0), f0).astype(np.float32)


def _written(text: str) -> str:
    """As people write it, for the dictionary: the pronoun and first word in capitals."""
    words = ['I' if word == 'i' else word for word in text.split()]
    return ' '.join([words[0].capitalize(), *words[1:]])


@cache
def _tts():
    from hibari import Hibari

    return Hibari(threads=int(os.environ.get('OMP_NUM_THREADS', '1')))
