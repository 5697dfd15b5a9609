# SPDX-License-Identifier: Apache-2.0
"""A checkpoint with its weights as the kernels hold them in int8: what does the rounding cost?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from interaction_node.kernels.quantise import quantise

from ..attention import Attention
from ..checkpoint import load_checkpoint, save_checkpoint
from ..mlp import SwiGlu
from ..moe import MixtureOfExperts
from ..transformer import Transformer

NOTE = (
    '**int8**: the weights of experts, dense layers, and query, key, value, relative and output '
    'projections were rounded to int8 with one scale a row, as the kernels hold them '
    '(`FusedTransformer(int8=True)`), and back; everything else is as in the checkpoint.'
)


def int8_weights(transformer: Transformer) -> Iterator[torch.Tensor]:
    """Finds what `FusedTransformer(int8=True)` holds in int8.

    Args:
        transformer: The decoder.

    Yields:
        (..., O, I) weights of experts, dense layers and projections.
    """
    for module in transformer.modules():
        if isinstance(module, Attention):
            yield from (module.qkvr_proj.weight, module.o_proj.weight)
        elif isinstance(module, SwiGlu):
            yield from (module.gate_up_proj.weight, module.down_proj.weight)
        elif isinstance(module, MixtureOfExperts):
            yield from (module.gate_up_EXD, module.down_EDI)
            yield from (module.shared_gate_up.weight, module.shared_down.weight)


@torch.no_grad()
def round_weights(transformer: Transformer) -> None:
    """Rounds, in place, what the kernels hold in int8 to the values that it then has."""
    for weight in int8_weights(transformer):
        weight.copy_(quantise(weight).float())


def write_rounded(source: Path, target: Path) -> None:
    """Writes a checkpoint, in fp32, whose decoder computes with int8 weights.

    Args:
        source: The checkpoint.
        target: Where to write; its folder is made.

    Raises:
        ValueError: The source is missing or no checkpoint.
    """
    net, vocabulary, extra, notes = load_checkpoint(source)
    round_weights(net.transformer)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(target, net, vocabulary, extra, notes, torch.float32)
