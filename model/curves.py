# SPDX-License-Identifier: Apache-2.0
"""The curves of a training run as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

_LOSSES = {
    'out': 'what to say and do',
    'boundary': 'when to speak',
    'heard': 'what was said',
    'sound': 'how it sounds',
}
_RIGHT = {'out_correct': 'said and done', 'heard_correct': 'heard', 'sound_correct': 'sounds'}
_PANELS = (
    ('loss', _LOSSES),
    ('share that is right', _RIGHT),
    ('seconds a step', {'step_s': 'in all', 'wait_s': 'waiting for sessions'}),
)
_SMOOTH = 15


def draw_curves(rows: Path, picture: Path) -> None:
    """Draws losses, accuracies and speed over the steps.

    Args:
        rows: `curves.jsonl` of `train.py`; a last line that is still being written is left out.
        picture: PNG file to write; nothing is written before there are two rows.
    """
    points = _read(rows)
    if len(points) < 2:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), layout='constrained')
    FigureCanvasAgg(figure)
    steps = np.array([point['step'] for point in points])
    for axes, (title, names) in zip(figure.subplots(3, 1, sharex=True), _PANELS, strict=True):
        for name, label in names.items():
            values = np.array([point.get(name, np.nan) for point in points], float)
            line = axes.plot(steps, values, alpha=0.25, linewidth=0.8)[0]
            axes.plot(steps, _smooth(values), color=line.get_color(), label=label)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize='small')
    axes.set_xlabel('steps')
    draft = picture.with_suffix('.new.png')
    figure.savefig(draft, dpi=90)
    draft.replace(picture)


def _read(rows: Path) -> list[dict]:
    points = []
    for line in rows.read_text('utf-8').splitlines():
        try:
            points.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return points


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean of the last few points."""
    sums = np.cumsum(np.concatenate([[0.0], np.nan_to_num(values)]))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(0, last - _SMOOTH)
    return (sums[last] - sums[first]) / (last - first)
