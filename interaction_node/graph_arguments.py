# SPDX-License-Identifier: Apache-2.0
"""Which nodes the graph has, and what can be set when it is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TRUE_FALSE = ('true', 'false')
AUTO = 'auto'


@dataclass(frozen=True)
class NodeSpec:
    """A kind of node that the graph may hold.

    Attributes:
        executable: Name of the program, of its module in `interaction_node`, and of the ROS node.
        switch: Argument that says whether it runs.
        runs: Default of the switch: true, or auto for where an argument of the node is given.
        description: What it does, one line.
        lifecycle: Whether it is a lifecycle node.
    """

    executable: str
    switch: str
    runs: str
    description: str
    lifecycle: bool = False


NODES = (
    NodeSpec('microphone_node', 'microphone', 'true', 'a microphone or a sound file, to audio'),
    NodeSpec('camera_file_node', 'camera', AUTO, 'a video file, to image'),
    NodeSpec('interaction_node', 'interaction', 'true', 'the interaction model', lifecycle=True),
    NodeSpec('speaker_node', 'speaker', 'true', 'speech, to a loudspeaker or a sound file'),
    NodeSpec('planner_node', 'planner', 'true', 'the background planner'),
    NodeSpec('action_gate_node', 'gate', 'true', 'the only node that may drive the robot'),
    NodeSpec('recorder_node', 'recorder', AUTO, 'records the topics as MCAP'),
)


@dataclass(frozen=True)
class Argument:
    """A setting of the graph, which the launch files offer as a launch argument.

    Attributes:
        name: Name of the argument.
        default: Value where nothing is said; '' leaves a parameter as the files have it.
        description: What it does, for `--show-args`.
        choices: Allowed values; empty for any.
        node: Executable of the node whose parameter it sets, '' for none.
        parameter: The parameter that it sets.
    """

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()
    node: str = ''
    parameter: str = ''


def _switches() -> tuple[Argument, ...]:
    return tuple(
        Argument(
            spec.switch,
            spec.runs,
            f'Run {spec.executable}: {spec.description}',
            TRUE_FALSE if spec.runs == 'true' else (AUTO, *TRUE_FALSE),
        )
        for spec in NODES
    )


ARGUMENTS = (
    Argument('namespace', '', 'Namespace of every node and relative topic, e.g. robot1'),
    Argument('use_sim_time', 'false', 'Take the time from /clock', TRUE_FALSE),
    Argument('params_file', '', 'YAML with parameters, on top of config/interaction.yaml'),
    Argument(
        'log_level', 'info', 'Least severity that is logged', ('debug', 'info', 'warn', 'error')
    ),
    Argument(
        'fastdds_profile',
        'fastdds.xml',
        'Fast DDS profile with room for images in shared memory: a path, or none',
    ),
    Argument('respawn', 'false', 'Start a node anew that ended by itself', TRUE_FALSE),
    Argument('audio_topic', 'audio', 'Topic of the sound that the robot hears'),
    Argument('image_topic', 'image', 'Topic of the camera; its /compressed is read as well'),
    Argument('cmd_vel_topic', 'cmd_vel', 'Topic of the velocities that drive the robot'),
    Argument(
        'autostart',
        '',
        'Configure and activate interaction_node without a lifecycle manager',
        ('', *TRUE_FALSE),
        'interaction_node',
        'autostart',
    ),
    Argument(
        'device',
        '',
        'Where the model runs: auto, cpu or cuda',
        node='interaction_node',
        parameter='model.device',
    ),
    Argument(
        'checkpoint',
        '',
        'Checkpoint of the model; empty for the one that the package brings',
        node='interaction_node',
        parameter='model.checkpoint',
    ),
    Argument(
        'microphone_device',
        '',
        'Sound device to record from: part of its name, or its index',
        node='microphone_node',
        parameter='device',
    ),
    Argument(
        'audio_file',
        '',
        'Sound file or folder to hear instead of a microphone',
        node='microphone_node',
        parameter='file',
    ),
    Argument(
        'video_file',
        '',
        'Video file to see instead of a camera',
        node='camera_file_node',
        parameter='file',
    ),
    Argument(
        'speaker_device',
        '',
        'Sound device to play on: part of its name, or its index',
        node='speaker_node',
        parameter='device',
    ),
    Argument(
        'speech_file',
        '',
        'Sound file to write the speech to instead of playing it',
        node='speaker_node',
        parameter='file',
    ),
    Argument(
        'planner_backend',
        '',
        'Language model of the planner',
        ('', 'embedded', 'openai'),
        'planner_node',
        'backend',
    ),
    Argument(
        'recording',
        '',
        'Folder to record the topics to, which the recorder makes',
        node='recorder_node',
        parameter='uri',
    ),
    *_switches(),
)


def settings(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Completes settings with the defaults.

    Args:
        given: Values by argument name, as text.

    Returns:
        A value for every argument.

    Raises:
        ValueError: An argument that doesn't exist, or a value that is not allowed.
    """
    values = {argument.name: argument.default for argument in ARGUMENTS}
    for name, value in (given or {}).items():
        if name not in values:
            raise ValueError(f'no such argument: {name!r}; there are {", ".join(sorted(values))}')
        values[name] = value
    for argument in ARGUMENTS:
        if argument.choices and values[argument.name] not in argument.choices:
            raise ValueError(
                f'{argument.name} is {values[argument.name]!r}; expected one of {argument.choices}'
            )
    return values
