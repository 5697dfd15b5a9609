# SPDX-License-Identifier: Apache-2.0
"""What the launch files are made of; the graph itself is described in `graph`."""

from __future__ import annotations

from collections.abc import Mapping

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from interaction_node import graph


def declare(**defaults: str) -> list[DeclareLaunchArgument]:
    """Declares every argument of the graph.

    Args:
        **defaults: Defaults that differ from the graph's.

    Raises:
        ValueError: A default of an argument that doesn't exist, or that is not allowed.
    """
    values = graph.settings(defaults)
    return [
        argument(each.name, values[each.name], each.description, each.choices)
        for each in graph.ARGUMENTS
    ]


def argument(
    name: str, default: str, description: str, choices: tuple[str, ...] = ()
) -> DeclareLaunchArgument:
    """Declares one argument."""
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=list(choices) or None
    )


def start_graph() -> OpaqueFunction:
    """Starts the nodes that the arguments ask for."""
    return OpaqueFunction(function=_start)


def include(name: str) -> IncludeLaunchDescription:
    """Includes another launch file of the package; it sees the arguments declared so far."""
    path = graph.resource_folder('launch') / f'{name}.launch.py'
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(str(path)))


def value(context: LaunchContext, name: str) -> str:
    """The value of an argument."""
    return LaunchConfiguration(name).perform(context)


def _start(context: LaunchContext) -> list[Node]:
    given = {each.name: value(context, each.name) for each in graph.ARGUMENTS}
    respawn = given['respawn'] == 'true'
    return [_node(process, respawn) for process in graph.processes(given)]


def _node(process: graph.NodeProcess, respawn: bool) -> Node:
    return Node(
        package=graph.PACKAGE,
        executable=process.executable,
        name=process.name,
        namespace=process.namespace,
        parameters=[*process.parameter_files, _typed(process.parameters)],
        remappings=list(process.remappings),
        ros_arguments=['--log-level', process.log_level],
        additional_env=dict(process.environment),
        output='screen',
        respawn=respawn,
        respawn_delay=2.0,
    )


def _typed(parameters: Mapping[str, object]) -> dict[str, object]:
    # Without a type, text such as '7' would become a number.
    return {
        name: ParameterValue(each, value_type=str) if isinstance(each, str) else each
        for name, each in parameters.items()
    }
