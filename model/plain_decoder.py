# SPDX-License-Identifier: Apache-2.0
"""What a session asks of a decoder, and the decoder that any transformer can be.

Dims: n tokens, t tokens of one session, D width, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from interaction_node.kernels.launch import KERNELS_NEED, can_launch

from .fused import FusedTransformer
from .fused_decoder import FusedDecoder
from .packed_decoder import PackedDecoder, can_pack
from .transformer import Transformer, TransformerState

_log = logging.getLogger(__name__)


class Decoder(Protocol):
    """Runs tokens of sessions that share weights and nothing else."""

    def init_state(self, max_append: int) -> TransformerState:
        """Allocates a session's memory, for appends of up to `max_append` tokens."""

    def embed(self, ids_n: Tensor) -> Tensor:
        """(n,) int64 to (n, D)."""

    def logits(self, h_nD: Tensor) -> Tensor:
        """(n, D) to (n, V)."""

    def append(self, pieces: Sequence[Tensor], states: Sequence[TransformerState]) -> list[Tensor]:
        """For each session (t, D) embedded inputs to (t, D) hidden states."""


class PlainDecoder:
    """One session after the other through a transformer's own `append`.

    Args:
        transformer: Its weights and its device may still change.
    """

    def __init__(self, transformer: Transformer):
        self._transformer = transformer

    def init_state(self, max_append: int) -> TransformerState:
        """See `Decoder`."""
        weight = self._transformer.head.weight
        return self._transformer.init_state(1, max_append, weight.dtype, weight.device)

    def embed(self, ids_n: Tensor) -> Tensor:
        """See `Decoder`."""
        return self._transformer.embed(ids_n[None])[0]

    def logits(self, h_nD: Tensor) -> Tensor:
        """See `Decoder`."""
        return self._transformer.logits(h_nD)

    def append(self, pieces: Sequence[Tensor], states: Sequence[TransformerState]) -> list[Tensor]:
        """See `Decoder`; bit for bit the same alone and among others, but not in any split."""
        append = self._transformer.append
        return [append(x[None], state)[0] for x, state in zip(pieces, states, strict=True)]


def make_decoder(transformer: Transformer) -> Decoder:
    """The fastest decoder that does what a transformer on its device does."""
    device = transformer.head.weight.device
    with torch.no_grad():
        if can_launch(device):
            return FusedDecoder(FusedTransformer(transformer))
        if can_pack(transformer):
            return PackedDecoder(transformer)
    if device.type == 'cuda':
        _log.warning('no kernels on %s: %s; the plain decoder runs', device, KERNELS_NEED)
    return PlainDecoder(transformer)
