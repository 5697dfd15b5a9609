# SPDX-License-Identifier: Apache-2.0
"""Which sound is heard in each frame: what an ear learns from, fifty times a second.

A word is named once, at its end; what told it from others was heard before. Sounds are those of the
aligner's dictionary (CMUdict), shared out over the time of their word by their usual lengths. The
ear that learns from them then says where their borders are (`align_sounds`).

Legend: B rows, F frames of 20 ms, S sounds, K stretches of one sound.
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
ALIGNED = 6  # frames that a border between sounds may move
_UNKNOWN_SCORE = -2.0  # of a sound that nobody knows: as of one that is heard rather badly


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


def align_sounds(scores_BFS: np.ndarray, sounds_BF: np.ndarray, most: int = ALIGNED) -> np.ndarray:
    """Moves the borders between sounds to where they are heard; their order stays.

    That is the best path through each row (Viterbi), on which each stretch of one sound lasts one
    frame or more, and begins and ends at most `most` frames from where it did.

    Args:
        scores_BFS: (B, F, S) log probability of each sound in each frame.
        sounds_BF: (B, F) int8 sounds, `UNKNOWN` among them.
        most: How far a border may move, frames.

    Returns:
        (B, F) int8.
    """
    number_BF, sound_BK, allowed_BFK = _stretches(sounds_BF, most)
    asked_BFK = np.broadcast_to(sound_BK[:, None].clip(0), allowed_BFK.shape)
    here_BFK = np.take_along_axis(scores_BFS, asked_BFK, axis=2)
    here_BFK = np.where(sound_BK[:, None] == UNKNOWN, _UNKNOWN_SCORE, here_BFK)
    path_BF = _best_path(np.where(allowed_BFK, here_BFK, -np.inf), number_BF[:, -1])
    return np.take_along_axis(sound_BK, path_BF, axis=1).astype(sounds_BF.dtype)


def _stretches(sounds_BF: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers the stretches of one sound in each row.

    Returns:
        (B, F) the number of each frame's stretch; (B, K) their sounds; (B, F, K) where they may be,
        nowhere for those that a row does not have.
    """
    rows, frames = sounds_BF.shape
    number_BF = np.cumsum(np.diff(sounds_BF, axis=1, prepend=sounds_BF[:, :1]) != 0, axis=1)
    count = int(number_BF.max()) + 1
    sound_BK = np.zeros((rows, count), np.int64)
    np.put_along_axis(sound_BK, number_BF, sounds_BF, axis=1)
    begin_BK = np.full((rows, count), frames + most)
    frame_BF = np.broadcast_to(np.arange(frames), (rows, frames))
    np.minimum.at(begin_BK, (np.arange(rows)[:, None], number_BF), frame_BF)
    end_BK = np.concatenate([begin_BK[:, 1:], np.full((rows, 1), frames + most)], axis=1)
    frame_F1 = np.arange(frames)[:, None]
    after_begin = frame_F1 >= begin_BK[:, None] - most
    return number_BF, sound_BK, after_begin & (frame_F1 < end_BK[:, None] + most)


def _best_path(scores_BFK: np.ndarray, last_B: np.ndarray) -> np.ndarray:
    """(B, F) stretches on the best path from the first to the last, which misses none."""
    rows, frames, count = scores_BFK.shape
    best_BK = np.where(np.arange(count) == 0, scores_BFK[:, 0], -np.inf)
    advanced_BFK = np.zeros((rows, frames, count), bool)
    for frame in range(1, frames):
        before_BK = np.full_like(best_BK, -np.inf)
        before_BK[:, 1:] = best_BK[:, :-1]
        advanced_BFK[:, frame] = before_BK > best_BK
        best_BK = np.maximum(best_BK, before_BK) + scores_BFK[:, frame]
    path_BF = np.empty((rows, frames), np.int64)
    now_B, row_B = last_B.copy(), np.arange(rows)
    for frame in range(frames - 1, -1, -1):
        path_BF[:, frame] = now_B
        now_B -= advanced_BFK[row_B, frame, now_B]
    return path_BF
