# SPDX-License-Identifier: Apache-2.0
"""Nodes that end and come back while the others run."""

import time
from pathlib import Path

import numpy as np
import soundfile

from duplex_interaction.msg import ConversationEvent, MicroTurnStatus
from interaction_node import graph, topic_qos
from interaction_node.process_graph import ProcessGraph

SUPPORT = Path(__file__).resolve().parents[1] / 'support'
NAMES = ('microphone', 'interaction', 'speaker', 'planner')


def test_microphone_speaker_and_planner_may_come_and_go(tmp_path, spy):
    pcm = np.random.default_rng(0).integers(-500, 500, 16_000).astype(np.int16)
    soundfile.write(tmp_path / 'in.wav', pcm, 16_000)
    settings = {spec.switch: str(spec.switch in NAMES).lower() for spec in graph.NODES}
    parameters = {
        'microphone_node': {'file': str(tmp_path / 'in.wav'), 'loop': True},
        'speaker_node': {'file': str(tmp_path / 'out.wav')},
        'interaction_node': {'model.factory': 'fakes:load_session'},
    }
    status = spy.collect(MicroTurnStatus, 'micro_turn_status', topic_qos.MICRO_TURN_STATUS)
    events = spy.collect(ConversationEvent, 'conversation', topic_qos.CONVERSATION)
    nodes = graph.processes(settings, parameters)
    with ProcessGraph(nodes, tmp_path / 'log', {'PYTHONPATH': str(SUPPORT)}) as running:
        running.wait_ready(60.0)
        typed = spy.publisher(
            ConversationEvent, 'conversation', topic_qos.CONVERSATION, subscribers=2
        )

        def is_said(word):
            said = ConversationEvent.SAID
            return any(event.kind == said and word in event.text for event in events)

        for number, name in enumerate(('microphone_node', 'speaker_node', 'planner_node')):
            running.stop_node(name, 15.0)
            count = len(status)
            spy.wait_until(lambda count=count: len(status) > count + 5, what=f'life without {name}')
            running.start_node(name)
            running.wait_ready(60.0)
            spy.wait_until(lambda: not status[-1].missing & MicroTurnStatus.AUDIO, what='sound')
            # Ready means that a node runs; that its peers have found it may take a moment longer,
            # and a word that nobody was there to play is not said later.
            end_s = time.monotonic() + 15.0
            while not is_said(f'word{number}'):
                assert time.monotonic() < end_s, f'silent after {name} came back'
                typed.publish(ConversationEvent(text=f'say word{number}'))
                time.sleep(3.0)
    indices = [each.index for each in status]
    assert indices == list(range(indices[0], indices[0] + len(indices)))
