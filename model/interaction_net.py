# SPDX-License-Identifier: Apache-2.0
"""The whole network: front ends, transformer and heads, apart from the flow head.

Legend: B sessions, N micro-turns, T tokens, F mel frames of a micro-turn, M mel bins, D width,
V vocabulary, S transcript slots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import TransformerConfig
from .transformer import Transformer


@dataclass(frozen=True)
class NetConfig:
    """Shape of an `InteractionNet`.

    Attributes:
        transformer: The decoder.
        mels: Mel bins.
        turn_frames: Mel frames in a micro-turn.
        audio_tokens: User-audio tokens in a micro-turn; divides `turn_frames`.
        audio_hidden: Hidden width of the audio front end.
        audio_conv: Channels of its convolutions over time; 0 for none.
        ear_blocks: Blocks that listen at the rate of the mel frames; 0 for none.
        ear_width: Their channels.
        ear_sounds: Sounds that it is trained to tell apart in every frame; 0 for none.
        heard_tokens: Whether the words that were heard are tokens of the stream.
        mark_turns: Micro-turns on the timer that it tells apart; 0 for a network without one.
        clock_periods: Periods of the clock features; the shortest is 2 micro-turns.
        heard_slots: Words that may end in one micro-turn.
        video_hidden: Hidden width of the patch encoder; 0 for a network without eyes.
        video_patches: Rows and columns of 40x40 patches.
        silence_bias: Added to the score of `<silent>` where a session decides; above 0 it keeps
            still when in doubt.
    """

    transformer: TransformerConfig
    mels: int = 64
    turn_frames: int = 10
    audio_tokens: int = 2
    audio_hidden: int = 384
    clock_periods: int = 12
    heard_slots: int = 2
    video_hidden: int = 0
    video_patches: tuple[int, int] = (2, 3)
    audio_conv: int = 0
    ear_blocks: int = 0
    ear_width: int = 128
    ear_sounds: int = 0
    heard_tokens: bool = False
    mark_turns: int = 0
    silence_bias: float = 0.0


class AudioFrontEnd(nn.Module):
    """Merges mel frames into tokens: this token's frames and as many before them.

    Levels are embedded linearly: a per-channel table whose rows lie on a line. Beside one
    projection of all frames, two convolutions find a sound wherever in the token it lies.

    Args:
        frames: Mel frames of a token, with those before.
        mels: Mel bins.
        hidden: Hidden width of the projection.
        width: Width of a token.
        channels: Channels of the convolutions; 0 for none.
    """

    def __init__(self, frames: int, mels: int, hidden: int, width: int, channels: int = 0):
        super().__init__()
        self.frames, self.mels = frames, mels
        self.scale = nn.Linear(frames * mels, hidden)
        self.mix = nn.Linear(hidden, width, bias=False)
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.conv1 = None
        if channels:
            # Linear layers on neighbouring frames are convolutions, and quick for few tokens.
            self.conv1 = nn.Linear(3 * mels, channels)
            self.conv2 = nn.Linear(3 * channels, channels)
            self.gather = nn.Linear((frames - 4) * channels, width, bias=False)
            nn.init.zeros_(self.gather.weight)

    def forward(self, levels_XK: Tensor, more_XD: Tensor | None = None) -> Tensor:
        """(..., frames * mels) levels in [-1, 1] -> (..., width); `more_XD` joins before norm."""
        x = self.mix(functional.gelu(self.scale(levels_XK), approximate='tanh'))
        if self.conv1 is not None:
            levels_XFM = levels_XK.unflatten(-1, (self.frames, self.mels))
            sounds = functional.gelu(self.conv1(_triples(levels_XFM)), approximate='tanh')
            sounds = functional.gelu(self.conv2(_triples(sounds)), approximate='tanh')
            x = x + self.gather(sounds.flatten(-2))
        return self.norm(x if more_XD is None else x + more_XD)


class Ear(nn.Module):
    """Listens frame by frame: residual convolutions over the past, then one vector a token.

    A token of 100 ms holds one sound or two, in any place; here they are told apart before they are
    merged. Blocks look back 1 and 2 frames, or 2 and 4, by turns; from the seventh on 4 and 8.

    Args:
        mels: Mel bins.
        channels: Channels of the convolutions.
        blocks: How many.
        frames: Mel frames that are merged to a token.
        width: Width of a token.

    Attributes:
        dropout: Share of what blocks add that is dropped while it is trained.
    """

    def __init__(self, mels: int, channels: int, blocks: int, frames: int, width: int):
        super().__init__()
        self.frames, self.dropout = frames, 0.0
        self.first = nn.Linear(3 * mels, channels)
        self.looks = nn.ModuleList(nn.Linear(3 * channels, channels) for _ in range(blocks))
        self.mixes = nn.ModuleList(nn.Linear(channels, channels) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.RMSNorm(channels, eps=1e-6) for _ in range(blocks + 1))
        self.merge = nn.Linear(frames * channels, width, bias=False)
        nn.init.zeros_(self.merge.weight)
        self.strides = [1 + index % 2 if index < 6 else 4 for index in range(blocks)]

    def silence(self) -> list[Tensor]:
        """What it remembers after silence: (1, 2, M) levels, and what each block looks back at."""
        levels_12M = self.first.weight.new_full((1, 2, self.first.in_features // 3), -1.0)
        memory = [levels_12M]
        x = self.first(torch.cat([levels_12M[:, :1]] * 3, dim=-1))
        for look, mix, norm, stride in self._blocks():
            normed = norm(x)
            memory.append(normed.expand(-1, 2 * stride, -1))
            x = x + _change(look, mix, torch.cat([normed] * 3, dim=-1))
        return memory

    def forward(self, levels_BFM: Tensor, memory: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Listens to the next frames.

        Args:
            levels_BFM: (B, F, M) levels in [-1, 1].
            memory: What came before: from `silence`, for each row, or from the last call.

        Returns:
            (B, F, channels), and the memory for the next call.
        """
        joined = torch.cat([memory[0], levels_BFM], dim=1)
        remembered = [joined[:, -2:]]
        x = self.first(_triples(joined))
        for (look, mix, norm, stride), before in zip(self._blocks(), memory[1:], strict=True):
            joined = torch.cat([before, norm(x)], dim=1)
            remembered.append(joined[:, -2 * stride :])
            change = _change(look, mix, _triples(joined, stride))
            if self.training and self.dropout:
                change = functional.dropout(change, self.dropout)
            x = x + change
        return self.norms[-1](x), remembered

    def _blocks(self) -> list[tuple]:
        parts = (self.looks, self.mixes, list(self.norms)[:-1], self.strides)
        return list(zip(*parts, strict=True))

    def merged(self, heard_BFC: Tensor) -> Tensor:
        """(B, F, channels) -> (B, F // frames, width)."""
        return self.merge(heard_BFC.unflatten(1, (-1, self.frames)).flatten(2))


def _change(look: nn.Linear, mix: nn.Linear, triples_BFK: Tensor) -> Tensor:
    """What a block of the ear adds to frames, from three of them side by side."""
    return mix(functional.gelu(look(triples_BFK), approximate='tanh'))


def _triples(x_XFC: Tensor, stride: int = 1) -> Tensor:
    """(..., F - 2 stride, 3 C): every three frames that are `stride` apart."""
    end = x_XFC.shape[-2] - 2 * stride
    return torch.cat([x_XFC[..., k * stride : k * stride + end, :] for k in range(3)], dim=-1)


class VideoFrontEnd(nn.Module):
    """Patches of the newest frame and its difference to the one before, merged to one token."""

    def __init__(self, patches: tuple[int, int], hidden: int, width: int):
        super().__init__()
        # 40x40 pixels fold 5, 2, 4 as in the public hMLP; colour and difference are channels.
        self.fold5 = nn.Linear(6 * 25, 32, bias=False)
        self.fold2 = nn.Linear(32 * 4, 64, bias=False)
        self.fold4 = nn.Linear(64 * 16, hidden, bias=False)
        self.norms = nn.ModuleList(nn.RMSNorm(n, eps=1e-6) for n in (32, 64, hidden))
        self.merge = nn.Linear(hidden * patches[0] * patches[1], width, bias=False)
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.patches = patches

    def forward(self, frames_X2HWC: Tensor) -> Tensor:
        """(X, 2, 40 r, 40 c, 3) uint8, oldest first -> (X, width)."""
        rows, columns = self.patches
        count = frames_X2HWC.shape[0]
        dtype = self.fold5.weight.dtype
        if torch.is_autocast_enabled(frames_X2HWC.device.type):
            dtype = torch.get_autocast_dtype(frames_X2HWC.device.type)
        # Cut into blocks while a pixel is still a byte.
        blocks = frames_X2HWC.view(count, 2, rows * 8, 5, columns * 8, 5, 3)
        blocks = blocks.permute(1, 0, 2, 4, 3, 5, 6).contiguous().to(dtype)
        before, new = blocks.unbind(0)
        x = torch.cat([new / 127.5 - 1, ((new - before) / 32).clamp(-4, 4)], dim=-1)
        x = self._fold(x.reshape(count, rows * 8, columns * 8, 150), self.fold5, 0)
        x = x.view(count, rows * 4, 2, columns * 4, 2, 32).transpose(2, 3)
        x = self._fold(x.reshape(count, rows * 4, columns * 4, 128), self.fold2, 1)
        x = x.view(count, rows, 4, columns, 4, 64).transpose(2, 3)
        x = self._fold(x.reshape(count, rows, columns, 1024), self.fold4, 2)
        return self.norm(self.merge(x.reshape(count, -1)))

    def _fold(self, x: Tensor, fold: nn.Linear, level: int) -> Tensor:
        return functional.gelu(self.norms[level](fold(x)), approximate='tanh')


class InteractionNet(nn.Module):
    """Front ends, decoder, output head, transcript head and movement head.

    Args:
        config: Its shape.
    """

    def __init__(self, config: NetConfig):
        super().__init__()
        self.config = config
        width = config.transformer.width
        token_frames = config.turn_frames // config.audio_tokens
        self.transformer = Transformer(config.transformer)
        self.user = AudioFrontEnd(
            2 * token_frames, config.mels, config.audio_hidden, width, config.audio_conv
        )
        self.own = AudioFrontEnd(config.turn_frames, config.mels, config.audio_hidden // 3, width)
        self.clock = nn.Linear(2 * config.clock_periods, width, bias=False)
        self.heard = nn.Linear(width, config.heard_slots * config.transformer.vocab, bias=False)
        if config.heard_tokens:
            self.heard_type_D = nn.Parameter(torch.zeros(width))
        if config.mark_turns:
            self.since_mark = nn.Embedding(config.mark_turns + 1, width)
            nn.init.zeros_(self.since_mark.weight)
        self.video = None
        if config.video_hidden:
            self.video = VideoFrontEnd(config.video_patches, config.video_hidden, width)
            self.movement = nn.Linear(width, 3)
        self.ear = None
        if config.ear_blocks:
            self.ear = Ear(config.mels, config.ear_width, config.ear_blocks, token_frames, width)
            if config.ear_sounds:
                self.sounds = nn.Linear(config.ear_width, config.ear_sounds)

    def silence(self, rows: int) -> list[Tensor]:
        """What `user_tokens` remembers when nothing was heard yet, for a number of rows."""
        step = self.config.turn_frames // self.config.audio_tokens
        weight = self.user.mix.weight
        memory = [weight.new_full((1, step, self.config.mels), -1.0)]
        if self.ear is not None:
            memory += self.ear.silence()
        return [each.expand(rows, -1, -1) for each in memory]

    def user_tokens(
        self, user_BNFM: Tensor, memory: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """User audio of whole micro-turns as tokens.

        Args:
            user_BNFM: (B, N, F, M) levels in [0, 1].
            memory: What came before: from `silence` or from the last call.

        Returns:
            (B, N, audio_tokens, D), and the memory for the next call.
        """
        batch, turns, frames, mels = user_BNFM.shape
        step = frames // self.config.audio_tokens
        levels_BFM = user_BNFM.reshape(batch, turns * frames, mels) * 2 - 1
        whole = torch.cat([memory[0], levels_BFM], dim=1)
        told, remembered = None, [whole[:, -step:]]
        if self.ear is not None:
            heard_BFC, more = self.ear(levels_BFM, memory[1:])
            told, remembered = self.ear.merged(heard_BFC), remembered + more
        windows = whole.unfold(1, 2 * step, step).transpose(2, 3)
        tokens = self.user(windows.reshape(batch, -1, 2 * step * mels), told)
        return tokens.view(batch, turns, self.config.audio_tokens, -1), remembered

    def turn_tokens(
        self, own_BNFM: Tensor, clock_BN: Tensor, since_BN: Tensor | None = None
    ) -> Tensor:
        """What is added to the boundary that opens a micro-turn: own voice and the time.

        Args:
            own_BNFM: (B, N, F, M) levels in [0, 1].
            clock_BN: (B, N) number of the micro-turn.
            since_BN: (B, N) micro-turns on the timer, 0 where none runs.

        Returns:
            (B, N, D).
        """
        own = self.own(own_BNFM.flatten(2) * 2 - 1)
        tokens = own + self.clock(self.clock_features(clock_BN).to(own.dtype))
        if self.config.mark_turns and since_BN is not None:
            tokens = tokens + self.since_mark(since_BN.clamp(max=self.config.mark_turns))
        return tokens

    def clock_features(self, clock_BN: Tensor) -> Tensor:
        """(..., 2 periods) sine and cosine of the time at periods of 2.2, 3.6, 6, ... turns."""
        steps = torch.arange(self.config.clock_periods, device=clock_BN.device)
        periods = 2.2 * 1.65 ** steps.double()
        angle = 2 * math.pi * (clock_BN[..., None].double() / periods)
        return torch.cat([angle.sin(), angle.cos()], dim=-1).float()

    def _assemble(self, batch: dict[str, Tensor]) -> Tensor:
        """Input of the decoder for a whole batch."""
        x = self.transformer.embed(batch['ids'])
        rows, length, width = x.shape
        user = batch['user'].to(x.dtype) / 255
        tokens, _ = self.user_tokens(user, self.silence(rows))
        turn = self.turn_tokens(batch['own'].to(x.dtype) / 255, batch['clock'], batch['since'])
        offset = torch.arange(rows, device=x.device)[:, None] * length
        valid = batch['valid']
        first = (offset + batch['audio_pos'])[valid]
        places = [(offset + batch['turn_pos'])[valid]]
        places += [first + i for i in range(self.config.audio_tokens)]
        values = [turn[valid]]
        values += [tokens[:, :, i][valid] for i in range(self.config.audio_tokens)]
        if 'frames' in batch:
            assert self.video is not None
            places.append((offset + batch['video_pos'])[valid])
            values.append(self.video(batch['frames'][valid]))
        if self.config.heard_tokens:
            places.append((offset[:, :, None] + batch['heard_pos'])[batch['heard_pos'] >= 0])
            values.append(self.heard_type_D.expand(len(places[-1]), -1))
        flat = x.reshape(-1, width)
        flat = flat.index_add(0, torch.cat(places), torch.cat(values).to(flat.dtype))
        return flat.view(rows, length, width)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """(B, T, D) hidden states of a batch (see `data.tensors.Batch`)."""
        return self.transformer(self._assemble(batch))

    def sounds_in(self, levels_BFM: Tensor) -> Tensor:
        """(B, F, M) levels in [0, 1] of mel frames alone -> (B, F, ear_sounds) logits."""
        assert self.ear is not None
        return self.sounds(self.ear(levels_BFM * 2 - 1, self.silence(len(levels_BFM))[1:])[0])

    def hear(self, h_XD: Tensor) -> Tensor:
        """(X, S, V) transcript logits at the last user-audio token of micro-turns."""
        return self.heard(h_XD).view(*h_XD.shape[:-1], self.config.heard_slots, -1)
