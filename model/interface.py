# SPDX-License-Identifier: Apache-2.0
"""What goes into an interaction model and what comes out, one micro-turn at a time."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

SAMPLE_RATE_HZ = 16_000
TURN_SAMPLES = 3_200
TURN_S = TURN_SAMPLES / SAMPLE_RATE_HZ


class Missing(enum.IntFlag):
    """Inputs that a micro-turn had to do without."""

    NONE = 0
    AUDIO = 1
    PLAYBACK = 2
    IMAGE = 4


class Role(enum.IntEnum):
    """Who says a line of text; the values of `ConversationEvent.role`."""

    USER = 0
    ROBOT = 1
    PLANNER = 2
    SYSTEM = 3


class Priority(enum.IntEnum):
    """The values of `ActionIntent.priority`."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    STOP = 3


@dataclass(frozen=True)
class TextInput:
    """A line of text that arrived within a micro-turn: typed, or a planner's result."""

    role: Role
    text: str
    event_id: str = ''
    in_reply_to: str = ''


@dataclass(frozen=True)
class MicroTurn:
    """200 ms of everything that the robot perceives.

    Attributes:
        index: Number of the micro-turn, from 0, without holes.
        start_s: ROS time of the first sample, seconds.
        user_pcm: (3200,) int16, what the microphone heard.
        own_pcm: (3200,) int16, the robot's own voice as it was really played in this window.
        frames: (2, height, width, 3) uint8 RGB, the newest two frames, or None.
        frame_age_s: Seconds from the acquisition of the newest frame to the end of the window.
        text: Lines that arrived within the window.
        missing: Inputs that were filled in with silence or an old frame.
        emit: False when the output comes too late to be used; the model still hears and sees.
    """

    index: int
    start_s: float
    user_pcm: np.ndarray
    own_pcm: np.ndarray
    frames: np.ndarray | None = None
    frame_age_s: float = 0.0
    text: tuple[TextInput, ...] = ()
    missing: Missing = Missing.NONE
    emit: bool = True


@dataclass(frozen=True)
class Intent:
    """An action that the model decided on.

    Attributes:
        skill: Name of the skill, e.g. `navigate_to`.
        arguments: JSON-ready arguments, SI units.
        confidence: Probability of the decoded tokens, 0 to 1.
        priority: `Priority`; STOP only for the stop skill.
        phase: 'start', 'update' or 'cancel'.
    """

    skill: str
    arguments: dict[str, str | float | int]
    confidence: float = 1.0
    priority: Priority = Priority.NORMAL
    phase: str = 'start'


@dataclass(frozen=True)
class Timing:
    """Where the time of a step went, milliseconds."""

    total_ms: float = 0.0
    front_end_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    speech_ms: float = 0.0


@dataclass(frozen=True)
class StepResult:
    """What the model does in the micro-turn that follows.

    Attributes:
        index: Index of the micro-turn that was read.
        text: Words that begin to be said, '' if none.
        control: 'silent', 'speak' (a word goes on or begins) or 'flush' (stop at once).
        speech: (3200,) int16 for the window of micro-turn `index + 1`, or None while silent.
        intents: Actions decided on.
        plan_goals: Goals handed to the background planner, as heard.
        heard: Words of the user that ended in this micro-turn.
        voice: 'flow' or the name of the synthesiser that voiced `speech`; '' while silent.
        timing: Where the time went.
    """

    index: int
    text: str = ''
    control: str = 'silent'
    speech: np.ndarray | None = None
    intents: tuple[Intent, ...] = ()
    plan_goals: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    voice: str = ''
    timing: Timing = field(default_factory=Timing)


class InteractionModel(Protocol):
    """The whole interface between a robot and a model."""

    def step(self, micro_turn: MicroTurn) -> StepResult:
        """Reads one micro-turn and decides the next 200 ms."""

    def reset(self) -> None:
        """Forgets the conversation and starts anew."""
