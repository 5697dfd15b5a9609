# SPDX-License-Identifier: Apache-2.0
"""Scores of conversations, by the definitions that were published with the benchmarks.

Full-Duplex-Bench v1 (arXiv:2503.04721), v1.5 (arXiv:2507.23159); TimeSpeak, CueSpeak and RepCount
as in Thinking Machines Lab's post of May 2026; ProactiveVideoQA's PAUC (arXiv:2507.09313); temporal
IoU as on Charades-STA. Every function is pure: word times in, a number out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wasserstein_distance

TAKEOVER_S = 1.0
TAKEOVER_WORDS = 3
BACKCHANNEL_WORDS = 2
VOICED_TAKEOVER_S = 3.0
# Human turn-taking: medians of the gap, the overlap and the interval between speakers, seconds.
HUMAN_GAP_S, HUMAN_OVERLAP_S, HUMAN_INTERVAL_S = 0.38, -0.41, 0.08


@dataclass(frozen=True)
class Word:
    """A word of the model.

    Attributes:
        text: The word.
        start: When it begins, seconds.
        end: When it ends, seconds.
    """

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Expected:
    """Something that should be said.

    Attributes:
        text: The words.
        earliest: When it may begin at the earliest, seconds.
        latest: And at the latest.
    """

    text: str
    earliest: float
    latest: float


def takes_over(words: Sequence[Word]) -> bool:
    """Whether the model took the turn (TOR of one clip).

    It did not if it said nothing, or only at most 3 words within less than 1 s.
    """
    if not words:
        return False
    span_s = max(w.end for w in words) - min(w.start for w in words)
    return not (span_s < TAKEOVER_S and len(words) <= TAKEOVER_WORDS)


def five_rate_mean(
    pause_synthetic: float,
    pause_natural: float,
    backchannel: float,
    turn: float,
    interruption: float,
) -> float:
    """Mean of the five takeover rates of Full-Duplex-Bench v1, turned so that 1 is best."""
    return float(
        np.mean([1 - pause_synthetic, 1 - pause_natural, 1 - backchannel, turn, interruption])
    )


def response_latency_s(words: Sequence[Word], turn_end_s: float) -> float | None:
    """First word's onset minus the end of the user's turn, clipped at 0; None without takeover."""
    if not takes_over(words):
        return None
    return max(0.0, min(w.start for w in words) - turn_end_s)


def voiced_segments(words: Sequence[Word], join_s: float = 0.3) -> list[list[Word]]:
    """Words grouped into segments without pauses longer than `join_s`."""
    segments: list[list[Word]] = []
    for word in sorted(words, key=lambda w: w.start):
        if segments and word.start - segments[-1][-1].end <= join_s:
            segments[-1].append(word)
        else:
            segments.append([word])
    return segments


def classify_segment(segment: Sequence[Word]) -> str:
    """'takeover' (over 3 s or 3 words), 'backchannel' (under 1 s, at most 2 words), 'other'."""
    length_s = segment[-1].end - segment[0].start
    if length_s > VOICED_TAKEOVER_S or len(segment) > TAKEOVER_WORDS:
        return 'takeover'
    if length_s < TAKEOVER_S and len(segment) <= BACKCHANNEL_WORDS:
        return 'backchannel'
    return 'other'


def backchannel_frequency(words: Sequence[Word], duration_s: float) -> float:
    """Backchannels of the model per second."""
    kinds = [classify_segment(segment) for segment in voiced_segments(words)]
    return kinds.count('backchannel') / duration_s


def stop_latency_s(words: Sequence[Word], user_start_s: float) -> float | None:
    """v1.5: end of the segment that the user broke into, minus the start of the user.

    None if the model was not speaking when the user began.
    """
    for segment in voiced_segments(words):
        if segment[0].start < user_start_s < segment[-1].end:
            return segment[-1].end - user_start_s
    return None


def restart_latency_s(words: Sequence[Word], user_end_s: float) -> float | None:
    """v1.5: start of the model's first segment after the user, minus the user's end."""
    starts = [s[0].start for s in voiced_segments(words) if s[0].start >= user_end_s]
    return starts[0] - user_end_s if starts else None


def all_in_time(said: Sequence[tuple[float, str]], expected: Sequence[Expected]) -> bool:
    """TimeSpeak, CueSpeak: meaning and time are right, and nothing extra was said.

    Args:
        said: (onset in seconds, text) of the utterances.
        expected: What should have been said, in any order.
    """
    left = list(said)
    for each in sorted(expected, key=lambda e: e.latest):
        fits = [s for s in left if s[1] == each.text and each.earliest <= s[0] <= each.latest]
        if not fits:
            return False
        left.remove(min(fits))
    return not left


def macro_accuracy(right: dict[str, Sequence[bool]]) -> float:
    """Mean over categories of the share that is right, in percent; empty ones don't count."""
    shares = [np.mean(values) for values in right.values() if len(values)]
    return 100 * float(np.mean(shares)) if shares else 0.0


def count_at(numbers: Sequence[tuple[float, int]], penultimate_s: float) -> int:
    """RepCount, online: the last number said after the penultimate repetition; 0 if none."""
    after = [number for t, number in numbers if t >= penultimate_s]
    return after[-1] if after else 0


def off_by_one(counted: Sequence[int], truth: Sequence[int]) -> float:
    """OBO: share of clips counted to within one, in percent."""
    difference = np.abs(np.asarray(counted) - np.asarray(truth))
    return 100 * float(np.mean(difference <= 1))


def count_error(counted: Sequence[int], truth: Sequence[int]) -> float:
    """MAE: mean of |c' - c| / c."""
    true = np.asarray(truth, float)
    return float(np.mean(np.abs(np.asarray(counted) - true) / true))


def pauc(
    span: tuple[float, float], replies: Sequence[tuple[float, float]], weight: float = 0.5
) -> float:
    """ProactiveVideoQA's area under the curve of one reply span, 0 to 1; 0.25 without a reply.

    Args:
        span: (t0, t1) in which a reply is due, seconds.
        replies: (time, score 0 to 2) of the replies within it.
        weight: How much early replies count.
    """
    t0, t1 = span
    if not replies:
        return 0.25
    times = [t0 + (1 - weight) * (t - t0) for t, _ in sorted(replies)]
    scores = [score for _, score in sorted(replies)]
    area = (times[0] - t0) * 0.5
    area += sum((b - a) * s for a, b, s in zip(times, times[1:], scores, strict=False))
    area += (t1 - times[-1]) * scores[-1]
    return area / (2 * (t1 - t0))


def temporal_iou(predicted: tuple[float | None, float | None], truth: tuple[float, float]) -> float:
    """IoU of (start, stop) with the truth; 0 if a word is missing or they come the wrong way."""
    start, stop = predicted
    if start is None or stop is None or stop <= start:
        return 0.0
    overlap = min(stop, truth[1]) - max(start, truth[0])
    union = max(stop, truth[1]) - min(start, truth[0])
    return max(0.0, overlap) / union


def pass_at_1(called: Sequence[tuple[str, dict]], wanted: Sequence[tuple[str, dict]]) -> bool:
    """v3: every expected skill is called with the right arguments, and none extra."""
    left = list(called)
    for each in wanted:
        if each not in left:
            return False
        left.remove(each)
    return not left


def onset_distance_s(onsets_s: Sequence[float], human_s: Sequence[float]) -> float:
    """Wasserstein-1 distance of onset times to human ones."""
    return float(wasserstein_distance(onsets_s, human_s))


def interval_95(values: Sequence[float], rounds: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Bootstrap 95 % interval of a mean."""
    data = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, len(data), (rounds, len(data)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
