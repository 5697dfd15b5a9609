# SPDX-License-Identifier: Apache-2.0
"""What the robot's voice says, as training examples for the flow head.

Dimension legend: B batch, T frames of a block (10), P frames before it (10), F features (82),
L letters, C columns of a letter.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from interaction_node.model import speech_features as sf
from interaction_node.model import speech_text
from interaction_node.model.data.bank import Bank, Clip
from interaction_node.model.flow_head import PAST_FRAMES

_BLOCK = sf.FRAMES_PER_BLOCK
_TRAILING_BLOCKS = 3


@dataclass(frozen=True)
class Line:
    """One utterance with its words.

    Attributes:
        text: Lower-case words.
        features_TF: (T, 82) float32.
        words: (word, first sample) in order.
        kind: Kind of phrase, e.g. 'robot_number'.
    """

    text: str
    features_TF: torch.Tensor
    words: tuple[tuple[str, int], ...]
    kind: str


class Spoken(NamedTuple):
    """A word on the timeline of an example: word, frame at which it begins."""

    word: str
    frame: int


def make_line(pcm: np.ndarray, words: list[tuple[str, float]], text: str, kind: str) -> Line:
    """Computes the features of one utterance.

    Args:
        pcm: (N,) int16 at 16 kHz.
        words: (word, start in seconds) in order.
        text: Lower-case words.
        kind: Kind of phrase.
    """
    # One more frame, so that the last one decays into silence.
    wave = np.pad(np.asarray(pcm, np.float32) / 32768, (0, sf.HOP))
    starts = tuple((word, round(start_s * sf.SAMPLE_RATE_HZ)) for word, start_s in words)
    return Line(text, sf.features(wave), starts, kind)


@dataclass(frozen=True)
class Lines:
    """All utterances of one voice."""

    items: list[Line]

    def vocabulary(self, least: int = 2) -> list[str]:
        """Words that are said at least so often, sorted."""
        counts = Counter(word for line in self.items for word, _ in line.words)
        return sorted(word for word, count in counts.items() if count >= least)

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the features, (82,) each."""
        frames = torch.cat([line.features_TF for line in self.items])
        return frames.mean(0), frames.std(0).clamp_min(1e-3)


class LineSampler:
    """Draws training batches: blocks from utterances placed at random in the grid of blocks.

    Args:
        lines: Utterances.
        vocabulary: Words with an embedding of their own.
        batch: Blocks a batch.
        seed: Decides what is drawn.
    """

    def __init__(self, lines: Lines, vocabulary: list[str], batch: int, seed: int):
        self._lines, self._batch = lines.items, batch
        self._ids = speech_text.word_ids(vocabulary)
        self._rng = np.random.default_rng(seed)
        self._silence = sf.silence_frame()
        # A kind of phrase counts the cube root of its length in all: numbers are short and matter.
        weight = np.array([len(line.features_TF) + 20.0 for line in self._lines])
        kinds = np.array([line.kind for line in self._lines])
        for kind in set(kinds):
            weight[kinds == kind] /= weight[kinds == kind].sum() ** (2 / 3)
        self._weight = np.cumsum(weight / weight.sum())

    def draw(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Draws a batch of blocks, and the condition of the block before each.

        Returns:
            letters_BLC, past_BPF, begun_B, target_BTF and end_B (0 or 1) of the blocks;
            letters_BLC, past_BPF and begun_B of the blocks before. Features are not normalised.
        """
        pairs = [self._example() for _ in range(self._batch)]
        batch = {key: torch.stack([now[key] for now, _ in pairs]) for key in pairs[0][0]}
        before = {key: torch.stack([was[key] for _, was in pairs]) for key in pairs[0][1]}
        return batch, before

    def _example(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        frames, words, ends = self._timeline()
        block = int(self._rng.integers(0, len(frames) // _BLOCK))
        now = self._condition(frames, words, block)
        first = block * _BLOCK
        now['target_BTF'] = frames[first : first + _BLOCK]
        begun = [end for start, end in ends if start < first + _BLOCK]
        over = not begun or begun[-1] <= first + _BLOCK
        now['end_B'] = torch.tensor(float(over))
        return now, self._condition(frames, words, block - 1)

    def _timeline(self) -> tuple[torch.Tensor, list[Spoken], list[tuple[int, int]]]:
        """Utterances on a grid of frames: one mostly, two with a pause sometimes."""
        count = 2 if self._rng.random() < 0.25 else 1
        frames: list[torch.Tensor] = []
        words: list[Spoken] = []
        ends: list[tuple[int, int]] = []
        at = 0
        for _ in range(count):
            line = self._lines[int(np.searchsorted(self._weight, self._rng.random()))]
            lead = 0 if self._rng.random() < 0.6 else int(self._rng.integers(0, _BLOCK))
            frames += [self._quiet(lead), line.features_TF]
            at += lead
            words += [Spoken(word, at + start // sf.HOP) for word, start in line.words]
            ends.append((at, at + len(line.features_TF) - 2))
            at += len(line.features_TF)
            pause = -at % _BLOCK + _BLOCK * int(self._rng.integers(0, _TRAILING_BLOCKS + 1))
            frames.append(self._quiet(pause))
            at += pause
        return torch.cat(frames), words, ends

    def _quiet(self, frames: int) -> torch.Tensor:
        return self._silence.expand(frames, -1)

    def _condition(
        self, frames_TF: torch.Tensor, words: list[Spoken], block: int
    ) -> dict[str, torch.Tensor]:
        first = block * _BLOCK
        past = frames_TF[max(0, first - PAST_FRAMES) : max(0, first)]
        past = torch.cat([self._quiet(PAST_FRAMES - len(past)), past])
        begun = [word for word in words if word.frame < first + _BLOCK]
        spoken = speech_text.SpokenWords(
            tuple(word.word for word in begun), tuple(word.frame // _BLOCK for word in begun)
        )
        # Unseen words are met as letters only; some known ones too, so that letters are learnt.
        ids = {} if self._rng.random() < 0.15 else self._ids
        return {
            'letters_BLC': speech_text.encode(spoken, block, ids),
            'past_BPF': past,
            'begun_B': torch.tensor(min(max(block, 0), speech_text.MAX_AGE)),
        }


def load_lines(
    roots: Sequence[Path],
    splits: Sequence[str] = ('train', 'shared'),
    cache: Path | None = None,
) -> Lines:
    """Reads what the robot says from phrase banks.

    Args:
        roots: Folders of banks.
        splits: Splits of the texts that are wanted.
        cache: File in which features are kept, so that they are computed once.

    Raises:
        ValueError: If there is nothing.
    """
    clips = [clip for root in roots for clip in Bank.load(root, 'robot')]
    clips = [clip for clip in clips if clip.text_split in splits and clip.aligned]
    if not clips:
        raise ValueError(f'data: no robot speech with texts {splits} under {roots}')
    return Lines(_with_cache(clips, cache))


def _with_cache(clips: list[Clip], cache: Path | None) -> list[Line]:
    """Features of clips; those of clips that were there the last time come from a file."""
    known: dict[str, tuple] = {}
    if cache is not None and cache.exists():
        known = torch.load(cache, weights_only=True)
    missing = [clip for clip in clips if _key(clip) not in known]
    for clip in tqdm(missing, desc='features', mininterval=2, disable=not missing):
        line = make_line(clip.audio, [word[:2] for word in clip.words], clip.text, clip.kind)
        known[_key(clip)] = (line.text, line.features_TF, line.words, line.kind)
    if cache is not None and missing:
        cache.parent.mkdir(parents=True, exist_ok=True)
        torch.save(known, cache)
    return [Line(*known[_key(clip)]) for clip in clips]


def _key(clip: Clip) -> str:
    return hashlib.sha256(clip.audio.tobytes() + repr(clip.words).encode()).hexdigest()[:24]
