# SPDX-License-Identifier: Apache-2.0
"""What the launch files start, read through a small stand-in for ROS's launch."""

import importlib.util
import sys
import types

import pytest

from interaction_node import graph

NAMES = ('interaction', 'robot', 'simulation', 'replay')


class Entity:
    """Stands for any action or substitution: it only remembers what it was made of."""

    def __init__(self, *args, **options):
        self.args = args
        self.options = options


class Context(dict):
    """Launch configurations by name."""


class LaunchConfiguration(Entity):
    def perform(self, context):
        return context[self.args[0]]


def entity(name):
    return type(name, (Entity,), {})


@pytest.fixture
def launched(monkeypatch):
    """A function that runs a launch file and returns the entities that it started."""
    contents = {
        'launch': {'LaunchDescription': entity('LaunchDescription'), 'LaunchContext': Context},
        'launch.launch_context': {'LaunchContext': Context},
        'launch.actions': {
            name: entity(name)
            for name in (
                'DeclareLaunchArgument',
                'ExecuteProcess',
                'IncludeLaunchDescription',
                'OpaqueFunction',
                'SetLaunchConfiguration',
            )
        },
        'launch.launch_description_sources': {
            'PythonLaunchDescriptionSource': entity('PythonLaunchDescriptionSource')
        },
        'launch.substitutions': {
            'LaunchConfiguration': LaunchConfiguration,
            'PathJoinSubstitution': entity('PathJoinSubstitution'),
        },
        'launch_ros.actions': {'Node': entity('Node')},
        'launch_ros.parameter_descriptions': {'ParameterValue': entity('ParameterValue')},
        'launch_ros.substitutions': {'FindPackageShare': entity('FindPackageShare')},
    }
    for name, members in contents.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, 'interaction_node.launch_parts', raising=False)

    def run(name, **given):
        context = Context(given)
        return list(_visit(_load(name).args[0], context))

    yield run
    sys.modules.pop('interaction_node.launch_parts', None)


def _load(name):
    path = graph.resource_folder('launch') / f'{name}.launch.py'
    spec = importlib.util.spec_from_file_location(f'{name}_launch', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def _visit(entities, context):
    for each in entities:
        kind = type(each).__name__
        if kind == 'DeclareLaunchArgument':
            context.setdefault(each.args[0], each.options['default_value'])
        elif kind == 'SetLaunchConfiguration':
            context[each.args[0]] = each.args[1]
        elif kind == 'OpaqueFunction':
            yield from _visit(each.options['function'](context), context)
        elif kind == 'IncludeLaunchDescription' and each.args[0].args[0].__class__ is str:
            yield from _visit(_load('interaction').args[0], context)
        else:
            yield each


def nodes_of(entities, package=graph.PACKAGE):
    return [
        each.options
        for each in entities
        if type(each).__name__ == 'Node' and each.options['package'] == package
    ]


@pytest.mark.parametrize('name', NAMES)
def test_starts_what_the_graph_describes(launched, name):
    given = {'namespace': 'robot1', 'device': 'cpu', 'image_topic': 'camera/image_raw'}
    started = nodes_of(launched(name, **given))
    if name == 'robot':
        given['params_file'] = 'robot.yaml'
    if name == 'simulation':
        given |= {'params_file': 'simulation.yaml', 'use_sim_time': 'true'}
    expected = graph.processes(given)
    assert [node['executable'] for node in started] == [each.executable for each in expected]
    for node, process in zip(started, expected, strict=True):
        *files, parameters = node['parameters']
        assert tuple(files) == process.parameter_files
        assert list(parameters) == list(process.parameters)
        assert node['namespace'] == 'robot1'
        assert node['remappings'] == list(process.remappings)
        assert node['additional_env'] == process.environment
        assert node['respawn'] == (name == 'robot')


def test_the_robot_starts_a_camera_driver_where_asked(launched):
    assert not nodes_of(launched('robot'), 'v4l2_camera')
    (driver,) = nodes_of(launched('robot', camera_driver='v4l2_camera'), 'v4l2_camera')
    assert ('image_raw', 'image') in driver['remappings']


def test_the_simulation_starts_gazebo_and_its_bridge(launched):
    entities = launched('simulation', headless='true')
    (bridge,) = nodes_of(entities, 'ros_gz_bridge')
    assert bridge['parameters'][0]['config_file'].endswith('gazebo_bridge.yaml')
    (gazebo,) = (e for e in entities if type(e).__name__ == 'IncludeLaunchDescription')
    arguments = dict(gazebo.options['launch_arguments'])
    assert arguments['gz_args'].startswith('-r -s ')
    assert arguments['gz_args'].endswith('room.sdf')


def test_a_recording_replaces_microphone_and_camera(launched):
    entities = launched('replay', bag='session')
    names = [node['executable'] for node in nodes_of(entities)]
    assert 'microphone_node' not in names
    (player,) = (e.options['cmd'] for e in entities if type(e).__name__ == 'ExecuteProcess')
    assert player[:5] == ['ros2', 'bag', 'play', 'session', '--clock']
    interaction = next(n for n in nodes_of(entities) if n['executable'] == 'interaction_node')
    assert interaction['parameters'][-1]['use_sim_time'] is True
