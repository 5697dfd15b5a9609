# SPDX-License-Identifier: Apache-2.0
"""Errors of a node: logged once, shown in `/diagnostics` as long as they last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_ERROR = DiagnosticStatus.ERROR
_WARN = DiagnosticStatus.WARN
_OK = DiagnosticStatus.OK


class NodeErrors:
    """What is wrong with a node now, and its counters, published at 1 Hz.

    Every method may be called from any thread. Nothing here raises, so that a node that meets an
    error can report it and carry on.
    """

    def __init__(self, node: Node, hardware_id: str = '', period_s: float = 1.0) -> None:
        """Starts to publish.

        Args:
            node: The node whose state this is; its executor publishes.
            hardware_id: Sound card, camera, GPU or the like; '' if none.
            period_s: Seconds between two reports.
        """
        self._node = node
        self._hardware_id = hardware_id
        self._lock = threading.Lock()
        self._open: dict[str, tuple[bytes, str]] = {}
        self._values: dict[str, Any] = {}
        self._sources: list[Callable[[], Mapping[str, Any]]] = []
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Steady, so that a paused simulation still tells what is wrong.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period_s, self.publish, clock=steady)

    def error(self, key: str, message: str) -> None:
        """Reports an error that lasts until `resolve(key)`; logs it when it is new."""
        self._report(key, _ERROR, message)

    def warn(self, key: str, message: str) -> None:
        """Reports a warning that lasts until `resolve(key)`; logs it when it is new."""
        self._report(key, _WARN, message)

    def resolve(self, key: str, message: str = '') -> None:
        """Ends an error or warning; logs `message` if there was one."""
        with self._lock:
            was_open = self._open.pop(key, None) is not None
        if was_open and message:
            self._node.get_logger().info(message)

    def set_value(self, key: str, value: Any) -> None:
        """Sets a value that is shown in the diagnostics."""
        with self._lock:
            self._values[key] = value

    def count(self, key: str, number: int = 1) -> int:
        """Adds to a counter that is shown in the diagnostics and returns its total."""
        with self._lock:
            self._values[key] = self._values.get(key, 0) + number
            return self._values[key]

    def add_values(self, source: Callable[[], Mapping[str, Any]]) -> None:
        """Asks `source` for more values whenever diagnostics are published."""
        self._sources.append(source)

    @property
    def messages(self) -> list[str]:
        """What is wrong now, worst first."""
        with self._lock:
            found = sorted(self._open.values(), key=lambda item: item[0], reverse=True)
        return [message for _, message in found]

    def publish(self) -> None:
        """Publishes the present state; a timer does so every `period_s`."""
        status = self._status()
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def close(self) -> None:
        """Stops publishing."""
        self._timer.cancel()

    def _report(self, key: str, level: bytes, message: str) -> None:
        with self._lock:
            before = self._open.get(key)
            self._open[key] = (level, message)
        if before == (level, message):
            return
        logger = self._node.get_logger()
        # Two calls in two lines: rclpy refuses one line that logs with two severities.
        if level == _ERROR:
            logger.error(message)
        else:
            logger.warning(message)

    def _status(self) -> DiagnosticStatus:
        with self._lock:
            values = dict(self._values)
            level = max((item[0] for item in self._open.values()), default=_OK)
        for source in tuple(self._sources):
            values.update(source())
        return DiagnosticStatus(
            level=level,
            name=self._node.get_fully_qualified_name().lstrip('/'),
            message='; '.join(self.messages) or 'ok',
            hardware_id=self._hardware_id,
            values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
        )


def _text(value: Any) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)
