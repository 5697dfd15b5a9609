# SPDX-License-Identifier: Apache-2.0
"""Decides which action intents the robot may carry out. Nothing in here needs ROS."""

from __future__ import annotations

import enum
import json
import math
from collections import deque
from dataclasses import dataclass, field

from interaction_node.skill_catalogue import STOP, Skill, SkillCatalogue

_MOST_PENDING = 32


class Reason(enum.IntEnum):
    """Why an intent passes or not; the values of `GateDecision.reason`."""

    OK = 0
    NOT_ALLOWED = 1
    BAD_ARGUMENT = 2
    RATE_LIMIT = 3
    SPEED_LIMIT = 4
    EMERGENCY_STOP = 5
    STALE = 6
    NEEDS_CONFIRMATION = 7


class Phase(enum.IntEnum):
    """The values of `ActionIntent.phase`."""

    START = 0
    UPDATE = 1
    CANCEL = 2


@dataclass(frozen=True)
class Wish:
    """An action intent: what the model wants.

    Attributes:
        intent_id: Names the intent.
        skill: Name of the skill.
        arguments: JSON object as text.
        stamp_s: When it was decided, ROS time; 0 unknown.
        confidence: 0 to 1.
        phase: Beginning, change or end of the action.
    """

    intent_id: str
    skill: str
    arguments: str = '{}'
    stamp_s: float = 0.0
    confidence: float = 1.0
    phase: Phase = Phase.START


@dataclass(frozen=True)
class Decision:
    """What becomes of an intent.

    Attributes:
        reason: OK where it is allowed.
        detail: One sentence for a person; '' where it is allowed.
        arguments: Checked arguments; empty where it is refused.
        skill: The skill, None where it is refused.
    """

    reason: Reason
    detail: str = ''
    arguments: dict[str, str | float] = field(default_factory=dict)
    skill: Skill | None = None

    @property
    def allowed(self) -> bool:
        """Whether the robot does it."""
        return self.reason is Reason.OK


@dataclass(frozen=True)
class LimitSettings:
    """What is allowed, how often, how far.

    Attributes:
        allow: Names of the allowed skills; empty for all of the catalogue.
        confirm: Names of the skills that must be asked for twice.
        confirm_window_s: Time for the second time, seconds.
        confirm_below: Intents of less confidence must be asked for twice, too.
        max_age_s: Older intents are refused, seconds.
        window_s: Time over which intents are counted, seconds.
        max_of_one_skill: Most intents of one skill within that time.
        max_of_all: Most intents within that time.
        max_distance_m: Longest straight move, metres.
        holonomic: Whether the robot can move sideways.
    """

    allow: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    confirm_window_s: float = 10.0
    confirm_below: float = 0.0
    max_age_s: float = 1.0
    window_s: float = 5.0
    max_of_one_skill: int = 3
    max_of_all: int = 8
    max_distance_m: float = 10.0
    holonomic: bool = False

    def check(self, catalogue: SkillCatalogue) -> None:
        """Raises ValueError where a name is no skill of the catalogue."""
        for name in ('allow', 'confirm'):
            for skill in getattr(self, name):
                if skill not in catalogue.skills:
                    raise ValueError(
                        f'{name} has {skill!r}; expected one of {", ".join(catalogue.skills)}'
                    )


class ActionLimits:
    """Keeps the rules and what has passed so far. Not thread-safe.

    Args:
        catalogue: Skills and places of the robot.
        settings: The rules.

    Raises:
        ValueError: The rules name a skill that the robot doesn't have.
    """

    def __init__(self, catalogue: SkillCatalogue, settings: LimitSettings):
        settings.check(catalogue)
        self._catalogue = catalogue
        self._settings = settings
        self._passed: deque[tuple[float, str]] = deque()
        self._pending: dict[tuple[str, str], tuple[str, float]] = {}
        self.emergency_stop = False

    def decide(self, wish: Wish, now_s: float) -> Decision:
        """Decides on an intent, and remembers it.

        Args:
            wish: The intent; nothing in it is trusted.
            now_s: ROS time, seconds.

        Returns:
            The decision. `stop` is always allowed, and so is ending an action.
        """
        if wish.skill == STOP:
            self._pending.clear()
            return Decision(Reason.OK, skill=self._catalogue.skills[STOP])
        if wish.phase == Phase.CANCEL:
            return self._cancelled(wish)
        try:
            return self._checked(wish, now_s)
        except _RefusedError as refused:
            return Decision(refused.reason, str(refused))

    def _cancelled(self, wish: Wish) -> Decision:
        for key, (intent_id, _) in list(self._pending.items()):
            if intent_id == wish.intent_id:
                del self._pending[key]
        skill = self._catalogue.skills.get(wish.skill)
        if skill is None:
            return Decision(Reason.NOT_ALLOWED, f'{wish.skill[:60]!r} is no skill of this robot')
        return Decision(Reason.OK, skill=skill)

    def _checked(self, wish: Wish, now_s: float) -> Decision:
        if self.emergency_stop:
            raise _RefusedError(Reason.EMERGENCY_STOP, 'an emergency stop is latched')
        self._check_age(wish, now_s)
        skill = self._allowed_skill(wish.skill)
        try:
            arguments = skill.parse(wish.arguments)
        except ValueError as error:
            raise _RefusedError(Reason.BAD_ARGUMENT, str(error)) from error
        self._check_motion(skill, arguments)
        self._check_rate(skill, now_s)
        self._check_confirmed(wish, skill, arguments, now_s)
        self._passed.append((now_s, skill.name))
        return Decision(Reason.OK, arguments=arguments, skill=skill)

    def _check_age(self, wish: Wish, now_s: float) -> None:
        age_s = now_s - wish.stamp_s
        limit_s = self._settings.max_age_s
        if wish.stamp_s == 0.0 and now_s > limit_s:
            raise _RefusedError(Reason.STALE, 'the intent has no time stamp')
        if not abs(age_s) <= limit_s:  # from the future: two clocks that disagree
            late = f'{age_s:.2f} s old' if age_s > 0 else f'{-age_s:.2f} s ahead of time'
            detail = f'the intent is {late}; at most {limit_s:g} s are allowed'
            raise _RefusedError(Reason.STALE, detail)

    def _allowed_skill(self, name: str) -> Skill:
        skill = self._catalogue.skills.get(name)
        if skill is None:
            raise _RefusedError(Reason.NOT_ALLOWED, f'{name[:60]!r} is no skill of this robot')
        if self._settings.allow and name not in self._settings.allow:
            raise _RefusedError(Reason.NOT_ALLOWED, f'{name} is not on the allow list')
        return skill

    def _check_motion(self, skill: Skill, arguments: dict) -> None:
        distance_m = arguments.get('distance_m', 0.0)
        limit_m = self._settings.max_distance_m
        if skill.along and distance_m > limit_m:
            detail = f'{distance_m:g} m is too far; at most {limit_m:g} m are allowed'
            raise _RefusedError(Reason.SPEED_LIMIT, detail)
        sideways = skill.along and skill.along[arguments['direction']][1] != 0.0
        if sideways and not self._settings.holonomic:
            raise _RefusedError(Reason.BAD_ARGUMENT, 'this robot can not move sideways')

    def _check_rate(self, skill: Skill, now_s: float) -> None:
        settings = self._settings
        # A clock that was set back must not lock the robot up.
        while self._passed and not 0 <= now_s - self._passed[0][0] < settings.window_s:
            self._passed.popleft()
        of_skill = sum(name == skill.name for _, name in self._passed)
        if of_skill >= settings.max_of_one_skill or len(self._passed) >= settings.max_of_all:
            which = skill.name if of_skill >= settings.max_of_one_skill else 'actions'
            detail = f'too many {which} within {settings.window_s:g} s'
            raise _RefusedError(Reason.RATE_LIMIT, detail)

    def _check_confirmed(self, wish: Wish, skill: Skill, arguments: dict, now_s: float) -> None:
        settings = self._settings
        confidence = wish.confidence if math.isfinite(wish.confidence) else 0.0
        if skill.name not in settings.confirm and confidence >= settings.confirm_below:
            return
        key = (skill.name, json.dumps(arguments, sort_keys=True))
        before = self._pending.pop(key, None)
        if before is not None:
            intent_id, asked_s = before
            is_another = intent_id != wish.intent_id  # the same one twice is no confirmation
            if is_another and 0 <= now_s - asked_s <= settings.confirm_window_s:
                return
        while len(self._pending) >= _MOST_PENDING:
            self._pending.pop(next(iter(self._pending)))
        self._pending[key] = (wish.intent_id, now_s)
        detail = f'{skill.name} must be asked for again within {settings.confirm_window_s:g} s'
        raise _RefusedError(Reason.NEEDS_CONFIRMATION, detail)


class _RefusedError(Exception):
    """Ends the examination of an intent."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(detail)
        self.reason = reason
