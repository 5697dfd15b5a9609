# SPDX-License-Identifier: Apache-2.0
"""What happened in a recording, on one time axis: seconds from the microphone's first sample."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from interaction_node.bag_reading import bag_topics, read_bag
from interaction_node.conversation_log import Kind
from interaction_node.image_conversion import image_to_rgb
from interaction_node.model.interface import SAMPLE_RATE_HZ, TURN_S, TURN_SAMPLES, Role

TOPICS = ('audio', 'playback', 'conversation', 'action_intents', 'gate_decisions')
STATUS, IMAGE, SPEECH = 'micro_turn_status', 'image', 'speech'
THUMBNAIL_WIDTH, THUMBNAIL_EVERY_S = 160, 2.0


@dataclass(frozen=True)
class Mark:
    """Something that happened at a moment.

    Attributes:
        t: Seconds from the start.
        text: What is to be read.
        kind: 'heard', 'said', 'intent', 'refused', 'plan' or 'typed'.
        end: Seconds from the start at which it is over; `t` for a moment.
    """

    t: float
    text: str
    kind: str
    end: float = 0.0


@dataclass(frozen=True)
class Turn:
    """A micro-turn as its status tells it.

    Attributes:
        index: Number.
        t: End of its window, seconds.
        step_ms: Time that the model took.
        missed: Whether its output came too late.
        control: 'silent', 'speak' or 'flush'.
    """

    index: int
    t: float
    step_ms: float
    missed: bool
    control: str


@dataclass(frozen=True)
class Onset:
    """The start of an utterance of the robot.

    Attributes:
        t: When its first sample sounded, seconds.
        text: What was said.
        window_end_s: End of the micro-turn in which it was decided.
        step_ms: Time that the model took for it.
    """

    t: float
    text: str
    window_end_s: float
    step_ms: float


@dataclass
class Timeline:
    """One recording.

    Attributes:
        user: (n,) int16 at 16 kHz, what the microphone heard.
        robot: (n,) int16, the robot's voice as it sounded.
        marks: Everything to be read, by time.
        turns: Micro-turns.
        onsets: Utterances of the robot that sounded.
        thumbnails: (seconds, (h, w, 3) uint8 RGB).
        intents: Action intents, JSON-ready.
        plans: Planner's results.
    """

    user: np.ndarray
    robot: np.ndarray
    marks: list[Mark] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    onsets: list[Onset] = field(default_factory=list)
    thumbnails: list[tuple[float, np.ndarray]] = field(default_factory=list)
    intents: list[dict] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """Length of the sound, seconds."""
        return len(self.user) / SAMPLE_RATE_HZ

    @property
    def said(self) -> list[str]:
        """What the robot said, utterance by utterance."""
        return [mark.text for mark in self.marks if mark.kind == 'said']


def read_timeline(bag: Path) -> Timeline:
    """Reads a recording.

    Args:
        bag: Folder of a recording, or its MCAP file.

    Raises:
        ValueError: It can't be read, or holds no sound.
    """
    present = {name.rsplit('/', 1)[-1] for name in bag_topics(bag)}
    wanted = [*TOPICS, STATUS, SPEECH, IMAGE]
    topics = read_bag(bag, [name for name in wanted if name in present])
    audio = topics.get('audio', [])
    if not audio:
        raise ValueError(f'bag: {bag} has no audio messages, expected the topic "audio"')
    first = audio[0].message
    zero_s = _stamp(first) - first.first_sample / first.sample_rate_hz
    user = _collect_audio(audio)
    timeline = Timeline(user, np.zeros(len(user), np.int16))
    _read_turns(timeline, topics.get(STATUS, []), zero_s)
    _read_playback(timeline, topics, zero_s)
    _read_conversation(timeline, topics.get('conversation', []), zero_s)
    _read_actions(timeline, topics, zero_s)
    _read_images(timeline, topics.get(IMAGE, []), zero_s)
    timeline.marks.sort(key=lambda mark: mark.t)
    return timeline


def _stamp(message) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


def _collect_audio(recorded) -> np.ndarray:
    chunks = [
        (int(r.message.first_sample), np.asarray(r.message.pcm, np.int16))
        for r in recorded
        if r.message.channels == 1 and r.message.sample_rate_hz == SAMPLE_RATE_HZ
    ]
    length = max((first + len(pcm) for first, pcm in chunks), default=0)
    user = np.zeros(length, np.int16)
    for first, pcm in chunks:
        user[first : first + len(pcm)] = pcm
    return user


def _read_turns(timeline: Timeline, recorded, zero_s: float) -> None:
    for each in recorded:
        message = each.message
        timeline.turns.append(
            Turn(
                int(message.index),
                (int(message.first_sample) + TURN_SAMPLES) / SAMPLE_RATE_HZ,
                float(message.step_ms),
                bool(message.deadline_missed),
                message.control,
            )
        )


def _read_playback(timeline: Timeline, topics: dict, zero_s: float) -> None:
    steps = {turn.index: turn.step_ms for turn in timeline.turns}
    begun: dict[str, float] = {}
    for each in topics.get('playback', []):
        message = each.message
        pcm = np.asarray(message.pcm, np.int16)
        first = int(message.first_sample)
        if first < 0:
            first = round((_stamp(message) - zero_s) * SAMPLE_RATE_HZ)
        if len(pcm) == 0 or first < 0:
            continue
        timeline.robot = _place(timeline.robot, first, pcm)
        # A file speaker writes into the past; a listener could hear it only from now on.
        sounded = first / SAMPLE_RATE_HZ
        if message.first_sample >= 0:
            sounded = max(sounded, each.time_s - zero_s)
        begun.setdefault(message.utterance_id, sounded)
    texts: dict[str, tuple[float, str]] = {}
    for each in topics.get(SPEECH, []):
        message = each.message
        start, text = texts.get(message.utterance_id, (int(message.first_sample) / 16e3, ''))
        texts[message.utterance_id] = (start, f'{text} {message.text}'.strip())
    for utterance, t in begun.items():
        start, text = texts.get(utterance, (t, ''))
        turn = round(start / TURN_S) - 1
        timeline.onsets.append(Onset(t, text, start, steps.get(turn, 0.0)))


def _place(track: np.ndarray, first: int, pcm: np.ndarray) -> np.ndarray:
    if first + len(pcm) > len(track):
        track = np.pad(track, (0, first + len(pcm) - len(track)))
    track[first : first + len(pcm)] = pcm
    return track


def _read_conversation(timeline: Timeline, recorded, zero_s: float) -> None:
    latest: dict[str, tuple[float, Any]] = {}
    for number, each in enumerate(recorded):
        message = each.message
        key = message.event_id or f'typed-{number}'
        first = latest[key][0] if key in latest else _stamp(message) - zero_s
        latest[key] = (first, message)
    kinds = {Kind.HEARD: 'heard', Kind.SAID: 'said', Kind.PLAN_REQUESTED: 'plan'}
    for t, message in latest.values():
        kind = Kind(message.kind)
        if kind in kinds and message.text:
            end = t + max(0.0, message.heard_until)
            timeline.marks.append(Mark(t, message.text, kinds[kind], end))
        elif kind == Kind.PLAN_RESULT:
            timeline.plans.append(message.text)
            timeline.marks.append(Mark(t, f'result: {message.text}', 'plan'))
        elif kind in (Kind.PLAN_FAILED, Kind.PLAN_CANCELLED):
            timeline.marks.append(Mark(t, f'{kind.name.lower()}: {message.text}', 'plan'))
        elif kind == Kind.TEXT and message.role == Role.USER:
            timeline.marks.append(Mark(t, message.text, 'typed'))


def _read_actions(timeline: Timeline, topics: dict, zero_s: float) -> None:
    refused = {
        each.message.intent_id: each.message.detail
        for each in topics.get('gate_decisions', [])
        if not each.message.allowed
    }
    for each in topics.get('action_intents', []):
        message = each.message
        t = _stamp(message) - zero_s
        arguments = json.loads(message.arguments or '{}')
        intent = {'t': round(t, 3), 'skill': message.skill, 'arguments': arguments}
        intent['allowed'] = message.intent_id not in refused
        timeline.intents.append(intent)
        words = ', '.join(f'{value}' for value in arguments.values())
        kind = 'intent' if intent['allowed'] else 'refused'
        timeline.marks.append(Mark(t, f'{message.skill}({words})', kind))


def _read_images(timeline: Timeline, recorded, zero_s: float) -> None:
    due = 0.0
    for each in recorded:
        message = each.message
        t = _stamp(message) - zero_s
        if t < due:
            continue
        due = t + THUMBNAIL_EVERY_S
        try:
            rgb = image_to_rgb(
                message.encoding,
                message.width,
                message.height,
                message.step,
                message.is_bigendian,
                message.data,
            )
        except ValueError:
            continue
        size = (THUMBNAIL_WIDTH, round(rgb.shape[0] * THUMBNAIL_WIDTH / rgb.shape[1]))
        timeline.thumbnails.append((t, cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)))
