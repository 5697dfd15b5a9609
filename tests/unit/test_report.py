# SPDX-License-Identifier: Apache-2.0
"""A small recording, written here without ROS, comes out of the report as it went in."""

import json
import math

import numpy as np
import pytest
import soundfile

from interaction_node import report
from interaction_node.bag_types import BagTypes
from interaction_node.conversation_log import Kind
from interaction_node.model.interface import Role
from interaction_node.recording import Recording, Sample
from interaction_node.report_latency import Latency
from interaction_node.session_timeline import Timeline, Turn, read_timeline

ZERO_S = 1_000.0  # ROS time of the microphone's sample 0
TURN, CHUNK = 3_200, 320
SECONDS = 4
USER = np.random.default_rng(1).integers(-9_000, 9_000, SECONDS * 16_000).astype(np.int16)
LOST = 37  # a chunk that never came
VOICE = np.random.default_rng(2).integers(-5_000, 5_000, 2 * TURN).astype(np.int16)


class Bag:
    """Writes messages by topic; fields that are not given are 0, '' or empty."""

    def __init__(self, path):
        self._recording = Recording(path)
        self._types = BagTypes()

    def write(self, topic, type_name, stamp_s=0.0, at_s=None, **fields):
        store = self._types.store_with(type_name)
        message = self._message(store, type_name, fields)
        if hasattr(message, 'header'):
            message.header.stamp.sec = math.floor(ZERO_S + stamp_s)
            message.header.stamp.nanosec = round((ZERO_S + stamp_s) % 1 * 1e9)
        time_ns = round((ZERO_S + (stamp_s if at_s is None else at_s)) * 1e9)
        data = bytes(store.serialize_cdr(message, type_name))
        assert self._recording.write(Sample(topic, type_name, time_ns, data))

    def own(self, topic, name, stamp_s=0.0, at_s=None, **fields):
        self.write(f'/robot1/{topic}', f'duplex_interaction/msg/{name}', stamp_s, at_s, **fields)

    def close(self):
        self._recording.close()
        assert not self._recording.errors

    def _message(self, store, type_name, fields):
        values = {}
        for name, (kind, detail) in store.fielddefs[type_name][1]:
            if name in fields:
                values[name] = fields[name]
            elif kind.name == 'NAME':
                values[name] = self._message(store, detail, {})
            elif kind.name == 'BASE':
                values[name] = {'string': '', 'bool': False}.get(detail[0], 0)
            else:
                values[name] = np.zeros(0, detail[0][1][0])
        assert set(fields) <= set(values), set(fields) - set(values)
        return store.types[type_name](**values)


def write_sound(bag):
    for number in range(len(USER) // CHUNK):
        first = number * CHUNK
        if number != LOST:
            bag.own(
                'audio',
                'AudioChunk',
                first / 16_000,
                first_sample=first,
                sample_rate_hz=16_000,
                channels=1,
                pcm=USER[first : first + CHUNK],
            )


def write_turns(bag):
    for index in range(SECONDS * 5):
        bag.own(
            'micro_turn_status',
            'MicroTurnStatus',
            (index + 1) * 0.2,
            index=index,
            first_sample=index * TURN,
            step_ms=10.0 + index,
            deadline_missed=index == 7,
            control='speak' if index in (5, 6) else 'silent',
        )


def write_voice(bag):
    """Two utterances: one placed by count, decided in micro-turn 5, and one placed by its stamp."""
    for n, word in enumerate(('hello', 'there')):
        first, pcm = (6 + n) * TURN, VOICE[n * TURN : (n + 1) * TURN]
        common = {'utterance_id': 'u0', 'sequence': n, 'sample_rate_hz': 16_000, 'pcm': pcm}
        bag.own('speech', 'SpeechChunk', first / 16_000, first_sample=first, text=word, **common)
        told_s = first / 16_000 + 0.05  # 50 ms after it was due
        bag.own('playback', 'Playback', first / 16_000, told_s, first_sample=first, **common)
    late = {'utterance_id': 'u1', 'first_sample': -1, 'sample_rate_hz': 16_000, 'pcm': VOICE[:160]}
    bag.own('playback', 'Playback', 2.5, **late)


def write_words(bag):
    def event(stamp_s, kind, text, event_id, role=Role.USER, **fields):
        fields = {'heard_until': -1.0, 'final': True, **fields}
        bag.own(
            'conversation',
            'ConversationEvent',
            stamp_s,
            kind=int(kind),
            role=int(role),
            text=text,
            event_id=event_id,
            **fields,
        )

    event(0.4, Kind.HEARD, 'hello', 'a', final=False)
    event(0.8, Kind.HEARD, 'hello robot', 'a')
    event(1.2, Kind.SAID, 'hello there', 'b', Role.ROBOT, heard_until=0.4)
    event(1.6, Kind.TEXT, 'go on', '')
    event(1.7, Kind.TEXT, 'be quick', '', Role.SYSTEM)
    event(2.0, Kind.PLAN_REQUESTED, 'plan a tour', 'c', Role.ROBOT)
    event(2.4, Kind.PLAN_PARTIAL, 'Start', 'd', Role.PLANNER, final=False)
    event(2.8, Kind.PLAN_RESULT, 'Start in the hallway.', 'e', Role.PLANNER)
    event(3.0, Kind.PLAN_FAILED, 'no planner is running', 'f', Role.SYSTEM)


def write_actions(bag):
    for name, skill, arguments in (
        ('i0', 'navigate_to', '{"place": "kitchen"}'),
        ('i1', 'stop', ''),
    ):
        bag.own(
            'action_intents', 'ActionIntent', 1.0, intent_id=name, skill=skill, arguments=arguments
        )
    bag.own('gate_decisions', 'GateDecision', 1.1, intent_id='i0', allowed=False, detail='too far')
    bag.own('gate_decisions', 'GateDecision', 1.1, intent_id='i1', allowed=True)


def write_images(bag):
    def image(stamp_s, encoding, colour):
        size = {'width': 8, 'height': 6, 'step': 24, 'encoding': encoding}
        pixels = np.tile(np.array(colour, np.uint8), 48)
        bag.write('/robot1/image', 'sensor_msgs/msg/Image', stamp_s, data=pixels, **size)

    image(0.0, 'rgb8', (250, 0, 0))
    image(1.0, 'rgb8', (0, 250, 0))
    image(2.5, 'bgr8', (250, 0, 0))
    image(5.0, 'strange', (0, 0, 0))


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp('recording') / 'session'
    bag = Bag(path)
    for write in (write_sound, write_turns, write_voice, write_words, write_actions, write_images):
        write(bag)
    bag.close()
    return path


@pytest.fixture(scope='module')
def timeline(bag):
    return read_timeline(bag)


def test_both_voices_lie_where_they_sounded(timeline):
    heard = USER.copy()
    heard[LOST * CHUNK : (LOST + 1) * CHUNK] = 0
    assert np.array_equal(timeline.user, heard)
    said = np.zeros(len(USER), np.int16)
    said[6 * TURN : 8 * TURN] = VOICE
    said[40_000:40_160] = VOICE[:160]
    assert np.array_equal(timeline.robot, said)


def test_an_utterance_begins_when_a_listener_could_have_it(timeline):
    first, second = timeline.onsets
    assert (first.text, first.step_ms) == ('hello there', 15.0)
    assert first.window_end_s == pytest.approx(1.2)
    assert first.t == pytest.approx(1.25, abs=1e-6)
    assert second.t == pytest.approx(2.5, abs=1e-4)


def test_the_conversation_is_told_once_and_in_order(timeline):
    marks = [(round(m.t, 2), m.kind, m.text) for m in timeline.marks if m.kind not in ('intent',)]
    assert marks == [
        (0.4, 'heard', 'hello robot'),
        (1.0, 'refused', 'navigate_to(kitchen)'),
        (1.2, 'said', 'hello there'),
        (1.6, 'typed', 'go on'),
        (2.0, 'plan', 'plan a tour'),
        (2.8, 'plan', 'result: Start in the hallway.'),
        (3.0, 'plan', 'plan_failed: no planner is running'),
    ]
    assert timeline.plans == ['Start in the hallway.']
    assert timeline.said == ['hello there']
    said = next(mark for mark in timeline.marks if mark.kind == 'said')
    assert said.end == pytest.approx(1.6)


def test_what_the_gate_refused_is_told(timeline):
    allowed = {intent['skill']: intent['allowed'] for intent in timeline.intents}
    assert allowed == {'navigate_to': False, 'stop': True}
    assert timeline.intents[0]['arguments'] == {'place': 'kitchen'}


def test_pictures_are_two_seconds_apart_and_in_colour(timeline):
    assert [t for t, _ in timeline.thumbnails] == [pytest.approx(0.0), pytest.approx(2.5)]
    assert timeline.thumbnails[0][1].shape == (120, 160, 3)
    colours = [tuple(picture[60, 80]) for _, picture in timeline.thumbnails]
    assert colours == [(250, 0, 0), (0, 0, 250)]


def test_the_summary_counts_what_happened(timeline):
    summary = report.summarise(timeline, [])
    assert summary['duration_s'] == SECONDS
    assert (summary['micro_turns'], summary['missed_deadlines']) == (20, 1)
    assert (summary['step_ms_p50'], summary['step_ms_max']) == (19.5, 29.0)
    assert summary['heard'] == ['hello robot']
    assert summary['planner_results'] == ['Start in the hallway.']
    assert summary['response_latency_s_mean'] is None
    assert 'responses' not in summary
    json.dumps(summary)


def test_the_mean_latency_is_the_sum_of_its_parts(timeline):
    latencies = [
        Latency('a', 'b', 0.30, 0.10, 0.00, 0.05, 0.15),
        Latency('c', 'd', 0.50, 0.00, 0.20, 0.05, 0.25),
    ]
    summary = report.summarise(timeline, latencies)
    assert summary['response_latency_s_mean'] == 0.4
    parts = ('wait_for_window', 'decision', 'step', 'transport')
    assert sum(summary[f'response_{part}_s_mean'] for part in parts) == pytest.approx(0.4)
    assert [each['asked'] for each in summary['responses']] == ['a', 'c']


def test_a_recording_without_micro_turns_has_a_summary():
    nothing = np.zeros(16_000, np.int16)
    assert report.summarise(Timeline(nothing, nothing), [])['micro_turns'] == 0
    one = Timeline(nothing, nothing, turns=[Turn(0, 0.2, 12.0, False, 'silent')])
    assert report.summarise(one, [])['step_ms_p99'] == 12.0


def test_peaks_are_relative_to_the_loudest():
    pcm = np.zeros(1_000, np.int16)
    pcm[[10, 450, 999]] = (-20_000, 10_000, 32_767)
    assert report.peaks(pcm) == [1.0, 0.5]  # what fills no whole 25 ms is left out
    assert report.peaks(np.full(800, -32_768, np.int16)) == [1.0, 1.0]
    assert report.peaks(np.zeros(400, np.int16)) == [0.0]
    assert report.peaks(np.zeros(10, np.int16)) == []


def test_everything_is_written(bag, tmp_path):
    script = [{'start': 0.5, 'end': 1.03, 'text': 'hello </script>', 'answer': 'hello'}]
    summary = report.write_report(bag, tmp_path / 'made', script, 'A </script> title')
    folder = tmp_path / 'made'
    assert json.loads((folder / 'summary.json').read_text()) == summary
    assert summary['response_latency_s_mean'] == pytest.approx(0.22, abs=1e-3)
    pcm, rate_hz = soundfile.read(folder / 'speech.wav', dtype='int16')
    assert rate_hz == 16_000
    assert np.array_equal(pcm[6 * TURN : 8 * TURN], VOICE)
    assert (folder / 'timeline.png').read_bytes().startswith(b'\x89PNG')
    page = (folder / 'session.html').read_text()
    assert '/*DATA*/' not in page
    assert page.count('</script>') == 1, 'data must not end the script'
    assert 'hello robot' in page
    assert 'data:audio/mpeg;base64,' in page


def test_a_recording_without_sound_is_refused(tmp_path, capsys):
    bag = Bag(tmp_path / 'session')
    write_turns(bag)
    bag.close()
    options = ['--bag', str(tmp_path / 'session'), '--output', str(tmp_path / 'made')]
    assert report.main(options) == 1
    assert 'no audio messages' in capsys.readouterr().err
    assert not (tmp_path / 'made').exists()
