# SPDX-License-Identifier: Apache-2.0
"""Runs nodes as a program: usage, errors without tracebacks, an orderly end on Ctrl-C.

A node that runs here has a `close()` that ends its threads. It may have a `finished` event, which
it sets when it has nothing left to do, and an `exit_code`.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import rclpy
from rclpy._rclpy_pybind11 import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from interaction_node.node_parameters import NodeParameter, usage

_POLL_S = 0.1
# A thread that has something to say waits no longer than this for one that computes. Python's own
# 5 ms are as much as a node may add to a step.
_SWITCH_S = 0.0005


class NodeThread:
    """One node and the thread in which its own single-threaded executor spins."""

    def __init__(self, node: Node, on_end: Callable[[], None]) -> None:
        """Starts to spin.

        Args:
            node: The node.
            on_end: Called when the executor ends or a callback raised.
        """
        self.node = node
        self.failed = False
        self._closing = False
        self._on_end = on_end
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name=node.get_name(), daemon=True)
        self._thread.start()

    @property
    def finished(self) -> bool:
        """True once the node has nothing left to do."""
        event = getattr(self.node, 'finished', None)
        return event is not None and event.is_set()

    def close(self) -> int:
        """Ends the executor, then the node; returns the node's exit code."""
        self._closing = True
        self._executor.shutdown()
        self._thread.join()
        close = getattr(self.node, 'close', None)
        if close is not None:
            close()
        code = 1 if self.failed else int(getattr(self.node, 'exit_code', 0))
        self.node.destroy_node()
        return code

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception as error:  # a callback raised: say where, then end the program
            # But one that just ended while the executor was taken away did nothing wrong.
            if not (self._closing and isinstance(error, InvalidHandle)):
                self.failed = True
                traceback.print_exc()
        finally:
            self._on_end()


def run_node(
    make_node: Callable[[], Node],
    parameters: Sequence[NodeParameter],
    description: str,
    args: Sequence[str] | None = None,
    program: str = '',
) -> int:
    """Runs one node until Ctrl-C, SIGTERM or its own end.

    Args:
        make_node: The node's class.
        parameters: Its parameters, for `--help` only.
        description: What the node does, for `--help`.
        args: Command line without the program's name; None takes `sys.argv`.
        program: Name for messages; '' takes it from `sys.argv`.

    Returns:
        Exit code: 0, or 1 after an error, 2 after a wrong command line.
    """
    words = list(sys.argv[1:] if args is None else args)
    program = program or Path(sys.argv[0]).stem
    own_words = words[: words.index('--ros-args')] if '--ros-args' in words else words
    if '--help' in own_words or '-h' in own_words:
        print(usage(program, description, parameters))
        return 0
    try:
        if unknown := remove_ros_args([program, *words])[1:]:
            raise ValueError(f'unknown argument {unknown[0]!r}; see --help')
    except (ValueError, RuntimeError) as error:  # rclpy's own are RuntimeErrors
        print(f'{program}: {error}', file=sys.stderr)
        return 2
    return run_nodes([make_node], [program, *words], program)


def run_nodes(node_makers: Sequence[Callable[[], Node]], args: Sequence[str], program: str) -> int:
    """Runs several nodes in one process, each in its own thread, until one of them ends.

    Args:
        node_makers: Node classes.
        args: Command line, the program's name first.
        program: Name for messages.

    Returns:
        Exit code: 0, or 1 after an error.
    """
    sys.setswitchinterval(_SWITCH_S)
    stop = threading.Event()
    threads: list[NodeThread] = []
    code = 0
    _on_signal(stop)
    try:
        # Own signal handlers: rclpy's would end the context before nodes can say goodbye.
        rclpy.init(args=list(args), signal_handler_options=SignalHandlerOptions.NO)
        for make_node in node_makers:
            threads.append(NodeThread(make_node(), stop.set))
        while not stop.wait(_POLL_S) and not any(thread.finished for thread in threads):
            pass
    except (ValueError, OSError) as error:
        print(f'{program}: {error}', file=sys.stderr)
        code = 1
    finally:
        codes = [thread.close() for thread in reversed(threads)]
        rclpy.try_shutdown()
    return max([code, *codes])


def _on_signal(stop: threading.Event) -> None:
    """Makes SIGINT and SIGTERM set `stop`; a second one ends the process at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)
