# SPDX-License-Identifier: Apache-2.0
"""The node with which the benchmarks watch the graph."""

import array
import sys
import time
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context

from duplex_interaction.msg import AudioChunk, MicroTurnStatus
from interaction_node import topic_qos

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

from looped_graph import Observer


def send(publisher, message, arrived):
    """Sends it until it has arrived: the other side may not have found the publisher yet."""
    end_s = time.monotonic() + 15.0
    while not arrived():
        assert time.monotonic() < end_s, f'{message} did not arrive'
        publisher.publish(message)
        time.sleep(0.1)


@pytest.mark.parametrize('hears', [True, False])
def test_it_notes_when_sound_and_results_arrive(spy, hears):
    context = Context()
    rclpy.init(context=context)
    observer = Observer(context, hears)
    pcm = array.array('h', [0] * 960)
    sound = AudioChunk(first_sample=960, sample_rate_hz=48_000, channels=2, pcm=pcm)
    status = MicroTurnStatus(index=7, first_sample=3200, step_ms=4.0, deadlines_missed=2)
    try:
        if hears:
            audio = spy.publisher(AudioChunk, 'audio', topic_qos.AUDIO)
            send(audio, sound, lambda: observer.sounds)
        results = spy.publisher(MicroTurnStatus, 'micro_turn_status', topic_qos.MICRO_TURN_STATUS)
        send(results, status, lambda: observer.missed == 2)
    finally:
        observer.close()
        rclpy.try_shutdown(context=context)
    assert {end for end, _ in observer.sounds} == ({480} if hears else set())
    first, arrived_s, step_ms = observer.results[0]
    assert (first, step_ms, observer.indices[0]) == (3200, 4.0, 7)
    assert time.perf_counter() - 30.0 < arrived_s < time.perf_counter()
