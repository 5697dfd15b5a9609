# SPDX-License-Identifier: Apache-2.0
"""One sample of the folder interface for evaluation: what is read, and what is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from interaction_node.audio_file import read_pcm16
from interaction_node.model.interface import SAMPLE_RATE_HZ, TURN_S, TURN_SAMPLES, Role
from interaction_node.model.word_times import word_times

INPUT_WAV = 'input.wav'
INPUT_VIDEO = 'video.mp4'
INPUT_TEXT = 'text.jsonl'


@dataclass(frozen=True)
class TimedText:
    """A line of `text.jsonl`."""

    time_s: float
    text: str
    role: Role = Role.USER


@dataclass(frozen=True)
class Sample:
    """What the model is to perceive.

    Attributes:
        folder: The sample's folder.
        pcm: (samples,) int16 at 16 kHz mono.
        video: The video, or None.
        lines: Typed text and planner results, by time.
    """

    folder: Path
    pcm: np.ndarray
    video: Path | None
    lines: tuple[TimedText, ...]

    @property
    def turns(self) -> int:
        """Number of micro-turns that cover the sound."""
        return -(-len(self.pcm) // TURN_SAMPLES)

    @property
    def padded_pcm(self) -> np.ndarray:
        """The sound with silence after it, so that it fills the last micro-turn."""
        return np.pad(self.pcm, (0, self.turns * TURN_SAMPLES - len(self.pcm)))


@dataclass
class SampleRecord:
    """What the model did, micro-turn by micro-turn; the times are seconds from the start.

    Attributes:
        pcm: (turns * 3200,) int16, the speech in its place.
        words: (time at which it begins to be said, text).
        intents: Lines of `intents.jsonl`.
        plan_requests: Lines of `plan_requests.jsonl`.
        micro_turns: Lines of `micro_turns.jsonl`.
    """

    pcm: np.ndarray
    words: list[tuple[float, str]] = field(default_factory=list)
    intents: list[dict] = field(default_factory=list)
    plan_requests: list[dict] = field(default_factory=list)
    micro_turns: list[dict] = field(default_factory=list)

    @classmethod
    def of(cls, sample: Sample) -> SampleRecord:
        """An empty record of a sample."""
        return cls(np.zeros(sample.turns * TURN_SAMPLES, np.int16))

    def add_speech(self, first_sample: int, pcm: np.ndarray, text: str) -> None:
        """Puts speech in its place; what would sound after the end is left out."""
        room = max(0, min(len(pcm), len(self.pcm) - first_sample))
        self.pcm[first_sample : first_sample + room] = pcm[:room]
        if text and first_sample < len(self.pcm):
            self.words.append((first_sample / SAMPLE_RATE_HZ, text))

    def add_turn(self, index: int, step_ms: float, text: str, control: str) -> None:
        """Notes a micro-turn."""
        self.micro_turns.append(
            {
                'index': index,
                't': turn_end_s(index),
                'step_ms': round(step_ms, 3),
                'text': text,
                'control': control,
            }
        )

    def add_intent(
        self,
        index: int,
        skill: str,
        arguments: dict,
        phase: str,
        priority: int,
        confidence: float,
    ) -> None:
        """Notes an action that was decided on in a micro-turn."""
        self.intents.append(
            {
                't': turn_end_s(index),
                'skill': skill,
                'arguments': arguments,
                'phase': phase,
                'priority': int(priority),
                'confidence': round(float(confidence), 6),
            }
        )

    def add_plan_request(self, index: int, goal: str) -> None:
        """Notes a goal that was handed to the planner in a micro-turn."""
        self.plan_requests.append({'t': turn_end_s(index), 'goal': goal})


def turn_end_s(index: int) -> float:
    """When a micro-turn ends, and what is decided in it is known, seconds from the start."""
    return round((index + 1) * TURN_S, 6)


def find_samples(path: Path) -> list[Path]:
    """Finds the sample folders.

    Args:
        path: A folder with `input.wav`, or a folder of such folders.

    Returns:
        The sample folders, sorted.

    Raises:
        ValueError: There is none.
    """
    if (path / INPUT_WAV).is_file():
        return [path]
    found = sorted(wav.parent for wav in path.glob(f'*/{INPUT_WAV}'))
    if not found:
        raise ValueError(f'--input {path}: expected {INPUT_WAV} in it, or folders with one each')
    return found


def load_sample(folder: Path) -> Sample:
    """Reads a sample.

    Raises:
        ValueError: A file can't be read; the message names it and, for text, the line.
    """
    video = folder / INPUT_VIDEO
    return Sample(
        folder,
        read_pcm16(folder / INPUT_WAV),
        video if video.is_file() else None,
        _read_lines(folder / INPUT_TEXT),
    )


def write_record(folder: Path, record: SampleRecord, samples: int) -> None:
    """Writes `output.wav`, `output.json`, and `.jsonl` of intents, plan requests, micro-turns.

    Args:
        folder: Where to; made if it doesn't exist.
        record: What the model did.
        samples: Length of the input at 16 kHz, to which the output is cut.
    """
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    pcm = record.pcm[:samples]
    soundfile.write(folder / 'output.wav', pcm, SAMPLE_RATE_HZ, subtype='PCM_16')
    chunks = word_chunks(record.words, pcm)
    transcript = {'text': ' '.join(chunk['text'] for chunk in chunks), 'chunks': chunks}
    (folder / 'output.json').write_text(json.dumps(transcript, indent=2) + '\n')
    for name in ('intents', 'plan_requests', 'micro_turns'):
        lines = (json.dumps(line) + '\n' for line in getattr(record, name))
        (folder / f'{name}.jsonl').write_text(''.join(lines))


def word_chunks(words: Sequence[tuple[float, str]], pcm: np.ndarray) -> list[dict]:
    """Says when each word sounds.

    Args:
        words: (start of the micro-turn in which it begins, one or more words), by time.
        pcm: (samples,) int16, the speech in its place.

    Returns:
        {'text', 'timestamp': [start, end]} for each word, seconds, within the sound that is audible
        between its micro-turn and the next word.
    """
    return [
        {'text': word.text, 'timestamp': [word.start, word.end]} for word in word_times(words, pcm)
    ]


def _read_lines(path: Path) -> tuple[TimedText, ...]:
    if not path.is_file():
        return ()
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if text.strip():
            try:
                line = json.loads(text)
                role = Role[line.get('role', 'USER')]
                lines.append(TimedText(float(line['t']), str(line['text']), role))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f'{path}, line {number}: expected {{"t": seconds, "text": ...}} with a role of '
                    f'{", ".join(Role.__members__)} if any, found {text!r} ({error})'
                ) from None
    return tuple(sorted(lines, key=lambda line: line.time_s))
