# SPDX-License-Identifier: Apache-2.0
"""Speech written at its exact place on the microphone's sample counter, instead of played."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interaction_node.wav_timeline import WavTimeline

_REMEMBERED = 1_024


@dataclass
class _Piece:
    utterance_id: str
    sequence: int
    first_sample: int
    count: int


@dataclass(frozen=True)
class WrittenSpeech:
    """What was written, or that an utterance is over.

    Attributes:
        utterance_id: The utterance.
        sequence: Number of the piece.
        first_sample: Position of its first sample.
        pcm: (N,) int16 as written; empty where only an end is told.
        played: Samples of the utterance up to here.
        flushed: True where a flush cut it short.
        done: True where nothing more of it will be written.
    """

    utterance_id: str
    sequence: int
    first_sample: int
    pcm: np.ndarray
    played: int
    flushed: bool = False
    done: bool = False


class SpeechTimeline:
    """A loudspeaker made of a WAV file: bit for bit what was said, silence between."""

    def __init__(self, path: str | Path, fade_samples: int = 80) -> None:
        """Creates the file.

        Args:
            path: The WAV file, 16 kHz mono.
            fade_samples: Length of the fade at a flush, the only one.

        Raises:
            OSError: The file can't be written.
        """
        self._wav = WavTimeline(path)
        self._fade = fade_samples
        self._pieces: deque[_Piece] = deque(maxlen=_REMEMBERED)
        self._open: dict[str, tuple[int, int]] = {}  # utterance: (last sequence, samples)

    def say(
        self, utterance_id: str, sequence: int, first_sample: int, pcm: np.ndarray, last: bool
    ) -> WrittenSpeech:
        """Writes a piece of speech.

        Args:
            utterance_id: The utterance that it belongs to.
            sequence: Its number.
            first_sample: Where it starts; -1 puts it behind what is written.
            pcm: (N,) int16; may be empty.
            last: True where the utterance ends with it.

        Returns:
            What was written.

        Raises:
            ValueError: No WAV file is that long.
            OSError: The file can't be written.
        """
        first = first_sample if first_sample >= 0 else self._wav.length
        if len(pcm):
            self._wav.write(first, pcm)
            self._pieces.append(_Piece(utterance_id, sequence, first, len(pcm)))
        played = self._open.get(utterance_id, (0, 0))[1] + len(pcm)
        self._open[utterance_id] = (sequence, played)
        if last:
            del self._open[utterance_id]
        return WrittenSpeech(utterance_id, sequence, first, pcm, played, done=last)

    def flush(self, first_sample: int) -> list[WrittenSpeech]:
        """Ends all speech at a position: what is written behind it fades out and is erased.

        Args:
            first_sample: The position; -1 keeps all that is written.

        Returns:
            How each utterance ended that was under way or that lost samples.

        Raises:
            OSError: The file can't be written.
        """
        position = first_sample if first_sample >= 0 else self._wav.length
        lost = self._erase(position)
        ended = []
        for name in [*self._open, *(name for name in lost if name not in self._open)]:
            sequence, played = self._open.get(name, (0, 0))
            if name in lost:
                sequence, played = lost[name]
            nothing = np.zeros(0, np.int16)
            ended.append(WrittenSpeech(name, sequence, position, nothing, played, True, True))
        self._open.clear()
        return ended

    def close(self) -> None:
        """Closes the file."""
        self._wav.close()

    def _erase(self, position: int) -> dict[str, tuple[int, int]]:
        """Erases behind a position; returns what is left of each utterance that lost samples."""
        count = self._wav.length - position
        if count <= 0:
            return {}
        rest = np.zeros(count, np.int16)
        fade = min(self._fade, count)
        gain = 1.0 - np.arange(1, fade + 1) / self._fade
        rest[:fade] = np.rint(self._wav.read(position, fade) * gain)
        self._wav.write(position, rest)
        return self._shorten(position + fade)

    def _shorten(self, end: int) -> dict[str, tuple[int, int]]:
        touched = {p.utterance_id for p in self._pieces if p.first_sample + p.count > end}
        left: dict[str, tuple[int, int]] = {}
        for piece in self._pieces:
            piece.count = max(0, min(piece.count, end - piece.first_sample))
            if piece.utterance_id in touched and piece.count:
                before = left.get(piece.utterance_id, (0, 0))[1]
                left[piece.utterance_id] = (piece.sequence, before + piece.count)
        return {name: left.get(name, (0, 0)) for name in touched}
