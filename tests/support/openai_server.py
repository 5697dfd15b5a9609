# SPDX-License-Identifier: Apache-2.0
"""A server that speaks the OpenAI streaming protocol, and misbehaves on demand."""

import json
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OpenAiServer:
    """Serves chat completions on the loopback interface.

    Attributes:
        requests: Bodies of the chat requests so far, in order.
        authorizations: Authorization headers of the same requests.
        failures: Status codes that the next requests get, in order, before answers come.
        pieces: What an answer is made of.
        delay_s: Wait before the first piece and between pieces, seconds.
        ending: 'done', 'break' (the connection closes), 'error' (an error event) or 'garbage'.
        broken_off: Set once a client has closed its connection during an answer.
    """

    def __init__(self) -> None:
        self.requests: list[dict] = []
        self.authorizations: list[str | None] = []
        self.failures: list[int] = []
        self.pieces: Sequence[str] = ('Put on ', 'a coat. ', 'Take an umb', 'rella.')
        self.delay_s = 0.0
        self.ending = 'done'
        self.broken_off = threading.Event()
        self._server = ThreadingHTTPServer(('127.0.0.1', 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Base URL for the client."""
        return f'http://127.0.0.1:{self._server.server_port}/v1'

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def event(text: str | None, finish: str | None = None) -> str:
    choice = {'index': 0, 'delta': {'content': text}, 'finish_reason': finish}
    return f'data: {json.dumps({"choices": [choice]})}\n\n'


ENDINGS = {
    'done': event(None, 'stop') + 'data: [DONE]\n\n',
    'break': '',
    'error': 'data: {"error": {"message": "out of memory"}}\n\n',
    'garbage': 'data: <html>\n\n',
}


def _handler(server: OpenAiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self._json(200, {'data': [{'id': 'first-model'}, {'id': 'second-model'}]})

        def do_POST(self):
            size = int(self.headers['content-length'])
            body = self.rfile.read(size)
            if len(body) < size:  # the client has gone
                return
            server.requests.append(json.loads(body))
            server.authorizations.append(self.headers.get('authorization'))
            if server.failures:
                code = server.failures.pop(0)
                self._json(code, {'error': {'message': f'reason {code}'}})
                return
            try:
                self._stream()
            except OSError:
                server.broken_off.set()

        def _stream(self):
            self.send_response(200)
            self.send_header('content-type', 'text/event-stream')
            self.send_header('connection', 'close')
            self.end_headers()
            self._send(': a comment\n\n' + event(''))
            for piece in server.pieces:
                self._wait(server.delay_s)
                self._send(event(piece))
            self._send(ENDINGS[server.ending])

        def _send(self, text):
            self.wfile.write(text.encode())
            self.wfile.flush()

        def _wait(self, seconds):
            # Comments find out that the client has gone; clients skip them.
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                time.sleep(0.02)
                self._send(':\n\n')

        def _json(self, code, content):
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header('content-length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
