# SPDX-License-Identifier: Apache-2.0
"""Any server that speaks the OpenAI protocol: vLLM, SGLang, llama.cpp, Ollama, a cloud."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx

from interaction_node.plan_prompt import Message
from interaction_node.plan_request import PlanRequest
from interaction_node.planner_backend import PlannerBackendError

_LONGEST_WAIT_S = 10.0
_LONGEST_MESSAGE = 200
_RETRIED = (408, 409, 429)


@dataclass(frozen=True)
class ServerSettings:
    """How to reach the server, and what to ask for.

    Attributes:
        base_url: Up to and including the version, e.g. http://127.0.0.1:8000/v1.
        model: Name of the model; '' takes the first that the server offers.
        api_key: Sent as a bearer token; '' for none.
        connect_timeout_s: Longest wait for a connection, seconds.
        read_timeout_s: Longest wait for the next piece of the answer, seconds.
        retries: How often a request is repeated after a failure that may pass.
        backoff_s: Wait before the first repetition, seconds; doubles every time.
        max_tokens: Most tokens of an answer.
        options: More fields of the request, e.g. {'temperature': 0.3}.
        use_proxy: Whether the proxy settings of the environment apply.
    """

    base_url: str
    model: str = ''
    api_key: str = field(default='', repr=False)
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 20.0
    retries: int = 3
    backoff_s: float = 0.5
    max_tokens: int = 160
    options: dict[str, Any] = field(default_factory=dict)
    use_proxy: bool = True


class _PassingError(Exception):
    """A failure after which trying again makes sense."""

    def __init__(self, message: str, wait_s: float = 0.0):
        super().__init__(message)
        self.wait_s = wait_s


class OpenAiBackend:
    """Streams chat completions from a server.

    Args:
        settings: The server.
        prompt: Writes the messages for a request.
    """

    def __init__(
        self, settings: ServerSettings, prompt: Callable[[PlanRequest], Sequence[Message]]
    ):
        self._settings = settings
        self._prompt = prompt
        self._model = settings.model
        self._client: httpx.AsyncClient | None = None

    @property
    def unavailable(self) -> str:
        """Why no request can be taken: only a missing address is known beforehand."""
        return '' if self._settings.base_url else 'no address of a language model server is set'

    async def start(self) -> None:
        """Does nothing: the server is reached with the first request."""

    async def close(self) -> None:
        """Ends all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def stream(self, request: PlanRequest) -> AsyncGenerator[str, None]:
        """Yields the answer piece by piece; tries again as long as nothing has come."""
        attempt = 0
        while True:
            began = False
            try:
                async with aclosing(self._attempt(request)) as pieces:
                    async for piece in pieces:
                        began = True
                        yield piece
                return
            except (_PassingError, httpx.TransportError) as error:
                message = str(error) or _in_words(error)
                if began:
                    raise PlannerBackendError(f'the answer broke off: {message}') from error
                if attempt >= self._settings.retries:
                    raise PlannerBackendError(message) from error
                await asyncio.sleep(self._wait_s(attempt, error))
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                raise PlannerBackendError(str(error) or _in_words(error)) from error
            attempt += 1

    def _wait_s(self, attempt: int, error: Exception) -> float:
        backoff_s = self._settings.backoff_s * 2**attempt * random.uniform(0.8, 1.2)
        return min(_LONGEST_WAIT_S, max(backoff_s, getattr(error, 'wait_s', 0.0)))

    async def _attempt(self, request: PlanRequest) -> AsyncGenerator[str, None]:
        client = self._connected()
        body = {
            **self._settings.options,
            'model': await self._model_name(client),
            'messages': list(self._prompt(request)),
            'max_tokens': self._settings.max_tokens,
            'stream': True,
        }
        async with client.stream('POST', 'chat/completions', json=body) as response:
            if response.status_code != httpx.codes.OK:
                _raise_for(response, await response.aread())
            async with aclosing(_without_thoughts(_contents(response))) as pieces:
                async for piece in pieces:
                    yield piece

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            settings = self._settings
            key = settings.api_key
            self._client = httpx.AsyncClient(
                base_url=settings.base_url.rstrip('/') + '/',
                headers={'Authorization': f'Bearer {key}'} if key else {},
                timeout=httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
                trust_env=settings.use_proxy,
                verify=settings.base_url.startswith('https'),  # certificates take time to load
            )
        return self._client

    async def _model_name(self, client: httpx.AsyncClient) -> str:
        if not self._model:
            response = await client.get('models')
            if response.status_code != httpx.codes.OK:
                _raise_for(response, response.content)
            try:
                self._model = response.json()['data'][0]['id']
            except (ValueError, LookupError, TypeError) as error:
                raise PlannerBackendError('the server offers no model; name one') from error
        return self._model


def _raise_for(response: httpx.Response, body: bytes) -> None:
    """Raises for an answer that is not OK."""
    message = f'the server answers {response.status_code}: {_error_text(body)}'
    if response.status_code in _RETRIED or response.status_code >= 500:
        raise _PassingError(message, _retry_after_s(response))
    raise PlannerBackendError(message)


def _error_text(body: bytes) -> str:
    text = body.decode(errors='replace')
    try:
        found = json.loads(text)
        found = found.get('error', found) if isinstance(found, dict) else found
        text = str(found.get('message', found) if isinstance(found, dict) else found)
    except ValueError:
        pass
    return ' '.join(text.split())[:_LONGEST_MESSAGE]


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get('retry-after', 0.0)))
    except ValueError:
        return 0.0  # a date: the backoff is good enough


async def _contents(response: httpx.Response) -> AsyncGenerator[str, None]:
    """Yields the text in a stream of server-sent events.

    Raises:
        _PassingError: The stream ended before the answer did.
        PlannerBackendError: The server reports an error, or sends something else.
    """
    finished = False
    async for line in response.aiter_lines():
        if not line.startswith('data:'):
            continue
        data = line.removeprefix('data:').strip()
        if data == '[DONE]':
            return
        text, ended = _piece(data)
        finished = finished or ended
        if text:
            yield text
    if not finished:
        raise _PassingError('the server closed the connection early')


def _piece(data: str) -> tuple[str, bool]:
    """Reads one event: its text, and whether the answer ends with it."""
    try:
        event = json.loads(data)
        if 'error' in event:
            raise PlannerBackendError(f'the server reports: {_error_text(data.encode())}')
        choices = event.get('choices') or [{}]
        text = (choices[0].get('delta') or {}).get('content') or ''
        return str(text), choices[0].get('finish_reason') is not None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = f'the server sent no chat completion but {data[:60]!r}'
        raise PlannerBackendError(message) from error


async def _without_thoughts(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Leaves out what a reasoning model thinks before it answers, `<think>...</think>`."""
    start, end = '<think>', '</think>'
    held: str | None = ''
    async for piece in pieces:
        if held is None:
            yield piece
            continue
        held += piece
        begin = held.lstrip()
        if begin.startswith(start) and end not in begin:
            continue
        if len(begin) < len(start) and start.startswith(begin):
            continue
        answer = held.partition(end)[2] if begin.startswith(start) else held
        held = None
        if answer:
            yield answer
    if held and not held.lstrip().startswith(start):
        yield held


def _in_words(error: Exception) -> str:
    words = {
        'ConnectTimeout': 'the server can not be reached in time',
        'ReadTimeout': 'the server is silent for too long',
        'PoolTimeout': 'too many connections to the server',
    }
    return words.get(type(error).__name__, type(error).__name__)
