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
import time
from pathlib import Path

import numpy as np
from looped_graph import Observer, looped_graph
from tqdm import tqdm

from interaction_node.process_graph import ProcessGraph

LIMIT_PERCENT = 5.0


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
    memory = []
    with looped_graph(output) as (running, observer):
        for _ in tqdm(range(round(minutes * 2)), unit='half minute', desc='soak'):
            time.sleep(30)
            running.check()
            memory.append(resident_mib(running))
    return figures(observer, memory)


def figures(observer: Observer, memory: list[dict[str, float]]) -> dict:
    """Figures of a run; growth is from one minute after the start to the end."""
    steps = np.array([step_ms for _, _, step_ms in observer.results])
    indices = observer.indices
    growth = {
        name: round(100 * (memory[-1][name] / memory[min(2, len(memory) - 1)][name] - 1), 2)
        for name in memory[-1]
    }
    return {
        'micro_turns': len(indices),
        'holes': int(indices[-1] - indices[0] + 1 - len(indices)),
        'missed_deadlines': int(observer.missed),
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
