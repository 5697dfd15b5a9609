# SPDX-License-Identifier: Apache-2.0
"""What a robot is to be taught: skills, places, things, cues, replies."""

from __future__ import annotations

from dataclasses import dataclass, field

from .skills import Slot
from .tokens import Vocabulary, normalise


@dataclass(frozen=True)
class Reply:
    """Something that people say and what the robot answers.

    Attributes:
        say: Ways to say it.
        answer: The answer.
        check: Further ways, kept out of training to test on.
    """

    say: tuple[str, ...]
    answer: str
    check: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaughtSkill:
    """How people ask for a skill.

    Attributes:
        name: The skill.
        slots: Its arguments in order.
        numbers: Least and greatest number of those arguments that are numbers.
        say: Ways to ask, with arguments in braces.
        check: Further ways, kept out of training to test on.
    """

    name: str
    slots: tuple[Slot, ...]
    numbers: dict[str, tuple[int, int]]
    say: tuple[str, ...]
    check: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """Everything that is new in a skills file.

    Attributes:
        signatures: Arguments of all skills of the file.
        new_skills: Skills that the checkpoint does not have.
        skills: Skills with ways to ask for them, new or not.
        slots: New words of the grammar's slots: 'place', 'object', 'colour', 'cue', 'answer'.
        replies: Fixed answers.
    """

    signatures: dict[str, tuple[Slot, ...]]
    new_skills: tuple[str, ...]
    skills: tuple[TaughtSkill, ...]
    slots: dict[str, list[str]] = field(default_factory=dict)
    replies: tuple[Reply, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to learn."""
        return not (self.skills or self.replies or any(self.slots.values()))

    @property
    def answers(self) -> list[str]:
        """What the robot must be able to say beyond what it can."""
        return [*self.slots.get('answer', []), *(reply.answer for reply in self.replies)]

    def summary(self) -> str:
        """What will be learned, in lines."""
        lines = [f'skill {each.name}: {len(each.say)} ways to ask' for each in self.skills]
        lines += [f'{slot}: {", ".join(words)}' for slot, words in self.slots.items() if words]
        lines += [f'reply: {each.say[0]} -> {each.answer}' for each in self.replies]
        return '\n'.join(lines)


def grow_vocabulary(vocabulary: Vocabulary, lesson: Lesson, texts: list[str]) -> Vocabulary:
    """A vocabulary with the lesson's skills and words behind those it has.

    Args:
        vocabulary: What the checkpoint knows.
        lesson: What is new.
        texts: Everything that will be said.
    """
    words = vocabulary.words
    words += [f'<{name}>' for name in lesson.new_skills]
    known = set(vocabulary.tokens)
    spoken = [*texts, *lesson.answers]
    spoken += [word for slots in lesson.signatures.values() for s in slots for word in s.words]
    new = dict.fromkeys(word for text in spoken for word in normalise(text) if word not in known)
    signatures = vocabulary.signatures | lesson.signatures
    return Vocabulary([*words, *new], signatures)
