# SPDX-License-Identifier: Apache-2.0
"""The one interface between the background planner and whatever language model answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from interaction_node.plan_request import PlanRequest


class PlannerBackendError(Exception):
    """The language model gave no usable answer; the message says why, for a person."""


class PlannerBackend(Protocol):
    """A language model. Everything but `unavailable` runs in the planner's event loop.

    Coroutines instead of threads, because a cancelled task then ends at once and closes its
    connection, wherever it waits.
    """

    @property
    def unavailable(self) -> str:
        """Why no request can be taken now; '' if one can. Answers at once, from any thread."""

    async def start(self) -> None:
        """Prepares for the first request, e.g. loads a model; may raise `PlannerBackendError`."""

    def stream(self, request: PlanRequest) -> AsyncGenerator[str, None]:
        """Yields the answer piece by piece.

        Raises:
            PlannerBackendError: There is no answer, or its rest is missing.
        """

    async def close(self) -> None:
        """Ends connections and processes."""
