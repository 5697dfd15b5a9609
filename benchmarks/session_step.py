# SPDX-License-Identifier: Apache-2.0
"""A whole step of the session, and where its time goes, before and after packing."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from long_session import noise
from stopwatch import Times
from tqdm import tqdm

from interaction_node.model.interface import TURN_S, MicroTurn
from interaction_node.model.session import Session

PARTS = ('front_end_ms', 'prefill_ms', 'decode_ms', 'speech_ms')
# Operators of the profile by what they are; all others are 'small steps'.
_KINDS = {
    'aten::mm': 'matrix products',
    'aten::addmm': 'matrix products',
    'aten::linear': 'matrix products',
    'quantized::linear_dynamic_fp16': 'matrix products',
    'aten::bmm': 'attention',
    'aten::baddbmm': 'attention',
    'aten::_softmax': 'attention',
    'aten::gather': 'attention',
    'aten::index_copy_': 'memory',
    'aten::copy_': 'memory',
    'aten::cat': 'memory',
}


def measure(sessions: dict[str, Session], turns: int) -> tuple[dict[str, float], dict[str, str]]:
    """Steps sessions with sound and pictures, in turn, and profiles each.

    Args:
        sessions: 'after' (as it is) and 'before' (with the decoder of the training code).
        turns: Micro-turns of each.

    Returns:
        Flat figures; and the table of the profile of each session.
    """
    live, times = _live(sessions, turns)
    figures: dict[str, float] = {}
    wall = np.array([result.timing.total_ms for result in live['after']])
    figures['step_ms_p50'], figures['step_ms_p99'] = np.percentile(wall, (50, 99)).tolist()
    figures['step_cpu_ms_p50'] = times['after'].median_ms
    figures['step_cpu_ms_p99'] = times['after'].percentile_ms(99)
    figures['step_before_cpu_ms_p50'] = times['before'].median_ms
    for part in PARTS:
        each = [getattr(result.timing, part) for result in live['after']]
        figures[f'step_{part.removesuffix("_ms")}_ms_p50'] = float(np.median(each))
    tables = {}
    for name, session in sessions.items():
        shares, tables[name] = profile(session, turns)
        for kind, cpu_ms in shares.items():
            figures[f'profile_{name}_{kind.replace(" ", "_")}_ms'] = cpu_ms
    return figures, tables


def _live(sessions: dict[str, Session], turns: int) -> tuple[dict[str, list], dict[str, Times]]:
    results: dict[str, list] = {name: [] for name in sessions}
    times = {name: Times() for name in sessions}
    stream = micro_turns(turns + 10)
    for turn in tqdm(stream, desc='whole step', unit='turn', leave=False):
        for name, session in sessions.items():
            taken = times[name] if turn.index >= 10 else Times()
            taken.measure(lambda s=session, n=name, t=turn: results[n].append(s.step(t)))
    return {name: found[10:] for name, found in results.items()}, times


def micro_turns(count: int) -> list[MicroTurn]:
    """Micro-turns with noise to hear, own noise, and pictures."""
    pcm = noise(8)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (8, 2, 240, 320, 3)).astype(np.uint8)
    return [MicroTurn(i, i * TURN_S, pcm[i % 8], pcm[i % 7], frames[i % 8]) for i in range(count)]


def profile(session: Session, turns: int) -> tuple[dict[str, float], str]:
    """Milliseconds of a step by kind of operator, and the whole table."""
    stream = micro_turns(min(turns, 50))
    with torch.profiler.profile() as taken:
        for turn in stream:
            session.step(turn)
    shares: dict[str, float] = defaultdict(float)
    events = taken.key_averages()
    for event in events:
        kind = _KINDS.get(event.key, 'small steps')
        shares[kind] += event.self_cpu_time_total / 1e3 / len(stream)
    return dict(shares), events.table(sort_by='self_cpu_time_total', row_limit=25)
