# SPDX-License-Identifier: Apache-2.0
"""Runs the whole graph at real time for a long while and watches deadlines and memory.

`python benchmarks/soak.py --minutes 30` plays the demonstration's recording in a loop and leaves
out/soak/soak.json: missed micro-turns, step times, resident memory of every node per minute.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from interaction_node import graph, topic_qos
from interaction_node.demo import READY_S, RECORDING, demo_settings
from interaction_node.process_graph import ProcessGraph

LIMIT_PERCENT = 5.0


class Watch:
    """Collects `micro_turn_status`."""

    def __init__(self, context) -> None:
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node

        from duplex_interaction.msg import MicroTurnStatus

        self.indices: list[int] = []
        self.step_ms: list[float] = []
        self.missed = 0
        self._node = Node('soak', context=context)
        self._node.create_subscription(
            MicroTurnStatus, 'micro_turn_status', self._on_status, topic_qos.MICRO_TURN_STATUS
        )
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def _on_status(self, message) -> None:
        self.indices.append(message.index)
        self.step_ms.append(message.step_ms)
        self.missed = message.deadlines_missed

    def close(self) -> None:
        """Ends the thread."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()


def resident_mib(running: ProcessGraph) -> dict[str, float]:
    """Resident memory of every node, MiB."""
    page = os.sysconf('SC_PAGE_SIZE') / 2**20
    memory = {}
    for name, pid in running.pids.items():
        fields = Path(f'/proc/{pid}/statm').read_text(encoding='ascii').split()
        memory[name] = round(int(fields[1]) * page, 1)
    return memory


def soak(minutes: float, output: Path) -> dict:
    """Runs the graph and returns the figures."""
    import rclpy
    from rclpy.context import Context

    context = Context()
    rclpy.init(context=context)
    settings = demo_settings(RECORDING, output) | {'recording': ''}
    nodes = graph.processes(
        settings, {'microphone_node': {'loop': True}, 'camera_file_node': {'loop': True}}
    )
    memory = []
    try:
        with ProcessGraph(nodes, output / 'log') as running:
            running.wait_ready(READY_S)
            watch = Watch(context)
            for _ in tqdm(range(round(minutes * 2)), unit='half minute', desc='soak'):
                time.sleep(30)
                running.check()
                memory.append(resident_mib(running))
            watch.close()
    finally:
        rclpy.try_shutdown(context=context)
    return figures(watch, memory)


def figures(watch: Watch, memory: list[dict[str, float]]) -> dict:
    """Figures of a run; growth is from one minute after the start to the end."""
    steps = np.array(watch.step_ms)
    growth = {
        name: round(100 * (memory[-1][name] / memory[min(2, len(memory) - 1)][name] - 1), 2)
        for name in memory[-1]
    }
    return {
        'micro_turns': len(watch.indices),
        'holes': int(watch.indices[-1] - watch.indices[0] + 1 - len(watch.indices)),
        'missed_deadlines': int(watch.missed),
        'step_ms_p50': round(float(np.percentile(steps, 50)), 2),
        'step_ms_p99': round(float(np.percentile(steps, 99)), 2),
        'step_ms_max': round(float(steps.max()), 2),
        'rss_growth_percent': growth,
        'rss_total_growth_percent': round(
            100 * (sum(memory[-1].values()) / sum(memory[min(2, len(memory) - 1)].values()) - 1), 2
        ),
        'rss_mib': memory,
    }


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--output', type=Path, default=Path('out/soak'))
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    options.output.mkdir(parents=True, exist_ok=True)
    result = soak(options.minutes, options.output)
    (options.output / 'soak.json').write_text(json.dumps(result, indent=1) + '\n', 'utf-8')
    print(json.dumps({k: v for k, v in result.items() if k != 'rss_mib'}, indent=1))
    return int(result['missed_deadlines'] > 0 or result['rss_total_growth_percent'] > LIMIT_PERCENT)


if __name__ == '__main__':
    sys.exit(main())
