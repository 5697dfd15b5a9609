# SPDX-License-Identifier: Apache-2.0
"""Lines of text on their way into the network, as tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .interface import Role, TextInput
from .snapshot import Snapshot
from .summary import Summary
from .tokens import Vocabulary
from .voice import Voice

MAX_TEXT_TOKENS = 160
SUMMARY = 'summary:'
# The largest part of what the model sees that a summary may take.
_SUMMARY_SHARE = 0.25
_ROLE_TOKENS = {Role.USER: '<user>', Role.PLANNER: '<planner>', Role.SYSTEM: '<system>'}


class Lines:
    """What waits to be read: typed lines, results, the summary, and that a result has been said.

    Args:
        vocabulary: Tokens of the network.
        window: Tokens that the network sees; None if it sees all.

    Attributes:
        waiting: Tokens that the network has not read yet.
        summary: Stands for what it no longer sees.
    """

    def __init__(self, vocabulary: Vocabulary, window: int | None):
        self._vocabulary, self._window = vocabulary, window
        self.summary = Summary(window)
        self.waiting: list[int] = []

    def reset(self) -> None:
        """Forgets everything."""
        self.waiting = []
        self.summary.reset()

    def remember(self, summary: str) -> None:
        """Sets the summary; see `Session.remember`."""
        words, most = summary.split(), _SUMMARY_SHARE * (self._window or 0)
        while self._window and len(self._vocabulary.encode(' '.join(words))) > most:
            words.pop()
        self.summary.set(' '.join(words))

    def take(self, lines: Iterable[TextInput], position: int, voice: Voice) -> list[int]:
        """What is read in a micro-turn.

        Args:
            lines: What arrived in it.
            position: Tokens that the network has read so far.
            voice: Is told of results, which it is to say, and of interruptions.

        Returns:
            At most 160 tokens; others wait for the next micro-turn.
        """
        for line in lines:
            self._add(line, voice)
        if not self.waiting and (summary := self.summary.take(position)):
            self._encode(Role.SYSTEM, summary)
        if voice.finished_text:
            voice.finished_text = False
            self.waiting.append(self._vocabulary['<read_done>'])
        taken, self.waiting = self.waiting[:MAX_TEXT_TOKENS], self.waiting[MAX_TEXT_TOKENS:]
        return taken

    def _add(self, line: TextInput, voice: Voice) -> None:
        if line.role == Role.SYSTEM and line.text == 'interrupt':
            voice.reset()
        if line.role == Role.SYSTEM and line.text.startswith(SUMMARY):
            self.remember(line.text.removeprefix(SUMMARY))
        elif line.role in _ROLE_TOKENS:
            if line.role == Role.PLANNER:
                voice.add_text(line.text)
            self._encode(line.role, line.text)

    def _encode(self, role: Role, text: str) -> None:
        ids = self._vocabulary.ids
        self.waiting += [ids[_ROLE_TOKENS[role]], *self._vocabulary.encode(text), ids['<end>']]

    def snapshot(self) -> Snapshot:
        """What `restore` needs."""
        facts: dict[str, Any] = {'waiting': list(self.waiting)}
        taken = Snapshot({}, facts)
        taken.add('summary', self.summary.snapshot())
        return taken

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on as when the snapshot was taken."""
        self.waiting = list(snapshot.facts['waiting'])
        self.summary.restore(snapshot.part('summary'))
