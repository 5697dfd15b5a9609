# SPDX-License-Identifier: Apache-2.0
"""The decoder through the kernels of `kernels/`: the same bits for one token and for thousands.

Takes the weights of a `Transformer` and the memory that it makes, and has its methods. A token's
hidden state does not depend on how the tokens came (one by one, a micro-turn at a time, or a whole
training sequence) nor on what else is in the batch. It is for inference; gradients don't flow.

Dims: B batch, T time, t appended tokens, D width, V vocabulary, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch

from interaction_node.kernels.append_attention import Layout, Memory, Weights, append_attention
from interaction_node.kernels.linear import gate_up, linear
from interaction_node.kernels.moe_gather_gemv import moe, route
from interaction_node.kernels.norm_conv import norm, norm_conv
from interaction_node.kernels.quantise import Weight, quantise
from interaction_node.model.attention_state import Ring
from interaction_node.model.config import TransformerConfig
from interaction_node.model.mlp import SwiGlu
from interaction_node.model.moe import MixtureOfExperts
from interaction_node.model.transformer import Block, BlockState, Transformer, TransformerState

Pack = Callable[[torch.Tensor], Weight]


class FusedTransformer:
    """A `Transformer` that runs through the kernels.

    Args:
        transformer: Its weights are copied.
        dtype: Of weights, keys and values; sums are in fp32, as is the residual stream.
        int8: Experts and dense layers in int8 with a scale for each row.

    Attributes:
        config: Shapes.
        device: Where the weights are.
    """

    def __init__(
        self, transformer: Transformer, dtype: torch.dtype = torch.bfloat16, int8: bool = False
    ) -> None:
        self.config = transformer.config
        self._transformer, self._dtype = transformer, dtype

        def plain(values: torch.Tensor) -> Weight:
            return Weight(values.detach().to(dtype).contiguous())

        pack = (lambda values: quantise(values.detach())) if int8 else plain
        self._blocks = [
            FusedBlock(cast(Block, block), self.config, pack, plain) for block in transformer.blocks
        ]
        gains = [block.attention_gain for block in self._blocks[1:]]
        self._next_gains = [*gains, transformer.norm.weight.detach().float()]
        self._embedding = transformer.embedding.weight.detach().to(dtype)
        self._embedding_gain = transformer.embedding_norm.weight.detach().float()
        self._head = plain(transformer.head.weight)
        self.device = self._head.values.device
        self._factor = torch.full((1,), 1 / self.config.logits_divisor, device=self.device)

    def embed(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Looks up token embeddings and norms them.

        Args:
            ids_BT: (B, T) int64, or any other shape.

        Returns:
            (B, T, D) fp32.
        """
        found = self._embedding[ids_BT].contiguous()
        return norm(found, self._embedding_gain, self.config.norm_eps, torch.float32)

    def logits(self, h_XD: torch.Tensor) -> torch.Tensor:
        """Scores the vocabulary.

        Args:
            h_XD: (..., D), hidden states from `forward` or `append`.

        Returns:
            (..., V) fp32.
        """
        rows = h_XD.reshape(-1, h_XD.shape[-1]).to(self._dtype).contiguous()
        found = linear(rows, self._head, self._factor, torch.float32)
        return found.view(*h_XD.shape[:-1], -1)

    def init_state(
        self,
        batch: int,
        max_append: int,
        device: torch.device | str = 'cpu',
        capacity: int | None = None,
    ) -> TransformerState:
        """Allocates all memory of a session; see `Transformer.init_state`."""
        return self._transformer.init_state(batch, max_append, self._dtype, device, capacity)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Runs whole sequences that begin at the first token.

        Args:
            x_BTD: (B, T, D), embedded inputs.

        Returns:
            (B, T, D), hidden states after the final norm.
        """
        batch, length, _ = x_BTD.shape
        return self.append(x_BTD, self.init_state(batch, length, x_BTD.device, length))

    @torch.no_grad()
    def append(self, x_BtD: torch.Tensor, state: TransformerState) -> torch.Tensor:
        """Runs the next tokens of sequences that are remembered in `state`, updated in place.

        Args:
            x_BtD: (B, t, D), embedded inputs, t from 1 to `state.max_append`.
            state: From `init_state`, with the same B.

        Returns:
            (B, t, D), hidden states after the final norm, of the weights' dtype.

        Raises:
            ValueError: If t is out of range, or an unbounded session is full.
        """
        length = x_BtD.shape[1]
        room = state.max_append
        if state.capacity is not None:
            room = min(room, state.capacity - state.appended)
        if not 1 <= length <= room:
            raise ValueError(f'x_BtD must bring 1 to {room} tokens, got {length}')
        x_BtD = x_BtD.float().contiguous()
        eps, first = self.config.norm_eps, self._blocks[0]
        normed_BtD = norm(x_BtD, first.attention_gain, eps, self._dtype)
        for block, held, gain, kind in zip(
            self._blocks, state.blocks, self._next_gains, self.config.layer_types, strict=True
        ):
            ring, position = state.rings[kind], state.position
            x_BtD, normed_BtD = block.append(x_BtD, normed_BtD, position, held, ring, gain)
        state.position += length
        state.appended += length
        return normed_BtD


class FusedBlock:
    """One block of the decoder: its weights, laid out for the kernels.

    Args:
        block: Where the weights come from.
        config: Shapes.
        pack: Makes weights of experts and dense layers.
        plain: Makes weights that stay in a floating dtype.
    """

    def __init__(self, block: Block, config: TransformerConfig, pack: Pack, plain: Pack) -> None:
        self.config = config
        attention, mlp = block.attention, block.mlp
        shape = attention.shape
        self._shape, self._sharpens = shape, not shape.sliding and config.log_scaling_floor
        self._qkvr, self._out = pack(attention.qkvr_proj.weight), pack(attention.o_proj.weight)
        self._weights = Weights(
            attention.kv_conv.weight_KC.detach().float(),
            attention.q_norm.weight.detach().float(),
            attention.k_norm.weight.detach().float(),
            plain(attention.rel_proj_RE.T).values,
        )
        self.attention_gain = block.attention_norm.weight.detach().float()
        self._mlp_gain = block.mlp_norm.weight.detach().float()
        self._attention_taps = block.attention_conv.weight_KC.detach().float()
        self._mlp_taps = block.mlp_conv.weight_KC.detach().float()
        self._mlp: FusedSwiGlu | FusedExperts
        if isinstance(mlp, SwiGlu):
            self._mlp = FusedSwiGlu(mlp, config, pack, plain)
        else:
            self._mlp = FusedExperts(mlp, config, pack, plain)

    def append(
        self,
        x_BtD: torch.Tensor,
        normed_BtD: torch.Tensor,
        position: torch.Tensor,
        state: BlockState,
        ring: Ring,
        next_gain_D: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs the next tokens and updates `state` in place.

        Args:
            x_BtD: (B, t, D) fp32, residual stream.
            normed_BtD: (B, t, D), the same, normed for this block.
            position: () int64, tokens appended before.
            state: Memory of this block.
            ring: Slots of layers of this type.
            next_gain_D: (D,), gain of the norm that follows this block.

        Returns:
            (B, t, D) fp32, residual stream; (B, t, D), normed for what follows.
        """
        eps, held = self.config.norm_eps, state.attention
        memory = Memory(held.k_BKRF, held.v_BKRF, held.conv_BPX)
        qkvr = linear(normed_BtD.flatten(0, 1), self._qkvr).unflatten(0, normed_BtD.shape[:2])
        y = append_attention(qkvr, position, self._weights, memory, self._layout(ring))
        y_BtD = linear(y.flatten(0, 1), self._out).view_as(normed_BtD)
        past, taps = state.attention_conv_BPD, self._attention_taps
        x_BtD, normed_BtD = norm_conv(y_BtD, past, taps, x_BtD, self._mlp_gain, eps)
        y_BtD = self._mlp(normed_BtD.flatten(0, 1)).view_as(normed_BtD)
        past, taps = state.mlp_conv_BPD, self._mlp_taps
        return norm_conv(y_BtD, past, taps, x_BtD, next_gain_D, eps)

    def _layout(self, ring: Ring) -> Layout:
        shape, config = self._shape, self.config
        return Layout(
            shape.heads,
            shape.kv_heads,
            shape.head_dim,
            config.d_rel,
            ring.window,
            ring.sink,
            ring.ring,
            config.norm_eps,
            self._sharpens or 0,
            config.log_scaling_alpha,
        )


class FusedSwiGlu:
    """A dense feed-forward layer through the kernels; the arguments are those of `FusedBlock`."""

    def __init__(self, layer: SwiGlu, config: TransformerConfig, pack: Pack, plain: Pack) -> None:
        self._gate_up, self._down = pack(layer.gate_up_proj.weight), pack(layer.down_proj.weight)
        self._scale = layer.scale.detach().float()

    def __call__(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Transforms each token by itself, (N, D) to (N, D)."""
        return linear(gate_up(x_ND, self._gate_up), self._down, self._scale)


class FusedExperts:
    """A mixture of experts through the kernels; the arguments are those of `FusedBlock`."""

    def __init__(
        self, layer: MixtureOfExperts, config: TransformerConfig, pack: Pack, plain: Pack
    ) -> None:
        self._config, router = config, layer.router
        self._router = plain(router.weight_ED)
        self._bias, self._scale = router.bias_E.float(), router.scale.detach().float()
        weights = (layer.gate_up_EXD, layer.down_EDI, layer.shared_gate_up.weight)
        self._weights = [pack(weight) for weight in (*weights, layer.shared_down.weight)]

    def __call__(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Transforms each token by itself, (N, D) to (N, D)."""
        config = self._config
        picking = (config.experts_per_token, config.route_scale, config.shared_expert_sink)
        experts, weights = route(x_ND, self._router, self._bias, self._scale, *picking)
        return moe(x_ND, experts, weights, *self._weights)
