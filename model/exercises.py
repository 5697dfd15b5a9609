# SPDX-License-Identifier: Apache-2.0
"""Sentences to learn a lesson from, and others to test it with."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from .data import phrases
from .data.phrases import SHARED, Phrase
from .lesson import Lesson, TaughtSkill
from .tokens import number_words

# Around a sentence that asks for something; those of the test are never trained.
_ASKING = ('{}', 'please {}', 'robot {}', '{} please', 'now {}', '{} now', 'robot please {}')
_ASKING_TEST = ('okay robot {}', 'could you {}', '{} right away', 'hey robot please {}')
# Around a sentence that wants to be answered.
_TALKING = ('{}', 'robot {}', '{} robot', 'okay {}')
_TALKING_TEST = ('hey robot {}', '{} my friend', 'okay robot {}')
# The same words in sentences that ask for nothing.
_IDLE = {
    'skill': ('we used to {}', 'yesterday i had to {}', 'my brother said please {}'),
    'place': ('i was in the {} yesterday', 'the {} is too cold', 'we painted the {} last week'),
    'object': ('my mother bought a {}', 'the {} was not here', 'i lost my {} yesterday'),
}
_TRAIN_OF_ITEM, _TEST_OF_ITEM, _DRAWS = 24, 8, 4000
_MOST_COMBINATIONS = 10
_SLOTS_OF = {
    'command': ('place', 'object', 'colour'),
    'cue_set': ('cue', 'answer'),
    'running_speech': ('cue',),
    'time_set': ('answer',),
}
_POLITE = frozenset(['please', 'robot', 'could', 'can', 'now'])


@dataclass(frozen=True)
class Exercise:
    """A sentence and what is new in it.

    Attributes:
        item: What it teaches, e.g. 'skill water' or 'place workshop'; '' for nothing.
        phrase: What is said; its split is 'train' or 'test', or 'shared' for single words.
    """

    item: str
    phrase: Phrase


def write_exercises(lesson: Lesson, seed: int = 0) -> list[Exercise]:
    """Sentences of a lesson; `phrases.add_words(lesson.slots)` must have been called before.

    Args:
        lesson: What is new.
        seed: Decides which sentences.

    Returns:
        Sentences to train on and, in other words, to test with; no text is in both.
    """
    rng = Random(f'exercises/{seed}')
    made = [each for skill in lesson.skills for each in _of_skill(skill, rng)]
    for reply in lesson.replies:
        item, meaning = f'reply {reply.answer}', {'answer': reply.answer}
        made += _around('address', item, [(text, meaning) for text in reply.say], rng)
        made += [Exercise(item, Phrase('address', text, meaning, 'test')) for text in reply.check]
    made += _of_words(lesson, rng)
    made += _idle(lesson, rng)
    tested = {each.phrase.text for each in made if each.phrase.split == 'test'}
    unique = {
        (each.phrase.kind, each.phrase.text): each
        for each in made
        if each.phrase.split != 'train' or each.phrase.text not in tested
    }
    return list(unique.values())


def _of_skill(skill: TaughtSkill, rng: Random) -> Iterator[Exercise]:
    item = f'skill {skill.name}'
    asked = [each for template in skill.say for each in _filled(skill, template, rng)]
    yield from _around('command', item, asked, rng)
    for template in skill.check:
        for text, meaning in _filled(skill, template, rng)[:3]:
            yield Exercise(item, Phrase('command', text, meaning, 'test'))
    for idle in _IDLE['skill']:
        yield Exercise('', Phrase('chatter', idle.format(rng.choice(asked)[0]), {}, 'train'))


def _filled(skill: TaughtSkill, template: str, rng: Random) -> list[tuple[str, dict]]:
    """A template with values in its slots, every value at least once, and what it means."""
    used = [slot for slot in skill.slots if f'{{{slot.name}}}' in template]
    values: list[list] = []
    for slot in used:
        least, most = skill.numbers.get(slot.name, (0, -1))
        choice: list = list(slot.words) or list(range(least, most + 1))
        if not slot.words and len(choice) > _MOST_COMBINATIONS:
            choice = rng.sample(choice, _MOST_COMBINATIONS)
        values.append(rng.sample(choice, len(choice)))
    longest = max((len(choice) for choice in values), default=1)
    combinations = list(itertools.product(*values))
    if len(combinations) > max(longest, _MOST_COMBINATIONS):
        turns = max(longest, _MOST_COMBINATIONS)
        combinations = [tuple(choice[i % len(choice)] for choice in values) for i in range(turns)]
    filled = []
    for combination in dict.fromkeys(combinations):
        arguments = {slot.name: value for slot, value in zip(used, combination, strict=True)}
        text = template
        for name, value in arguments.items():
            spoken = number_words(value) if isinstance(value, int) else value
            text = text.replace(f'{{{name}}}', spoken)
        filled.append((text, {'skill': skill.name, 'arguments': arguments}))
    return filled


def _around(kind: str, item: str, said: list[tuple[str, dict]], rng: Random) -> Iterator[Exercise]:
    train, test = (_ASKING, _ASKING_TEST) if kind == 'command' else (_TALKING, _TALKING_TEST)
    wraps = 2 if len(said) > 4 else 3
    for text, meaning in said:
        yield Exercise(item, Phrase(kind, text, meaning, 'train'))
        for wrap in rng.sample(train[1:], wraps):
            yield Exercise(item, Phrase(kind, wrap.format(text), meaning, 'train'))
    tests = [(wrap, *each) for wrap, each in itertools.product(test, said)]
    for wrap, text, meaning in rng.sample(tests, min(len(tests), _TEST_OF_ITEM)):
        yield Exercise(item, Phrase(kind, wrap.format(text), meaning, 'test'))


def _of_words(lesson: Lesson, rng: Random) -> Iterator[Exercise]:
    """The grammar's own sentences with the new words in them."""
    new = {word: slot for slot, words in lesson.slots.items() for word in words}
    drawn: dict[tuple[str, str, str], dict[str, Phrase]] = defaultdict(dict)
    kinds = [kind for kind, slots in _SLOTS_OF.items() if any(s in lesson.slots for s in slots)]
    for kind, split in itertools.product(kinds, ('train', 'test')):
        most = _TRAIN_OF_ITEM if split == 'train' else _TEST_OF_ITEM
        wanted = {word for word, slot in new.items() if slot in _SLOTS_OF[kind]}
        for _ in range(_DRAWS):
            phrase = phrases.sample(kind, rng, split)
            if split == 'test' and phrase.split != 'test':
                continue
            for word in sorted(wanted.intersection(_values(phrase.meaning))):
                drawn[word, kind, split][phrase.text] = phrase
                if len(drawn[word, kind, split]) == most:
                    wanted.remove(word)
                break
            if not wanted:
                break
    for (word, kind, split), found in drawn.items():
        item = f'{new[word]} {word}'
        yield from (Exercise(item, phrase) for phrase in found.values())
        if kind == 'command' and split == 'train':
            plain = [p for p in found.values() if not _POLITE & set(p.text.split())]
            yield from _around(kind, item, [(p.text, dict(p.meaning)) for p in plain], rng)
    for word, slot in new.items():
        if slot in ('cue', 'answer'):
            yield Exercise(f'{slot} {word}', Phrase(f'{slot}_word', word, {'value': word}, SHARED))


def _values(meaning) -> Iterator[str]:
    if isinstance(meaning, dict):
        meaning = meaning.values()
    elif isinstance(meaning, str):
        yield meaning
        return
    elif not isinstance(meaning, list | tuple):
        return
    for each in meaning:
        yield from _values(each)


def _idle(lesson: Lesson, rng: Random) -> Iterator[Exercise]:
    for slot in ('place', 'object'):
        for word in lesson.slots.get(slot, []):
            for template in rng.sample(_IDLE[slot], 2):
                yield Exercise('', Phrase('chatter', template.format(word), {}, 'train'))
