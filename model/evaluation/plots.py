# SPDX-License-Identifier: Apache-2.0
"""Pictures of the scores beside what others published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .published import PUBLISHED
from .scoring import Score
from .turn_taking import HUMAN_S

_OURS, _OTHERS, _AIM = '#2a6f97', '#c9c9c9', '#bc4749'
_COLUMNS = 3


def plot_scores(path: Path, scores: Sequence[Score]) -> None:
    """One panel a set: ours, hatched as a stand-in, with its interval, and the others."""
    plt = _pyplot()
    shown = [s for s in scores if s.name in PUBLISHED and np.isfinite(s.value)]
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(13, 1.9 * rows + 0.6), squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, score in zip(axes.flat, shown, strict=False):
        _panel(axis, score)
    figure.suptitle(
        'Ours (hatched): stand-in sets of our own. Others (grey): real sets, as published.'
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis, score: Score) -> None:
    known = PUBLISHED[score.name]
    names = ['ours (stand-in)', *(name for name, _ in known.systems)]
    values = [score.value, *(value for _, value in known.systems)]
    at = np.arange(len(names))[::-1]
    colours = [_OURS, *[_OTHERS] * len(known.systems)]
    bars = axis.barh(at, values, color=colours, height=0.7)
    bars[0].set_hatch('//')
    bars[0].set_edgecolor('white')
    error = [[max(0.0, score.value - score.low)], [max(0.0, score.high - score.value)]]
    axis.errorbar([score.value], [at[0]], xerr=error, color='black', capsize=3, lw=1)
    if known.target is not None:
        axis.axvline(known.target, color=_AIM, lw=1.2, ls='--')
    axis.set_yticks(at, names, fontsize=8)
    better = ' (less is better)' if known.lower_is_better else ''
    axis.set_title(f'{score.name}\n{known.title}{better}', fontsize=8.5, loc='left')
    axis.set_xlabel(known.unit, fontsize=8)
    axis.set_ylim(min(-0.6, at[0] - 3.6), at[0] + 0.6)
    axis.spines[['top', 'right']].set_visible(False)
    top = (
        100 if known.unit in ('%', 'x 100') else max([*values, score.high, known.target or 0]) * 1.1
    )
    axis.set_xlim(0, top or 1)


def plot_onsets(path: Path, onsets_s: Sequence[float]) -> None:
    """When it begins to speak after a turn, beside when people do."""
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(8, 3.6))
    bins = np.arange(-1.5, 2.51, 0.1)
    axis.hist(HUMAN_S, bins, density=True, color=_OTHERS, label='people (from three medians)')
    if onsets_s:
        axis.hist(onsets_s, bins, density=True, color=_OURS, alpha=0.75, label='ours (stand-in)')
    axis.axvline(0, color='black', lw=0.8)
    axis.set_xlabel('first word after the end of the turn, s')
    axis.set_yticks([])
    axis.spines[['top', 'right', 'left']].set_visible(False)
    axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _pyplot():
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    return pyplot
