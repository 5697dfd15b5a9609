# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs of the decoder: one replay a pass instead of hundreds of launches.

Dims: B batch, t appended tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from interaction_node.model.fused import FusedTransformer
from interaction_node.model.transformer import TransformerState


@dataclass(frozen=True)
class _Pass:
    """A captured append with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    x_BtD: torch.Tensor
    h_BtD: torch.Tensor
    logits_BV: torch.Tensor


class GraphedDecoder:
    """Appends to one session through graphs that are captured beforehand.

    Args:
        decoder: On a GPU.
        state: Memory of the session, from `decoder.init_state`; empty afterwards.
        lengths: Numbers of tokens to capture an append for.

    Raises:
        ValueError: If the session's memory is not bounded.
    """

    def __init__(
        self, decoder: FusedTransformer, state: TransformerState, lengths: Iterable[int]
    ) -> None:
        if state.capacity is not None:
            raise ValueError(f'state must be bounded, got a capacity of {state.capacity} tokens')
        self.state = state
        self._passes = {length: self._capture(decoder, length) for length in sorted(set(lengths))}

    def append(self, x_BtD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs the next tokens.

        Args:
            x_BtD: (B, t, D), embedded inputs, t one of the captured lengths.

        Returns:
            (B, t, D), hidden states; (B, V), logits of the last of them. Both are overwritten by
            the next append of this length.

        Raises:
            ValueError: If nothing was captured for t.
        """
        length = x_BtD.shape[1]
        if length not in self._passes:
            raise ValueError(f'x_BtD must bring one of {list(self._passes)} tokens, got {length}')
        captured = self._passes[length]
        captured.x_BtD.copy_(x_BtD)
        captured.graph.replay()
        self.state.appended += length
        return captured.h_BtD, captured.logits_BV

    def _capture(self, decoder: FusedTransformer, length: int) -> _Pass:
        state = self.state
        size = (state.blocks[0].attention.k_BKRF.shape[0], length, decoder.config.width)
        x_BtD = torch.zeros(size, device=state.position.device)
        # Compiles kernels, and allocates what a graph must not allocate.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            decoder.logits(decoder.append(x_BtD, state)[:, -1])
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            h_BtD = decoder.append(x_BtD, state)
            logits_BV = decoder.logits(h_BtD[:, -1])
        state.reset()
        return _Pass(graph, x_BtD, h_BtD, logits_BV)
