# SPDX-License-Identifier: Apache-2.0
"""More blocks for a network that has become too small for what it is to learn.

`python -m interaction_node.model.deepen --after 0 2 --output OUT` copies blocks of a checkpoint and
lets the copies begin by doing nothing, so that no output changes and all that was learned stays. An
ear that the preset has and the checkpoint has not, or has smaller, begins in the same way.
Sources: C. Wu et al., "LLaMA Pro: Progressive LLaMA with Block Expansion", 2024; T. Chen et al.,
"Net2Net: Accelerating Learning via Knowledge Transfer", 2016.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from .checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from .interaction_net import Ear, InteractionNet, NetConfig
from .session import DEFAULT_CHECKPOINT

_BLOCK = re.compile(r'transformer\.blocks\.(\d+)\.')
# What a block adds to the stream goes through one of these.
_OUTPUTS = ('attention.o_proj.weight', 'mlp.down_proj.weight')


def deepen_config(
    config: NetConfig, after: Sequence[int], ear: Mapping[str, Any] | None = None
) -> NetConfig:
    """The shape of a network with copies of some blocks, each behind its original.

    Args:
        config: The shape now; dense blocks only.
        after: Numbers of the blocks that are copied, from 0.
        ear: `ear_blocks`, `ear_width` and `ear_sounds` of an ear that is larger, or new; None to
            leave it as it is.

    Raises:
        ValueError: There is no such block, or it is named twice.
    """
    layers = config.transformer.layers
    if len(set(after)) != len(after) or not set(after) <= set(range(layers)):
        raise ValueError(f'after: {list(after)}, expected different numbers from 0 to {layers - 1}')
    types = config.transformer.layer_types
    deeper = [types[old] for old in _sources(layers, after)]
    return dataclasses.replace(
        config,
        **(ear or {}),
        transformer=dataclasses.replace(
            config.transformer, layer_types=tuple(deeper), mlp_types=('dense',) * len(deeper)
        ),
    )


def deepen_weights(
    weights: dict[str, Tensor], after: Sequence[int], fresh: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The weights of the deeper network.

    Args:
        weights: State dict of an `InteractionNet`.
        after: Numbers of the blocks that are copied.
        fresh: Weights of a new network of the deeper shape; what is in no block and the old one
            has not, or has smaller, is taken from it.
    """
    sources = _sources(_layers(weights), after)
    same = {n: t for n, t in weights.items() if n in fresh and t.shape == fresh[n].shape}
    deeper = {
        name: same.get(name, tensor).clone()
        for name, tensor in fresh.items()
        if not _BLOCK.match(name)
    }
    for block, old in enumerate(sources):
        prefix = f'transformer.blocks.{old}.'
        for name, tensor in weights.items():
            if not name.startswith(prefix):
                continue
            end = name.removeprefix(prefix)
            silent = _is_copy(sources, block) and end in _OUTPUTS
            kept = torch.zeros_like(tensor) if silent else tensor.clone()
            deeper[f'transformer.blocks.{block}.{end}'] = kept
    return deeper


@torch.no_grad()
def grow_ear(old: Ear, fresh: Ear) -> Ear:
    """A larger ear that says what the old one says, and can learn more.

    New channels are silent, though everything listens to them already; new blocks add nothing.

    Args:
        old: An ear.
        fresh: One that is wider, or has more blocks, from which comes what nothing depends on.
    """
    new = copy.deepcopy(fresh)
    n, blocks = len(old.first.bias), len(old.looks)
    # More channels of which some are silent have a smaller mean square.
    louder = (n / len(new.first.bias)) ** 0.5
    for mine, theirs in [
        (new.first, old.first),
        *zip(_linear(new.mixes), _linear(old.mixes), strict=False),
    ]:
        mine.weight.zero_()
        mine.bias.zero_()
        mine.weight[:n, : theirs.in_features] = theirs.weight
        mine.bias[:n] = theirs.bias
    for mine, theirs in zip(_linear(new.looks), _linear(old.looks), strict=False):
        mine.weight[:n].unflatten(1, (3, -1))[..., :n] = theirs.weight.unflatten(1, (3, -1))
        mine.bias[:n] = theirs.bias
    for mine in _linear(new.mixes)[blocks:]:
        mine.weight.zero_()
        mine.bias.zero_()
    for place, norm in zip([*range(blocks), -1], old.norms, strict=True):
        gain = cast(nn.RMSNorm, new.norms[place]).weight
        gain.fill_(louder)
        gain[:n] = cast(nn.RMSNorm, norm).weight * louder
    shape = (new.frames, -1)
    if not new.merge.weight.any():
        new.merge.weight.normal_(std=0.02)
    new.merge.weight.unflatten(1, shape)[..., :n] = old.merge.weight.unflatten(1, shape)
    return new


def _linear(modules: nn.ModuleList) -> list[nn.Linear]:
    return [cast(nn.Linear, module) for module in modules]


def deepen(net: InteractionNet, shape: NetConfig, after: Sequence[int]) -> InteractionNet:
    """A network with copies of some blocks, and an ear of the wanted size.

    Args:
        net: What it says.
        shape: The shape that must result.
        after: Numbers of the blocks that are copied, from 0.

    Raises:
        ValueError: As `deepen_config`, or another shape results.
    """
    ear = {name: getattr(shape, name) for name in ('ear_blocks', 'ear_width', 'ear_sounds')}
    wider = deepen_config(net.config, after, ear)
    if wider != dataclasses.replace(shape, silence_bias=wider.silence_bias):
        raise ValueError(
            f'after: {list(after)} gives layers {wider.transformer.layer_types}, expected '
            f'{shape.transformer.layer_types} and nothing else that differs'
        )
    large = build_net(wider)
    large.load_state_dict(grown_weights(net, large, after))
    return large


def grown_weights(
    small: InteractionNet, large: InteractionNet, after: Sequence[int] = ()
) -> dict[str, Tensor]:
    """Weights of the shape of a large network that say what a small one says.

    Args:
        small: What they say.
        large: One with a larger ear, or more blocks; it gives what nothing depends on.
        after: Numbers of the blocks that are copied.
    """
    weights = deepen_weights(small.state_dict(), after, large.state_dict())
    if small.ear is not None and large.ear is not None:
        ear = grow_ear(small.ear, large.ear).state_dict()
        weights |= {f'ear.{name}': tensor for name, tensor in ear.items()}
    return weights


def _layers(weights: dict[str, Tensor]) -> int:
    return 1 + max(int(found[1]) for name in weights if (found := _BLOCK.match(name)))


def _sources(layers: int, after: Sequence[int]) -> list[int]:
    """For every block of the deeper network the block that it comes from."""
    return [old for old in range(layers) for _ in range(2 if old in after else 1)]


def _is_copy(sources: Sequence[int], block: int) -> bool:
    return block > 0 and sources[block] == sources[block - 1]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Give a checkpoint more blocks, and a larger ear.')
    parser.add_argument(
        '--checkpoint',
        type=Path,
        default=DEFAULT_CHECKPOINT,
        help='what is made larger (default: model/nano.safetensors)',
    )
    parser.add_argument('--output', type=Path, required=True, help='checkpoint to write')
    parser.add_argument(
        '--preset',
        default='nano',
        help='preset that the larger network has (default: %(default)s)',
    )
    parser.add_argument(
        '--after', type=int, nargs='*', default=[], help='blocks to copy (default: none)'
    )
    arguments = parser.parse_args()
    try:
        net, vocabulary, extra, notes = load_checkpoint(arguments.checkpoint)
        large = deepen(net, preset(arguments.preset, len(vocabulary)), arguments.after)
    except ValueError as error:
        parser.error(str(error))
    save_checkpoint(arguments.output, large, vocabulary, extra, notes)
    layers = [each.config.transformer.layers for each in (net, large)]
    print(f'{arguments.output}: {layers[0]} blocks became {layers[1]}')


if __name__ == '__main__':
    main()
