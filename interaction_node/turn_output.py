# SPDX-License-Identifier: Apache-2.0
"""Publishes what a step of the model brought."""

from __future__ import annotations

import json

from rclpy.node import Node
from rclpy.publisher import Publisher

from duplex_interaction.msg import ActionIntent, MicroTurnStatus
from interaction_node import topic_qos
from interaction_node.conversation import Conversation
from interaction_node.conversation_log import Kind
from interaction_node.conversation_messages import to_stamp
from interaction_node.hri_intent import to_hri_intent
from interaction_node.model.interface import TURN_S, Intent
from interaction_node.model_thread import Step
from interaction_node.step_health import StepHealth
from interaction_node.voice import Voice

PHASES = {
    'start': ActionIntent.START,
    'update': ActionIntent.UPDATE,
    'cancel': ActionIntent.CANCEL,
}


class TurnOutput:
    """Takes each step, in the model's thread, to everyone whom it concerns.

    Args:
        node: Node that publishes.
        voice: Says the speech.
        conversation: Keeps the record.
        health: Watches the steps.
        frame_id: Frame of spatial arguments of actions.
        hri_intents: Whether to publish hri_actions_msgs/Intent on `intents`, too.

    Raises:
        ValueError: hri_actions_msgs is wanted but not installed.
    """

    def __init__(
        self,
        node: Node,
        voice: Voice,
        conversation: Conversation,
        health: StepHealth,
        frame_id: str,
        hri_intents: bool = False,
    ):
        self._node = node
        self._voice = voice
        self._conversation = conversation
        self._health = health
        self._frame_id = frame_id
        self._deadlines_missed = 0
        self._intent_ids: dict[str, str] = {}
        self._intents = node.create_publisher(
            ActionIntent, 'action_intents', topic_qos.ACTION_INTENTS
        )
        self._hri_intents = self._hri_publisher() if hri_intents else None
        self._status = node.create_publisher(
            MicroTurnStatus, 'micro_turn_status', topic_qos.MICRO_TURN_STATUS
        )

    def close(self) -> None:
        """Leaves the graph."""
        for publisher in filter(None, (self._intents, self._status, self._hri_intents)):
            self._node.destroy_publisher(publisher)

    def deliver(self, step: Step) -> None:
        """Publishes everything that a step brought, what is most urgent first."""
        end_s = step.turn.start_s + TURN_S
        sent = self._voice.say(step)
        for intent in step.result.intents:
            self._publish_intent(intent, step.turn.index, end_s)
        self._conversation.take_step(step, sent)
        self._deadlines_missed += step.deadline_missed
        self._status.publish(self._status_message(step, end_s))
        self._health.take(step)

    def _publish_intent(self, intent: Intent, micro_turn: int, stamp_s: float) -> None:
        arguments = json.dumps(intent.arguments)
        event = self._conversation.note(
            Kind.INTENT, f'{intent.skill} {arguments}', stamp_s, micro_turn
        )
        message = ActionIntent(
            intent_id=self._intent_id(intent, event.event_id),
            skill=intent.skill,
            arguments=arguments,
            confidence=float(intent.confidence),
            priority=int(intent.priority),
            phase=PHASES[intent.phase],
            micro_turn=micro_turn,
        )
        message.header.stamp = to_stamp(stamp_s)
        message.header.frame_id = self._frame_id
        self._intents.publish(message)

        if self._hri_intents is not None and intent.phase == 'start':
            self._hri_intents.publish(to_hri_intent(self._hri_intents.msg_type, intent))

    def _hri_publisher(self) -> Publisher:
        try:
            from hri_actions_msgs.msg import Intent as HriIntent
        except ImportError:
            raise ValueError(
                "parameter 'actions.hri_intents' is true; expected hri_actions_msgs to be installed"
            ) from None
        return self._node.create_publisher(HriIntent, 'intents', topic_qos.ACTION_INTENTS)

    def _intent_id(self, intent: Intent, new_id: str) -> str:
        """An action keeps the id with which it began."""
        if intent.phase == 'start':
            self._intent_ids[intent.skill] = new_id
        return self._intent_ids.setdefault(intent.skill, new_id)

    def _status_message(self, step: Step, stamp_s: float) -> MicroTurnStatus:
        report, result = step.report, step.result
        message = MicroTurnStatus(
            index=report.index,
            first_sample=report.first_sample,
            ros_offset_s=report.ros_offset_s,
            audio_age_ms=report.audio_age_ms,
            playback_age_ms=report.playback_age_ms,
            image_age_ms=report.image_age_ms,
            audio_gap_samples=report.audio_gap_samples,
            audio_late_samples=report.audio_late_samples,
            audio_overlap_samples=report.audio_overlap_samples,
            image_drops=report.image_drops,
            text_drops=report.text_drops,
            step_ms=step.step_ms,
            prefill_ms=float(result.timing.prefill_ms),
            decode_ms=float(result.timing.decode_ms),
            speech_ms=float(result.timing.speech_ms),
            deadline_missed=step.deadline_missed,
            deadlines_missed=self._deadlines_missed,
            backlog=report.backlog,
            missing=int(report.missing),
            text=result.text,
            control=result.control,
        )
        message.header.stamp = to_stamp(stamp_s)
        message.header.frame_id = report.source or ''
        return message
