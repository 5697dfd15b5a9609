# SPDX-License-Identifier: Apache-2.0
"""How long the robot took to answer, and where the time went."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from interaction_node.model.interface import SAMPLE_RATE_HZ, TURN_S
from interaction_node.session_timeline import Onset, Timeline

LONGEST_S = 1.6
EARLY_S = 0.25
AUDIBLE = 328  # 1 % of full scale


@dataclass(frozen=True)
class Latency:
    """From the end of what was said to the first sample of the answer, seconds.

    Attributes:
        asked: What was said.
        answered: What the robot said.
        total_s: The whole time; the sum of the others.
        window_s: Until the micro-turn in which it ended was complete.
        decision_s: Whole micro-turns that the model let pass before it answered.
        step_s: The model's computation.
        transport_s: Messages, queues and the device.
    """

    asked: str
    answered: str
    total_s: float
    window_s: float
    decision_s: float
    step_s: float
    transport_s: float

    def as_dict(self) -> dict:
        """JSON-ready, times to a tenth of a millisecond."""
        values = asdict(self)
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}


def measure_latency(timeline: Timeline, script: list[dict]) -> list[Latency]:
    """Pairs what was said with the utterance of the robot that follows.

    Args:
        timeline: What happened.
        script: Entries with 'end' in seconds, 'text', and 'answer' (the words expected; an entry
            without one expects none and is left out).
    """
    latencies = []
    for entry in script:
        if not entry.get('answer'):
            continue
        onset = _answer(timeline.onsets, entry)
        if onset is not None:
            latencies.append(_split(entry, onset))
    return latencies


def _answer(onsets: list[Onset], entry: dict) -> Onset | None:
    candidates = [
        onset
        for onset in onsets
        if -EARLY_S <= onset.t - entry['end'] <= LONGEST_S
        and onset.text.startswith(entry['answer'])
    ]
    return min(candidates, key=lambda onset: onset.t, default=None)


def _split(entry: dict, onset: Onset) -> Latency:
    total_s = onset.t - entry['end']
    complete_s = -(-entry['end'] // TURN_S) * TURN_S
    step_s = onset.step_ms / 1e3
    return Latency(
        entry['text'],
        onset.text,
        total_s,
        complete_s - entry['end'],
        onset.window_end_s - complete_s,
        step_s,
        onset.t - onset.window_end_s - step_s,
    )


def stop_latency_s(timeline: Timeline, script: list[dict]) -> float | None:
    """From the end of "stop" to the last sample of the speech that it cut off, seconds.

    Args:
        timeline: What happened.
        script: Entries with 'end' and 'skill'; those with the skill 'stop' count.

    Returns:
        The largest of the recording, negative if the robot was silent before the word was over;
        None if it was not speaking whenever it was told to stop.
    """
    found = []
    loud = np.abs(timeline.robot.astype(np.int32)) > AUDIBLE
    for entry in script:
        if entry.get('skill') != 'stop':
            continue
        first = int((entry['start'] - 0.1) * SAMPLE_RATE_HZ)
        onset = _answer(timeline.onsets, entry)
        last = int(((onset.t if onset else entry['end'] + 1.0) - 0.05) * SAMPLE_RATE_HZ)
        sounding = np.flatnonzero(loud[max(0, first) : last])
        if len(sounding):
            found.append((first + sounding[-1] + 1) / SAMPLE_RATE_HZ - entry['end'])
    return max(found, default=None)
