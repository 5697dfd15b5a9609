# SPDX-License-Identifier: Apache-2.0
"""Grouped-query attention with a learned relative-position bias, whole or streamed.

Dims: B batch, T time, t appended tokens, D width, H heads, K kv heads, G heads per kv head,
F head size, E bias extent, R ring slots, C chunks, W chunk length (the window, or the extent).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from interaction_node.model.attention_state import AttentionState, Visibility
from interaction_node.model.config import TransformerConfig
from interaction_node.model.norm import RMSNorm
from interaction_node.model.relative_attention import BlockMask, relative_attention
from interaction_node.model.short_conv import ShortConv


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of the attention of one layer.

    Attributes:
        heads: Query heads.
        kv_heads: Key/value heads.
        head_dim: Size of one head.
        extent: Distance from which the bias is zero.
        sliding: The extent is also the window.
    """

    heads: int
    kv_heads: int
    head_dim: int
    extent: int
    sliding: bool

    @classmethod
    def of_layer(cls, config: TransformerConfig, layer: int) -> AttentionShape:
        """Picks the sizes of layer number `layer`."""
        if config.layer_types[layer] == 'sliding':
            heads, kv_heads = config.sliding_heads, config.sliding_kv_heads
            return cls(heads, kv_heads, config.sliding_head_dim, config.window, True)
        return cls(config.heads, config.kv_heads, config.head_dim, config.rel_extent, False)


class Attention(nn.Module):
    """Attention of one layer, as in the public Inkling code.

    Args:
        config: Shapes.
        layer: Number of the layer, from 0.
    """

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.shape = shape = AttentionShape.of_layer(config, layer)
        self.q_width = shape.heads * shape.head_dim
        self.kv_width = 2 * shape.kv_heads * shape.head_dim
        self.r_width = shape.heads * config.d_rel
        widths = self.q_width + self.kv_width + self.r_width
        self.qkvr_proj = nn.Linear(config.width, widths, bias=False)
        self.kv_conv = ShortConv(self.kv_width, config.conv_kernel)
        # The scale is 1/F, so a gain of sqrt(F) starts at the usual sharpness.
        self.q_norm = RMSNorm(shape.head_dim, config.norm_eps, gain=shape.head_dim**0.5)
        self.k_norm = RMSNorm(shape.head_dim, config.norm_eps)
        self.rel_proj_RE = nn.Parameter(torch.empty(config.d_rel, shape.extent))
        self.o_proj = nn.Linear(self.q_width, config.width, bias=False)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Attends within whole sequences that begin at the first token.

        Args:
            x_BTD: (B, T, D), normed input of the block.

        Returns:
            (B, T, D).
        """
        length = x_BTD.shape[1]
        chunk = self.shape.extent
        # Full layers need no chunk longer than the sequence.
        if not self.shape.sliding:
            chunk = min(chunk, length)
        q_BTX, kv_BTX, r_BTX = self._project(x_BTD)
        kv_BTX = self.kv_conv(kv_BTX)
        padding = (0, 0, 0, -length % chunk)
        q, k, v, r = self._split(*(F.pad(y, padding) for y in (q_BTX, kv_BTX, r_BTX)))
        if self._sharpens:
            tau = self._sharpening(torch.arange(q.shape[1], device=q.device))
            q, r = q * tau.to(q.dtype), r * tau.to(r.dtype)
        q = q / self.shape.head_dim
        attend = self._attend_sliding if self.shape.sliding else self._attend_full
        return self.o_proj(attend(q, k, v, r, chunk)[:, :length])

    def append(
        self, x_BtD: torch.Tensor, state: AttentionState, visible: Visibility
    ) -> torch.Tensor:
        """Attends from the next tokens to everything that is still remembered.

        Args:
            x_BtD: (B, t, D), normed input of the block.
            state: Keys and values of this layer; written in place.
            visible: Slots, mask and distances of this append, shared by the layers of a type.

        Returns:
            (B, t, D).
        """
        shape = self.shape
        batch, length, _ = x_BtD.shape
        q_BtX, kv_BtX, r_BtX = self._project(x_BtD)
        kv_BtX = self.kv_conv.append(kv_BtX, state.conv_BPX)
        q, k, v, r = self._split(q_BtX, kv_BtX, r_BtX)
        state.k_BKRF.index_copy_(2, visible.slots_t, k.transpose(1, 2))
        state.v_BKRF.index_copy_(2, visible.slots_t, v.transpose(1, 2))
        if self._sharpens:
            tau = self._sharpening(visible.positions_t)
            q, r = q * tau.to(q.dtype), r * tau.to(r.dtype)
        # The last column serves every distance from the extent on.
        bias_BtHE = F.pad(r @ self.rel_proj_RE.to(r.dtype), (0, 1))
        index = visible.distance_tR.clamp(0, shape.extent)[:, None]
        index = index.expand(batch, -1, shape.heads, -1)
        bias_BtHR = bias_BtHE.gather(-1, index) + visible.mask_tR[:, None]
        groups = shape.heads // shape.kv_heads
        q = q.view(batch, length, shape.kv_heads, groups, -1).permute(0, 2, 1, 3, 4)
        bias = bias_BtHR.view(batch, length, shape.kv_heads, groups, -1).permute(0, 2, 1, 3, 4)
        scores = q.flatten(2, 3) @ state.k_BKRF.transpose(2, 3)
        scores = torch.add(bias.flatten(2, 3), scores, alpha=1 / shape.head_dim)
        out = scores.float().softmax(-1).to(v.dtype) @ state.v_BKRF
        out = out.view(batch, shape.kv_heads, length, groups, -1).permute(0, 2, 1, 3, 4)
        return self.o_proj(out.reshape(batch, length, self.q_width))

    @property
    def _sharpens(self) -> bool:
        return self.config.log_scaling_floor is not None and not self.shape.sliding

    def _sharpening(self, positions_t: torch.Tensor) -> torch.Tensor:
        floor = self.config.log_scaling_floor or 1
        seen = positions_t + 1
        if self.config.full_window is not None:
            seen = seen.clamp(max=self.config.sink_tokens + self.config.full_window)
        excess = (seen / floor).clamp(min=1.0)
        return (1.0 + self.config.log_scaling_alpha * excess.log())[:, None, None]

    def _project(self, x_BTD: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.qkvr_proj(x_BTD).split((self.q_width, self.kv_width, self.r_width), dim=-1)

    def _split(
        self, q_BTX: torch.Tensor, kv_BTX: torch.Tensor, r_BTX: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Returns q (B,T,H,F), k and v (B,T,K,F), r (B,T,H,d_rel); q and k normed."""
        shape = self.shape
        q_BTHF = q_BTX.unflatten(-1, (shape.heads, shape.head_dim))
        k_BTKF, v_BTKF = kv_BTX.unflatten(-1, (2, shape.kv_heads, shape.head_dim)).unbind(2)
        r_BTHR = r_BTX.unflatten(-1, (shape.heads, -1))
        dtype = q_BTX.dtype
        return self.q_norm(q_BTHF).to(dtype), self.k_norm(k_BTKF).to(dtype), v_BTKF, r_BTHR

    def _chunked(self, x_BTHF: torch.Tensor, chunk: int) -> torch.Tensor:
        """Returns (C, B*K, G*W, F)."""
        batch, _, heads, size = x_BTHF.shape
        groups = heads // self.shape.kv_heads
        x = x_BTHF.view(batch, -1, chunk, self.shape.kv_heads, groups, size)
        x = x.permute(1, 0, 3, 4, 2, 5)
        return x.reshape(-1, batch * self.shape.kv_heads, groups * chunk, size)

    def _unchunked(self, x: torch.Tensor, batch: int, chunk: int) -> torch.Tensor:
        """Undoes `_chunked` for (C, B*K, G*W, F); returns (B, T, H*F)."""
        kv_heads, size = self.shape.kv_heads, x.shape[-1]
        x = x.view(x.shape[0], batch, kv_heads, -1, chunk, size).permute(1, 0, 4, 2, 3, 5)
        return x.reshape(batch, -1, self.q_width)

    def _attend_sliding(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, r: torch.Tensor, chunk: int
    ) -> torch.Tensor:
        """Attends from every chunk to itself and to the chunk before it, all at once."""
        batch = q.shape[0]
        q, k, v, r = (self._chunked(x, chunk) for x in (q, k, v, r))
        chunks = q.shape[0]
        mask = BlockMask(chunk, start=chunk, window=chunk)
        if chunks > 1:
            k, v = (torch.cat((F.pad(x[:-1], (0,) * 6 + (1, 0)), x), dim=2) for x in (k, v))
        starts_C = torch.arange(chunks, device=q.device) == 0 if chunks > 1 else None
        q, k, v, r = (x.flatten(0, 1) for x in (q, k, v, r))
        out = relative_attention(q, k, v, r, self.rel_proj_RE, mask, starts_C)
        return self._unchunked(out.unflatten(0, (chunks, -1)), batch, chunk)

    def _attend_full(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, r: torch.Tensor, chunk: int
    ) -> torch.Tensor:
        """Attends from chunk after chunk to itself and to everything before it."""
        batch = q.shape[0]
        q, r = self._chunked(q, chunk), self._chunked(r, chunk)
        k, v = (x.transpose(1, 2).flatten(0, 1) for x in (k, v))
        rel_proj = self.rel_proj_RE[:, :chunk]
        window, sink = self.config.full_window or 0, self.config.sink_tokens
        out = []
        for index in range(q.shape[0]):
            mask = BlockMask(chunk, index * chunk, window, sink)
            seen = slice(0, (index + 1) * chunk)
            out.append(
                relative_attention(q[index], k[:, seen], v[:, seen], r[index], rel_proj, mask)
            )
        return self._unchunked(torch.stack(out), batch, chunk)
