# SPDX-License-Identifier: Apache-2.0
"""The table of a node's parameters: checks, messages, usage. No ROS needed."""

import pytest

from interaction_node.node_parameters import NodeParameter, ParameterValues, usage

CHUNK = NodeParameter('chunk_ms', 20, 'Length, ms', minimum=5, maximum=200)
DELAY = NodeParameter('start.delay_s', 0.5, 'Wait, s', minimum=0.0, read_only=False)
PACE = NodeParameter('pace', 'realtime', 'Speed', choices=('realtime', 'graph'))
SKILLS = NodeParameter('skills', ['stop'], 'Allowed skills')
WEIGHTS = NodeParameter('weights', [], 'Weights', element=float, minimum=0.0)
ODD = NodeParameter('odd', 3, 'Odd', check=lambda v: '' if v % 2 else 'an odd number')


@pytest.mark.parametrize(
    ('row', 'value', 'expected'),
    [
        (CHUNK, 5, 5),
        (DELAY, 1, 1.0),
        (PACE, 'graph', 'graph'),
        (SKILLS, [], []),
        (WEIGHTS, [1, 2.5], [1.0, 2.5]),
        (ODD, 7, 7),
    ],
)
def test_values_that_are_allowed(row, value, expected):
    converted = row.convert(value)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ('row', 'value', 'message'),
    [
        (CHUNK, 4, "parameter 'chunk_ms' is 4; expected an int from 5 to 200"),
        (CHUNK, 20.0, "parameter 'chunk_ms' is 20.0; expected an int from 5 to 200"),
        (CHUNK, True, "parameter 'chunk_ms' is True; expected an int from 5 to 200"),
        (DELAY, -1, "parameter 'start.delay_s' is -1; expected a float of at least 0.0"),
        (DELAY, None, "parameter 'start.delay_s' is None; expected a float of at least 0.0"),
        (PACE, 'fast', "parameter 'pace' is 'fast'; expected one of 'realtime', 'graph'"),
        (SKILLS, 'stop', "parameter 'skills' is 'stop'; expected a list of str"),
        (SKILLS, [1], r"parameter 'skills' is \[1\]; expected a list of str"),
        (WEIGHTS, [-1.0], 'expected a list of float of at least 0.0'),
        (ODD, 4, "parameter 'odd' is 4; expected an odd number"),
    ],
)
def test_values_that_are_not(row, value, message):
    with pytest.raises(ValueError, match=message):
        row.convert(value)


def test_groups_and_changes():
    values = ParameterValues({'turn.jitter_ms': 40, 'turn.pause_ms': 1, 'turns': 3})
    assert values.group('turn') == {'jitter_ms': 40, 'pause_ms': 1}
    heard = []
    values.on_change(lambda name, value: heard.append((name, value)))
    values._update('turns', 4)
    assert (values['turns'], heard) == (4, [('turns', 4)])


def test_usage_names_everything():
    text = usage('some_node', 'Does something.', [CHUNK, DELAY, PACE, SKILLS])
    assert text.startswith('usage: some_node [--help] [--ros-args')
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith('  ')}
    assert 'an int from 5 to 200' in rows['chunk_ms']
    assert 'Does something.' in text
    assert 'start.delay_s' in rows
