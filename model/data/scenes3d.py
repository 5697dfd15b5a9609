# SPDX-License-Identifier: Apache-2.0
"""Scenes that were rendered in 3-D before, for the sessions of a trainer.

`render3d.py` fills the cache: rooms with a person as layers, one a phase of a movement, and things
as small pictures with transparency. Here they are put together to what a `SceneScript` asks for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .scenes import HEIGHT, WIDTH, SceneRenderer, SceneScript

DEFAULT_ROOT = Path('.cache/scenes3d')
PHASES, IDLES, STEPS = 20, 3, 12
LAYERS = PHASES + IDLES + STEPS
_WALK_FRAMES = 82  # frames of 20 ms from out of sight to the middle
_SLIDE_FRAMES = 40


@dataclass(frozen=True)
class Layer:
    """The part of a picture that a person and its shadow change.

    Attributes:
        x: Left border.
        y: Upper border.
        pixels: (h, w, 3) uint8.
        mask: (h, w) bool, where the person or its shadow is.
    """

    x: int
    y: int
    pixels: np.ndarray
    mask: np.ndarray

    @classmethod
    def between(cls, room: np.ndarray, full: np.ndarray) -> Layer:
        """What differs between the room with the person and without."""
        differs = np.abs(full.astype(np.int16) - room).max(axis=-1) > 2
        rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
        if not len(rows):
            return cls(0, 0, full[:0, :0], differs[:0, :0])
        y, x = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return cls(x.start, y.start, full[y, x].copy(), differs[y, x].copy())

    def draw(self, picture: np.ndarray) -> None:
        """Draws it over a picture, in place."""
        height, width = self.mask.shape
        there = picture[self.y : self.y + height, self.x : self.x + width]
        np.copyto(there, self.pixels, where=self.mask[..., None])


@dataclass(frozen=True)
class RenderedLook:
    """A room with a person.

    Attributes:
        movement: What the person can do.
        style: The choices that make its look, for tests.
        room: (80, 120, 3) uint8 without the person.
        layers: The person at `PHASES` phases, standing in `IDLES` ways, and at `STEPS` steps of
            coming in.
    """

    movement: str
    style: str
    room: np.ndarray
    layers: tuple[Layer, ...]

    def save(self, path: Path) -> None:
        """Writes it; the file appears complete or not at all."""
        arrays = {'room': self.room, 'facts': np.array([self.movement, self.style])}
        arrays['corners'] = np.array([(layer.x, layer.y) for layer in self.layers], np.int16)
        for number, layer in enumerate(self.layers):
            arrays[f'pixels{number}'], arrays[f'mask{number}'] = layer.pixels, layer.mask
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> RenderedLook:
        """Reads it."""
        with np.load(path) as stored:
            layers = tuple(
                Layer(int(x), int(y), stored[f'pixels{i}'], stored[f'mask{i}'])
                for i, (x, y) in enumerate(stored['corners'])
            )
            movement, style = (str(fact) for fact in stored['facts'])
            return cls(movement, style, stored['room'], layers)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a compressed file that appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix('.tmp')
    with draft.open('wb') as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    draft.rename(path)


class Looks:
    """All rendered looks and things of a split.

    Args:
        looks: Rooms with people.
        things: (h, w, 4) uint8 RGBA pictures of things by name, e.g. 'red ball', and lights
            ('light off' before, 'light on' after it turns green), in pairs.
    """

    def __init__(self, looks: list[RenderedLook], things: dict[str, list[np.ndarray]]):
        self._by_movement: dict[str, list[RenderedLook]] = defaultdict(list)
        for look in looks:
            self._by_movement[look.movement].append(look)
        self._all, self._things = looks, things

    @classmethod
    def load(cls, root: Path, split: str) -> Looks | None:
        """Reads a split of the cache; None where it has no looks or no things."""
        looks = [RenderedLook.load(path) for path in sorted((root / split).glob('look-*.npz'))]
        things: dict[str, list[np.ndarray]] = defaultdict(list)
        for path in sorted((root / split).glob('things-*.npz')):
            with np.load(path) as stored:
                for name in stored.files:
                    things[name].append(stored[name])
        return cls(looks, dict(things)) if looks and things else None

    def __len__(self) -> int:
        return len(self._all)

    def can(self, script: SceneScript) -> bool:
        """Whether everything that a script shows was rendered."""
        names = {f'{thing.colour} {thing.shape}' for thing in script.things}
        known = names <= set(self._things)
        return known and (not script.movement or script.movement in self._by_movement)

    def pick(self, movement: str, rng: np.random.Generator) -> RenderedLook:
        """A look whose person can do a movement; '' for any."""
        choice = self._by_movement[movement] if movement else self._all
        return choice[rng.integers(len(choice))]

    def thing(self, name: str, variant: int) -> np.ndarray:
        """A picture of a thing."""
        choice = self._things[name]
        return choice[variant % len(choice)]


class RenderedScene(SceneRenderer):
    """Shows a script with layers of the cache, through another camera each time.

    Args:
        script: What happens; `looks.can(script)`.
        rng: Random numbers.
        looks: The cache.
    """

    def __init__(self, script: SceneScript, rng: np.random.Generator, looks: Looks):
        super().__init__(script, rng)
        self.look = looks.pick(script.movement, rng)
        self._background = self.look.room
        self._placed = [_Sprite(thing, rng, looks, i) for i, thing in enumerate(script.things)]
        variant = int(rng.integers(1 << 16))
        self._lamps = [looks.thing(name, variant) for name in ('light off', 'light on')]
        self._lamp_at = (rng.uniform(8, WIDTH - 8), rng.uniform(8, 34), rng.uniform(0.35, 0.8))
        self._tint = rng.uniform(0.88, 1.12, 3).astype(np.float32)
        self._view = _view(rng)

    def picture(self, frame: float) -> np.ndarray:
        """The picture at a time in frames of 20 ms."""
        picture = self._background.copy()
        if self.script.light_green >= 0:
            green = frame >= self.script.light_green
            paste(picture, self._lamps[int(green)], *self._lamp_at)
        for thing in self._placed:
            thing.draw(picture, frame)
        layer = self._layer(frame)
        if layer is not None:
            layer.draw(picture)
        size = (WIDTH, HEIGHT)
        picture = cv2.warpAffine(picture, self._view, size, borderMode=cv2.BORDER_REFLECT)
        return self._camera(picture * self._tint)

    def _layer(self, frame: float) -> Layer | None:
        """The person now."""
        script, layers = self.script, self.look.layers
        if not script.movement and script.enters < 0:
            return None
        to_go = script.enters - frame if script.enters >= 0 else 0.0
        if to_go > _WALK_FRAMES:
            return None
        if to_go > 0:
            return layers[PHASES + IDLES + int((1 - to_go / _WALK_FRAMES) * (STEPS - 1))]
        for bout in script.bouts:
            phase = bout.phase(frame)
            if phase is not None and script.movement:
                return layers[int(phase * PHASES)]
        return layers[PHASES + int(frame / 60) % IDLES]


class _Sprite:
    """A thing at its place; it slides or pops into view."""

    def __init__(self, thing, rng: np.random.Generator, looks: Looks, slot: int):
        self._thing = thing
        self._picture = looks.thing(f'{thing.colour} {thing.shape}', int(rng.integers(1 << 16)))
        self._x = rng.uniform(14, 44) if slot % 2 else rng.uniform(76, 106)
        self._y, self._scale = rng.uniform(25, 62), rng.uniform(0.38, 0.75)
        self._slides = rng.random() < 0.5
        self._edge = -24 if self._x < 60 else WIDTH + 24

    def draw(self, picture: np.ndarray, frame: float) -> None:
        to_go = self._thing.appears - frame
        if to_go > (_SLIDE_FRAMES if self._slides else 0):
            return
        x = self._x + (self._edge - self._x) * max(0.0, to_go) / _SLIDE_FRAMES
        paste(picture, self._picture, x, self._y, self._scale)


def paste(picture: np.ndarray, sprite: np.ndarray, x: float, y: float, scale: float) -> None:
    """Draws an RGBA picture centred at a place of another, in place; what is outside is cut off."""
    height, width = (max(2, round(n * scale)) for n in sprite.shape[:2])
    small = cv2.resize(sprite, (width, height), interpolation=cv2.INTER_AREA)
    left, top = round(x - width / 2), round(y - height / 2)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + width), min(picture.shape[0], top + height)
    if x0 >= x1 or y0 >= y1:
        return
    part = small[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
    alpha = part[..., 3:] / 255
    there = picture[y0:y1, x0:x1]
    there[:] = (there * (1 - alpha) + part[..., :3] * alpha).astype(np.uint8)


def _view(rng: np.random.Generator) -> np.ndarray:
    """(2, 3) affine map of a camera that is turned, moved and zoomed a little, or mirrored."""
    angle, zoom = rng.uniform(-4, 4), rng.uniform(0.97, 1.18)
    matrix = np.asarray(cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle, zoom), float)
    matrix[:, 2] += [rng.uniform(-4, 4), rng.uniform(-3, 3)]
    if rng.random() < 0.5:
        mirror = np.array([[-1, 0, WIDTH - 1], [0, 1, 0], [0, 0, 1]], float)
        matrix = matrix @ mirror
    return matrix
