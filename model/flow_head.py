# SPDX-License-Identifier: Apache-2.0
"""Rectified-flow head: the words that are being said -> 200 ms of speech features.

Dimension legend: B batch, T frames of a block (10), P frames before it (10), L letters, M memory
(letters and past frames), F features (82), W width, H heads, D head size.

Rectified flow (Liu et al. 2022, arXiv:2209.03003) with logit-normal times (Esser et al. 2024,
arXiv:2403.03206): a transformer with adaptive norms (one modulation shared by all blocks, Chen et
al. 2023, arXiv:2310.00426) predicts the velocity from noise to features. The condition is explicit:
the newest letters and words with their ages, and the features before the block. The trunk's hidden
state may be added to it; its projection starts at zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from interaction_node.model import speech_features as sf
from interaction_node.model import speech_text

PAST_FRAMES = sf.FRAMES_PER_BLOCK


@dataclass(frozen=True)
class FlowConfig:
    """Shape of the head.

    Attributes:
        width: Size of the residual stream.
        layers: Transformer blocks over the frames.
        heads: Attention heads; divides `width`.
        text_layers: Convolutional layers over the letters.
        word_width: Size of the word embedding before its projection.
        hidden_width: Width of the trunk's hidden state.
    """

    width: int = 192
    layers: int = 4
    heads: int = 4
    text_layers: int = 4
    word_width: int = 64
    hidden_width: int = 256


@dataclass
class Condition:
    """What the velocity depends on besides the noisy frames; the same for every Euler step.

    Attributes:
        memory_BMW: (B, M, W) encoded letters, then past frames.
        mask_BM: (B, M) bool, True where the memory holds something.
        summary_BW: (B, W) what shifts and scales every layer.
    """

    memory_BMW: torch.Tensor
    mask_BM: torch.Tensor
    summary_BW: torch.Tensor


class FlowHead(nn.Module):
    """Predicts the flow's velocity for the features of one block.

    Args:
        vocabulary: Words with an embedding of their own; all others are read by their letters.
        config: Shape.
    """

    words: torch.Tensor
    mean_F: torch.Tensor
    scale_F: torch.Tensor

    def __init__(self, vocabulary: list[str], config: FlowConfig | None = None):
        super().__init__()
        self.config = config = config or FlowConfig()
        self.vocabulary = vocabulary
        width = config.width
        self.register_buffer('words', _pack(vocabulary))
        self.register_buffer('mean_F', sf.silence_frame())
        self.register_buffer('scale_F', torch.ones(sf.N_FEATURES))
        self.text = _TextEncoder(len(vocabulary), config)
        self.past_in = nn.Linear(sf.N_FEATURES, width)
        self.past_position = nn.Parameter(torch.randn(PAST_FRAMES, width) * 0.02)
        self.past_mix = _Mixer(width)
        self.last_in = nn.Linear(2 * sf.N_FEATURES, width)
        self.begun = nn.Embedding(speech_text.MAX_AGE + 1, width)
        self.noise_in = nn.Linear(1, width)
        self.hidden_in = nn.Linear(config.hidden_width, width, bias=False)
        nn.init.zeros_(self.hidden_in.weight)
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.frame_in = nn.Linear(sf.N_FEATURES, width)
        self.frame_position = nn.Parameter(torch.randn(sf.FRAMES_PER_BLOCK, width) * 0.02)
        self.modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(_Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sf.N_FEATURES)
        self.end = nn.Linear(width, 1)
        for layer in (self.out, self.modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @classmethod
    def from_state(
        cls, state: dict[str, torch.Tensor], config: FlowConfig | None = None
    ) -> FlowHead:
        """Builds a head with the vocabulary and weights of a state dict (any float type).

        Args:
            state: Weights of a head.
            config: Its shape; None for one with four heads of attention, else as the weights are.
        """
        words = state['words'].to(torch.uint8)
        head = cls(_unpack(words), config or _shape(state))
        head.load_state_dict({k: v.float() for k, v in state.items()} | {'words': words})
        return head

    def normalise(self, features: torch.Tensor) -> torch.Tensor:
        """Features (..., 82) to zero mean and unit scale."""
        return (features - self.mean_F) / self.scale_F

    def restore(self, scaled: torch.Tensor) -> torch.Tensor:
        """Inverse of `normalise`."""
        return scaled * self.scale_F + self.mean_F

    def condition(
        self,
        letters_BLC: torch.Tensor,
        past_BPF: torch.Tensor,
        begun_B: torch.Tensor,
        past_noise_B: torch.Tensor,
        hidden_BW: torch.Tensor | None = None,
    ) -> Condition:
        """Encodes everything that is known before the block is made.

        Args:
            letters_BLC: (B, L, 4) integers, from `speech_text.encode`.
            past_BPF: (B, 10, 82) normalised features before the block, noise added.
            begun_B: (B,) int, blocks since the utterance began, 0 to 15.
            past_noise_B: (B,) standard deviation of that noise.
            hidden_BW: (B, hidden_width) the trunk's hidden state, or None.

        Returns:
            The condition of `velocity`.
        """
        letters_BLC = letters_BLC.long()
        text, mask = self.text(letters_BLC)
        past = self.past_mix(self.past_in(past_BPF) + self.past_position)
        memory = torch.cat([text, past], dim=1)
        mask = torch.cat([mask, mask.new_ones(past.shape[:2])], dim=1)
        summary = self.last_in(past_BPF[:, -2:].flatten(1)) + self.begun(begun_B)
        summary = summary + self.noise_in(past_noise_B[:, None])
        if hidden_BW is not None:
            summary = summary + self.hidden_in(hidden_BW)
        return Condition(memory, mask, summary)

    def velocity(
        self, frames_BTF: torch.Tensor, time_B: torch.Tensor, condition: Condition
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Velocity from noise (time 0) to features (time 1).

        Args:
            frames_BTF: (B, 10, 82) noisy normalised features.
            time_B: (B,) in 0..1.
            condition: From `condition`.

        Returns:
            (B, 10, 82) velocity; (B,) logit of "nothing is left to say after this block".
        """
        modulation = self.modulate(time_B, condition)[:, None].chunk(6, dim=-1)
        x = self.frame_in(frames_BTF) + self.frame_position
        for block in self.blocks:
            x = block(x, modulation, condition)
        x = self.norm(x)
        return self.out(x), self.end(x.mean(1))[:, 0]

    def remember(self, condition: Condition) -> torch.Tensor:
        """(B, L, M, 2 W) keys and values of what each layer attends to."""
        blocks = [cast(_Block, block) for block in self.blocks]
        memory = [block.attend_memory.key_value(condition.memory_BMW) for block in blocks]
        return torch.stack(memory, dim=1)

    def modulate(self, time_B: torch.Tensor, condition: Condition) -> torch.Tensor:
        """(B, 6 W) shift, scale and gate of attention and feed-forward layer at a time in 0..1."""
        summary = functional.silu(self.time(_waves(time_B)) + condition.summary_BW)
        return self.modulation(summary)

    @torch.no_grad()
    def make(
        self, noise_BTF: torch.Tensor, condition: Condition, steps: int = 2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Integrates the flow by Euler's method.

        Returns:
            (B, 10, 82) normalised features; (B,) probability that this was the last block.
        """
        x, end = noise_BTF, noise_BTF.new_zeros(len(noise_BTF))
        for step in range(steps):
            velocity, end = self.velocity(x, x.new_full((len(x),), step / steps), condition)
            x = x + velocity / steps
        return x, torch.sigmoid(end)


class _TextEncoder(nn.Module):
    """Letters with their word's identity and age -> memory tokens."""

    def __init__(self, n_words: int, config: FlowConfig):
        super().__init__()
        width = config.width
        self.letter = nn.Embedding(speech_text.N_LETTERS, width)
        self.word = nn.Embedding(n_words + 1, config.word_width)
        self.word_in = nn.Linear(config.word_width, width, bias=False)
        self.age = nn.Embedding(speech_text.MAX_AGE + 1, width)
        self.index = nn.Embedding(16, width)
        self.position = nn.Parameter(torch.randn(speech_text.MAX_LETTERS, width) * 0.02)
        self.layers = nn.ModuleList(_Mixer(width) for _ in range(config.text_layers))

    def forward(self, letters_BLC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns (B, L, W) and its mask (B, L); letters may be cut to the last few."""
        letter, word, age, index = letters_BLC.unbind(-1)
        mask = letter != speech_text.PAD
        x = self.letter(letter) + self.age(age) + self.index(index)
        x = x + self.word_in(self.word(word)) + self.position[-letters_BLC.shape[1] :]
        for layer in self.layers:
            x = layer(x * mask[..., None])
        return x, mask


class _Mixer(nn.Module):
    """Depthwise convolution over five neighbours and a pointwise layer."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 5, padding=2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x_BLW: torch.Tensor) -> torch.Tensor:
        """Maps (B, L, W) to (B, L, W)."""
        mixed = x_BLW + self.depthwise(x_BLW.transpose(1, 2)).transpose(1, 2)
        return mixed + self.down(functional.gelu(self.up(self.norm(mixed))))


class _Attention(nn.Module):
    """Multi-head attention, written out: faster than the fused kernel at this size on a CPU."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self, x_BTW: torch.Tensor, source_BMW: torch.Tensor, mask_BM: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attends from x to the source, (B, T, W)."""
        q = self.query(x_BTW).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = (
            self.key_value(source_BMW)
            .unflatten(-1, (2 * self.heads, -1))
            .transpose(1, 2)
            .chunk(2, 1)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if mask_BM is not None:
            scores = scores.masked_fill(~mask_BM[:, None, None], -1e4)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class _Block(nn.Module):
    """Self-attention, attention to the memory and a feed-forward layer, with adaptive norms."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(6, width) * 0.02)
        with torch.no_grad():
            self.bias[2] = self.bias[5] = 0.5
        self.norm_self = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_memory = nn.LayerNorm(width)
        self.norm_feed = nn.LayerNorm(width, elementwise_affine=False)
        self.attend_self = _Attention(width, heads)
        self.attend_memory = _Attention(width, heads)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(
        self, x_BTW: torch.Tensor, modulation: tuple[torch.Tensor, ...], condition: Condition
    ) -> torch.Tensor:
        """Maps (B, T, W) to (B, T, W)."""
        shift, scale, gate, shift2, scale2, gate2 = (
            m + b for m, b in zip(modulation, self.bias, strict=True)
        )
        y = self.norm_self(x_BTW) * (1 + scale) + shift
        x = x_BTW + gate * self.attend_self(y, y)
        x = x + self.attend_memory(self.norm_memory(x), condition.memory_BMW, condition.mask_BM)
        y = self.norm_feed(x) * (1 + scale2) + shift2
        return x + gate2 * self.down(functional.gelu(self.up(y)))


def deepen(head: FlowHead, layers: int, text_layers: int) -> FlowHead:
    """A copy with more layers, which begin by doing nothing, so that it speaks as before.

    Args:
        head: Is left as it is.
        layers: Transformer blocks over the frames, at least as many as the head has.
        text_layers: Convolutional layers over the letters, likewise.

    Raises:
        ValueError: The head has more layers.
    """
    config = head.config
    if layers < config.layers or text_layers < config.text_layers:
        raise ValueError(
            f'layers, text_layers: {layers}, {text_layers}, expected at least {config.layers}, '
            f'{config.text_layers}'
        )
    deeper = FlowHead(head.vocabulary, replace(config, layers=layers, text_layers=text_layers))
    deeper.load_state_dict(head.state_dict(), strict=False)
    adds: list[nn.Module] = []
    for block in deeper.blocks[config.layers :]:
        block = cast(_Block, block)
        adds += [block.attend_self.out, block.attend_memory.out, block.down]
    for layer in deeper.text.layers[config.text_layers :]:
        layer = cast(_Mixer, layer)
        adds += [layer.depthwise, layer.down]
    for module in adds:
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
    return deeper


def _shape(state: dict[str, torch.Tensor]) -> FlowConfig:
    """The shape that weights are of, but for the number of heads."""

    def count(prefix: str) -> int:
        return len(
            {name.split('.')[prefix.count('.')] for name in state if name.startswith(prefix)}
        )

    return FlowConfig(
        width=len(state['frame_in.bias']),
        layers=count('blocks.'),
        text_layers=count('text.layers.'),
        word_width=state['text.word.weight'].shape[1],
        hidden_width=state['hidden_in.weight'].shape[1],
    )


def _waves(time_B: torch.Tensor) -> torch.Tensor:
    """Sinusoidal features of a time in 0..1, (B, 64)."""
    rate = torch.exp(torch.arange(32, device=time_B.device) * (-math.log(1000.0) / 31)) * 100
    angle = time_B[:, None].float() * rate
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def _pack(vocabulary: list[str]) -> torch.Tensor:
    """Words as a tensor, so that a checkpoint carries its own vocabulary."""
    return torch.frombuffer(bytearray('\n'.join(vocabulary).encode() or b'\n'), dtype=torch.uint8)


def _unpack(words: torch.Tensor) -> list[str]:
    """Inverse of `_pack`."""
    return [word for word in bytes(words.tolist()).decode().split('\n') if word]
