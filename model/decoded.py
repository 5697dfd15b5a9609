# SPDX-License-Identifier: Apache-2.0
"""What was decoded in one micro-turn, and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from .interface import Intent, Priority
from .skills import parse_act
from .tokens import Vocabulary


@dataclass
class Decoded:
    """Tokens of a micro-turn.

    Attributes:
        tokens: In order, without the boundary.
        probabilities: Of each of them.
        boundary: The token that ended them.
        hidden_D: (D,) hidden state that the boundary was chosen from; None where it stays on a GPU.
    """

    tokens: list[str] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    boundary: str = '<silent>'
    hidden_D: Tensor | None = None

    def add(self, token: str, probability: float) -> None:
        """Takes down the next token."""
        self.tokens.append(token)
        self.probabilities.append(probability)

    def said(self, vocabulary: Vocabulary) -> list[str]:
        """The words that are spoken: those outside `<act> ... <end>`."""
        said, acting = [], False
        for token in self.tokens:
            acting = token == '<act>' or (acting and token != '<end>')
            if not acting and vocabulary.is_word(vocabulary[token]):
                said.append(token)
        return said

    def intents(self, vocabulary: Vocabulary) -> list[Intent]:
        """The actions in `<act> ... <end>` whose words fit their skills."""
        intents = []
        for start, token in enumerate(self.tokens[:-1]):
            if token != '<act>':
                continue
            rest = self.tokens[start + 1 :]
            words = rest[1 : rest.index('<end>') if '<end>' in rest else None]
            skill = rest[0].strip('<>')
            try:
                arguments = parse_act(skill, words, vocabulary.signatures)
            except ValueError:
                continue
            if arguments is None:
                continue
            share = self.probabilities[start : start + 2 + len(words)]
            priority = Priority.STOP if skill == 'stop' else Priority.NORMAL
            intents.append(Intent(skill, {**arguments}, float(np.prod(share)), priority))
        return intents
