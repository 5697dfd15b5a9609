# SPDX-License-Identifier: Apache-2.0
"""The decoder: one sequence of text, sound and pictures in, hidden states out.

Dims: B batch, T time, t appended tokens, D width, V vocabulary, P conv taps less one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from interaction_node.model.attention import Attention
from interaction_node.model.attention_state import AttentionState, Ring, Visibility
from interaction_node.model.config import TransformerConfig
from interaction_node.model.mlp import SwiGlu
from interaction_node.model.moe import MixtureOfExperts
from interaction_node.model.norm import RMSNorm
from interaction_node.model.short_conv import ShortConv


@dataclass
class BlockState:
    """Memory of one block.

    Attributes:
        attention: Keys, values and convolution of the attention.
        attention_conv_BPD: Last inputs of the convolution after attention.
        mlp_conv_BPD: Last inputs of the convolution after the feed-forward layer.
    """

    attention: AttentionState
    attention_conv_BPD: torch.Tensor
    mlp_conv_BPD: torch.Tensor

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Returns every tensor that an append overwrites."""
        held = self.attention
        conv = (held.conv_BPX, self.attention_conv_BPD, self.mlp_conv_BPD)
        return (held.k_BKRF, held.v_BKRF, *conv)


@dataclass
class TransformerState:
    """Everything that is remembered between appends; of constant size.

    Attributes:
        position: () int64, number of tokens appended so far.
        blocks: Memory of each block.
        rings: Slots of each type of layer.
        max_append: Most tokens that one append may bring.
        capacity: Most tokens in all, where full layers are unbounded; else None.
        appended: `position` as it is known on the host.
    """

    position: torch.Tensor
    blocks: list[BlockState]
    rings: dict[str, Ring]
    max_append: int
    capacity: int | None
    appended: int = 0

    def reset(self) -> None:
        """Forgets everything, in place."""
        self.appended = 0
        self.position.zero_()
        for block in self.blocks:
            for tensor in block.tensors():
                tensor.zero_()


class Block(nn.Module):
    """Attention and feed-forward layer, each normed before and convolved after.

    Args:
        config: Shapes.
        layer: Number of the block, from 0.
    """

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config, layer)
        self.attention_conv = ShortConv(config.width, config.conv_kernel)
        self.mlp_norm = RMSNorm(config.width, config.norm_eps)
        sparse = config.mlp_types[layer] == 'sparse'
        self.mlp = MixtureOfExperts(config) if sparse else SwiGlu(config.width, config.mlp_width)
        self.mlp_conv = ShortConv(config.width, config.conv_kernel)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Runs whole sequences, (B, T, D) to (B, T, D)."""
        x_BTD = x_BTD + self.attention_conv(self.attention(self.attention_norm(x_BTD)))
        return x_BTD + self.mlp_conv(self.mlp(self.mlp_norm(x_BTD)))

    def append(self, x_BtD: torch.Tensor, state: BlockState, visible: Visibility) -> torch.Tensor:
        """Runs the next tokens, (B, t, D) to (B, t, D), and updates `state` in place."""
        y_BtD = self.attention.append(self.attention_norm(x_BtD), state.attention, visible)
        x_BtD = x_BtD + self.attention_conv.append(y_BtD, state.attention_conv_BPD)
        y_BtD = self.mlp(self.mlp_norm(x_BtD))
        return x_BtD + self.mlp_conv.append(y_BtD, state.mlp_conv_BPD)


class Transformer(nn.Module):
    """Decoder-only transformer with bounded memory, as in the public Inkling code.

    Args:
        config: Shapes.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.embedding_norm = RMSNorm(config.width, config.norm_eps)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.head = nn.Linear(config.width, config.vocab, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws new weights from torch's global generator."""
        residual = (2 * self.config.layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2 or name.endswith('weight_KC'):
                continue
            std = 0.02 if name.endswith('rel_proj_RE') else parameter.shape[-1] ** -0.5
            if name.endswith(
                ('o_proj.weight', 'down_proj.weight', 'down_EDI', 'shared_down.weight')
            ):
                std *= residual
            parameter.normal_(0.0, std)

    def embed(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Looks up token embeddings and norms them.

        Args:
            ids_BT: (B, T) int64, 0 to V - 1.

        Returns:
            (B, T, D).
        """
        return self.embedding_norm(self.embedding(ids_BT))

    def logits(self, h_BTD: torch.Tensor) -> torch.Tensor:
        """Scores the vocabulary.

        Args:
            h_BTD: (B, T, D), hidden states from `forward` or `append`.

        Returns:
            (B, T, V).
        """
        return self.head(h_BTD / self.config.logits_divisor)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Runs whole sequences; right padding needs no mask because nothing looks ahead.

        Args:
            x_BTD: (B, T, D), embedded inputs that begin at the first token.

        Returns:
            (B, T, D), hidden states after the final norm.
        """
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.norm(x_BTD)

    def init_state(
        self,
        batch: int,
        max_append: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
        capacity: int | None = None,
    ) -> TransformerState:
        """Allocates all memory of a session.

        Args:
            batch: B, sequences that advance together.
            max_append: Most tokens that one append may bring.
            dtype: Of keys, values and convolution inputs: that of the weights.
            device: Where the memory lies.
            capacity: Most tokens in all; needed where `full_window` is None.

        Returns:
            An empty memory.

        Raises:
            ValueError: If full layers are unbounded and no capacity is given.
        """
        config = self.config
        bounded = config.full_window is not None or 'full' not in config.layer_types
        if not bounded and capacity is None:
            raise ValueError('capacity must be given when full_window is None, got None')
        device = torch.device(device)
        full = (config.full_window or capacity or 1, config.sink_tokens)
        if config.full_window is None:
            full = (full[0], 0)
        rings = {
            'sliding': Ring(config.window, 0, max_append, device),
            'full': Ring(*full, max_append, device),
        }
        blocks = [
            self._init_block_state(layer, batch, rings, dtype, device)
            for layer in range(config.layers)
        ]
        position = torch.zeros((), dtype=torch.int64, device=device)
        return TransformerState(position, blocks, rings, max_append, None if bounded else capacity)

    def _init_block_state(
        self,
        layer: int,
        batch: int,
        rings: dict[str, Ring],
        dtype: torch.dtype,
        device: torch.device,
    ) -> BlockState:
        def zeros(*size: int) -> torch.Tensor:
            return torch.zeros(size, dtype=dtype, device=device)

        attention = cast(Block, self.blocks[layer]).attention
        shape, past = attention.shape, self.config.conv_kernel - 1
        slots = rings[self.config.layer_types[layer]].slots
        size = (batch, shape.kv_heads, slots, shape.head_dim)
        held = AttentionState(zeros(*size), zeros(*size), zeros(batch, past, attention.kv_width))
        convs = (zeros(batch, past, self.config.width) for _ in range(2))
        return BlockState(held, *convs)

    def append(self, x_BtD: torch.Tensor, state: TransformerState) -> torch.Tensor:
        """Runs the next tokens of sequences that are remembered in `state`, updated in place.

        Args:
            x_BtD: (B, t, D), embedded inputs, t from 1 to `state.max_append`.
            state: From `init_state`, with the same B.

        Returns:
            (B, t, D), hidden states after the final norm.

        Raises:
            ValueError: If t is out of range, or an unbounded session is full.
        """
        length = x_BtD.shape[1]
        if not 1 <= length <= state.max_append:
            raise ValueError(f'x_BtD must bring 1 to {state.max_append} tokens, got {length}')
        if state.capacity is not None and state.appended + length > state.capacity:
            raise ValueError(
                f'x_BtD must leave the session within its capacity of {state.capacity} tokens, '
                f'got {length} more after {state.appended}'
            )
        visible = {
            kind: state.rings[kind].look(state.position, length, x_BtD.dtype)
            for kind in set(self.config.layer_types)
        }
        for block, held, kind in zip(
            self.blocks, state.blocks, self.config.layer_types, strict=True
        ):
            x_BtD = cast(Block, block).append(x_BtD, held, visible[kind])
        state.position += length
        state.appended += length
        return self.norm(x_BtD)
