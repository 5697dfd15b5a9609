# SPDX-License-Identifier: Apache-2.0
"""The record of the conversation: what was typed, heard, decided, and really said."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from interaction_node.model.interface import SAMPLE_RATE_HZ, TURN_S, Role
from interaction_node.utterances import Speech

NOT_APPLICABLE = -1.0
OPEN_UTTERANCES = 32


class Kind(enum.IntEnum):
    """What happened; the values of `ConversationEvent.kind`."""

    TEXT = 0
    HEARD = 1
    SAID = 2
    INTENT = 3
    PLAN_REQUESTED = 4
    PLAN_PARTIAL = 5
    PLAN_RESULT = 6
    PLAN_FAILED = 7
    PLAN_CANCELLED = 8
    STATE = 9


@dataclass(frozen=True)
class Event:
    """One event of the conversation; `ConversationEvent` without ROS.

    Attributes:
        role: Whose event it is.
        kind: What happened.
        text: The words.
        event_id: Names the event.
        stamp_s: When it happened, ROS time.
        micro_turn: In which micro-turn it happened.
        in_reply_to: What it answers, '' for nothing.
        final: False while more of the same event follows.
        heard_until_s: For SAID: seconds of the utterance that were really played; else -1.
    """

    role: Role
    kind: Kind
    text: str
    event_id: str
    stamp_s: float
    micro_turn: int = 0
    in_reply_to: str = ''
    final: bool = True
    heard_until_s: float = NOT_APPLICABLE


@dataclass
class _Spoken:
    """An utterance that was sent to the loudspeaker: its words, and when each has sounded (s)."""

    stamp_s: float
    micro_turn: int
    words: list[tuple[str, float]] = field(default_factory=list)
    length_s: float = 0.0


class ConversationLog:
    """Keeps the conversation in order; words of the robot count only once they really sounded.

    Not thread-safe: only the thread that owns the model uses it.

    Args:
        prefix: Start of every event id.
        gap_s: Time without words after which what the person said counts as complete, seconds.
        limit: Number of events kept; the oldest go first.
    """

    def __init__(self, prefix: str, gap_s: float = 0.6, limit: int = 500):
        self._prefix = prefix
        self._gap_turns = max(1, round(gap_s / TURN_S))
        self._events: deque[Event] = deque(maxlen=limit)
        self._number = 0
        self._heard: Event | None = None
        self._spoken: dict[str, _Spoken] = {}

    @property
    def events(self) -> list[Event]:
        """Every complete event so far, oldest first, and what the person is just saying."""
        return [*self._events, *([self._heard] if self._heard else [])]

    def add(self, event: Event) -> Event:
        """Keeps an event, of others or one from `event`; partial ones are not kept."""
        if event.final:
            self._events.append(event)
        return event

    def event(
        self,
        role: Role,
        kind: Kind,
        text: str,
        stamp_s: float,
        micro_turn: int,
        in_reply_to: str = '',
    ) -> Event:
        """Makes an event of our own and keeps it."""
        name = self._next_id()
        return self.add(Event(role, kind, text, name, stamp_s, micro_turn, in_reply_to))

    def hear(self, words: Sequence[str], micro_turn: int, stamp_s: float) -> list[Event]:
        """Takes the words of the person that ended in a micro-turn; call it in every micro-turn.

        Returns:
            Nothing, the growing event, or the complete one when no words came for a while.
        """
        if words:
            text = ' '.join([*([self._heard.text] if self._heard else []), *words])
            name = self._heard.event_id if self._heard else self._next_id()
            self._heard = Event(Role.USER, Kind.HEARD, text, name, stamp_s, micro_turn, final=False)
            return [self._heard]
        if self._heard is None or micro_turn - self._heard.micro_turn < self._gap_turns:
            return []
        heard, self._heard = self._heard, None
        complete = Event(
            Role.USER, Kind.HEARD, heard.text, heard.event_id, heard.stamp_s, heard.micro_turn
        )
        return [self.add(complete)]

    def send(self, speech: Speech, micro_turn: int, stamp_s: float) -> int:
        """Notes what was sent to the loudspeaker.

        Returns:
            How many older utterances were forgotten because nobody said that they were played.
        """
        spoken = self._spoken.setdefault(speech.utterance_id, _Spoken(stamp_s, micro_turn))
        spoken.length_s += len(speech.pcm) / SAMPLE_RATE_HZ
        spoken.words += [(word, spoken.length_s) for word in speech.text.split()]
        forgotten = max(0, len(self._spoken) - OPEN_UTTERANCES)
        for name in list(self._spoken)[:forgotten]:
            del self._spoken[name]
        return forgotten

    def played(self, utterance_id: str, played_s: float, done: bool) -> list[Event]:
        """Takes a report of the loudspeaker.

        Args:
            utterance_id: The utterance.
            played_s: Seconds of it that really sounded so far.
            done: Whether it is over, played to its end or cut short.

        Returns:
            The words that really sounded, once the utterance is over.
        """
        if not done or utterance_id not in self._spoken:
            return []
        spoken = self._spoken.pop(utterance_id)
        tolerance_s = 0.001
        words = [word for word, until_s in spoken.words if until_s <= played_s + tolerance_s]
        if not words:
            return []
        said = Event(
            Role.ROBOT,
            Kind.SAID,
            ' '.join(words),
            self._next_id(),
            spoken.stamp_s,
            spoken.micro_turn,
            in_reply_to=utterance_id,
            heard_until_s=played_s,
        )
        return [self.add(said)]

    def _next_id(self) -> str:
        self._number += 1
        return f'{self._prefix}-{self._number}'
