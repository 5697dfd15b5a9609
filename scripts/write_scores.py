# SPDX-License-Identifier: Apache-2.0
"""Writes the scores of `make eval` between the markers of README.md and docs/model_card.md.

`.venv/bin/python scripts/write_scores.py` after `make eval`; writing the same scores again changes
nothing. The pictures are copied to docs/.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from interaction_node.model.evaluation.report import STAND_IN, table, unflat
from interaction_node.model.evaluation.scoring import Score

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = '<!-- scores -->', '<!-- /scores -->'
PICTURES = ('scores.png', 'onsets.png')


def between_markers(page: str, text: str) -> str:
    """A page with other text between its markers.

    Raises:
        ValueError: The page does not have each marker once, in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f'page: expected {BEGIN} and {END}, once each and in this order')
    return f'{before}{BEGIN}\n{text.strip()}\n{END}{after}'


def readme_section(scores: list[Score], pictures: bool) -> str:
    """What the README says: the main scores."""
    picture = '![Scores beside published ones](docs/scores.png)\n\n' if pictures else ''
    parts = 'The [model card](docs/model_card.md#scores) has their parts.'
    return f'{STAND_IN}\n\n{picture}{table(scores, parts=False)}\n{parts}'


def card_section(scores: list[Score], steps: dict[str, float], pictures: bool) -> str:
    """What the model card says: all scores."""
    picture = '![Onsets beside those of people](onsets.png)\n\n' if pictures else ''
    took = ', '.join(f'{name.removeprefix("step_cpu_ms_")} {ms:g} ms' for name, ms in steps.items())
    speed = f'\nProcessor time of a step: {took}.' if steps else ''
    how = '[evaluation.md](evaluation.md) says how they are made.'
    return f'{STAND_IN} {how}\n\n{picture}{table(scores)}{speed}'


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--scores', type=Path, default=ROOT / 'out' / 'eval' / 'scores.json')
    parser.add_argument('--root', type=Path, default=ROOT, help='where README.md and docs/ are')
    options = parser.parse_args(arguments)
    numbers = json.loads(options.scores.read_text('utf-8'))
    scores = unflat(numbers)
    steps = {name: value for name, value in numbers.items() if name.startswith('step_cpu_ms_')}
    found = [p for p in (options.scores.parent / name for name in PICTURES) if p.exists()]
    for picture in found:
        shutil.copyfile(picture, options.root / 'docs' / picture.name)
    pictures = len(found) == len(PICTURES)
    for name, text in (
        ('README.md', readme_section(scores, pictures)),
        ('docs/model_card.md', card_section(scores, steps, pictures)),
    ):
        path = options.root / name
        path.write_text(between_markers(path.read_text('utf-8'), text), 'utf-8')
        print(f'wrote the scores of {path}')


if __name__ == '__main__':
    main()
