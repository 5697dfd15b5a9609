# SPDX-License-Identifier: Apache-2.0
"""Reads and checks a skills file, e.g. `config/skills.yaml`, for what a robot can learn from it.

The file is the action gate's; its keys `say` and `check` of a skill and its section `teach` are
for learning. New is what the checkpoint does not know: skills, places, `words`, cues, replies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .data import phrases
from .lesson import Lesson, Reply, TaughtSkill
from .skills import Slot
from .tokens import CONTROLS, Vocabulary

MOST_WORDS = 6  # of all arguments of a skill together, and of an answer
_LONGEST_CUE = 4
_SPOKEN = re.compile(r"[a-z]+(?:[-'][a-z]+)*(?: [a-z]+(?:[-'][a-z]+)*)*")
_NAME = re.compile(r'[a-z][a-z_]*')
_BRACES = re.compile(r'\{([^{}]*)\}')
_SKILL_KEYS = (
    'description', 'arguments', 'say', 'check', 'message', 'along', 'angle_rad', 'factor', 'drives',
)  # fmt: skip
_TEACH_KEYS = ('cues', 'answers', 'replies')
_SPOKEN_FORM = "words as they are spoken, in small letters, e.g. 'room seven'"


class LessonError(ValueError):
    """A skills file that can't be taught; the message has a line for every problem."""


def read_lesson(path: Path, vocabulary: Vocabulary) -> Lesson:
    """Reads a skills file.

    Args:
        path: The file.
        vocabulary: Tokens of the checkpoint that is taught.

    Returns:
        What is new in the file.

    Raises:
        LessonError: The file can't be read or has mistakes: a line each, with its key, its value
            and what was expected.
    """
    try:
        content = yaml.safe_load(path.read_text('utf-8'))
    except (OSError, yaml.YAMLError) as error:
        raise LessonError(f'skills file {str(path)!r}: {error}') from error
    reader = _Reader(content, vocabulary)
    lesson = reader.read()
    if reader.problems:
        lines = '\n'.join(f'  {problem}' for problem in reader.problems)
        raise LessonError(f'skills file {str(path)!r}:\n{lines}')
    return lesson


class _Reader:
    """Reads one file and collects what is wrong with it."""

    def __init__(self, content: Any, vocabulary: Vocabulary):
        self._content, self._vocabulary = content, vocabulary
        self.problems: list[str] = []
        self._words: dict[str, tuple[str, ...]] = {}

    def read(self) -> Lesson:
        if not isinstance(self._content, dict) or not isinstance(self._content.get('skills'), dict):
            self._wrong('skills', self._content, 'a mapping of skills, as in config/skills.yaml')
            return Lesson({}, (), ())
        self._read_words()
        teach = self._section('teach', self._content.get('teach'), _TEACH_KEYS)
        skills = [self._skill(name, row) for name, row in self._content['skills'].items()]
        read = {each.name: each for each in skills if each}
        slots = {
            'place': self._new('place', self._words['place']),
            'object': self._new('object', self._words.get('object', ())),
            'colour': self._new('colour', self._words.get('colour', ())),
            'cue': self._new('cue', self._phrases('teach.cues', teach.get('cues'), _LONGEST_CUE)),
            'answer': self._new('answer', self._phrases('teach.answers', teach.get('answers'))),
        }
        replies = self._replies(teach.get('replies'))
        self._check_twice(read, replies)
        known = self._vocabulary.skills
        return Lesson(
            {name: each.slots for name, each in read.items()},
            tuple(name for name in read if name not in known),
            tuple(each for each in read.values() if each.say),
            {slot: words for slot, words in slots.items() if words},
            replies,
        )

    def _wrong(self, key: str, value: Any, expected: str) -> None:
        shown = repr(value)
        shown = shown if len(shown) <= 70 else f'{shown[:67]}...'
        self.problems.append(f'{key}: {shown}, expected {expected}')

    def _section(self, key: str, value: Any, keys: tuple[str, ...]) -> dict:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._wrong(key, value, f'a mapping with {", ".join(keys)}')
            return {}
        for name in value:
            if name not in keys:
                self._wrong(f'{key}.{name}', value[name], f'only the keys {", ".join(keys)}')
        return value

    def _new(self, slot: str, words: tuple[str, ...]) -> list[str]:
        """Words that neither the grammar nor an earlier lesson has."""
        known = set(phrases.grammar()['slots'][slot])
        for slots in self._vocabulary.signatures.values():
            known |= {word for each in slots if each.name == slot for word in each.words}
        return [word for word in words if word not in known]

    def _read_words(self) -> None:
        lists = self._content.get('words') or {}
        if not isinstance(lists, dict):
            self._wrong('words', lists, 'lists by name, e.g. object: [cup, mug]')
            lists = {}
        for name, words in lists.items():
            self._words[name] = self._phrases(f'words.{name}', words)
        places = self._content.get('places') or {}
        if not isinstance(places, dict):
            self._wrong('places', places, 'places by name, e.g. kitchen: {x_m: 4.0, y_m: 2.0}')
            places = {}
        self._words['place'] = self._phrases('places', list(places) or None)

    def _phrases(
        self, key: str, value: Any, most_words: int = MOST_WORDS, of: str = _SPOKEN_FORM
    ) -> tuple[str, ...]:
        """A list of spoken words or phrases; what is wrong with it is noted and left out."""
        if value is None:
            return ()
        if not isinstance(value, list):
            self._wrong(key, value, 'a list, e.g. [mug, tea pot]')
            return ()
        good = []
        for number, text in enumerate(value):
            if not isinstance(text, str) or not _SPOKEN.fullmatch(text):
                self._wrong(f'{key}[{number}]', text, of)
            elif len(text.split()) > most_words:
                self._wrong(f'{key}[{number}]', text, f'at most {most_words} words')
            else:
                good.append(text)
        return tuple(dict.fromkeys(good))

    def _skill(self, name: Any, row: Any) -> TaughtSkill | None:
        key = f'skills.{name}'
        if not isinstance(name, str) or not _NAME.fullmatch(name) or f'<{name}>' in CONTROLS:
            self._wrong(key, name, 'a name of small letters and underscores, e.g. water_plant')
            return None
        row = self._section(key, row, _SKILL_KEYS)
        slots, numbers = [], {}
        arguments = row.get('arguments') or {}
        if not isinstance(arguments, dict):
            self._wrong(f'{key}.arguments', arguments, 'arguments by name')
            arguments = {}
        for argument, entry in arguments.items():
            slot, bounds = self._argument(f'{key}.arguments.{argument}', str(argument), entry)
            if slot:
                slots.append(slot)
            if bounds:
                numbers[str(argument)] = bounds
        self._check_length(key, slots)
        ways = {}
        for list_name in ('say', 'check'):
            ways[list_name] = tuple(
                self._templates(f'{key}.{list_name}', row.get(list_name), slots)
            )
        if not ways['say'] and name not in self._vocabulary.skills and row.get('say') is None:
            self._wrong(
                f'{key}.say', None, "ways to ask for this new skill, e.g. ['water the {plant}']"
            )
        return TaughtSkill(name, tuple(slots), numbers, ways['say'], ways['check'])

    def _argument(
        self, key: str, name: str, entry: Any
    ) -> tuple[Slot | None, tuple[int, int] | None]:
        keys = ('one_of', 'between', 'unit', 'default', 'optional')
        entry = self._section(key, entry, keys)
        if ('one_of' in entry) == ('between' in entry):
            self._wrong(key, entry, 'either one_of: a list, or between: [least, most]')
            return None, None
        optional = bool(entry.get('optional')) or entry.get('default') is not None
        if 'between' in entry:
            return self._number(key, name, entry['between'], optional)
        listed = entry['one_of']
        if isinstance(listed, str):
            if listed not in self._words:
                names = ', '.join(sorted(self._words))
                self._wrong(f'{key}.one_of', listed, f'a list of words, or one of {names}')
                return None, None
            return Slot(name, self._words[listed], optional), None
        words = self._phrases(f'{key}.one_of', listed)
        return (Slot(name, words, optional), None) if words else (None, None)

    def _number(self, key: str, name: str, between: Any, optional: bool):
        try:
            low, high = (float(bound) for bound in between)
        except (TypeError, ValueError):
            self._wrong(f'{key}.between', between, 'two numbers, e.g. [1, 10]')
            return None, None
        least, most = max(0, int(-(-low // 1))), min(100, int(high // 1))
        if least > most:
            self._wrong(f'{key}.between', between, 'a whole number from 0 to 100 between the two')
            return None, None
        return Slot(name, (), optional), (least, most)

    def _check_length(self, key: str, slots: list[Slot]) -> None:
        longest = sum(max((len(word.split()) for word in slot.words), default=2) for slot in slots)
        if longest > MOST_WORDS:
            self._wrong(f'{key}.arguments', longest, f'at most {MOST_WORDS} words in all arguments')

    def _templates(self, key: str, value: Any, slots: list[Slot]) -> Iterator[str]:
        if value is None:
            return
        if not isinstance(value, list) or not value:
            self._wrong(key, value, "a list, e.g. ['water the {plant}', 'give the {plant} water']")
            return
        names = [slot.name for slot in slots]
        for number, text in enumerate(value):
            place = f'{key}[{number}]'
            used = _BRACES.findall(text) if isinstance(text, str) else []
            plain = _BRACES.sub('x', text) if isinstance(text, str) else ''
            if not _SPOKEN.fullmatch(plain):
                self._wrong(place, text, f'{_SPOKEN_FORM}, and arguments in braces')
            elif wrong := [name for name in used if name not in names]:
                has = ', '.join(f'{{{name}}}' for name in names) or 'no arguments'
                self._wrong(place, text, f'{has} instead of {{{wrong[0]}}}')
            elif missing := [s.name for s in slots if not s.optional and s.name not in used]:
                self._wrong(place, text, f'{{{missing[0]}}} in it, or that argument optional: true')
            else:
                yield text

    def _replies(self, value: Any) -> tuple[Reply, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self._wrong('teach.replies', value, 'a list of {say: [...], answer: ...}')
            return ()
        replies = []
        for number, row in enumerate(value):
            key = f'teach.replies[{number}]'
            row = self._section(key, row, ('say', 'answer', 'check'))
            answer = self._phrases(f'{key}.answer', [row.get('answer')], MOST_WORDS)
            if not row.get('say'):
                self._wrong(f'{key}.say', row.get('say'), "a list, e.g. ['what is your name']")
            say, check = (
                self._phrases(f'{key}.{name}', row.get(name), 12) for name in ('say', 'check')
            )
            if say and answer:
                replies.append(Reply(say, answer[0], check))
        return tuple(replies)

    def _check_twice(self, skills: dict[str, TaughtSkill], replies: tuple[Reply, ...]) -> None:
        """The same words can't mean two things, nor what the robot takes them for already."""
        meant = _known_phrases()
        ways = [(f'skills.{s.name}', text) for s in skills.values() for text in s.say + s.check]
        for number, reply in enumerate(replies):
            ways += [(f'teach.replies[{number}]', text) for text in reply.say + reply.check]
        for key, text in ways:
            if meant.setdefault(text, key) != key:
                self._wrong(f'{key}.say', text, f'something else than what {meant[text]} says')


def _known_phrases() -> dict[str, str]:
    """Short phrases that mean something already, with the key of what they mean."""
    kinds = ('interruption', 'resume', 'cue_cancel', 'backchannel', 'address', 'command')
    known = [phrase for kind in kinds for phrase in phrases.fixed_phrases(kind)]
    return {
        p.text: f'skills.{p.meaning["skill"]}' if 'skill' in p.meaning else p.kind for p in known
    }
