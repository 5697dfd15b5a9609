# SPDX-License-Identifier: Apache-2.0
"""The live conversation on virtual sound devices, and on a machine that has none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import virtual_sound as virtual

from interaction_node.model.session import DEFAULT_CHECKPOINT

CARDS = Path('/proc/asound/cards')


def run_live(output: Path, environment: dict[str, str], *options: str, timeout_s: float = 200.0):
    command = [sys.executable, '-m', 'interaction_node.live', '--camera', '']
    return subprocess.run(
        [*command, '--output', str(output), *options],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(
    not DEFAULT_CHECKPOINT.is_file(), reason=f'the checkpoint {DEFAULT_CHECKPOINT} does not exist'
)
def test_a_conversation_of_six_seconds_leaves_a_report(virtual_sound, tmp_path):
    output = tmp_path / 'live'
    devices = ['--microphone', virtual_sound.microphone, '--speaker', virtual_sound.speaker]
    done = run_live(output, virtual_sound.environment, *devices, '--seconds', '6')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'camera: none' in done.stdout
    assert 'Traceback' not in done.stdout + done.stderr
    assert 'micro-turns' in (output / 'session.html').read_text()
    summary = json.loads((output / 'summary.json').read_text())
    assert summary['micro_turns'] > 15
    # The microphone was really listened to: its sound, silence here, covers the micro-turns.
    assert summary['duration_s'] > 3.0
    assert f'open {output / "session.html"}' in done.stdout


def test_a_device_that_does_not_exist_is_told_with_those_that_do(virtual_sound, tmp_path):
    done = run_live(tmp_path / 'live', virtual_sound.environment, '--microphone', 'studio')
    assert done.returncode == 1
    assert "no sound input device fits 'studio'; there are" in done.stderr
    assert virtual_sound.microphone in done.stderr
    assert not (tmp_path / 'live').exists()


def test_a_machine_without_sound_is_told_what_to_do(tmp_path):
    if missing := virtual.what_is_missing():
        pytest.skip(missing)
    if CARDS.is_file() and 'no soundcards' not in CARDS.read_text():
        pytest.skip('this machine has a sound card')
    # No PCM of its own, and no server behind those of the system.
    config = tmp_path / 'asound.conf'
    config.write_text(f'<{virtual.ALSA_CONFIG}>\n')
    nowhere = {
        'ALSA_CONFIG_PATH': str(config),
        'HOME': str(tmp_path),
        'PULSE_SERVER': f'unix:{tmp_path / "nothing"}',
        'XDG_RUNTIME_DIR': str(tmp_path),
    }
    done = run_live(tmp_path / 'live', nowhere)
    assert done.returncode == 1, done.stdout + done.stderr
    assert 'live: there is no sound input device; plug one in' in done.stderr
    assert 'Traceback' not in done.stderr
