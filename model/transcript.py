# SPDX-License-Identifier: Apache-2.0
"""The last words of the user, as they were heard."""

from __future__ import annotations

from collections.abc import Iterable

_KEPT = 64
# 1.4 s.
_PAUSE_TURNS = 7


class Transcript:
    """Words with the micro-turns in which they ended; of bounded length."""

    def __init__(self) -> None:
        self.words: list[tuple[int, str]] = []

    def add(self, words: Iterable[str], index: int) -> None:
        """Notes words that ended in micro-turn number `index`."""
        self.words += [(index, word) for word in words]
        del self.words[:-_KEPT]

    def since_pause(self, index: int) -> str:
        """The last words before micro-turn `index`, back to a pause of 1.4 s."""
        words: list[str] = []
        after = index
        for turn, word in reversed(self.words):
            if after - turn > _PAUSE_TURNS:
                break
            words.insert(0, word)
            after = turn
        return ' '.join(words)
