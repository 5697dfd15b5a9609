# SPDX-License-Identifier: Apache-2.0
"""Asks the background planner, and never waits for it."""

from __future__ import annotations

import array
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage

from duplex_interaction.srv import CancelPlan, RequestPlan
from interaction_node.conversation_log import Event
from interaction_node.conversation_messages import to_message, to_stamp

REMEMBERED = 64


@dataclass
class _Pending:
    goal: str
    asked_s: float
    accepted: bool = False


@dataclass(frozen=True)
class PlanContext:
    """What the planner is told beside the goal.

    Attributes:
        conversation_id: The conversation.
        events: Everything so far, oldest first.
        audio: (samples,) int16 at 16 kHz, what was heard last.
        frame: (height, width, 3) uint8 RGB, the newest image, or None.
        frame_stamp_s: When it was taken, ROS time.
        robot_state: JSON object.
    """

    conversation_id: str
    events: Sequence[Event]
    audio: np.ndarray
    frame: np.ndarray | None
    frame_stamp_s: float
    robot_state: str


class PlannerClient:
    """Requests to the planner that are under way.

    Every method returns at once and may be called from any thread; `failed` is called from whatever
    thread notices.

    Args:
        node: Node that has the service clients.
        skills: What the robot can do, told to the planner.
        timeout_s: Longest time until the planner accepts, seconds.
        deadline_s: Longest time until its answer, seconds.
        failed: Gets request id, goal and reason of a request from which no answer will come.
    """

    def __init__(
        self,
        node: Node,
        skills: Sequence[str],
        timeout_s: float,
        deadline_s: float,
        failed: Callable[[str, str, str], None],
    ):
        self._node = node
        self._skills = list(skills)
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._failed = failed
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._given_up: deque[str] = deque(maxlen=REMEMBERED)
        self._request = node.create_client(RequestPlan, 'request_plan')
        self._cancel = node.create_client(CancelPlan, 'cancel_plan')

    def close(self) -> None:
        """Cancels everything and leaves the graph."""
        self.cancel_all()
        self._node.destroy_client(self._request)
        self._node.destroy_client(self._cancel)

    def ask(self, request_id: str, goal: str, context: PlanContext, ros_now_s: float) -> None:
        """Hands a goal to the planner."""
        with self._lock:
            self._pending[request_id] = _Pending(goal, time.monotonic())
        if not self._request.service_is_ready():
            self._give_up(request_id, 'no planner is running')
            return
        request = self._message(request_id, goal, context, ros_now_s)
        future = self._request.call_async(request)
        future.add_done_callback(lambda done: self._answered(request_id, done))

    def expire(self) -> None:
        """Gives up on requests that take too long; call it often."""
        now_s = time.monotonic()
        with self._lock:
            waits = [(name, p.accepted, now_s - p.asked_s) for name, p in self._pending.items()]
        for name, accepted, waited_s in waits:
            if not accepted and waited_s > self._timeout_s:
                self._withdraw(name)
                self._give_up(name, f'the planner did not answer within {self._timeout_s:g} s')
            elif waited_s > self._deadline_s:
                self._withdraw(name)
                self._give_up(name, f'there was no result within {self._deadline_s:g} s')

    def over(self, request_id: str) -> bool:
        """Notes that a request has its answer.

        Returns:
            False for a request that was given up before: its answer came too late.
        """
        with self._lock:
            self._pending.pop(request_id, None)
            return request_id not in self._given_up

    def cancel_all(self) -> None:
        """Gives up on everything, without a word."""
        with self._lock:
            names = list(self._pending)
            self._pending.clear()
            self._given_up.extend(names)
        for name in names:
            self._withdraw(name)

    def _answered(self, request_id: str, future: Future) -> None:
        error = future.exception()
        response = RequestPlan.Response() if error else future.result()
        if response.accepted:
            with self._lock:
                if request_id in self._pending:
                    self._pending[request_id].accepted = True
            return
        self._give_up(request_id, str(error) if error else f'refused: {response.message}')

    def _give_up(self, request_id: str, why: str) -> None:
        with self._lock:
            pending = self._pending.pop(request_id, None)
            if pending is not None:
                self._given_up.append(request_id)
        if pending is not None:
            self._failed(request_id, pending.goal, why)

    def _withdraw(self, request_id: str) -> None:
        if self._cancel.service_is_ready():
            self._cancel.call_async(CancelPlan.Request(request_id=request_id))

    def _message(
        self, request_id: str, goal: str, context: PlanContext, ros_now_s: float
    ) -> RequestPlan.Request:
        return RequestPlan.Request(
            request_id=request_id,
            goal=goal,
            context=[to_message(event, context.conversation_id) for event in context.events],
            audio=array.array('h', context.audio.astype(np.int16).tobytes()),
            frame=_jpeg(context.frame, context.frame_stamp_s),
            skills=self._skills,
            robot_state=context.robot_state,
            deadline=to_stamp(ros_now_s + self._deadline_s),
        )


def _jpeg(frame: np.ndarray | None, stamp_s: float) -> CompressedImage:
    message = CompressedImage()
    if frame is None:
        return message
    _, data = cv2.imencode('.jpg', cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    message.header.stamp = to_stamp(stamp_s)
    message.format = 'jpeg'
    message.data = array.array('B', data.tobytes())
    return message
