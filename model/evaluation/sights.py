# SPDX-License-Identifier: Apache-2.0
"""Scenes before the camera that nobody asked about."""

from __future__ import annotations

import numpy as np

from ..data.phrases import grammar
from ..data.scenes import Bout, SceneScript, Thing

MOVEMENTS = tuple(grammar()['slots']['movement'])


def idle_scene(rng: np.random.Generator, turns: int) -> SceneScript:
    """Something to see that nobody asked about."""
    scene = SceneScript()
    if rng.random() < 0.6:
        scene.movement = str(rng.choice(MOVEMENTS))
        period = int(rng.uniform(35, 110))
        scene.bouts = [Bout(int(rng.integers(0, turns * 10)), period, int(rng.integers(1, 9)))]
    if rng.random() < 0.5:
        scene.things.append(any_thing(rng, int(rng.integers(-100, turns * 10))))
    return scene


def any_thing(rng: np.random.Generator, appears: int, unlike: str = '') -> Thing:
    """A thing that is not called `unlike`."""
    slots = grammar()['slots']
    while True:
        colour, shape = (str(rng.choice(slots[name])) for name in ('colour', 'shape'))
        if f'{colour} {shape}' != unlike:
            return Thing(colour, shape, appears)
