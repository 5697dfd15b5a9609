# SPDX-License-Identifier: Apache-2.0
"""What is read off a hidden state: the words that were heard, and the token that comes next.

Dims: D width, V vocabulary, S transcript slots.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from .captured import Captured
from .interaction_net import InteractionNet
from .plain_decoder import Decoder


class Reading(Protocol):
    """What the heads make of one hidden state; worked out when it is asked for."""

    @property
    def heard(self) -> list[int]:
        """For each transcript slot the likeliest token."""

    @property
    def token(self) -> int:
        """The likeliest token of those that may be said."""

    @property
    def probability(self) -> float:
        """That of `token`, 0 to 1."""


class Heads:
    """Output head and transcript head of a session.

    Args:
        net: Has the transcript head.
        decoder: Has the output head.
        bias_V: (V,) added to the scores of the output head, -inf for what is never said.
        at_once: Both heads for every hidden state, as one graph and in one copy to the host: for a
            GPU, where each wait costs more than a head. Otherwise what is not asked for is not
            worked out.
    """

    def __init__(self, net: InteractionNet, decoder: Decoder, bias_V: Tensor, at_once: bool):
        self.net, self.decoder, self.bias_V = net, decoder, bias_V
        h_1D = bias_V.new_zeros(1, net.config.transformer.width)
        self._both = Captured(self._read_both, h_1D) if at_once else None

    def read(self, h_D: Tensor) -> Reading:
        """Reads a hidden state, (D,)."""
        if self._both is None:
            return _Apart(self, h_D[None])
        return _Together(self._both, h_D[None])

    def _read_both(self, h_1D: Tensor) -> Tensor:
        """(S + 2,) fp32: transcript slots, next token, its probability."""
        heard_S = self.net.hear(h_1D)[0].argmax(-1)
        logits_1V = self.decoder.logits(h_1D) + self.bias_V
        # Tokens are whole numbers that fp32 holds.
        parts = (heard_S, logits_1V.argmax(-1), logits_1V.softmax(-1).amax(-1))
        return torch.cat([part.float() for part in parts])


class _Apart:
    """Each head by itself."""

    def __init__(self, heads: Heads, h_1D: Tensor):
        self._heads, self._h_1D = heads, h_1D

    @property
    def heard(self) -> list[int]:
        return self._heads.net.hear(self._h_1D)[0].argmax(-1).tolist()

    @cached_property
    def token(self) -> int:
        return int(self._scores.argmax())

    @property
    def probability(self) -> float:
        return float(self._scores.softmax(-1)[self.token])

    @cached_property
    def _scores(self) -> Tensor:
        return self._heads.decoder.logits(self._h_1D)[0] + self._heads.bias_V


class _Together:
    """Both heads; the first question waits for them."""

    def __init__(self, both: Captured, h_1D: Tensor):
        self._both, self._h_1D = both, h_1D

    @property
    def heard(self) -> list[int]:
        return [int(value) for value in self._values[:-2]]

    @property
    def token(self) -> int:
        return int(self._values[-2])

    @property
    def probability(self) -> float:
        return self._values[-1]

    @cached_property
    def _values(self) -> list[float]:
        return self._both.read(self._h_1D).tolist()
