# SPDX-License-Identifier: Apache-2.0
"""Messages that make no sense: each fault is told once, however often it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from interaction_node.node_errors import NodeErrors

QUIET_S = 5.0
TOLD = 16


class MessageFaults:
    """Turns the ValueError that a bad message raises into an error of the node.

    Good and bad messages may alternate many times a second, so an error ends only when no bad one
    came for a while.

    Args:
        errors: Where errors go.
        now: A steady clock, seconds.
    """

    def __init__(self, errors: NodeErrors, now: Callable[[], float] = time.monotonic):
        self._errors = errors
        self._now = now
        self._told: dict[str, set[str]] = {}
        self._newest_s: dict[str, float] = {}

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Takes a message of a kind; what raises ValueError in the block is reported."""
        try:
            yield
        except ValueError as error:
            self._report(key, f'{key}: {error}')

    def end_old(self) -> None:
        """Ends the errors of which nothing came for a while; call it about once a second."""
        for key, newest_s in list(self._newest_s.items()):
            if self._now() - newest_s > QUIET_S:
                del self._newest_s[key], self._told[key]
                self._errors.resolve(key, f'{key}: fine again')

    def _report(self, key: str, message: str) -> None:
        self._newest_s[key] = self._now()
        self._errors.count(f'refused {key}')
        told = self._told.setdefault(key, set())
        if message not in told and len(told) < TOLD:
            told.add(message)
            self._errors.error(key, message)
