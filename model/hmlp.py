# SPDX-License-Identifier: Apache-2.0
"""Pictures in: patches of two frames, folded into one vector by a few linear layers.

Dims: B batch, L frames (depth), H height, W width in pixels, C channels, Q patches, N tokens of a
picture, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from interaction_node.model.norm import RMSNorm

# Normalisation of the public models: that of CLIP.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class HmlpConfig:
    """Shape of the front end; the defaults are those of the public Inkling models.

    Attributes:
        width: Size of a token.
        patch: Height and width of a patch, pixels.
        depth: Frames of a patch, oldest first.
        folds: (frames, pixels, outputs) merged by each layer, `pixels` along both edges; the
            last layer's outputs are `width`.
        difference: Adds to every frame its difference to the frame before it, as channels.
        merge_tokens: Tokens that all patches of a picture are merged into; 0 for one a patch.
        grid: Rows and columns of patches of a picture; needed for merging.
        norm_eps: Epsilon of the norms.
    """

    width: int
    patch: int = 40
    depth: int = 2
    folds: tuple[tuple[int, int, int], ...] = ((1, 5, 128), (1, 2, 320), (1, 4, 4800), (2, 1, 0))
    difference: bool = False
    merge_tokens: int = 0
    grid: tuple[int, int] = (0, 0)
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        depth, patch = 1, 1
        for frames, pixels, _ in self.folds:
            depth, patch = depth * frames, patch * pixels
        if (depth, patch) != (self.depth, self.patch):
            raise ValueError(
                f'folds must fold {self.depth} frames of {self.patch} pixels, '
                f'got {depth} and {patch}'
            )
        if self.merge_tokens and not self.grid[0] * self.grid[1]:
            raise ValueError(f'grid must be given with merge_tokens, got {self.grid}')

    @property
    def channels(self) -> int:
        """Channels of the input of the first layer."""
        return 6 if self.difference else 3


def split_patches(
    frames_BLHWC: torch.Tensor,
    patch: int = 40,
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
    blank_column: bool = False,
) -> torch.Tensor:
    """Normalises pictures and cuts them up, row by row.

    Args:
        frames_BLHWC: (B, L, H, W, 3) uint8 RGB; edges are filled up to whole patches.
        patch: Height and width of a patch.
        mean: Subtracted from each channel, on a scale of 0 to 1.
        std: Divides each channel.
        blank_column: Appends a column of blank patches where the width is a multiple of `patch`,
            as the public image processor does.

    Returns:
        (B, Q, L, patch, patch, 3) fp32.
    """
    height, width = frames_BLHWC.shape[2:4]
    below, right = -height % patch, -width % patch
    if blank_column and not right:
        right = patch
    x = F.pad(frames_BLHWC.float(), (0, 0, 0, right, 0, below), value=-1.0) / 255.0
    x = (x - x.new_tensor(mean)) / x.new_tensor(std)
    x = x.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))
    return x.permute(0, 2, 4, 1, 3, 5, 6).flatten(1, 2)


class Fold(nn.Module):
    """Merges neighbouring positions into one: linear, RMSNorm, GELU.

    Args:
        channels: Channels of the input.
        outputs: Channels of the output.
        frames: Frames merged into one.
        pixels: Positions merged into one along both edges.
        norm_eps: Epsilon of the norm; None for neither norm nor GELU.
    """

    def __init__(
        self, channels: int, outputs: int, frames: int, pixels: int, norm_eps: float | None
    ) -> None:
        super().__init__()
        self.frames, self.pixels = frames, pixels
        self.projection = nn.Linear(channels * frames * pixels**2, outputs, bias=False)
        if norm_eps is not None:
            self.layer_norm = RMSNorm(outputs, norm_eps)
        self.is_last = norm_eps is None

    def forward(self, x_XLHWC: torch.Tensor) -> torch.Tensor:
        """Folds (X, L, H, W, C) to (X, L / frames, H / pixels, W / pixels, outputs)."""
        x = x_XLHWC.unflatten(3, (-1, self.pixels)).unflatten(2, (-1, self.pixels))
        x = x.unflatten(1, (-1, self.frames)).permute(0, 1, 3, 5, 2, 4, 6, 7)
        x = self.projection(x.flatten(4))
        return x if self.is_last else F.gelu(self.layer_norm(x))


class Hmlp(nn.Module):
    """Turns patches into tokens of the transformer (hMLP stem, https://arxiv.org/abs/2203.09795).

    Args:
        config: Its shape.
    """

    def __init__(self, config: HmlpConfig) -> None:
        super().__init__()
        self.config = config
        layers, channels = [], config.channels
        for index, (frames, pixels, outputs) in enumerate(config.folds):
            is_last = index == len(config.folds) - 1
            outputs = config.width if is_last else outputs
            eps = None if is_last else config.norm_eps
            layers.append(Fold(channels, outputs, frames, pixels, eps))
            channels = outputs
        self.layers = nn.ModuleList(layers)
        if config.merge_tokens:
            patches = config.grid[0] * config.grid[1]
            outputs = config.merge_tokens * config.width
            self.merge = nn.Linear(patches * config.width, outputs, bias=False)
        self.final_norm = RMSNorm(config.width, config.norm_eps)

    def forward(self, patches_BQLHWC: torch.Tensor) -> torch.Tensor:
        """Embeds the patches of pictures.

        Args:
            patches_BQLHWC: (B, Q, depth, patch, patch, 3) from `split_patches`.

        Returns:
            (B, N, D); N is Q, or `merge_tokens`.
        """
        batch, patches = patches_BQLHWC.shape[:2]
        x = patches_BQLHWC.flatten(0, 1)
        if self.config.difference:
            x = torch.cat((x, torch.diff(x, dim=1, prepend=x[:, :1])), dim=-1)
        for layer in self.layers:
            x = layer(x)
        x_BQD = x.reshape(batch, patches, -1)
        if self.config.merge_tokens:
            x_BQD = self.merge(x_BQD.flatten(1)).unflatten(1, (self.config.merge_tokens, -1))
        return self.final_norm(x_BQD)
