# SPDX-License-Identifier: Apache-2.0
"""The interaction node over real DDS, with a fake model and a test that plays everybody else."""

import array
import threading
import time
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from duplex_interaction.msg import (
    ActionIntent,
    AudioChunk,
    ConversationEvent,
    MicroTurnStatus,
    Playback,
    SpeechChunk,
)
from duplex_interaction.srv import RequestPlan
from interaction_node import topic_qos
from interaction_node.conversation_messages import to_stamp

SUPPORT = Path(__file__).resolve().parents[1] / 'support'
TURN = 3200


class World:
    """Everybody around the interaction node: microphone, person, loudspeaker, planner."""

    def __init__(self, spy, node):
        self.spy = spy
        self.node = node
        self.status = spy.collect(MicroTurnStatus, 'micro_turn_status', topic_qos.MICRO_TURN_STATUS)
        self.speech = spy.collect(SpeechChunk, 'speech', topic_qos.SPEECH)
        self.events = spy.collect(ConversationEvent, 'conversation', topic_qos.CONVERSATION)
        self.intents = spy.collect(ActionIntent, 'action_intents', topic_qos.ACTION_INTENTS)
        self.diagnostics = spy.collect(DiagnosticArray, '/diagnostics', 10)
        self.microphones = []
        self._text = None

    def close(self):
        for stop, thread in self.microphones:
            stop.set()
            thread.join()

    def listen(self, *, first=0, frame_id='microphone', level=0, rate_hz=16_000, channels=1):
        """Starts a microphone that sends 20 ms at a time; returns what stops it."""
        publisher = self.spy.publisher(AudioChunk, 'audio', topic_qos.AUDIO)
        stop = threading.Event()

        def send():
            position, start_s = first, time.monotonic()
            count = rate_hz // 50
            while not stop.is_set():
                chunk = AudioChunk(first_sample=position, sample_rate_hz=rate_hz, channels=channels)
                chunk.pcm = array.array('h', [level] * count * channels)
                chunk.header.frame_id = frame_id
                chunk.header.stamp = self.spy.node.get_clock().now().to_msg()
                publisher.publish(chunk)
                position += count
                stop.wait(max(0.0, start_s + (position - first) / rate_hz - time.monotonic()))
            self.spy.node.destroy_publisher(publisher)

        thread = threading.Thread(target=send)
        thread.start()
        self.microphones.append((stop, thread))
        return stop

    def type(self, text, **fields):
        if self._text is None:
            self._text = self.spy.publisher(
                ConversationEvent, 'conversation', topic_qos.CONVERSATION, subscribers=2
            )
        self._text.publish(ConversationEvent(text=text, **fields))

    def wait(self, condition, what, timeout_s=15.0):
        self.spy.wait_until(condition, timeout_s, what)

    def said(self):
        return [chunk.text for chunk in self.speech if chunk.text]

    def of_kind(self, kind):
        return [event for event in self.events if event.kind == kind]

    def after(self, turns):
        """Waits for more micro-turns."""
        count = len(self.status) + turns
        self.wait(lambda: len(self.status) >= count, f'{turns} more micro-turns')

    def diagnosis(self):
        return self.diagnostics[-1].status[0] if self.diagnostics else None

    def check_indices(self):
        indices = [each.index for each in self.status]
        assert indices == list(range(indices[0], indices[0] + len(indices)))


@pytest.fixture
def world(spy, start_node):
    worlds = []

    def start(**params):
        params = {'model.factory': 'fakes:load_session', 'model.warm_up_turns': 1, **params}
        environment = {'PYTHONPATH': str(SUPPORT)}
        node = start_node('interaction_node', params=params, environment=environment)
        worlds.append(World(spy, node))
        if params.get('autostart', True):
            node.wait_for_output('listening')
        return worlds[-1]

    yield start
    for each in worlds:
        each.close()


def change_state(world, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return world.spy.call(ChangeState, '/interaction_node/change_state', request).success


def state(world):
    return world.spy.call(
        GetState, '/interaction_node/get_state', GetState.Request()
    ).current_state.id


def test_lifecycle(world):
    world = world(autostart=False)
    assert state(world) == State.PRIMARY_STATE_UNCONFIGURED
    assert not change_state(world, Transition.TRANSITION_ACTIVATE)
    assert change_state(world, Transition.TRANSITION_CONFIGURE)
    assert not world.spy.call(Trigger, '/interaction_node/interrupt', Trigger.Request()).success
    assert not world.status
    for _ in range(2):
        world.status.clear()
        assert change_state(world, Transition.TRANSITION_ACTIVATE)
        world.spy.wait_for_messages(world.status, 3)
        assert [each.index for each in world.status[:3]] == [0, 1, 2]
        assert change_state(world, Transition.TRANSITION_DEACTIVATE)
        count = len(world.status)
        time.sleep(0.5)
        assert len(world.status) <= count + 1
    assert world.speech[-1].flush
    assert change_state(world, Transition.TRANSITION_CLEANUP)
    assert state(world) == State.PRIMARY_STATE_UNCONFIGURED


def test_a_missing_checkpoint_is_told_and_does_not_end_the_node(world):
    world = world(autostart=False, **{'model.checkpoint': 'lost.safetensors'})
    for _ in range(2):
        assert not change_state(world, Transition.TRANSITION_CONFIGURE)
    assert world.node.output.count("there is no checkpoint 'lost.safetensors'") == 1
    world.wait(
        lambda: world.diagnosis() and 'lost.safetensors' in world.diagnosis().message, 'diagnostics'
    )


def test_speech_plays_in_the_micro_turn_after_the_decision(world):
    world = world()
    world.listen(first=160_000)
    world.after(5)
    world.type('say one two three')
    world.wait(lambda: world.speech and world.speech[-1].last, 'the end of the utterance')
    *spoken, end = world.speech
    assert [chunk.text for chunk in spoken] == ['one', 'two', 'three']
    decided = {each.text: each for each in world.status if each.text}
    for chunk in spoken:
        status = decided[chunk.text]
        assert chunk.first_sample == status.first_sample + TURN
        assert chunk.header.stamp == status.header.stamp
        assert len(chunk.pcm) == TURN
    assert [chunk.sequence for chunk in world.speech] == [0, 1, 2, 3]
    assert len({chunk.utterance_id for chunk in world.speech}) == 1
    assert not end.pcm
    world.check_indices()


def test_only_what_was_really_played_is_remembered(world):
    world = world()
    world.listen()
    world.type('say one two three')
    world.wait(lambda: len(world.said()) == 3, 'speech')
    playback = world.spy.publisher(Playback, 'playback', topic_qos.PLAYBACK)
    for played, done in ((TURN, False), (TURN + 1600, True)):
        report = Playback(first_sample=-1, utterance_id=world.speech[0].utterance_id)
        report.header.stamp = world.spy.node.get_clock().now().to_msg()
        report.sample_rate_hz, report.played, report.done = 16_000, played, done
        playback.publish(report)
    world.wait(lambda: world.of_kind(ConversationEvent.SAID), 'what was said')
    (said,) = world.of_kind(ConversationEvent.SAID)
    assert (said.role, said.text) == (ConversationEvent.ROBOT, 'one')
    assert said.heard_until == pytest.approx(0.3)


def test_what_is_heard_becomes_one_event(world):
    world = world()
    stop = world.listen(level=9000)
    world.after(4)
    stop.set()
    world.wait(
        lambda: any(event.final for event in world.of_kind(ConversationEvent.HEARD)),
        'a complete event',
    )
    heard = world.of_kind(ConversationEvent.HEARD)
    assert set(heard[-1].text.split()) == {'sound'}
    assert len({event.event_id for event in heard}) == 1
    assert [event.final for event in heard] == [False] * (len(heard) - 1) + [True]


def test_stop_flushes_and_becomes_an_intent(world):
    world = world()
    world.listen()
    world.type('say a b c d e f g h i j')
    world.wait(lambda: len(world.said()) == 2, 'speech')
    world.type('stop')
    world.wait(lambda: world.intents and world.speech[-1].flush, 'a flush')
    assert (world.intents[0].skill, world.intents[0].priority) == ('stop', ActionIntent.STOP)
    spoken = len(world.said())
    world.after(3)
    assert len(world.said()) == spoken
    (event,) = world.of_kind(ConversationEvent.INTENT)
    assert event.text == 'stop {}'
    assert event.micro_turn == world.intents[0].micro_turn


def test_interrupt_reset_and_mute(world):
    world = world()
    world.listen()
    call = world.spy.call
    world.type('say ' + 'word ' * 100)
    world.wait(lambda: len(world.said()) == 2, 'speech')
    assert call(Trigger, '/interaction_node/interrupt', Trigger.Request()).success
    world.wait(lambda: world.speech[-1].flush, 'a flush')
    world.after(3)
    count = len(world.said())
    assert call(SetBool, '/interaction_node/mute', SetBool.Request(data=True)).success
    world.type('say nothing')
    world.after(4)
    assert len(world.said()) == count
    assert call(SetBool, '/interaction_node/mute', SetBool.Request(data=False)).success
    world.type('say ' + 'more ' * 50)
    world.wait(lambda: world.said()[-1:] == ['more'], 'speech')
    before = world.events[-1].conversation_id
    assert call(Trigger, '/interaction_node/reset', Trigger.Request()).success
    world.after(3)
    count = len(world.said())
    world.type('go kitchen')
    world.wait(lambda: world.intents, 'an intent')
    assert len(world.said()) == count
    assert world.of_kind(ConversationEvent.INTENT)[-1].conversation_id != before
    world.check_indices()


@pytest.mark.parametrize('planner', ['absent', 'silent', 'refusing', 'late'])
def test_a_planner_that_fails_holds_nothing_up(world, planner):
    world = world(**{'planner.timeout_s': 0.6, 'planner.deadline_s': 1.5})
    world.listen()
    asked, release = [], threading.Event()

    def answer(request, response):
        asked.append(request)
        if planner == 'silent':
            release.wait(3.0)
        response.accepted = planner == 'late'
        response.message = 'too busy'
        return response

    if planner != 'absent':
        world.spy.node.create_service(RequestPlan, 'request_plan', answer)
        world.after(5)
    world.type('plan a tour')
    failed = ConversationEvent.PLAN_FAILED
    if planner == 'silent':  # it blocks our own executor, so look after it is over
        time.sleep(2.0)
        release.set()
    world.wait(lambda: world.of_kind(failed) and 'now' in world.said(), 'the failure is said')
    (request,) = world.of_kind(ConversationEvent.PLAN_REQUESTED)
    (event,) = world.of_kind(failed)
    assert event.in_reply_to == request.event_id
    assert ' '.join(world.said()) == 'i can not do that now'
    said = len(world.said())
    world.type(
        'too late',
        role=2,
        kind=ConversationEvent.PLAN_RESULT,
        event_id='x',
        final=True,
        in_reply_to=request.event_id,
    )
    world.after(4)
    assert len(world.said()) == said
    world.check_indices()
    # Micro-turns went on while the planner was waited for.
    waited = event.micro_turn - request.micro_turn
    assert waited >= {'absent': 0, 'refusing': 0, 'silent': 2, 'late': 5}[planner]


def test_a_plan_gets_the_whole_context_and_its_result_is_said(world):
    world = world(**{'planner.audio_s': 1.0})
    requests = []

    def answer(request, response):
        requests.append(request)
        response.accepted = True
        return response

    world.spy.node.create_service(RequestPlan, 'request_plan', answer)
    camera = world.spy.publisher(Image, 'image', 10)
    world.listen()
    image = Image(height=4, width=4, encoding='rgb8', step=12, data=array.array('B', [200] * 48))
    image.header.stamp = world.spy.node.get_clock().now().to_msg()
    camera.publish(image)
    world.type('{"battery": 0.5}', role=3, kind=ConversationEvent.STATE)
    world.type('go kitchen', event_id='typed', final=True)
    world.after(6)
    world.type('plan a tour')
    world.wait(lambda: requests, 'a request')
    (request,) = requests
    assert request.goal == 'a tour'
    assert any(skill.startswith('navigate_to(') for skill in request.skills)
    texts = [event.text for event in request.context]
    assert texts[-4:] == ['go kitchen', 'navigate_to {"place": "kitchen"}', 'plan a tour', 'a tour']
    assert request.robot_state == '{"battery": 0.5}'
    assert len(request.audio) == 16_000
    assert bytes(request.frame.data[:2]) == b'\xff\xd8'
    assert request.deadline.sec > image.header.stamp.sec
    for kind, text, final in (
        (ConversationEvent.PLAN_PARTIAL, 'first', False),
        (ConversationEvent.PLAN_RESULT, 'first the hall', True),
    ):
        fields = {'role': 2, 'kind': kind, 'final': final, 'in_reply_to': request.request_id}
        world.type(text, event_id='result', **fields)
    world.wait(lambda: len(world.said()) >= 3, 'the result')
    world.after(3)
    assert world.said() == ['first', 'the', 'hall']


def bad_images():
    yield Image()
    yield Image(height=480, width=640, encoding='rgb8', step=1920, data=array.array('B', [1] * 10))
    yield Image(height=2, width=2, encoding='nonsense', step=6, data=array.array('B', [1] * 12))
    yield Image(height=2**31, width=2**31, encoding='rgb8', step=2**31, data=array.array('B', [1]))
    yield Image(height=2, width=2, encoding='rgb8', step=1, data=array.array('B', [1] * 12))


def bad_audio():
    yield AudioChunk()
    yield AudioChunk(sample_rate_hz=16_000, channels=0, pcm=array.array('h', [1] * 320))
    yield AudioChunk(sample_rate_hz=3, channels=1, pcm=array.array('h', [1] * 320))
    yield AudioChunk(sample_rate_hz=16_000, channels=2, pcm=array.array('h', [1] * 321))
    yield AudioChunk(first_sample=2**64 - 1, sample_rate_hz=16_000, channels=1, pcm=[1] * 320)


def test_bad_messages_are_told_once_and_hold_nothing_up(world):
    world = world()
    world.listen()
    world.after(3)
    senders = {
        topic: world.spy.publisher(message_type, topic, qos)
        for message_type, topic, qos in (
            (Image, 'image', 10),
            (CompressedImage, 'image/compressed', 10),
            (AudioChunk, 'audio', topic_qos.AUDIO),
            (Playback, 'playback', topic_qos.PLAYBACK),
        )
    }
    for _ in range(3):
        for image in bad_images():
            senders['image'].publish(image)
        for data in (b'', b'\xff\xd8 no jpeg'):
            compressed = CompressedImage(format='jpeg', data=array.array('B', data))
            senders['image/compressed'].publish(compressed)
        for chunk in bad_audio():
            senders['audio'].publish(chunk)
        senders['playback'].publish(Playback())
        senders['playback'].publish(Playback(first_sample=-5, played=7, pcm=[1, 2], done=True))
        world.type('', role=9, kind=200)
        world.type('', event_id='x' * 10_000)
        world.after(1)
    world.wait(
        lambda: world.diagnosis() and 'nonsense' not in world.diagnosis().message, 'diagnostics'
    )
    world.type('say fine')
    world.wait(lambda: 'fine' in world.said(), 'it still works')
    world.check_indices()
    assert world.node.output.count('role is 9') == 1
    lines = [line.split(']: ')[1] for line in world.node.output.splitlines() if '[ERROR]' in line]
    assert len(lines) == len(set(lines)) > 5, world.node.output


@pytest.mark.parametrize(('rate_hz', 'channels'), [(48_000, 2), (44_100, 1)])
def test_other_microphones_are_understood(world, rate_hz, channels):
    world = world()
    world.listen(rate_hz=rate_hz, channels=channels, level=9000)
    world.wait(lambda: world.of_kind(ConversationEvent.HEARD), 'sound is heard')
    world.after(3)
    assert all(each.audio_gap_samples == 0 for each in world.status[-2:])
    world.check_indices()


def test_a_second_microphone_is_told_and_a_restarted_one_is_taken(world):
    world = world()
    first = world.listen(level=100, frame_id='left')
    world.after(3)
    second = world.listen(level=100, frame_id='right', first=7_000_000)
    world.wait(
        lambda: world.diagnosis() and 'only one is listened to' in world.diagnosis().message,
        'the second microphone in the diagnostics',
    )
    first.set()
    world.wait(lambda: world.status[-1].first_sample >= 6_990_000, 'the second one takes over')
    second.set()
    world.listen(level=100, frame_id='left')
    world.wait(
        lambda: world.status[-1].first_sample < 1_000_000 and not world.status[-1].missing & 1,
        'the restarted one is heard',
    )
    world.check_indices()


@pytest.mark.parametrize('reliability', [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
def test_a_camera_of_any_reliability_is_seen(world, reliability):
    world = world()
    world.listen()
    camera = world.spy.node.create_publisher(
        Image, 'image', QoSProfile(depth=5, reliability=reliability)
    )
    image = Image(height=2, width=2, encoding='bgr8', step=6, data=array.array('B', [9] * 12))

    def is_seen():
        image.header.stamp = world.spy.node.get_clock().now().to_msg()
        camera.publish(image)
        return bool(world.status) and world.status[-1].image_age_ms >= 0

    world.wait(is_seen, 'an image')


def test_a_model_that_fails_or_is_slow_leaves_no_holes(world):
    world = world()
    world.listen()
    world.type('fail')
    world.wait(lambda: 'told to fail' in world.node.output, 'the error')
    world.after(1)
    world.type('slow 0.5')
    world.wait(lambda: world.status[-1].deadlines_missed > 6, 'missed deadlines', 20.0)
    assert max(each.backlog for each in world.status) > 0
    world.wait(lambda: world.diagnosis() and 'too slow' in world.diagnosis().message, 'diagnostics')
    world.type('slow 0')
    world.wait(
        lambda: world.status[-1].backlog == 0 and not world.status[-1].deadline_missed,
        'it catches up',
        30.0,
    )
    world.type('say fine')
    world.wait(lambda: 'fine' in world.said(), 'it still works')
    world.check_indices()


def test_simulated_time_paces_the_micro_turns(world):
    world = world(use_sim_time=True)
    clock = world.spy.publisher(Clock, '/clock', 10)

    def simulate(for_s):
        for _ in range(round(for_s / 0.05)):
            simulate.now_s += 0.05
            clock.publish(Clock(clock=to_stamp(simulate.now_s)))
            time.sleep(0.01)

    def keep_telling(condition):
        """Says again what time it is: a clock is best effort."""
        clock.publish(Clock(clock=to_stamp(simulate.now_s)))
        return condition()

    simulate.now_s = 100.0
    while not world.status and simulate.now_s < 130.0:  # until the node has found the clock
        simulate(0.5)
    begun = len(world.status)
    simulate(4.0)
    world.wait(
        lambda: keep_telling(lambda: len(world.status) >= begun + 18),
        '4 s of micro-turns in less than 2 s',
    )
    time.sleep(0.3)
    count = len(world.status)
    time.sleep(1.0)
    assert len(world.status) <= count + 1
    world.type('say hello')
    simulate(2.0)
    world.wait(lambda: keep_telling(lambda: 'hello' in world.said()), 'speech')
    assert 100 <= world.speech[0].header.stamp.sec <= simulate.now_s
    world.check_indices()
