# SPDX-License-Identifier: Apache-2.0
"""The launch files through ROS's own launch; skipped where launch_ros is not installed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from spy import Spy

from duplex_interaction.msg import MicroTurnStatus
from interaction_node import graph
from interaction_node.topic_qos import MICRO_TURN_STATUS

pytest.importorskip('launch_ros', reason='launch_ros is not installed (apt: ros-jazzy-launch-ros)')
launch = pytest.importorskip('launch')
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402

FILES = sorted(graph.resource_folder('launch').glob('*.launch.py'))
SUPPORT = Path(__file__).resolve().parents[1] / 'support'
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
path, *arguments = sys.argv[1:]
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(path),
    launch_arguments=[tuple(each.split(':=', 1)) for each in arguments])]))
sys.exit(service.run())
"""


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_every_argument_is_described(path):
    source = PythonLaunchDescriptionSource(str(path))
    description = source.get_launch_description(launch.LaunchContext(argv=[]))
    arguments = {each.name: each for each in description.get_launch_arguments()}
    assert {each.name for each in graph.ARGUMENTS} <= set(arguments)
    for each in arguments.values():
        assert each.description
        assert each.default_value is not None


@pytest.fixture
def spy():
    spy = Spy()
    yield spy
    spy.close()


def test_starts_the_nodes_and_they_talk(tmp_path, spy):
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    built = [each for each in prefixes if (Path(each) / 'lib' / graph.PACKAGE).is_dir()]
    if not built:
        pytest.skip('the nodes are not installed for ros2 run (colcon build does that)')
    pcm = np.random.default_rng(0).integers(-9000, 9000, 320_000).astype(np.int16)
    soundfile.write(tmp_path / 'in.wav', pcm, 16_000)
    parameters = "/**:\n  ros__parameters:\n    model: {factory: 'fakes:load_session'}\n"
    (tmp_path / 'fake.yaml').write_text(parameters)
    arguments = {
        'namespace': 'robot1',
        'params_file': tmp_path / 'fake.yaml',
        'audio_file': tmp_path / 'in.wav',
        'speech_file': tmp_path / 'out.wav',
        'planner': 'false',
        'gate': 'false',
    }
    statuses = spy.collect(MicroTurnStatus, '/robot1/micro_turn_status', MICRO_TURN_STATUS)
    path = graph.resource_folder('launch') / 'interaction.launch.py'
    process = subprocess.Popen(
        [sys.executable, '-c', RUN, path, *(f'{key}:={value}' for key, value in arguments.items())],
        env={
            **os.environ,
            'PYTHONPATH': f'{SUPPORT}:{os.environ.get("PYTHONPATH", "")}',
            'AMENT_PREFIX_PATH': os.pathsep.join([*built, *prefixes]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        spy.wait_until(
            lambda: any(0 <= each.audio_age_ms < 200 for each in statuses), 60.0, 'sound is heard'
        )
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert output.count('process has finished cleanly') == 3, output
