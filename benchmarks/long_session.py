# SPDX-License-Identifier: Apache-2.0
"""What a micro-turn costs after three hours, whether memory grows, what more sessions cost."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from decoder_speed import MAX_APPEND, READ, WRITTEN, fill, micro_turn
from stopwatch import Times, ratio, side_by_side
from tqdm import tqdm

from interaction_node.model.interaction_net import InteractionNet
from interaction_node.model.interface import TURN_S, TURN_SAMPLES, MicroTurn
from interaction_node.model.plain_decoder import Decoder, make_decoder
from interaction_node.model.session import Session, step_together
from interaction_node.model.transformer import Transformer, TransformerState

EARLY, LATE = 600, 54_000
SESSIONS = (1, 2, 4, 8)


@torch.inference_mode()
def flat_cost(net: InteractionNet, rounds: int, full: bool) -> dict:
    """Compares micro-turn 54,000 with micro-turn 600, step by step in turn.

    Args:
        net: The network.
        rounds: Steps of each side.
        full: Take all 54,000 micro-turns one by one. Otherwise the first 600 are taken and the
            position is then set ahead; that is the same state, because all of it is overwritten in
            a ring (checked: its size is the same).

    Returns:
        Flat figures, and 'cost_curve': [micro-turns, median ms] along the way.
    """
    ours, decoder = net.transformer, make_decoder(net.transformer)
    early, late = (ours.init_state(1, MAX_APPEND) for _ in range(2))
    x_tD = torch.randn(READ, ours.config.width)
    for state in (early, late):
        fill(decoder, state, ours.config.width, EARLY * (READ + WRITTEN))
    size = _bytes(late)
    if full:
        curve = _live_through(decoder, late, x_tD)
    else:
        curve = _jump_along(ours, decoder, x_tD)
        late.appended = LATE * (READ + WRITTEN)
        late.position.fill_(late.appended)
    assert _bytes(late) == _bytes(early) == size, 'a state has grown'
    sides: dict[str, Callable[[], object]] = {
        str(LATE): lambda: micro_turn(decoder, late, x_tD),
        str(EARLY): lambda: micro_turn(decoder, early, x_tD),
    }
    times = side_by_side(sides, rounds, 'three hours')
    return {
        'decoder_ms_at_600': times[str(EARLY)].median_ms,
        'decoder_ms_at_54000': times[str(LATE)].median_ms,
        'cost_ratio_54000_to_600': ratio(times[str(LATE)], times[str(EARLY)]),
        'cost_54000_really_stepped': full,
        'state_bytes': size,
        'cost_curve': curve,
    }


def _bytes(state: TransformerState) -> int:
    tensors = [tensor for block in state.blocks for tensor in block.tensors()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _live_through(decoder: Decoder, state: TransformerState, x_tD: torch.Tensor) -> list:
    """Takes every micro-turn up to the last; returns [micro-turns, median ms] of each 1,000."""
    curve = []
    for turns in tqdm(range(EARLY, LATE, 600), desc='three hours', unit='600 turns', leave=False):
        times = Times()
        for _ in range(600):
            times.measure(lambda: micro_turn(decoder, state, x_tD))
        curve.append([turns + 600, times.median_ms])
    return curve


def _jump_along(ours: Transformer, decoder: Decoder, x_tD: torch.Tensor) -> list:
    """Samples the cost at several lengths, in turn; returns [micro-turns, median ms] of each."""
    lengths = [10, 60, 200, EARLY, 3_000, 9_000, 18_000, 36_000, LATE]
    states = [ours.init_state(1, MAX_APPEND) for _ in lengths]
    for length, state in zip(lengths, states, strict=True):
        fill(decoder, state, ours.config.width, min(length, EARLY) * (READ + WRITTEN))
        state.appended = length * (READ + WRITTEN)
        state.position.fill_(state.appended)
    sides = {
        str(length): lambda state=state: micro_turn(decoder, state, x_tD)
        for length, state in zip(lengths, states, strict=True)
    }
    times = side_by_side(sides, 60, 'lengths')
    return [[length, times[str(length)].median_ms] for length in lengths]


def memory_growth(session: Session, turns: int) -> dict:
    """Lives through a long conversation and watches the resident memory of this process.

    Args:
        session: Stepped with noise, its own voice and, every tenth turn, a line of text.
        turns: Micro-turns; memory is compared after a tenth of them and at the end.

    Returns:
        Flat figures, and 'rss_curve': [micro-turns, MiB].
    """
    curve = []
    heard = noise(64)
    for number in tqdm(range(turns), desc='memory', unit='turn', leave=False):
        session.step(MicroTurn(number, number * TURN_S, heard[number % 64], heard[-number % 64]))
        if number % max(1, turns // 50) == 0:
            gc.collect()
            curve.append([number, resident_mib()])
    curve.append([turns, resident_mib()])
    early = next(mib for number, mib in curve if number >= turns // 10)
    return {
        'rss_mib': curve[-1][1],
        'rss_growth_percent': 100 * (curve[-1][1] / early - 1),
        'rss_turns': turns,
        'rss_curve': curve,
    }


def resident_mib() -> float:
    """Resident memory of this process, MiB."""
    pages = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def sessions_cost(session: Session, rounds: int) -> dict:
    """Steps 1 to 8 sessions of one network, together and one after the other.

    Args:
        session: The first; its siblings are made here.
        rounds: Micro-turns of each number of sessions.

    Returns:
        Flat figures; times are per session, processor milliseconds.
    """
    pcm, figures = noise(64), {}
    clock = iter(range(1 << 30))
    for count in SESSIONS:
        crowd = [session.sibling() for _ in range(count)]
        lone = [session.sibling() for _ in range(count)]

        def turns(count: int = count) -> list[MicroTurn]:
            number = next(clock)
            return [
                MicroTurn(number, number * TURN_S, pcm[(number + i) % 64], pcm[i % 64])
                for i in range(count)
            ]

        def alone(crowd: list[Session] = lone, turns: Callable = turns) -> None:
            for member, turn in zip(crowd, turns(), strict=True):
                member.step(turn)

        def together(crowd: list[Session] = crowd, turns: Callable = turns) -> None:
            step_together(crowd, turns())

        sides = {'together': together, 'alone': alone}
        times = side_by_side(sides, rounds, f'{count} sessions', warm_up=10)
        figures[f'sessions_{count}_ms_each'] = times['together'].median_ms / count
        figures[f'sessions_{count}_one_by_one_ms_each'] = times['alone'].median_ms / count
    return figures


def noise(count: int) -> np.ndarray:
    """(count, 3200) int16 of noise that is the same every time."""
    rng = np.random.default_rng(0)
    return rng.integers(-3000, 3000, (count, TURN_SAMPLES)).astype(np.int16)
