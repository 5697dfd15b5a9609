# SPDX-License-Identifier: Apache-2.0
"""A robot in Gazebo: camera, clock and wheels are simulated; sound is from a file or device."""

from launch.actions import IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from interaction_node import graph
from interaction_node.launch_parts import argument, declare, include, value
from launch import LaunchContext, LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Starts Gazebo, the bridge to it, and the core on its clock."""
    world = argument('world', 'room.sdf', 'World to simulate: a name in worlds/, or a path')
    headless = argument('headless', 'false', 'Simulate without a window', ('true', 'false'))
    arguments = declare(use_sim_time='true', params_file='simulation.yaml')
    return LaunchDescription(
        [*arguments, world, headless, OpaqueFunction(function=_simulator), include('interaction')]
    )


def _simulator(context: LaunchContext) -> list[IncludeLaunchDescription | Node]:
    world = graph.existing_file(value(context, 'world'), 'world', 'worlds')
    options = '-r -s' if value(context, 'headless') == 'true' else '-r'
    gazebo = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare('ros_gz_sim'), 'launch', 'gz_sim.launch.py'])
        ),
        launch_arguments={'gz_args': f'{options} {world}', 'on_exit_shutdown': 'true'}.items(),
    )
    bridge = Node(
        package='ros_gz_bridge',
        executable='parameter_bridge',
        name='gazebo_bridge',
        namespace=value(context, 'namespace'),
        parameters=[{'config_file': str(graph.existing_file('gazebo_bridge.yaml', 'bridge'))}],
        remappings=[
            ('image', value(context, 'image_topic')),
            ('cmd_vel', value(context, 'cmd_vel_topic')),
        ],
        output='screen',
    )
    return [gazebo, bridge]
