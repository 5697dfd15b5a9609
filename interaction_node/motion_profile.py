# SPDX-License-Identifier: Apache-2.0
"""A motion of limited length as a sequence of velocities."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Velocity:
    """A velocity in the robot's own frame: m/s forward and to the left, rad/s counter-clockwise."""

    x_mps: float = 0.0
    y_mps: float = 0.0
    yaw_radps: float = 0.0

    @property
    def is_zero(self) -> bool:
        """Whether the robot stands still."""
        return not (self.x_mps or self.y_mps or self.yaw_radps)

    def limited(self, linear_mps: float, angular_radps: float) -> Velocity:
        """The same direction, no faster than the limits; zero where it is not finite."""
        if not all(map(math.isfinite, (self.x_mps, self.y_mps, self.yaw_radps))):
            return STILL
        linear = math.hypot(self.x_mps, self.y_mps)
        scale = min(1.0, linear_mps / linear) if linear > 0 else 1.0
        yaw = max(-angular_radps, min(angular_radps, self.yaw_radps))
        return Velocity(self.x_mps * scale, self.y_mps * scale, yaw)


STILL = Velocity()


class MotionProfile:
    """Moves at a constant speed until a distance or an angle is covered.

    It counts what it has really commanded and for how long, so that late ticks don't add up; the
    last piece is commanded more slowly.

    Args:
        direction: Velocity at speed one, e.g. `Velocity(x_mps=-1.0)` for backward.
        amount: How far, metres or radians, > 0.
        speed: How fast, m/s or rad/s, > 0.
        period_s: Time between two ticks, seconds.
    """

    def __init__(self, direction: Velocity, amount: float, speed: float, period_s: float):
        if not (amount > 0 and speed > 0 and period_s > 0):
            raise ValueError(
                f'amount, speed and period_s are {amount}, {speed}, {period_s}; expected > 0'
            )
        self._direction = direction
        self._left = amount
        self._period_s = period_s
        self._commanded = 0.0
        self._last_s: float | None = None
        self.speed = speed

    @property
    def is_rotation(self) -> bool:
        """Whether it turns on the spot."""
        return self._direction.yaw_radps != 0.0

    def tick(self, now_s: float) -> Velocity:
        """The velocity from now on until the next tick.

        Args:
            now_s: Any steady clock, seconds.

        Returns:
            The velocity; `STILL` once everything is covered.
        """
        if self._last_s is not None:
            self._left -= self._commanded * max(0.0, now_s - self._last_s)
        self._last_s = now_s
        # Less than a hundredth of a tick is noise of the clock.
        if self._left <= 0.01 * self.speed * self._period_s:
            self._commanded = 0.0
            return STILL
        self._commanded = min(self.speed, self._left / self._period_s)
        factor = self._commanded
        return Velocity(
            self._direction.x_mps * factor,
            self._direction.y_mps * factor,
            self._direction.yaw_radps * factor,
        )
