# SPDX-License-Identifier: Apache-2.0
"""Requests to the planner: answered at once, each with one end, whatever the back end does."""

import asyncio
import threading
import time

import pytest

from interaction_node.conversation_log import Event, Kind
from interaction_node.plan_queue import PlanLimits, PlanQueue, Refusal
from interaction_node.plan_request import PlanRequest
from interaction_node.planner_backend import PlannerBackendError


class ScriptedBackend:
    """Answers with pieces; the goal says what happens: 'wait' waits for `go`, 'crash', 'refuse'."""

    def __init__(self):
        self.pieces = ['First **this**. ', 'Then ', 'that. ', 'And', ' more.']
        self.unavailable = ''
        self.go = threading.Event()
        self.running = 0
        self.most_running = 0
        self.cancelled = 0
        self.pieces_read = 0
        self.closed = False

    async def start(self):
        raise PlannerBackendError('no weights')

    async def stream(self, request):
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            while 'wait' in request.goal and not self.go.is_set():
                await asyncio.sleep(0.005)
            if 'refuse' in request.goal:
                raise PlannerBackendError('the server is on fire')
            if 'crash' in request.goal:
                raise ZeroDivisionError('oops')
            for piece in self.pieces:
                self.pieces_read += 1
                yield piece
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def close(self):
        self.closed = True


class Bench:
    """A queue, what it published, and a clock that the test turns."""

    def __init__(self, **limits):
        self.backend = ScriptedBackend()
        self.events: list[Event] = []
        self.now_s = 100.0
        self.queue = PlanQueue(
            self.backend,
            lambda event, _: self.events.append(event),
            PlanLimits(**limits),
            lambda: self.now_s,
        )

    def submit(self, request_id: str, goal: str = 'plan', **more) -> Refusal:
        return self.queue.submit(PlanRequest(request_id, goal, **more))[0]

    def wait(self, condition=None):
        condition = condition or (lambda: self.queue.open_requests == 0)
        end_s = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end_s
            time.sleep(0.002)

    def ends(self) -> dict[str, Kind]:
        ends = [event for event in self.events if event.final]
        assert len({event.in_reply_to for event in ends}) == len(ends), 'more than one end'
        return {event.in_reply_to: event.kind for event in ends}


@pytest.fixture
def make_bench():
    benches = []

    def make(**limits) -> Bench:
        benches.append(Bench(**limits))
        return benches[-1]

    yield make
    for bench in benches:
        bench.queue.close()


@pytest.fixture
def bench(make_bench):
    return make_bench()


def test_an_answer_comes_as_a_part_and_a_whole(bench):
    assert bench.submit('r1') is Refusal.NONE
    bench.wait()
    told = [(event.kind, event.text, event.in_reply_to, event.final) for event in bench.events]
    assert told == [
        (Kind.PLAN_PARTIAL, 'first this.', 'r1', False),
        (Kind.PLAN_RESULT, 'first this. then that.', 'r1', True),
    ]
    assert len({event.event_id for event in bench.events}) == 2
    assert not any(event.event_id.startswith('r1') for event in bench.events)
    assert bench.events[0].stamp_s == 100.0


def test_no_more_is_read_than_is_said(bench):
    bench.backend.pieces = ['One. ', 'Two. ', *['More. '] * 1000]
    bench.submit('r1')
    bench.wait()
    assert bench.backend.pieces_read <= 4
    assert bench.events[-1].text == 'one. two.'


def test_a_single_sentence_is_told_once(bench):
    bench.backend.pieces = ['Just', ' go.']
    bench.submit('r1')
    bench.wait()
    assert [(event.kind, event.text) for event in bench.events] == [(Kind.PLAN_RESULT, 'just go.')]


def test_a_sentence_that_was_cut_off_is_left_out_unless_it_is_all_there_is(bench):
    bench.backend.pieces = ['Go out. ', 'And then you']
    bench.submit('r1')
    bench.wait()
    assert bench.events[-1].text == 'go out.'
    bench.backend.pieces = ['Then you']
    bench.submit('r2')
    bench.wait()
    assert bench.events[-1].text == 'then you'


def test_an_answer_keeps_to_its_length(make_bench):
    bench = make_bench(max_characters=30)
    bench.backend.pieces = ['word ' * 100, '. Second. ']
    bench.submit('r1')
    bench.wait()
    assert 20 < len(bench.events[-1].text) <= 30


@pytest.mark.parametrize(
    ('goal', 'text'),
    [
        ('refuse', 'the server is on fire'),
        ('crash', 'the back end crashed: ZeroDivisionError: oops'),
    ],
)
def test_a_failure_is_told_and_the_next_request_is_answered(bench, goal, text):
    bench.submit('r1', goal)
    bench.wait()
    assert (bench.events[-1].kind, bench.events[-1].text) == (Kind.PLAN_FAILED, text)
    bench.submit('r2')
    bench.wait()
    assert bench.ends() == {'r1': Kind.PLAN_FAILED, 'r2': Kind.PLAN_RESULT}


def test_no_answer_is_a_failure(bench):
    bench.backend.pieces = ['**', ' \n']
    bench.submit('r1')
    bench.wait()
    assert bench.ends() == {'r1': Kind.PLAN_FAILED}
    assert 'no answer' in bench.events[-1].text


def test_so_many_run_so_many_wait_and_more_are_refused(make_bench):
    bench = make_bench(parallel=2, queued=1)
    answers = [bench.submit(f'r{number}', 'wait') for number in range(4)]
    assert answers == [Refusal.NONE] * 3 + [Refusal.BUSY]
    bench.wait(lambda: bench.backend.running == 2)
    time.sleep(0.05)
    assert bench.backend.most_running == 2
    bench.backend.go.set()
    bench.wait()
    assert bench.ends() == dict.fromkeys(['r0', 'r1', 'r2'], Kind.PLAN_RESULT)
    assert bench.backend.most_running == 2
    assert bench.submit('r4') is Refusal.NONE


@pytest.mark.parametrize(
    ('request_id', 'goal', 'more', 'refusal'),
    [
        ('', 'plan', {}, Refusal.BAD_REQUEST),
        ('r1', '  ', {}, Refusal.BAD_REQUEST),
        ('running', 'plan', {}, Refusal.BAD_REQUEST),
        ('r1', 'plan', {'deadline_s': 99.0}, Refusal.DEADLINE_PASSED),
        ('r1', 'plan', {'deadline_s': 101.0}, Refusal.NONE),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(bench, request_id, goal, more, refusal):
    bench.submit('running', 'wait')
    assert bench.submit(request_id, goal, **more) is refusal
    assert bench.events == []


def test_without_a_back_end_requests_are_refused(bench):
    bench.backend.unavailable = 'not installed'
    assert bench.queue.submit(PlanRequest('r1', 'plan')) == (Refusal.NO_BACKEND, 'not installed')


def test_a_running_and_a_waiting_request_can_be_cancelled(make_bench):
    bench = make_bench(parallel=1, queued=1)
    bench.submit('running', 'wait')
    bench.submit('waiting', 'wait')
    bench.wait(lambda: bench.backend.running == 1)
    assert bench.queue.cancel('waiting')
    assert bench.queue.cancel('running')
    assert bench.ends() == dict.fromkeys(['waiting', 'running'], Kind.PLAN_CANCELLED)
    bench.wait(lambda: bench.backend.cancelled == 1)
    bench.backend.go.set()
    assert not bench.queue.cancel('running')
    assert not bench.queue.cancel('unknown')
    bench.submit('next')
    bench.wait()
    assert bench.ends()['next'] is Kind.PLAN_RESULT
    assert len(bench.ends()) == 3


def test_an_answer_after_its_deadline_is_a_failure(bench):
    bench.submit('early', 'wait', deadline_s=110.0)
    bench.submit('late', 'wait', deadline_s=120.0)
    bench.wait(lambda: bench.backend.running == 2)
    bench.queue.expire()
    assert bench.events == []
    bench.now_s = 111.0
    bench.queue.expire()
    assert bench.ends() == {'early': Kind.PLAN_FAILED}
    assert 'not ready in time' in bench.events[-1].text
    bench.backend.go.set()
    bench.wait()
    assert bench.ends() == {'early': Kind.PLAN_FAILED, 'late': Kind.PLAN_RESULT}


def test_without_a_deadline_the_planner_has_its_own_limit(make_bench):
    bench = make_bench(limit_s=0.05, parallel=1)
    bench.submit('r1', 'wait')
    bench.submit('r2', 'wait')
    bench.wait()
    assert bench.ends() == dict.fromkeys(['r1', 'r2'], Kind.PLAN_FAILED)
    assert bench.events[-1].text == 'no answer within 0.05 seconds'


def test_closing_fails_what_is_open_and_takes_no_more(bench):
    bench.submit('r1', 'wait')
    bench.wait(lambda: bench.backend.running == 1)
    bench.queue.close()
    assert bench.ends() == {'r1': Kind.PLAN_FAILED}
    assert bench.backend.closed
    assert bench.submit('r2') is Refusal.NO_BACKEND


def test_a_model_that_can_not_be_loaded_is_told(bench):
    errors = []
    bench.queue.preload(errors.append)
    bench.wait(lambda: errors)
    assert errors == ['no weights']


def test_many_threads_at_once_get_one_end_each(make_bench):
    bench = make_bench(parallel=4, queued=1000)

    def work(name: str):
        for number in range(25):
            bench.submit(f'{name}{number}', 'wait' if number % 3 == 0 else 'plan')
            if number % 3 == 0:
                bench.queue.cancel(f'{name}{number}')

    threads = [threading.Thread(target=work, args=(name,)) for name in 'abcd']
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.wait()
    assert len(bench.ends()) == 100
    assert sum(kind is Kind.PLAN_CANCELLED for kind in bench.ends().values()) == 36
