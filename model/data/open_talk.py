# SPDX-License-Identifier: Apache-2.0
"""Ordinary English that is not for the robot, most of it in words that it does not know.

People beside a robot use all words, not the few hundred of its grammar, and a network that never
heard others takes them for what it knows. The sentences are the examples of use in WordNet 3.0
(Debian's `wordnet-base`; C. Fellbaum, ed., "WordNet", 1998), whose licence allows any use.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from random import Random

from .phrases import Phrase, grammar, split_of

KIND = 'open_talk'
WORDNET = Path('/usr/share/wordnet')
_EXAMPLE = re.compile(r'"([A-Za-z][A-Za-z\' ,;.!?-]*)"')
_PLAIN = re.compile(r"[a-z]+(?:'[a-z]+)?(?: [a-z]+(?:'[a-z]+)?)*")
_SHORTEST, _LONGEST = 3, 12  # words
# Questions are for the planner, whoever asks them.
_QUESTIONS = frozenset((
    'how', 'what', 'why', 'which', 'who', 'whose', 'when', 'where', 'is', 'are', 'am', 'was',
    'were', 'can', 'could', 'do', 'does', 'did', 'should', 'shall', 'will', 'would', 'may',
    'might', 'must', 'have', 'has', 'had',
))  # fmt: skip
# Kinds of phrases whose first words make a sentence sound like one of them.
_MEANT = ('command', 'ambiguous', 'interruption', 'resume', 'cue_cancel', 'address', 'delegate')


def open_talk(rng: Random, split: str) -> Phrase:
    """Draws one sentence.

    Args:
        rng: Source of chance.
        split: 'train', 'val' or 'test'; the sentence is of that split.

    Raises:
        FileNotFoundError: WordNet is not installed.
    """
    return Phrase(KIND, rng.choice(_sentences()[split]), {}, split)


@cache
def _sentences() -> dict[str, list[str]]:
    """The sentences by split, in alphabetical order."""
    files = sorted(WORDNET.glob('data.*'))
    if not files:
        raise FileNotFoundError(
            f'no data.* in {WORDNET}: install wordnet-base, as scripts/setup_data.sh does'
        )
    refused = _QUESTIONS | _first_words()
    found: dict[str, set[str]] = {'train': set(), 'val': set(), 'test': set()}
    for file in files:
        # After the bar comes the definition, with examples in quotes.
        lines = file.read_text(encoding='latin-1').splitlines()
        glosses = '\n'.join(line.partition(' | ')[2] for line in lines)
        for example in _EXAMPLE.findall(glosses):
            text = ' '.join(re.sub('[,;.!?-]', ' ', example).lower().split())
            words = text.split()
            if (
                _PLAIN.fullmatch(text)
                and _SHORTEST <= len(words) <= _LONGEST
                and words[0] not in refused
            ):
                found[split_of(text)].add(text)
    return {split: sorted(texts) for split, texts in found.items()}


def _first_words() -> set[str]:
    kinds = grammar()['kinds']
    templates = [
        template
        for kind in _MEANT
        for family in kinds[kind]
        for template in (*family.get('fixed', ()), *family.get('varied', ()))
    ]
    first = {template.split()[0] for template in templates}
    # Every second sentence begins with one of these, and no command is known by them.
    return first - {'the', 'a', 'i', "i'd", 'to', 'it', 'we', 'this', 'there'}
