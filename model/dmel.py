# SPDX-License-Identifier: Apache-2.0
"""Sound in: quantised log-mel frames and their embedding, with no encoder in between.

Samples become levels by a plain computation (short-time spectrum, mel bands, nearest of a few
levels); only the embedding of the levels is learned.

Dims: B batch, S samples, F frames, N tokens, M mel bands, K spectrum bins, D width, P frames of a
token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from interaction_node.model.norm import RMSNorm

EMBEDDINGS = ('table', 'linear')
# Frames are multiplied with the filters in blocks of this size, whatever their number, because
# the rounding of a matrix product depends on its shape.
BLOCK_FRAMES = 16
FLOOR = 1e-10


@dataclass(frozen=True)
class DMelConfig:
    """Shape of the front end; the defaults are those of the public Inkling models.

    Attributes:
        width: Size of a token.
        sample_rate_hz: Of the samples.
        mels: Mel bands from 0 Hz to half the sample rate.
        window: Samples of a frame.
        hop: Samples from frame to frame.
        levels: Evenly spaced levels that a band is rounded to.
        lowest: log10 magnitude of the lowest level.
        highest: log10 magnitude of the highest level.
        frames_per_token: Frames that make up a token.
        embedding: 'table', a vector per band and level; 'linear', a vector per band times level.
        norm_eps: Epsilon of the norm of the tokens.
    """

    width: int
    sample_rate_hz: int = 16_000
    mels: int = 80
    window: int = 1600
    hop: int = 800
    levels: int = 16
    lowest: float = -7.0
    highest: float = 2.0
    frames_per_token: int = 1
    embedding: str = 'table'
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 < self.hop <= self.window:
            raise ValueError(f'hop must be 1 to window ({self.window}), got {self.hop}')
        if self.levels < 2:
            raise ValueError(f'levels must be at least 2, got {self.levels}')
        if self.lowest >= self.highest:
            raise ValueError(f'lowest must be below highest ({self.highest}), got {self.lowest}')
        if self.embedding not in EMBEDDINGS:
            raise ValueError(f'embedding must be one of {EMBEDDINGS}, got {self.embedding!r}')
        if self.frames_per_token < 1:
            raise ValueError(f'frames_per_token must be positive, got {self.frames_per_token}')


def slaney_filters(mels: int, bins: int, sample_rate_hz: int) -> torch.Tensor:
    """Makes triangular filters of unit area, evenly spaced on Slaney's mel scale.

    The scale is linear to 1 kHz, logarithmic above (M. Slaney, Auditory Toolbox, 1998).

    Args:
        mels: M, number of filters.
        bins: K, number of spectrum bins from 0 Hz to half the sample rate.
        sample_rate_hz: Of the samples.

    Returns:
        (M, K) fp32.
    """
    knee_hz, knee_mel, step = 1000.0, 15.0, math.log(6.4) / 27.0
    nyquist_hz = sample_rate_hz / 2
    top = knee_mel + math.log(nyquist_hz / knee_hz) / step
    if nyquist_hz < knee_hz:
        top = 3.0 * nyquist_hz / 200.0
    mel = torch.linspace(0.0, top, mels + 2, dtype=torch.float64)
    log_hz = knee_hz * torch.exp(step * (mel - knee_mel))
    edges_hz = torch.where(mel >= knee_mel, log_hz, 200.0 * mel / 3.0)
    bins_hz = torch.linspace(0.0, nyquist_hz, bins, dtype=torch.float64)
    left, centre, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    filters = torch.minimum(rising, falling).clamp(min=0.0) * (2.0 / (right - left))
    return filters.float()


def log_mel(
    samples_BS: torch.Tensor, window_S: torch.Tensor, filters_MK: torch.Tensor, hop: int
) -> torch.Tensor:
    """Computes log10 mel magnitudes; the result of a frame does not depend on the others.

    Args:
        samples_BS: (B, S) fp32 in [-1, 1], S = window + (F - 1) * hop.
        window_S: (window,) fp32, weights of the samples of a frame.
        filters_MK: (M, K) fp32.
        hop: Samples from frame to frame.

    Returns:
        (B, F, M) fp32.
    """
    frames_BFS = samples_BS.unfold(-1, window_S.shape[0], hop) * window_S
    spectrum_BFK2 = torch.view_as_real(torch.fft.rfft(frames_BFS))
    magnitude_BFK = spectrum_BFK2.pow(2).sum(-1).clamp_min(FLOOR).sqrt()
    batch, frames, bins = magnitude_BFK.shape
    flat = F.pad(magnitude_BFK.flatten(0, 1), (0, 0, 0, -(batch * frames) % BLOCK_FRAMES))
    blocks = flat.view(-1, BLOCK_FRAMES, bins).mT.contiguous()
    mel = torch.bmm(filters_MK.expand(blocks.shape[0], -1, -1), blocks).mT.flatten(0, 1)
    return mel[: batch * frames].view(batch, frames, -1).clamp_min(FLOOR).log10()


def nearest_level(x: torch.Tensor, levels: int, lowest: float, highest: float) -> torch.Tensor:
    """Rounds to the nearest of evenly spaced levels; of two equally near ones to the lower.

    Args:
        x: Any shape, fp32.
        levels: Number of levels.
        lowest: Value of level 0.
        highest: Value of level `levels - 1`.

    Returns:
        Same shape, int64, 0 to `levels - 1`.
    """
    centres = torch.linspace(lowest, highest, levels, dtype=torch.float64, device=x.device).float()
    x = x.clamp(lowest, highest)
    below = ((x - lowest) * ((levels - 1) / (highest - lowest))).floor().long()
    below = below.clamp(0, levels - 2)
    return below + ((x - centres[below + 1]).abs() < (x - centres[below]).abs())


@dataclass
class DMelState:
    """What a stream carries over from one call to the next.

    Attributes:
        before_BS: (B, window - hop) fp32, the last samples.
    """

    before_BS: torch.Tensor


class DMel(nn.Module):
    """Turns 16 kHz sound into tokens of the transformer.

    A frame ends with the last sample of its hop: nothing waits for sound to come.

    Args:
        config: Its shape.
    """

    window_S: torch.Tensor
    filters_MK: torch.Tensor
    offset_M: torch.Tensor

    def __init__(self, config: DMelConfig) -> None:
        super().__init__()
        self.config = config
        bins = config.window // 2 + 1
        window = torch.hann_window(config.window, periodic=True)
        self.register_buffer('window_S', window, persistent=False)
        filters = slaney_filters(config.mels, bins, config.sample_rate_hz)
        self.register_buffer('filters_MK', filters, persistent=False)
        if config.embedding == 'table':
            self.embedding = nn.Embedding(config.mels * config.levels, config.width)
            offset_M = torch.arange(config.mels) * config.levels
            self.register_buffer('offset_M', offset_M, persistent=False)
            inputs = config.frames_per_token * config.width
        else:
            inputs = config.frames_per_token * config.mels
        if config.embedding == 'linear' or config.frames_per_token > 1:
            self.merge = nn.Linear(inputs, config.width, bias=False)
        self.norm = RMSNorm(config.width, config.norm_eps)

    def init_state(self, batch: int) -> DMelState:
        """Begins a stream, preceded by silence."""
        config = self.config
        return DMelState(self.window_S.new_zeros(batch, config.window - config.hop))

    def levels(self, samples_BS: torch.Tensor, state: DMelState | None = None) -> torch.Tensor:
        """Quantises sound; the same for a stream in any pieces as for the whole.

        Args:
            samples_BS: (B, S) fp32 in [-1, 1]; S any without `state` (the last frame is filled
                up with silence), a multiple of `hop` with it.
            state: Of the stream, moved on in place; None for a whole recording.

        Returns:
            (B, F, M) int64, 0 to `levels - 1`; F = ceil(S / hop).

        Raises:
            ValueError: If a stream's piece is not a multiple of `hop`.
        """
        config = self.config
        ragged = -samples_BS.shape[1] % config.hop
        if state is None:
            state = self.init_state(samples_BS.shape[0])
            samples_BS = F.pad(samples_BS, (0, ragged))
        elif ragged:
            raise ValueError(
                f'samples_BS must bring a multiple of {config.hop} samples, '
                f'got {samples_BS.shape[1]}'
            )
        samples_BS = torch.cat((state.before_BS, samples_BS), dim=1)
        state.before_BS.copy_(samples_BS[:, samples_BS.shape[1] - state.before_BS.shape[1] :])
        mel_BFM = log_mel(samples_BS, self.window_S, self.filters_MK, config.hop)
        return nearest_level(mel_BFM, config.levels, config.lowest, config.highest)

    def forward(self, levels_BFM: torch.Tensor) -> torch.Tensor:
        """Embeds levels.

        Args:
            levels_BFM: (B, F, M) integers from `levels`; F a multiple of `frames_per_token`.

        Returns:
            (B, N, D), N = F / `frames_per_token`.
        """
        config = self.config
        if config.embedding == 'table':
            x_BFX = self.embedding(levels_BFM + self.offset_M).sum(dim=-2)
        else:
            scale = 2.0 / (config.levels - 1)
            x_BFX = levels_BFM.to(self.norm.weight.dtype) * scale - 1.0
        x_BNX = x_BFX.unflatten(1, (-1, config.frames_per_token)).flatten(2)
        if config.embedding == 'linear' or config.frames_per_token > 1:
            x_BNX = self.merge(x_BNX)
        return self.norm(x_BNX)
