# SPDX-License-Identifier: Apache-2.0
"""Plain PyTorch of the attention to ring buffers: one token, one visible position at a time.

Dims: B sequences, t appended tokens, H heads, K kv heads, F head size, R slots, E bias extent,
N visible positions, X = H F + 2 K F + H * rank, Z = 2 K F, P remembered tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from interaction_node.kernels.norm_conv.reference import conv, norm

if TYPE_CHECKING:
    from interaction_node.kernels.append_attention import Layout, Memory, Weights


def append_attention(
    qkvr_BtX: torch.Tensor,
    position: torch.Tensor,
    weights: Weights,
    memory: Memory,
    layout: Layout,
) -> torch.Tensor:
    """See `interaction_node.kernels.append_attention.append_attention`."""
    dtype, heads, kv_heads, size = qkvr_BtX.dtype, layout.heads, layout.kv_heads, layout.head_dim
    widths = (heads * size, 2 * kv_heads * size, heads * layout.rank)
    q_BtX, kv_BtZ, r_BtX = qkvr_BtX.split(widths, dim=-1)
    kv_BtZ = conv(kv_BtZ, memory.past_BPZ, weights.taps_TZ).to(dtype)
    k, v = kv_BtZ.unflatten(-1, (2, kv_heads, size)).unbind(2)
    k = norm(k, weights.k_gain_F, layout.eps, dtype)
    q = norm(q_BtX.unflatten(-1, (heads, size)), weights.q_gain_F, layout.eps, torch.float32)
    r = r_BtX.unflatten(-1, (heads, layout.rank)).float()
    out = torch.empty(*q.shape, device=q.device)
    for row, start in enumerate(position.expand(len(q)).tolist()):
        slots = [layout.slot(start + i) for i in range(q.shape[1])]
        memory.k_BKRF[row][:, slots] = k[row].transpose(0, 1)
        memory.v_BKRF[row][:, slots] = v[row].transpose(0, 1)
        for i in range(q.shape[1]):
            seen = layout.visible(start + i)
            slots = [layout.slot(place) for place in seen]
            away_N = start + i - torch.tensor(seen, device=q.device)
            tau = layout.sharpening(start + i)
            bias_HN = tau * r[row, i] @ _profiles(weights.profiles_ER, away_N)
            keys = memory.k_BKRF[row][:, slots].float().repeat_interleave(heads // kv_heads, 0)
            values = memory.v_BKRF[row][:, slots].float().repeat_interleave(heads // kv_heads, 0)
            query_HF = (tau * q[row, i]).to(dtype).float()
            scores_HN = (keys @ query_HF[..., None])[..., 0] / size + bias_HN
            out[row, i] = (scores_HN.softmax(-1)[:, None] @ values)[:, 0]
    return out.flatten(2).to(dtype)


def _profiles(profiles_ER: torch.Tensor, away_N: torch.Tensor) -> torch.Tensor:
    """Returns (rank, N): the profile at each distance, zero from the extent on."""
    found = profiles_ER.float()[away_N.clamp(max=len(profiles_ER) - 1)]
    return (found * (away_N < len(profiles_ER))[:, None]).T
