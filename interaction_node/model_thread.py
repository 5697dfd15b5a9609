# SPDX-License-Identifier: Apache-2.0
"""The one thread that owns the model: takes micro-turns from the clock, steps, hands on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import TURN_S, InteractionModel, MicroTurn, StepResult
from interaction_node.turn_report import TurnReport

POLL_S = 0.01


@dataclass(frozen=True)
class Step:
    """A micro-turn, and what the model made of it.

    Attributes:
        turn: What the robot perceived.
        report: How complete it was.
        result: What the model decided; silence where it failed.
        step_ms: Wall time of the step, milliseconds.
        deadline_missed: Whether the next window was over before the step ended.
        error: Why the model failed, '' where it didn't.
    """

    turn: MicroTurn
    report: TurnReport
    result: StepResult
    step_ms: float
    deadline_missed: bool
    error: str = ''


class ModelThread:
    """Steps the model whenever a micro-turn is due.

    Args:
        model: The model; only this thread calls it.
        clock: Where the micro-turns come from.
        now: The pacing clock, seconds.
        ros_now: The ROS clock, seconds, or None where that is the pacing clock.
        paced: Whether time makes micro-turns due, so that the model can be late for them.
        begin: Called in this thread before the first step.
        deliver: Gets every step, in this thread.
        on_error: Gets what `deliver` or a call raised, in this thread.
    """

    def __init__(
        self,
        model: InteractionModel,
        clock: MicroTurnClock,
        now: Callable[[], float],
        ros_now: Callable[[], float] | None,
        paced: bool,
        begin: Callable[[], None],
        deliver: Callable[[Step], None],
        on_error: Callable[[Exception], None],
    ):
        self._model = model
        self._clock = clock
        self._now = now
        self._ros_now = ros_now
        self._paced = paced
        self._begin = begin
        self._deliver = deliver
        self._on_error = on_error
        self._begun: Future[None] = Future()
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='model', daemon=True)

    def start(self) -> None:
        """Begins to step, when all is ready for it.

        Raises:
            Exception: What `begin` raised; the thread has ended.
        """
        self._thread.start()
        self._begun.result()

    def stop(self) -> None:
        """Ends the thread after the step that is running, if any, and the calls that wait."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Says that something was pushed into the clock."""
        self._wake.set()

    def call(self, function: Callable[[], None]) -> None:
        """Runs a function in this thread, between two steps."""
        self._calls.append(function)
        self._wake.set()

    def _run(self) -> None:
        try:
            self._begin()
        except Exception as error:  # is raised where the thread was started
            self._begun.set_exception(error)
            return
        self._begun.set_result(None)
        while not self._stop.is_set():
            self._wake.clear()
            self._run_calls()
            if not self._step_what_is_due():
                self._wake.wait(POLL_S)
        self._run_calls()

    def _run_calls(self) -> None:
        while self._calls:
            self._guarded(self._calls.popleft())

    def _step_what_is_due(self) -> bool:
        now_s = self._now()
        if now_s <= 0.0:  # simulated time has not begun
            return False
        due = self._clock.poll(now_s, self._ros_now() if self._ros_now else None)
        for turn, report in due:
            if self._stop.is_set():
                break
            self._run_calls()
            step = self._step(turn, report)
            self._guarded(partial(self._deliver, step))
        return bool(due)

    def _step(self, turn: MicroTurn, report: TurnReport) -> Step:
        start_s = time.perf_counter()
        try:
            result, error = self._model.step(turn), ''
        except Exception as exception:  # whatever a model raises: the robot goes on listening
            result, error = StepResult(turn.index), f'{type(exception).__name__}: {exception}'
        step_ms = 1e3 * (time.perf_counter() - start_s)
        late_ms = step_ms + (report.latency_ms if self._paced else 0.0)
        missed = not turn.emit or late_ms > 1e3 * TURN_S
        return Step(turn, report, result, step_ms, missed, error)

    def _guarded(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as exception:
            self._on_error(exception)
