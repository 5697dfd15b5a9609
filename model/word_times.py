# SPDX-License-Identifier: Apache-2.0
"""When the words of the robot sound."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .interface import SAMPLE_RATE_HZ
from .metrics import Word

AUDIBLE = 328  # 1 % of full scale


def word_times(words: Sequence[tuple[float, str]], pcm: np.ndarray) -> list[Word]:
    """Says when each word sounds.

    Args:
        words: (start of the micro-turn in which it begins, one or more words), by time.
        pcm: (samples,) int16, the speech in its place.

    Returns:
        The words, each within the sound that is audible between its micro-turn and the next word.
    """
    starts = [round(time_s * SAMPLE_RATE_HZ) for time_s, _ in words]
    found = []
    for (_, text), (start, end) in zip(words, pairwise([*starts, len(pcm)]), strict=True):
        audible = start + np.flatnonzero(np.abs(pcm[start:end].astype(np.int32)) >= AUDIBLE)
        first, last = (audible[0], audible[-1] + 1) if len(audible) else (start, start)
        edges = np.linspace(first, last, len(text.split()) + 1) / SAMPLE_RATE_HZ
        found += [
            Word(word, round(float(begin), 3), round(float(stop), 3))
            for word, begin, stop in zip(text.split(), edges, edges[1:], strict=False)
        ]
    return found
