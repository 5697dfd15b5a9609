# SPDX-License-Identifier: Apache-2.0
"""Pictures of what was measured."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

_OURS, _OTHERS = '#2a6fb0', '#b8b8b8'
_KINDS = ('matrix_products', 'attention', 'memory', 'small_steps')


def draw(figures: dict, curves: dict[str, list], output: Path) -> None:
    """Draws everything whose figures are there.

    Args:
        figures: Flat results.
        curves: Lists of [x, y].
        output: Folder for the pictures.
    """
    if 'hf_cache_ms_p50' in figures:
        _save(_rivals, figures, output / 'rivals.png')
    if 'profile_after_attention_ms' in figures:
        _save(_profile, figures, output / 'profile.png')
    if 'cost_curve' in curves:
        _save(_flat, curves, output / 'three_hours.png')
    if 'sessions_1_ms_each' in figures:
        _save(_sessions, figures, output / 'sessions.png')


def _save(paint, values: dict, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 3.6), layout='constrained')
    paint(axes, values)
    axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _rivals(axes: Axes, figures: dict) -> None:
    rows = {
        'memory bandwidth alone': figures['bandwidth_floor_ms'],
        'ours': figures['decoder_ms_p50'],
        'ours before packing': figures['decoder_before_ms_p50'],
        'transformers, cache of our window': figures['hf_cache_ms_p50'],
        'transformers, its cache after 10 min': figures['hf_unbounded_10min_ms_p50'],
        'window read anew': figures['reprefill_ms_p50'],
    }
    colours = [_OURS if name == 'ours' else _OTHERS for name in rows]
    bars = axes.barh(list(rows), list(rows.values()), color=colours)
    axes.bar_label(bars, fmt='%.2f', padding=3)
    axes.invert_yaxis()
    axes.set_xscale('log')
    axes.set_xlabel('processor time of a micro-turn, ms (4 tokens read, 2 written)')


def _profile(axes: Axes, figures: dict) -> None:
    left = {'before': 0.0, 'after': 0.0}
    for kind in _KINDS:
        widths = [figures.get(f'profile_{name}_{kind}_ms', 0.0) for name in left]
        axes.barh(list(left), widths, left=list(left.values()), label=kind.replace('_', ' '))
        left = {n: x + w for (n, x), w in zip(left.items(), widths, strict=True)}
    axes.invert_yaxis()
    axes.set_xlabel('profiled time of a whole step with pictures, ms')
    axes.legend(frameon=False)


def _flat(axes: Axes, curves: dict[str, list]) -> None:
    turns, cost = zip(*curves['cost_curve'], strict=True)
    axes.plot([n / 300 for n in turns], cost, color=_OURS, marker='.', label='ms a micro-turn')
    axes.set_ylim(0, 1.4 * max(cost))
    axes.set_xlabel('length of the conversation, minutes')
    axes.set_ylabel('processor time, ms')
    if 'rss_curve' in curves:
        turns, mib = zip(*curves['rss_curve'], strict=True)
        other = axes.twinx()
        other.plot([n / 300 for n in turns], mib, color='#c46a1c', label='resident memory')
        other.set_ylim(0, 1.4 * max(mib))
        other.set_ylabel('resident memory, MiB')
    axes.figure.legend(loc='upper right', frameon=False)


def _sessions(axes: Axes, figures: dict) -> None:
    counts = [n for n in range(1, 100) if f'sessions_{n}_ms_each' in figures]
    for end, label in (('ms_each', 'together'), ('one_by_one_ms_each', 'one after the other')):
        cost = [figures[f'sessions_{n}_{end}'] for n in counts]
        axes.plot(counts, cost, marker='o', label=label)
    axes.set_ylim(0)
    axes.set_xlabel('sessions')
    axes.set_ylabel('processor time of a session, ms a micro-turn')
    axes.legend(frameon=False)
