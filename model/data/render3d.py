# SPDX-License-Identifier: Apache-2.0
"""Renders rooms with people, and things, with MuJoCo, without a display.

`.venv-data/bin/python -m model.data.render3d --looks 250` goes on where it ended. MUJOCO_GL chooses
how: `egl` (default; a GPU, or Mesa's software where there is none) or `osmesa`.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import cv2
import numpy as np
from tqdm import tqdm

from .figure3d import Look, look, pose, room_xml
from .scenes import HEIGHT, WIDTH, paint
from .scenes3d import DEFAULT_ROOT, IDLES, PHASES, STEPS, Layer, RenderedLook, save_arrays

COLOURS = ('red', 'green', 'blue', 'yellow', 'orange', 'black', 'white')
SHAPES = ('ball', 'box', 'cone', 'bottle')
SHARES = {'train': 1.0, 'val': 0.12, 'test': 0.2}
_SPRITE = 48
_THINGS_SHARE = 0.05  # sets of things for every look


class Stage:
    """A MuJoCo model that can be posed and photographed.

    Args:
        xml: MJCF with a camera 'eye'.
        height: Rows of a photograph; it is rendered at twice the size.
        width: Columns.
    """

    def __init__(self, xml: str, height: int = HEIGHT, width: int = WIDTH):
        os.environ.setdefault('MUJOCO_GL', 'egl')
        import mujoco

        self._mujoco = mujoco
        self.model = mujoco.MjModel.from_xml_string(xml)
        self._data = mujoco.MjData(self.model)
        self._renderer = mujoco.Renderer(self.model, 2 * height, 2 * width)
        self._size = (width, height)

    def close(self) -> None:
        """Frees the graphics memory."""
        self._renderer.close()

    def photograph(
        self, joints: dict[str, float] | None = None, groups: tuple[int, ...] = (0, 1, 2)
    ) -> np.ndarray:
        """(height, width, 3) uint8 RGB.

        Args:
            joints: Positions of joints; 0 for those not named.
            groups: Geoms that are seen.
        """
        return cv2.resize(self._shoot(joints, groups), self._size, interpolation=cv2.INTER_AREA)

    def outline(self) -> np.ndarray:
        """(height, width) uint8, 255 where something is."""
        self._renderer.enable_segmentation_rendering()
        seen = (self._shoot(None, (0, 1, 2))[..., 0] >= 0).astype(np.uint8) * 255
        self._renderer.disable_segmentation_rendering()
        return cv2.resize(seen, self._size, interpolation=cv2.INTER_AREA)

    def _shoot(self, joints, groups) -> np.ndarray:
        self._data.qpos[:] = 0
        for name, value in (joints or {}).items():
            self._data.qpos[self.model.joint(name).qposadr[0]] = value
        self._mujoco.mj_forward(self.model, self._data)
        option = self._mujoco.MjvOption()
        option.geomgroup[:] = [number in groups for number in range(len(option.geomgroup))]
        self._renderer.update_scene(self._data, 'eye', option)
        return self._renderer.render()


def render_look(scene: Look) -> RenderedLook:
    """All layers of a look."""
    stage = Stage(room_xml(scene))
    groups = (0, 1, 2) if scene.movement == 'bounces' else (0, 1)
    leg = float(stage.model.body('person').pos[2]) / 2
    room = stage.photograph(groups=(0,))
    layers = tuple(
        Layer.between(room, stage.photograph(joints, groups)) for joints in _poses(scene, leg)
    )
    stage.close()
    return RenderedLook(scene.movement, str(dict(scene.style)), room, layers)


def _poses(scene: Look, leg: float) -> Iterator[dict[str, float]]:
    def at(phase: float | None) -> dict[str, float]:
        joints = pose(scene.movement, phase, leg, Random(f'pose/{scene.split}/{scene.number}'))
        return joints | {'face': facing}

    rng = scene.rng
    facing = rng.uniform(-0.45, 0.45)
    side = rng.choice([-1, 1])
    for number in range(PHASES):
        # The middle of the part of the repetition that the layer stands for.
        yield at((number + 0.5) / PHASES)
    for number in range(IDLES):
        joints = at(None)
        joints['aside'] = 0.012 * (number - 1)
        joints['left_lift'] = joints['right_lift'] = 0.12 + 0.03 * number
        yield joints
    for number in range(STEPS):
        left = 1 - number / (STEPS - 1)
        stride = 0.55 * np.sin(number * 1.7) * min(1.0, 3 * left)
        joints = at(None) | {'aside': side * 2.6 * left, 'ball_aside': side * 2.6 * left}
        joints['face'] = facing * (1 - left) + side * -1.2 * min(1.0, 2 * left)
        joints |= {'left_hip': stride, 'right_hip': -stride}
        joints |= {'left_reach': -stride, 'right_reach': stride}
        yield joints


def render_things(split: str, number: int) -> dict[str, np.ndarray]:
    """One picture of every thing, in one light, and a signal lamp; (48, 48, 4) uint8 RGBA."""
    rng = np.random.default_rng([('train', 'val', 'test').index(split), number, 77])
    view = _view_xml(rng)
    found = {}
    for colour, shape in itertools.product(COLOURS, SHAPES):
        rgb = [c / 255 for c in paint(colour, rng)]
        found[f'{colour} {shape}'] = _sprite(view, _shape_xml(shape, rgb, rng))
    for name, colour in (('light off', 'red'), ('light on', 'green')):
        found[name] = _sprite(view, _lamp_xml([c / 255 for c in paint(colour, rng)]))
    return found


def _sprite(view: str, thing: str) -> np.ndarray:
    stage = Stage(f'<mujoco>{view}<worldbody>{thing}</worldbody></mujoco>', _SPRITE, _SPRITE)
    picture = np.dstack([stage.photograph(), stage.outline()])
    stage.close()
    return picture


def _view_xml(rng: np.random.Generator) -> str:
    cone = ' '.join(
        f'{0.8 * np.cos(a):.3f} {0.8 * np.sin(a):.3f} -0.8'
        for a in np.linspace(0, 2 * np.pi, 20, endpoint=False)
    )
    at, level = rng.uniform(-3, 3, 2), rng.uniform(0.5, 0.9)
    up = rng.uniform(0.1, 0.55)
    ambient = rng.uniform(0.4, 0.6)
    return f"""<visual>
    <global offwidth="{2 * _SPRITE}" offheight="{2 * _SPRITE}"/><quality offsamples="0"/>
    <headlight ambient="{ambient} {ambient} {ambient}" diffuse="0.3 0.3 0.3"/>
  </visual>
  <asset><material name="shining" emission="0.9"/><mesh name="cone" vertex="{cone} 0 0 1"/></asset>
  <worldbody>
    <light pos="{at[0]:.2f} {at[1]:.2f} 3" dir="{-at[0]:.2f} {-at[1]:.2f} -3" castshadow="false"
      diffuse="{level:.2f} {level:.2f} {level:.2f}" type="directional"/>
    <camera name="eye" pos="0 -4 {4 * up:.2f}" xyaxes="1 0 0 0 {up:.2f} 1" fovy="33"/>
  </worldbody>"""


def _shape_xml(shape: str, rgb: list[float], rng: np.random.Generator) -> str:
    rgba = f'{rgb[0]:.3f} {rgb[1]:.3f} {rgb[2]:.3f} 1'
    turn = rng.uniform(0, 360)
    start = f'<body euler="0 0 {turn:.0f}">'
    if shape == 'ball':
        return f'{start}<geom type="sphere" size="0.85" rgba="{rgba}"/></body>'
    if shape == 'box':
        sizes = ' '.join(f'{s:.2f}' for s in rng.uniform(0.5, 0.8, 3))
        return f'{start}<geom type="box" size="{sizes}" rgba="{rgba}"/></body>'
    if shape == 'cone':
        return f'{start}<geom type="mesh" mesh="cone" rgba="{rgba}"/></body>'
    wide = rng.uniform(0.28, 0.4)
    return (
        f'{start}<geom type="capsule" fromto="0 0 -0.75 0 0 0.1" size="{wide:.2f}" rgba="{rgba}"/>'
        f'<geom type="cylinder" fromto="0 0 0.2 0 0 0.95" size="{wide * 0.4:.2f}" rgba="{rgba}"/>'
        f'<geom type="cylinder" fromto="0 0 0.9 0 0 1.02" size="{wide * 0.5:.2f}" '
        f'rgba="{rgb[0] * 0.6:.3f} {rgb[1] * 0.6:.3f} {rgb[2] * 0.6:.3f} 1"/></body>'
    )


def _lamp_xml(rgb: list[float]) -> str:
    shining = ' '.join(f'{min(1.0, c * 1.3):.3f}' for c in rgb)
    return (
        '<geom type="box" size="0.75 0.3 0.75" rgba="0.08 0.08 0.08 1"/>'
        f'<geom type="ellipsoid" pos="0 -0.3 0" size="0.6 0.12 0.6" material="shining" '
        f'rgba="{shining} 1"/>'
    )


def fill(root: Path, looks: int, splits: tuple[str, ...] = tuple(SHARES)) -> None:
    """Renders what is missing.

    Args:
        root: Folder of the cache.
        looks: Rooms with people of the train split; the others have a part of that.
        splits: Which splits.
    """
    jobs = []
    for split in splits:
        count = max(5, round(looks * SHARES[split]))
        # Things first: nothing of the cache is used without them.
        sets = max(1, round(count * _THINGS_SHARE))
        jobs += [(root / split / f'things-{i:05d}.npz', split, i) for i in range(sets)]
        jobs += [(root / split / f'look-{i:05d}.npz', split, i) for i in range(count)]
    missing = [job for job in jobs if not job[0].exists()]
    for path, split, number in tqdm(missing, unit='scene', desc='scenes'):
        if path.name.startswith('look'):
            render_look(look(split, number)).save(path)
        else:
            save_arrays(path, render_things(split, number))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Render scenes in 3-D for the trainer.')
    parser.add_argument('--root', type=Path, default=DEFAULT_ROOT)
    parser.add_argument('--looks', type=int, default=250, help='scenes of the train split')
    parser.add_argument('--splits', nargs='+', choices=list(SHARES), default=list(SHARES))
    options = parser.parse_args()
    fill(options.root, options.looks, tuple(options.splits))


if __name__ == '__main__':
    main()
