# SPDX-License-Identifier: Apache-2.0
"""Cuts the model's speech into utterances, micro-turn by micro-turn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from interaction_node.model.interface import StepResult

UNKNOWN = -1


def _no_samples() -> np.ndarray:
    return np.zeros(0, np.int16)


@dataclass(frozen=True)
class Speech:
    """A piece of an utterance on its way to the loudspeaker; `SpeechChunk` without ROS.

    Attributes:
        utterance_id: The utterance that it belongs to.
        sequence: Number within the utterance, from 0.
        first_sample: When it should sound, on the microphone's counter; -1 for at once.
        pcm: (samples,) int16 at 16 kHz; empty where only `last` or `flush` is told.
        text: Words that begin to sound in it.
        last: Whether the utterance ends with it.
        flush: Whether everything that is queued is to be dropped first.
    """

    utterance_id: str
    sequence: int
    first_sample: int = UNKNOWN
    pcm: np.ndarray = field(default_factory=_no_samples)
    text: str = ''
    last: bool = False
    flush: bool = False


class Utterances:
    """Gives the model's speech utterance ids and sequence numbers, and says where utterances end.

    Args:
        prefix: Start of every utterance id; makes it unique within a run.
        gap_turns: Silent micro-turns after which an utterance is over; shorter pauses belong to it.
    """

    def __init__(self, prefix: str, gap_turns: int = 3):
        if gap_turns < 1:
            raise ValueError(f'gap_turns is {gap_turns}; expected at least 1')
        self._prefix = prefix
        self._gap_turns = gap_turns
        self._number = 0
        self._sequence = 0
        self._silent_turns = 0
        self._open = False

    def add(self, result: StepResult, first_sample: int) -> list[Speech]:
        """Turns a step of the model into what the loudspeaker needs to be told.

        Args:
            result: What the model decided.
            first_sample: Start of the micro-turn in which it should sound.

        Returns:
            Nothing, one piece, or two: a flush, and the new utterance that follows it.
        """
        pieces = [self.interrupt(first_sample)] if result.control == 'flush' else []
        if result.speech is not None or result.text:
            pcm = _no_samples() if result.speech is None else result.speech
            self._silent_turns = 0
            self._open = True
            pieces.append(self._next(first_sample, pcm=pcm, text=result.text))
        elif self._open:
            self._silent_turns += 1
            if self._silent_turns >= self._gap_turns:
                pieces.append(self._next(first_sample, last=True))
                self._end()
        return pieces

    def interrupt(self, first_sample: int = UNKNOWN) -> Speech:
        """Ends the utterance that is being said, if any, at once.

        Returns:
            The flush to send, also when nothing is being said.
        """
        piece = self._next(first_sample, last=True, flush=True)
        self._end()
        return piece

    def _next(self, first_sample: int, **fields: object) -> Speech:
        name = f'{self._prefix}-{self._number}'
        piece = Speech(name, self._sequence, first_sample, **fields)  # type: ignore[arg-type]
        self._sequence += 1
        return piece

    def _end(self) -> None:
        self._number += 1
        self._sequence = 0
        self._silent_turns = 0
        self._open = False
