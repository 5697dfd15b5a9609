# SPDX-License-Identifier: Apache-2.0
"""A sound file as the microphone: samples, stamps, pace, end, errors. Over DDS, in a process."""

import time

import numpy as np
import pytest
import soundfile
from diagnostic_msgs.msg import DiagnosticArray
from rosgraph_msgs.msg import Clock

from duplex_interaction.msg import AudioChunk, MicroTurnStatus
from interaction_node import topic_qos
from interaction_node.audio_file import read_pcm16

RATE_HZ = 16_000
TURN = 3_200


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9_000, 9_000, count).astype(np.int16)


def stamp_s(message) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec / 1e9


def joined(chunks) -> np.ndarray:
    """The samples, after checking that the counter has no hole."""
    ends = np.cumsum([len(chunk.pcm) for chunk in chunks])
    assert [chunk.first_sample for chunk in chunks] == [0, *ends[:-1]]
    return np.concatenate([np.frombuffer(chunk.pcm, np.int16) for chunk in chunks])


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / 'said.wav'
    soundfile.write(path, noise(12_345), RATE_HZ)
    return path


def test_file_in_real_time(spy, start_node, wav):
    chunks, arrivals = spy.collect(AudioChunk, 'audio', topic_qos.AUDIO), []
    spy.node.create_subscription(
        AudioChunk, 'audio', lambda _: arrivals.append(time.time()), topic_qos.AUDIO
    )
    node = start_node(
        'microphone_node',
        params={
            'file': str(wav),
            'wait_for_subscribers': 2,
            'trailing_silence_s': 0.5,
            'exit_at_end': True,
        },
    )
    assert node.wait() == 0
    pcm = joined(chunks)
    assert np.array_equal(pcm[:12_345], noise(12_345))
    assert len(pcm) == 12_345 + RATE_HZ // 2
    assert not pcm[12_345:].any()
    assert {(c.sample_rate_hz, c.channels, c.header.frame_id) for c in chunks} == {
        (RATE_HZ, 1, 'microphone')
    }
    stamps = np.array([stamp_s(chunk) for chunk in chunks])
    assert np.allclose(stamps - stamps[0], [c.first_sample / RATE_HZ for c in chunks], atol=1e-6)
    # A chunk can't be heard before it was said, and should not come much later.
    latency = arrivals - stamps - [len(chunk.pcm) / RATE_HZ for chunk in chunks]
    assert latency.min() > -0.002
    assert np.median(latency) < 0.02


def test_folder_of_other_rates_and_channels_in_order(spy, start_node, tmp_path):
    folder = tmp_path / 'said'
    folder.mkdir()
    soundfile.write(folder / 'b.flac', np.stack([noise(4_410)] * 2, 1), 44_100)
    soundfile.write(folder / 'a.wav', noise(4_800, 1), 48_000)
    chunks = spy.collect(AudioChunk, 'robot/audio', topic_qos.AUDIO)
    start_node(
        'microphone_node',
        remaps={'__ns': '/robot'},
        params={
            'file': str(folder),
            'wait_for_subscribers': 1,
            'trailing_silence_s': 0,
            'chunk_ms': 50,
        },
    )
    expected = np.concatenate([read_pcm16(folder / 'a.wav'), read_pcm16(folder / 'b.flac')])
    spy.wait_until(lambda: sent(chunks) >= len(expected))
    assert np.array_equal(joined(chunks), expected)
    assert len(chunks[0].pcm) == 800


def start_in_graph_pace(spy, start_node, wav, **params):
    chunks = spy.collect(AudioChunk, 'audio', topic_qos.AUDIO)
    node = start_node(
        'microphone_node',
        params={
            'file': str(wav),
            'pace': 'graph',
            'wait_for_subscribers': 1,
            'trailing_silence_s': 1.0,
            **params,
        },
    )
    status = spy.publisher(MicroTurnStatus, 'micro_turn_status', topic_qos.MICRO_TURN_STATUS)
    return node, chunks, status


def sent(chunks) -> int:
    return chunks[-1].first_sample + len(chunks[-1].pcm) if chunks else 0


def test_graph_pace_runs_two_turns_ahead_and_no_more(spy, start_node, wav):
    node, chunks, status = start_in_graph_pace(spy, start_node, wav, graph_timeout_s=60)
    start_s = time.time()
    for turn in range(20):
        # Two turns beyond the last step, up to the end of 12,345 + 16,000 samples.
        expected = min((turn + 2) * TURN, 28_345)
        spy.wait_until(lambda end=expected: sent(chunks) >= end, what=f'sound to {expected}')
        time.sleep(0.02)
        assert sent(chunks) == expected
        status.publish(MicroTurnStatus(index=turn, first_sample=turn * TURN))
        if expected == 28_345:
            break
    node.wait_for_output('the sound file has ended')
    assert time.time() - start_s < 5
    assert np.array_equal(joined(chunks)[:12_345], noise(12_345))
    stamps = np.array([stamp_s(chunk) for chunk in chunks])
    assert np.allclose(stamps - stamps[0], [c.first_sample / RATE_HZ for c in chunks], atol=1e-6)


def test_graph_pace_survives_lost_statuses(spy, start_node, wav):
    node, chunks, status = start_in_graph_pace(spy, start_node, wav, graph_timeout_s=0.2)
    # Of an earlier microphone: sound that was never sent can't have been stepped.
    status.publish(MicroTurnStatus(index=900, first_sample=900 * TURN))
    spy.wait_until(lambda: sent(chunks) >= 2 * TURN)
    assert sent(chunks) < 4 * TURN
    node.wait_for_output('the sound file has ended')
    spy.wait_until(lambda: sent(chunks) == 28_345)
    assert len(joined(chunks)) == 28_345


def test_level_in_diagnostics_and_clean_interrupt(spy, start_node, wav):
    reports = spy.collect(DiagnosticArray, '/diagnostics')
    node = start_node('microphone_node', params={'file': str(wav), 'loop': True})

    def levels():
        values = {v.key: v.value for r in reports for v in r.status[0].values}
        return values if float(values.get('peak_dbfs', -120)) > -100 else {}

    spy.wait_until(lambda: bool(levels()))
    assert float(levels()['peak_dbfs']) == pytest.approx(20 * np.log10(9_000 / 32_768), abs=0.1)
    assert float(levels()['rms_dbfs']) == pytest.approx(-15.9, abs=0.5)
    assert reports[-1].status[0].name == 'microphone_node'
    assert reports[-1].status[0].message == 'ok'
    node.stop()


@pytest.mark.parametrize(
    ('params', 'message'),
    [
        ({'file': '/nothing.wav'}, "sound file '/nothing.wav' does not exist"),
        ({'pace': 'fast'}, "parameter 'pace' is 'fast'; expected one of 'realtime', 'graph'"),
    ],
)
def test_wrong_parameters_end_it_with_one_line(start_node, params, message):
    node = start_node('microphone_node', params=params)
    assert node.wait() == 1
    assert message in node.output
    assert 'Traceback' not in node.output


def test_simulated_time_paces_the_file(spy, start_node, wav):
    chunks = spy.collect(AudioChunk, 'audio', topic_qos.AUDIO)
    start_node(
        'microphone_node',
        params={'file': str(wav), 'use_sim_time': True, 'trailing_silence_s': 0},
    )
    clock = spy.publisher(Clock, '/clock')
    spy.wait_for_publishers('audio')

    def until(milliseconds, condition):
        """Shows a time again and again: the clock is best effort."""
        message = Clock()
        message.clock.sec, rest = 100 + milliseconds // 1_000, milliseconds % 1_000
        message.clock.nanosec = rest * 1_000_000
        spy.wait_until(lambda: clock.publish(message) or condition())

    shown_s = time.time()
    until(0, lambda: time.time() > shown_s + 0.7)
    assert not chunks  # simulated time stands still
    until(205, lambda: len(chunks) >= 10)
    time.sleep(0.1)
    assert len(chunks) == 10
    until(10_000, lambda: sent(chunks) == 12_345)
    assert np.array_equal(joined(chunks), noise(12_345))
    assert stamp_s(chunks[1]) - stamp_s(chunks[0]) == pytest.approx(0.02)
    assert stamp_s(chunks[0]) == pytest.approx(100.0)
