# SPDX-License-Identifier: Apache-2.0
"""The decoder, rearranged for the few tokens of a micro-turn on a processor without a GPU.

Same weights, same memory and, to rounding, same results as `Transformer.append`. A micro-turn of a
small model costs calls and memory traffic, not arithmetic: so weights are packed in 16 bits where
that loses nothing, steps are merged, and the bias of a key is found by a change of strides.

With packed weights a row of a result does not depend on the rows computed with it. So tokens that
are appended in one piece or in any split, by a session alone or together with others, come out bit
for bit the same.

Dims: n tokens of all sessions, t tokens of one, D width, H heads, K kv heads, G heads per kv head,
F head size, R ring slots, E bias extent, X rows of a product (G * t, filled up), P taps less one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from .attention import Attention
from .attention_state import AttentionState, Ring
from .mlp import SwiGlu
from .norm import RMSNorm
from .packed_linear import PackedLinear, fill_rows
from .packed_mlp import PackedExperts, PackedSwiGlu
from .short_conv import ShortConv
from .transformer import Block, BlockState, Transformer, TransformerState

_HIDDEN = float('-inf')


class PackedDecoder:
    """Appends tokens to sessions of one transformer; holds no session of its own.

    Args:
        transformer: In evaluation mode; later changes of its weights are not seen.

    Attributes:
        bitwise: All weights are packed: the same bits come out however tokens are split.

    Raises:
        ValueError: The transformer has something that this does not do (see `can_pack`).
    """

    def __init__(self, transformer: Transformer):
        if not can_pack(transformer):
            raise ValueError(f'transformer: {transformer.config}, which can not be packed')
        config, self._transformer = transformer.config, transformer
        self._layer_types = config.layer_types
        with torch.no_grad():
            self._embedding_VD = transformer.embedding_norm(transformer.embedding.weight)
            self._layers = [_Layer(cast(Block, block)) for block in transformer.blocks]
            self._norm = _Norm(transformer.norm)
            self._head = PackedLinear(transformer.head.weight / config.logits_divisor)
        self.bitwise = self._head.packed and all(layer.packed for layer in self._layers)

    def init_state(self, max_append: int) -> TransformerState:
        """Allocates a session's memory, for appends of up to `max_append` tokens."""
        return self._transformer.init_state(1, max_append)

    def embed(self, ids_n: Tensor) -> Tensor:
        """Looks up normed embeddings, (n,) int64 to (n, D)."""
        return self._embedding_VD[ids_n]

    def logits(self, h_nD: Tensor) -> Tensor:
        """Scores the vocabulary: (n, D) from `append` to (n, V)."""
        return self._head(h_nD)

    def append(self, pieces: Sequence[Tensor], states: Sequence[TransformerState]) -> list[Tensor]:
        """Runs the next tokens of one or more sessions; all together, if there are several.

        Args:
            pieces: For each session (t, D) embedded inputs, t from 1 to `state.max_append`.
            states: Their memories, of batch 1 each; updated in place.

        Returns:
            For each session (t, D), hidden states after the final norm.

        Raises:
            ValueError: t is out of range.
        """
        lengths = [len(piece) for piece in pieces]
        for length, state in zip(lengths, states, strict=True):
            if not 1 <= length <= state.max_append:
                raise ValueError(
                    f'pieces: {length} tokens in one, expected 1 to {state.max_append}'
                )
        x_nD = torch.cat(list(pieces)) if len(pieces) > 1 else pieces[0]
        kinds = set(self._layer_types)
        sights = [
            {kind: _Sight(state.rings[kind], state.appended, length) for kind in kinds}
            for length, state in zip(lengths, states, strict=True)
        ]
        for index, (layer, kind) in enumerate(zip(self._layers, self._layer_types, strict=True)):
            held = [state.blocks[index] for state in states]
            x_nD = layer(x_nD, lengths, held, [sight[kind] for sight in sights])
        for length, state in zip(lengths, states, strict=True):
            state.position += length
            state.appended += length
        return list(self._norm(x_nD).split(lengths))


def can_pack(transformer: Transformer) -> bool:
    """Whether `PackedDecoder` computes what a transformer does: bounded, on the CPU."""
    config = transformer.config
    if transformer.head.weight.device.type != 'cpu':
        return False
    if 'full' not in config.layer_types:
        return True
    # Where the sink is out of the ring's sight, its bias must be zero.
    reach = config.rel_extent + (config.sink_tokens + 64 if config.sink_tokens else 0)
    bounded = config.full_window is not None and config.full_window >= reach
    return bounded and config.log_scaling_floor is None


class _Norm:
    """Root-mean-square norm."""

    def __init__(self, norm: RMSNorm):
        width = norm.weight.shape[0]
        self._floor = torch.tensor(math.sqrt(norm.eps * width))
        self.gain_D = norm.weight.detach().float() * math.sqrt(width)

    def __call__(self, x_nD: Tensor) -> Tensor:
        # sqrt(sum of squares + width * eps), in two calls.
        length = torch.linalg.vector_norm(x_nD, 2, -1, True).hypot_(self._floor)
        return (x_nD / length).mul_(self.gain_D)


class _Conv:
    """Short convolution, its residual included as the last tap."""

    def __init__(self, conv: ShortConv):
        self._taps_KC = conv.weight_KC.detach().float().clone()
        self._taps_KC[-1] += 1

    def __call__(self, x_nC: Tensor, lengths: list[int], pasts: list[Tensor]) -> Tensor:
        if len(pasts) == 1:
            return self._one(x_nC, pasts[0][0])
        pieces = x_nC.split(lengths)
        mixed = [self._one(x, past[0]) for x, past in zip(pieces, pasts, strict=True)]
        return torch.cat(mixed)

    def _one(self, x_tC: Tensor, past_PC: Tensor) -> Tensor:
        padded_SC = torch.cat((past_PC, x_tC))
        length, channels = x_tC.shape
        past_PC.copy_(padded_SC[length:])
        windows_tKC = padded_SC.as_strided(
            (length, self._taps_KC.shape[0], channels), (channels, channels, 1)
        )
        return (windows_tKC * self._taps_KC).sum(1)


class _Layer:
    """One block."""

    def __init__(self, block: Block):
        attention, mlp = block.attention, block.mlp
        self._attention_norm, self._mlp_norm = _Norm(block.attention_norm), _Norm(block.mlp_norm)
        self._attend = _Attend(attention)
        self._widths = (attention.q_width, attention.kv_width, attention.r_width)
        self._qkvr = PackedLinear(attention.qkvr_proj.weight)
        self._kv_conv = _Conv(attention.kv_conv)
        self._o = PackedLinear(attention.o_proj.weight)
        self._attention_conv, self._mlp_conv = _Conv(block.attention_conv), _Conv(block.mlp_conv)
        self._mlp = PackedSwiGlu(mlp) if isinstance(mlp, SwiGlu) else PackedExperts(mlp)
        self.packed = self._qkvr.packed and self._o.packed and self._mlp.packed

    def __call__(
        self, x_nD: Tensor, lengths: list[int], held: list[BlockState], sights: list[_Sight]
    ) -> Tensor:
        qkvr_nX = self._qkvr(self._attention_norm(x_nD))
        q_nX, kv_nX, r_nX = torch.split_with_sizes(qkvr_nX, self._widths, -1)
        memories = [state.attention for state in held]
        kv_nX = self._kv_conv(kv_nX, lengths, [memory.conv_BPX for memory in memories])
        y_nD = self._o(self._attend(q_nX, kv_nX, r_nX, lengths, memories, sights))
        pasts = [state.attention_conv_BPD for state in held]
        x_nD = x_nD + self._attention_conv(y_nD, lengths, pasts)
        y_nD = self._mlp(self._mlp_norm(x_nD))
        return x_nD + self._mlp_conv(y_nD, lengths, [state.mlp_conv_BPD for state in held])


class _Sight:
    """Where the next tokens of a session are written, and which slots they see.

    Args:
        ring: Slots of this type of layer.
        position: Tokens appended before.
        length: t, tokens now appended.
    """

    def __init__(self, ring: Ring, position: int, length: int):
        self.sink, self.slots, self.ring = ring.sink, ring.slots, ring.ring
        self.window, self.length = ring.window, length
        self.newest = position + length - 1
        slots = [self._slot(position + i) for i in range(length)]
        self.first = slots[0]
        # Runs of neighbouring slots are copied as one; the ring's end or the sink's breaks them.
        breaks = [i for i in range(1, length) if slots[i] != slots[i - 1] + 1]
        bounds = [0, *breaks, length]
        self.runs = [(slots[a], a, b - a) for a, b in itertools.pairwise(bounds)]
        self.last = slots[-1] if self.newest >= self.sink else self.sink + self.ring - 1

    def _slot(self, position: int) -> int:
        if position < self.sink:
            return position
        return (position - self.sink) % self.ring + self.sink

    def write(self, ring_KRF: Tensor, x_KtF: Tensor) -> None:
        """Stores keys or values of the new tokens."""
        for slot, first, count in self.runs:
            ring_KRF.narrow(1, slot, count).copy_(x_KtF.narrow(1, first, count))

    def add_bias(self, scores_KtGR: Tensor, by_age_KtGR: Tensor) -> None:
        """Adds what depends on the distance, and hides what must not be seen.

        Args:
            scores_KtGR: Of all slots, in the order of slots.
            by_age_KtGR: Of the last positions up to the newest, as many as the ring has slots.
        """
        # The slot after the newest token's holds the oldest.
        older = self.slots - 1 - self.last
        if older:
            scores_KtGR[..., self.last + 1 :] += by_age_KtGR[..., :older]
        scores_KtGR[..., self.sink : self.last + 1] += by_age_KtGR[..., older:]
        if self.sink and self.newest < self.window:
            # The sink is as near as other tokens; later its bias is zero.
            first, held = self.ring - 1 - self.newest, min(self.sink, self.newest + 1)
            scores_KtGR[..., :held] += by_age_KtGR[..., first : first + held]
        if self.newest + 1 < self.slots:
            scores_KtGR[..., self.newest + 1 :] = _HIDDEN


class _Attend:
    """Attention of one layer, between its projections."""

    def __init__(self, attention: Attention):
        shape = attention.shape
        self._heads, self._kv_heads = shape.heads, shape.kv_heads
        self._size, self._extent = shape.head_dim, shape.extent
        self._groups = shape.heads // shape.kv_heads
        # One norm for the heads of queries and keys, with a gain each.
        self._norm, k_norm = _Norm(attention.q_norm), _Norm(attention.k_norm)
        gains = [self._norm.gain_D / shape.head_dim] * shape.heads
        self._norm.gain_D = torch.stack(gains + [k_norm.gain_D] * shape.kv_heads)
        # Oldest first, as positions are.
        self._profiles_RE = attention.rel_proj_RE.detach().flip(1).contiguous()
        self._bias_rows: dict[tuple[int, int, int], Tensor] = {}

    def __call__(
        self,
        q_nX: Tensor,
        kv_nX: Tensor,
        r_nX: Tensor,
        lengths: list[int],
        memories: list[AttentionState],
        sights: list[_Sight],
    ) -> Tensor:
        k_nX, v_nX = kv_nX.chunk(2, -1)
        qk = torch.cat((q_nX, k_nX), -1).unflatten(-1, (-1, self._size))
        qk = self._norm(qk)
        q_nHF, k_nKF = torch.split_with_sizes(qk, (self._heads, self._kv_heads), 1)
        v_nKF = v_nX.unflatten(1, (self._kv_heads, -1))
        r_XR = r_nX.reshape(q_nHF.shape[0] * self._heads, -1)
        bias_nHE = (fill_rows(r_XR) @ self._profiles_RE)[: r_XR.shape[0]].view(*q_nHF.shape[:2], -1)
        if len(lengths) == 1:
            return self._one(q_nHF, k_nKF, v_nKF, bias_nHE, memories[0], sights[0])
        q, k, v, bias = (x.split(lengths) for x in (q_nHF, k_nKF, v_nKF, bias_nHE))
        each = [
            self._one(q[i], k[i], v[i], bias[i], memories[i], sights[i])
            for i in range(len(lengths))
        ]
        return torch.cat(each)

    def _one(
        self,
        q_tHF: Tensor,
        k_tKF: Tensor,
        v_tKF: Tensor,
        bias_tHE: Tensor,
        memory: AttentionState,
        sight: _Sight,
    ) -> Tensor:
        k_KRF, v_KRF = memory.k_BKRF[0], memory.v_BKRF[0]
        sight.write(k_KRF, k_tKF.transpose(0, 1))
        sight.write(v_KRF, v_tKF.transpose(0, 1))
        length, kv_heads = sight.length, self._kv_heads
        rows = length * self._groups
        q_KXF = q_tHF.view(length, kv_heads, -1, self._size).transpose(0, 1)
        q_KXF = q_KXF.reshape(kv_heads, rows, self._size)
        scores_KXR = torch.bmm(fill_rows(q_KXF), k_KRF.mT)
        scores_KtGR = scores_KXR[:, :rows].view(kv_heads, length, self._groups, -1)
        sight.add_bias(scores_KtGR, self._by_age(bias_tHE, sight))
        out_KXF = torch.bmm(scores_KXR.softmax(-1), v_KRF)[:, :rows]
        out_tKX = out_KXF.reshape(kv_heads, length, -1).transpose(0, 1)
        return out_tKX.reshape(length, -1)

    def _by_age(self, bias_tHE: Tensor, sight: _Sight) -> Tensor:
        """(K, t, G, R) bias of the last R positions, oldest first; -inf where out of sight.

        Each row holds: out of the window, far, near (the learned part), ahead of the query. The
        row of query i, seen from the newest token's, begins i columns further left.
        """
        length, ring = sight.length, sight.ring
        key = (length, ring, sight.window)
        row = ring + length - 1
        if key not in self._bias_rows:
            fresh = torch.full((length, self._heads, row), _HIDDEN)
            fresh[..., ring - sight.window : ring] = 0.0
            self._bias_rows[key] = fresh
        rows_tHL = self._bias_rows[key]
        near = min(self._extent, sight.window)
        rows_tHL[..., ring - near : ring] = bias_tHE[..., self._extent - near :]
        strides = (self._groups * row, self._heads * row - 1, row, 1)
        return rows_tHL.as_strided(
            (self._kv_heads, length, self._groups, ring), strides, length - 1
        )
