# SPDX-License-Identifier: Apache-2.0
"""The skills and places of a robot, read from `config/skills.yaml` or a file like it."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from interaction_node.graph import resource_folder

# What the gate can make of a skill, and the tables that it needs, with the argument that chooses.
_TABLES = {
    'goal_pose': (),
    'cmd_vel': (('along', 'direction'), ('angle_rad', 'direction')),
    'speed': (('factor', 'change'),),
    'stop': (),
    'none': (),
}
STOP = 'stop'
PLACE = 'place'
_LONGEST_JSON = 4096
# What people say; only `make skills` reads it.
_FOR_TEACHING = ('say', 'check')


@dataclass(frozen=True)
class Place:
    """A place on the map: metres and radians."""

    x_m: float
    y_m: float
    yaw_rad: float = 0.0

    def __post_init__(self):
        if not all(map(_is_finite, (self.x_m, self.y_m, self.yaw_rad))):
            raise ValueError(f'place is {self}; expected finite numbers')


@dataclass(frozen=True)
class Argument:
    """An argument of a skill: a word out of a list, or a number between two bounds.

    Attributes:
        name: Its name, e.g. distance_m.
        words: Allowed words; empty for a number.
        minimum: Least number.
        maximum: Greatest number.
        unit: SI unit of the number.
        default: Value where it is left out, None for none.
        optional: Whether it may be left out.
    """

    name: str
    words: tuple[str, ...] = ()
    minimum: float = 0.0
    maximum: float = 0.0
    unit: str = ''
    default: str | float | None = None
    optional: bool = False

    @property
    def expected(self) -> str:
        """What is allowed, in words."""
        if self.words:
            return 'one of ' + ', '.join(self.words)
        return f'a number from {self.minimum:g} to {self.maximum:g} {self.unit}'.rstrip()

    def convert(self, value: Any) -> str | float:
        """Checks a value.

        Raises:
            ValueError: It is not allowed; the message names the argument and what was expected.
        """
        if self.words and isinstance(value, str) and value.strip().lower() in self.words:
            return value.strip().lower()
        if not self.words and _is_finite(value) and self.minimum <= value <= self.maximum:
            return float(value)
        raise ValueError(f'{self.name} is {_short(value)}; expected {self.expected}')


@dataclass(frozen=True)
class Skill:
    """A skill of the robot.

    Attributes:
        name: Its name, e.g. navigate_to.
        description: What it does, for people and language models.
        arguments: Its arguments by name.
        message: What the action gate makes of it, as in the file.
        along: For cmd_vel: (x, y) unit vector by direction; times the argument distance_m.
        angle_rad: For cmd_vel: angle by direction.
        factor: For speed: factor by change.
        drives: Whether somebody else's velocities may drive the robot because of it.
    """

    name: str
    description: str = ''
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    message: str = 'none'
    along: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    angle_rad: Mapping[str, float] = field(default_factory=dict)
    factor: Mapping[str, float] = field(default_factory=dict)
    drives: bool = False

    @property
    def signature(self) -> str:
        """Name and arguments, e.g. 'turn(direction)'."""
        return f'{self.name}({", ".join(self.arguments)})'

    def has_words(self, name: str, words: Iterable[str]) -> bool:
        """Whether it has an argument that is always one of these words."""
        argument = self.arguments.get(name)
        if argument is None or not argument.words or argument.optional:
            return False
        return set(argument.words) <= set(words)

    def parse(self, text: str) -> dict[str, str | float]:
        """Reads and checks the arguments of an intent.

        Args:
            text: JSON object; empty for none.

        Returns:
            Values by name, defaults filled in.

        Raises:
            ValueError: It is no JSON object, or an argument is unknown, missing or not allowed.
        """
        given = _json_object(text)
        if unknown := [name for name in given if name not in self.arguments]:
            names = ', '.join(self.arguments) or 'none'
            raise ValueError(f'{_short(unknown[0])} is no argument of {self.name}; it has {names}')
        values = {}
        for name, argument in self.arguments.items():
            if given.get(name) is not None:
                values[name] = argument.convert(given[name])
            elif argument.default is not None:
                values[name] = argument.default
            elif not argument.optional:
                raise ValueError(f'{name} is missing; expected {argument.expected}')
        return values


@dataclass(frozen=True)
class SkillCatalogue:
    """Everything that a robot can do, and where.

    Attributes:
        skills: By name; always has 'stop'.
        places: By name.
        frame: Frame of the places.
    """

    skills: Mapping[str, Skill]
    places: Mapping[str, Place]
    frame: str = 'map'

    @property
    def signatures(self) -> list[str]:
        """Names and arguments of all skills, e.g. for a language model."""
        return [skill.signature for skill in self.skills.values()]


def load_catalogue(
    path: str | Path = '', more_places: Mapping[str, Place] | None = None
) -> SkillCatalogue:
    """Reads a file of skills.

    Args:
        path: The file; '' for the packaged `config/skills.yaml`.
        more_places: Places on top of those of the file, by name.

    Returns:
        The catalogue.

    Raises:
        ValueError: The file can't be read, or something in it is not as described in the packaged
            one; the message names the file and the skill.
    """
    file = Path(path).expanduser() if path else resource_folder('config') / 'skills.yaml'
    try:
        return _catalogue(_content(file), more_places or {})
    except (ValueError, TypeError, LookupError, AttributeError, OSError, yaml.YAMLError) as error:
        raise ValueError(f'skills file {str(file)!r}: {error}') from error


@functools.lru_cache(maxsize=8)
def _content(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding='utf-8'))


def _catalogue(content: Any, more_places: Mapping[str, Place]) -> SkillCatalogue:
    if not isinstance(content, dict) or not isinstance(content.get('skills'), dict):
        raise ValueError('expected a mapping with skills, as in config/skills.yaml')
    places = {name: Place(**row) for name, row in (content.get('places') or {}).items()}
    places |= more_places
    words = {name: tuple(row) for name, row in (content.get('words') or {}).items()}
    words[PLACE] = tuple(places)
    skills = {name: _skill(name, row or {}, words) for name, row in content['skills'].items()}
    if STOP not in skills or skills[STOP].message != STOP:
        raise ValueError("expected a skill 'stop' with message: stop")
    return SkillCatalogue(skills, places, str(content.get('frame', 'map')))


def _skill(name: str, row: dict[str, Any], words: Mapping[str, tuple[str, ...]]) -> Skill:
    arguments = {
        key: _argument(key, entry, words) for key, entry in (row.get('arguments') or {}).items()
    }
    known = {key: value for key, value in row.items() if key not in ('arguments', *_FOR_TEACHING)}
    if 'along' in known:
        known['along'] = {key: (float(x), float(y)) for key, (x, y) in known['along'].items()}
    skill = Skill(name=name, arguments=arguments, **known)
    if skill.message not in _TABLES:
        raise ValueError(
            f'{name}: message is {skill.message!r}; expected one of {", ".join(_TABLES)}'
        )
    tables = _TABLES[skill.message]
    if tables and sum(bool(getattr(skill, table)) for table, _ in tables) != 1:
        wanted = ' or '.join(table for table, _ in tables)
        raise ValueError(f'{name}: a skill with message: {skill.message} needs {wanted}')
    for table, key in tables:
        _check_table(skill, getattr(skill, table), key)
    if skill.message == 'goal_pose' and not skill.has_words(PLACE, words[PLACE]):
        raise ValueError(f'{name}: a skill with message: goal_pose needs an argument place')
    return skill


def _check_table(skill: Skill, table: Mapping[str, Any], key: str) -> None:
    if table and not skill.has_words(key, table):
        raise ValueError(f'{skill.name}: expected an argument {key}, one_of {", ".join(table)}')


def _argument(name: str, row: dict[str, Any], words: Mapping[str, tuple[str, ...]]) -> Argument:
    options = {key: row[key] for key in ('unit', 'default', 'optional') if key in row}
    if ('one_of' in row) == ('between' in row):
        raise ValueError(f'argument {name}: expected either one_of or between')
    if 'between' in row:
        minimum, maximum = map(float, row['between'])
        return Argument(name, minimum=minimum, maximum=maximum, **options)
    # YAML reads unquoted on, off, yes and no as booleans.
    listed = words[row['one_of']] if isinstance(row['one_of'], str) else row['one_of']
    if not listed or not all(isinstance(word, str) for word in listed):
        raise ValueError(f'argument {name}: one_of is {listed!r}; expected words')
    return Argument(name, words=tuple(listed), **options)


def _json_object(text: str) -> dict[str, Any]:
    if len(text) > _LONGEST_JSON:
        raise ValueError(f'arguments are {len(text)} characters long; expected <= {_LONGEST_JSON}')
    try:
        value = json.loads(text or '{}')
    except (ValueError, RecursionError) as error:
        raise ValueError(f'arguments are {_short(text)}; expected a JSON object') from error
    if not isinstance(value, dict):
        raise ValueError(f'arguments are {_short(text)}; expected a JSON object')
    return value


def _is_finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an int beyond any float
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
