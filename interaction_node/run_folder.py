# SPDX-License-Identifier: Apache-2.0
"""Runs the model over recordings, for evaluation: offline, or through the live ROS graph.

Every sample folder holds input.wav and, where wanted, video.mp4 and text.jsonl
({"t": seconds, "text": ..., "role": "USER"}). For each, output.wav, output.json, intents.jsonl,
plan_requests.jsonl and micro_turns.jsonl are written to a folder of the same name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from interaction_node.sample_folder import find_samples, load_sample, write_record


def main(args: Sequence[str] | None = None) -> int:
    """Runs the program.

    Returns:
        Exit code: 0, or 1 where something was wrong with the input, the model or the graph.
    """
    options = _parser().parse_args(args)
    try:
        samples = find_samples(options.input)
        run = _run_live if options.live else _run_offline
        run(options, samples)
    except (ValueError, OSError, RuntimeError) as error:
        print(f'run_folder: {error}', file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('run_folder', description=__doc__.partition('\n')[0])
    add = parser.add_argument
    add('--input', type=Path, required=True, help='a sample folder, or a folder of them')
    add('--output', type=Path, required=True, help='folder for the results')
    add('--live', action='store_true', help='through the ROS graph instead of offline')
    add('--checkpoint', default='', help='checkpoint; default: the one that the package brings')
    add('--device', default='auto', help='auto, cpu or cuda')
    add('--threads', type=int, default=0, help='processor threads; 0: what suits the device')
    add('--seed', type=int, default=0, help='seed of everything that the model draws by lot')
    add('--factory', help="'module:function' that loads another model")
    return parser


def _output_folder(options: argparse.Namespace, folder: Path) -> Path:
    """A single sample goes straight into --output; one of many into a folder of its name."""
    return options.output if folder == options.input else options.output / folder.name


def _progress(total: int, unit: str) -> tqdm:
    return tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True, disable=None)


def _run_offline(options: argparse.Namespace, folders: Sequence[Path]) -> None:
    from interaction_node.model_loading import close_model, load_model, wait_for_voice
    from interaction_node.offline_run import OfflineRun

    choices = (options.checkpoint, options.device, options.threads, options.seed)
    model = load_model(options.factory or _default_factory(), *choices)
    wait_for_voice(model)
    try:
        for folder in folders:
            sample = load_sample(folder)
            run = OfflineRun(sample, model)
            with _progress(sample.turns, 'turn') as bar:
                bar.set_description(folder.name)
                for _ in run.steps():
                    bar.update()
            write_record(_output_folder(options, folder), run.record, len(sample.pcm))
    finally:
        close_model(model)


def _run_live(options: argparse.Namespace, folders: Sequence[Path]) -> None:
    from interaction_node.live_run import run_live

    model = {
        'model.factory': options.factory or _default_factory(),
        'model.checkpoint': options.checkpoint,
        'model.device': options.device,
        'model.threads': options.threads,
        'model.seed': options.seed,
    }
    for folder in folders:
        sample = load_sample(folder)
        output = _output_folder(options, folder)
        with _progress(sample.turns, 'turn') as bar:
            bar.set_description(folder.name)
            record = run_live(sample, output / 'log', model, bar.update)
        write_record(output, record, len(sample.pcm))


def _default_factory() -> str:
    from interaction_node.model_loading import LOADER

    return LOADER


if __name__ == '__main__':
    sys.exit(main())
