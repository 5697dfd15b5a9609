# SPDX-License-Identifier: Apache-2.0
"""The words being spoken as the flow head reads them: the last letters and their words' ages."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

LETTERS = "abcdefghijklmnopqrstuvwxyz'- "
PAD = 0
MAX_LETTERS = 24
MAX_AGE = 15
SPACE = LETTERS.index(' ') + 1
N_LETTERS = len(LETTERS) + 1
COLUMNS = 4

_LETTER_IDS = {letter: index + 1 for index, letter in enumerate(LETTERS)}


@dataclass(frozen=True)
class SpokenWords:
    """The words of an utterance so far and the 200 ms block in which each began.

    Attributes:
        words: Lower-case words, oldest first.
        blocks: For each word, the number of the block in which it began.
    """

    words: tuple[str, ...] = ()
    blocks: tuple[int, ...] = ()

    def begin(self, words: list[str], block: int) -> SpokenWords:
        """Adds words that begin in a block; keeps no more than can be read."""
        kept = replace(
            self, words=self.words + tuple(words), blocks=self.blocks + (block,) * len(words)
        )
        return replace(kept, words=kept.words[-MAX_LETTERS:], blocks=kept.blocks[-MAX_LETTERS:])


def word_ids(vocabulary: list[str]) -> dict[str, int]:
    """Numbers of the words that have an embedding of their own; 0 is any other word."""
    return {word: index + 1 for index, word in enumerate(vocabulary)}


def encode(spoken: SpokenWords, block: int, ids: dict[str, int]) -> torch.Tensor:
    """Encodes the newest letters of what is being said.

    Args:
        spoken: Words that began in this block or before.
        block: Number of the block to be made.
        ids: From `word_ids`.

    Returns:
        (24, 4) int16, newest letter last, zeros in front: letter, word, age of the word in blocks
        (0 to 15), index of the letter in its word (0 to 15).
    """
    rows: list[tuple[int, int, int, int]] = []
    for word, began in zip(reversed(spoken.words), reversed(spoken.blocks), strict=True):
        age = min(max(block - began, 0), MAX_AGE)
        number = ids.get(word, 0)
        spelled = [
            (_LETTER_IDS[c], number, age, min(i, 15))
            for i, c in enumerate(word)
            if c in _LETTER_IDS
        ]
        # The space in front tells the word's first letter from the one before.
        rows[:0] = [(SPACE, 0, age, 0), *spelled]
        if len(rows) >= MAX_LETTERS:
            break
    rows = rows[-MAX_LETTERS:]
    encoded = torch.zeros(MAX_LETTERS, COLUMNS, dtype=torch.int16)
    if rows:
        encoded[-len(rows) :] = torch.tensor(rows, dtype=torch.int16)
    return encoded
