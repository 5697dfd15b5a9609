# SPDX-License-Identifier: Apache-2.0
"""Runs and scores a model on folders of Full-Duplex-Bench, or writes our stand-ins as such folders.

`python -m interaction_node.model.evaluation.full_duplex_run --data DIR` writes output.wav and
output.json into every sample, for the public scorers, and prints what can be scored without a
language model: all of v1 but the relevance of answers, and the times of v1.5.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import metrics
from ..data.pack import shipped_bank
from ..interface import TURN_SAMPLES
from . import overlap, report, turn_taking
from .full_duplex_bench import BenchSample, read, read_output, write, write_output
from .living import live
from .models import load_model
from .sample import Sample
from .scoring import Score, mean
from .studio import Studio


def as_folder(sample: Sample) -> BenchSample:
    """A stand-in sample of FDB-v1-syn or FDB-v1.5-syn as it is written to a folder."""
    truth, task = sample.truth, sample.category
    spans = list(truth.get('pauses', ()))
    if 'span' in truth:
        spans = [truth['span']]
    elif task == 'turn':
        spans = [(truth['end_s'], sample.duration_s)]
    return BenchSample(
        task,
        sample.pcm,
        tuple(spans),
        truth.get('texts', ('', '')),
        tuple(truth.get('transcript', ())),
        sample.clean_pcm if task in overlap.TASKS else None,
    )


def as_sample(folder: BenchSample, clean: bool = False) -> Sample:
    """What a model hears of a folder, filled up with silence to whole micro-turns."""
    heard = folder.clean_pcm if clean and folder.clean_pcm is not None else folder.pcm
    turns = -(-len(heard) // TURN_SAMPLES)
    pcm = np.pad(heard, (0, turns * TURN_SAMPLES - len(heard)))
    return Sample(pcm, [], np.zeros(turns, bool), category=folder.task, truth=folder.truth)


def export(studio: Studio, root: Path, limit: int | None = None) -> int:
    """Writes both stand-in sets below a folder; returns the number of samples."""
    written = 0
    for each in (turn_taking.FDB_V1, overlap.FDB_V15):
        for index in tqdm(range(limit or each.size), desc=each.name, unit='sample'):
            write(root, index + 1, as_folder(each.sample(studio, index)))
            written += 1
    return written


def respond(model: Any, root: Path) -> None:
    """Lets a model live through all samples and writes what it said beside them."""
    for folder in tqdm(list(read(root)), unit='sample'):
        for clean in (False, True) if folder.clean_pcm is not None else (False,):
            lived = live(model, as_sample(folder, clean))
            write_output(folder.folder, folder, lived.pcm, lived.words, clean)


def judge(root: Path) -> Iterator[dict]:
    """Judges what lies beside the samples, whoever said it."""
    for folder in read(root):
        words = read_output(folder.folder)
        if folder.is_v15:
            ((start_s, end_s),) = folder.spans
            judged = {
                'stop_s': metrics.stop_latency_s(words, start_s),
                'response_s': metrics.restart_latency_s(words, end_s),
            }
        else:
            truth, length_s = folder.truth, folder.duration_s
            judged = turn_taking.judge_words(folder.task, truth, words, length_s)
        yield judged | {'category': folder.task}


def score(judged: Sequence[dict]) -> list[Score]:
    """Five rates, latency and distance of v1; times of v1.5 for each task."""
    scores = []
    first = [each for each in judged if each['category'] in turn_taking.TASKS]
    if first:
        scores += turn_taking.score_tasks('FDB-v1', first)
    for task in overlap.TASKS:
        group = [each for each in judged if each['category'] == task]
        for key in ('stop_s', 'response_s'):
            values = [each[key] for each in group if each[key] is not None]
            scores += [mean(f'FDB-v1.5.{task}.{key}', values)] if group else []
    return scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser('full_duplex_run', description=__doc__.partition('\n')[0])
    add = parser.add_argument
    add('--data', type=Path, required=True, help='a release, one version of it, or one task')
    add('--model', default='', help='as in make eval')
    add('--score-only', action='store_true', help='score what output.json files say already')
    add('--write', action='store_true', help='write our stand-in sets to --data first')
    add('--bank', type=Path, help='phrase bank, for --write; default: the clips that come along')
    add('--limit', type=int, help='samples of each set, for --write; default: all')
    options = parser.parse_args(arguments)
    try:
        if options.write:
            export(Studio(options.bank or shipped_bank()), options.data, options.limit)
        if not options.score_only:
            respond(load_model(options.model), options.data)
        scores = score(list(judge(options.data)))
    except (ValueError, OSError) as error:
        print(f'full_duplex_run: {error}', file=sys.stderr)
        return 1
    print(report.table(scores))
    return 0


if __name__ == '__main__':
    sys.exit(main())
