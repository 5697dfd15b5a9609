# SPDX-License-Identifier: Apache-2.0
"""Turns what a language model writes into words that can be spoken."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

_LONGEST_NUMBER = 15  # digits; longer ones are spelled
_MARKUP = (
    (re.compile(r'```.*?(```|$)', re.DOTALL), ' '),
    (re.compile(r'!?\[([^\]]*)\]\([^)]*\)'), r'\1'),  # links and images: their words
    (re.compile(r'(https?://|www\.)\S+'), ' '),
    (re.compile(r'<[^<>\n]{1,40}>'), ' '),
    (re.compile(r'^\s*(#{1,6}|>|[-*+•]|\d{1,3}[.)])\s+', re.MULTILINE), ''),
)
_SYMBOLS = (
    (re.compile(r'[$](\d[\d.,]*\d|\d)'), r'\1 dollars '),
    (re.compile(r'€\s?(\d[\d.,]*\d|\d)'), r'\1 euros '),
    (re.compile(r'£\s?(\d[\d.,]*\d|\d)'), r'\1 pounds '),
    (re.compile(r'%'), ' percent '),
    (re.compile(r'&'), ' and '),
    (re.compile(r'\+'), ' plus '),
    (re.compile(r'='), ' equals '),
    (re.compile(r'°\s?C\b'), ' degrees celsius '),
    (re.compile(r'°\s?F\b'), ' degrees fahrenheit '),
    (re.compile(r'°'), ' degrees '),
    (re.compile(r'@'), ' at '),
    (re.compile(r'(?<=\d)\s?[-–]\s?(?=\d)'), ' to '),
)
_ORDINAL = re.compile(r'\b(\d{1,6})(st|nd|rd|th)\b', re.IGNORECASE)
_CLOCK = re.compile(r'\b(\d{1,2}):([0-5]\d)\b')
_NUMBER = re.compile(r'(?<![\w.])-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?')
_YEAR = re.compile(r'(1[1-9]|20)\d\d')


def speakable(text: str, limit: int = 0) -> str:
    """Makes text speakable: lower-case words, and of punctuation only what marks a pause.

    Args:
        text: Anything: markdown, lists, symbols, numbers.
        limit: Most characters, cut after a sentence or else after a word; 0 for no limit.

    Returns:
        Words of a-z with apostrophes and hyphens inside, `.`, `,`, `?` and `!` after words, and
        single blanks. Empty if there is nothing to say.
    """
    for pattern, replacement in (*_MARKUP, *_SYMBOLS):
        text = pattern.sub(replacement, text)
    text = _ORDINAL.sub(lambda match: _spelled(match[1], 'ordinal'), text)
    text = _CLOCK.sub(_clock_words, text)
    text = _NUMBER.sub(lambda match: _number_words(match[0]), text)
    return shortened(_plain(text), limit)


def shortened(text: str, limit: int) -> str:
    """Cuts speakable text after the last whole sentence within `limit`, or after a word."""
    if not limit or len(text) <= limit:
        return text
    head = text[: limit + 1]
    if ends := [match.end() for match in re.finditer(r'[.?!](?= |$)', head[:limit])]:
        return head[: ends[-1]]
    return head.rpartition(' ')[0].rstrip(' ,') or text[:limit]


def _number_words(digits: str) -> str:
    plain = digits.replace(',', '')
    if len(plain.lstrip('-').partition('.')[0]) > _LONGEST_NUMBER:
        return ' '.join(_spelled(digit, 'cardinal') for digit in plain if digit.isdigit())
    is_year = ',' not in digits and _YEAR.fullmatch(digits) is not None
    return _spelled(plain, 'year' if is_year else 'cardinal')


def _clock_words(match: re.Match[str]) -> str:
    hours, minutes = match.groups()
    if minutes == '00':
        return f"{_spelled(hours, 'cardinal')} o'clock"
    oh = ' oh' if minutes[0] == '0' else ''
    return f'{_spelled(hours, "cardinal")}{oh} {_spelled(minutes, "cardinal")}'


def _spelled(digits: str, to: str) -> str:
    number = float(digits) if '.' in digits else int(digits)
    words = num2words(number, to=to).replace('-', ' ').replace(',', '')
    return f' {words} '.replace('  ', ' ')


def _plain(text: str) -> str:
    text = text.replace('’', "'").replace('‘', "'").replace('–', ' - ').replace('—', ' - ')
    text = unicodedata.normalize('NFKD', text).encode('ascii', 'ignore').decode().lower()
    text = re.sub(r'[;:()\[\]{}]|\s-+\s|--+', ', ', text)
    text = re.sub(r'\n\s*\n|\n', '. ', text.strip())
    text = re.sub(r"[^a-z.,?!' -]+", ' ', text)
    text = re.sub(r"(?<![a-z])['-]+|['-]+(?![a-z])", ' ', text)
    text = re.sub(r'(?<=[a-z])\.(?=[a-z]\b)', ' ', text)  # p.m, e.g
    text = re.sub(r'\s*([.,?!])(?:\s*[.,?!])*', _strongest, text)
    return re.sub(r'\s+', ' ', text).strip(' ,.?!') + _ending(text)


def _strongest(match: re.Match[str]) -> str:
    """Of several marks in a row, the one that ends a sentence."""
    marks = match[0]
    return next((mark for mark in '?!.' if mark in marks), ',') + ' '


def _ending(text: str) -> str:
    last = text.rstrip()[-1:]
    return last if last in '.?!' and re.search('[a-z]', text) else ''
