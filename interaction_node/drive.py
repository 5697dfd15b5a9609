# SPDX-License-Identifier: Apache-2.0
"""Which velocity the robot gets now: a motion of its own, somebody else's velocity, or none."""

from __future__ import annotations

from dataclasses import dataclass

from interaction_node.motion_profile import STILL, MotionProfile, Velocity
from interaction_node.skill_catalogue import Skill


@dataclass(frozen=True)
class DriveSettings:
    """Speeds and times.

    Attributes:
        max_linear_mps: Fastest along any direction.
        max_angular_radps: Fastest rotation.
        linear_mps: Speed of straight moves at the start.
        angular_radps: Speed of turns at the start.
        period_s: Time between two ticks.
        input_timeout_s: Somebody else's velocity counts for so long.
        still_ticks: How often zero is repeated after a stop.
    """

    max_linear_mps: float = 0.5
    max_angular_radps: float = 1.0
    linear_mps: float = 0.25
    angular_radps: float = 0.6
    period_s: float = 0.05
    input_timeout_s: float = 0.5
    still_ticks: int = 10

    def __post_init__(self):
        for name in ('linear', 'angular'):
            unit = 'mps' if name == 'linear' else 'radps'
            speed, limit = getattr(self, f'{name}_{unit}'), getattr(self, f'max_{name}_{unit}')
            if not 0 < speed <= limit:
                raise ValueError(
                    f'{name}_{unit} is {speed:g}; expected above 0 and at most {limit:g}'
                )


class Drive:
    """Chooses the velocity. Not thread-safe.

    Args:
        settings: Speeds and times.
    """

    def __init__(self, settings: DriveSettings):
        self._settings = settings
        self._scale = 1.0
        self._motion: MotionProfile | None = None
        self._motion_id = ''
        self._input_s: float | None = None
        self._still_left = 0
        self.blocks_input = False
        self.is_latched = False

    @property
    def is_moving(self) -> bool:
        """Whether a motion of our own is under way."""
        return self._motion is not None

    @property
    def speeds(self) -> tuple[float, float]:
        """Present speed of straight moves, m/s, and of turns, rad/s."""
        settings = self._settings
        linear_mps = min(settings.max_linear_mps, settings.linear_mps * self._scale)
        return linear_mps, min(settings.max_angular_radps, settings.angular_radps * self._scale)

    def start(self, skill: Skill, arguments: dict, intent_id: str, now_s: float) -> Velocity:
        """Begins a motion instead of whatever drives the robot now; returns its velocity."""
        direction = arguments['direction']
        linear_mps, angular_radps = self.speeds
        period_s = self._settings.period_s
        if skill.angle_rad:
            angle_rad = skill.angle_rad[direction]
            turn = Velocity(yaw_radps=1.0 if angle_rad > 0 else -1.0)
            self._motion = MotionProfile(turn, abs(angle_rad), angular_radps, period_s)
        else:
            ahead = Velocity(*skill.along[direction])
            distance_m = float(arguments.get('distance_m', 1.0))
            self._motion = MotionProfile(ahead, distance_m, linear_mps, period_s)
        self._motion_id = intent_id
        self._still_left = 0
        self._input_s = None
        self.blocks_input = True
        return self._motion.tick(now_s)

    def hand_over(self) -> Velocity | None:
        """Lets somebody else drive; returns what ends a motion of our own."""
        was_moving = self.is_moving
        self._motion = None
        self._still_left = 0
        self.blocks_input = False
        return STILL if was_moving else None

    def stop(self) -> Velocity:
        """Ends every motion, and blocks others until `hand_over`."""
        self._motion = None
        self._input_s = None
        self._still_left = self._settings.still_ticks
        self.blocks_input = True
        return STILL

    def cancel(self, intent_id: str) -> Velocity | None:
        """Ends the motion of this intent, if it is under way."""
        if self._motion is None or self._motion_id != intent_id:
            return None
        still = self.stop()
        self.blocks_input = False
        return still

    def change_speed(self, factor: float) -> bool:
        """Makes motions faster or slower from now on; False where the limit is reached already."""
        before = self.speeds
        settings = self._settings
        most = max(
            settings.max_linear_mps / settings.linear_mps,
            settings.max_angular_radps / settings.angular_radps,
        )
        self._scale = max(0.2, min(most, self._scale * factor))
        if self._motion is not None:
            self._motion.speed = self.speeds[1 if self._motion.is_rotation else 0]
        return self.speeds != before

    def take_input(self, velocity: Velocity, now_s: float) -> Velocity | None:
        """Takes somebody else's velocity; returns what of it the robot gets, None for nothing."""
        if self.is_latched or self.blocks_input:
            return None
        self._input_s = now_s
        self._still_left = 0
        settings = self._settings
        return velocity.limited(settings.max_linear_mps, settings.max_angular_radps)

    def tick(self, now_s: float) -> Velocity | None:
        """What is to be sent now, every `period_s`; None for nothing."""
        if self.is_latched:
            return STILL
        if self._motion is not None:
            velocity = self._motion.tick(now_s)
            if velocity.is_zero:
                self._motion = None
                self.blocks_input = False
            return velocity
        if self._still_left > 0:
            self._still_left -= 1
            return STILL
        if self._input_s is not None and now_s - self._input_s > self._settings.input_timeout_s:
            self._input_s = None
            return STILL
        return None
