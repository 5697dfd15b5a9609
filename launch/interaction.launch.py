# SPDX-License-Identifier: Apache-2.0
"""The core: microphone, interaction model, loudspeaker, planner and action gate."""

from interaction_node.launch_parts import declare, start_graph
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Starts the nodes that the switches turn on."""
    return LaunchDescription([*declare(), start_graph()])
