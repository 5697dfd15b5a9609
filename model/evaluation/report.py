# SPDX-License-Identifier: Apache-2.0
"""Scores as JSON, as a table, and as pictures beside what others published."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from .published import PUBLISHED, Published
from .scoring import Score

STAND_IN = (
    'Ours are measured on stand-in sets of our own making; the published figures beside them are '
    'of the real sets. They show where others stand, not who is better.'
)


def flat(scores: Sequence[Score]) -> dict[str, float | int | None]:
    """`name`, `name.n`, `name.low`, `name.high`; None where there was nothing to count."""
    found: dict[str, float | int | None] = {}
    for score in scores:
        found[score.name] = _finite(score.value)
        found[f'{score.name}.n'] = score.n
        found[f'{score.name}.low'] = _finite(score.low)
        found[f'{score.name}.high'] = _finite(score.high)
    return found


def _finite(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def unflat(numbers: dict) -> list[Score]:
    """Scores from the dictionary that `flat` makes."""
    names = [name for name in numbers if f'{name}.n' in numbers]
    scores = []
    for name in names:
        value, low, high = (_number(numbers[key]) for key in (name, f'{name}.low', f'{name}.high'))
        scores.append(Score(name, value, int(numbers[f'{name}.n']), low, high))
    return scores


def _number(value: float | None) -> float:
    return float('nan') if value is None else float(value)


def table(scores: Sequence[Score], parts: bool = True) -> str:
    """A table in Markdown.

    Args:
        scores: What to show.
        parts: Whether the parts of the sets have lines too.
    """
    lines = [
        '| set | ours | 95 % interval | n | aim | published, on the real set |',
        '|---|---|---|---|---|---|',
    ]
    names = [score.name for score in scores]
    for score in scores:
        known = PUBLISHED.get(score.name)
        if known is None and not parts:
            continue
        name = f'**{score.name}**' if known else _part(score.name, names)
        value = f'**{shown(score.value, score)}**' if known else shown(score.value, score)
        interval = f'{shown(score.low, score)} – {shown(score.high, score)}'
        lines.append(
            f'| {name} | {value} | {interval} | {score.n} | {_aim(known)} | {_others(known)} |'
        )
    return '\n'.join(lines) + '\n'


def _part(name: str, names: Sequence[str]) -> str:
    """'Set · part' for a part of one of the sets."""
    sets = [each for each in names if name.startswith(f'{each}.')]
    whole = max(sets, key=len, default='')
    return f'{whole} · {name.removeprefix(whole + ".")}' if whole else name


def shown(value: float, score: Score) -> str:
    """A number with as many digits as it deserves."""
    if not math.isfinite(value):
        return '–'
    small = score.name.endswith('_s') or abs(score.high) <= 1.5
    return f'{value:.2f}' if small else f'{value:.1f}'


def _aim(known: Published | None) -> str:
    if known is None or known.target is None:
        return ''
    return f'{"≤" if known.lower_is_better else "≥"} {known.target:g}'


def _others(known: Published | None) -> str:
    return ', '.join(f'{name} {value:g}' for name, value in known.systems) if known else ''


def write(folder: Path, scores: Sequence[Score], notes: Sequence[str]) -> None:
    """Writes scores.json and scores.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'scores.json').write_text(json.dumps(flat(scores), indent=1) + '\n', 'utf-8')
    text = '# Scores\n\n' + ''.join(f'{note}\n\n' for note in [STAND_IN, *notes])
    (folder / 'scores.md').write_text(text + table(scores), 'utf-8')
