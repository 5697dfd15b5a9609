# SPDX-License-Identifier: Apache-2.0
"""Decoders by name, and what a micro-turn of each costs: parameters, bytes, time at full bandwidth.

`python -m interaction_node.model.presets` prints the table of `presets.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from interaction_node.model.attention import AttentionShape
from interaction_node.model.config import TransformerConfig
from interaction_node.model.transformer import Transformer

# Bandwidth of the memory that holds the weights, as its maker states it, GB/s.
DEVICES_GB_S = {
    'Orin Nano Super': 102,
    'AGX Orin': 205,
    'AGX Thor': 273,
    'RTX 4090': 1008,
    'H200': 4800,
}
BYTES = 2
# Context of full layers that a preset leaves unbounded, tokens.
ASSUMED_CONTEXT = 8192


@dataclass(frozen=True)
class Preset:
    """A decoder and the tokens of its micro-turns.

    Attributes:
        config: Shape of the decoder.
        prefill_tokens: Tokens read at once: boundary, sound, pictures.
        decode_steps: Tokens written one after another.
        note: What it is for.
    """

    config: TransformerConfig
    prefill_tokens: int
    decode_steps: int
    note: str


def _nano() -> Preset:
    # The one place that defines it is the one that trains it.
    from interaction_node.model.checkpoint import preset

    note = 'real time on two CPU cores; trained, in the repository'
    return Preset(preset('nano', vocab=1024).transformer, 4, 2, note)


def _orin() -> Preset:
    config = TransformerConfig(
        vocab=8192,
        width=768,
        layer_types=('sliding', 'sliding', 'full') * 6,
        mlp_types=('dense',) * 2 + ('sparse',) * 16,
        heads=12,
        kv_heads=4,
        head_dim=64,
        mlp_width=2048,
        window=256,
        d_rel=16,
        rel_extent=512,
        expert_width=384,
        experts=32,
        experts_per_token=4,
        shared_experts=1,
        route_scale=2.0,
        sink_tokens=32,
        full_window=4096,
    )
    return Preset(config, 14, 6, 'a Jetson or a desktop GPU; a shape only')


def _inkling_small() -> Preset:
    # https://huggingface.co/thinkingmachines/Inkling-Small, config.json
    config = TransformerConfig(
        vocab=201_024,
        width=4096,
        layer_types=tuple('sliding' if (layer + 1) % 6 else 'full' for layer in range(42)),
        mlp_types=('dense',) * 2 + ('sparse',) * 40,
        heads=32,
        kv_heads=8,
        head_dim=128,
        mlp_width=16_384,
        window=512,
        d_rel=16,
        rel_extent=1024,
        expert_width=2048,
        experts=256,
        experts_per_token=6,
        shared_experts=2,
        route_scale=8.0,
        logits_divisor=16.0,
        log_scaling_floor=128_000,
    )
    note = 'the public shape (published as 276B, 12B active); weights through `load_inkling.py`'
    return Preset(config, 14, 6, note)


_PRESETS = {'nano': _nano, 'orin': _orin, 'inkling_small': _inkling_small}


def preset(name: str) -> Preset:
    """Looks up a preset.

    Args:
        name: 'nano', 'orin' or 'inkling_small'.

    Returns:
        Its shape.

    Raises:
        ValueError: If there is no such preset.
    """
    if name not in _PRESETS:
        raise ValueError(f'name must be one of {sorted(_PRESETS)}, got {name!r}')
    return _PRESETS[name]()


@dataclass(frozen=True)
class Cost:
    """What a decoder is and what its micro-turn reads.

    Attributes:
        parameters: All of them.
        active_parameters: Those that one token uses, embedding and head included.
        turn_bytes: Weights, keys and values read in a micro-turn, in bf16.
        state_bytes: Memory of a session, in bf16.
    """

    parameters: int
    active_parameters: int
    turn_bytes: int
    state_bytes: int

    def floor_ms(self, bandwidth_gb_s: float) -> float:
        """Time of a micro-turn if reading were all it did, milliseconds."""
        return self.turn_bytes / bandwidth_gb_s / 1e6


def cost(choice: Preset) -> Cost:
    """Counts parameters and bytes, without allocating any.

    Args:
        choice: A preset.

    Returns:
        Its cost.
    """
    config = choice.config
    with torch.device('meta'):
        model = Transformer(config)
    total = sum(parameter.numel() for parameter in model.parameters())
    table = config.vocab * config.width
    expert = 3 * config.width * config.expert_width
    sparse = config.mlp_types.count('sparse')
    dense = total - 2 * table - sparse * config.experts * expert

    def read(tokens: int) -> float:
        """Weights of one pass: each expert once, embedding rows not counted, the head once."""
        missed = (1 - config.experts_per_token / config.experts) ** tokens if sparse else 0.0
        return dense + table + sparse * config.experts * (1 - missed) * expert

    state = _state_elements(config)
    weights = read(choice.prefill_tokens) + choice.decode_steps * read(1)
    passes = 1 + choice.decode_steps
    active = dense + 2 * table + sparse * config.experts_per_token * expert
    turn = BYTES * (weights + passes * state)
    return Cost(total, active, round(turn), BYTES * state)


def _state_elements(config: TransformerConfig) -> int:
    """Returns keys and values that a session holds when it has run for long."""
    full = (config.full_window or ASSUMED_CONTEXT) + config.sink_tokens
    total = 0
    for layer, kind in enumerate(config.layer_types):
        shape = AttentionShape.of_layer(config, layer)
        tokens = config.window if kind == 'sliding' else full
        total += 2 * tokens * shape.kv_heads * shape.head_dim
    return total


def _readable(count: float, units: str) -> str:
    power = min(len(units) - 1, int(math.log10(count)) // 3)
    return f'{count / 1000**power:.3g} {units[power]}'.rstrip()


def _milliseconds(value: float) -> str:
    return f'{value:.0f} ms' if value >= 10 else f'{value:.2g} ms'


def table() -> str:
    """Renders all presets as Markdown."""
    names = ['preset', 'layers x width', 'parameters', 'active', 'tokens in + out']
    names += ['read a micro-turn', 'session memory', *DEVICES_GB_S]
    lines = [' | '.join(names), ' | '.join('---' for _ in names)]
    notes = []
    for name in _PRESETS:
        choice = preset(name)
        costs = cost(choice)
        cells = [f'`{name}`', f'{choice.config.layers} x {choice.config.width}']
        cells += [_readable(n, ' kMB') for n in (costs.parameters, costs.active_parameters)]
        cells += [f'{choice.prefill_tokens} + {choice.decode_steps}']
        cells += [f'{_readable(n, " kMG")}B' for n in (costs.turn_bytes, costs.state_bytes)]
        cells += [_milliseconds(costs.floor_ms(rate)) for rate in DEVICES_GB_S.values()]
        lines.append(' | '.join(cells))
        notes.append(f'- `{name}`: {choice.note}.')
    rows = '\n'.join(f'| {line} |' for line in lines)
    return _TEXT.format(rows=rows, notes='\n'.join(notes), context=ASSUMED_CONTEXT)


_TEXT = """# Presets

{rows}

{notes}

The last columns are floors: the time of a micro-turn if the processor did nothing but read, once a
pass, every weight that the pass uses and all keys and values, in bf16, at the memory bandwidth that
the maker states. One pass reads the input tokens, one writes each output token. Experts are
counted as if picked evenly: the passes of one token read few of them, the pass of many tokens
most. Full layers without a bound are counted with {context} tokens. Micro-turns come every 200 ms;
a floor above that, or weights larger than the memory, means that the device is too small.

Only the decoder is counted, not the front ends and the flow head. Written by
`python -m interaction_node.model.presets > model/presets.md`.
"""


if __name__ == '__main__':
    print(table(), end='')
