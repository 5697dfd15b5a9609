# SPDX-License-Identifier: Apache-2.0
import json
import sys

import pytest

from interaction_node import graph


def test_starts_the_default_nodes():
    names = [process.name for process in graph.processes()]
    assert names == [
        'microphone_node',
        'interaction_node',
        'speaker_node',
        'planner_node',
        'action_gate_node',
    ]


def test_switches_turn_every_node_on_and_off():
    switches = {spec.switch: 'false' for spec in graph.NODES}
    assert graph.processes(switches) == []
    for spec in graph.NODES:
        (process,) = graph.processes(switches | {spec.switch: 'true'})
        assert process.executable == spec.executable


def test_a_file_to_see_or_record_turns_its_node_on():
    names = {process.name for process in graph.processes({'video_file': 'a.mp4', 'recording': 'b'})}
    assert names >= {'camera_file_node', 'recorder_node'}
    off = graph.processes({'video_file': 'a.mp4', 'camera': 'false'})
    assert 'camera_file_node' not in {process.name for process in off}


def test_the_command_line_says_everything(tmp_path):
    extra = tmp_path / 'extra.yaml'
    extra.write_text('{}')
    (process,) = graph.processes(
        {
            'namespace': 'robot1',
            'params_file': str(extra),
            'image_topic': '/camera/color/image_raw',
            'device': 'cpu',
            'autostart': 'false',
            'log_level': 'warn',
            **{spec.switch: 'false' for spec in graph.NODES if spec.switch != 'interaction'},
        },
        {'interaction_node': {'turn.jitter_ms': 50.0}},
    )
    assert process.full_name == '/robot1/interaction_node'
    command = process.command()
    assert command[:3] == [sys.executable, '-m', 'interaction_node.interaction_node']
    text = ' '.join(command)
    assert '__ns:=/robot1' in text
    assert 'image:=/camera/color/image_raw ' in text
    assert 'image/compressed:=/camera/color/image_raw/compressed' in text
    assert text.index('interaction.yaml') < text.index(str(extra))
    assert '-p model.device:="cpu"' in text
    assert '-p autostart:=false' in text
    assert '-p turn.jitter_ms:=50.0' in text
    assert '--log-level warn' in text


def test_an_empty_argument_leaves_the_parameter_to_the_files():
    for process in graph.processes({'camera': 'true', 'recorder': 'true'}):
        assert process.parameters == {'use_sim_time': False}


def test_text_that_looks_like_a_number_stays_text():
    process = graph.processes({'microphone_device': '7'})[0]
    assert f'device:={json.dumps("7")}' in process.command()


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'microfone': 'true'}, 'no such argument'),
        ({'microphone': 'yes'}, "microphone is 'yes'"),
        ({'params_file': 'missing.yaml'}, 'params_file'),
    ],
)
def test_wrong_settings_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        graph.processes(given)


def test_unknown_node_is_named():
    with pytest.raises(ValueError, match='speeker'):
        graph.processes({}, {'speeker': {}})


def test_every_argument_sets_a_parameter_of_a_node_that_exists():
    executables = {spec.executable for spec in graph.NODES}
    assert len({argument.name for argument in graph.ARGUMENTS}) == len(graph.ARGUMENTS)
    for argument in graph.ARGUMENTS:
        assert argument.description
        assert argument.node in executables | {''}
        assert bool(argument.node) == bool(argument.parameter)
