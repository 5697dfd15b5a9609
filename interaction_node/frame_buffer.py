# SPDX-License-Identifier: Apache-2.0
"""The newest camera frames, of which each micro-turn sees two."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from interaction_node.model.interface import TURN_SAMPLES
from interaction_node.turn_axis import Stamped

PositionOf = Callable[[Stamped], int]


class FrameBuffer:
    """Keeps frames until their window, two for each window, as more are never shown.

    Attributes:
        drops: Frames so far that were dropped because the buffer was full.
    """

    def __init__(self, max_frames: int) -> None:
        """Keeps at most `max_frames`."""
        self.drops = 0
        self._max_frames = max_frames
        self._frames: list[Stamped] = []
        self._shown: tuple[Stamped, Stamped, np.ndarray] | None = None

    def push(self, frame: Stamped, position_of: PositionOf) -> None:
        """Keeps a frame of (h, w, 3) uint8; drops the oldest one that the window doesn't need."""
        self._frames.append(frame)
        self._frames.sort(key=position_of)
        window = _window(position_of(frame))
        rivals = [f for f in self._frames if _window(position_of(f)) == window]
        if len(rivals) > 2:
            self._remove(rivals[0])
        elif len(self._frames) > self._max_frames:
            self._remove(self._frames[0])
            self.drops += 1

    def newest_two(self, end: int, position_of: PositionOf) -> tuple[np.ndarray | None, int | None]:
        """Shows the newest two frames stamped at or before the end of a window.

        A single frame is shown twice, and so is the newest one if the size has just changed.

        Returns:
            (2, h, w, 3) uint8 and the position of the newest, or None and None.
        """
        self._frames.sort(key=position_of)
        visible = [frame for frame in self._frames if position_of(frame) <= end]
        if not visible:
            return None, None
        for old in visible[:-2]:
            self._remove(old)
        pair = (visible[-2:][0], visible[-1])
        if pair[0].content.shape != pair[1].content.shape:
            pair = (pair[1], pair[1])
        if self._shown is None or self._shown[0] is not pair[0] or self._shown[1] is not pair[1]:
            self._shown = (*pair, np.stack([frame.content for frame in pair]))
        return self._shown[2], position_of(pair[1])

    def reaches(self, position: int, position_of: PositionOf) -> bool:
        """Whether a frame at or after a position is there."""
        return any(position_of(frame) >= position for frame in self._frames)

    def _remove(self, frame: Stamped) -> None:
        self._frames = [other for other in self._frames if other is not frame]


def _window(position: int) -> int:
    """Returns the micro-turn that sees a frame first; one at the very end still belongs to it."""
    return -(-position // TURN_SAMPLES)
