# SPDX-License-Identifier: Apache-2.0
"""Puts trained parts together into one checkpoint: `python -m interaction_node.model.export`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from .checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from .flow_head import FlowHead
from .session import DEFAULT_CHECKPOINT
from .speech_out import SpeechOut
from .tokens import default_vocabulary
from .vocoder import Vocoder


def load_speech(folder: Path, before: Path | None = None) -> SpeechOut:
    """The trained flow head and vocoder of a training folder.

    Args:
        folder: With head.pt and vocoder.pt.
        before: Checkpoint whose vocoder serves where none was trained.
    """
    head = torch.load(folder / 'head.pt', map_location='cpu', weights_only=True)
    if before is not None and not (folder / 'vocoder.pt').exists():
        vocoder = SpeechOut.from_state(load_checkpoint(before)[2]).vocoder
    else:
        trained = torch.load(folder / 'vocoder.pt', map_location='cpu', weights_only=True)
        vocoder = Vocoder.from_state(trained['vocoder'])
    return SpeechOut(FlowHead.from_state(head['average']), vocoder)


def export(
    train: Path,
    speech: Path | None,
    output: Path,
    preset_name: str = 'nano',
    last: bool = False,
    silence_bias: float | None = None,
) -> dict:
    """Writes a checkpoint.

    Args:
        train: Folder of `train.py`, or a checkpoint whose network is kept.
        speech: Folder of `train_flow.py` and `train_vocoder.py`, or a checkpoint whose voice is
            kept; None for a silent checkpoint.
        output: File to write.
        preset_name: Preset that was trained.
        last: The last weights instead of their average.
        silence_bias: See `NetConfig`; None leaves it as it is.

    Returns:
        The notes that were stored with it.
    """
    if train.is_file():
        net, vocabulary, _, notes = load_checkpoint(train)
        extra = _voice(speech, train) if speech else None
    else:
        vocabulary = default_vocabulary()
        net = build_net(preset(preset_name, len(vocabulary)))
        state = torch.load(train / 'state.pt', map_location='cpu', weights_only=True)
        net.load_state_dict(state['net' if last else 'average'])
        notes = {'steps': state['step'], 'trained_s': round(state['trained_s'])}
        extra = _voice(speech) if speech else None
    if silence_bias is not None:
        net.config = dataclasses.replace(net.config, silence_bias=silence_bias)
    save_checkpoint(output, net, vocabulary, extra, notes)
    return notes


def _voice(speech: Path, before: Path | None = None) -> dict[str, torch.Tensor]:
    if speech.is_file():
        return load_checkpoint(speech)[2]
    return load_speech(speech, before).state_dict()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Write a checkpoint of trained parts.')
    parser.add_argument(
        '--train',
        type=Path,
        default=Path('.cache/train/nano'),
        help='folder of the trained network, or a checkpoint with one (default: %(default)s)',
    )
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
    parser.add_argument(
        '--silence-bias',
        type=float,
        help='added to the score of silence where the model decides; above 0 it keeps '
        'still when in doubt (default: as it is)',
    )
    parser.add_argument('--output', type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument('--preset', default='nano')
    options = parser.parse_args()
    speech = None if options.silent else options.speech
    shape = (options.preset, options.last, options.silence_bias)
    print(export(options.train, speech, options.output, *shape))


if __name__ == '__main__':
    main()
