# SPDX-License-Identifier: Apache-2.0
"""Procedural video: people who move, things that appear, lights that change, drawn small.

Legend: N micro-turns; pictures are 80 x 120 pixels, one for the end of every micro-turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

HEIGHT, WIDTH = 80, 120
_FRAME_S = 0.02
_SHIFT = 3  # cv2 draws with 1/8 pixel


@dataclass(frozen=True)
class Bout:
    """A movement that is repeated.

    Attributes:
        start: Frame of 20 ms at which the first repetition begins.
        period: Frames of one repetition.
        count: Repetitions.
    """

    start: int
    period: int
    count: int

    @property
    def end(self) -> int:
        """Frame at which the last repetition is complete."""
        return self.start + self.period * self.count

    def phase(self, frame: float) -> float | None:
        """Phase in [0, 1) of the repetition at a frame, None outside the bout."""
        if not self.start <= frame < self.end:
            return None
        return (frame - self.start) % self.period / self.period


@dataclass(frozen=True)
class Thing:
    """An object that appears.

    Attributes:
        colour: Name of its colour.
        shape: 'ball', 'box', 'cone' or 'bottle'.
        appears: Frame from which it is wholly visible.
    """

    colour: str
    shape: str
    appears: int


@dataclass
class SceneScript:
    """What happens before the camera.

    Attributes:
        movement: What the person does in the bouts; '' for nobody.
        bouts: When.
        things: Objects that appear.
        enters: Frame at which somebody has come in; -1 for never.
        light_green: Frame at which a light turns green; -1 for no light.
    """

    movement: str = ''
    bouts: list[Bout] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    enters: int = -1
    light_green: int = -1


_COLOURS = {
    # hue range (OpenCV degrees / 2), saturation range, value range
    'red': ((-6, 6), (190, 255), (130, 255)),
    'orange': ((10, 17), (200, 255), (180, 255)),
    'yellow': ((24, 32), (180, 255), (180, 255)),
    'green': ((45, 75), (140, 255), (90, 230)),
    'blue': ((98, 122), (160, 255), (100, 255)),
    'black': ((0, 179), (0, 60), (0, 35)),
    'white': ((0, 179), (0, 18), (225, 255)),
}


def paint(name: str, rng: np.random.Generator) -> tuple[int, int, int]:
    """A random RGB colour that people call by this name."""
    (h0, h1), (s0, s1), (v0, v1) = _COLOURS[name]
    hue = int(rng.uniform(h0, h1)) % 180
    hsv = (hue, rng.integers(s0, s1 + 1), rng.integers(v0, v1 + 1))
    pixel = cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    red, green, blue = (int(c) for c in pixel)
    return red, green, blue


# A picture's noise begins anywhere in here: drawing it anew costs more than all the rest.
_NOISE = np.random.default_rng(0).standard_normal(1 << 19, dtype=np.float32)


class SceneRenderer:
    """Draws one scene; everything about its look is drawn at random once.

    Args:
        script: What happens.
        rng: Random numbers.

    Attributes:
        noise: Standard deviation of the sensor's noise, grey levels.
    """

    def __init__(self, script: SceneScript, rng: np.random.Generator):
        self.script, self._rng = script, rng
        self._background = _background(rng)
        self._person = _Look(rng)
        self._sway = rng.uniform(0, 1.5)
        self.noise = rng.uniform(0, 9)
        self._gain = rng.uniform(0.6, 1.25)
        self._flicker = rng.uniform(0, 0.03)
        self._things = [_Placed(thing, rng, i) for i, thing in enumerate(script.things)]
        self._light = (rng.uniform(12, 108), rng.uniform(10, 35), rng.uniform(3, 7))
        self._green, self._red = paint('green', rng), paint('red', rng)
        self._side = rng.choice([-1, 1])

    def render(self, turns: int) -> np.ndarray:
        """(turns, 80, 120, 3) uint8 RGB, one picture for the end of each micro-turn."""
        return np.stack([self.picture((n + 1) * 10 - 1) for n in range(turns)])

    def picture(self, frame: float) -> np.ndarray:
        """The picture at a time in frames of 20 ms."""
        picture = self._background.copy()
        if self.script.light_green >= 0:
            self._draw_light(picture, frame)
        for thing in self._things:
            thing.draw(picture, frame)
        if self.script.movement or self.script.enters >= 0:
            self._draw_person(picture, frame)
        return self._camera(picture)

    def _draw_light(self, picture: np.ndarray, frame: float) -> None:
        x, y, radius = self._light
        green = frame >= self.script.light_green
        _circle(picture, x, y, radius + 2, (30, 30, 30))
        _circle(picture, x, y, radius, self._green if green else self._red)

    def _draw_person(self, picture: np.ndarray, frame: float) -> None:
        shift = 0.0
        if self.script.enters >= 0:
            shift = self._side * max(0.0, (self.script.enters - frame) * 1.1)
            if abs(shift) > 90:
                return
        phase = None
        for bout in self.script.bouts:
            phase = bout.phase(frame) if phase is None else phase
        idle = self._sway * np.sin(frame * _FRAME_S * 1.3)
        self._person.draw(picture, self.script.movement, phase, shift + idle)

    def _camera(self, picture: np.ndarray) -> np.ndarray:
        rng = self._rng
        gain = self._gain * (1 + self._flicker * rng.standard_normal())
        start = int(rng.integers(len(_NOISE) - picture.size))
        noise = _NOISE[start : start + picture.size].reshape(picture.shape)
        noisy = picture * np.float32(gain)
        noisy += noise * np.float32(self.noise)
        return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


class _Placed:
    """An object at its place; it slides or pops into view."""

    def __init__(self, thing: Thing, rng: np.random.Generator, slot: int):
        self.thing = thing
        self.colour = paint(thing.colour, rng)
        self.x = rng.uniform(14, 44) if slot % 2 else rng.uniform(76, 106)
        self.y, self.size = rng.uniform(25, 62), rng.uniform(6, 13)
        self.slides = rng.random() < 0.5
        self.edge = -20 if self.x < 60 else WIDTH + 20
        self.outline = tuple(int(c * 0.55) for c in self.colour)

    def draw(self, picture: np.ndarray, frame: float) -> None:
        to_go = self.thing.appears - frame
        if to_go > (40 if self.slides else 0):
            return
        x = self.x + (self.edge - self.x) * max(0.0, to_go) / 40
        draw_shape(picture, self.thing.shape, x, self.y, self.size, self.colour, self.outline)


def draw_shape(picture, shape: str, x: float, y: float, size: float, colour, outline) -> None:
    """Draws a ball, box, cone or bottle."""
    if shape == 'ball':
        _circle(picture, x, y, size, colour)
        _circle(picture, x - size * 0.3, y - size * 0.35, size * 0.2, _lighter(colour))
    elif shape == 'box':
        _polygon(
            picture,
            [
                (x - size, y - size * 0.8),
                (x + size, y - size * 0.8),
                (x + size, y + size * 0.8),
                (x - size, y + size * 0.8),
            ],
            colour,
        )
        _line(picture, x - size, y - size * 0.3, x + size, y - size * 0.3, 1, outline)
    elif shape == 'cone':
        _polygon(picture, [(x, y - size * 1.3), (x + size, y + size), (x - size, y + size)], colour)
        _line(picture, x - size, y + size, x + size, y + size, 2, outline)
    else:
        _polygon(
            picture,
            [
                (x - size * 0.5, y - size * 0.3),
                (x + size * 0.5, y - size * 0.3),
                (x + size * 0.5, y + size * 1.2),
                (x - size * 0.5, y + size * 1.2),
            ],
            colour,
        )
        _line(picture, x, y - size * 0.3, x, y - size * 1.2, max(2, size * 0.4), colour)
        _line(picture, x - size * 0.5, y + size * 0.3, x + size * 0.5, y + size * 0.3, 1, outline)


class _Look:
    """Body, clothes and place of a person."""

    def __init__(self, rng: np.random.Generator):
        skin = rng.choice([(235, 195, 165), (200, 150, 115), (140, 95, 65), (90, 60, 45)])
        self.skin = tuple(int(c) for c in skin)
        self.shirt, self.trousers, self.hair = (_any_colour(rng) for _ in range(3))
        self.tall = rng.uniform(48, 74)
        self.x = rng.uniform(45, 75)
        self.foot = rng.uniform(74, 84)
        self.thick = rng.uniform(0.85, 1.3)
        self.arm = rng.choice([-1, 1])
        self.depth = rng.uniform(0.7, 1.0)
        self.ball = _any_colour(rng)

    def draw(self, picture: np.ndarray, movement: str, phase: float | None, shift: float) -> None:
        """Draws the person at a phase of a movement; None stands still."""
        swing = 0.0 if phase is None else 0.5 - 0.5 * np.cos(2 * np.pi * phase)
        x, unit = self.x + shift, self.tall
        squat = swing * self.depth if movement == 'squats' else 0.0
        jack = swing * self.depth if movement == 'jumping jacks' else 0.0
        hip_y = self.foot - unit * 0.48 + squat * unit * 0.24
        shoulder_y = hip_y - unit * 0.32
        self._legs(picture, x, hip_y, squat, jack)
        _line(picture, x, hip_y, x, shoulder_y, unit * 0.2 * self.thick, self.shirt)
        self._arms(picture, x, shoulder_y, movement, phase, swing, squat, jack)
        nod = swing * unit * 0.05 if movement == 'nods' else 0.0
        head = shoulder_y - unit * 0.13 + nod
        _circle(picture, x, head, unit * 0.095, self.skin)
        _circle(picture, x, head - unit * 0.045 + nod * 0.6, unit * 0.075, self.hair)
        if movement == 'nods':
            _line(
                picture, x - unit * 0.03, head + nod, x + unit * 0.03, head + nod, 1, (60, 30, 30)
            )
        if movement == 'bounces':
            high = abs(np.sin(np.pi * (phase or 0.0))) if phase is not None else 0.0
            ball_y = self.foot - 4 - high * unit * 0.45
            _circle(picture, x + self.arm * unit * 0.42, ball_y, unit * 0.08, self.ball)

    def _legs(self, picture, x, hip_y, squat, jack) -> None:
        unit = self.tall
        for side in (-1, 1):
            foot_x = x + side * unit * (0.09 + 0.16 * jack)
            knee_x = x + side * unit * (0.08 + 0.16 * squat + 0.09 * jack)
            knee_y = (hip_y + self.foot) / 2
            width = unit * 0.095 * self.thick
            _line(picture, x + side * unit * 0.05, hip_y, knee_x, knee_y, width, self.trousers)
            _line(picture, knee_x, knee_y, foot_x, self.foot, width, self.trousers)

    def _arms(self, picture, x, shoulder_y, movement, phase, swing, squat, jack) -> None:
        unit = self.tall
        for side in (-1, 1):
            angle = 0.25 + 1.2 * squat + 2.6 * jack
            fold = 0.0
            if movement == 'waves' and side == self.arm and phase is not None:
                angle, fold = 2.3, 0.7 * np.sin(2 * np.pi * phase)
            if movement == 'bounces' and side == self.arm:
                angle = 0.6 + 0.3 * swing
            width = unit * 0.07 * self.thick
            top_x = x + side * unit * 0.1
            elbow = (
                top_x + side * np.sin(angle) * unit * 0.17,
                shoulder_y + np.cos(angle) * unit * 0.17,
            )
            hand = (
                elbow[0] + side * np.sin(angle + fold) * unit * 0.17,
                elbow[1] + np.cos(angle + fold) * unit * 0.17,
            )
            _line(picture, top_x, shoulder_y + unit * 0.02, *elbow, width, self.shirt)
            _line(picture, *elbow, *hand, width * 0.85, self.skin)


def _background(rng: np.random.Generator) -> np.ndarray:
    """A wall, a floor, some furniture, all blurred a little."""
    corners = rng.integers(40, 230, (2, 2, 3)).astype(np.float32)
    wall = cv2.resize(corners, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    picture = wall.astype(np.uint8)
    horizon = int(rng.uniform(48, 70))
    picture[horizon:] = rng.integers(30, 200, 3)
    for _ in range(rng.integers(0, 7)):
        x, y = rng.integers(-10, WIDTH), rng.integers(-10, HEIGHT)
        w, h = rng.integers(5, 40), rng.integers(5, 40)
        colour = tuple(int(c) for c in rng.integers(20, 220, 3))
        cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), colour, -1)
    coarse = rng.normal(0, rng.uniform(0, 12), (HEIGHT // 2, WIDTH // 2, 1)).astype(np.float32)
    grain = cv2.resize(coarse, (WIDTH, HEIGHT))[:, :, None]
    picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(picture, (3, 3), float(rng.uniform(0.3, 1.2)))


def _any_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(c) for c in rng.integers(15, 235, 3))
    return red, green, blue


def _lighter(colour) -> tuple[int, int, int]:
    red, green, blue = (min(255, int(c * 0.6 + 110)) for c in colour)
    return red, green, blue


def _fixed(*values: float) -> tuple[int, ...]:
    return tuple(round(value * (1 << _SHIFT)) for value in values)


def _circle(picture, x, y, radius, colour) -> None:
    cv2.circle(picture, _fixed(x, y), _fixed(max(radius, 0.5))[0], colour, -1, cv2.LINE_AA, _SHIFT)


def _line(picture, x0, y0, x1, y1, width, colour) -> None:
    thickness = max(1, round(width))
    cv2.line(picture, _fixed(x0, y0), _fixed(x1, y1), colour, thickness, cv2.LINE_AA, _SHIFT)


def _polygon(picture, points, colour) -> None:
    corners = np.array([_fixed(*point) for point in points], np.int32)
    cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA, _SHIFT)
