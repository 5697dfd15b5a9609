# SPDX-License-Identifier: Apache-2.0
"""More blocks for a training run that has become too small for what it is to learn.

`python -m interaction_node.model.deepen --after 0 2 --output OUT` copies blocks of a run's network
and lets the copies begin by doing nothing, so that no output changes and all that was learned
stays. An ear that the preset has and the run has not, or has smaller, begins in the same way.
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

from .checkpoint import build_net, preset
from .interaction_net import Ear, InteractionNet, NetConfig
from .tokens import default_vocabulary
from .train import build_optimisers

_LOOK = re.compile(r'ear\.looks\.\d+\.weight$')
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


def deepen_run(
    state: dict[str, Any],
    config: NetConfig,
    after: Sequence[int],
    ear: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], NetConfig]:
    """A training run's state with copies of some blocks.

    Args:
        state: What `Trainer.save` wrote.
        config: The shape of its network.
        after: Numbers of the blocks that are copied, from 0.
        ear: As for `deepen_config`.

    Returns:
        A state from which training goes on, and the shape of its network. The optimisers begin
        anew for what is new and remember everything for the others.

    Raises:
        ValueError: As `deepen_config`.
    """
    wider = deepen_config(config, after, ear)
    sources = _sources(config.transformer.layers, after)
    net = build_net(wider)
    old_names, new_names = _names(build_net(config)), _names(net)
    shapes = {name: parameter.shape for name, parameter in net.named_parameters()}
    optimisers = [
        _carry_over(kept, old, new, sources, shapes)
        for kept, old, new in zip(state['optimisers'], old_names, new_names, strict=True)
    ]
    small = build_net(config)
    deeper = state | {'optimisers': optimisers}
    for name in ('net', 'average'):
        small.load_state_dict(state[name])
        deeper[name] = grown_weights(small, net, after)
    return deeper, wider


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


def _carry_over(
    kept: dict[str, Any],
    old_groups: list[list[str]],
    new_groups: list[list[str]],
    sources: Sequence[int],
    shapes: Mapping[str, torch.Size],
) -> dict[str, Any]:
    """The state dict of an optimiser for the deeper network; names stand for its parameters."""
    old_names = [name for names in old_groups for name in names]
    memory = {name: kept['state'].get(index) for index, name in enumerate(old_names)}
    carried: dict[int, dict[str, Tensor]] = {}
    for index, name in enumerate(name for names in new_groups for name in names):
        remembered = memory.get(_source_name(name, sources))
        # What has grown begins anew.
        if remembered is not None and any(
            value.shape == shapes[name] for value in remembered.values()
        ):
            found = _BLOCK.match(name)
            forget = found is not None and _is_copy(sources, int(found[1]))
            carried[index] = {
                key: torch.zeros_like(value) if forget and value.dim() else value.clone()
                for key, value in remembered.items()
            }
    groups: list[dict[str, Any]] = []
    begin = 0
    for group, names in zip(kept['param_groups'], new_groups, strict=True):
        groups.append(group | {'params': list(range(begin, begin + len(names)))})
        begin += len(names)
    return {'state': carried, 'param_groups': groups}


def _layers(weights: dict[str, Tensor]) -> int:
    return 1 + max(int(found[1]) for name in weights if (found := _BLOCK.match(name)))


def _sources(layers: int, after: Sequence[int]) -> list[int]:
    """For every block of the deeper network the block that it comes from."""
    return [old for old in range(layers) for _ in range(2 if old in after else 1)]


def _is_copy(sources: Sequence[int], block: int) -> bool:
    return block > 0 and sources[block] == sources[block - 1]


def _source_name(name: str, sources: Sequence[int]) -> str:
    found = _BLOCK.match(name)
    if not found:
        return name
    return f'transformer.blocks.{sources[int(found[1])]}.{name[found.end() :]}'


def _names(net: InteractionNet) -> list[list[list[str]]]:
    """Names of the parameters: by optimiser, and by group."""
    name_of = {id(parameter): name for name, parameter in net.named_parameters()}
    return [
        [[name_of[id(p)] for p in group['params']] for group in optimiser.param_groups]
        for optimiser in build_optimisers(net, 0.0)
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description='Give a training run more blocks, and a larger ear.'
    )
    parser.add_argument(
        '--state',
        type=Path,
        default=Path('.cache/train/nano/state.pt'),
        help='state of the run (default: %(default)s)',
    )
    parser.add_argument('--output', type=Path, required=True, help='state of the deeper run')
    parser.add_argument(
        '--preset',
        default='nano',
        help='preset that the deeper network has (default: %(default)s)',
    )
    parser.add_argument(
        '--after', type=int, nargs='*', default=[], help='blocks to copy (default: none)'
    )
    arguments = parser.parse_args()
    wanted = preset(arguments.preset, len(default_vocabulary()))
    state = torch.load(arguments.state, weights_only=True)
    layers = _layers(state['net'])
    sources = _sources(layers, arguments.after)
    types = wanted.transformer.layer_types
    if len(sources) != len(types):
        parser.error(f'--after: {layers} blocks become {len(sources)}, preset has {len(types)}')
    kept = [block for block in range(len(types)) if not _is_copy(sources, block)]
    ear = {name: getattr(wanted, name) for name in ('ear_blocks', 'ear_width', 'ear_sounds')}
    now = dataclasses.replace(
        wanted,
        **_ear_of(state['net']),
        transformer=dataclasses.replace(
            wanted.transformer,
            layer_types=tuple(types[block] for block in kept),
            mlp_types=('dense',) * layers,
        ),
    )
    deeper, config = deepen_run(state, now, arguments.after, ear)
    if config != wanted:
        parser.error(f'--after: gives layers {config.transformer.layer_types}, preset has {types}')
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save(deeper, arguments.output)
    heard = '' if _ear_of(state['net']) == ear else f', with an ear of {ear}'
    print(f'{arguments.output}: {layers} blocks became {len(types)}{heard}, step {state["step"]}')


def _ear_of(weights: dict[str, Tensor]) -> dict[str, Any]:
    """The shape of a network's ear, as `NetConfig` has it."""
    first, sounds = weights.get('ear.first.bias'), weights.get('sounds.bias')
    return {
        'ear_blocks': sum(bool(_LOOK.match(name)) for name in weights),
        'ear_width': 128 if first is None else len(first),
        'ear_sounds': 0 if sounds is None else len(sounds),
    }


if __name__ == '__main__':
    main()
