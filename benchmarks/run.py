# SPDX-License-Identifier: Apache-2.0
"""Measures the step of the model on this machine, side by side with others: `make bench`.

Leaves results.json (flat), curves.json, profiles and pictures in out/bench. Times are processor
time unless they are called wall time, so that other work on the machine disturbs them little; what
is compared is measured in turn. `--full` takes all 54,000 micro-turns of three hours one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import decoder_speed
import graph_overhead
import long_session
import mixtures
import plots
import session_step
import torch

from interaction_node.model.checkpoint import load_checkpoint
from interaction_node.model.open_voice import OpenVoice
from interaction_node.model.plain_decoder import PlainDecoder
from interaction_node.model.session import DEFAULT_CHECKPOINT, Session, load_session
from interaction_node.model.voice import Voice

# (figure, bound, whether the figure must be at least that), from the project's targets.
TARGETS = (
    ('speedup_vs_hf_cache', 3.0, True),
    ('speedup_vs_reprefill', 10.0, True),
    ('cost_ratio_54000_to_600', 1.05, False),
    ('rss_growth_percent', 1.0, False),
    ('node_overhead_ms_p99', 5.0, False),
)


class Bench:
    """Runs the parts and gathers their figures.

    Args:
        options: Of the command line.
    """

    def __init__(self, options: argparse.Namespace):
        self._options = options
        self._net, self._vocabulary, *_ = load_checkpoint(options.checkpoint)
        self.figures: dict = {}
        self.curves: dict[str, list] = {}

    def run(self) -> None:
        """Runs the parts that are wanted; one that fails does not stop the others."""
        parts: dict[str, Callable[[], dict]] = {
            'decoder': lambda: decoder_speed.measure(self._net, self._options.rounds),
            'step': self._step,
            'long': self._long,
            'sessions': lambda: long_session.sessions_cost(self._session(), 30),
            'experts': lambda: mixtures.measure(max(10, self._options.rounds // 8)),
            'graph': self._graph,
        }
        for name, part in parts.items():
            if self._options.only and name not in self._options.only:
                continue
            print(f'{name} ...', flush=True)
            found = part()
            self.curves |= {k: v for k, v in found.items() if isinstance(v, list)}
            self.figures |= {k: v for k, v in found.items() if not isinstance(v, list)}

    def _session(self) -> Session:
        return Session(self._net, self._vocabulary, Voice(None, OpenVoice()))

    def _step(self) -> dict:
        session = load_session(self._options.checkpoint, device='cpu')
        slow = PlainDecoder(self._net.transformer)
        before = Session(self._net, self._vocabulary, Voice(None, OpenVoice()), decoder=slow)
        both = {'after': session, 'before': before}
        found, tables = session_step.measure(both, self._options.rounds)
        session.close()
        for name, table in tables.items():
            (self._options.output / f'profile_{name}.txt').write_text(table, encoding='utf-8')
        return found

    def _long(self) -> dict:
        turns = long_session.LATE if self._options.full else 3_000
        found = long_session.flat_cost(self._net, 4 * self._options.rounds, self._options.full)
        return found | long_session.memory_growth(self._session(), turns)

    def _graph(self) -> dict:
        try:
            return graph_overhead.measure(self._options.output / 'graph', self._options.graph_s)
        except (ImportError, RuntimeError, TimeoutError) as error:
            print(f'graph: left out, {error}', file=sys.stderr)
            return {}


def machine() -> dict[str, str | float]:
    """What was measured on."""
    lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return {
        'device': models[0] if models else platform.machine(),
        'cores': os.cpu_count() or 0,
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'load_average': os.getloadavg()[0],
    }


def table(figures: dict) -> str:
    """Figures with the targets that they meet or miss."""
    lines = [f'{"figure":<44}{"value":>14}  target']
    bounds = {name: (bound, least) for name, bound, least in TARGETS}
    for name, value in figures.items():
        shown = f'{value:14.4g}' if isinstance(value, float) else f'{value!s:>14}'
        target = ''
        if name in bounds:
            bound, least = bounds[name]
            met = value >= bound if least else value <= bound
            target = f'  {">=" if least else "<="} {bound:g}: {"met" if met else "MISSED"}'
        lines.append(f'{name:<44}{shown}{target}')
    return '\n'.join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--checkpoint', type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument('--rounds', type=int, default=120, help='micro-turns of each side')
    parser.add_argument('--full', action='store_true', help='take all of three hours')
    parser.add_argument('--graph-s', type=float, default=60, help='seconds of the whole graph')
    parser.add_argument('--only', nargs='*', help='parts: decoder step long sessions experts graph')
    parser.add_argument('--output', type=Path, default=Path('out/bench'))
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    options.output.mkdir(parents=True, exist_ok=True)
    # One thread suits `nano`; the other core belongs to the rest of the graph.
    torch.set_num_threads(1)
    bench = Bench(options)
    bench.run()
    results, curves = (options.output / f'{name}.json' for name in ('results', 'curves'))
    kept = json.loads(results.read_text('utf-8')) if options.only and results.is_file() else {}
    shown = json.loads(curves.read_text('utf-8')) if options.only and curves.is_file() else {}
    figures, lines = kept | machine() | bench.figures, shown | bench.curves
    results.write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')
    curves.write_text(json.dumps(lines) + '\n', encoding='utf-8')
    plots.draw(figures, lines, options.output)
    print(table(figures))
    if not torch.cuda.is_available():
        print('no CUDA device: its part is left out (scripts/gpu_check.py measures one)')
    print(f'wrote {results}')


if __name__ == '__main__':
    main()
