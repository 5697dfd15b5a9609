# SPDX-License-Identifier: Apache-2.0
"""What the interaction node subscribes to: every callback copies, stamps, and returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from duplex_interaction.msg import ConversationEvent, Playback
from interaction_node import topic_qos
from interaction_node.audio_common import Sound
from interaction_node.conversation import Conversation
from interaction_node.conversation_messages import to_event, to_seconds
from interaction_node.image_conversion import compressed_to_rgb, image_to_rgb
from interaction_node.message_faults import MessageFaults
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.microphone_input import MicrophoneInput
from interaction_node.model_thread import ModelThread
from interaction_node.node_errors import NodeErrors

CLOCK_SKEW_NS = 1_000_000_000
NEWEST_IMAGES = 2
ALL_IMAGES = 64  # of a file that waits for us
ABSURD_IMAGES = 1000
IMAGE_TOPICS = {'image': Image, 'image/compressed': CompressedImage}


class Inputs:
    """The subscriptions of the interaction node.

    Args:
        node: Node that subscribes.
        clock: Gets sound, images and playback.
        thread: Gets the rest, and is woken.
        conversation: What events and playback are told to, in the model's thread.
        errors: Where errors go.
        parameters: Values of the node's parameters.
        now: The pacing clock, seconds.
    """

    def __init__(
        self,
        node: Node,
        clock: MicroTurnClock,
        thread: ModelThread,
        conversation: Conversation,
        errors: NodeErrors,
        parameters: Mapping[str, Any],
        now: Callable[[], float],
    ):
        self._node = node
        self._clock = clock
        self._thread = thread
        self._conversation = conversation
        self._errors = errors
        self._faults = MessageFaults(errors)
        self._now = now
        max_rate_hz = parameters['camera.max_rate_hz']
        self._frame_gap_s = 0.9 / max_rate_hz if max_rate_hz else 0.0
        self._frame_stamp_s = float('-inf')
        self._image_depth = NEWEST_IMAGES if parameters['turn.pace'] == 'realtime' else ALL_IMAGES
        self._began_ns = time.time_ns()
        self._images: dict[str, Subscription] = {}
        self._image_number: dict[str, int] = {}
        self._microphone = MicrophoneInput(
            node, parameters['microphone.message'], self._faults, self._take_sound
        )
        take_event: Any = self._take_event  # rclpy's types know of no callback with two arguments
        self._fixed = [
            node.create_subscription(Playback, 'playback', self._take_playback, topic_qos.PLAYBACK),
            node.create_subscription(
                ConversationEvent, 'conversation', take_event, topic_qos.CONVERSATION
            ),
        ]
        self.check()

    def close(self) -> None:
        """Ends every subscription."""
        self._microphone.close()
        for subscription in [*self._fixed, *self._images.values()]:
            self._node.destroy_subscription(subscription)

    def check(self) -> None:
        """Looks after publishers that come and go and after errors that are over; call at 1 Hz."""
        self._faults.end_old()
        for topic in IMAGE_TOPICS:
            self._match_camera(topic)
        if (count := self._node.count_publishers('audio')) > 1:
            self._errors.warn(
                'microphones',
                f'{count} nodes publish on {self._microphone.topic}: only one is listened to',
            )
        else:
            self._errors.resolve('microphones', 'one microphone again')

    def _match_camera(self, topic: str) -> None:
        publishers = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(topic))
        # A reliable subscription gets nothing from a best-effort publisher; a best-effort one
        # loses images of a reliable publisher.
        best_effort = any(
            info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for info in publishers
        )
        wanted = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
        present = self._images.get(topic)
        if present is not None and present.qos_profile.reliability == wanted:
            return
        if present is not None:
            self._node.destroy_subscription(present)
        callback: Any = self._take_image if topic == 'image' else self._take_compressed
        profile = QoSProfile(depth=self._image_depth, reliability=wanted)
        self._images[topic] = self._node.create_subscription(
            IMAGE_TOPICS[topic], topic, callback, profile
        )

    def _take_sound(self, sound: Sound, stamp_s: float, frame_id: str) -> None:
        self._clock.push_audio(
            sound.first_sample,
            sound.sample_rate_hz,
            sound.channels,
            sound.pcm,
            stamp_s,
            self._now(),
            frame_id,
        )
        self._thread.wake()

    def _take_playback(self, message: Playback) -> None:
        with self._faults.of('playback messages'):
            self._clock.push_playback(
                message.first_sample,
                message.sample_rate_hz,
                np.frombuffer(message.pcm, np.int16),
                to_seconds(message.header.stamp),
                self._now(),
                message.done,
            )
            played_s = message.played / max(1, message.sample_rate_hz)
            self._thread.call(
                lambda: self._conversation.take_playback(
                    message.utterance_id, played_s, message.done
                )
            )

    def _take_image(self, message: Image, info: Mapping[str, Any]) -> None:
        self._count_lost_images('image', info)
        if self._is_wanted(message):
            with self._faults.of('image messages'):
                rgb = image_to_rgb(
                    message.encoding,
                    message.width,
                    message.height,
                    message.step,
                    bool(message.is_bigendian),
                    message.data,
                )
                self._push_frame(rgb, message)

    def _take_compressed(self, message: CompressedImage, info: Mapping[str, Any]) -> None:
        self._count_lost_images('image/compressed', info)
        if self._is_wanted(message):
            with self._faults.of('compressed images'):
                self._push_frame(compressed_to_rgb(message.data, message.format), message)

    def _count_lost_images(self, topic: str, info: Mapping[str, Any]) -> None:
        """Counts images that were overtaken on the way; numbers of two cameras make no sense."""
        number = info['publication_sequence_number'] or 0
        lost = number - self._image_number.get(topic, number) - 1
        self._image_number[topic] = number
        if 0 < lost < ABSURD_IMAGES:
            self._errors.count('images_overtaken', lost)

    def _is_wanted(self, message: Image | CompressedImage) -> bool:
        """Whether it is time for another image: decoding all of a fast camera costs too much."""
        stamp_s = to_seconds(message.header.stamp) or self._now()
        if 0 <= stamp_s - self._frame_stamp_s < self._frame_gap_s:
            return False
        self._frame_stamp_s = stamp_s
        return True

    def _push_frame(self, rgb: np.ndarray, message: Image | CompressedImage) -> None:
        self._clock.push_frame(rgb, to_seconds(message.header.stamp), self._now())
        self._thread.wake()

    def _take_event(self, message: ConversationEvent, info: Mapping[str, Any]) -> None:
        with self._faults.of('conversation events'):
            event = to_event(message)
            # Latched events from before are for the record, not for the model's ears.
            is_history = info['source_timestamp'] < self._began_ns - CLOCK_SKEW_NS
            self._thread.call(lambda: self._conversation.take_event(event, is_history))
