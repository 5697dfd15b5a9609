# SPDX-License-Identifier: Apache-2.0
"""The core on recorded senses: a rosbag2 recording, or a sound file and a video file."""

from launch.actions import ExecuteProcess, OpaqueFunction, SetLaunchConfiguration

from interaction_node.launch_parts import argument, declare, include, value
from launch import LaunchContext, LaunchDescription

SENSES = '/audio /image /image/compressed'


def generate_launch_description() -> LaunchDescription:
    """Starts the core, and a player where a recording is given."""
    bag = argument('bag', '', 'Recording to play; empty: audio_file and video_file')
    topics = argument('bag_topics', SENSES, 'Topics of the recording that are played')
    return LaunchDescription(
        [*declare(), bag, topics, OpaqueFunction(function=_source), include('interaction')]
    )


def _source(context: LaunchContext) -> list[ExecuteProcess | SetLaunchConfiguration]:
    bag = value(context, 'bag')
    if not bag:
        return []
    play = ['ros2', 'bag', 'play', bag, '--clock', '--topics']
    return [
        *(SetLaunchConfiguration(name, 'false') for name in ('microphone', 'camera')),
        SetLaunchConfiguration('use_sim_time', 'true'),
        ExecuteProcess(cmd=[*play, *value(context, 'bag_topics').split()], output='screen'),
    ]
