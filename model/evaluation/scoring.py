# SPDX-License-Identifier: Apache-2.0
"""Scores with their 95 % intervals, and how they are read out of what was said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from ..metrics import Expected, Word, all_in_time, interval_95
from ..tokens import number_words

Z_95 = 1.959964
# "twenty" and "one" are one number if the second begins this soon after the first.
_JOIN_S = 0.45
_SMALL = {number_words(n): n for n in range(20)}
_TENS = {number_words(n): n for n in range(20, 100, 10)}


@dataclass(frozen=True)
class Score:
    """One line of the table.

    Attributes:
        name: Set, or set and part: 'Command-syn.unseen_phrasing'.
        value: The score.
        n: What it was counted on.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    name: str
    value: float
    n: int
    low: float
    high: float


def rate(name: str, right: Iterable[bool], scale: float = 100.0) -> Score:
    """A share, with Wilson's interval."""
    values = [bool(value) for value in right]
    low, high = wilson(sum(values), len(values))
    share = sum(values) / len(values) if values else float('nan')
    return Score(name, scale * share, len(values), scale * low, scale * high)


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (JASA 22, 1927); (0, 1) for nothing."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = right / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def mean(name: str, values: Iterable[float], scale: float = 1.0) -> Score:
    """A mean, with a bootstrap interval."""
    data = [float(value) for value in values]
    if not data:
        return Score(name, float('nan'), 0, float('nan'), float('nan'))
    low, high = interval_95(data)
    return Score(name, scale * float(np.mean(data)), len(data), scale * low, scale * high)


def mean_of(name: str, scores: Sequence[Score], scale: float = 1.0) -> Score:
    """Mean of independent scores; its interval is recovered from theirs.

    MOVER: G. Zou, A. Donner, "Construction of confidence limits about effect measures",
    Statistics in Medicine 27 (2008).
    """
    values, low, high = (
        np.array([getattr(score, key) for score in scores]) for key in ('value', 'low', 'high')
    )
    middle = values.mean()
    below = np.sqrt(((values - low) ** 2).sum()) / len(scores)
    above = np.sqrt(((high - values) ** 2).sum()) / len(scores)
    n = sum(score.n for score in scores)
    lowest = max(0.0, float(middle - below))  # rounding may miss 0
    return Score(name, scale * middle, n, scale * lowest, scale * (middle + above))


def inverse(score: Score) -> Score:
    """One minus a rate between 0 and 1."""
    return Score(score.name, 1 - score.value, score.n, 1 - score.high, 1 - score.low)


def macro(
    name: str,
    judged: Sequence[dict],
    part: Callable[[str, Sequence[dict]], Score],
    key: str = 'category',
) -> list[Score]:
    """The mean over categories, and a score for each of them."""
    groups: dict[str, list[dict]] = defaultdict(list)
    for each in judged:
        groups[each[key]].append(each)
    parts = [part(f'{name}.{group}', groups[group]) for group in sorted(groups)]
    return [mean_of(name, parts), *parts]


def macro_rate(name: str, judged: Sequence[dict], key: str = 'right') -> list[Score]:
    """Macro-accuracy in percent, and the accuracy of each category."""
    return macro(name, judged, lambda part, group: rate(part, (each[key] for each in group)))


def per_hour(name: str, count: int, hours: float) -> Score:
    """Events in an hour, exact Poisson interval (F. Garwood, 1936); n is the minutes."""
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    high = chi2.ppf(0.975, 2 * count + 2) / 2
    return Score(name, count / hours, round(60 * hours), float(low / hours), float(high / hours))


def in_time(
    words: Sequence[Word], expected: Sequence[Expected], optional: Sequence[Expected] = ()
) -> bool:
    """Whether everything was said in time, and nothing else.

    Args:
        words: What was said.
        expected: What had to be said.
        optional: What may be said too.
    """
    said = utterances(words, [each.text for each in [*expected, *optional]])
    for each in optional:
        fits = [s for s in said if s[1] == each.text and each.earliest <= s[0] <= each.latest]
        if fits and not all_in_time(said, expected):
            said.remove(fits[0])
    return all_in_time(said, expected)


def utterances(words: Sequence[Word], texts: Sequence[str]) -> list[tuple[float, str]]:
    """(onset, text) of what was said; known texts of several words are put together."""
    known = sorted({tuple(text.split()) for text in texts}, key=len, reverse=True)
    said, at = [], 0
    while at < len(words):
        fits = (k for k in known if k == tuple(w.text for w in words[at : at + len(k)]))
        length = len(next(fits, (1,)))
        said.append((words[at].start, ' '.join(w.text for w in words[at : at + length])))
        at += length
    return said


def numbers(words: Sequence[Word]) -> list[tuple[float, int]]:
    """(onset, value) of the numbers among the words."""
    found: list[tuple[float, int]] = []
    open_tens: Word | None = None
    for word in words:
        joins = open_tens is not None and word.start - open_tens.end <= _JOIN_S
        if joins and 1 <= _SMALL.get(word.text, 0) <= 9:
            found[-1] = (found[-1][0], found[-1][1] + _SMALL[word.text])
        elif word.text in _SMALL or word.text in _TENS:
            found.append((word.start, _SMALL.get(word.text, _TENS.get(word.text, 0))))
        elif word.text == 'hundred' and found and found[-1][1] == 1:
            found[-1] = (found[-1][0], 100)
        open_tens = word if word.text in _TENS else None
    return found


def is_number(word: str) -> bool:
    """Whether a word is part of a number."""
    return word in _SMALL or word in _TENS or word == 'hundred'
