# SPDX-License-Identifier: Apache-2.0
"""Cuts a stream of text into sentences as it comes."""

from __future__ import annotations

import re

_END = re.compile(r'[.!?…]+["\')\]]*(?=\s)|\n')
_NOT_AN_END = re.compile(
    r'(?:\b(?:mr|mrs|ms|dr|st|vs|etc|approx|e\.g|i\.e|a\.m|p\.m)|\b[a-z])\.$', re.IGNORECASE
)
_HAS_WORD = re.compile(r'[^\W\d_]|\d.*\w', re.DOTALL)
_LIST_MARK = re.compile(r'^\s*\d{1,3}[.)]$')


class SentenceStream:
    """Collects pieces of text and gives back each sentence once the next one begins."""

    def __init__(self) -> None:
        self._rest = ''

    @property
    def rest(self) -> str:
        """What has come after the last complete sentence."""
        return self._rest

    def push(self, piece: str) -> list[str]:
        """Takes the next piece.

        Args:
            piece: Text of any length, cut anywhere.

        Returns:
            The sentences that are complete now, without blanks around them.
        """
        self._rest += piece
        sentences = []
        start = 0
        for match in _END.finditer(self._rest):
            sentence = self._rest[start : match.end()].strip()
            if self._is_sentence(sentence, match[0]):
                sentences.append(sentence)
                start = match.end()
        self._rest = self._rest[start:]
        return sentences

    @staticmethod
    def _is_sentence(text: str, mark: str) -> bool:
        if not _HAS_WORD.search(text) or _LIST_MARK.match(text):
            return False
        return mark == '\n' or not _NOT_AN_END.search(text)
