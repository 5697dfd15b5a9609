# SPDX-License-Identifier: Apache-2.0
"""The conversation as others see it: published, fed back to the model, handed to the planner."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rclpy.node import Node

from duplex_interaction.msg import ConversationEvent
from interaction_node import topic_qos
from interaction_node.conversation_log import ConversationLog, Event, Kind
from interaction_node.conversation_messages import to_message
from interaction_node.model.interface import TURN_S, Role, TextInput
from interaction_node.model_thread import Step
from interaction_node.node_errors import NodeErrors
from interaction_node.planner_client import PlanContext, PlannerClient
from interaction_node.skill_catalogue import load_catalogue
from interaction_node.utterances import Speech

_PLAN_ENDS = (Kind.PLAN_RESULT, Kind.PLAN_FAILED, Kind.PLAN_CANCELLED)


class Conversation:
    """Keeps the record, publishes it, asks the planner. Belongs to the model's thread.

    Args:
        node: Node that publishes and asks.
        errors: Where errors go.
        parameters: Values of the node's parameters.
        later: Runs a function in the model's thread.
        tell_model: Gives a line of text to the model in the micro-turn of its stamp, 0 for now.
        ros_now: ROS time, seconds.

    Raises:
        ValueError: The skills file can't be read.
    """

    def __init__(
        self,
        node: Node,
        errors: NodeErrors,
        parameters: Mapping[str, Any],
        later: Callable[[Callable[[], None]], None],
        tell_model: Callable[[TextInput, float], None],
        ros_now: Callable[[], float],
    ):
        self._node = node
        self._errors = errors
        self._parameters = parameters
        self._tell_model = tell_model
        self._ros_now = ros_now
        self._publisher = node.create_publisher(
            ConversationEvent, 'conversation', topic_qos.CONVERSATION
        )
        self._plans = PlannerClient(
            node,
            load_catalogue(parameters['planner.skills_file']).signatures,
            parameters['planner.timeout_s'],
            parameters['planner.deadline_s'],
            lambda *failure: later(lambda: self._plan_failed(*failure)),
        )
        self._pcm: deque[np.ndarray] = deque(
            maxlen=max(1, round(parameters['planner.audio_s'] / TURN_S))
        )
        self._frame: np.ndarray | None = None
        self._frame_stamp_s = 0.0
        self._robot_state = '{}'
        self._micro_turn = 0
        self._token = uuid.uuid4().hex[:8]
        self._number = 0
        self._begin()

    def close(self) -> None:
        """Cancels what is under way and leaves the graph."""
        self._plans.close()
        self._node.destroy_publisher(self._publisher)

    def reset(self) -> None:
        """Forgets everything and begins another conversation."""
        self._plans.cancel_all()
        self._pcm.clear()
        self._number += 1
        self._begin()

    def _begin(self) -> None:
        self._id = f'{self._token}-{self._number}'
        self._log = ConversationLog(self._id, self._parameters['turn.pause_ms'] / 1e3)

    def take_step(self, step: Step, sent: list[Speech]) -> None:
        """Takes what was heard, decided and sent to the loudspeaker in a micro-turn."""
        end_s = step.turn.start_s + TURN_S
        self._remember(step, end_s)
        for piece in sent:
            if self._log.send(piece, step.turn.index, end_s):
                self._errors.warn('playback', 'nobody reports playback: is a speaker running?')
        for event in self._log.hear(step.result.heard, step.turn.index, end_s):
            self._publish(event)
        for goal in step.result.plan_goals:
            self._plan(goal, end_s)
        self._plans.expire()

    def note(self, kind: Kind, text: str, stamp_s: float, micro_turn: int) -> Event:
        """Records and publishes an event of our own."""
        event = self._log.event(Role.ROBOT, kind, text, stamp_s, micro_turn)
        self._publish(event)
        return event

    def take_playback(self, utterance_id: str, played_s: float, done: bool) -> None:
        """Takes a report of the loudspeaker: seconds of the utterance that sounded so far."""
        self._errors.resolve('playback', 'playback is reported again')
        for event in self._log.played(utterance_id, played_s, done):
            self._publish(event)

    def take_event(self, event: Event, is_history: bool = False) -> None:
        """Takes an event of the topic, and gives the model what concerns it.

        Args:
            event: The event; our own are ignored.
            is_history: Whether it was sent before we listened; then it is only recorded.
        """
        if event.event_id.startswith(self._token):
            return
        self._log.add(event)
        if is_history or not event.final or event.role is Role.ROBOT:
            return
        if event.kind in _PLAN_ENDS:
            self._plan_over(event)
        elif event.kind is Kind.STATE and event.text.lstrip().startswith('{'):
            self._robot_state = event.text
        elif event.kind in (Kind.TEXT, Kind.STATE):
            self._tell(event, event.role, event.text)

    def _remember(self, step: Step, end_s: float) -> None:
        self._micro_turn = step.turn.index
        self._pcm.append(step.turn.user_pcm)
        if step.turn.frames is not None:
            self._frame = step.turn.frames[-1]
            self._frame_stamp_s = end_s - step.turn.frame_age_s

    def _plan(self, goal: str, stamp_s: float) -> None:
        request = self.note(Kind.PLAN_REQUESTED, goal, stamp_s, self._micro_turn)
        context = PlanContext(
            self._id,
            self._log.events,
            np.concatenate(self._pcm),
            self._frame,
            self._frame_stamp_s,
            self._robot_state,
        )
        self._plans.ask(request.event_id, goal, context, self._ros_now())

    def _plan_over(self, event: Event) -> None:
        if not self._plans.over(event.in_reply_to):
            self._errors.count('plans_too_late')
        elif event.kind is Kind.PLAN_FAILED:
            self._errors.warn('planner', f'the planner gave up: {event.text}')
            self._tell_failure(event)
        else:
            self._errors.resolve('planner', 'the planner answers again')
            if event.kind is Kind.PLAN_RESULT:
                self._tell(event, Role.PLANNER, event.text)

    def _plan_failed(self, request_id: str, goal: str, why: str) -> None:
        self._errors.warn('planner', f'no plan for {goal!r}: {why}')
        event = self._log.event(
            Role.SYSTEM, Kind.PLAN_FAILED, why, self._ros_now(), self._micro_turn, request_id
        )
        self._publish(event)
        self._tell_failure(event)

    def _tell_failure(self, event: Event) -> None:
        self._errors.count('plans_failed')
        self._tell(event, Role.PLANNER, self._parameters['planner.failed_text'])

    def _tell(self, event: Event, role: Role, text: str) -> None:
        line = TextInput(role, text, event.event_id, event.in_reply_to)
        self._tell_model(line, event.stamp_s)

    def _publish(self, event: Event) -> None:
        self._publisher.publish(to_message(event, self._id))
