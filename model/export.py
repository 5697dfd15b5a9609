# SPDX-License-Identifier: Apache-2.0
"""Puts trained parts together into one checkpoint: `python -m interaction_node.model.export`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from .flow_head import FlowHead
from .session import DEFAULT_CHECKPOINT
from .speech_out import SpeechOut
from .tokens import default_vocabulary
from .vocoder import Vocoder


def load_speech(folder: Path) -> SpeechOut:
    """The trained flow head and vocoder of a training folder."""
    head, vocoder = (
        torch.load(folder / f'{name}.pt', map_location='cpu', weights_only=True)
        for name in ('head', 'vocoder')
    )
    return SpeechOut(FlowHead.from_state(head['average']), Vocoder.from_state(vocoder['vocoder']))


def export(
    train: Path,
    speech: Path | None,
    output: Path,
    preset_name: str = 'nano',
    last: bool = False,
) -> dict:
    """Writes a checkpoint.

    Args:
        train: Folder of `train.py`.
        speech: Folder of `train_flow.py` and `train_vocoder.py`, or a checkpoint whose voice is
            kept; None for a silent checkpoint.
        output: File to write.
        preset_name: Preset that was trained.
        last: The last weights instead of their average.

    Returns:
        The notes that were stored with it.
    """
    vocabulary = default_vocabulary()
    net = build_net(preset(preset_name, len(vocabulary)))
    state = torch.load(train / 'state.pt', map_location='cpu', weights_only=True)
    net.load_state_dict(state['net' if last else 'average'])
    notes = {'steps': state['step'], 'trained_s': round(state['trained_s'])}
    extra = _voice(speech) if speech else None
    save_checkpoint(output, net, vocabulary, extra, notes)
    return notes


def _voice(speech: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(speech)[2] if speech.is_file() else load_speech(speech).state_dict()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Write a checkpoint of trained parts.')
    parser.add_argument('--train', type=Path, default=Path('.cache/train/nano'))
    parser.add_argument(
        '--speech',
        type=Path,
        default=Path('.cache/train/flow'),
        help='folder of the trained voice, or a checkpoint with one (default: %(default)s)',
    )
    parser.add_argument('--silent', action='store_true', help='leave the voice out')
    parser.add_argument(
        '--last',
        action='store_true',
        help='the last weights instead of their average, which reaches back a thousand steps: '
        'after a short run whose rate has decayed',
    )
    parser.add_argument('--output', type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument('--preset', default='nano')
    options = parser.parse_args()
    speech = None if options.silent else options.speech
    print(export(options.train, speech, options.output, options.preset, options.last))


if __name__ == '__main__':
    main()
