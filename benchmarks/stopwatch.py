# SPDX-License-Identifier: Apache-2.0
"""Times things side by side, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm


@dataclass
class Times:
    """Of one side, a value a round.

    Attributes:
        cpu_ms: Processor time of the thread, milliseconds: hardly grows on a busy machine.
        wall_ms: Time on the wall, milliseconds.
    """

    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Median processor time, milliseconds."""
        return statistics.median(self.cpu_ms)

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the processor time, milliseconds."""
        return float(np.percentile(self.cpu_ms, percent))

    def measure(self, call: Callable[[], object]) -> None:
        """Runs a call once and takes its times."""
        wall, cpu = time.perf_counter(), time.thread_time()
        call()
        self.cpu_ms.append(1e3 * (time.thread_time() - cpu))
        self.wall_ms.append(1e3 * (time.perf_counter() - wall))


def side_by_side(
    sides: Mapping[str, Callable[[], object]], rounds: int, name: str, warm_up: int = 3
) -> dict[str, Times]:
    """Measures all sides in turn, round after round, each round beginning with another side.

    Args:
        sides: What to run, by name; single-threaded.
        rounds: How often.
        name: For the progress bar.
        warm_up: Rounds before those that count.

    Returns:
        Times of each side; the rounds correspond.
    """
    times = {side: Times() for side in sides}
    order = list(sides)
    for number in tqdm(range(-warm_up, rounds), desc=name, unit='round', leave=False):
        for side in order:
            taken = times[side] if number >= 0 else Times()
            taken.measure(sides[side])
        order = order[1:] + order[:1]
    return times


def ratio(slower: Times, faster: Times) -> float:
    """Median over the rounds of what one side took in terms of the other, processor time."""
    return statistics.median(a / b for a, b in zip(slower.cpu_ms, faster.cpu_ms, strict=True))
