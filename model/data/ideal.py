# SPDX-License-Identifier: Apache-2.0
"""The ideal partner: what the robot should do, micro-turn by micro-turn.

A script places what the user says on a timeline; this policy, which knows what was said and when
it ended, writes the targets that the model learns. It exists for training and evaluation only:
nothing of it runs on a robot.

All frames are 20 ms, ten to a micro-turn. What is decided in micro-turn n sounds in the window of
micro-turn n + 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..timer import SECOND_TURNS, timer_after
from ..tokens import number_words

if TYPE_CHECKING:
    from .features import Utterance

TURN_FRAMES = 10
# Frames that must follow a word's end in the window before it is named or answered: nearer to the
# window's edge it is too often taken for another.
HEARD_MARGIN = 3
SEEN_MARGIN = 1
STOP_MARGIN = -4  # a stop word is acted on while it ends
COUNT_TURNS = 4
SLIPS = 0.5  # share of reactions that come early or late, in the worst session
# By how many micro-turns: what was missed is made good, so late ones are the more useful.
_LATE = (-1, 1, 1, 2)


@dataclass(frozen=True)
class Event:
    """Something that the user did.

    Attributes:
        frame: Frame after the last phoneme (or the arrival of a text).
        kind: Kind of phrase, or 'cue_word', 'result', 'sight'.
        meaning: What it asks for. Where it `may_go_on`, as "count to fifty" may with "six", a
            micro-turn passes before it is taken for complete.
    """

    frame: int
    kind: str
    meaning: dict = field(default_factory=dict)

    @property
    def turn(self) -> int:
        """Micro-turn in which the robot should react."""
        if self.kind == 'sight':
            return (self.frame + SEEN_MARGIN) // TURN_FRAMES
        if self.kind == 'interruption' or _is_stop(self):
            return max(0, (self.frame + STOP_MARGIN) // TURN_FRAMES)
        return turn_named(self.frame) + self.meaning.get('may_go_on', False)


def turn_named(end: int) -> int:
    """Micro-turn in which a word is named of which the last frame is before `end`."""
    return (end + HEARD_MARGIN) // TURN_FRAMES


def typed_frame(turn: int) -> int:
    """Frame of an event that comes as text: in its micro-turn with every margin."""
    return turn * TURN_FRAMES + 5


def _is_stop(event: Event) -> bool:
    return event.kind == 'command' and event.meaning.get('skill') == 'stop'


@dataclass(frozen=True)
class OwnSpeech:
    """A piece of the robot's voice: frames [first, last) of an utterance, sounding at `start`."""

    utterance: Utterance
    start: int
    first: int
    last: int


@dataclass
class Targets:
    """What the model should put out, per micro-turn.

    Attributes:
        tokens: Words and control tokens before the boundary.
        speak: Whether the boundary is `<speak>`.
        read_done: Whether the session tells the model here that a text result has been said.
        own: Pieces of the robot's voice.
        said: (micro-turn, text) of the utterances that began, for the evaluation.
        acts: (micro-turn, skill, arguments).
        delegated: Micro-turns with a plan request.
        elapsed: What each micro-turn reads from the timer (see `timer_after`), and one more.
        unasked: Micro-turns in which a slip was made (see `IdealPartner`), not to be learned.
    """

    tokens: list[list[str]]
    speak: list[bool]
    read_done: list[bool]
    own: list[OwnSpeech] = field(default_factory=list)
    said: list[tuple[int, str]] = field(default_factory=list)
    acts: list[tuple[int, str, dict]] = field(default_factory=list)
    delegated: list[int] = field(default_factory=list)
    elapsed: list[int] = field(default_factory=lambda: [0])
    unasked: set[int] = field(default_factory=set)


@dataclass
class _Utterance:
    text: str
    read: bool = False
    count: bool = False
    voice: Utterance | None = None
    start_turn: int = 0


@dataclass
class _Timer:
    period: int
    repeats: bool
    word: str


class IdealPartner:
    """Writes the targets of one session.

    Args:
        robot_voice: Maps a text to an utterance with `frames` and `words` (`features.Utterance`).
        turns: Micro-turns in the session.
        user_speaks: (turns,) bool, whether the user is speaking in that micro-turn.
        rng: For slips, where they are wanted: some reactions come a micro-turn early or one or two
            late, so that the model meets the conversations in which it did so itself. What follows
            a slip is to be learned, the slip is not.
    """

    def __init__(
        self,
        robot_voice: Callable[[str], Utterance],
        turns: int,
        user_speaks: np.ndarray,
        rng: np.random.Generator | None = None,
    ):
        self._voice = robot_voice
        self._turns = turns
        self._user_speaks = user_speaks
        self._bindings: dict[str, str] = {}
        self._timer: _Timer | None = None
        self._timer_tokens: list[str] = []
        self._elapsed = 0
        self._rng = rng
        self._slips = rng.random() * SLIPS if rng is not None else 0.0
        self._count: list[int] = []
        self._count_turn = 0
        self._paused: list[int] = []
        self._queue: list[_Utterance] = []
        self._results: list[str] = []
        self._now: _Utterance | None = None
        self._quiet_until = 0
        self._watching = False
        self.targets = Targets([[] for _ in range(turns)], [False] * turns, [False] * turns)

    def run(self, events: list[Event]) -> Targets:
        """Lives through the session."""
        by_turn: dict[int, list[Event]] = {}
        for event in sorted(events, key=lambda e: e.frame):
            by_turn.setdefault(self._turn_of(event), []).append(event)
        for turn in range(self._turns):
            for event in by_turn.get(turn, []):
                getattr(self, f'_on_{event.kind}', self._ignore)(turn, event)
            self._due_timer(turn)
            self._due_count(turn)
            self._due_result(turn)
            self._speak(turn)
            # After the words: whether to speak is decided first, then what becomes of the timer.
            self.targets.tokens[turn] += self._timer_tokens
            self._timer_tokens = []
            self._elapsed = timer_after(self._elapsed, self.targets.tokens[turn])
            self.targets.elapsed.append(self._elapsed)
        return self.targets

    def _turn_of(self, event: Event) -> int:
        if self._rng is None or self._rng.random() >= self._slips:
            return event.turn
        late = int(self._rng.choice(_LATE))
        first, last = event.turn + min(late, 0), event.turn + max(late, 0)
        self.targets.unasked.update(range(max(0, first), last))
        return max(0, event.turn + late)

    def _ignore(self, turn: int, event: Event) -> None:
        """Backchannels, talk to others and everything unknown change nothing."""

    def _say(self, text: str, **kind) -> None:
        self._queue.append(_Utterance(text, **kind))

    def _on_cue_set(self, turn: int, event: Event) -> None:
        self._bindings |= dict(event.meaning['cues'])
        while len(self._bindings) > 3:
            self._bindings.pop(next(iter(self._bindings)))

    def _on_cue_word(self, turn: int, event: Event) -> None:
        answer = self._bindings.get(event.meaning['cue'])
        if answer is not None:
            self._say(answer)

    def _on_cue_cancel(self, turn: int, event: Event) -> None:
        self._forget()
        self._say('okay')

    def _forget(self) -> None:
        self._bindings.clear()
        self._watching = False
        if self._timer:
            self._timer = None
            self._timer_tokens.append('<end>')

    def _on_time_set(self, turn: int, event: Event) -> None:
        meaning = event.meaning
        repeats = 'every_s' in meaning
        period = meaning['every_s' if repeats else 'in_s'] * SECOND_TURNS
        # A new timer replaces one that runs.
        self._timer = _Timer(period, repeats, meaning['answer'])
        self._timer_tokens.append('<mark>')

    def _due_timer(self, turn: int) -> None:
        timer = self._timer
        if timer is None or self._elapsed != timer.period:
            return
        self._say(timer.word)
        if not timer.repeats:
            self._timer = None
        self._timer_tokens.append('<mark>' if timer.repeats else '<end>')

    def _on_count_set(self, turn: int, event: Event) -> None:
        first, last = event.meaning['first'], event.meaning['last']
        step = event.meaning['step']
        self._count = list(range(first, last + step, step))
        self._count_turn = turn

    def _due_count(self, turn: int) -> None:
        if self._count and turn >= self._count_turn and self._now is None and not self._queue:
            if turn < self._quiet_until:
                return
            number = self._count.pop(0)
            self._say(number_words(number), count=True)
            self._count_turn = turn + COUNT_TURNS

    def _on_interruption(self, turn: int, event: Event) -> None:
        if self._now and self._now.count:
            self._count.insert(0, _number_of(self._now.text))
        resumable = event.meaning['then'] == 'yes'
        self._paused, self._count = (self._count if resumable else []), []
        if not resumable:
            self._forget()
        self._hush(turn)
        if event.meaning.get('halts'):
            self._act(turn, 'stop', {})
        self._say('yes' if resumable else 'stopped')

    def _hush(self, turn: int) -> None:
        was_speaking = self._now is not None
        self._queue.clear()
        if was_speaking:
            self.targets.tokens[turn].append('<flush>')
            self._quiet_until = turn + 2
            self._now = None

    def _on_resume(self, turn: int, event: Event) -> None:
        self._count, self._paused = self._paused or self._count, []
        self._count_turn = turn

    def _on_address(self, turn: int, event: Event) -> None:
        self._say(event.meaning['answer'])

    def _on_command(self, turn: int, event: Event) -> None:
        skill, arguments = event.meaning['skill'], event.meaning['arguments']
        if skill == 'stop':
            self._count, self._paused = [], []
            self._forget()
            self._hush(turn)
        self._act(turn, skill, arguments)
        self._say('stopped' if event.meaning.get('halts') else 'okay')

    def _on_ambiguous(self, turn: int, event: Event) -> None:
        self._say('which one')

    def _act(self, turn: int, skill: str, arguments: dict) -> None:
        words = ['<act>', f'<{skill}>']
        for value in arguments.values():
            words += (
                number_words(round(value)) if isinstance(value, int | float) else value
            ).split()
        self.targets.tokens[turn] += [*words, '<end>']
        self.targets.acts.append((turn, skill, arguments))

    def _on_delegate(self, turn: int, event: Event) -> None:
        self.targets.tokens[turn].append('<delegate>')
        self.targets.delegated.append(turn)
        self._say('one moment')

    def _on_result(self, turn: int, event: Event) -> None:
        self._results.append(event.meaning['text'])

    def _watch(self, turn: int, event: Event) -> None:
        self._watching = True

    _on_visual_count_set = _on_visual_start_stop_set = _on_visual_trigger_set = _watch

    def _on_sight(self, turn: int, event: Event) -> None:
        if self._watching:
            self._say(event.meaning['text'])

    def _due_result(self, turn: int) -> None:
        if not self._results or self._now or self._queue or turn < self._quiet_until:
            return
        if not self._user_speaks[max(0, turn - 1) : turn + 1].any():
            self._say(self._results.pop(0), read=True)

    def _speak(self, turn: int) -> None:
        if self._now is None and self._queue and turn >= self._quiet_until:
            self._now = self._queue.pop(0)
            self._now.voice = self._voice(self._now.text)
            self._now.start_turn = turn
            self.targets.said.append((turn, self._now.text))
        if self._now is None:
            return
        now, voice = self._now, self._now.voice
        assert voice is not None
        first = (turn - now.start_turn) * TURN_FRAMES
        last = min(first + TURN_FRAMES, voice.frames)
        if now.read:
            self.targets.tokens[turn].append('<read>')
        else:
            self.targets.tokens[turn] += [w for w, f, _ in voice.words if first <= f < last]
        self.targets.speak[turn] = True
        self.targets.own.append(OwnSpeech(voice, (turn + 1) * TURN_FRAMES, first, last))
        if last >= voice.frames:
            if now.read and turn + 1 < self._turns:
                self.targets.read_done[turn + 1] = True
            self._now = None


_NUMBERS = {number_words(n): n for n in range(101)}


def _number_of(text: str) -> int:
    return _NUMBERS[text]
