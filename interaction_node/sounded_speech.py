# SPDX-License-Identifier: Apache-2.0
"""Speech that sounded, with its time, joined to pieces that are worth a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from interaction_node.play_out import PlayedSpeech
from interaction_node.stream_resampler import MODEL_RATE_HZ

_SAME_S = 1.5 / MODEL_RATE_HZ


@dataclass(frozen=True)
class SoundedSpeech:
    """A record of the play-out with its time.

    Attributes:
        start_s: ROS time at which its first sample sounded, seconds.
        item: The record.
    """

    start_s: float
    item: PlayedSpeech


def merged(sounded: Sequence[SoundedSpeech]) -> list[SoundedSpeech]:
    """Joins records of the same chunk that follow each other without a gap."""
    joined: list[SoundedSpeech] = []
    for record in sounded:
        if joined and _follows(joined[-1], record):
            before = joined[-1]
            pcm = np.concatenate([before.item.pcm, record.item.pcm])
            joined[-1] = SoundedSpeech(before.start_s, replace(record.item, offset=0, pcm=pcm))
        else:
            joined.append(record)
    return joined


def _follows(before: SoundedSpeech, record: SoundedSpeech) -> bool:
    first, second = before.item, record.item
    if (first.utterance_id, first.sequence) != (second.utterance_id, second.sequence):
        return False
    end_s = before.start_s + len(first.pcm) / MODEL_RATE_HZ
    return not first.done and (not len(second.pcm) or abs(record.start_s - end_s) < _SAME_S)
