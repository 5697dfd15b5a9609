# SPDX-License-Identifier: Apache-2.0
"""A text that stands for what the model no longer sees, read anew whenever it is out of sight."""

from __future__ import annotations

from .snapshot import Snapshot


class Summary:
    """Decides when a summary of the conversation is read.

    Nothing is read while the whole conversation is still in sight, nor without a text.

    Args:
        window: Tokens that the model sees; None if it sees all.
    """

    def __init__(self, window: int | None):
        self._window = window
        self.reset()

    def reset(self) -> None:
        """Forgets the text."""
        self.text = ''
        self._read_at: int | None = None

    def set(self, text: str) -> None:
        """Replaces the text; a changed one is read as soon as anything is out of sight."""
        if text != self.text:
            self.text, self._read_at = text, None

    def take(self, position: int) -> str:
        """The text, if it has to be read now.

        Args:
            position: Tokens that the model has read so far.

        Returns:
            The text, or ''.
        """
        if not self.text or self._window is None or position < self._window:
            return ''
        if self._read_at is not None and position - self._read_at < self._window:
            return ''
        self._read_at = position
        return self.text

    def snapshot(self) -> Snapshot:
        """What `restore` needs."""
        return Snapshot({}, {'text': self.text, 'read_at': self._read_at})

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on as when the snapshot was taken."""
        self.text, self._read_at = snapshot.facts['text'], snapshot.facts['read_at']
