# SPDX-License-Identifier: Apache-2.0
"""A room with a person in it as a MuJoCo model, and the person's poses.

Metres and radians; x to the camera's right, y away from it, z up. The person faces the camera.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

import numpy as np

MOVEMENTS = ('squats', 'jumping jacks', 'waves', 'bounces', 'nods')
# What makes a look, by choices; each combination belongs to one split.
_STYLES = {
    'wall': ('plain', 'gradient', 'tiles', 'panels', 'stripes'),
    'floor': ('plain', 'boards', 'tiles', 'carpet'),
    'furniture': ('empty', 'table', 'shelf', 'sofa', 'boxes', 'window'),
    'body': ('child', 'small', 'middle', 'tall', 'broad'),
    'hair': ('short', 'long', 'none', 'hat'),
    'clothes': ('long', 'sleeveless', 'shorts', 'coat'),
}
_BODIES = {  # height in m, thickness
    'child': ((1.05, 1.35), (0.85, 1.05)),
    'small': ((1.5, 1.62), (0.8, 1.1)),
    'middle': ((1.62, 1.76), (0.85, 1.2)),
    'tall': ((1.76, 1.98), (0.85, 1.15)),
    'broad': ((1.55, 1.85), (1.25, 1.55)),
}
_SKIN = ((0.92, 0.76, 0.65), (0.78, 0.59, 0.45), (0.55, 0.37, 0.26), (0.35, 0.24, 0.18))


@dataclass(frozen=True)
class Look:
    """How a scene looks; everything follows from it.

    Attributes:
        split: 'train', 'val' or 'test'.
        number: Which one of its split.
        style: Choices by name, as in `style_of`.
        movement: What the person does.
    """

    split: str
    number: int
    style: tuple[tuple[str, str], ...]
    movement: str

    @property
    def rng(self) -> Random:
        """Random numbers of this look, from the beginning."""
        return Random(f'look/{self.split}/{self.number}')


def split_of_style(style: tuple[tuple[str, str], ...]) -> str:
    """Deals combinations of choices out: 80 % train, 8 % val, 12 % test."""
    text = '/'.join(f'{name}={choice}' for name, choice in style)
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'big') / 2**32
    if share < 0.80:
        return 'train'
    return 'val' if share < 0.88 else 'test'


def look(split: str, number: int) -> Look:
    """The look of a number; no combination of choices is in two splits.

    Raises:
        ValueError: There is no such split.
    """
    if split not in ('train', 'val', 'test'):
        raise ValueError(f'split: {split!r}, expected train, val or test')
    rng = Random(f'style/{split}/{number}')
    while True:
        style = tuple((name, rng.choice(choices)) for name, choices in _STYLES.items())
        if split_of_style(style) == split:
            return Look(split, number, style, MOVEMENTS[number % len(MOVEMENTS)])


def _rgba(colour, alpha: float = 1.0) -> str:
    return ' '.join(f'{c:.3f}' for c in (*colour, alpha))


def _colour(rng: Random, low: float = 0.05, high: float = 0.95) -> tuple[float, ...]:
    """A random colour, more often dull than bright."""
    drawn = [rng.uniform(low, high) for _ in range(3)]
    grey, strength = sum(drawn) / 3, rng.uniform(0.1, 1.0)
    return tuple(grey + (c - grey) * strength for c in drawn)


def room_xml(scene: Look) -> str:
    """The MJCF of a look: room, lights, camera, person, ball.

    Geoms of the person are in group 1, its ball in group 2, the rest in group 0.
    """
    rng, style = scene.rng, dict(scene.style)
    height = rng.uniform(*_BODIES[style['body']][0])
    thick = rng.uniform(*_BODIES[style['body']][1])
    back = rng.uniform(0.9, 2.5)
    parts = [_walls(style, rng, back), _furniture(style['furniture'], rng, back)]
    parts += [
        _lights(rng),
        _camera(rng, height, scene.movement),
        _person(style, rng, height, thick),
    ]
    ambient = rng.uniform(0.15, 0.45)
    return f"""<mujoco>
  <compiler angle="radian" boundmass="0.01" boundinertia="0.001"/>
  <visual>
    <global offwidth="240" offheight="160"/>
    <quality offsamples="0" shadowsize="512"/>
    <headlight ambient="{ambient} {ambient} {ambient}" diffuse="0.2 0.2 0.2" specular="0 0 0"/>
    <map znear="0.05" zfar="60"/>
  </visual>
  <asset>{_materials(style, rng)}</asset>
  <worldbody>{''.join(parts)}</worldbody>
</mujoco>"""


def _materials(style: dict[str, str], rng: Random) -> str:
    """Textures of wall and floor; MuJoCo draws them itself."""
    found = []
    kinds = {'plain': 'flat', 'gradient': 'gradient', 'carpet': 'flat'}
    for name in ('wall', 'floor'):
        kind = kinds.get(style[name], 'checker')
        one = _colour(rng, 0.2, 0.9)
        other = tuple(min(1.0, max(0.0, c + rng.uniform(-0.25, 0.25))) for c in one)
        mark = 'mark="random" random="0.08"' if style[name] in ('carpet', 'plain') else ''
        across = rng.uniform(1, 7)
        along = 0.4 if style[name] in ('boards', 'stripes') else across
        repeat = f'{across:.1f} {along:.1f}' if kind == 'checker' else '1 1'
        found.append(
            f'<texture name="{name}" type="2d" builtin="{kind}" width="128" height="128" '
            f'rgb1="{_rgba(one)[:17]}" rgb2="{_rgba(other)[:17]}" markrgb="{_rgba(other)[:17]}" '
            f'{mark}/><material name="{name}" texture="{name}" texrepeat="{repeat}" '
            f'specular="{rng.uniform(0, 0.3):.2f}"/>'
        )
    return ''.join(found)


def _box(position, size, colour, kind: str = 'box') -> str:
    where, how = (' '.join(f'{v:.3f}' for v in values) for values in (position, size))
    return f'<geom type="{kind}" pos="{where}" size="{how}" rgba="{_rgba(colour)}"/>'


def _walls(style: dict[str, str], rng: Random, back: float) -> str:
    side = rng.choice([-1, 1]) * rng.uniform(1.8, 3.5)
    return (
        '<geom type="plane" size="8 8 0.1" material="floor"/>'
        f'<geom type="box" pos="0 {back + 0.1:.2f} 4" size="8 0.1 4" material="wall"/>'
        f'<geom type="box" pos="{side:.2f} 0 4" size="0.1 {back:.2f} 4" material="wall"/>'
    )


def _furniture(kind: str, rng: Random, back: float) -> str:
    parts = []
    x, wood = rng.choice([-1, 1]) * rng.uniform(0.7, 1.5), _colour(rng, 0.1, 0.7)
    if kind == 'table':
        parts.append(_box((x, back - 0.5, 0.72), (0.6, 0.35, 0.03), wood))
        for corner in (-0.5, 0.5):
            parts.append(_box((x + corner, back - 0.5, 0.35), (0.03, 0.3, 0.35), wood))
    elif kind == 'shelf':
        parts.append(_box((x, back - 0.15, 0.9), (0.5, 0.15, 0.9), wood))
        for i in range(rng.randint(3, 8)):
            at = (x + rng.uniform(-0.4, 0.4), back - 0.32, 0.2 + 0.25 * (i % 6))
            parts.append(_box(at, (0.05, 0.04, 0.1), _colour(rng)))
    elif kind == 'sofa':
        cloth = _colour(rng)
        parts.append(_box((x, back - 0.5, 0.22), (0.8, 0.4, 0.22), cloth))
        parts.append(_box((x, back - 0.2, 0.6), (0.8, 0.15, 0.35), cloth))
    elif kind == 'boxes':
        for _ in range(rng.randint(2, 6)):
            size = rng.uniform(0.1, 0.35)
            at = (rng.uniform(-2, 2), back - 0.4 - rng.uniform(0, 0.3), size)
            parts.append(_box(at, (size, size * rng.uniform(0.5, 1), size), _colour(rng)))
    elif kind == 'window':
        parts.append(_box((x, back - 0.01, 1.5), (0.55, 0.02, 0.65), (0.85, 0.93, 1.0)))
        parts.append(_box((x, back - 0.03, 1.5), (0.02, 0.02, 0.65), wood))
    for _ in range(rng.randint(0, 3)):
        at = (rng.uniform(-2.2, 2.2), back - 0.01, rng.uniform(1.2, 2.1))
        parts.append(_box(at, (rng.uniform(0.1, 0.35), 0.01, rng.uniform(0.1, 0.3)), _colour(rng)))
    return ''.join(parts)


def _lights(rng: Random) -> str:
    lights = []
    for number in range(rng.randint(1, 3)):
        level = rng.uniform(0.25, 0.75) / (number + 1)
        tint = [level * rng.uniform(0.85, 1.1) for _ in range(3)]
        at = (rng.uniform(-3, 3), rng.uniform(-4, 0.3), rng.uniform(2.2, 4))
        towards = (-at[0] * rng.uniform(0.3, 1), -at[1], 0.8 - at[2])
        shadow = 'true' if number == 0 and rng.random() < 0.7 else 'false'
        lights.append(
            f'<light pos="{at[0]:.2f} {at[1]:.2f} {at[2]:.2f}" castshadow="{shadow}" '
            f'dir="{towards[0]:.2f} {towards[1]:.2f} {towards[2]:.2f}" type="directional" '
            f'diffuse="{tint[0]:.2f} {tint[1]:.2f} {tint[2]:.2f}"/>'
        )
    return ''.join(lights)


def _camera(rng: Random, height: float, movement: str) -> str:
    """A robot's camera: from knee to head height, looking at the person from some way off."""
    field = rng.uniform(42, 68)
    # How much of the picture's height the person fills; who nods or waves may be close.
    most, aim_at = {'nods': (1.9, 0.78), 'waves': (1.25, 0.62)}.get(movement, (0.95, 0.5))
    share = rng.uniform(0.62, most)
    aim_at = 0.5 + (aim_at - 0.5) * min(1.0, max(0.0, share - 0.7) / 0.4)
    away = height / share / 2 / np.tan(np.radians(field) / 2)
    turn, up = rng.uniform(-0.5, 0.5), rng.uniform(0.35, 1.7)
    aim = np.array([rng.uniform(-0.25, 0.25), 0, height * (aim_at + rng.uniform(-0.05, 0.08))])
    at = np.array([away * np.sin(turn), -away * np.cos(turn), up])
    back = (at - aim) / np.linalg.norm(at - aim)
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right)
    above = np.cross(back, right)
    axes = ' '.join(f'{v:.4f}' for v in (*right, *above))
    where = ' '.join(f'{v:.3f}' for v in at)
    return f'<camera name="eye" pos="{where}" xyaxes="{axes}" fovy="{field:.1f}"/>'


def _limb(start, end, radius: float, colour, group: int = 1) -> str:
    span = ' '.join(f'{v:.3f}' for v in (*start, *end))
    return (
        f'<geom type="capsule" fromto="{span}" size="{radius:.3f}" rgba="{_rgba(colour)}" '
        f'group="{group}"/>'
    )


def _joint(name: str, axis: str, kind: str = 'hinge') -> str:
    return f'<joint name="{name}" type="{kind}" axis="{axis}"/>'


def _person(style: dict[str, str], rng: Random, tall: float, thick: float) -> str:
    skin = tuple(c * rng.uniform(0.9, 1.08) for c in rng.choice(_SKIN))
    skin = tuple(min(1.0, c) for c in skin)
    shirt, trousers, hair, shoes = (_colour(rng, 0.04, 0.92) for _ in range(4))
    arms = skin if style['clothes'] in ('sleeveless', 'shorts') and rng.random() < 0.7 else shirt
    shins = skin if style['clothes'] == 'shorts' else trousers
    leg, arm, body = 0.245 * tall, 0.17 * tall, 0.29 * tall
    wide = 0.055 * tall * thick
    limbs = []
    for side, name in ((-1, 'right'), (1, 'left')):
        hip = f'<body name="{name}_leg" pos="{side * wide:.3f} 0 0">'
        limbs.append(
            hip
            + _joint(f'{name}_spread', f'0 {side} 0')
            + _joint(f'{name}_hip', '1 0 0')
            + _limb((0, 0, 0), (0, 0, -leg), wide * 0.85, trousers)
            + f'<body pos="0 0 {-leg:.3f}">'
            + _joint(f'{name}_knee', '1 0 0')
            + _limb((0, 0, 0), (0, 0, -leg + 0.04), wide * 0.65, shins)
            + _limb((0, 0.02, -leg + 0.03), (0, -0.11 * tall, -leg + 0.03), wide * 0.55, shoes)
            + '</body></body>'
        )
        top = f'<body pos="{side * (wide * 1.9):.3f} 0 {body * 0.92:.3f}">'
        limbs.append(
            top
            + _joint(f'{name}_lift', f'0 {-side} 0')
            + _joint(f'{name}_reach', '1 0 0')
            + _limb((0, 0, 0), (0, 0, -arm), wide * 0.55, arms)
            + f'<body pos="0 0 {-arm:.3f}">'
            + _joint(f'{name}_elbow', f'0 {-side} 0')
            + _limb((0, 0, 0), (0, 0, -arm * 0.85), wide * 0.45, skin)
            + f'<geom type="sphere" pos="0 0 {-arm:.3f}" size="{wide * 0.6:.3f}" '
            + f'rgba="{_rgba(skin)}" group="1"/></body></body>'
        )
    torso = _limb((0, 0, 0.02), (0, 0, body * 0.85), wide * 1.5, shirt)
    torso += _limb((-wide, 0, body * 0.88), (wide, 0, body * 0.88), wide * 0.8, shirt)
    if style['clothes'] == 'coat':
        torso += _limb((0, 0, -leg * 0.5), (0, 0, body * 0.4), wide * 1.6, shirt)
    ball = _colour(rng)
    ball_at = f'{rng.choice([-1, 1]) * 0.26 * tall:.3f} {-0.12 * tall:.3f} 0'
    return (
        f'<body name="person" pos="0 0 {2 * leg:.3f}">'
        + _joint('aside', '1 0 0', 'slide')
        + _joint('up', '0 0 1', 'slide')
        + _joint('face', '0 0 1')
        + torso
        + ''.join(limbs)
        + _head(style['hair'], rng, tall, body, skin, hair)
        + '</body>'
        + f'<body name="ball" pos="{ball_at}">'
        + _joint('ball_aside', '1 0 0', 'slide')
        + _joint('ball_up', '0 0 1', 'slide')
        + f'<geom type="sphere" size="{0.075 * tall:.3f}" rgba="{_rgba(ball)}" group="2"/></body>'
    )


def _head(kind: str, rng: Random, tall: float, body: float, skin, hair) -> str:
    size = 0.066 * tall
    parts = _limb((0, 0, -size), (0, 0, 0), size * 0.5, skin)
    parts += f'<geom type="ellipsoid" pos="0 0 {size:.3f}" size="{size * 0.85:.3f} {size:.3f} '
    parts += f'{size * 1.2:.3f}" rgba="{_rgba(skin)}" group="1"/>'
    for side in (-1, 1):
        at = f'{side * size * 0.35:.3f} {-size * 0.9:.3f} {size * 1.25:.3f}'
        parts += f'<geom type="sphere" pos="{at}" size="{size * 0.14:.3f}" '
        parts += 'rgba="0.08 0.06 0.06 1" group="1"/>'
    mouth = f'<geom type="box" pos="0 {-size * 0.88:.3f} {size * 0.6:.3f}" size="{size * 0.3:.3f} '
    parts += mouth + f'{size * 0.1:.3f} {size * 0.07:.3f}" rgba="0.55 0.2 0.2 1" group="1"/>'
    top = f'pos="0 {size * 0.25:.3f} {size * 1.55:.3f}" size="{size * 0.92:.3f} {size * 0.95:.3f} '
    if kind != 'none':
        parts += f'<geom type="ellipsoid" {top}{size * 0.85:.3f}" rgba="{_rgba(hair)}" group="1"/>'
    if kind == 'long':
        parts += _limb((0, size * 0.6, size * 1.4), (0, size * 0.6, -size), size * 0.55, hair)
    if kind == 'hat':
        parts += f'<geom type="cylinder" pos="0 0 {size * 2:.3f}" size="{size * 1.35:.3f} 0.012" '
        parts += f'rgba="{_rgba(hair)}" group="1"/>'
    return f'<body pos="0 0 {body + size:.3f}">{_joint("nod", "1 0 0")}{parts}</body>'


def pose(movement: str, phase: float | None, leg: float, rng: Random) -> dict[str, float]:
    """Joint positions at a phase of a movement; the phases are those of the drawn person.

    Args:
        movement: One of `MOVEMENTS`.
        phase: 0 to 1; None stands still.
        leg: Length of thigh and of shin, metres.
        rng: Decides how deep, how wide and with which arm; the same for all poses of a person.

    Returns:
        Positions by joint; those that are not named are 0.
    """
    deep, wide, side = rng.uniform(0.65, 1.0), rng.uniform(0.8, 1.1), rng.choice(['left', 'right'])
    angle = 0.0 if phase is None else phase
    swing = 0.0 if phase is None else 0.5 - 0.5 * np.cos(2 * np.pi * phase)
    joints = {'left_lift': 0.12, 'right_lift': 0.12}
    if movement == 'squats':
        bend = 1.15 * deep * swing
        joints |= {f'{s}_hip': -bend for s in ('left', 'right')}
        joints |= {f'{s}_knee': 2 * bend for s in ('left', 'right')}
        joints |= {f'{s}_reach': -1.3 * swing for s in ('left', 'right')}
        joints['up'] = -2 * leg * (1 - np.cos(bend))
    elif movement == 'jumping jacks':
        joints |= {f'{s}_lift': 0.12 + 2.55 * wide * swing for s in ('left', 'right')}
        joints |= {f'{s}_spread': -0.42 * wide * swing for s in ('left', 'right')}
        hop = 0.06 * np.sin(2 * np.pi * angle) ** 2
        joints['up'] = hop - 2 * leg * (1 - np.cos(0.42 * wide * swing))
    elif movement == 'waves' and phase is not None:
        joints[f'{side}_lift'] = 2.2 * wide
        joints[f'{side}_elbow'] = 0.35 + 0.8 * np.sin(2 * np.pi * angle)
    elif movement == 'bounces':
        joints['ball_up'] = 0.3 * leg + (abs(np.sin(np.pi * angle)) if phase is not None else 0) * (
            2.2 * leg * deep
        )
        joints[f'{side}_reach'] = -0.5 - 0.35 * swing
    elif movement == 'nods':
        joints['nod'] = 0.62 * deep * swing
    return joints
