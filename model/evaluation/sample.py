# SPDX-License-Identifier: Apache-2.0
"""One sample of a test set, and what a model did with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..data.ideal import Event
from ..interface import TURN_S, Role
from ..metrics import Word


@dataclass(frozen=True)
class Echo:
    """The robot's own voice in its microphone.

    Attributes:
        delay_s: From the loudspeaker to the microphone, at least 20 ms.
        level_db: Level over what is played.
    """

    delay_s: float
    level_db: float


@dataclass
class Sample:
    """What a robot perceives, and what should come of it.

    Attributes:
        pcm: (turns * 3200,) int16, the microphone without echo.
        events: What people did, for the oracle.
        user_speaks: (turns,) bool, whether somebody near is speaking.
        pictures: (turns, height, width, 3) uint8, or None.
        lines: (micro-turn, role, text) of typed lines and planner results.
        echo: The robot's own voice in the microphone, or None.
        voice: Who speaks.
        category: Part of the set.
        truth: What the set's judge needs to know; times in seconds.
        clean_pcm: The microphone without what overlaps the robot, where the set has that.
    """

    pcm: np.ndarray
    events: list[Event]
    user_speaks: np.ndarray
    pictures: np.ndarray | None = None
    lines: tuple[tuple[int, Role, str], ...] = ()
    echo: Echo | None = None
    voice: str = ''
    category: str = ''
    truth: dict = field(default_factory=dict)
    clean_pcm: np.ndarray | None = None

    @property
    def turns(self) -> int:
        """Micro-turns."""
        return len(self.user_speaks)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.turns * TURN_S


@dataclass
class Lived:
    """What a model did; all times in seconds from the start of the sample.

    Attributes:
        pcm: (turns * 3200,) int16, its voice in its place.
        words: What it said, as it sounded.
        acts: (end of the micro-turn in which it was decided, skill, arguments).
        goals: (likewise, goal) of the plan requests.
        heard: (likewise, word) of what it understood.
        step_ms: Processor time of every step.
    """

    pcm: np.ndarray
    words: list[Word] = field(default_factory=list)
    acts: list[tuple[float, str, dict]] = field(default_factory=list)
    goals: list[tuple[float, str]] = field(default_factory=list)
    heard: list[tuple[float, str]] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)

    @property
    def calls(self) -> list[tuple[str, dict]]:
        """Skills with arguments, in order."""
        return [(skill, arguments) for _, skill, arguments in self.acts]
