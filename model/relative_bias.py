# SPDX-License-Identifier: Apache-2.0
"""Relative-position bias for square blocks of queries and keys.

Within a block of W queries and W keys the distance from row i to column j is taken modulo W:
columns up to i are keys of the same chunk, the others are keys of the chunk before it. Every row
is then a rotation of its W bias values, and so is the gradient: no scatter, no masked half.

Dims: N blocks, W block length, R size of the relative state.
"""

from __future__ import annotations

import torch


def rotated_bias(r_NWR: torch.Tensor, rel_proj_RW: torch.Tensor) -> torch.Tensor:
    """Computes the bias of row i, column j from the profiles at distance (i - j) mod W.

    Args:
        r_NWR: (N, W, R), relative states of the queries.
        rel_proj_RW: (R, W), one bias profile over distance per component.

    Returns:
        (N, W, W), dtype of `r_NWR`.
    """
    # Columns from the farthest to the nearest, twice over: each row is then one plain slice.
    profiles_RW = rel_proj_RW.flip(-1)
    profiles = torch.cat((profiles_RW, profiles_RW), dim=-1).to(r_NWR.dtype)
    return _Rotate.apply(r_NWR @ profiles)


class _Rotate(torch.autograd.Function):
    """Takes columns W - 1 - i to 2W - 2 - i of row i, by a change of strides alone."""

    @staticmethod
    def forward(ctx, doubled_NWV: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        blocks, rows, columns = doubled_NWV.shape
        flat = doubled_NWV.reshape(blocks, rows * columns)
        flat = flat[:, rows - 1 : rows - 1 + rows * (columns - 1)]
        return flat.view(blocks, rows, columns - 1)[:, :, :rows]

    @staticmethod
    def backward(ctx, grad_NWW: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        # Rows padded by one column too many, then read back with the wider stride.
        blocks, rows, _ = grad_NWW.shape
        padded = torch.nn.functional.pad(grad_NWW, (0, rows - 1)).flatten(1)
        padded = torch.nn.functional.pad(padded, (rows - 1, 1))
        return padded.view(blocks, rows, 2 * rows)


def band_masks(
    chunk: int, chunks: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tells which columns of a block belong to the own chunk, and which exist at all.

    Args:
        chunk: W, length of a chunk.
        chunks: C, number of chunks.
        device: Where the masks are made.

    Returns:
        (W, W) bool, true where the key is of the query's own chunk, and (C, W, W) bool, true
        where the key would lie before the first token.
    """
    index = torch.arange(chunk, device=device)
    own_WW = index[None, :] <= index[:, None]
    first_C = torch.arange(chunks, device=device) == 0
    return own_WW, first_C[:, None, None] & ~own_WW
