# SPDX-License-Identifier: Apache-2.0
"""Scenes in 3-D: who looks how in which split, what is shown when, and the rendering itself."""

import os
import subprocess
from pathlib import Path
from random import Random

import numpy as np
import pytest

from interaction_node.model.data import figure3d
from interaction_node.model.data.scenes import HEIGHT, WIDTH, Bout, SceneScript, Thing
from interaction_node.model.data.scenes3d import (
    LAYERS,
    PHASES,
    Layer,
    Looks,
    RenderedLook,
    RenderedScene,
    paste,
    save_arrays,
)

ROOT = Path(__file__).parents[2]
DATA_PYTHON = ROOT / '.venv-data' / 'bin' / 'python'


def test_no_combination_of_choices_is_in_two_splits():
    styles = {
        split: {figure3d.look(split, number).style for number in range(400)}
        for split in ('train', 'val', 'test')
    }
    assert all(len(found) > 60 for found in styles.values())
    assert not styles['train'] & styles['val']
    assert not styles['train'] & styles['test']
    assert not styles['val'] & styles['test']
    with pytest.raises(ValueError, match="split: 'robot'"):
        figure3d.look('robot', 0)


def test_a_look_follows_from_its_number():
    assert figure3d.room_xml(figure3d.look('train', 3)) == figure3d.room_xml(
        figure3d.look('train', 3)
    )
    others = {figure3d.room_xml(figure3d.look('train', number)) for number in range(20)}
    assert len(others) == 20
    movements = {figure3d.look('val', number).movement for number in range(5)}
    assert movements == set(figure3d.MOVEMENTS)


@pytest.mark.parametrize('movement', figure3d.MOVEMENTS)
def test_a_movement_comes_back_to_where_it_began(movement):
    def at(phase):
        return figure3d.pose(movement, phase, 0.4, Random(1))

    first, last, middle = at(0.0), at(1 - 1e-9), at(0.5 if movement != 'waves' else 0.25)
    assert first.keys() == last.keys()
    for joint, value in first.items():
        assert last[joint] == pytest.approx(value, abs=1e-6)
    assert max(abs(middle[joint] - first[joint]) for joint in first) > 0.2


def flat_look(movement, grey):
    """A grey room; the person is a square whose colour is the number of the layer."""
    room = np.full((HEIGHT, WIDTH, 3), grey, np.uint8)
    layers = []
    for number in range(LAYERS):
        full = room.copy()
        full[30:50, 50:70] = 5 * number
        layers.append(Layer.between(room, full))
    return RenderedLook(movement, f'grey={grey}', room, tuple(layers))


@pytest.fixture
def looks():
    ball = np.zeros((48, 48, 4), np.uint8)
    ball[8:40, 8:40] = (250, 0, 0, 255)
    off, on = ball.copy(), ball.copy()
    on[8:40, 8:40] = (0, 250, 0, 255)
    things = {'red ball': [ball], 'light off': [off], 'light on': [on]}
    return Looks([flat_look('squats', 240), flat_look('waves', 200)], things)


def still(scene):
    """The scene by a camera without noise, tilt or tint."""
    scene._view = np.array([[1, 0, 0], [0, 1, 0]], float)
    scene._tint = np.ones(3, np.float32)
    scene.noise, scene._gain, scene._flicker = 0.0, 1.0, 0.0
    return scene


def test_a_layer_is_what_differs():
    room = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    full = room.copy()
    full[10:20, 30:50] = 7
    layer = Layer.between(room, full)
    assert (layer.x, layer.y, layer.mask.shape) == (30, 10, (10, 20))
    other = np.full_like(room, 200)
    layer.draw(other)
    assert (other[10:20, 30:50] == 7).all()
    assert (other[:10] == 200).all()
    Layer.between(room, room).draw(other)  # nothing to draw


def test_the_phase_decides_the_layer(looks):
    script = SceneScript('squats', [Bout(100, 50, 2)])
    scene = still(RenderedScene(script, np.random.default_rng(0), looks))
    assert scene.look.movement == 'squats'
    for frame in (100, 110, 125, 149, 150, 199):
        layer = int((frame - 100) % 50 / 50 * PHASES)
        assert scene.picture(frame)[40, 60, 0] == 5 * layer
    for frame in (50, 200, 300):  # standing
        assert scene.picture(frame)[40, 60, 0] // 5 in range(PHASES, PHASES + 3)
    assert scene.render(4).shape == (4, HEIGHT, WIDTH, 3)


def test_somebody_comes_in_when_the_script_says(looks):
    script = SceneScript(enters=200)
    scene = still(RenderedScene(script, np.random.default_rng(0), looks))
    grey = scene.look.room[0, 0, 0]
    assert scene.picture(100)[40, 60, 0] == grey
    steps = [int(scene.picture(frame)[40, 60, 0]) // 5 for frame in (120, 150, 180, 199)]
    assert steps == sorted(steps)
    assert steps[0] >= PHASES + 3
    assert scene.picture(210)[40, 60, 0] // 5 in range(PHASES, PHASES + 3)


def test_things_and_lights_appear_in_time(looks):
    script = SceneScript(things=[Thing('red', 'ball', 100)], light_green=150)
    assert looks.can(script)
    assert not looks.can(SceneScript(things=[Thing('blue', 'cone', 1)]))
    assert not looks.can(SceneScript('nods'))
    scene = still(RenderedScene(script, np.random.default_rng(3), looks))
    reds, greens = [], []
    for frame in (20, 120, 160):
        picture = scene.picture(frame).astype(int)
        reds.append(((picture[..., 0] - picture[..., 1]) > 150).sum())
        greens.append(((picture[..., 1] - picture[..., 0]) > 150).sum())
    assert reds[0] > 0  # the red light
    assert reds[1] > reds[0] + 50
    assert greens[0] == greens[1] == 0
    assert greens[2] > 50


def test_what_is_pasted_is_cut_at_the_border():
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    sprite = np.full((40, 40, 4), 255, np.uint8)
    paste(picture, sprite, 0, 0, 0.5)
    assert (picture[:9, :9] == 255).all()
    assert picture[:, 12:].max() == 0
    paste(picture, sprite, -50, 500, 1.0)
    assert picture[12:].max() == 0


def test_the_cache_comes_back_as_it_was(tmp_path, looks):
    assert Looks.load(tmp_path, 'train') is None
    first = flat_look('nods', 90)
    first.save(tmp_path / 'train' / 'look-00000.npz')
    ball = np.zeros((48, 48, 4), np.uint8)
    save_arrays(tmp_path / 'train' / 'things-00000.npz', {'red ball': ball})
    loaded = RenderedLook.load(tmp_path / 'train' / 'look-00000.npz')
    assert (loaded.movement, loaded.style) == (first.movement, first.style)
    np.testing.assert_array_equal(loaded.room, first.room)
    for one, other in zip(loaded.layers, first.layers, strict=True):
        assert (one.x, one.y) == (other.x, other.y)
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.mask, other.mask)
    assert len(Looks.load(tmp_path, 'train')) == 1


def has_mujoco():
    if not DATA_PYTHON.exists():
        return False
    return subprocess.run([DATA_PYTHON, '-c', 'import mujoco'], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not has_mujoco(), reason='MuJoCo is not in .venv-data')
def test_rendered_people_move_and_things_have_their_colours(tmp_path):
    code = f"""
from pathlib import Path
from model.data.figure3d import look
from model.data.render3d import render_look, render_things
from model.data.scenes3d import save_arrays
root = Path({str(tmp_path)!r})
for split, number in (('train', 0), ('train', 1), ('test', 0)):
    render_look(look(split, number)).save(root / split / f'look-{{number:05d}}.npz')
save_arrays(root / 'train' / 'things-00000.npz', render_things('train', 0))
"""
    environment = os.environ | {'LP_NUM_THREADS': '1'}
    subprocess.run([DATA_PYTHON, '-c', code], cwd=ROOT, env=environment, check=True, timeout=500)
    squatting = RenderedLook.load(tmp_path / 'train' / 'look-00000.npz')
    jumping = RenderedLook.load(tmp_path / 'train' / 'look-00001.npz')
    assert (squatting.movement, jumping.movement) == ('squats', 'jumping jacks')
    assert all(layer.mask.sum() > 60 for layer in squatting.layers[:PHASES])
    # Down, the head is lower; jumping, the arms are wider.
    assert squatting.layers[PHASES // 2].y > squatting.layers[0].y + 3
    wide, narrow = (jumping.layers[i].mask.shape[1] for i in (PHASES // 3, 0))
    assert wide > 1.3 * narrow
    other = RenderedLook.load(tmp_path / 'test' / 'look-00000.npz')
    assert other.style != squatting.style
    assert np.abs(other.room.astype(int) - squatting.room).mean() > 5
    looks = Looks.load(tmp_path, 'train')
    for name, channel in (('red ball', 0), ('green cone', 1), ('blue box', 2)):
        sprite = looks.thing(name, 0)
        seen = sprite[..., 3] == 255
        assert 100 < seen.sum() < 48 * 48 * 0.9
        assert sprite[seen].mean(0)[:3].argmax() == channel
