# SPDX-License-Identifier: Apache-2.0
"""Scores a model on all stand-in sets: `make eval`.

Leaves scores.json, scores.md, scores.png, onsets.png and samples.jsonl in out/eval; with --int8 in
out/eval-int8.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..checkpoint import load_checkpoint
from ..data.bank import DEFAULT_ROOT
from ..data.pack import shipped_bank
from ..session import DEFAULT_CHECKPOINT
from . import (
    acting,
    int8,
    overlap,
    patience,
    people,
    report,
    robustness,
    seeing,
    speaking_in_time,
    turn_taking,
    typed,
)
from .living import live
from .models import MODELS, load_model
from .plots import plot_onsets, plot_scores
from .scoring import Score
from .stand_in import StandIn
from .studio import Studio

SETS: dict[str, StandIn] = {
    each.name: each
    for module in (
        speaking_in_time,
        patience,
        typed,
        seeing,
        turn_taking,
        overlap,
        acting,
        robustness,
        people,
    )
    for each in module.SETS
}
Job = tuple[str, int]


class Worker:
    """What one process needs to score samples.

    Args:
        bank: Folder of the phrase bank.
        seed: Decides the samples.
        split: 'test' or 'val'.
        model: As in `models.load_model`.
    """

    def __init__(self, bank: Path, seed: int, split: str, model: str):
        self.studio, self.model = Studio(bank, seed, split), load_model(model)

    def score(self, job: Job) -> dict:
        """Lives through one sample; returns a JSON-ready judgement."""
        name, index = job
        each = SETS[name]
        sample = each.sample(self.studio, index)
        lived = live(self.model, sample)
        judged = {
            'set': name,
            'index': index,
            'category': sample.category,
            'voice': sample.voice,
            'seconds': round(sample.duration_s, 1),
            **each.judge(sample, lived),
            'words': [(word.text, word.start) for word in lived.words],
            'heard': ' '.join(word for _, word in lived.heard),
        }
        return judged | {'step_ms': [round(ms, 2) for ms in lived.step_ms]}


_worker: Worker | None = None


def _start(*settings) -> None:
    global _worker  # one for the process: a pool has no other place for it
    _worker = Worker(*settings)


def _start_apart(*settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits ends it
    _start(*settings)


def _score(job: Job) -> dict:
    assert _worker is not None
    return _worker.score(job)


def jobs_of(names: Sequence[str], quick: bool, most: int | None = None) -> list[Job]:
    """Samples to live through, the long ones first."""
    sets = sorted((SETS[name] for name in names), key=lambda s: -s.weight)
    return [
        (s.name, i) for s in sets for i in range(min(s.quick if quick else s.size, most or s.size))
    ]


def judge_all(jobs: Sequence[Job], workers: int, *settings) -> Iterator[dict]:
    """Judgements in any order.

    Raises:
        BrokenProcessPool: A process died.
    """
    if workers < 2:
        _start(*settings)
        yield from map(_score, jobs)
        return
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, _start_apart, settings) as pool:
        waiting = [pool.submit(_score, job) for job in jobs]
        try:
            for each in as_completed(waiting):
                yield each.result()
        finally:
            pool.shutdown(cancel_futures=True)


def count_up(judged: Sequence[dict]) -> list[Score]:
    """Scores of all sets that were judged, and the step times."""
    by_set: dict[str, list[dict]] = defaultdict(list)
    for each in sorted(judged, key=lambda j: j['index']):
        by_set[each['set']].append(each)
    return [score for name in SETS if name in by_set for score in SETS[name].score(by_set[name])]


def step_times(judged: Sequence[dict]) -> dict[str, float]:
    """Median and 99th percentile of the processor time of the steps, milliseconds."""
    steps = np.concatenate([each['step_ms'] for each in judged])
    return {f'step_cpu_ms_p{p}': round(float(np.percentile(steps, p)), 2) for p in (50, 99)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _options(arguments)
    os.environ['OMP_NUM_THREADS'] = '1'
    begun = time.monotonic()
    judged: list[dict] = []
    try:
        options.bank = options.bank or (shipped_bank() if options.split == 'test' else DEFAULT_ROOT)
        studio = Studio(options.bank, options.seed, options.split)
        jobs = jobs_of(_possible(options.sets, studio), options.quick, options.samples)
        model = _rounded(options) if options.int8 else options.model
        if model not in MODELS:
            load_checkpoint(Path(model or DEFAULT_CHECKPOINT))  # says here what is wrong with it
        settings = (options.bank, options.seed, options.split, model)
        with tqdm(total=len(jobs), unit='sample', dynamic_ncols=True, desc='eval') as bar:
            for each in judge_all(jobs, options.workers, *settings):
                judged.append(each)
                bar.set_postfix_str(each['set'])
                bar.update()
    except (ValueError, OSError, BrokenProcessPool) as error:
        print(f'eval: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('eval: stopped, no scores written', file=sys.stderr)
        return 130
    scores = count_up(judged)
    notes = _notes(options, studio, judged, time.monotonic() - begun)
    _write(options.output, scores, judged, notes)
    _show(scores, notes, options.output)
    return 0


def _rounded(options: argparse.Namespace) -> str:
    """The checkpoint with its weights rounded, as a file that all processes can read."""
    if options.model in MODELS:
        raise ValueError(
            f'--int8: {options.model!r} has no weights to round, expected a checkpoint'
        )
    path = options.output / 'int8.safetensors'
    int8.write_rounded(Path(options.model or DEFAULT_CHECKPOINT), path)
    return str(path)


def _possible(names: Sequence[str], studio: Studio) -> list[str]:
    """Without the sets whose recordings are not on this machine."""
    of_people = {each.name for each in people.SETS}
    if not of_people & set(names):
        return list(names)
    try:
        people.recordings(studio.human_root)
    except FileNotFoundError as error:
        print(f'eval: without {", ".join(sorted(of_people))} ({error})', file=sys.stderr)
        return [name for name in names if name not in of_people]
    return list(names)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser('eval', description=__doc__.partition('\n')[0])
    add = parser.add_argument
    add(
        '--model',
        default='',
        help=f'a checkpoint, or {", ".join(MODELS)}; default: the shipped one',
    )
    add(
        '--sets',
        nargs='+',
        default=list(SETS),
        choices=list(SETS),
        metavar='SET',
        help=f'default: all of {", ".join(SETS)}',
    )
    add('--quick', action='store_true', help='a few samples of each: a smoke run, no scores')
    add(
        '--bank',
        type=Path,
        help=f'phrase bank (default: the clips that come along; with --split val: {DEFAULT_ROOT})',
    )
    add('--workers', type=int, default=2, help='processes (default: %(default)s)')
    add('--split', default='test', choices=['test', 'val'], help='val: while a model is trained')
    add('--samples', type=int, help='at most so many of each set: a quicker look')
    add('--seed', type=int, default=0, help='decides the samples')
    add('--int8', action='store_true', help='round the weights as the kernels hold them in int8')
    add('--output', type=Path, help='default: out/eval; with --int8: out/eval-int8')
    options = parser.parse_args(arguments)
    options.output = options.output or Path('out/eval-int8' if options.int8 else 'out/eval')
    return options


def _notes(options, studio: Studio, judged: Sequence[dict], took_s: float) -> list[str]:
    model = options.model or DEFAULT_CHECKPOINT.name
    hours = sum(each['seconds'] for each in judged) / 3600
    steps = step_times(judged)
    notes = [
        f'Model: `{Path(model).name}`, greedy. {len(judged)} samples, {hours:.1f} hours of sound, '
        f'lived through in {took_s / 60:.1f} minutes; seed {options.seed}.',
        f'Voices of the {studio.split} split, which are not trained on: {", ".join(studio.voices)} '
        f'({len(studio.bank)} clips, bank {studio.fingerprint}).',
        f'Processor time of a step: median {steps["step_cpu_ms_p50"]} ms, 99th percentile '
        f'{steps["step_cpu_ms_p99"]} ms.',
    ]
    if options.int8:
        notes.append(int8.NOTE)
    if options.quick or options.samples or options.split != 'test':
        notes.append('**Not the whole test sets: a quick look, no scores.**')
    return notes


def _write(folder: Path, scores: Sequence[Score], judged: Sequence[dict], notes) -> None:
    report.write(folder, scores, notes)
    numbers = report.flat(scores) | step_times(judged)
    (folder / 'scores.json').write_text(json.dumps(numbers, indent=1) + '\n', 'utf-8')
    kept = ({k: v for k, v in each.items() if k != 'step_ms'} for each in judged)
    ordered = sorted(kept, key=lambda each: (each['set'], each['index']))
    lines = (json.dumps(each, ensure_ascii=False) + '\n' for each in ordered)
    (folder / 'samples.jsonl').write_text(''.join(lines), 'utf-8')
    plot_scores(folder / 'scores.png', scores)
    onsets = [each['onset_s'] for each in judged if each['category'] == 'turn' and each['onset_s']]
    plot_onsets(folder / 'onsets.png', onsets)


def _show(scores: Sequence[Score], notes: Sequence[str], folder: Path) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(report.table(scores, parts=False)))
    for note in notes:
        console.print(Markdown(note))
    console.print(f'{folder}/scores.json, scores.md, scores.png, onsets.png, samples.jsonl')


if __name__ == '__main__':
    sys.exit(main())
