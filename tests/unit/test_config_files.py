# SPDX-License-Identifier: Apache-2.0
"""The parameter files say exactly what the nodes declare."""

import importlib

import pytest
import yaml

from interaction_node import graph

CONFIG = graph.resource_folder('config')


def flat(tree, prefix=''):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def parameters_of(path):
    """Parameters by node; every section must apply in any namespace."""
    found = {}
    for key, section in yaml.safe_load(path.read_text()).items():
        assert key.startswith('/**/'), f'{path.name}: {key}'
        assert set(section) == {'ros__parameters'}
        found[key.removeprefix('/**/')] = dict(flat(section['ros__parameters']))
    return found


@pytest.fixture(scope='module')
def declared():
    pytest.importorskip('rclpy', reason='the modules of the nodes need ROS')
    modules = {
        spec.executable: importlib.import_module(f'interaction_node.{spec.executable}')
        for spec in graph.NODES
    }
    return {name: {row.name: row for row in module.PARAMETERS} for name, module in modules.items()}


def test_interaction_yaml_holds_every_parameter_with_its_default(declared):
    written = parameters_of(CONFIG / 'interaction.yaml')
    assert list(written) == list(declared)
    for node, rows in declared.items():
        assert written[node] == {name: row.default for name, row in rows.items()}


@pytest.mark.parametrize('name', ['robot.yaml', 'simulation.yaml'])
def test_the_other_files_hold_only_what_differs(declared, name):
    for node, values in parameters_of(CONFIG / name).items():
        for parameter, value in values.items():
            row = declared[node][parameter]
            assert row.convert(value) != row.default


def test_every_argument_sets_a_declared_parameter(declared):
    for argument in graph.ARGUMENTS:
        if argument.node:
            assert argument.parameter in declared[argument.node]
