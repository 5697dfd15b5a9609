# SPDX-License-Identifier: Apache-2.0
"""Runs the nodes of the graph as processes, and keeps their logs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from interaction_node.graph import NodeProcess

LOG_LINES = 15


class ProcessGraph:
    """The nodes of one graph, each in a process of its own whose output goes to a file.

    Use it as a context manager, so that nothing is left running:

        with ProcessGraph(graph.processes({'planner': 'false'}), Path('out/log')) as running:
            running.wait_ready()

    Args:
        nodes: What to start, e.g. from `graph.processes`.
        log_folder: Where `<name>.log` of each node is written; made if it doesn't exist.
        environment: Variables on top of the inherited ones, e.g. ROS_DOMAIN_ID.
    """

    def __init__(
        self,
        nodes: Sequence[NodeProcess],
        log_folder: Path,
        environment: Mapping[str, str] | None = None,
    ):
        self.nodes = {node.name: node for node in nodes}
        self.log_folder = Path(log_folder)
        self._environment = dict(environment or {})
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._exit_codes: dict[str, int] = {}

    def __enter__(self) -> ProcessGraph:
        """Starts every node."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops every node."""
        self.stop()

    def start(self) -> None:
        """Starts every node that isn't running."""
        for name in self.nodes:
            if name not in self._running:
                self.start_node(name)

    def add(self, node: NodeProcess) -> None:
        """Starts one more node."""
        if node.name in self.nodes:
            raise ValueError(f'there is a node {node.name!r} already')
        self.nodes[node.name] = node
        self.start_node(node.name)

    def start_node(self, name: str) -> None:
        """Starts one node, again if it ran before; its output is appended to its log."""
        if name in self._running:
            raise ValueError(f'{name} is already running')
        node = self.nodes[name]
        self.log_folder.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            'PYTHONUNBUFFERED': '1',
            **node.environment,
            **self._environment,
        }
        with self.log_path(name).open('ab') as log:
            # A session of its own: Ctrl-C in a terminal reaches us only, and we end the nodes.
            self._running[name] = subprocess.Popen(
                node.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._exit_codes.pop(name, None)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Waits until every node publishes its diagnostics, and lifecycle nodes are active.

        Args:
            timeout_s: Longest wait, seconds.

        Raises:
            RuntimeError: A node ended; the message holds the end of its log.
            TimeoutError: Nodes are not ready in time; the message names them.
        """
        from interaction_node.graph_probe import GraphProbe

        deadline_s = time.monotonic() + timeout_s
        with GraphProbe(self._environment) as probe:
            waiting = list(self.nodes.values())
            while waiting:
                self.check()
                waiting = [node for node in waiting if not probe.is_ready(node)]
                if waiting and time.monotonic() > deadline_s:
                    raise TimeoutError(self._not_ready(waiting, timeout_s))

    def check(self) -> None:
        """Raises RuntimeError, with the end of its log, if a node ended that wasn't stopped."""
        ended = self.poll()
        if ended:
            name, code = next(iter(ended.items()))
            raise RuntimeError(f'{name} ended with exit code {code}:\n{self.log_tail(name)}')

    def poll(self) -> dict[str, int]:
        """Says which nodes ended by themselves.

        Returns:
            Exit code by name, of the nodes that were started, not stopped, and run no more.
        """
        codes = ((name, process.poll()) for name, process in self._running.items())
        return {name: code for name, code in codes if code is not None}

    def stop_node(self, name: str, timeout_s: float = 5.0) -> int:
        """Stops one node with SIGINT, after `timeout_s` with SIGKILL.

        Returns:
            Its exit code, negative for the signal that ended it.
        """
        self._signal(name, signal.SIGINT)
        return self._reap(name, time.monotonic() + timeout_s)

    def stop(self, timeout_s: float = 5.0) -> dict[str, int]:
        """Stops every node with SIGINT, those that remain after `timeout_s` with SIGKILL.

        Returns:
            Exit code by name of every node that ever ran, negative for the signal that ended it.
        """
        for name in self._running:
            self._signal(name, signal.SIGINT)
        deadline_s = time.monotonic() + timeout_s
        for name in list(self._running):
            self._reap(name, deadline_s)
        return dict(self._exit_codes)

    @property
    def pids(self) -> dict[str, int]:
        """Process number of every node that runs, by name."""
        return {name: process.pid for name, process in self._running.items()}

    def log_path(self, name: str) -> Path:
        """Where the output of a node goes."""
        return self.log_folder / f'{name}.log'

    def log_tail(self, name: str) -> str:
        """The last lines of the output of a node."""
        path = self.log_path(name)
        text = path.read_text(errors='replace') if path.exists() else ''
        return '\n'.join(text.splitlines()[-LOG_LINES:]) or '(it wrote nothing)'

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self._running[name]
        if process.poll() is None:
            os.killpg(process.pid, number)

    def _reap(self, name: str, deadline_s: float) -> int:
        process = self._running.pop(name)
        try:
            code = process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        self._exit_codes[name] = code
        return code

    def _not_ready(self, waiting: Sequence[NodeProcess], timeout_s: float) -> str:
        names = ', '.join(node.full_name for node in waiting)
        return f'not ready after {timeout_s:g} s: {names}\n{self.log_tail(waiting[0].name)}'
