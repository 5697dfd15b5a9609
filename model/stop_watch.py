# SPDX-License-Identifier: Apache-2.0
"""Where the time of a step goes."""

from __future__ import annotations

import time

from .interface import Timing


class StopWatch:
    """Laps in milliseconds, from now on."""

    def __init__(self) -> None:
        self._begun = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Ends a lap; `name` is a field of `Timing`."""
        now = time.perf_counter()
        self._laps[name] = (now - self._last) * 1e3
        self._last = now

    def timing(self) -> Timing:
        """All laps so far."""
        return Timing(total_ms=(self._last - self._begun) * 1e3, **self._laps)
