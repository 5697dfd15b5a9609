# SPDX-License-Identifier: Apache-2.0
"""Runs requests to the background planner: several at a time, cancelled, timed out, never lost."""

from __future__ import annotations

import asyncio
import enum
import threading
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from interaction_node.conversation_log import Event, Kind
from interaction_node.model.interface import Role
from interaction_node.plan_request import PlanRequest
from interaction_node.planner_backend import PlannerBackend, PlannerBackendError
from interaction_node.sentence_stream import SentenceStream
from interaction_node.spoken_text import shortened, speakable

_CLOSING_S = 5.0


class Refusal(enum.IntEnum):
    """Why a request is not taken; the values of `RequestPlan.Response.error_code`."""

    NONE = 0
    BUSY = 1
    BAD_REQUEST = 2
    NO_BACKEND = 3
    DEADLINE_PASSED = 4


@dataclass(frozen=True)
class PlanLimits:
    """How much the planner takes on, and how long an answer may be.

    Attributes:
        parallel: Requests that run at a time.
        queued: Requests that wait on top of them.
        limit_s: Time for a request without a deadline of its own, from its acceptance, seconds.
        max_sentences: Sentences of an answer; more are not waited for.
        max_characters: Most characters of an answer.
    """

    parallel: int = 2
    queued: int = 4
    limit_s: float = 30.0
    max_sentences: int = 2
    max_characters: int = 300


@dataclass
class _Job:
    request: PlanRequest
    accepted_s: float = 0.0
    over: bool = False
    parts: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class PlanQueue:
    """Takes requests from any thread and answers each with exactly one last event.

    One thread runs an event loop, in which every request is a task. Events of one request come in
    order: any number of PLAN_PARTIAL, then one PLAN_RESULT, PLAN_FAILED or PLAN_CANCELLED.

    Args:
        backend: The language model.
        publish: Called with each event and its request, from any thread; must return soon and not
            raise.
        limits: How much is taken on.
        now_s: The clock of the deadlines, ROS time.
    """

    def __init__(
        self,
        backend: PlannerBackend,
        publish: Callable[[Event, PlanRequest], None],
        limits: PlanLimits,
        now_s: Callable[[], float],
    ):
        self._backend = backend
        self._publish = publish
        self._limits = limits
        self._now_s = now_s
        self._lock = threading.RLock()
        self._jobs: dict[str, _Job] = {}
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(limits.parallel)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name='planner', daemon=True)
        self._thread.start()

    @property
    def open_requests(self) -> int:
        """Requests that run or wait."""
        with self._lock:
            return len(self._jobs)

    def preload(self, on_error: Callable[[str], None]) -> None:
        """Prepares the back end now and not with the first request."""

        async def prepare() -> None:
            try:
                await self._backend.start()
            except PlannerBackendError as error:
                on_error(str(error))

        self._loop.call_soon_threadsafe(lambda: self._begin(prepare()))

    def submit(self, request: PlanRequest) -> tuple[Refusal, str]:
        """Takes a request or says why not, at once.

        Args:
            request: The request.

        Returns:
            The reason, NONE if it is taken, and a sentence about it.
        """
        with self._lock:
            refusal, message = self._refusal(request)
            if refusal is Refusal.NONE:
                job = _Job(request, self._loop.time())
                self._jobs[request.request_id] = job
                self._loop.call_soon_threadsafe(self._start, job)
        return refusal, message

    def cancel(self, request_id: str) -> bool:
        """Cancels a request; returns whether it was still running or waiting."""
        with self._lock:
            job = self._jobs.get(request_id)
            return job is not None and self._finish(job, Kind.PLAN_CANCELLED, 'cancelled')

    def expire(self) -> None:
        """Ends requests whose deadline has passed; call it every 100 ms or so."""
        now_s = self._now_s()
        with self._lock:
            for job in list(self._jobs.values()):
                if 0 < job.request.deadline_s <= now_s:
                    self._finish(job, Kind.PLAN_FAILED, 'the answer was not ready in time')

    def close(self) -> None:
        """Fails what is still open, ends the back end and the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for job in list(self._jobs.values()):
                self._finish(job, Kind.PLAN_FAILED, 'the planner shuts down')
        ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        with suppress(TimeoutError):
            ending.result(_CLOSING_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSING_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _refusal(self, request: PlanRequest) -> tuple[Refusal, str]:
        most = self._limits.parallel + self._limits.queued
        if not request.request_id.strip() or not request.goal.strip():
            return Refusal.BAD_REQUEST, 'request_id and goal must not be empty'
        if request.request_id in self._jobs:
            return Refusal.BAD_REQUEST, f'request {request.request_id!r} is already running'
        if 0 < request.deadline_s <= self._now_s():
            return Refusal.DEADLINE_PASSED, 'the deadline lies in the past'
        if reason := 'the planner shuts down' if self._closed else self._backend.unavailable:
            return Refusal.NO_BACKEND, reason
        if len(self._jobs) >= most:
            return Refusal.BUSY, f'{most} requests are running or waiting already'
        return Refusal.NONE, ''

    def _start(self, job: _Job) -> None:
        with self._lock:
            if not job.over:
                job.task = self._begin(self._run(job))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, job: _Job) -> None:
        limits = self._limits
        end_s = None if job.request.deadline_s > 0 else job.accepted_s + limits.limit_s
        try:
            async with asyncio.timeout_at(end_s), self._slots:
                await self._answer(job)
        except TimeoutError:
            self._finish(job, Kind.PLAN_FAILED, f'no answer within {limits.limit_s:g} seconds')
        except PlannerBackendError as error:
            self._finish(job, Kind.PLAN_FAILED, str(error))
        except Exception as error:  # a broken back end must not end the planner
            message = f'the back end crashed: {type(error).__name__}: {error}'
            self._finish(job, Kind.PLAN_FAILED, message)

    async def _answer(self, job: _Job) -> None:
        """Reads the answer up to the last sentence that is wanted."""
        sentences = SentenceStream()
        async with aclosing(self._backend.stream(job.request)) as pieces:
            async for piece in pieces:
                for sentence in sentences.push(piece):
                    self._add(job, sentence)
                if self._is_full(job):
                    break
        # A last sentence without its end was cut by the token limit: better left out.
        if not job.parts or sentences.rest.rstrip()[-1:] in '.!?…':
            self._add(job, sentences.rest, is_last=True)
        if job.parts:
            text = shortened(' '.join(job.parts), self._limits.max_characters)
            self._finish(job, Kind.PLAN_RESULT, text)
        else:
            self._finish(job, Kind.PLAN_FAILED, 'the language model gave no answer')

    def _is_full(self, job: _Job) -> bool:
        long_enough = sum(map(len, job.parts)) >= self._limits.max_characters
        return long_enough or len(job.parts) >= self._limits.max_sentences

    def _add(self, job: _Job, sentence: str, is_last: bool = False) -> None:
        """Keeps a sentence, if there is room for it; publishes it where more may follow."""
        text = speakable(sentence, self._limits.max_characters)
        if not text or self._is_full(job):
            return
        with self._lock:
            job.parts.append(text)
            if not (job.over or is_last or self._is_full(job)):
                event = self._event(job, Kind.PLAN_PARTIAL, text, str(len(job.parts)))
                self._publish(event, job.request)

    def _finish(self, job: _Job, kind: Kind, text: str) -> bool:
        """Publishes the last event of a request, unless it has had one."""
        with self._lock:
            if job.over:
                return False
            job.over = True
            del self._jobs[job.request.request_id]
            self._publish(self._event(job, kind, text, 'end'), job.request)
            if job.task is not None and threading.current_thread() is not self._thread:
                self._loop.call_soon_threadsafe(job.task.cancel)
            return True

    def _event(self, job: _Job, kind: Kind, text: str, which: str) -> Event:
        return Event(
            role=Role.PLANNER,
            kind=kind,
            text=text,
            # Its beginning must differ from the request's, by which its asker knows its own events.
            event_id=f'plan/{job.request.request_id}/{which}',
            stamp_s=self._now_s(),
            in_reply_to=job.request.request_id,
            final=kind != Kind.PLAN_PARTIAL,
        )

    async def _end(self) -> None:
        # Only our own: what they have started, they end themselves.
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._backend.close()
