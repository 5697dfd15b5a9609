# SPDX-License-Identifier: Apache-2.0
"""What a micro-turn brings, as numbers, and the input that the decoder gets of it.

Legend: t tokens, D width, F mel frames, M mel bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .interaction_net import InteractionNet


@dataclass(frozen=True)
class Percept:
    """A micro-turn before it reaches the network; all on the host.

    Attributes:
        boundary: Token that ended the micro-turn before and opens this one.
        index: Number of the micro-turn.
        elapsed: Micro-turns on the timer, 0 where none runs.
        user_FM: uint8 levels of the microphone.
        own_FM: uint8 levels of the robot's own voice.
        frames_2HWC: uint8, the pictures of the micro-turn before and of this one, or None.
        text: Tokens behind the sound: the timer, and lines of text.
    """

    boundary: int
    index: int
    elapsed: int
    user_FM: np.ndarray
    own_FM: np.ndarray
    frames_2HWC: np.ndarray | None
    text: list[int]


def assemble(
    net: InteractionNet,
    embed: Callable[[Tensor], Tensor],
    hearing: Sequence[Tensor],
    ids_t: Tensor,
    levels_2FM: Tensor,
    moment_2: Tensor,
    frames_B2HWC: Tensor | None,
) -> Tensor:
    """Embeds the tokens of a micro-turn and adds what was heard and seen, and the time.

    Args:
        net: Has the front ends.
        embed: Token embeddings, (t,) to (t, D).
        hearing: What was heard before, as from `net.silence(1)`; overwritten with what is now.
        ids_t: (t,) int64: the boundary, the picture's token if there is one, those of the sound,
            and any others behind.
        levels_2FM: (2, F, M) uint8, microphone and own voice.
        moment_2: (2,) int64, number of the micro-turn and what the timer says.
        frames_B2HWC: (1, 2, height, width, 3) uint8, or None.

    Returns:
        (t, D).
    """
    x_tD = embed(ids_t).clone()
    user_BNFM, own_BNFM = (levels_2FM.float() / 255)[:, None, None].unbind(0)
    first = 1 + (frames_B2HWC is not None)
    last = first + net.config.audio_tokens
    tokens_BNtD, heard = net.user_tokens(user_BNFM, hearing)
    x_tD[first:last] += tokens_BNtD[0, 0]
    for before, now in zip(hearing, heard, strict=True):
        before.copy_(now)
    clock_BN, since_BN = moment_2[:, None, None].unbind(0)
    x_tD[0] += net.turn_tokens(own_BNFM, clock_BN, since_BN)[0, 0]
    if frames_B2HWC is not None and net.video is not None:
        x_tD[1] += net.video(frames_B2HWC)[0]
    return x_tD
