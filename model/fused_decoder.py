# SPDX-License-Identifier: Apache-2.0
"""The decoder of sessions on a GPU: through the kernels, one CUDA graph a pass.

Dims: n tokens, t tokens of one session, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from torch import Tensor

from .captured import Captured
from .fused import FusedTransformer
from .transformer import TransformerState


@dataclass
class FusedState(TransformerState):
    """Memory of a session, and the passes that were captured over it.

    Attributes:
        passes: For each number of tokens, the append of so many.
    """

    passes: dict[int, Captured] = field(default_factory=dict)


class FusedDecoder:
    """Appends tokens to sessions of one transformer, session by session.

    A session's hidden states are the same bits in any split of its tokens and whatever other
    sessions there are. Off CUDA nothing is captured, and the kernels' references run.

    Args:
        fused: The transformer; its weights must not change any more.

    Attributes:
        pool: Memory that the graphs of all sessions share; None off CUDA.
    """

    def __init__(self, fused: FusedTransformer):
        self._fused = fused
        self.pool = torch.cuda.graph_pool_handle() if fused.device.type == 'cuda' else None
        ids_V = torch.arange(fused.config.vocab, device=fused.device)
        with torch.no_grad(), torch.cuda.device_of(ids_V):
            self._embedding_VD = fused.embed(ids_V)

    def init_state(self, max_append: int) -> FusedState:
        """Allocates a session's memory and captures an append of every length over it."""
        fused = self._fused
        state = FusedState(**vars(fused.init_state(1, max_append, fused.device)))
        append = partial(fused.append, state=state)
        for length in range(1, max_append + 1):
            x_BtD = torch.zeros(1, length, fused.config.width, device=fused.device)
            state.passes[length] = Captured(append, x_BtD, self.pool)
        state.reset()
        return state

    def embed(self, ids_n: Tensor) -> Tensor:
        """Looks up normed embeddings, (n,) int64 to (n, D) fp32."""
        return self._embedding_VD[ids_n]

    def logits(self, h_nD: Tensor) -> Tensor:
        """Scores the vocabulary: (n, D) from `append` to (n, V) fp32."""
        return self._fused.logits(h_nD)

    def run(self, x_tD: Tensor, state: FusedState) -> Tensor:
        """Appends to one session as part of a graph that is being captured, or off CUDA.

        Args:
            x_tD: (t, D) embedded inputs.
            state: The session's memory. `appended` counts on now, not when the graph is replayed.

        Returns:
            (t, D) fp32, hidden states after the final norm.
        """
        return self._fused.append(x_tD[None], state)[0].float()

    def append(self, pieces: Sequence[Tensor], states: Sequence[TransformerState]) -> list[Tensor]:
        """Runs the next tokens of one or more sessions.

        Args:
            pieces: For each session (t, D) embedded inputs, t from 1 to `state.max_append`.
            states: Their memories, from `init_state`; updated in place.

        Returns:
            For each session (t, D) fp32, hidden states after the final norm.

        Raises:
            ValueError: t is out of range.
        """
        for piece, state in zip(pieces, states, strict=True):
            if not 1 <= len(piece) <= state.max_append:
                raise ValueError(
                    f'pieces: {len(piece)} tokens in one, expected 1 to {state.max_append}'
                )
        hidden = []
        for x_tD, state in zip(pieces, states, strict=True):
            appended = state.appended + len(x_tD)
            h_BtD = cast(FusedState, state).passes[len(x_tD)](x_tD[None])
            # A replay moves on only what lies on the device.
            state.appended = appended
            hidden.append(h_BtD[0].to(torch.float32, copy=True))
        return hidden
