# SPDX-License-Identifier: Apache-2.0
"""Attention of one block of queries to the keys that end with it, with a relative bias.

A block has W queries. Its keys are a far part, where the bias is zero, and the near part: the W
keys before the block and the W keys of the block itself. The forward and the backward pass are
written out so that a compiler finds plain strided loads everywhere: the bias of query i lies i
columns further right than that of query 0, which is a change of strides, not a gather.

Dims: N blocks, G query heads per kv head, W queries, S keys, F head size, X = G * W rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class BlockMask:
    """Which keys of a block are visible, besides those that lie ahead of the query.

    Attributes:
        rows: W, queries of a block.
        start: Position of the first query; the last key is at `start + rows - 1`.
        window: Most recent positions that are visible, the query's own included; 0 for all.
        sink: First positions that are visible all the same.
    """

    rows: int
    start: int = 0
    window: int = 0
    sink: int = 0

    def hidden(self, keys: int, device: torch.device) -> torch.Tensor:
        """Returns (W, S) bool, true where a key must not be seen."""
        query = torch.arange(self.start, self.start + self.rows, device=device)[:, None]
        end = self.start + self.rows
        key = torch.arange(end - keys, end, device=device)
        hidden = (key > query) | (key < 0)
        if self.window and self.window < end:
            hidden = hidden | ((query - key >= self.window) & (key >= self.sink))
        return hidden


def relative_attention(
    q_NXF: torch.Tensor,
    k_NSF: torch.Tensor,
    v_NSF: torch.Tensor,
    r_NXR: torch.Tensor,
    rel_proj_RW: torch.Tensor,
    mask: BlockMask,
    starts_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attends with softmax(q k + bias) v.

    Args:
        q_NXF: (N, G * W, F), queries, scaled; rows ordered by head, then position.
        k_NSF: (N, S, F), keys; the last W are those of the block; S is W, or at least 2 W.
        v_NSF: (N, S, F), values.
        r_NXR: (N, G * W, R), relative states of the queries.
        rel_proj_RW: (R, W), one bias profile over distances 0 to W - 1 per component.
        mask: What the queries see.
        starts_C: True for those blocks, the leading dimension of N being (C, ...), whose keys
            before the block don't exist; None if they all do.

    Returns:
        (N, G * W, F), dtype of `v_NSF`.
    """
    # Nearest last; column 0 is there only so that every row of the skewed view begins in range.
    profiles = F.pad(rel_proj_RW.flip(-1), (1, 0)).to(r_NXR.dtype)
    return _RelativeAttention.apply(q_NXF, k_NSF, v_NSF, r_NXR @ profiles, mask, starts_C)


def skew(rel: torch.Tensor, rows: int) -> torch.Tensor:
    """Shifts row i to the right by i: (..., W, W + 1) to (..., W, 2 W), a view.

    Columns outside 1 to W of the shifted row hold values of other rows: mask them.
    """
    return rel.flatten(-2).unfold(-1, 2 * rows, rows)


def unskew(near: torch.Tensor, rows: int) -> torch.Tensor:
    """Undoes `skew`: (..., W, 2 W) to (..., W, W + 1), a view.

    Column 0 holds values of other rows.
    """
    return near.flatten(-2).unfold(-1, rows + 1, 2 * rows + 1)


class _RelativeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, rel, mask, starts_C):
        blocks, rows, keys = q.shape[0], mask.rows, k.shape[1]
        hidden = mask.hidden(keys, q.device)
        leading: tuple[int, ...] = (blocks,)
        if starts_C is not None:
            before = torch.arange(keys, device=q.device) < keys - rows
            hidden = hidden | (starts_C[:, None, None] & before)
            hidden = hidden[:, None, None]
            leading = (starts_C.shape[0], blocks // starts_C.shape[0])
        grouped = (*leading, -1, rows)
        near = min(keys, 2 * rows)
        bias = skew(rel.view(*grouped, rows + 1), rows)[..., 2 * rows - near :].float()
        scores = (q @ k.mT).view(*grouped, keys).float()
        if mask.window != rows:
            # Within the near part, but farther than the bias reaches.
            column = torch.arange(2 * rows - near, 2 * rows, device=q.device)
            bias = bias.masked_fill(column <= torch.arange(rows, device=q.device)[:, None], 0.0)
        if keys > near:
            bias = F.pad(bias, (keys - near, 0))
        scores = (scores + bias).masked_fill(hidden, float('-inf'))
        # Rounded before they are summed, so that the weights add up to one exactly.
        weights = (scores - scores.amax(-1, keepdim=True)).exp().to(v.dtype)
        total = weights.float().sum(-1).view(blocks, -1, 1)
        weights = weights.view(blocks, -1, keys)
        out = ((weights @ v).float() / total).to(v.dtype)
        ctx.save_for_backward(q, k, v, weights, total, out)
        ctx.rows = rows
        return out

    @staticmethod
    def backward(ctx, grad_out):
        q, k, v, weights, total, out = ctx.saved_tensors
        rows, keys = ctx.rows, k.shape[1]
        grad_out = grad_out.float() / total
        delta = (grad_out * out.float()).sum(-1, keepdim=True)
        grad_out = grad_out.to(v.dtype)
        grad_weights = (grad_out @ v.mT).float()
        grad_scores = (weights.float() * (grad_weights - delta)).to(v.dtype)
        near = grad_scores[..., max(0, keys - 2 * rows) :]
        if keys < 2 * rows:
            near = F.pad(near, (2 * rows - keys, 0))
        near = near.reshape(near.shape[0], -1, rows, 2 * rows)
        grad_rel = F.pad(unskew(near, rows)[..., 1:], (1, 0)).flatten(1, 2)
        grad_q, grad_k = grad_scores @ k, grad_scores.mT @ q
        return grad_q, grad_k, weights.mT @ grad_out, grad_rel, None, None
