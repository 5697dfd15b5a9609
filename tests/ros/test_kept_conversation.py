# SPDX-License-Identifier: Apache-2.0
"""The interaction node keeps its conversation in a file, over real DDS and real restarts."""

import itertools
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from std_srvs.srv import Trigger

from duplex_interaction.msg import ConversationEvent, MicroTurnStatus, SpeechChunk
from interaction_node import topic_qos

SUPPORT = Path(__file__).resolve().parents[1] / 'support'


class Life:
    """One run of the interaction node, and who talks to it."""

    def __init__(self, spy, node, space):
        self.spy, self.node, self._space = spy, node, space
        node.wait_for_output('listening')
        self.status = self._collect(
            MicroTurnStatus, 'micro_turn_status', topic_qos.MICRO_TURN_STATUS
        )
        self.speech = self._collect(SpeechChunk, 'speech', topic_qos.SPEECH)
        self._text = spy.publisher(
            ConversationEvent, f'{space}/conversation', topic_qos.CONVERSATION
        )

    def _collect(self, message_type, topic, qos):
        return self.spy.collect(message_type, f'{self._space}/{topic}', qos)

    def type(self, text):
        self._text.publish(ConversationEvent(text=text))

    def after(self, turns):
        count = len(self.status) + turns
        self.spy.wait_until(lambda: len(self.status) >= count, what=f'{turns} more micro-turns')

    def learn(self, word):
        """Teaches a word, and waits until it is surely known."""
        self.after(1)
        self.type(f'learn {word}')
        assert word in self.tell()

    def tell(self):
        """Everything that the model says it remembers."""
        said = len(self.speech)
        self.type('tell')

        def over():
            return any(chunk.last for chunk in self.speech[said:])

        self.spy.wait_until(over, what='the end of what it tells')
        return ' '.join(chunk.text for chunk in self.speech[said:] if chunk.text)

    def change(self, transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        service = f'{self._space}/interaction_node/change_state'
        assert self.spy.call(ChangeState, service, request).success

    def reset(self):
        service = f'{self._space}/interaction_node/reset'
        assert self.spy.call(Trigger, service, Trigger.Request()).success


@pytest.fixture
def live(spy, start_node, tmp_path):
    spaces = (f'/life{number}' for number in itertools.count())

    def start(checkpoint='lasting', period_s=60.0):
        space = next(spaces)  # of its own: one that was killed lingers in the graph for a while
        params = {
            'model.factory': 'fakes:load_session',
            'model.checkpoint': checkpoint,
            'model.warm_up_turns': 1,
            'model.snapshot_file': str(tmp_path / 'kept.safetensors'),
            'model.snapshot_period_s': period_s,
            'speech.pause_ms': 200.0,
        }
        node = start_node(
            'interaction_node',
            params=params,
            remaps={'__ns': space},
            environment={'PYTHONPATH': str(SUPPORT)},
        )
        return Life(spy, node, space)

    return start


def test_a_conversation_goes_on_after_a_restart_and_a_reset_ends_it(live, tmp_path):
    kept = tmp_path / 'kept.safetensors'
    first = live()
    first.learn('red')
    assert not kept.exists()
    first.node.stop()
    assert kept.exists()
    second = live()
    assert f'to go on with the conversation in {kept}' in second.node.output
    assert second.tell() == 'red'
    second.change(Transition.TRANSITION_DEACTIVATE)
    second.change(Transition.TRANSITION_ACTIVATE)
    assert set(second.tell().split()) == {'red'}  # what was just typed may count once more
    second.reset()
    second.spy.wait_until(lambda: not kept.exists(), what='the file is removed')
    assert second.tell() == 'nothing'
    second.learn('blue')
    second.after(10)  # what was just typed would count once more
    second.change(Transition.TRANSITION_DEACTIVATE)
    assert kept.exists()
    second.reset()
    second.spy.wait_until(lambda: not kept.exists(), what='the file is removed')
    second.change(Transition.TRANSITION_ACTIVATE)
    assert second.tell() == 'nothing'
    second.node.stop()
    assert live().tell() == 'nothing'


def test_a_crash_costs_at_most_a_period(live, tmp_path):
    first = live(period_s=0.4)
    first.learn('green')
    first.after(5)
    first.node.kill()
    assert (tmp_path / 'kept.safetensors').exists()
    assert live().tell() == 'green'


@pytest.mark.parametrize('content', ['of another checkpoint', 'broken'])
def test_a_file_that_does_not_fit_is_told_once(live, tmp_path, content):
    kept = tmp_path / 'kept.safetensors'
    if content == 'broken':
        kept.write_bytes(b'broken')
        why = 'can not be read'
    else:
        live('other').node.stop()
        why = 'another checkpoint'
    life = live()
    assert life.tell() == 'nothing'
    lines = [line for line in life.node.output.splitlines() if '[WARN]' in line and why in line]
    assert len(lines) == 1
    assert str(kept) in lines[0]


def test_a_model_without_snapshots_is_told(live):
    life = live('')
    assert "parameter 'model.snapshot_file'" in life.node.output
    life.after(3)
