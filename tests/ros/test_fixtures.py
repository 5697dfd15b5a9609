# SPDX-License-Identifier: Apache-2.0
"""The test bench itself: messages cross between processes, sound crosses the virtual devices."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from node_process import NodeProcess
from std_srvs.srv import Trigger

from duplex_interaction.msg import AudioChunk

ECHO_NODE = """
import rclpy
from rclpy.executors import ExternalShutdownException
from duplex_interaction.msg import AudioChunk
from std_srvs.srv import Trigger

rclpy.init()
node = rclpy.create_node('echo')
publisher = node.create_publisher(AudioChunk, 'out', 10)
node.create_subscription(AudioChunk, 'in', publisher.publish, 10)
node.create_service(Trigger, 'poke', lambda _, answer: Trigger.Response(message='ouch'))
try:
    rclpy.spin(node)
except (KeyboardInterrupt, ExternalShutdownException):
    pass
finally:
    node.destroy_node()
    rclpy.try_shutdown()
"""

BAD_NODE = """
import time
try:
    print('ready')
    time.sleep(60)
except KeyboardInterrupt:
    raise SystemExit(3)
"""


@pytest.fixture
def module_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    return tmp_path


def test_a_message_and_a_call_cross_between_processes(spy, start_node, module_folder):
    (module_folder / 'bench').mkdir()
    (module_folder / 'bench' / 'echo.py').write_text(ECHO_NODE)
    start_node('bench.echo', remaps={'out': 'reply'})
    replies = spy.collect(AudioChunk, 'reply')
    spy.wait_for_publishers('reply')
    spy.publisher(AudioChunk, 'in').publish(AudioChunk(first_sample=3200, pcm=[1, -2, 3]))
    reply = spy.wait_for_messages(replies)[0]
    assert reply.first_sample == 3200
    assert reply.pcm.tolist() == [1, -2, 3]
    assert spy.call(Trigger, 'poke', Trigger.Request()).message == 'ouch'


def test_a_node_that_ends_badly_is_found_out(module_folder):
    (module_folder / 'bench').mkdir()
    (module_folder / 'bench' / 'bad.py').write_text(BAD_NODE)
    node = NodeProcess('bench.bad', module_folder / 'log')
    node.wait_for_output('ready')
    with pytest.raises(AssertionError, match='status 3'):
        node.stop()


def test_what_is_said_is_recorded_from_the_virtual_microphone(virtual_sound):
    said = noise(seed=1)
    recorder = subprocess.Popen(
        [sys.executable, '-c', RECORD.format(device=virtual_sound.microphone)],
        env={**os.environ, **virtual_sound.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert recorder.stdout.readline() == b'ready\n'
    virtual_sound.say(between_silence(said))
    recorded = np.frombuffer(recorder.communicate(timeout=30)[0], np.int16)
    assert contains(recorded, said)


def test_what_is_played_is_heard_from_the_virtual_loudspeaker(virtual_sound):
    played = noise(seed=2)
    virtual_sound.start_listening()
    subprocess.run(
        [sys.executable, '-c', PLAY.format(device=virtual_sound.speaker)],
        env={**os.environ, **virtual_sound.environment},
        input=between_silence(played).tobytes(),
        check=True,
        timeout=30,
    )
    time.sleep(0.3)
    assert contains(virtual_sound.heard(), played)


RECORD = """
import sys, sounddevice
with sounddevice.RawInputStream(16000, 320, '{device}', 1, 'int16') as stream:
    stream.read(320)
    print('ready', flush=True)
    for _ in range(150):
        sys.stdout.buffer.write(stream.read(320)[0])
"""

PLAY = """
import sys, sounddevice
with sounddevice.RawOutputStream(16000, 320, '{device}', 1, 'int16') as stream:
    stream.write(sys.stdin.buffer.read())
"""


def noise(seed: int) -> np.ndarray:
    """Half a second of noise."""
    return (np.random.default_rng(seed).standard_normal(8_000) * 3_000).astype(np.int16)


def between_silence(sound: np.ndarray) -> np.ndarray:
    """Half a second of silence around it: streams lose samples as they start and stop."""
    silence = np.zeros(8_000, np.int16)
    return np.concatenate([silence, sound, silence])


def contains(recording: np.ndarray, sound: np.ndarray) -> bool:
    """Whether the sound is in the recording, sample for sample."""
    return sound.tobytes() in recording.tobytes()
