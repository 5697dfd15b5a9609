# SPDX-License-Identifier: Apache-2.0
"""Lines of text that wait for the micro-turn in which they were said."""

from __future__ import annotations

from interaction_node.frame_buffer import PositionOf
from interaction_node.model.interface import TextInput
from interaction_node.turn_axis import Stamped


class TextQueue:
    """Keeps lines until their window; none is lost unless the queue is full.

    Attributes:
        drops: Lines so far that found no room.
    """

    def __init__(self, max_lines: int) -> None:
        """Keeps at most `max_lines`."""
        self.drops = 0
        self._max_lines = max_lines
        self._lines: list[Stamped] = []

    def push(self, line: Stamped) -> bool:
        """Keeps a `TextInput`; returns False if there is no room."""
        if len(self._lines) >= self._max_lines:
            self.drops += 1
            return False
        self._lines.append(line)
        return True

    def take(self, end: int, position_of: PositionOf) -> tuple[TextInput, ...]:
        """Takes the lines that belong before `end`, in order of arrival."""
        due = [position_of(line) < end for line in self._lines]
        taken = tuple(line.content for line, now in zip(self._lines, due, strict=True) if now)
        self._lines = [line for line, now in zip(self._lines, due, strict=True) if not now]
        return taken
