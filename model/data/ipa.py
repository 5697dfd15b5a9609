# SPDX-License-Identifier: Apache-2.0
"""The sounds of English text, by way of espeak-ng, and their spelling in other alphabets."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping


def sounds(text: str, accent: str = 'en-us') -> list[str]:
    """What espeak-ng would say, word by word, in IPA.

    Args:
        text: words without punctuation.
        accent: 'en-us' or 'en-gb'.

    Raises:
        CalledProcessError: espeak-ng failed.
    """
    command = ['espeak-ng', '-q', '--ipa', '-v', accent, text]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()


def spelt(word: str, table: Mapping[str, str]) -> list[str]:
    """One word in another alphabet.

    Args:
        word: IPA.
        table: sounds of one or two letters and what they become; the longer one is taken, and what
            is not in it is left out.
    """
    symbols, at = [], 0
    while at < len(word):
        size = next((n for n in (2, 1) if word[at : at + n] in table), 1)
        symbols.append(table.get(word[at : at + size], ''))
        at += size
    return [symbol for symbol in symbols if symbol]
