# SPDX-License-Identifier: Apache-2.0
"""Runs a sample through the live ROS graph, as fast as it goes, and records what its topics say."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from interaction_node import graph
from interaction_node.graph import NodeProcess
from interaction_node.live_recorder import LiveRecorder
from interaction_node.model.interface import SAMPLE_RATE_HZ
from interaction_node.process_graph import ProcessGraph
from interaction_node.sample_folder import Sample, SampleRecord

READY_S = 120.0
STALLED_S = 60.0
MICROPHONE = 'microphone_node'
FOREVER_S = 86_400.0


def run_live(
    sample: Sample,
    log_folder: Path,
    model: Mapping[str, object],
    on_turn: Callable[[], object] = lambda: None,
) -> SampleRecord:
    """Plays a sample to the graph and records it.

    Args:
        sample: What the robot perceives.
        log_folder: Where the nodes' logs go.
        model: Parameters `model.*` of the interaction node.
        on_turn: Called after each micro-turn.

    Returns:
        What the model did.

    Raises:
        RuntimeError: A node ended, or nothing happened for a minute.
        TimeoutError: The nodes did not come up.
    """
    if not sample.turns:
        return SampleRecord.of(sample)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    namespace = f'run_folder_{os.getpid()}'
    start_s = time.time()
    with tempfile.TemporaryDirectory(prefix='run_folder_') as scratch:
        nodes = _nodes(sample, Path(scratch), namespace, start_s, model)
        listeners = [node for node in nodes if node.name != MICROPHONE]
        with (
            ProcessGraph(listeners, log_folder) as running,
            LiveRecorder(sample, namespace, start_s, on_turn) as recorder,
        ):
            running.wait_ready(READY_S)
            recorder.type_text()
            # Last, so that everybody who listens hears it from its first sample on.
            running.add(next(node for node in nodes if node.name == MICROPHONE))
            recorder.wait_until_done(running.check, STALLED_S)
            return recorder.record


def _nodes(
    sample: Sample, scratch: Path, namespace: str, start_s: float, model: Mapping[str, object]
) -> list[NodeProcess]:
    import soundfile

    wav = scratch / 'input.wav'
    soundfile.write(wav, sample.padded_pcm, SAMPLE_RATE_HZ, subtype='PCM_16')
    has_video = sample.video is not None
    settings = {spec.switch: 'false' for spec in graph.NODES}
    settings |= dict.fromkeys(('microphone', 'interaction', 'speaker'), 'true')
    settings |= {'camera': str(has_video).lower(), 'namespace': namespace, 'autostart': 'true'}
    parameters: dict[str, dict[str, object]] = {
        MICROPHONE: {
            'file': str(wav),
            'pace': 'graph',
            'start_time_s': start_s,
            'trailing_silence_s': 0.0,
            'wait_for_subscribers': 1 + has_video,
        },
        'camera_file_node': {'file': str(sample.video), 'wait_for_subscribers': 1},
        'speaker_node': {'file': str(scratch / 'speech.wav')},
        'interaction_node': {
            **model,
            'turn.pace': 'graph',
            'turn.lookahead_s': FOREVER_S,
            'camera.wait': has_video,
            'camera.max_rate_hz': 0.0,
            'planner.deadline_s': FOREVER_S,
        },
    }
    return graph.processes(settings, parameters)
