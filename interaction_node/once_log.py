# SPDX-License-Identifier: Apache-2.0
"""Errors that are told once, however often they happen."""

from __future__ import annotations


class OnceLog:
    """Collects (key, message) pairs; a key that was told is not told again."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._new: list[tuple[str, str]] = []

    def add(self, key: str, message: str) -> None:
        """Notes an error; `key` is one of a few constants, so that memory stays bounded."""
        if key not in self._told:
            self._told.add(key)
            self._new.append((key, message))

    def drain(self) -> tuple[tuple[str, str], ...]:
        """Returns what is new since the last call."""
        new, self._new = tuple(self._new), []
        return new
