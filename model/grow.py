# SPDX-License-Identifier: Apache-2.0
"""A trained network with room for more words and skills.

Legend: V vocabulary, D width, S transcript slots.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from .checkpoint import build_net
from .interaction_net import InteractionNet
from .tokens import LETTERS, SKILLS, Vocabulary


@torch.no_grad()
def grow_net(net: InteractionNet, old: Vocabulary, new: Vocabulary) -> InteractionNet:
    """Appends rows for new tokens; everything that was learned stays as it is.

    A new word is read as the mean of its letters, by which it was spelled so far, and is as likely
    to be said or heard as a word in the middle of all others; a new skill is the mean of all.

    Args:
        net: The network.
        old: Its vocabulary.
        new: The old vocabulary with more tokens behind it.

    Returns:
        A network with `len(new)` tokens, its weights copied.

    Raises:
        ValueError: `new` does not begin with `old`.
    """
    if new.tokens[: len(old)] != old.tokens:
        raise ValueError('new: expected a vocabulary that begins with the tokens of the old one')
    transformer = dataclasses.replace(net.config.transformer, vocab=len(new))
    grown = build_net(dataclasses.replace(net.config, transformer=transformer))
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    slots = net.config.heard_slots
    embedding, head = 'transformer.embedding.weight', 'transformer.head.weight'
    heard_SVD = state['heard.weight'].view(slots, len(old), -1)
    for token in new.tokens[len(old) :]:
        read, said = _relatives(token, old)
        state[embedding] = _append(state[embedding], state[embedding][read])
        state[head] = _append(state[head], state[head][said])
        heard_SVD = torch.cat([heard_SVD, heard_SVD[:, said].mean(1, keepdim=True)], dim=1)
    state['heard.weight'] = heard_SVD.flatten(0, 1)
    grown.load_state_dict(state)
    return grown


def _append(rows_VD: Tensor, relatives_XD: Tensor) -> Tensor:
    return torch.cat([rows_VD, relatives_XD.mean(0, keepdim=True)])


def _relatives(token: str, old: Vocabulary) -> tuple[list[int], list[int]]:
    """Tokens whose mean a new token begins with: (as input, as output)."""
    if token.startswith('<'):
        skills = [old[f'<{skill}>'] for skill in SKILLS]
        return skills, skills
    letters = [letter for letter in token if letter in LETTERS]
    spelled = [old[f'{"+" if i else "_"}{letter}'] for i, letter in enumerate(letters)]
    return spelled, [i for i in range(old.first_word, len(old)) if old.is_word(i)]
