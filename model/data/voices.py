# SPDX-License-Identifier: Apache-2.0
"""The voices of the phrase bank, who may be trained on and who is held out, and one function that makes them speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

SAMPLE_RATE_HZ = 16_000
MARGIN_S = 0.03
LEVEL_DBFS = -23.0


@dataclass(frozen=True)
class Voice:
    """One speaker.

    Attributes:
        engine: 'espeak', 'flite', 'festival', 'kokoro' or 'piper'.
        name: unique within the engine; letters, digits, '_' and '.'.
        split: 'train', 'val', 'test', or 'robot' for the robot's own voice.
        natural: whether it was made from recorded speech; formant voices are not.
        licence: SPDX name or short terms of the voice's data.
        settings: what the engine needs to know.
    """

    engine: str
    name: str
    split: str
    natural: bool
    licence: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        """The voice's name in the bank."""
        return f'{self.engine}-{self.name}'


def _kokoro(name: str, split: str, timbre: dict[str, float], prosody: dict[str, float], accent: str = 'en-us') -> Voice:
    settings = {'timbre': timbre, 'prosody': prosody, 'accent': accent}
    return Voice('kokoro', name, split, True, 'Apache-2.0', settings)


# Mixes of four styles for training: g(ongitsune), a(lpha), t(ebukuro), k(umo). Everything with n(ezumi) is the test set;
# an even three-way mix round g, t and k in which no training voice lies is the validation set.
_KOKORO = (
    _kokoro('a', 'train', {'a': 1}, {'a': 1}),
    _kokoro('g', 'train', {'g': 1}, {'g': 1}),
    _kokoro('t', 'train', {'t': 1}, {'t': 1}),
    _kokoro('k', 'train', {'k': 1}, {'k': 1}),
    _kokoro('ak', 'train', {'a': 0.5, 'k': 0.5}, {'k': 0.6, 'a': 0.4}),
    _kokoro('kg', 'train', {'k': 0.7, 'g': 0.3}, {'g': 0.5, 'k': 0.5}, 'en-gb'),
    _kokoro('at', 'train', {'a': 0.6, 't': 0.4}, {'t': 0.3, 'a': 0.7}),
    _kokoro('ga', 'train', {'g': 0.6, 'a': 0.4}, {'a': 0.8, 'g': 0.2}, 'en-gb'),
    _kokoro('gt', 'train', {'g': 0.5, 't': 0.5}, {'g': 0.3, 't': 0.7}),
    _kokoro('tk', 'train', {'t': 0.3, 'k': 0.7}, {'k': 0.9, 't': 0.1}),
    _kokoro('ka', 'train', {'k': 1}, {'a': 1}),
    _kokoro('gk', 'train', {'g': 1}, {'k': 1}),
    _kokoro('kx', 'train', {'k': 1.35, 'a': -0.35}, {'k': 1.2, 'a': -0.2}),
    _kokoro('ax', 'train', {'a': 1.3, 'k': -0.3}, {'a': 1.0}),
    _kokoro('tx', 'train', {'t': 1.25, 'g': -0.25}, {'t': 0.8, 'k': 0.2}, 'en-gb'),
    _kokoro('gx', 'train', {'g': 1.35, 't': -0.35}, {'g': 1.0}),
    _kokoro('kgx', 'train', {'k': 0.9, 'g': 0.5, 'a': -0.4}, {'k': 0.6, 't': 0.4}),
    _kokoro('agx', 'train', {'a': 0.8, 't': 0.6, 'k': -0.4}, {'a': 0.5, 'g': 0.5}),
    _kokoro('gtk', 'val', {'g': 0.34, 't': 0.33, 'k': 0.33}, {'g': 0.4, 't': 0.3, 'k': 0.3}),
    _kokoro('n', 'test', {'n': 1}, {'n': 1}),
    _kokoro('nk', 'test', {'n': 0.6, 'k': 0.4}, {'n': 0.5, 'k': 0.5}),
    _kokoro('na', 'test', {'n': 0.7, 'a': 0.3}, {'n': 1.0}, 'en-gb'),
)


def _sampled(engine: str, name: str, split: str, **settings: Any) -> Voice:
    return Voice(engine, name, split, True, 'BSD-like', settings)


_SAMPLED = (
    _sampled('flite', 'slt', 'train', f0_hz=170),
    _sampled('flite', 'kal16', 'train', f0_hz=95),
    _sampled('flite', 'awb', 'val', f0_hz=120),
    _sampled('flite', 'rms', 'test', f0_hz=95),
    _sampled('festival', 'kal', 'train', voice='kal_diphone'),
    _sampled('festival', 'kdl', 'train', voice='ked_diphone'),
    _sampled('festival', 'slt_hts', 'test', voice='cmu_us_slt_arctic_hts'),
)


def _espeak(accent: str, split: str, variants: str) -> list[Voice]:
    # What a formant synthesiser says is free: its GPL covers the program.
    return [
        Voice('espeak', f'{accent}.{variant}', split, False, 'output free', {'accent': accent, 'variant': variant})
        for variant in variants.split()
    ]


_FORMANT = (
    *_espeak('en-us', 'train', 'm1 m3 f2 f4 klatt2'),
    *_espeak('en-gb', 'train', 'm2 f3 klatt4'),
    *_espeak('en-gb-scotland', 'train', 'm4 f1'),
    *_espeak('en-gb-x-rp', 'train', 'm7 f5'),
    *_espeak('en-gb-x-gbclan', 'train', 'm5 f2'),
    *_espeak('en-us-nyc', 'train', 'm6'),
    *_espeak('en-029', 'test', 'm2 f3'),
    *_espeak('en-gb-x-gbcwmd', 'test', 'm3 f4'),
)

ROBOT = Voice('piper', 'joe', 'robot', True, 'CC0-1.0')
VOICES: tuple[Voice, ...] = (*_KOKORO, *_SAMPLED, *_FORMANT, ROBOT)


def find_voice(key: str) -> Voice:
    """The voice called `key` ('kokoro-ak').

    Raises:
        ValueError: if there is none.
    """
    for voice in VOICES:
        if voice.key == key:
            return voice
    raise ValueError(f'voice must be one of {[voice.key for voice in VOICES]}, got {key!r}')


def synthesise(voice: Voice, text: str, seed: int) -> np.ndarray:
    """Lets a voice say a text.

    Args:
        voice: one of `VOICES`.
        text: lower-case words without punctuation.
        seed: decides pace, pitch and pauses within the voice's natural range.

    Returns:
        int16 samples at 16 kHz, mono, shape (n,), speech level -23 dBFS, margins of about 30 ms.

    Raises:
        RuntimeError: if the engine fails or makes no sound.
    """
    from . import engines  # engines are needed to build a bank, not to read one

    rng = Random(f'{voice.key}/{text}/{seed}')
    samples, rate_hz = engines.speak(voice, punctuate(text, rng), rng)
    return _level(_trim(_to_16k(samples, rate_hz)))


def punctuate(text: str, rng: Random) -> str:
    """Adds commas and an end mark by chance, for the sake of the engines' melody; questions always get theirs."""
    words = text.split()
    for i in range(2, len(words) - 1):
        if words[i] in ('say', 'and', 'answer', 'tell', 'please') and rng.random() < 0.35:
            words[i - 1] += ','
    asks = words[0] in ('how', 'what', 'why', 'which', 'who', 'when', 'where', 'is', 'can', 'could', 'do', 'did')
    if asks and len(words) > 3 and words[0] != 'when':
        return ' '.join(words) + '?'
    return ' '.join(words) + rng.choices('.!?', [0.82, 0.12, 0.06])[0]


def _to_16k(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    if rate_hz == SAMPLE_RATE_HZ:
        return samples.astype(np.float32)
    import soxr

    return soxr.resample(samples.astype(np.float32), rate_hz, SAMPLE_RATE_HZ)


def _frame_rms(samples: np.ndarray, frame: int) -> np.ndarray:
    whole = samples[: len(samples) // frame * frame].reshape(-1, frame)
    return np.sqrt(np.mean(whole**2, axis=1) + 1e-12)


def _trim(samples: np.ndarray) -> np.ndarray:
    """Cuts silence off both ends; -46 dB below the loudest frame keeps a final /f/ and drops engine hiss."""
    frame = SAMPLE_RATE_HZ // 200
    rms = _frame_rms(samples, frame)
    if len(rms) == 0 or rms.max() < 1e-4:
        raise RuntimeError('the engine made no sound')
    loud = np.flatnonzero(rms > rms.max() * 10 ** (-46 / 20))
    margin = int(MARGIN_S * SAMPLE_RATE_HZ)
    start, end = loud[0] * frame - margin, (loud[-1] + 1) * frame + margin
    padded = np.pad(samples, (max(0, -start), max(0, end - len(samples))))
    return padded[max(0, start) : end + max(0, -start)]


def _level(samples: np.ndarray) -> np.ndarray:
    """Brings the loud half of the frames to `LEVEL_DBFS`, as int16; peaks stay below full scale."""
    rms = np.sort(_frame_rms(samples, SAMPLE_RATE_HZ // 50))
    active = np.sqrt(np.mean(rms[len(rms) // 2 :] ** 2))
    gain = 10 ** (LEVEL_DBFS / 20) / active
    gain = min(gain, 0.95 / np.abs(samples).max())
    return np.round(samples * gain * 32767).astype(np.int16)
