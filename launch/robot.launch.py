# SPDX-License-Identifier: Apache-2.0
"""A robot: the core with its sound devices and, where wanted, a driver for its camera."""

from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from interaction_node.launch_parts import argument, declare, include, value
from launch import LaunchContext, LaunchDescription

CAMERA_DRIVERS = {
    'v4l2_camera': ('v4l2_camera_node', 'image_raw'),
    'usb_cam': ('usb_cam_node_exe', 'image_raw'),
}


def generate_launch_description() -> LaunchDescription:
    """Starts the core with the settings of config/robot.yaml."""
    driver = argument(
        'camera_driver',
        '',
        'Package of a camera driver to start; empty where one runs already, see image_topic',
        ('', *CAMERA_DRIVERS),
    )
    arguments = declare(params_file='robot.yaml', respawn='true')
    return LaunchDescription(
        [*arguments, driver, OpaqueFunction(function=_camera_driver), include('interaction')]
    )


def _camera_driver(context: LaunchContext) -> list[Node]:
    package = value(context, 'camera_driver')
    if not package:
        return []
    executable, topic = CAMERA_DRIVERS[package]
    image = value(context, 'image_topic')
    return [
        Node(
            package=package,
            executable=executable,
            name='camera',
            namespace=value(context, 'namespace'),
            remappings=[(topic, image), (f'{topic}/compressed', f'{image}/compressed')],
            output='screen',
        )
    ]
