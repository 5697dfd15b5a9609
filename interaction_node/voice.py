# SPDX-License-Identifier: Apache-2.0
"""The robot's voice on its way to the loudspeaker."""

from __future__ import annotations

import array
import threading
import uuid
from collections.abc import Callable

import numpy as np
from rclpy.node import Node

from duplex_interaction.msg import SpeechChunk
from interaction_node import topic_qos
from interaction_node.conversation_messages import to_stamp
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import SAMPLE_RATE_HZ, TURN_S, TURN_SAMPLES
from interaction_node.model_thread import Step
from interaction_node.utterances import UNKNOWN, Speech, Utterances


class Voice:
    """Publishes speech, and silences it at once when asked. May be used from any thread.

    Args:
        node: Node that publishes.
        clock: Is told which playback to expect.
        ros_now: ROS time, seconds.
        frame_id: Frame of the loudspeaker.
        pause_s: Silence after which an utterance is over, seconds.
    """

    def __init__(
        self,
        node: Node,
        clock: MicroTurnClock,
        ros_now: Callable[[], float],
        frame_id: str,
        pause_s: float,
    ):
        self._node = node
        self._clock = clock
        self._ros_now = ros_now
        self._frame_id = frame_id
        self._lock = threading.Lock()
        self._muted = False
        self._publisher = node.create_publisher(SpeechChunk, 'speech', topic_qos.SPEECH)
        gap_turns = max(1, round(pause_s / TURN_S))
        self._utterances = Utterances(uuid.uuid4().hex[:8], gap_turns)

    def close(self) -> None:
        """Leaves the graph."""
        self._node.destroy_publisher(self._publisher)

    def interrupt(self) -> None:
        """Falls silent at once, whatever is queued."""
        with self._lock:
            self._clock.forget_playback()
            self._publish(self._utterances.interrupt(), self._ros_now())

    def mute(self, muted: bool) -> None:
        """Takes the voice away, or gives it back; the model goes on hearing and deciding."""
        self._muted = muted
        if muted:
            self.interrupt()

    def say(self, step: Step) -> list[Speech]:
        """Publishes the speech of a step, to sound in the micro-turn that follows.

        Returns:
            What was sent.
        """
        start_s = step.turn.start_s + TURN_S
        known = step.report.source is not None
        first_sample = step.report.first_sample + TURN_SAMPLES if known else UNKNOWN
        with self._lock:
            pieces = self._pieces(step, first_sample)
            for piece in pieces:
                if piece.flush:
                    self._clock.forget_playback()
                if len(piece.pcm):
                    self._clock.expect_playback(step.turn.index + 1)
                self._publish(piece, start_s)
        return pieces

    def _pieces(self, step: Step, first_sample: int) -> list[Speech]:
        if step.turn.emit and not self._muted:
            return self._utterances.add(step.result, first_sample)
        # Speech that comes too late is of no use, but falling silent still is.
        return [self._utterances.interrupt()] if step.result.control == 'flush' else []

    def _publish(self, piece: Speech, stamp_s: float) -> None:
        message = SpeechChunk(
            first_sample=piece.first_sample,
            utterance_id=piece.utterance_id,
            sequence=piece.sequence,
            sample_rate_hz=SAMPLE_RATE_HZ,
            pcm=array.array('h', piece.pcm.astype(np.int16).tobytes()),
            text=piece.text,
            last=piece.last,
            flush=piece.flush,
        )
        message.header.stamp = to_stamp(stamp_s)
        message.header.frame_id = self._frame_id
        self._publisher.publish(message)
