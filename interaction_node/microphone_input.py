# SPDX-License-Identifier: Apache-2.0
"""The subscription to a microphone, ours or of a driver with messages of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data

from duplex_interaction.msg import AudioChunk
from interaction_node import topic_qos
from interaction_node.audio_common import AudioCommonReader, Sound, message_type
from interaction_node.conversation_messages import to_seconds
from interaction_node.message_faults import MessageFaults

KEY = 'audio messages'


class MicrophoneInput:
    """Subscribes `audio`, whatever its message.

    Args:
        node: Node that subscribes.
        message: 'AudioChunk', or 'AudioStamped' or 'AudioDataStamped' of audio_common_msgs.
        faults: Where messages that make no sense are reported.
        take: Gets the sound, its stamp (ROS time, seconds) and its frame.

    Raises:
        ValueError: The message's package isn't installed.
    """

    def __init__(
        self,
        node: Node,
        message: str,
        faults: MessageFaults,
        take: Callable[[Sound, float, str], None],
    ):
        self._node = node
        self._faults = faults
        self._take = take
        self._reader = AudioCommonReader()
        kinds: dict[str, tuple[Callable[..., Sound], Any]] = {
            'AudioChunk': (self._read_chunk, topic_qos.AUDIO),
            'AudioStamped': (self._reader.read_stamped, qos_profile_sensor_data),
            'AudioDataStamped': (self._reader.read_data_stamped, qos_profile_sensor_data),
        }
        self._read, qos = kinds[message]
        kind = AudioChunk if message == 'AudioChunk' else message_type(message)
        self._subscriptions = [node.create_subscription(kind, 'audio', self._receive, qos)]
        self.topic = self._subscriptions[0].topic_name
        if message == 'AudioDataStamped':
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            info = message_type('AudioInfo')
            self._subscriptions.append(
                node.create_subscription(info, 'audio_info', self._receive_info, latched)
            )

    def close(self) -> None:
        """Ends the subscription."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _receive(self, message: Any) -> None:
        with self._faults.of(KEY):
            stamp_s = to_seconds(message.header.stamp)
            self._take(self._read(message, stamp_s), stamp_s, message.header.frame_id)

    def _receive_info(self, message: Any) -> None:
        with self._faults.of('audio_info'):
            self._reader.set_info(message)

    @staticmethod
    def _read_chunk(message: AudioChunk, _stamp_s: float) -> Sound:
        pcm = np.frombuffer(message.pcm, np.int16)
        return Sound(message.first_sample, message.sample_rate_hz, message.channels, pcm)
