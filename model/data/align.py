# SPDX-License-Identifier: Apache-2.0
"""When each word of a clip begins and ends: forced alignment, with a plain fallback."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from ..sounds import PRONUNCIATIONS
from . import ipa

SAMPLE_RATE_HZ = 16_000
FRAME_S = 0.01
_PAD_S = 0.1
# Synthetic silence is exact zeros, on which the aligner's features break down; a little noise
# mends that, and another draw helps where one fails.
_DITHERS = (20.0, 40.0, 10.0, 80.0)


@dataclass(frozen=True)
class Alignment:
    """Word times of one clip.

    Attributes:
        words: (word, start in s, end in s) from the clip's first sample, in order.
        aligned: False where the times are only shared out by the length of the words.
    """

    words: tuple[tuple[str, float, float], ...]
    aligned: bool


def align(pcm: np.ndarray, text: str, margin_s: float = 0.03) -> Alignment:
    """Finds the words of a clip.

    Args:
        pcm: int16 samples at 16 kHz, mono, shape (n,).
        text: what is said, words separated by blanks.
        margin_s: silence at both ends, for the fallback.

    Returns:
        Times of all words of `text`, in order.
    """
    words = text.split()
    duration_s = len(pcm) / SAMPLE_RATE_HZ
    found = _forced(pcm, words)
    if found is None or not plausible(found, duration_s):
        return Alignment(tuple(proportional(words, duration_s, margin_s)), False)
    return Alignment(tuple((w, round(a, 3), round(b, 3)) for w, a, b in found), True)


def proportional(
    words: list[str], duration_s: float, margin_s: float
) -> list[tuple[str, float, float]]:
    """Shares the time between the margins out among the words by their numbers of letters."""
    weights = np.array([sum(letter.isalpha() for letter in word) + 1 for word in words], float)
    edges = margin_s + np.concatenate([[0], np.cumsum(weights) / weights.sum()]) * max(
        0.0, duration_s - 2 * margin_s
    )
    return [
        (word, round(a, 3), round(b, 3))
        for word, a, b in zip(words, edges[:-1], edges[1:], strict=True)
    ]


def plausible(words: list[tuple[str, float, float]], duration_s: float) -> bool:
    """Whether word times look like speech: in order, long enough, from near start to near end."""
    if (
        not words
        or words[0][1] > 0.35
        or words[-1][2] < duration_s - 0.35
        or words[-1][2] > duration_s + 0.02
    ):
        return False
    for word, start_s, end_s in words:
        letters = sum(letter.isalpha() for letter in word)
        if not 0.02 + 0.012 * letters <= end_s - start_s <= 0.6 + 0.12 * letters:
            return False
    gaps = [b[1] - a[2] for a, b in pairwise(words)]
    return all(-0.011 <= gap <= 0.9 for gap in gaps)


@cache
def _decoder():
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, loglevel='FATAL', beam=1e-80, wbeam=1e-60, pbeam=1e-80)
    for word, phones in PRONUNCIATIONS.items():
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, phones, True)
    return decoder


@cache
def _known(word: str) -> bool:
    """Whether the aligner can pronounce the word; espeak-ng teaches it those that it lacks."""
    decoder = _decoder()
    if decoder.lookup_word(word) is not None:
        return True
    phones = spell(word)
    if phones:
        decoder.add_word(word, phones, True)
    return bool(phones)


_SOUNDS = {
    'tʃ': 'CH', 'dʒ': 'JH', 'eɪ': 'EY', 'aɪ': 'AY', 'aʊ': 'AW', 'ɔɪ': 'OY', 'oʊ': 'OW',
    'ɜː': 'ER', 'ɚ': 'ER', 'iː': 'IY', 'uː': 'UW', 'ɑː': 'AA', 'ɔː': 'AO', 'i': 'IY',
    'ɪ': 'IH', 'ᵻ': 'IH', 'e': 'EH', 'ɛ': 'EH', 'æ': 'AE', 'a': 'AE', 'ɑ': 'AA', 'ɒ': 'AA',
    'ɔ': 'AO', 'o': 'OW', 'ʊ': 'UH', 'u': 'UW', 'ʌ': 'AH', 'ə': 'AH', 'ɐ': 'AH', 'p': 'P',
    'b': 'B', 't': 'T', 'd': 'D', 'k': 'K', 'ɡ': 'G', 'f': 'F', 'v': 'V', 'θ': 'TH',
    'ð': 'DH', 's': 'S', 'z': 'Z', 'ʃ': 'SH', 'ʒ': 'ZH', 'h': 'HH', 'm': 'M', 'n': 'N',
    'ŋ': 'NG', 'l': 'L', 'ɹ': 'R', 'r': 'R', 'w': 'W', 'j': 'Y', 'ɾ': 'T', 'ʔ': 'T',
}  # fmt: skip


def spell(word: str) -> str:
    """A word's sounds in the aligner's alphabet, by way of espeak-ng; '' if it cannot be said."""
    return ' '.join(symbol for part in ipa.sounds(word) for symbol in ipa.spelt(part, _SOUNDS))


def _forced(pcm: np.ndarray, words: list[str]) -> list[tuple[str, float, float]] | None:
    if not all(_known(word) for word in words):
        return None
    for seed, dither in enumerate(_DITHERS):
        if (found := _attempt(pcm, words, dither, seed)) is not None:
            return found
    return None


def _attempt(
    pcm: np.ndarray, words: list[str], dither: float, seed: int
) -> list[tuple[str, float, float]] | None:
    decoder = _decoder()
    padded = np.pad(pcm.astype(np.float32), int(_PAD_S * SAMPLE_RATE_HZ))
    padded += np.random.default_rng(seed).normal(0, dither, len(padded))
    try:
        decoder.set_align_text(' '.join(words))
        decoder.start_utt()
        decoder.process_raw(
            np.clip(padded, -32768, 32767).astype(np.int16).tobytes(), full_utt=True
        )
        decoder.end_utt()
        segments = [s for s in (decoder.seg() or []) if not s.word.startswith(('<', '['))]
    except RuntimeError:
        return None
    if [s.word.split('(')[0] for s in segments] != words:
        return None
    end_s = len(pcm) / SAMPLE_RATE_HZ
    return [
        (
            word,
            max(0.0, s.start_frame * FRAME_S - _PAD_S),
            min(end_s, (s.end_frame + 1) * FRAME_S - _PAD_S),
        )
        for word, s in zip(words, segments, strict=True)
    ]
