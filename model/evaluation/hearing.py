# SPDX-License-Identifier: Apache-2.0
"""Writes what people say to the robot as WAV files, and what the model heard in them.

`make hearing` calls it, and then a recogniser that hears the same. The voices, phrases, rooms and
noises are those of the test sets. Beside the sound stands texts.json ({name: {text, kind, groups,
heard}}), which judge_speech.py reads.
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path

import soundfile
from tqdm import tqdm

from ..data.pack import shipped_bank
from ..data.phrases import SHARED
from ..interface import SAMPLE_RATE_HZ, InteractionModel
from .living import live
from .models import load_model
from .sample import Sample
from .studio import Studio
from .take import Take, make

KINDS = ('command', 'cue_set', 'time_set', 'count_set')


def told(take: Take, index: int) -> Sample:
    """One phrase that the robot is to act on."""
    kind = KINDS[index % len(KINDS)]
    said = take.say(kind)
    take.wait(0.8, 1.2)
    trained = 'phrases trained' if said.clip.text_split == SHARED else 'phrases held out'
    return take.sample(kind, text=said.clip.text, groups=[trained, said.clip.engine])


def write(folder: Path, studio: Studio, model: InteractionModel, count: int) -> None:
    """Lets a model hear phrases.

    Args:
        folder: Gets the sound, 16 kHz, and texts.json.
        studio: Who speaks.
        model: What listens.
        count: Phrases.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {}
    for index in tqdm(range(count), desc='hearing', unit='phrase'):
        sample = make(studio, 'Hearing', index, functools.partial(told, index=index))
        heard = ' '.join(word for _, word in live(model, sample).heard)
        name = f'{index:03}'
        soundfile.write(folder / f'{name}.wav', sample.pcm, SAMPLE_RATE_HZ)
        texts[name] = {'kind': sample.category, **sample.truth, 'heard': heard}
    (folder / 'texts.json').write_text(json.dumps(texts, indent=0) + '\n', encoding='utf-8')


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--model', default='', help='a checkpoint; default: the shipped one')
    parser.add_argument('--count', type=int, default=200, help='phrases (default: %(default)s)')
    parser.add_argument(
        '--split',
        choices=['val', 'test'],
        default='test',
        help='whose voices and phrases; val needs a bank that has them (default: %(default)s)',
    )
    parser.add_argument(
        '--bank', type=Path, default=Path('.cache/bank'), help='for val (default: %(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, help='decides the phrases')
    parser.add_argument('--output', type=Path, default=Path('out/hearing/test'), help='folder')
    options = parser.parse_args()
    try:
        root = shipped_bank() if options.split == 'test' else options.bank
        studio = Studio(root, options.seed, options.split)
        write(options.output, studio, load_model(options.model), options.count)
    except (ValueError, OSError) as error:
        parser.exit(1, f'hearing: {error}\n')


if __name__ == '__main__':
    main()
