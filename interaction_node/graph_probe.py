# SPDX-License-Identifier: Apache-2.0
"""Looks from outside whether nodes of the graph are up."""

from __future__ import annotations

from collections.abc import Mapping

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor

from interaction_node.graph import NodeProcess

WAIT_S = 0.1


class GraphProbe:
    """A small ROS node, with a context of its own, that asks the others how they are.

    Args:
        environment: Variables the asked nodes run with; ROS_DOMAIN_ID counts.
    """

    def __init__(self, environment: Mapping[str, str] | None = None):
        domain = (environment or {}).get('ROS_DOMAIN_ID')
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=int(domain) if domain else None)
        self._node = rclpy.create_node(
            'graph_probe',
            context=self._context,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._alive: set[str] = set()
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 50)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def __enter__(self) -> GraphProbe:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Leaves the graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def is_ready(self, node: NodeProcess) -> bool:
        """Whether a node works and, if it has a lifecycle, is active; takes about 0.1 s."""
        self._executor.spin_once(timeout_sec=WAIT_S)
        # The graph shows a node before its constructor is done; diagnostics come when it runs.
        if node.full_name not in self._alive:
            return False
        return not node.lifecycle or self._state(node.full_name) == State.PRIMARY_STATE_ACTIVE

    def _take(self, message: DiagnosticArray) -> None:
        self._alive.update(f'/{status.name}' for status in message.status)

    def _state(self, full_name: str) -> int:
        client = self._node.create_client(GetState, f'{full_name}/get_state')
        try:
            if not client.wait_for_service(WAIT_S):
                return State.PRIMARY_STATE_UNKNOWN
            future = client.call_async(GetState.Request())
            self._executor.spin_until_future_complete(future, timeout_sec=1.0)
            return (
                future.result().current_state.id if future.done() else State.PRIMARY_STATE_UNKNOWN
            )
        finally:
            self._node.destroy_client(client)
