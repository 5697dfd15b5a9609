# SPDX-License-Identifier: Apache-2.0
"""Which sound is heard in each frame: what an ear learns from, fifty times a second.

A word is named once, at its end; what told it from others was heard before. Sounds are those of the
aligner's dictionary (CMUdict), shared out over the time of their word by their usual lengths. The
borders are therefore rough, which costs little: they are rough to both sides.

Legend: F frames of 20 ms.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

_VOWELS = ('AA', 'AE', 'AH', 'AO', 'AW', 'AY', 'EH', 'ER', 'EY', 'IH', 'IY', 'OW', 'OY', 'UH', 'UW')
_STOPS = ('B', 'D', 'G', 'K', 'P', 'T')
_OTHERS = (
    'CH', 'DH', 'F', 'HH', 'JH', 'L', 'M', 'N', 'NG', 'R', 'S', 'SH', 'TH', 'V', 'W', 'Y', 'Z',
    'ZH',
)  # fmt: skip
SILENCE, UNKNOWN = 0, -1
SOUNDS = ('', *_VOWELS, *_STOPS, *_OTHERS)
_ID = {sound: index for index, sound in enumerate(SOUNDS)}
_LENGTH = dict.fromkeys(_VOWELS, 1.4) | dict.fromkeys(_STOPS, 0.8) | dict.fromkeys(_OTHERS, 1.0)
# Words that the aligner's dictionary does not hold, by its phonemes.
PRONUNCIATIONS = {
    'x-ray': 'EH K S R EY',
    'mm': 'M',
    'hmm': 'HH AH M',
    'hm': 'HH AH M',
    'er': 'ER',
    'uh': 'AH',
    'huh': 'HH AH',
    'scatters': 'S K AE T ER Z',
}
# A frame is judged when this many more were heard.
DELAY = 3


@cache
def _dictionary() -> dict[str, str]:
    """The sounds of words, in the aligner's alphabet; none, and a warning, without the aligner."""
    try:
        from pocketsphinx import get_model_path
    except ImportError:
        warnings.warn('pocketsphinx is not installed: no sounds to train an ear on', stacklevel=2)
        return {}
    path = Path(get_model_path('en-us/cmudict-en-us.dict'))
    lines = (line.split(' ', 1) for line in path.read_text(encoding='utf-8').splitlines())
    return {word: sounds for word, sounds in lines if '(' not in word} | PRONUNCIATIONS


@cache
def sounds_of(word: str, frames: int) -> np.ndarray:
    """(frames,) int8 index into `SOUNDS` for each frame of a word; `UNKNOWN` if nobody knows it."""
    sounds = _dictionary().get(word, '').split()
    if not sounds:
        return np.full(frames, UNKNOWN, np.int8)
    ends = np.cumsum([_LENGTH[sound] for sound in sounds])
    place = np.searchsorted(ends, (np.arange(frames) + 0.5) / frames * ends[-1])
    return np.array([_ID[sound] for sound in sounds], np.int8)[place]


def sounds_within(words: Iterable[tuple[str, int, int]], first: int, last: int) -> np.ndarray:
    """Sounds of a piece of an utterance.

    Args:
        words: (word, first frame, frame after the last), as in `features.Utterance`.
        first: First frame of the piece.
        last: Frame after its last.

    Returns:
        (last - first,) int8, `SILENCE` between words.
    """
    heard = np.zeros(last - first, np.int8)
    for word, begin, end in words:
        if begin < last and end > first and end > begin:
            kept = sounds_of(word, end - begin)[max(0, first - begin) : last - begin]
            start = max(0, begin - first)
            heard[start : start + len(kept)] = kept
    return heard
