# SPDX-License-Identifier: Apache-2.0
"""Records from the topics of the graph what the folder interface writes, and types its text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor

from duplex_interaction.msg import (
    ActionIntent,
    ConversationEvent,
    MicroTurnStatus,
    Playback,
    SpeechChunk,
)
from duplex_interaction.srv import RequestPlan
from interaction_node import topic_qos
from interaction_node.conversation_log import Kind
from interaction_node.conversation_messages import to_stamp
from interaction_node.model.interface import SAMPLE_RATE_HZ
from interaction_node.sample_folder import Sample, SampleRecord

PHASES = ('start', 'update', 'cancel')
SPIN_S = 0.1
QUIET_S = 0.5
ACKNOWLEDGED_S = 10.0
MATCHED_S = 10.0


class LiveRecorder:
    """A node that types a sample's text and keeps what the others publish.

    It stands in for the planner, too: it accepts every request; results are lines of the text.

    Attributes:
        record: What was recorded so far.

    Args:
        sample: The sample; its text is typed.
        namespace: Namespace of the graph.
        start_s: ROS time of the sample's start, seconds.
        on_turn: Called after each micro-turn.
    """

    def __init__(
        self, sample: Sample, namespace: str, start_s: float, on_turn: Callable[[], object]
    ):
        self.record = SampleRecord.of(sample)
        self._sample = sample
        self._start_s = start_s
        self._on_turn = on_turn
        self._last_turn = -1
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node(
            'run_folder', context=self._context, namespace=namespace, start_parameter_services=False
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._subscribe()

    def __enter__(self) -> LiveRecorder:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Leaves the graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def type_text(self) -> None:
        """Sends every line of the sample with the stamp of its time.

        Raises:
            RuntimeError: The interaction node doesn't take them.
        """
        self._wait_for_listener()
        for number, line in enumerate(self._sample.lines):
            event = ConversationEvent(
                event_id=f'text-{number}',
                role=int(line.role),
                kind=int(Kind.TEXT),
                text=line.text,
                final=True,
                heard_until=-1.0,
            )
            event.header.stamp = to_stamp(self._start_s + line.time_s)
            self._typed.publish(event)
        if not self._typed.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S)):
            raise RuntimeError('the interaction node did not take the text')

    def wait_until_done(self, check: Callable[[], None], stalled_s: float) -> None:
        """Records until the last micro-turn is over.

        Args:
            check: Called often; raises where a node ended.
            stalled_s: Longest time without a micro-turn, seconds.

        Raises:
            RuntimeError: No micro-turn for so long, or some were never reported.
        """
        before, since_s = self._last_turn, time.monotonic()
        while self._last_turn < self._sample.turns - 1:
            self._executor.spin_once(timeout_sec=SPIN_S)
            check()
            if self._last_turn > before:
                before, since_s = self._last_turn, time.monotonic()
            elif time.monotonic() - since_s > stalled_s:
                raise RuntimeError(f'no micro-turn for {stalled_s:g} s after number {before}')
        self._drain()
        missing = self._sample.turns - len(self.record.micro_turns)
        if missing:
            raise RuntimeError(f'{missing} of {self._sample.turns} micro-turns were not reported')

    def _subscribe(self) -> None:
        node = self._node
        self._typed = node.create_publisher(
            ConversationEvent, 'conversation', topic_qos.CONVERSATION
        )
        node.create_service(RequestPlan, 'request_plan', self._accept_plan)
        for message_type, topic, callback, qos in (
            (Playback, 'playback', self._take_playback, topic_qos.PLAYBACK),
            (SpeechChunk, 'speech', self._take_speech, topic_qos.SPEECH),
            (ActionIntent, 'action_intents', self._take_intent, topic_qos.ACTION_INTENTS),
            (ConversationEvent, 'conversation', self._take_event, topic_qos.CONVERSATION),
            (
                MicroTurnStatus,
                'micro_turn_status',
                self._take_status,
                topic_qos.MICRO_TURN_STATUS,
            ),
        ):
            node.create_subscription(message_type, topic, callback, qos)

    def _wait_for_listener(self) -> None:
        """Waits for the interaction node's subscription; our own is the first."""
        end_s = time.monotonic() + MATCHED_S
        while self._typed.get_subscription_count() < 2:
            self._executor.spin_once(timeout_sec=SPIN_S)
            if time.monotonic() > end_s:
                raise RuntimeError('the interaction node does not listen to the conversation')

    def _drain(self) -> None:
        """Takes what is still under way."""
        end_s = time.monotonic() + QUIET_S
        while time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=SPIN_S)

    def _accept_plan(self, _request, response: RequestPlan.Response) -> RequestPlan.Response:
        response.accepted = True
        return response

    def _take_playback(self, message: Playback) -> None:
        pcm = np.frombuffer(message.pcm, np.int16)
        if message.first_sample >= 0 and len(pcm):
            self.record.add_speech(message.first_sample, pcm, '')

    def _take_speech(self, message: SpeechChunk) -> None:
        if message.text and message.first_sample < len(self.record.pcm):
            self.record.words.append((message.first_sample / SAMPLE_RATE_HZ, message.text))

    def _take_intent(self, message: ActionIntent) -> None:
        if message.micro_turn < self._sample.turns:
            self.record.add_intent(
                message.micro_turn,
                message.skill,
                json.loads(message.arguments),
                PHASES[message.phase],
                message.priority,
                message.confidence,
            )

    def _take_event(self, message: ConversationEvent) -> None:
        if message.kind == Kind.PLAN_REQUESTED:
            self.record.add_plan_request(message.micro_turn, message.text)

    def _take_status(self, message: MicroTurnStatus) -> None:
        if message.index < self._sample.turns:
            self.record.add_turn(message.index, message.step_ms, message.text, message.control)
            self._last_turn = message.index
            self._on_turn()
