# SPDX-License-Identifier: Apache-2.0
"""Sends a file as fast as the interaction node can take it, and no faster."""

from __future__ import annotations

import threading
import time

TURN_SAMPLES = 3_200


class GraphPace:
    """Flow control by `micro_turn_status`: how far sound may run ahead of the last one."""

    def __init__(self, ahead_turns: int = 2, timeout_s: float = 2.0) -> None:
        """Allows the first turns.

        Args:
            ahead_turns: Micro-turns that may be sent beyond the last one that was stepped.
            timeout_s: After so long without a step another micro-turn is sent all the same:
                statuses are best effort and a lost one must not stop the graph.
        """
        self._ahead = ahead_turns * TURN_SAMPLES
        self._timeout_s = timeout_s
        self._limit = self._ahead
        self._sent = 0
        self.timeouts = 0
        self._changed = threading.Condition()

    def step_done(self, first_sample: int) -> None:
        """Takes the start of the window that was stepped, on the microphone's counter."""
        with self._changed:
            if first_sample >= self._sent:  # of an earlier run: this sound was never sent
                return
            self._limit = max(self._limit, first_sample + TURN_SAMPLES + self._ahead)
            self._changed.notify()

    def wait(self, end_sample: int, stop: threading.Event) -> bool:
        """Waits until sound up to `end_sample` may be sent.

        Args:
            end_sample: Position after its last sample.
            stop: Ends the wait; looked at ten times a second.

        Returns:
            False where `stop` was set.
        """
        with self._changed:
            waiting_since = time.monotonic()
            while end_sample > self._limit and not stop.is_set():
                self._changed.wait(0.1)
                if time.monotonic() - waiting_since > self._timeout_s:
                    self._limit = max(self._limit, end_sample + TURN_SAMPLES - 1)
                    self._limit -= self._limit % TURN_SAMPLES
                    self.timeouts += 1
            self._sent = max(self._sent, end_sample)
        return not stop.is_set()
