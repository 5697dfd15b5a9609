# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from interaction_node import run_folder

SUPPORT = Path(__file__).resolve().parents[1] / 'support'


def write_sample(folder, seconds, rate_hz):
    """Sound, typed text on and off the edges of micro-turns, and a video of noise."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    pcm = rng.integers(-9000, 9000, round(seconds * rate_hz)).astype(np.int16)
    soundfile.write(folder / 'input.wav', pcm, rate_hz)
    lines = [
        {'t': 0.0, 'text': 'go kitchen'},
        {'t': 0.3, 'text': 'hello'},
        {'t': 1.0, 'text': 'plan a tour'},
        {'t': 2.05, 'text': 'stop'},
        {'t': 2.61, 'text': 'first the hall', 'role': 'PLANNER'},
    ]
    (folder / 'text.jsonl').write_text('\n'.join(map(json.dumps, lines)))


def write_video(path, frames, rate_hz=10):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), rate_hz, (64, 48))
    rng = np.random.default_rng(2)
    for _ in range(frames):
        video.write(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    video.release()


def results(folder):
    """Everything that must be equal: all but how long a step took."""
    found = {'pcm': (folder / 'output.wav').read_bytes()}
    for path in sorted(folder.glob('*.json*')):
        lines = path.read_text()
        if path.name == 'micro_turns.jsonl':
            lines = [
                {key: value for key, value in json.loads(line).items() if key != 'step_ms'}
                for line in lines.splitlines()
            ]
        found[path.name] = lines
    return found


@pytest.mark.slow
@pytest.mark.parametrize('with_video', [False, True])
def test_live_equals_offline(tmp_path, monkeypatch, with_video):
    monkeypatch.setenv('PYTHONPATH', str(SUPPORT))
    write_sample(tmp_path / 'in', 3.1, 16_000 if with_video else 44_100)
    if with_video:
        write_video(tmp_path / 'in/video.mp4', 34)
    # Its words and sounds are digests of all that it perceives, its own voice included.
    compare(tmp_path, ['--factory', 'fakes:load_session', '--checkpoint', 'digest'])


def compare(folder, options):
    for kind in ('offline', 'live'):
        arguments = ['--input', str(folder / 'in'), '--output', str(folder / kind), *options]
        assert run_folder.main([*arguments, *(['--live'] if kind == 'live' else [])]) == 0
    live, offline = results(folder / 'live'), results(folder / 'offline')
    assert len(offline['micro_turns.jsonl']) == 16
    for name, value in offline.items():
        assert live[name] == value, name


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_live_equals_offline_with_the_shipped_checkpoint(tmp_path):
    if not importlib.util.find_spec('interaction_node.model.session'):
        pytest.skip('there is no model')
    from interaction_node.model.session import DEFAULT_CHECKPOINT

    if not DEFAULT_CHECKPOINT.is_file():
        pytest.skip('there is no shipped checkpoint')
    write_sample(tmp_path / 'in', 3.1, 16_000)
    (tmp_path / 'in/text.jsonl').write_text('{"t": 0.3, "text": "count to ten"}')
    compare(tmp_path, [])


def test_a_model_that_can_not_be_loaded_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('PYTHONPATH', str(SUPPORT))
    monkeypatch.setattr('interaction_node.live_run.READY_S', 10.0)
    write_sample(tmp_path / 'in', 0.5, 16_000)
    arguments = ['--input', str(tmp_path / 'in'), '--output', str(tmp_path / 'out'), '--live']
    assert (
        run_folder.main([*arguments, '--factory', 'fakes:load_session', '--checkpoint', 'x']) == 1
    )
    assert "there is no checkpoint 'x'" in capsys.readouterr().err
