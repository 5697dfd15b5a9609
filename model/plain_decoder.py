# SPDX-License-Identifier: Apache-2.0
"""What a session asks of a decoder, and the decoder that any transformer can be.

Dims: n tokens, t tokens of one session, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .packed_decoder import PackedDecoder, can_pack
from .transformer import Transformer, TransformerState


class Decoder(Protocol):
    """Runs tokens of sessions that share weights and nothing else."""

    def embed(self, ids_n: Tensor) -> Tensor:
        """(n,) int64 to (n, D)."""

    def logits(self, h_nD: Tensor) -> Tensor:
        """(n, D) to (n, V)."""

    def append(self, pieces: Sequence[Tensor], states: Sequence[TransformerState]) -> list[Tensor]:
        """For each session (t, D) embedded inputs to (t, D) hidden states."""


class PlainDecoder:
    """One session after the other through a transformer's own `append`.

    Args:
        transformer: A `Transformer`, or what has its methods.
    """

    def __init__(self, transformer: Transformer):
        self._transformer = transformer

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
    with torch.no_grad():
        return PackedDecoder(transformer) if can_pack(transformer) else PlainDecoder(transformer)
