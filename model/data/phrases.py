# SPDX-License-Identifier: Apache-2.0
"""Random phrases with their meaning: what people say to the robot and what the robot says.

Every phrase belongs to a text split. Sentences and combinations of slots are dealt out by a hash of
their text, and the templates listed as `varied` by a hash of the template, so that what is tested
was never trained. What is `made` from parts is for training, where it isn't held out. Short fixed
words ('stop', 'kilo', 'seven') are the vocabulary itself and are shared by all splits
(`split == 'shared'`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

SPLITS = ('train', 'val', 'test')
SHARED = 'shared'
_SLOT = re.compile(r'\{([a-z_]+?)(\d*)\}')
_PART = re.compile(r'<([a-z_]+)>')
_CHOICE = re.compile(r'\(([^()]*)\)')
# Words around an order, of which there are others where a person is meant.
_AROUND = re.compile(r'<(do|now|end)>')
MADE_SHARE = 0.7  # of the phrases of training, where a family has such templates
_ONES = (
    'zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten',
    'eleven', 'twelve', 'thirteen', 'fourteen', 'fifteen', 'sixteen', 'seventeen', 'eighteen',
    'nineteen',
)  # fmt: skip
TENS = (
    'twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety',
)  # fmt: skip
# One word is enough to call or to stop the robot, so that these are in no list of words.
_CALLS = frozenset((
    'robot', 'hello', 'hi', 'hey', 'stop', 'halt', 'freeze', 'wait', 'quiet', 'enough', 'silence',
    'hush', 'wave', 'faster', 'slower', 'quicker',
))  # fmt: skip
# Kinds whose sentences are dealt out one by one, whatever template they are of.
_SPLIT_BY_TEXT = ('robot_open', 'chatter', 'running_speech', 'delegate', 'word_list')
_MOVING = {
    'squats': ['squatting', 'doing squats'],
    'jumping jacks': ['jumping jacks', 'doing jumping jacks'],
    'waves': ['waving'],
    'bounces': ['bouncing', 'bouncing the ball'],
    'nods': ['nodding'],
}


@dataclass(frozen=True)
class Phrase:
    """One thing to say.

    Attributes:
        kind: what it is for; one of `KINDS`.
        text: lower-case words without punctuation, but for 'x-ray' and "that's".
        meaning: what it asks for, by kind; JSON-compatible.
        split: 'train', 'val', 'test', or 'shared' for fixed words that every split may use.
    """

    kind: str
    text: str
    meaning: Mapping[str, Any]
    split: str


def number_words(value: int) -> str:
    """Spells a whole number from 0 to 100 as it is spoken: 21 -> 'twenty one'.

    Raises:
        ValueError: if `value` is outside 0 to 100.
    """
    if not 0 <= value <= 100:
        raise ValueError(f'value must be 0 to 100, got {value}')
    if value < 20:
        return _ONES[value]
    if value == 100:
        return 'one hundred'
    tens = TENS[value // 10 - 2]
    return f'{tens} {_ONES[value % 10]}' if value % 10 else tens


def normalise(text: str) -> str:
    """Lower-cases `text` and drops punctuation other than inner apostrophes and hyphens."""
    kept = re.sub(r"[^a-z0-9' -]+", ' ', text.lower().replace('mm-hm', 'mm hm'))
    return ' '.join(word.strip("'-") for word in kept.split() if word.strip("'-"))


def split_of(text: str) -> str:
    """Deals a text out to 'train' (85 %), 'val' (5 %) or 'test' (10 %) by its hash."""
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'big') / 2**32
    if share < 0.85:
        return 'train'
    return 'val' if share < 0.90 else 'test'


@cache
def grammar() -> dict[str, Any]:
    """The two YAML files beside this module and the vocabulary; do not change what it returns."""
    folder = Path(__file__).parent
    behaviours = yaml.safe_load((folder / 'behaviours.yaml').read_text(encoding='utf-8'))
    sentences = yaml.safe_load((folder / 'sentences.yaml').read_text(encoding='utf-8'))
    kinds = dict(behaviours['kinds'])
    kinds['chatter'] = [
        {'varied': sentences['chatter']['plain'], 'weight': 2},
        {'varied': sentences['chatter']['made'], 'weight': 3},
        {**_for_somebody_else(kinds['command']), 'weight': 4},
    ]
    # Words in no order, so that every word is heard after every other.
    words = [f'{{any{place}}}' for place in range(1, 8)]
    kinds['word_list'] = [{'varied': [' '.join(words[:count]) for count in range(3, 8)]}]
    kinds['running_speech'] = [
        {'meaning': {'cues': ['{cue}', '{cue2}']}, 'varied': sentences['running_speech']}
    ]
    robot = sentences['robot']
    kinds['robot_fixed'] = [{'fixed': robot['fixed']}]
    kinds['robot_see'] = [{'fixed': robot['see']}]
    kinds['robot_open'] = [
        {'varied': robot['plain'], 'weight': 1},
        {'varied': robot['made'], 'weight': 9},
    ]
    kinds['robot_number'] = [{'fixed': ['{whole}']}]
    slots = behaviours['slots'] | sentences['slots']
    vocabulary = (folder.parent / 'vocabulary.txt').read_text(encoding='utf-8').split()
    slots['any'] = [word for word in vocabulary if word not in _CALLS]
    return {'slots': slots, 'kinds': kinds, 'parts': behaviours['parts']}


def _for_somebody_else(commands: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Commands that begin with a person's name; at "stop" the robot stops, whoever is meant."""
    orders = [family for family in commands if family['meaning']['skill'] != 'stop']
    listed = [
        f'{{name}} {order}'
        for family in orders
        for order in (*family.get('fixed', ()), *family.get('varied', ()))
        if 'robot' not in order.split()
    ]
    made = [
        '{name} ' + _AROUND.sub(r'<\1_person>', order)
        for family in orders
        for order in family.get('made', ())
    ]
    return {'varied': listed, 'made': made}


KINDS = tuple(sorted(grammar()['kinds']))


@cache
def _held_out() -> re.Pattern[str]:
    """What validation and test may say and training may not, as far as templates decide it."""
    varied = {
        template
        for kind, families in grammar()['kinds'].items()
        if kind not in _SPLIT_BY_TEXT
        for family in families
        for template in family.get('varied', ())
        if split_of(template) != 'train'
    }
    return re.compile('|'.join(map(_pattern, sorted(varied))))


def _pattern(template: str) -> str:
    """A regular expression of all texts of a template."""
    return _SLOT.sub(lambda found: f'(?:{"|".join(_words_of(found.group(1)))})', template)


def _words_of(slot: str) -> list[str]:
    if slot == 'metre_word':
        return ['meters?']
    choices = range(101) if slot in ('low', 'high') else _choices(slot)
    spoken = [number_words(each) if isinstance(each, int) else str(each) for each in choices]
    return [_pattern(each) for each in spoken]


def is_held_out(text: str) -> bool:
    """Whether a text happens to be one that a template of validation or test could be."""
    return _held_out().fullmatch(text) is not None


def add_words(words: Mapping[str, Sequence[str]]) -> None:
    """Lets this process's grammar use more words in its slots, e.g. a robot's own places.

    Args:
        words: Words by slot: 'place', 'object', 'colour', 'cue' or 'answer'.
    """
    slots = grammar()['slots']
    for slot, more in words.items():
        slots[slot] = [*slots[slot], *(word for word in more if word not in slots[slot])]


def sample(kind: str, rng: Random, split: str = 'train') -> Phrase:
    """Draws one phrase of a kind.

    Args:
        kind: one of `KINDS`.
        rng: source of chance; the same state gives the same phrase.
        split: 'train', 'val' or 'test'; the phrase is of that split or shared.

    Returns:
        The phrase.

    Raises:
        ValueError: if `kind` or `split` is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f'kind must be one of {KINDS}, got {kind!r}')
    if split not in SPLITS:
        raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
    families = grammar()['kinds'][kind]
    weights = [family.get('weight', 1) for family in families]
    for _ in range(10_000):
        phrase = _draw(kind, rng.choices(families, weights)[0], rng, split)
        if phrase is not None and phrase.split in (split, SHARED):
            return phrase
    raise ValueError(f'kind {kind!r} has no phrases in split {split!r}')


def fixed_phrases(kind: str) -> list[Phrase]:
    """All phrases of a kind that come from `fixed` templates with at most one slot, in order.

    Args:
        kind: one of `KINDS`; templates with more than one slot are left out.
    """
    found = []
    for family in grammar()['kinds'][kind]:
        for template in family.get('fixed', []):
            slots = _SLOT.findall(template)
            if len(slots) > 1:
                continue
            for word in _choices(slots[0][0]) if slots else [None]:
                values = {''.join(slots[0]): word} if slots else {}
                found.append(_phrase(kind, family, template, values, fixed=True))
    return found


def _choices(slot: str) -> list[Any]:
    if slot == 'seconds':
        return list(range(2, 61))
    if slot == 'whole':
        return list(range(101))
    if slot == 'number':
        return list(range(1, 101))
    if slot == 'metres':
        return list(range(1, 101))
    if slot == 'direction':
        return ['left', 'right', 'around']
    if slot == 'heading':
        return ['forward', 'back', 'backward', 'left', 'right']
    if slot == 'gripper':
        return ['open', 'close']
    if slot == 'moving':
        return sorted(word for words in _MOVING.values() for word in words)
    return grammar()['slots'][slot]


def _value(slot: str, drawn: Mapping[str, Any], rng: Random) -> Any:
    """Draws a value for a slot; numbers are small more often than not, as in speech."""
    if slot in ('seconds', 'number'):
        low, often, high = (2, 20, 60) if slot == 'seconds' else (2, 20, 100)
        return rng.randint(low, often) if rng.random() < 0.65 else rng.randint(low, high)
    if slot == 'metres':
        return rng.randint(1, 10) if rng.random() < 0.6 else rng.randint(1, 100)
    if slot == 'low':
        return rng.randint(1, 12) if rng.random() < 0.6 else rng.randint(1, 90)
    if slot == 'high':
        more = 15 if rng.random() < 0.7 else 60
        return min(100, drawn['low'] + rng.randint(2, more))
    return rng.choice(_choices(slot))


def _draw(kind: str, family: Mapping[str, Any], rng: Random, split: str) -> Phrase | None:
    fixed, varied = family.get('fixed', []), family.get('varied', [])
    made = split == 'train' and 'made' in family and rng.random() < MADE_SHARE
    use_fixed = not made and bool(fixed) and (not varied or rng.random() < 0.5)
    listed = family['made'] if made else fixed if use_fixed else varied
    template = rng.choice(listed)
    if made:
        template = _made(template, rng)
    values: dict[str, Any] = {}
    text = template
    # A slot's word may hold slots itself ('a trip to {town}'), hence the loop.
    while match := _SLOT.search(text):
        slot = match.group(1) + match.group(2)
        if slot not in values:
            values[slot] = _fresh(match.group(1), values, rng)
        text = text.replace(match.group(0), _spoken(match.group(1), values[slot], values), 1)
    if made and is_held_out(normalise(text)):
        return None
    return _phrase(kind, family, template, values, use_fixed, text)


def _made(template: str, rng: Random) -> str:
    """A template of a `made` one, in which parts and alternatives are chosen."""
    while match := _PART.search(template) or _CHOICE.search(template):
        inside = match.group(1)
        options = grammar()['parts'][inside] if match.re is _PART else inside.split('|')
        template = template[: match.start()] + rng.choice(options) + template[match.end() :]
    return ' '.join(template.split())


def _fresh(slot: str, values: Mapping[str, Any], rng: Random) -> Any:
    """A value that no other draw of the same slot has taken; a phrase never sets one cue twice."""
    taken = {
        value
        for name, value in values.items()
        if re.fullmatch(slot + r'\d*', name) and value is not None
    }
    if slot == 'metre_word':
        return 'meter' if values.get('metres') == 1 else 'meters'
    if slot == 'moving':
        movement = rng.choice(_choices('movement'))
        return rng.choice(_MOVING[movement])
    for _ in range(100):
        value = _value(slot, values, rng)
        if value not in taken:
            return value
    raise ValueError(f'slot {slot!r} has too few words')


def _spoken(slot: str, value: Any, values: Mapping[str, Any]) -> str:
    return number_words(value) if isinstance(value, int) else str(value)


def _phrase(
    kind: str,
    family: Mapping[str, Any],
    template: str,
    values: dict[str, Any],
    fixed: bool,
    text: str = '',
) -> Phrase:
    if not text:
        text = template
        for slot, value in values.items():
            text = text.replace('{' + slot + '}', _spoken(slot, value, values))
    text = normalise(text)
    meaning = _fill(family.get('meaning', {}), values | {'task': text})
    for movement, moving in _MOVING.items():
        if values.get('moving') in moving:
            meaning['movement'] = movement
    if kind in ('cue_word', 'answer_word', 'robot_number'):
        meaning = {'value': next(iter(values.values()))}
    return Phrase(kind, text, meaning, _text_split(kind, template, text, fixed))


def _text_split(kind: str, template: str, text: str, fixed: bool) -> str:
    slots = _SLOT.findall(template)
    if kind in _SPLIT_BY_TEXT:
        return split_of(text)
    if fixed and (len(slots) < 2 or kind == 'robot_see'):
        # One free slot in a listed template is vocabulary ('turn left', 'count to ten').
        return SHARED
    if fixed:
        return split_of(text)
    by_template = split_of(template)
    return by_template if by_template != 'train' else (split_of(text) if slots else 'train')


def _fill(meaning: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(meaning, dict):
        return {key: _fill(value, values) for key, value in meaning.items()}
    if isinstance(meaning, list):
        filled = [_fill(value, values) for value in meaning]
        return [value for value in filled if not (isinstance(value, str) and value.startswith('{'))]
    if isinstance(meaning, str) and (match := _SLOT.fullmatch(meaning)):
        return values.get(match.group(1) + match.group(2), meaning)
    if isinstance(meaning, str):
        return _SLOT.sub(lambda found: str(values[found.group(1) + found.group(2)]), meaning)
    return meaning
