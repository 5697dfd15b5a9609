# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from interaction_node import graph
from interaction_node.process_graph import ProcessGraph

SUPPORT = Path(__file__).resolve().parents[1] / 'support'
FAKE = {'model.factory': 'fakes:load_session'}
OFF = {spec.switch: 'false' for spec in graph.NODES}


@pytest.fixture
def running(tmp_path):
    """A function that starts nodes; the test ends them."""
    graphs = []

    def start(settings, parameters):
        nodes = graph.processes({**OFF, **settings}, parameters)
        graphs.append(ProcessGraph(nodes, tmp_path / 'log', {'PYTHONPATH': str(SUPPORT)}))
        graphs[-1].start()
        return graphs[-1]

    yield start
    for each in graphs:
        each.stop()


def test_starts_waits_stops_and_starts_again(running, tmp_path):
    settings = {'interaction': 'true', 'speaker': 'true', 'namespace': 'robot1'}
    speech = {'file': str(tmp_path / 'speech.wav')}
    graph_ = running(settings, {'interaction_node': FAKE, 'speaker_node': speech})
    graph_.wait_ready(30.0)
    assert graph_.poll() == {}
    assert 'listening' in graph_.log_path('interaction_node').read_text()
    assert graph_.stop_node('speaker_node') == 0
    graph_.start_node('speaker_node')
    graph_.wait_ready(30.0)
    assert graph_.stop() == {'interaction_node': 0, 'speaker_node': 0}
    assert graph_.stop() == {'interaction_node': 0, 'speaker_node': 0}


def test_a_node_that_ends_is_named_with_its_last_words(running):
    graph_ = running({'microphone': 'true'}, {'microphone_node': {'file': 'missing.wav'}})
    with pytest.raises(RuntimeError, match=r'microphone_node ended with exit code 1:\n.*missing'):
        graph_.wait_ready(30.0)
    assert graph_.stop() == {'microphone_node': 1}


def test_a_node_that_is_not_ready_is_named(running):
    parameters = {'interaction_node': {**FAKE, 'autostart': False}}
    graph_ = running({'interaction': 'true'}, parameters)
    with pytest.raises(TimeoutError, match='not ready after 3 s: /interaction_node'):
        graph_.wait_ready(3.0)
