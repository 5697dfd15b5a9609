# SPDX-License-Identifier: Apache-2.0
"""The material of the test sets: voices and phrases that were not trained."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data.bank import Bank, Clip
from ..data.features import REFERENCE_RMS, speech_rms
from ..interface import SAMPLE_RATE_HZ

# Speaker as festival's slt_hts: the same woman was recorded for flite's slt, which is trained on.
LEFT_OUT = frozenset(['festival-slt_hts'])
# Formant voices are all alike: natural ones speak more.
_NATURAL_SHARE = 3.0


class MissingClipError(LookupError):
    """The voice that was drawn never said what is needed; another one may have."""


class Studio:
    """All that is needed to make samples: clips of test voices, noise and music.

    Args:
        bank_root: Folder of the phrase bank.
        seed: Decides everything.
        split: 'test', or 'val' for a look at a model that is being trained.

    Attributes:
        human_root: Where the recordings of people are, if they are there.

    Raises:
        ValueError: There are no voices of the split.
    """

    def __init__(self, bank_root: Path | str, seed: int = 0, split: str = 'test'):
        self.bank, self.seed = Bank.load(bank_root, split), seed
        self.split = split
        self.human_root = Path(bank_root).parent / 'human'
        self.robot = Bank.load(bank_root, 'robot')
        self.voices = tuple(voice for voice in self.bank.voices if voice not in LEFT_OUT)
        if not self.voices:
            raise ValueError(
                f'{bank_root} has no voices of the {split} split; docs/data.md says how to build a '
                'phrase bank'
            )
        natural = [self.bank[self.bank.indices(voice=v)[0]].natural for v in self.voices]
        shares = np.where(natural, _NATURAL_SHARE, 1.0)
        self.shares = shares / shares.sum()
        self.sounds = [c for kind in ('noise', 'music') for c in self._of_kind(kind)]

    @property
    def fingerprint(self) -> str:
        """Eight digits that change with the clips: scores compare only if these are the same."""
        texts = (f'{clip.voice} {clip.text} {len(clip.audio)}' for clip in self.bank)
        return f'{zlib.crc32(chr(10).join(texts).encode()):08x}'

    def _of_kind(self, kind: str) -> list[Clip]:
        return [self.bank[i] for i in self.bank.indices(kind)]

    def has(self, kind: str, where: Callable[[Clip], bool]) -> bool:
        """Whether any voice says such a phrase."""
        return any(where(clip) for voice in self.voices for clip in self.clips(kind, voice))

    def clips(self, kind: str, voice: str) -> list[Clip]:
        """What a voice says of a kind, without texts that were trained."""
        found = (self.bank[i] for i in self.bank.indices(kind, voice))
        return [clip for clip in found if clip.text_split in (self.split, 'shared')]


def levelled(clip: Clip) -> np.ndarray:
    """(n,) float32 samples of a clip at the reference level."""
    samples = clip.audio.astype(np.float32) / 32768
    return samples * np.float32(REFERENCE_RMS / speech_rms(samples))


def with_pauses(samples: np.ndarray, words, pauses):
    """Puts samples in between words.

    Returns:
        Samples, moved words, and (start, end) of the pauses.
    """
    pieces, moved, gaps = [], [], []
    cut, shift_s = 0, 0.0
    for number, (text, first, last) in enumerate(words):
        moved.append((text, first + shift_s, last + shift_s))
        for after, fill in pauses:
            if after == number and number + 1 < len(words):
                border = sample_at((last + words[number + 1][1]) / 2)
                pieces += [_faded(samples[cut:border]), fill]
                gaps.append(
                    (last + shift_s, words[number + 1][1] + shift_s + len(fill) / SAMPLE_RATE_HZ)
                )
                cut, shift_s = border, shift_s + len(fill) / SAMPLE_RATE_HZ
    pieces.append(_faded(samples[cut:]) if pieces else samples)
    return np.concatenate(pieces).astype(np.float32), moved, tuple(gaps)


def _faded(samples: np.ndarray) -> np.ndarray:
    """Samples that begin and end without a click."""
    out = samples.copy()
    fade = min(80, len(out) // 2)
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        out[:fade] *= ramp
        out[-fade:] *= ramp[::-1]
    return out


def word_of(clip: Clip, number: int) -> np.ndarray:
    """(n,) float32: one word cut out of a clip, at the reference level."""
    _, first, last = clip.words[number]
    return _faded(levelled(clip)[max(0, sample_at(first) - 160) : sample_at(last) + 160])


def sample_at(time_s: float) -> int:
    """Number of the sample at a time."""
    return round(time_s * SAMPLE_RATE_HZ)
