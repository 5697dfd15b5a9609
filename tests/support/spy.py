# SPDX-License-Identifier: Apache-2.0
"""The eyes, ears and hands of a test in a ROS graph."""

import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

_MUTUAL_S = 0.3


class Spy:
    """A node in the test's own process that publishes, collects and calls, over real DDS.

    Attributes:
        node: The rclpy node, for everything that the methods don't cover.
    """

    def __init__(self, name: str = 'spy') -> None:
        """Joins the graph in the domain of this test run.

        Args:
            name: Name of the node.
        """
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leaves the graph."""
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()

    def wait_until(
        self, condition: Callable[[], bool], timeout_s: float = 15.0, what: str = ''
    ) -> None:
        """Waits for a condition; fails with `what` when it doesn't come true."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                assert time.monotonic() < end_s, f'not within {timeout_s} s: {what or condition}'
                self._changed.wait(0.02)

    def collect(self, message_type: type, topic: str, qos: Any = 10) -> list:
        """Subscribes; the list that is returned grows with every message."""
        messages: list = []

        def keep(message: Any) -> None:
            with self._changed:
                messages.append(message)
                self._changed.notify_all()

        self.node.create_subscription(message_type, topic, keep, qos)
        return messages

    def wait_for_messages(self, messages: list, count: int = 1, timeout_s: float = 15.0) -> list:
        """Waits until a collected list holds at least `count` messages and returns a copy."""
        what = f'{count} messages'
        self.wait_until(lambda: len(messages) >= count, timeout_s, what)
        return list(messages)

    def publisher(self, message_type: type, topic: str, qos: Any = 10, subscribers: int = 1) -> Any:
        """Makes a publisher and waits until so many subscribers are matched."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        what = f'{subscribers} subscribers of {topic}'
        self.wait_until(lambda: publisher.get_subscription_count() >= subscribers, what=what)
        return publisher

    def wait_for_publishers(self, topic: str, count: int = 1, timeout_s: float = 15.0) -> None:
        """Waits until so many publishers of a topic are in the graph."""
        what = f'{count} publishers of {topic}'
        self.wait_until(lambda: self.node.count_publishers(topic) >= count, timeout_s, what)

    def wait_for_node(self, name: str, timeout_s: float = 15.0) -> None:
        """Waits until a node of this name is in the graph."""
        self.wait_until(lambda: name in self.node.get_node_names(), timeout_s, f'node {name}')

    def call(self, service_type: type, service: str, request: Any, timeout_s: float = 15.0) -> Any:
        """Calls a service, waiting for it to appear first, and returns the response."""
        client = self.node.create_client(service_type, service)
        try:
            self.wait_until(client.service_is_ready, timeout_s, f'service {service}')
            # That we have found the server doesn't mean that it has found us; it answers nobody
            # whom it doesn't know.
            time.sleep(_MUTUAL_S)
            answered = threading.Event()
            future = client.call_async(request)
            future.add_done_callback(lambda _: answered.set())
            assert answered.wait(timeout_s), f'{service} did not answer within {timeout_s} s'
            return future.result()
        finally:
            self.node.destroy_client(client)
