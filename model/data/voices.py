# SPDX-License-Identifier: Apache-2.0
"""The voices of the phrase bank: who may be trained on, who is held out, and how they speak."""

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
        engine: 'espeak', 'flite', 'festival', 'rhvoice', 'pico', 'hibari', 'kokoro' or 'piper'.
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


def _kokoro(
    name: str,
    split: str,
    timbre: dict[str, float],
    prosody: dict[str, float],
    accent: str = 'en-us',
) -> Voice:
    settings = {'timbre': timbre, 'prosody': prosody, 'accent': accent}
    return Voice('kokoro', name, split, True, 'Apache-2.0', settings)


def _styles(split: str, names: str) -> list[Voice]:
    """Kokoro's own voices: a name begins with the language it was made for, b for British."""
    return [
        _kokoro(name, split, {name: 1}, {name: 1}, 'en-gb' if name[0] == 'b' else 'en-us')
        for name in names.split()
    ]


_ENGLISH = (
    'af_alloy af_aoede af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky '
    'am_adam am_echo am_eric am_fenrir am_onyx am_puck am_santa '
    'bf_alice bf_isabella bf_lily bm_daniel bm_fable bm_lewis'
)
_KOKORO = (
    *_styles('train', _ENGLISH),
    *_styles('val', 'am_liam bf_emma'),
    *_styles('test', 'af_bella am_michael bm_george'),
    # Voices made for other languages, speaking English.
    *_styles(
        'train',
        'ef_dora em_alex ff_siwis hf_alpha hm_omega hm_psi if_sara im_nicola pf_dora pm_alex',
    ),
    *_styles('train', 'zf_xiaobei zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang'),
)

# Mixes of the five Japanese styles; no training voice holds any of jf_nezumi, a test voice.
_A, _G, _N, _T, _K = 'jf_alpha', 'jf_gongitsune', 'jf_nezumi', 'jf_tebukuro', 'jm_kumo'
_MIXES = (
    _kokoro('a', 'train', {_A: 1}, {_A: 1}),
    _kokoro('g', 'train', {_G: 1}, {_G: 1}),
    _kokoro('t', 'train', {_T: 1}, {_T: 1}),
    _kokoro('k', 'train', {_K: 1}, {_K: 1}),
    _kokoro('ak', 'train', {_A: 0.5, _K: 0.5}, {_K: 0.6, _A: 0.4}),
    _kokoro('kg', 'train', {_K: 0.7, _G: 0.3}, {_G: 0.5, _K: 0.5}, 'en-gb'),
    _kokoro('at', 'train', {_A: 0.6, _T: 0.4}, {_T: 0.3, _A: 0.7}),
    _kokoro('ga', 'train', {_G: 0.6, _A: 0.4}, {_A: 0.8, _G: 0.2}, 'en-gb'),
    _kokoro('gt', 'train', {_G: 0.5, _T: 0.5}, {_G: 0.3, _T: 0.7}),
    _kokoro('tk', 'train', {_T: 0.3, _K: 0.7}, {_K: 0.9, _T: 0.1}),
    _kokoro('ka', 'train', {_K: 1}, {_A: 1}),
    _kokoro('gk', 'train', {_G: 1}, {_K: 1}),
    _kokoro('kx', 'train', {_K: 1.35, _A: -0.35}, {_K: 1.2, _A: -0.2}),
    _kokoro('ax', 'train', {_A: 1.3, _K: -0.3}, {_A: 1.0}),
    _kokoro('tx', 'train', {_T: 1.25, _G: -0.25}, {_T: 0.8, _K: 0.2}, 'en-gb'),
    _kokoro('gx', 'train', {_G: 1.35, _T: -0.35}, {_G: 1.0}),
    _kokoro('kgx', 'train', {_K: 0.9, _G: 0.5, _A: -0.4}, {_K: 0.6, _T: 0.4}),
    _kokoro('agx', 'train', {_A: 0.8, _T: 0.6, _K: -0.4}, {_A: 0.5, _G: 0.5}),
    _kokoro('gtk', 'val', {_G: 0.34, _T: 0.33, _K: 0.33}, {_G: 0.4, _T: 0.3, _K: 0.3}),
    _kokoro('n', 'test', {_N: 1}, {_N: 1}),
    _kokoro('nk', 'test', {_N: 0.6, _K: 0.4}, {_N: 0.5, _K: 0.5}),
    _kokoro('na', 'test', {_N: 0.7, _A: 0.3}, {_N: 1.0}, 'en-gb'),
)


def _english_mixes(count: int) -> list[Voice]:
    """People between two English training voices, a few beyond one, with the melody of another."""
    rng = Random('English mixes')
    voices = []
    for i in range(count):
        first, second, third = rng.sample(_ENGLISH.split(), 3)
        share = round(rng.choice([rng.uniform(0.3, 0.7), rng.uniform(1.15, 1.3)]), 2)
        voices.append(
            _kokoro(
                f'e{i:02d}',
                'train',
                {first: share, second: round(1 - share, 2)},
                {first: 0.5, third: 0.5},
                'en-gb' if first[0] == 'b' else 'en-us',
            )
        )
    return voices


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
    # From recordings of CMU ARCTIC; its alan is the speaker of flite's awb.
    *(
        _sampled('rhvoice', f'{speaker}{name}', 'train', voice=speaker, pitch=pitch)
        for speaker in ('bdl', 'clb', 'slt')
        for name, pitch in (('', 100), ('_low', 82), ('_high', 122))
    ),
)


def _espeak(accent: str, split: str, variants: str) -> list[Voice]:
    # What a formant synthesiser says is free: its GPL covers the program.
    return [
        Voice(
            'espeak',
            f'{accent}.{variant}',
            split,
            False,
            'output free',
            {'accent': accent, 'variant': variant},
        )
        for variant in variants.split()
    ]


_FORMANT = (
    *_espeak('en-us', 'train', 'm1 m3 f2 f4 klatt2 m8 adam Annie john linda steph travis'),
    *_espeak('en-gb', 'train', 'm2 f3 klatt4 f1 belinda edward Michael aunty'),
    *_espeak('en-gb-scotland', 'train', 'm4 f1 m1 david grandma'),
    *_espeak('en-gb-x-rp', 'train', 'm7 f5 Alicia caleb klatt5'),
    *_espeak('en-gb-x-gbclan', 'train', 'm5 f2 anika ed f4'),
    *_espeak('en-us-nyc', 'train', 'm6 Andrea robert f3'),
    *_espeak('en-029', 'test', 'm2 f3'),
    *_espeak('en-gb-x-gbcwmd', 'test', 'm3 f4'),
)


def _hibari(count: int) -> list[Voice]:
    """Men, women and children; accents that are held out elsewhere stay out here."""
    rng = Random('hibari voices')
    accents = ['en-us'] * 6 + [
        'en-gb',
        'en-gb-x-rp',
        'en-gb-scotland',
        'en-us-nyc',
        'en-gb-x-gbclan',
    ]
    ranges = {
        'man': (0.5, 0.72, 0.82, 0.95),
        'woman': (0.82, 1.12, 0.94, 1.08),
        'child': (1.15, 1.4, 1.08, 1.18),
    }
    voices = []
    for i in range(count):
        who = ('man', 'woman', 'man', 'woman', 'child')[i % 5]
        low_pitch, high_pitch, low_throat, high_throat = ranges[who]
        settings = {
            'pitch': round(rng.uniform(low_pitch, high_pitch), 3),
            'throat': round(rng.uniform(low_throat, high_throat), 3),
            'melody': round(rng.uniform(0.6, 1.35), 2),
            'tilt_db': round(rng.uniform(-2.5, 2.5), 1),
            'breath_db': round(rng.uniform(-2.0, 8.0), 1),
            'pace': round(rng.uniform(0.88, 1.15), 2),
            'accent': rng.choice(accents),
        }
        voices.append(Voice('hibari', f'{who}{i:02d}', 'train', True, 'Apache-2.0', settings))
    return voices


def _pico(name: str, language: str, pitch: int = 100) -> Voice:
    settings = {'language': language, 'pitch': pitch}
    return Voice('pico', name, 'train', True, 'Apache-2.0', settings)


_SMALL = (
    *_hibari(30),
    _pico('us', 'en-US'),
    _pico('us_low', 'en-US', 72),
    _pico('gb', 'en-GB'),
    _pico('gb_high', 'en-GB', 124),
    # English with the accents of others.
    _pico('de', 'de-DE'),
    _pico('de_low', 'de-DE', 75),
    _pico('fr', 'fr-FR'),
    _pico('fr_low', 'fr-FR', 78),
    _pico('es', 'es-ES'),
)

ROBOT = Voice('piper', 'joe', 'robot', True, 'CC0-1.0')
VOICES: tuple[Voice, ...] = (
    *_KOKORO,
    *_MIXES,
    *_english_mixes(48),
    *_SAMPLED,
    *_SMALL,
    *_FORMANT,
    ROBOT,
)


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
    """Adds commas and an end mark by chance, for the melody; questions always get theirs."""
    words = text.split()
    for i in range(2, len(words) - 1):
        if words[i] in ('say', 'and', 'answer', 'tell', 'please') and rng.random() < 0.35:
            words[i - 1] += ','
    asks = words[0] in (
        'how',
        'what',
        'why',
        'which',
        'who',
        'when',
        'where',
        'is',
        'can',
        'could',
        'do',
        'did',
    )
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
    """Cuts silence off both ends; at -46 dB a final /f/ stays and the hiss of engines goes."""
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
