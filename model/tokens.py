# SPDX-License-Identifier: Apache-2.0
"""The text side of the stream: words, letters for words outside the vocabulary, and control tokens.

One micro-turn of the stream is

    boundary(n-1) [video] user-audio user-audio [heard ...] [timer] [text in ...]
        | out ... -> boundary(n)

The boundary token closes micro-turn n and, with the robot's own voice and the time of micro-turn
n + 1 added to it, opens the next: a silent micro-turn costs no decoding step. `heard` are the words
that the network itself takes to have ended, so that what was said can be looked up like text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .skills import Slot

CONTROLS = (
    '<pad>',
    '<silent>',  # boundary: nothing sounds in the next window
    '<speak>',  # boundary: a word begins or goes on in the next window
    '<audio>',
    '<video>',
    '<flush>',  # stop what is sounding at once
    '<read>',  # say the next 200 ms of the text result that is waiting
    '<act>',
    '<delegate>',
    '<user>',  # a typed line follows
    '<planner>',  # a planner's result follows
    '<system>',
    '<end>',  # end of a text input or an action; alone, of the timer
    '<read_done>',  # input: the waiting text result has been said
    '<unknown>',
    '<mark>',  # sets the timer; before its whole seconds, their number follows (`timer.py`)
)
SKILLS = (
    'navigate_to',
    'come_here',
    'follow',
    'turn',
    'move',
    'pick',
    'place',
    'bring',
    'look_at',
    'wave',
    'gripper',
    'speed',
    'stop',
)
LETTERS = "abcdefghijklmnopqrstuvwxyz'"
_WORD = re.compile(r"[a-z]+(?:[-'][a-z]+)*'?|[0-9]+")
_VOCABULARY_FILE = Path(__file__).with_name('vocabulary.txt')


class Vocabulary:
    """Maps words to token ids and back.

    Args:
        words: Lower-case words that have a token of their own, in a fixed order. Among them
            `<name>` is a skill that was taught on top of `SKILLS`.
        signatures: Arguments of the skills by name, where they differ from the built-in ones.
        controls: Control tokens, where an older checkpoint has fewer.

    Attributes:
        tokens: All tokens by id.
        ids: Ids by token.
        first_word: The least id of a word.
        signatures: As given.
        controls: As given.
    """

    def __init__(
        self,
        words: list[str],
        signatures: Mapping[str, tuple[Slot, ...]] | None = None,
        controls: Sequence[str] = CONTROLS,
    ):
        spelled = [f'_{letter}' for letter in LETTERS] + [f'+{letter}' for letter in LETTERS]
        self.controls = tuple(controls)
        self.tokens = [*controls, *(f'<{skill}>' for skill in SKILLS), *spelled, *words]
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            raise ValueError('words: expected no duplicates')
        self.first_word = len(self.tokens) - len(words)
        self.signatures = dict(signatures or {})
        self._beginnings: dict[str, list[int]] = {}
        for token_id in range(self.first_word, len(self.tokens)):
            self._beginnings.setdefault(self.tokens[token_id][:2], []).append(token_id)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, token: str) -> int:
        return self.ids[token]

    def is_word(self, token_id: int) -> bool:
        """Whether a token is a whole word (not a letter or control token)."""
        return token_id >= self.first_word and not self.tokens[token_id].startswith('<')

    def alike(self, token_id: int) -> list[int]:
        """Other words that begin with the same two letters."""
        return [i for i in self._beginnings.get(self.tokens[token_id][:2], []) if i != token_id]

    @property
    def words(self) -> list[str]:
        """What a vocabulary like this one is made from: words and taught skills, in order."""
        return self.tokens[self.first_word :]

    @property
    def skills(self) -> tuple[str, ...]:
        """Names of all skills, built in and taught."""
        return (*SKILLS, *(token[1:-1] for token in self.words if token.startswith('<')))

    def encode(self, text: str) -> list[int]:
        """Tokens of a line of text; words outside the vocabulary are spelled."""
        tokens = []
        for word in normalise(text):
            if word in self.ids:
                tokens.append(self.ids[word])
                continue
            letters = [letter for letter in word if letter in LETTERS]
            tokens += [self.ids[f'{"+" if i else "_"}{letter}'] for i, letter in enumerate(letters)]
        return tokens

    def word_id(self, word: str) -> int:
        """Token of one word, `<unknown>` if it has none."""
        return self.ids.get(word, self.ids['<unknown>'])


def normalise(text: str) -> list[str]:
    """Lower-case words of a line, without punctuation; digits become number words."""
    words: list[str] = []
    for word in _WORD.findall(text.lower().replace('’', "'")):
        if word.isdigit():
            words += number_words(int(word)).split() if int(word) <= 100 else list(word)
        else:
            words.append(word)
    return words


_ONES = [
    'zero',
    'one',
    'two',
    'three',
    'four',
    'five',
    'six',
    'seven',
    'eight',
    'nine',
    'ten',
    'eleven',
    'twelve',
    'thirteen',
    'fourteen',
    'fifteen',
    'sixteen',
    'seventeen',
    'eighteen',
    'nineteen',
]
_TENS = 'twenty thirty forty fifty sixty seventy eighty ninety'.split()  # noqa: SIM905


@functools.lru_cache(maxsize=128)
def number_words(number: int) -> str:
    """Spells a number from 0 to 100."""
    if not 0 <= number <= 100:
        raise ValueError(f'number: {number}, expected 0 to 100')
    if number == 100:
        return 'one hundred'
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f' {_ONES[ones]}' if ones else '')


def parse_number(words: list[str]) -> int | None:
    """The number that words spell (0 to 100), None if they spell none."""
    return _NUMBERS.get(' '.join(words))


_NUMBERS = {number_words(n): n for n in range(101)} | {'a': 1, 'hundred': 100}


@functools.lru_cache(maxsize=1)
def default_vocabulary() -> Vocabulary:
    """The vocabulary of the shipped checkpoint (`vocabulary.txt`)."""
    return Vocabulary(_VOCABULARY_FILE.read_text(encoding='utf-8').split())
