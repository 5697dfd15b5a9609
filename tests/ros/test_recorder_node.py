# SPDX-License-Identifier: Apache-2.0
"""The recorder over DDS: what is published can be read back, by us and by others."""

import array
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import Image

from duplex_interaction.msg import AudioChunk, ConversationEvent, MicroTurnStatus
from interaction_node import topic_qos
from interaction_node.bag_reading import bag_messages, bag_topics, read_bag
from interaction_node.recording import Recording, Sample

BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def record(spy, start_node, tmp_path):
    """A function that starts the recorder and waits for it; the folder is `tmp_path / 'bag'`."""

    def start(**params):
        remaps = params.pop('remaps', {})
        params = {'uri': str(tmp_path / 'bag'), **params}
        recorder = start_node('recorder_node', params=params, remaps=remaps)
        recorder.wait_for_output('recording to')
        return recorder

    return start


def chunk(number: int) -> AudioChunk:
    pcm = array.array('h', [number, -number] * 160)
    return AudioChunk(first_sample=320 * number, sample_rate_hz=16_000, channels=1, pcm=pcm)


def test_what_is_published_is_read_back_by_us_and_by_others(spy, record, tmp_path):
    recorder = record()
    audio = spy.publisher(AudioChunk, 'audio', topic_qos.AUDIO)
    status = spy.publisher(MicroTurnStatus, 'micro_turn_status', topic_qos.MICRO_TURN_STATUS)
    time.sleep(0.5)  # we have found the recorder; it may still have to find us
    for number in range(100):
        audio.publish(chunk(number))
        if number % 10 == 0:
            status.publish(MicroTurnStatus(index=number, text=f'wörd {number}'))
        time.sleep(0.01)
    before_s = spy.node.get_clock().now().nanoseconds * 1e-9
    time.sleep(0.5)
    recorder.stop()

    found = read_bag(tmp_path / 'bag', ['audio', '/micro_turn_status', 'speech'])
    chunks = [recorded.message for recorded in found['audio']]
    assert [message.first_sample for message in chunks] == [320 * n for n in range(100)]
    assert np.array_equal(chunks[7].pcm, np.array([7, -7] * 160, np.int16))
    times_s = [recorded.time_s for recorded in found['audio']]
    assert times_s == sorted(times_s)
    assert before_s - 30.0 < times_s[0] < times_s[-1] < before_s + 1.0
    texts = {recorded.message.text for recorded in found['/micro_turn_status']}
    assert texts  # best effort: some may be lost on a busy machine
    assert texts <= {f'wörd {number}' for number in range(0, 100, 10)}
    assert found['speech'] == []

    file = tmp_path / 'bag' / 'bag.mcap'
    with file.open('rb') as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        others = [message for *_, message in reader.iter_decoded_messages(topics=['/audio'])]
    assert [message.first_sample for message in others] == [320 * n for n in range(100)]
    assert list(others[7].pcm) == [7, -7] * 160
    with AnyReader([tmp_path / 'bag']) as reader:
        qos = next(c for c in reader.connections if c.topic == '/audio').ext.offered_qos_profiles
    assert qos[0].reliability.name == 'RELIABLE'
    assert len(list(bag_messages(file))) == sum(bag_topics(tmp_path / 'bag').values())


def test_topics_that_come_late_with_other_types_and_qualities_are_recorded(spy, record, tmp_path):
    recorder = record(topics=['image', 'conversation', 'later'])
    events = spy.node.create_publisher(ConversationEvent, 'conversation', topic_qos.CONVERSATION)
    events.publish(ConversationEvent(text='said before anybody listened'))
    images = spy.publisher(Image, 'image', BEST_EFFORT)
    pixels = array.array('B', [9] * 6)
    images.publish(Image(width=2, height=1, encoding='rgb8', step=6, data=pixels))
    keeping = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    later = spy.node.create_publisher(Twist, 'later', keeping)
    for _ in range(2):
        later.publish(Twist())
    spy.wait_until(lambda: later.get_subscription_count() == 1, what='a late subscription')
    time.sleep(0.7)
    recorder.stop()
    assert bag_topics(tmp_path / 'bag') == {'/image': 1, '/conversation': 1, '/later': 2}
    image = read_bag(tmp_path / 'bag', ['image'])['image'][0].message
    assert image.data.tobytes() == bytes([9] * 6)


def test_a_publisher_of_another_quality_does_not_stop_the_recording(spy, record, tmp_path):
    recorder = record(topics=['status'])
    first = spy.publisher(MicroTurnStatus, 'status', 10)
    first.publish(MicroTurnStatus(index=1))
    time.sleep(0.3)
    second = spy.publisher(MicroTurnStatus, 'status', BEST_EFFORT)
    time.sleep(0.5)
    second.publish(MicroTurnStatus(index=2))
    first.publish(MicroTurnStatus(index=3))
    time.sleep(0.5)
    recorder.stop()
    found = read_bag(tmp_path / 'bag', ['status'])['status']
    assert [recorded.message.index for recorded in found] == [1, 2, 3]


def test_in_a_namespace_its_topics_and_the_common_ones_are_recorded(spy, record, tmp_path):
    recorder = record(remaps={'__ns': '/robot1'})
    diagnostics = spy.collect(DiagnosticArray, '/diagnostics')
    audio = spy.publisher(AudioChunk, '/robot1/audio', topic_qos.AUDIO)
    audio.publish(chunk(1))

    def told() -> bool:
        values = [v for a in diagnostics for status in a.status for v in status.values]
        return any(v.key == 'messages /robot1/audio' and v.value == '1' for v in values)

    spy.wait_until(told, what='the count in the diagnostics')
    time.sleep(1.2)
    recorder.stop()
    topics = bag_topics(tmp_path / 'bag')
    assert topics['/robot1/audio'] == 1
    assert topics['/diagnostics'] >= 1
    assert read_bag(tmp_path / 'bag', ['audio'])['audio'][0].topic == '/robot1/audio'


def test_without_messages_the_recording_is_still_readable(record, tmp_path):
    record(topics=['nothing']).stop()
    assert bag_topics(tmp_path / 'bag') == {}
    assert list(bag_messages(tmp_path / 'bag')) == []


def test_a_folder_that_exists_is_not_overwritten(start_node, tmp_path):
    node = start_node('recorder_node', params={'uri': str(tmp_path)})
    assert node.wait() == 1
    assert "parameter 'uri'" in node.output
    assert 'exists already' in node.output
    assert 'Traceback' not in node.output


SAMPLE = Sample('/t', 'std_msgs/msg/UInt8MultiArray', 1, bytes(100_000))


def test_what_the_disk_can_not_take_is_dropped_and_counted(tmp_path):
    recording = Recording(tmp_path / 'bag', max_queue_bytes=250_000)
    taken = [recording.write(SAMPLE) for _ in range(200)]
    recording.close()
    assert not all(taken)
    assert recording.dropped['/t'] == taken.count(False)
    assert recording.written['/t'] == taken.count(True) == bag_topics(tmp_path / 'bag')['/t']
    assert not recording.write(SAMPLE)


def test_a_type_that_is_not_installed_is_told_and_the_rest_recorded(tmp_path):
    recording = Recording(tmp_path / 'bag', compress=True)
    recording.write(Sample('/x', 'no_such_msgs/msg/Thing', 1, bytes(4)))
    recording.write(SAMPLE)
    recording.close()
    assert '/x is not recorded: no definition of no_such_msgs/msg/Thing' in recording.errors['/x']
    assert bag_topics(tmp_path / 'bag') == {'/t': 1}


def test_a_relative_name_that_stands_for_two_topics_is_refused(tmp_path):
    recording = Recording(tmp_path / 'bag')
    for namespace in ('/a', '/b'):
        recording.write(Sample(f'{namespace}/t', SAMPLE.type_name, 1, bytes(16)))
    recording.close()
    with pytest.raises(ValueError, match='stands for /a/t, /b/t'):
        read_bag(tmp_path / 'bag', ['t'])
    assert len(read_bag(tmp_path / 'bag', ['/b/t'])['/b/t']) == 1


def test_what_is_no_recording_is_told(tmp_path):
    (tmp_path / 'x.mcap').write_bytes(b'no')
    for path in (tmp_path / 'x.mcap', tmp_path / 'nowhere'):
        with pytest.raises(ValueError, match='can not be read'):
            bag_topics(path)
