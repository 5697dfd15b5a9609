# SPDX-License-Identifier: Apache-2.0
"""The whole graph on the demonstration's recording, over and over, and a node that watches it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from interaction_node import graph, topic_qos
from interaction_node.demo import READY_S, RECORDING, demo_settings
from interaction_node.process_graph import ProcessGraph

if TYPE_CHECKING:
    from rclpy.context import Context

    from duplex_interaction.msg import AudioChunk, MicroTurnStatus


class Observer:
    """Notes when results arrive, and sound.

    Args:
        context: Of rclpy.
        hears: Whether it listens to the sound as well.

    Attributes:
        sounds: (sample after the last at 16 kHz, time of arrival in s) of each piece of sound.
        results: (first sample of the window, time of arrival in s, ms of the step) of each result.
        indices: Index of each result.
        missed: Deadlines that were missed.
    """

    def __init__(self, context: Context, hears: bool = False) -> None:
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node

        from duplex_interaction.msg import AudioChunk, MicroTurnStatus

        self.sounds: list[tuple[int, float]] = []
        self.results: list[tuple[int, float, float]] = []
        self.indices: list[int] = []
        self.missed = 0
        self._node = Node('bench_observer', context=context)
        if hears:
            self._node.create_subscription(AudioChunk, 'audio', self._on_audio, topic_qos.AUDIO)
        self._node.create_subscription(
            MicroTurnStatus, 'micro_turn_status', self._on_status, topic_qos.MICRO_TURN_STATUS
        )
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def _on_audio(self, message: AudioChunk) -> None:
        end = message.first_sample + len(message.pcm) // message.channels
        rate_hz = message.sample_rate_hz
        self.sounds.append((end * 16_000 // rate_hz, time.perf_counter()))

    def _on_status(self, message: MicroTurnStatus) -> None:
        self.results.append((message.first_sample, time.perf_counter(), message.step_ms))
        self.indices.append(message.index)
        self.missed = message.deadlines_missed

    def close(self) -> None:
        """Ends the thread."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()


@contextmanager
def looped_graph(output: Path, hears: bool = False) -> Iterator[tuple[ProcessGraph, Observer]]:
    """Runs the graph at real time, and watches it from when all nodes are ready.

    Args:
        output: Folder for logs and sound; it is made.
        hears: Whether the observer listens to the sound as well.

    Yields:
        The graph, and its observer, which has stopped to watch afterwards.

    Raises:
        ImportError: ROS is not there.
        TimeoutError: The nodes did not come up.
    """
    import rclpy
    from rclpy.context import Context

    output.mkdir(parents=True, exist_ok=True)
    context = Context()
    rclpy.init(context=context)
    settings = demo_settings(RECORDING, output) | {'recording': ''}
    loops = {'microphone_node': {'loop': True}, 'camera_file_node': {'loop': True}}
    try:
        with ProcessGraph(graph.processes(settings, loops), output / 'log') as running:
            running.wait_ready(READY_S)
            observer = Observer(context, hears)
            try:
                yield running, observer
            finally:
                observer.close()
    finally:
        rclpy.try_shutdown(context=context)
