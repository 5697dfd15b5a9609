# SPDX-License-Identifier: Apache-2.0
"""Puts a sample together: who says what when, what is seen, and how it sounds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..data.bank import Clip
from ..data.ideal import Event, typed_frame
from ..data.phrases import grammar
from ..data.scenes import SceneRenderer, SceneScript
from ..data.script_speech import asks_for_a_halt
from ..interface import SAMPLE_RATE_HZ, TURN_S, TURN_SAMPLES, Role
from ..tokens import normalise
from . import acoustics
from .sample import Echo, Sample
from .sights import idle_scene
from .studio import MissingClipError, Studio, levelled, sample_at, with_pauses

CUES = frozenset(grammar()['slots']['cue'])
FRAMES_PER_S = 50
_INSTRUCTIONS = ('command', 'delegate')
_STOP_WORDS = ('stop', 'wait', 'quiet', 'enough')
_MARGIN_S = 0.03  # of silence at the end of a clip
_UNSEEN_SHARE = 0.6
_CAMERA_SHARE = 0.5


@dataclass(frozen=True)
class Said:
    """A clip in its place.

    Attributes:
        clip: What is said.
        start_s: First sample of the clip.
        end_s: End of the last phoneme.
        words: (word, start, end), seconds of the sample.
        pauses: (start, end) of the pauses that were put in.
    """

    clip: Clip
    start_s: float
    end_s: float
    words: tuple[tuple[str, float, float], ...]
    pauses: tuple[tuple[float, float], ...] = ()

    def end_of(self, word: str) -> float:
        """End of the last time that a word is said."""
        return max(end for text, _, end in self.words if text == word)


@dataclass
class _Part:
    start: int
    samples: np.ndarray
    room: str
    overlap: bool


@dataclass
class Take:
    """A sample in the making; times are seconds.

    Attributes:
        studio: Where the clips come from.
        rng: Random numbers.
        now: When the next thing can happen.
        scene: What the camera sees, if that matters.
        echo: The robot's own voice in the microphone.
        overlapping: Whether what is said now belongs to the overlap of a Full-Duplex-Bench sample.
    """

    studio: Studio
    rng: np.random.Generator
    now: float = 0.0
    scene: SceneScript | None = None
    echo: Echo | None = None
    overlapping: bool = False
    voice: str = ''
    events: list[Event] = field(default_factory=list)
    lines: list[tuple[int, Role, str]] = field(default_factory=list)
    near: list[tuple[float, float]] = field(default_factory=list)
    _parts: list[_Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.voice = self.voice or str(self.rng.choice(self.studio.voices, p=self.studio.shares))
        self.now = self.now or float(self.rng.uniform(0.5, 1.3))
        self.level_db = float(self.rng.uniform(-11, 6))

    def wait(self, low_s: float, high_s: float) -> None:
        """Lets a random time pass."""
        self.now += float(self.rng.uniform(low_s, high_s))

    def pick(self, kind: str, where: Callable[[Clip], bool] = bool, voice: str = '') -> Clip:
        """A clip of a kind, more often than not one whose words were never trained.

        Raises:
            MissingClipError: The voice has none.
        """
        found = [c for c in self.studio.clips(kind, voice or self.voice) if where(c)]
        if kind == 'chatter':  # nobody can know in time that "stop it, Helen" is for Helen
            found = [c for c in found if not asks_for_a_halt(c.text)]
        unseen = [c for c in found if c.text_split == self.studio.split]
        if unseen and self.rng.random() < _UNSEEN_SHARE:
            found = unseen
        if not found:
            raise MissingClipError(f'{voice or self.voice} says no such {kind}')
        return found[self.rng.integers(len(found))]

    def say(self, kind: str, where: Callable[[Clip], bool] = bool) -> Said:
        """The user says a phrase of a kind to the robot."""
        return self.say_clip(self.pick(kind, where))

    def say_clip(self, clip: Clip, pauses: tuple[tuple[int, np.ndarray], ...] = ()) -> Said:
        """The user says a clip to the robot.

        Args:
            clip: What is said.
            pauses: (number of the word before it, samples that are put in there).
        """
        said = self._place(clip, pauses)
        self.events += events_of(said)
        return said

    def _place(self, clip: Clip, pauses: tuple[tuple[int, np.ndarray], ...] = ()) -> Said:
        start_s = self.now
        samples, words, gaps = with_pauses(levelled(clip), clip.words, pauses)
        self._parts.append(
            _Part(
                sample_at(start_s),
                samples * acoustics.gain(self.level_db),
                'user',
                self.overlapping,
            )
        )
        words = tuple(
            (part, start_s + first, start_s + last)
            for text, first, last in words
            for part in normalise(text) or [text]
        )
        length_s = len(samples) / SAMPLE_RATE_HZ
        end_s = words[-1][2] if words and clip.aligned else start_s + length_s - _MARGIN_S
        self.now = start_s + length_s
        self.near.append((start_s, end_s))
        shifted = tuple((start_s + first, start_s + last) for first, last in gaps)
        return Said(clip, start_s, end_s, words, shifted)

    def overhear(self, clip: Clip, how: str) -> Said:
        """Speech that is not meant for the robot.

        Args:
            clip: What is said.
            how: 'side' for the user's talk to somebody else, 'beside' for a bystander near by,
                'background' for a voice in the background.
        """
        samples, start_s = levelled(clip), self.now
        change = {'side': acoustics.side_talk, 'background': acoustics.background}.get(how)
        samples = change(samples) if change else samples * acoustics.gain(self.rng.uniform(-10, -3))
        room = 'user' if how == 'side' else 'other'
        self._parts.append(
            _Part(
                sample_at(start_s), samples * acoustics.gain(self.level_db), room, self.overlapping
            )
        )
        self.now = start_s + clip.duration_s
        end_s = self.now - _MARGIN_S
        if how != 'background':
            self.near.append((start_s, end_s))
        return Said(clip, start_s, end_s, ())

    @property
    def halted_s(self) -> float:
        """End of the last word that told the robot to stop or to wait."""
        frames = [e.frame for e in self.events if e.kind == 'interruption']
        return frames[-1] / FRAMES_PER_S

    def type(self, text: str, kind: str, meaning: Mapping) -> float:
        """The user types a phrase; returns the time at which the micro-turn is over."""
        turn = int(self.now / TURN_S)
        self.lines.append((turn, Role.USER, text))
        self.events.append(
            Event(typed_frame(turn), kind, dict(meaning) | {'halts': 'stop' in text.split()})
        )
        self.now = (turn + 1) * TURN_S
        return self.now

    def deliver(self, text: str) -> float:
        """A planner's result arrives; returns the time at which the micro-turn is over."""
        turn = int(self.now / TURN_S)
        self.lines.append((turn, Role.PLANNER, text))
        self.events.append(Event(typed_frame(turn), 'result', {'text': text}))
        return (turn + 1) * TURN_S

    def see(self, time_s: float, text: str) -> None:
        """Tells the oracle that something is to be said of what is seen."""
        self.events.append(Event(round(time_s * FRAMES_PER_S), 'sight', {'text': text}))

    def sample(self, category: str, **truth) -> Sample:
        """Renders everything until now."""
        turns = int(np.ceil(self.now / TURN_S))
        rooms = {name: acoustics.room_response(self.rng) for name in ('user', 'other')}
        length = turns * TURN_SAMPLES
        clean, overlap = (self._mix(length, rooms, flag) for flag in (False, True))
        noise = self._noise(length)
        has_overlap = any(part.overlap for part in self._parts)
        speaks = np.zeros(turns, bool)
        for start_s, end_s in self.near:
            speaks[int(start_s / TURN_S) : int(end_s / TURN_S) + 1] = True
        return Sample(
            _int16(clean + overlap + noise),
            self.events,
            speaks,
            self._pictures(turns),
            tuple(self.lines),
            self.echo,
            self.voice,
            category,
            truth,
            _int16(clean + noise) if has_overlap else None,
        )

    def _mix(self, length: int, rooms: dict[str, np.ndarray], overlap: bool) -> np.ndarray:
        mixed = np.zeros(length, np.float32)
        for name, response in rooms.items():
            track = np.zeros(length, np.float32)
            for part in self._parts:
                if part.room == name and part.overlap == overlap:
                    end = min(length, part.start + len(part.samples))
                    track[part.start : end] += part.samples[: max(0, end - part.start)]
            mixed += acoustics.in_room(track, response) if track.any() else track
        return mixed

    def _noise(self, length: int) -> np.ndarray:
        rng = self.rng
        noise = acoustics.hiss(length, rng.uniform(-76, -54), rng)
        if self.studio.sounds and rng.random() < 0.5:
            clip = self.studio.sounds[rng.integers(len(self.studio.sounds))]
            loop = np.resize(np.roll(levelled(clip), -int(rng.integers(len(clip.audio)))), length)
            noise += loop * acoustics.gain(self.level_db - rng.uniform(10, 28))
        return noise

    def _pictures(self, turns: int) -> np.ndarray | None:
        if self.scene is None:
            if self.rng.random() >= _CAMERA_SHARE:
                return None
            self.scene = idle_scene(self.rng, turns)
        return SceneRenderer(self.scene, self.rng).render(turns)


def events_of(said: Said) -> list[Event]:
    """What an ideal partner reacts to in something that was said to it."""
    kind, meaning, words = said.clip.kind, dict(said.clip.meaning), said.words
    end_s, events = said.end_s, []
    if kind == 'interruption' or meaning.get('skill') == 'stop':
        meaning['halts'] = any(word == 'stop' for word, _, _ in words)
        end_s = next((end for word, _, end in words if word in _STOP_WORDS), end_s)
    if kind not in ('cue_word', 'running_speech', 'chatter', 'backchannel'):
        events.append(Event(round(end_s * FRAMES_PER_S), kind, meaning))
    if kind not in _INSTRUCTIONS and not kind.endswith('_set'):
        for word, _, end in words:
            if word in CUES:
                events.append(Event(round(end * FRAMES_PER_S), 'cue_word', {'cue': word}))
    return events


def make(studio: Studio, name: str, index: int, write: Callable[[Take], Sample]) -> Sample:
    """Makes sample `index` of a set; another voice takes over where one lacks a phrase.

    Raises:
        ValueError: No voice of the bank has said what the set needs.
    """
    key = zlib.crc32(name.encode())
    for attempt in range(200):
        take = Take(studio, np.random.default_rng([studio.seed, key, index, attempt]))
        try:
            return write(take)
        except MissingClipError as error:
            reason = error
    raise ValueError(f'{name}: no test voice of the bank has said what is needed ({reason})')


def _int16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
