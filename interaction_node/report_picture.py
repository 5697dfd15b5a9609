# SPDX-License-Identifier: Apache-2.0
"""Draws the timeline of a recording as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from interaction_node.model.interface import SAMPLE_RATE_HZ
from interaction_node.session_timeline import Mark, Timeline

LONGEST_ROW_S = 36.0
_LETTER = 0.0046  # width of a letter, as a share of a row
_LINE = 0.29  # between lines of marks: three fit in between a voice and the video
COLOURS = {
    'heard': '#2a6fb5',
    'typed': '#2a6fb5',
    'said': '#d2691e',
    'intent': '#2f8f5b',
    'refused': '#c0392b',
    'plan': '#7a4fa3',
}
_LANES = {
    'heard': 1.98,
    'typed': 1.98,
    'said': -2.05,
    'intent': -3.0,
    'refused': -3.0,
    'plan': -3.9,
}


def draw_timeline(timeline: Timeline, path: Path) -> None:
    """Draws both voices, the video, what was understood, said, decided and planned.

    Args:
        timeline: What happened.
        path: PNG to write.
    """
    matplotlib.rcParams['font.family'] = 'DejaVu Sans'
    rows = max(1, int(np.ceil(timeline.duration_s / LONGEST_ROW_S)))
    row_s = max(5.0, timeline.duration_s / rows)
    figure = Figure(figsize=(15, 4.3 * rows), dpi=110, layout='constrained')
    axes = np.atleast_1d(figure.subplots(rows, 1))
    for row, ax in enumerate(axes):
        _draw_row(ax, timeline, row * row_s, row_s)
    figure.savefig(path)


def _draw_row(ax: Axes, timeline: Timeline, start_s: float, row_s: float) -> None:
    end_s = start_s + row_s
    _draw_voice(ax, timeline.user, start_s, end_s, 1.0, COLOURS['heard'])
    _draw_voice(ax, timeline.robot, start_s, end_s, -1.0, COLOURS['said'])
    for level in (1.0, -1.0):
        ax.axhline(level, color='#dfe3e8', lw=0.6, zorder=0)
    for at in np.arange(np.ceil(start_s), end_s):
        ax.axvline(at, color='#eef1f4', lw=0.8, zorder=-1)
    marks = [mark for mark in timeline.marks if start_s <= mark.t < end_s]
    for kind in _LANES:
        _draw_marks(ax, [mark for mark in marks if mark.kind == kind], start_s, end_s)
    for t, picture in timeline.thumbnails:
        if start_s <= t < end_s - 1.5:
            box = OffsetImage(picture, zoom=0.37)
            ax.add_artist(AnnotationBbox(box, (t + 0.9, 3.35), frameon=False))
    missed = [turn.t for turn in timeline.turns if turn.missed and start_s <= turn.t < end_s]
    ax.plot(missed, [0.0] * len(missed), 'v', color=COLOURS['refused'])
    ax.set(xlim=(start_s, end_s), ylim=(-4.7, 4.0), yticks=[])
    labels = {
        1.0: 'you',
        2.2: 'heard',
        -1.0: 'robot',
        -2.1: 'said',
        -3.05: 'acts',
        -3.95: 'planner',
    }
    ax.set_yticks(list(labels), list(labels.values()))
    ax.tick_params(length=0)
    ax.xaxis.set_major_formatter('{x:g} s')
    for side in ('top', 'right', 'left'):
        ax.spines[side].set_visible(False)


def _draw_voice(
    ax: Axes, pcm: np.ndarray, start_s: float, end_s: float, level: float, colour: str
) -> None:
    step = SAMPLE_RATE_HZ // 50
    loudest = max(1, int(np.abs(pcm.astype(np.int32)).max(initial=0)))
    part = pcm[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)]
    part = part[: len(part) // step * step].astype(np.float32).reshape(-1, step) / loudest
    at = start_s + np.arange(len(part)) / 50
    top, bottom = part.max(axis=1, initial=0), part.min(axis=1, initial=0)
    ax.fill_between(at, level + 0.8 * bottom, level + 0.8 * top, color=colour, lw=0, alpha=0.85)


def _draw_marks(ax: Axes, marks: list[Mark], start_s: float, end_s: float) -> None:
    free_s = [0.0, 0.0, 0.0]
    for mark in marks:
        text = mark.text if len(mark.text) < 70 else f'{mark.text[:67]}...'
        width_s = len(text) * _LETTER * (end_s - start_s)
        late = mark.t + width_s > end_s
        at = min(mark.t, end_s - 0.05) if late else mark.t
        begin_s = at - width_s if late else at  # what is late ends where it would begin
        row = next((i for i, free in enumerate(free_s) if free <= begin_s), int(np.argmin(free_s)))
        y = _LANES[mark.kind] + (_LINE * row if mark.kind in ('heard', 'typed') else -_LINE * row)
        align = 'right' if late else 'left'
        colour = COLOURS[mark.kind]
        ax.text(at, y, text, color=colour, fontsize=8.5, ha=align, va='center', clip_on=True)
        free_s[row] = begin_s + width_s + 0.2
