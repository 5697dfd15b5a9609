# SPDX-License-Identifier: Apache-2.0
"""A whole micro-turn of a session on a GPU: one copy there, one copy back, and one wait.

How many tokens there are is only known on the device: words are read as they are heard, and what is
said ends when a boundary comes. Conditional nodes of CUDA graphs leave out what does not happen, so
that the host need not be asked. Source: NVIDIA, CUDA Programming Guide, "Conditional Graph Nodes".

Legend: n bytes, t tokens, D width, V vocabulary, S transcript slots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .captured import Captured, put, when
from .fused_decoder import FusedDecoder, FusedState
from .interaction_net import InteractionNet
from .percept import Percept, assemble
from .picture import PATCH
from .tokens import Vocabulary

_INTEGERS = 3
_INTEGER_BYTES = _INTEGERS * np.dtype(np.int64).itemsize


class TurnGraphs:
    """The graphs of one session: reading a micro-turn, with or without a picture, and deciding.

    Off CUDA nothing is captured, and what is conditional is asked for on the spot.

    Args:
        net: Front ends and transcript head; reads the words that it heard.
        decoder: Its transformer.
        state: Memory of the session; forgets everything here.
        hearing: What was heard before, as from `net.silence(1)`; to be set to silence afterwards.
        bias_V: (V,) added to the scores of the output head, -inf for what is never said.
        vocabulary: Tokens of the network.
        most_out: Most tokens that are decided in a micro-turn.
    """

    def __init__(
        self,
        net: InteractionNet,
        decoder: FusedDecoder,
        state: FusedState,
        hearing: Sequence[Tensor],
        bias_V: Tensor,
        vocabulary: Vocabulary,
        most_out: int,
    ):
        self._net, self._decoder, self._state, self._hearing = net, decoder, state, hearing
        self._bias_V, self._most_out = bias_V, most_out
        device, ids = bias_V.device, vocabulary.ids
        self._is_word = [vocabulary.is_word(token) for token in range(len(vocabulary))]
        self._is_word_V = torch.tensor(self._is_word, device=device)
        self._boundaries = (ids['<silent>'], ids['<speak>'])
        ends = [token in self._boundaries for token in range(len(vocabulary))]
        self._goes_on_V = ~torch.tensor(ends, device=device)
        audio = [ids['<audio>']] * net.config.audio_tokens
        self._behind = {
            seen: torch.tensor([ids['<video>']] * seen + audio, device=device)
            for seen in (False, True)
        }
        self._width, self._slots = net.config.transformer.width, net.config.heard_slots
        levels = 2 * net.config.turn_frames * net.config.mels
        rows, columns = (PATCH * patches for patches in net.config.video_patches)
        self._picture = (1, 2, rows, columns, 3)
        self._level_bytes = _INTEGER_BYTES + levels
        sizes = {False: self._level_bytes, True: self._level_bytes + math.prod(self._picture)}
        if net.video is None:
            del sizes[True]
        self._reads = {
            seen: Captured(
                partial(self._read, seen),
                torch.zeros(size, dtype=torch.uint8, device=device),
                decoder.pool,
            )
            for seen, size in sizes.items()
        }
        moment = torch.zeros(self._width + self._slots, device=device)
        self._decide = Captured(self._decode, moment, decoder.pool)
        self._appended = 0
        state.reset()

    def launch(self, percept: Percept) -> None:
        """Sends a micro-turn to the device; waits for nothing.

        Args:
            percept: What was perceived; pictures are left out by a network without eyes.
        """
        seen = percept.frames_2HWC is not None and True in self._reads
        device, before = self._bias_V.device, self._state.appended
        moment_X = self._reads[seen](put(torch.from_numpy(_packed(percept, seen)), device))
        self._state.appended = before + 1 + len(self._behind[seen])
        most = self._state.max_append
        for begin in range(0, len(percept.text), most):
            ids_t = put(torch.tensor(percept.text[begin : begin + most]), device)
            h_tD = self._decoder.append([self._decoder.embed(ids_t)], [self._state])[0]
            moment_X[: self._width] = h_tD[-1]
        before = self._state.appended
        self._decide(moment_X)
        self._state.appended = before

    def collect(self) -> tuple[list[int], list[int], list[float]]:
        """Waits for what was decided since `launch`.

        Returns:
            For each transcript slot the likeliest token; the tokens that were decided, the last of
            them a boundary unless there were too many; and the probability of each of these.
        """
        values = self._decide.wait().tolist()
        heard = [int(value) for value in values[: self._slots]]
        tokens = [int(value) for value in values[self._slots :][: self._most_out]]
        shares = values[self._slots + self._most_out :]
        said = next((n for n, token in enumerate(tokens) if token in self._boundaries), len(tokens))
        self._state.appended += said + sum(self._is_word[token] for token in heard)
        return heard, tokens[: said + 1], shares[: said + 1]

    def _read(self, seen: bool, x_n: Tensor) -> Tensor:
        """Reads a micro-turn and the words that were heard in it.

        Returns:
            (D + S,) fp32: the last hidden state, and the likeliest token of each slot.
        """
        integers = x_n[:_INTEGER_BYTES].view(torch.int64)
        levels_2FM = x_n[_INTEGER_BYTES : self._level_bytes].view(2, -1, self._net.config.mels)
        picture = x_n[self._level_bytes :].view(self._picture) if seen else None
        ids_t = torch.cat([integers[:1], self._behind[seen]])
        embed, hearing = self._decoder.embed, self._hearing
        x_tD = assemble(self._net, embed, hearing, ids_t, levels_2FM, integers[1:], picture)
        last_1D = self._append(x_tD)[-1:].clone()
        heard_S = self._net.hear(last_1D)[0].argmax(-1)
        for word_1 in heard_S.split(1):
            when(self._is_word_V[word_1], partial(self._read_word, word_1, last_1D))
        return torch.cat([last_1D[0], heard_S.float()])

    def _read_word(self, word_1: Tensor, last_1D: Tensor) -> None:
        last_1D.copy_(self._append(self._decoder.embed(word_1) + self._net.heard_type_D))

    def _decode(self, moment_X: Tensor) -> Tensor:
        """Decides token after token.

        Args:
            moment_X: (D + S,) from `_read`.

        Returns:
            (S + 2 most,) fp32: the slots, tokens, and their probabilities. Behind a boundary it is
            repeated. Tokens are whole numbers that fp32 holds.
        """
        last_1D, heard_S = moment_X[None, : self._width].clone(), moment_X[self._width :]
        token_1 = torch.zeros(1, dtype=torch.int64, device=moment_X.device)
        share_1 = moment_X.new_zeros(1)
        self._choose(last_1D, token_1, share_1)
        tokens, shares = [], []
        for _ in range(self._most_out):
            tokens.append(token_1.float())
            shares.append(share_1.clone())
            when(self._goes_on_V[token_1], partial(self._go_on, last_1D, token_1, share_1))
        return torch.cat([heard_S, *tokens, *shares])

    def _go_on(self, last_1D: Tensor, token_1: Tensor, share_1: Tensor) -> None:
        last_1D.copy_(self._append(self._decoder.embed(token_1)))
        self._choose(last_1D, token_1, share_1)

    def _choose(self, last_1D: Tensor, token_1: Tensor, share_1: Tensor) -> None:
        logits_1V = self._decoder.logits(last_1D) + self._bias_V
        token_1.copy_(logits_1V.argmax(-1))
        share_1.copy_(logits_1V.softmax(-1).amax(-1))

    def _append(self, x_tD: Tensor) -> Tensor:
        return self._decoder.run(x_tD, self._state)


def _packed(percept: Percept, seen: bool) -> np.ndarray:
    """(n,) uint8, everything that `TurnGraphs` sends, one behind the other."""
    integers = np.array([percept.boundary, percept.index, percept.elapsed], np.int64)
    parts = [integers.view(np.uint8), percept.user_FM.ravel(), percept.own_FM.ravel()]
    if seen:
        assert percept.frames_2HWC is not None
        parts.append(percept.frames_2HWC.ravel())
    return np.concatenate(parts)
