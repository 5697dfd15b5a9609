# SPDX-License-Identifier: Apache-2.0
"""The planner over DDS: it answers at once, however slow the language model is."""

import array
import contextlib
import statistics
import time
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from openai_server import OpenAiServer
from rclpy.duration import Duration

from duplex_interaction.msg import ConversationEvent
from duplex_interaction.srv import CancelPlan, RequestPlan
from interaction_node import topic_qos

PARTIAL, RESULT = ConversationEvent.PLAN_PARTIAL, ConversationEvent.PLAN_RESULT
FAILED, CANCELLED = ConversationEvent.PLAN_FAILED, ConversationEvent.PLAN_CANCELLED
NONE, BUSY = RequestPlan.Response.NONE, RequestPlan.Response.BUSY


@pytest.fixture
def server():
    server = OpenAiServer()
    yield server
    server.close()


class Planner:
    """The node, its server, and what it says."""

    def __init__(self, spy, start_node, server, **params):
        self.spy = spy
        self.server = server
        params = {'backend': 'openai', 'openai.base_url': server.url, **params}
        self.node = start_node('planner_node', params=params)
        self.events = spy.collect(ConversationEvent, 'conversation', topic_qos.CONVERSATION)
        spy.wait_for_publishers('conversation')
        self.client = spy.node.create_client(RequestPlan, 'request_plan')
        assert self.client.wait_for_service(15.0)

    def ask(self, request_id: str, goal: str = 'plan a tour', **more) -> RequestPlan.Response:
        return self.timed(request_id, goal, **more)[0]

    def timed(self, request_id: str, goal: str = 'plan a tour', **more):
        """The response, and seconds until it came."""
        request = RequestPlan.Request(request_id=request_id, goal=goal, **more)
        started_s = time.perf_counter()
        future = self.client.call_async(request)
        done_s: list[float] = []
        future.add_done_callback(lambda _: done_s.append(time.perf_counter()))
        self.spy.wait_until(lambda: done_s, what='a response')
        return future.result(), done_s[0] - started_s

    def wait_for_end(self, request_id: str, timeout_s: float = 15.0) -> list[ConversationEvent]:
        """All events of a request, once the last one has come."""

        def of_request():
            return [event for event in self.events if event.in_reply_to == request_id]

        self.spy.wait_until(
            lambda: any(event.final for event in of_request()), timeout_s, request_id
        )
        time.sleep(0.1)
        return of_request()


@pytest.fixture
def planner(spy, start_node, server):
    return Planner(spy, start_node, server, max_queued=0)


def test_an_answer_streams_onto_the_conversation(planner):
    context = [
        ConversationEvent(conversation_id='c7', event_id='e1', text='it rains', kind=1),
        ConversationEvent(conversation_id='c7', event_id='e2', role=1, kind=2, text='oh dear'),
    ]
    audio = array.array('h', [1, -1] * 800)
    response = planner.ask('r1', 'what should i wear', context=context, audio=audio)
    assert (response.accepted, response.error_code, response.message) == (True, NONE, '')
    partial, result = planner.wait_for_end('r1')
    assert (partial.kind, partial.text, partial.final) == (PARTIAL, 'put on a coat.', False)
    assert (result.kind, result.final) == (RESULT, True)
    assert result.text == 'put on a coat. take an umbrella.'
    assert {event.role for event in (partial, result)} == {ConversationEvent.PLANNER}
    assert {event.conversation_id for event in (partial, result)} == {'c7'}
    assert result.header.stamp.sec > 0
    sent = planner.server.requests[0]['messages'][-1]['content']
    assert 'it rains' in sent
    assert sent.endswith('Goal: what should i wear')


def test_it_accepts_within_50_ms_while_the_model_is_slow(planner, record_property):
    planner.server.delay_s = 30.0
    planner.ask('slow')
    planner.spy.wait_until(lambda: planner.server.requests, what='a request at the server')
    taken_s = []
    for number in range(20):
        response, took_s = planner.timed(f'r{number}')
        assert response.accepted
        taken_s.append(took_s)
        planner.spy.call(CancelPlan, 'cancel_plan', CancelPlan.Request(request_id=f'r{number}'))
    median_ms, most_ms = 1e3 * statistics.median(taken_s), 1e3 * max(taken_s)
    record_property('accept_ms', f'median {median_ms:.1f}, most {most_ms:.1f}')
    print(f'accepted after {median_ms:.1f} ms, at most {most_ms:.1f} ms')
    assert median_ms < 50


def test_two_at_a_time_a_third_is_busy_and_a_cancelled_one_makes_room(planner):
    planner.server.delay_s = 30.0
    assert planner.ask('r1').accepted
    assert planner.ask('r2').accepted
    refused = planner.ask('r3')
    assert (refused.accepted, refused.error_code) == (False, BUSY)
    assert '2 requests' in refused.message
    planner.spy.wait_until(lambda: len(planner.server.requests) == 2, what='two requests')
    answer = planner.spy.call(CancelPlan, 'cancel_plan', CancelPlan.Request(request_id='r1'))
    assert answer.cancelled
    assert [event.kind for event in planner.wait_for_end('r1')] == [CANCELLED]
    assert planner.server.broken_off.wait(5.0)
    again = planner.spy.call(CancelPlan, 'cancel_plan', CancelPlan.Request(request_id='r1'))
    assert not again.cancelled
    assert "'r1'" in again.message
    planner.server.delay_s = 0.0
    assert planner.ask('r3').accepted
    assert planner.wait_for_end('r3')[-1].kind == RESULT


def test_requests_that_make_no_sense_are_refused_with_a_reason(planner):
    responses = [
        planner.ask(''),
        planner.ask('r1', ' '),
        planner.ask('r1', context=[ConversationEvent(role=99)]),
        planner.ask('r1', deadline=stamp(planner, -1.0)),
    ]
    bad, late = RequestPlan.Response.BAD_REQUEST, RequestPlan.Response.DEADLINE_PASSED
    assert [response.error_code for response in responses] == [bad, bad, bad, late]
    assert not any(response.accepted for response in responses)
    assert all(response.message for response in responses)


def stamp(planner: Planner, later_s: float):
    return (planner.spy.node.get_clock().now() + Duration(seconds=later_s)).to_msg()


def test_an_answer_that_comes_too_late_is_a_failure(planner):
    planner.server.delay_s = 30.0
    started_s = time.monotonic()
    assert planner.ask('r1', deadline=stamp(planner, 0.5)).accepted
    events = planner.wait_for_end('r1')
    assert time.monotonic() - started_s < 2.0
    assert [event.kind for event in events] == [FAILED]
    assert 'not ready in time' in events[0].text


def test_a_broken_server_is_told_and_the_node_lives_on(planner):
    diagnostics = planner.spy.collect(DiagnosticArray, '/diagnostics')
    planner.server.ending = 'error'
    planner.server.pieces = ('Go',)
    planner.ask('r1')
    events = planner.wait_for_end('r1')
    assert events[-1].kind == FAILED
    assert 'out of memory' in events[-1].text

    def statuses():
        return [status for array in diagnostics for status in array.status]

    def told() -> bool:
        return any(
            status.name == 'planner_node' and 'out of memory' in status.message
            for status in statuses()
        )

    planner.spy.wait_until(told, what='diagnostics')
    planner.server.ending = 'done'
    planner.server.pieces = ('Go out.',)
    planner.ask('r2')
    assert planner.wait_for_end('r2')[-1].text == 'go out.'


def test_ctrl_c_fails_what_is_open_and_ends_cleanly(planner):
    planner.server.delay_s = 30.0
    planner.ask('r1')
    planner.node.stop()
    events = planner.wait_for_end('r1')
    assert [(event.kind, event.text) for event in events] == [(FAILED, 'the planner shuts down')]


def test_without_its_model_it_refuses_and_says_so(spy, start_node, server):
    params = {'backend': 'embedded', 'embedded.model_path': '/no/such.gguf'}
    planner = Planner(spy, start_node, server, **params)
    response = planner.ask('r1')
    assert (response.accepted, response.error_code) == (False, RequestPlan.Response.NO_BACKEND)
    assert 'such.gguf' in response.message
    planner.node.wait_for_output('such.gguf')


def test_a_missing_api_key_is_named(start_node):
    node = start_node(
        'planner_node', params={'backend': 'openai', 'openai.api_key_env': 'NO_SUCH_KEY'}
    )
    assert node.wait() == 1
    assert "parameter 'openai.api_key_env' is 'NO_SUCH_KEY'" in node.output
    assert 'Traceback' not in node.output


@pytest.mark.slow
def test_the_embedded_model_answers(spy, start_node, server):
    pytest.importorskip('xllamacpp')
    params = {
        'backend': 'embedded',
        'max_parallel': 1,
        'embedded.max_tokens': 20,
        'embedded.nice': 0,
        'deadline_s': 90.0,
    }
    planner = Planner(spy, start_node, server, **params)
    started_s = time.monotonic()
    response = planner.ask('r1', 'what is the capital of france')
    if response.error_code == RequestPlan.Response.NO_BACKEND:
        pytest.skip(response.message)
    assert response.accepted
    result = planner.wait_for_end('r1', 95.0)[-1]
    print(f'{result.text!r} after {time.monotonic() - started_s:.1f} s')
    assert (result.kind, 'paris' in result.text) == (RESULT, True)
    model = child_of(planner.node.pid)
    planner.node.kill()
    spy.wait_until(lambda: not Path(f'/proc/{model}/exe').exists(), what='the end of the model')


def child_of(process_id: int) -> int:
    """The one child process of a process."""
    for stat in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            after_name = stat.read_text().rpartition(')')[2].split()
            if int(after_name[1]) == process_id:
                return int(stat.parent.name)
    raise AssertionError(f'process {process_id} has no child')
