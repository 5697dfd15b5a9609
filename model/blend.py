# SPDX-License-Identifier: Apache-2.0
"""The mean of two checkpoints, one of which went on from the other.

`python -m interaction_node.model.blend BEFORE AFTER --output OUT`. What was learned last is mostly
kept, and so is what was forgotten meanwhile. Source: M. Wortsman et al., "Robust fine-tuning of
zero-shot models", 2022.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from .checkpoint import load_checkpoint, save_checkpoint
from .deepen import grown_weights
from .interaction_net import NetConfig


def blend(before: Path, after: Path, output: Path, share: float = 0.5) -> dict:
    """Writes the mean of two checkpoints, with the shape and the voice of the second.

    Args:
        before: A checkpoint.
        after: One that went on from it; how far it looks back may differ, and its ear be larger.
        output: File to write.
        share: Weight of the second, 0 to 1.

    Returns:
        The notes that were stored with it.

    Raises:
        ValueError: The checkpoints have different shapes or vocabularies, or `share` is out of
            range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f'share: {share}, expected 0 to 1')
    old, old_words, *_ = load_checkpoint(before)
    net, words, voice, notes = load_checkpoint(after)
    same = _shape(old.config) == _shape(net.config) and old_words.tokens == words.tokens
    if not (same and _ear_fits(old.config, net.config)):
        raise ValueError(f'before: {before} has another shape or vocabulary than {after}')
    first, second = grown_weights(old, net), net.state_dict()
    net.load_state_dict({k: first[k] * (1 - share) + second[k] * share for k in second})
    notes = notes | {'blended_share': share}
    save_checkpoint(output, net, words, voice, notes)
    return notes


def _shape(config: NetConfig) -> NetConfig:
    """A shape, however far it looks back, and whatever its ear and its silence."""
    decoder = dataclasses.replace(config.transformer, full_window=None)
    return dataclasses.replace(
        config, transformer=decoder, ear_blocks=0, ear_width=0, ear_sounds=0, silence_bias=0.0
    )


def _ear_fits(old: NetConfig, new: NetConfig) -> bool:
    """Whether an ear is contained in another."""
    return old.ear_blocks <= new.ear_blocks and old.ear_width <= new.ear_width


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('before', type=Path, help='a checkpoint')
    parser.add_argument('after', type=Path, help='one that went on from it')
    parser.add_argument('--share', type=float, default=0.5, help='weight of the second')
    parser.add_argument('--output', type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        print(blend(options.before, options.after, options.output, options.share))
    except ValueError as error:
        parser.exit(1, f'blend: {error}\n')


if __name__ == '__main__':
    main()
