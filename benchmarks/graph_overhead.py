# SPDX-License-Identifier: Apache-2.0
"""What the graph adds to the step: from the last sample of a window to its result, less the step.

The demonstration's recording runs through all nodes in real time. A node beside them notes when
each piece of sound and each result reaches it; serialisation, DDS, batching and waking are in
between, and on a busy machine the wait for a processor, too.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from interaction_node import graph, topic_qos
from interaction_node.demo import READY_S, RECORDING, demo_settings
from interaction_node.model.interface import TURN_SAMPLES
from interaction_node.process_graph import ProcessGraph

# Until all nodes have found each other.
SETTLE_TURNS = 10


class Observer:
    """Notes when sound and results arrive."""

    def __init__(self, context) -> None:
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node

        from duplex_interaction.msg import AudioChunk, MicroTurnStatus

        self.sounds: list[tuple[int, float]] = []
        self.results: list[tuple[int, float, float]] = []
        self._node = Node('bench_observer', context=context)
        self._node.create_subscription(AudioChunk, 'audio', self._on_audio, topic_qos.AUDIO)
        self._node.create_subscription(
            MicroTurnStatus, 'micro_turn_status', self._on_status, topic_qos.MICRO_TURN_STATUS
        )
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def _on_audio(self, message) -> None:
        end = message.first_sample + len(message.pcm) // message.channels
        rate_hz = message.sample_rate_hz
        self.sounds.append((end * 16_000 // rate_hz, time.perf_counter()))

    def _on_status(self, message) -> None:
        self.results.append((message.first_sample, time.perf_counter(), message.step_ms))

    def close(self) -> None:
        """Ends the thread."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()


def measure(output: Path, seconds: float) -> dict[str, float]:
    """Runs the graph and returns flat figures, milliseconds.

    Args:
        output: Folder for logs and sound.
        seconds: How long.

    Raises:
        ImportError: ROS is not there.
        RuntimeError: A node ended early.
        TimeoutError: The nodes did not come up.
    """
    import rclpy
    from rclpy.context import Context

    output.mkdir(parents=True, exist_ok=True)
    context = Context()
    rclpy.init(context=context)
    settings = demo_settings(RECORDING, output) | {'recording': ''}
    loops = {'microphone_node': {'loop': True}, 'camera_file_node': {'loop': True}}
    nodes = graph.processes(settings, loops)
    try:
        with ProcessGraph(nodes, output / 'log') as running:
            running.wait_ready(READY_S)
            observer, before_s = Observer(context), _cpu_s(running)
            for _ in tqdm(range(round(seconds)), unit='s', desc='whole graph', leave=False):
                time.sleep(1)
                running.check()
            spent_ms = 1e3 * (_cpu_s(running) - before_s)
            observer.close()
    finally:
        rclpy.try_shutdown(context=context)
    each_ms = spent_ms / max(1, len(observer.results))
    return {'node_cpu_ms_each': each_ms, **figures(observer.sounds, observer.results)}


def _cpu_s(running: ProcessGraph) -> float:
    """Processor time that the interaction node has used, its threads together, seconds."""
    stat = Path(f'/proc/{running.pids["interaction_node"]}/stat').read_text(encoding='ascii')
    user, system = stat.rpartition(')')[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')


def figures(
    sounds: list[tuple[int, float]], results: list[tuple[int, float, float]]
) -> dict[str, float]:
    """Pairs each result with the piece of sound that completed its window.

    Args:
        sounds: (sample after the last, time of arrival in s) of each piece.
        results: (first sample of the window, time of arrival in s, ms of the step) of each result.
    """
    ends = np.array([end for end, _ in sounds])
    overhead, steps = [], []
    for first, arrived, step_ms in results[SETTLE_TURNS:]:
        number = np.searchsorted(ends, first + TURN_SAMPLES)
        if number < len(sounds):
            overhead.append(1e3 * (arrived - sounds[number][1]) - step_ms)
            steps.append(step_ms)
    if not overhead:
        raise RuntimeError('no micro-turn came through the graph')
    return {
        'node_turns': len(overhead),
        'node_step_ms_p50': float(np.percentile(steps, 50)),
        'node_step_ms_p99': float(np.percentile(steps, 99)),
        'node_overhead_ms_p50': float(np.percentile(overhead, 50)),
        'node_overhead_ms_p90': float(np.percentile(overhead, 90)),
        'node_overhead_ms_p99': float(np.percentile(overhead, 99)),
    }
