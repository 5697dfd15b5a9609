# SPDX-License-Identifier: Apache-2.0
"""The back ends against a real server on the loopback interface, and with the real small model."""

import asyncio
import base64
import io
import os
import signal
import socket
import time
import wave

import numpy as np
import pytest
from openai_server import OpenAiServer

from interaction_node.conversation_log import Event, Kind
from interaction_node.model.interface import Role
from interaction_node.plan_prompt import short_context, whole_context
from interaction_node.plan_request import PlanRequest
from interaction_node.planner_backend import PlannerBackendError
from interaction_node.planner_backend_embedded import EmbeddedBackend, EmbeddedSettings
from interaction_node.planner_backend_openai import OpenAiBackend, ServerSettings

REQUEST = PlanRequest('r1', 'what should i wear')


def event(role: Role, kind: Kind, text: str, stamp_s: float, **more) -> Event:
    return Event(role, kind, text, f'e{stamp_s}', stamp_s, **more)


CONVERSATION = (
    event(Role.USER, Kind.HEARD, 'when you hear kilo say seven', 80.0),
    event(Role.ROBOT, Kind.SAID, 'one two three', 90.0, heard_until_s=1.5),
    event(Role.ROBOT, Kind.SAID, 'never sounded', 91.0, heard_until_s=0.0),
    event(Role.ROBOT, Kind.TEXT, 'never said', 92.0),
    event(Role.PLANNER, Kind.PLAN_PARTIAL, 'half an answer', 92.5, final=False),
    event(Role.ROBOT, Kind.INTENT, 'turn {"direction": "left"}', 93.0),
    event(Role.SYSTEM, Kind.STATE, 'battery low', 94.0),
    event(Role.USER, Kind.HEARD, 'robot what should i wear', 99.0, final=False),
)


@pytest.fixture
def server():
    server = OpenAiServer()
    yield server
    server.close()


@pytest.fixture
def silent_address():
    """A server that takes connections and never answers."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        yield f'http://127.0.0.1:{listener.getsockname()[1]}/v1'


def backend(server: OpenAiServer, **settings) -> OpenAiBackend:
    defaults = {'model': 'some-model', 'backoff_s': 0.01, 'read_timeout_s': 5.0}
    return OpenAiBackend(
        ServerSettings(base_url=server.url, **{**defaults, **settings}),
        lambda request: whole_context(request, 1000),
    )


def answer(backend, request: PlanRequest = REQUEST) -> str:
    """The whole answer; `pieces` of the exception holds what came before an error."""

    async def collect() -> str:
        pieces = []
        try:
            async for piece in backend.stream(request):
                pieces.append(piece)
        except PlannerBackendError as error:
            error.pieces = pieces
            raise
        finally:
            await backend.close()
        return ''.join(pieces)

    return asyncio.run(collect())


def test_an_answer_streams_from_a_server(server):
    settings = {'api_key': 'secret', 'max_tokens': 77, 'options': {'temperature': 0.5}}
    assert answer(backend(server, **settings)) == 'Put on a coat. Take an umbrella.'
    sent = server.requests[0]
    assert (sent['model'], sent['max_tokens'], sent['temperature']) == ('some-model', 77, 0.5)
    assert sent['stream'] is True
    assert 'what should i wear' in sent['messages'][-1]['content']
    assert server.authorizations == ['Bearer secret']


def test_without_a_name_the_first_model_of_the_server_is_asked(server):
    answer(backend(server, model=''))
    assert server.requests[0]['model'] == 'first-model'


@pytest.mark.parametrize('codes', [[503], [429, 500], [500, 502, 503]])
def test_failures_that_may_pass_are_tried_again(server, codes):
    server.failures = list(codes)
    assert answer(backend(server)).startswith('Put on')
    assert len(server.requests) == len(codes) + 1


def test_after_so_many_retries_the_reason_is_told(server):
    server.failures = [503] * 9
    with pytest.raises(PlannerBackendError, match='503: reason 503'):
        answer(backend(server, retries=2))
    assert len(server.requests) == 3


def test_a_refusal_is_not_tried_again(server):
    server.failures = [401, 503]
    with pytest.raises(PlannerBackendError, match='401: reason 401'):
        answer(backend(server))
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_told_in_words():
    gone = OpenAiServer()
    gone.close()
    with pytest.raises(PlannerBackendError, match=r'(?i)connect'):
        answer(backend(gone, retries=1))


def test_a_silent_server_is_given_up(silent_address):
    settings = ServerSettings(silent_address, 'm', read_timeout_s=0.2, retries=0)
    with pytest.raises(PlannerBackendError, match='silent for too long'):
        answer(OpenAiBackend(settings, lambda _: []))


def test_a_server_that_says_nothing_is_asked_again(server):
    server.pieces = ()
    server.ending = 'break'
    with pytest.raises(PlannerBackendError, match='closed the connection early'):
        answer(backend(server, retries=1))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ('ending', 'reason'),
    [
        ('break', 'broke off'),
        ('error', 'the server reports: out of memory'),
        ('garbage', 'no chat completion'),
    ],
)
def test_an_answer_that_breaks_off_is_an_error_after_its_pieces(server, ending, reason):
    server.ending = ending
    with pytest.raises(PlannerBackendError, match=reason) as caught:
        answer(backend(server))
    assert ''.join(caught.value.pieces) == 'Put on a coat. Take an umbrella.'
    assert len(server.requests) == 1


def test_what_a_model_thinks_is_left_out(server):
    server.pieces = ('<th', 'ink>is it', ' cold?</thi', 'nk>\n', 'Put on ', 'a coat.')
    assert answer(backend(server)).strip() == 'Put on a coat.'
    server.pieces = ('<', 'b>bold')
    assert answer(backend(server)) == '<b>bold'


def test_a_cancelled_request_closes_its_connection(server):
    server.pieces = ['word '] * 1000
    server.delay_s = 0.05

    async def cancel_after_a_piece() -> float:
        asked = backend(server)
        pieces = asked.stream(REQUEST)
        task = asyncio.create_task(_read(pieces))
        while not server.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        started_s = time.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        took_s = time.monotonic() - started_s
        await asked.close()
        return took_s

    async def _read(pieces):
        async for _ in pieces:
            pass

    assert asyncio.run(cancel_after_a_piece()) < 0.5
    assert server.broken_off.wait(5.0)


def test_no_address_is_known_beforehand():
    nowhere = OpenAiBackend(ServerSettings(base_url=''), lambda _: [])
    assert 'no address' in nowhere.unavailable


def test_the_whole_context_goes_into_the_prompt():
    request = PlanRequest(
        'r1',
        'what should i wear',
        context=CONVERSATION,
        skills=('turn(direction)',),
        robot_state='{"battery": 0.2}',
        asked_s=100.0,
    )
    system, user = whole_context(request, 1000)
    text = user['content']
    assert 'two short spoken sentences' in system['content']
    assert '-20.0 s person: when you hear kilo say seven\n' in text
    assert '-10.0 s robot: one two three\n' in text
    assert '-7.0 s robot (did): turn {"direction": "left"}\n' in text
    assert '-6.0 s system (state): battery low\n' in text
    for missing in ('never sounded', 'never said', 'half an answer'):
        assert missing not in text
    assert 'turn(direction)' in text
    assert '{"battery": 0.2}' in text
    assert text.endswith('Goal: what should i wear')


def test_the_oldest_events_are_left_out_first():
    request = PlanRequest('r1', 'go', context=CONVERSATION, asked_s=100.0)
    text = whole_context(request, 80)[1]['content']
    assert 'robot what should i wear' in text
    assert 'kilo' not in text
    assert '(earlier events are left out)' in text


def test_image_and_sound_go_along_where_the_model_takes_them():
    pcm = np.arange(-50, 50, dtype=np.int16)
    request = PlanRequest('r1', 'look', pcm=pcm, image=b'\x89PNG...', image_format='png')
    assert isinstance(whole_context(request, 100)[1]['content'], str)
    _, image, sound = whole_context(request, 100, vision=True, audio=True)[1]['content']
    head, data = image['image_url']['url'].split(',')
    assert head == 'data:image/png;base64'
    assert base64.b64decode(data) == b'\x89PNG...'
    with wave.open(io.BytesIO(base64.b64decode(sound['input_audio']['data']))) as file:
        assert file.getframerate() == 16_000
        assert np.array_equal(np.frombuffer(file.readframes(1000), '<i2'), pcm)


def test_a_small_model_gets_examples_and_the_last_turns():
    request = PlanRequest('r1', 'what should i wear', context=CONVERSATION, asked_s=100.0)
    messages = short_context(request, 2, places=['kitchen'])
    assert 'kitchen' in messages[0]['content']
    assert [(m['role'], m['content']) for m in messages[-3:]] == [
        ('user', 'when you hear kilo say seven'),
        ('assistant', 'one two three'),
        ('user', 'what should i wear'),
    ]
    other = short_context(PlanRequest('r2', 'go'), 2, places=['kitchen'])
    assert other[:-1] == messages[:-3], 'the beginning must not change: servers keep it'


def test_a_missing_model_file_is_named():
    pytest.importorskip('xllamacpp')
    lost = EmbeddedBackend(EmbeddedSettings(model_path='no/such.gguf'))
    assert "no file 'no/such.gguf'" in lost.unavailable
    with pytest.raises(PlannerBackendError, match='no/such'):
        asyncio.run(lost.start())


def test_a_broken_model_file_is_reported(tmp_path):
    pytest.importorskip('xllamacpp')
    (tmp_path / 'broken.gguf').write_bytes(b'GGUF' + bytes(100))
    faults = []
    broken = EmbeddedBackend(
        EmbeddedSettings(model_path=str(tmp_path / 'broken.gguf')), faults.append
    )
    assert broken.unavailable == ''
    with pytest.raises(PlannerBackendError, match='can not be loaded'):
        asyncio.run(broken.start())
    assert 'can not be loaded' in faults[-1]
    assert broken.unavailable == faults[-1]


def test_the_embedded_model_answers_and_comes_back_after_a_crash():
    embedded = EmbeddedBackend(EmbeddedSettings(parallel=1, max_tokens=12, nice=5))
    if embedded.unavailable:
        pytest.skip(embedded.unavailable)

    async def ask_crash_ask() -> list[str]:
        france = PlanRequest('r1', 'what is the capital of france')
        answers = [await _answer(embedded, france)]
        process_id = embedded.process_id
        assert os.getpriority(os.PRIO_PROCESS, process_id) >= 5
        os.kill(process_id, signal.SIGKILL)
        while embedded.process_id is not None:
            await asyncio.sleep(0.02)
        answers.append(await _answer(embedded, france))
        last_id = embedded.process_id
        await embedded.close()
        with pytest.raises(ProcessLookupError):
            os.kill(last_id, 0)
        return answers

    answers = asyncio.run(ask_crash_ask())
    assert all('Paris' in text for text in answers), answers


async def _answer(backend, request: PlanRequest) -> str:
    return ''.join([piece async for piece in backend.stream(request)])
