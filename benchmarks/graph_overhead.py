# SPDX-License-Identifier: Apache-2.0
"""What the graph adds to the step: from the last sample of a window to its result, less the step.

The demonstration's recording runs through all nodes in real time. A node beside them notes when
each piece of sound and each result reaches it; serialisation, DDS, batching and waking are in
between, and on a busy machine the wait for a processor, too.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from looped_graph import looped_graph
from tqdm import tqdm

from interaction_node.model.interface import TURN_SAMPLES
from interaction_node.process_graph import ProcessGraph

# Until all nodes have found each other.
SETTLE_TURNS = 10


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
    with looped_graph(output, hears=True) as (running, observer):
        before_s = _cpu_s(running)
        for _ in tqdm(range(round(seconds)), unit='s', desc='whole graph', leave=False):
            time.sleep(1)
            running.check()
        spent_ms = 1e3 * (_cpu_s(running) - before_s)
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
