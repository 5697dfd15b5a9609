# SPDX-License-Identifier: Apache-2.0
"""A node of ours that runs as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class NodeProcess:
    """Runs `python -m interaction_node.<module>` and sees to it that it ends as it should.

    Attributes:
        log_path: File with everything that the node prints.
    """

    def __init__(
        self,
        module: str,
        log_path: Path,
        *,
        params: Mapping[str, object] | None = None,
        remaps: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts the node.

        Args:
            module: Module within interaction_node, or a whole dotted name.
            log_path: File for what it prints.
            params: ROS parameters by name; any JSON-ready value.
            remaps: New names by old name, `__node` and `__ns` included.
            arguments: More arguments, placed after `--ros-args`.
            environment: Variables on top of the ones of the tests.
        """
        self.module = module if '.' in module else f'interaction_node.{module}'
        self.log_path = log_path
        command = [sys.executable, '-m', self.module, '--ros-args']
        for name, value in (params or {}).items():
            command += ['-p', f'{name}:={json.dumps(value)}']
        for old, new in (remaps or {}).items():
            command += ['-r', f'{old}:={new}']
        with log_path.open('wb') as log:
            self._process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, 'PYTHONUNBUFFERED': '1', **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything that the node has printed so far."""
        return self.log_path.read_text(errors='replace')

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def wait_for_output(self, text: str, timeout_s: float = 15.0) -> None:
        """Waits until the node has printed a text; fails when it doesn't or ends first."""
        end_s = time.monotonic() + timeout_s
        while text not in self.output:
            assert self.running, f'{self.module} ended before it printed {text!r}:\n{self.output}'
            assert time.monotonic() < end_s, f'{self.module} did not print {text!r}:\n{self.output}'
            time.sleep(0.05)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Waits for the node to end of its own accord and returns its exit status."""
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """Ends the process as a crash would."""
        self._process.kill()
        self._process.wait()

    def stop(self, timeout_s: float = 15.0) -> None:
        """Interrupts the node as Ctrl-C does; fails unless it ends cleanly."""
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f'{self.module} did not end within {timeout_s} s of SIGINT:\n{self.output}'
            ) from None
        assert 'Traceback' not in self.output, f'{self.module} raised:\n{self.output}'
        assert status == 0, f'{self.module} ended with status {status}:\n{self.output}'
