# SPDX-License-Identifier: Apache-2.0
"""Records topics as MCAP, with their message definitions, for Foxglove, rosbag2 and the report.

Types are found out at run time, so that any topic can be named. Subscriptions follow what the
publishers offer: reliable where all of them are, and the history of those that keep one.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

from interaction_node import topic_qos
from interaction_node.graph import PACKAGE
from interaction_node.node_errors import NodeErrors
from interaction_node.node_main import run_node
from interaction_node.node_parameters import NodeParameter, declare_parameters
from interaction_node.recording import Recording, Sample

_LOOK_PERIOD_S = 0.2
_DEPTH = 200
_IMAGE_DEPTH = 20
_SECOND_NS = 1_000_000_000
_OWN = f'{PACKAGE}/msg/'

# Our own topics are subscribed to before anybody publishes on them: nothing is lost at the start.
_EXPECTED = {
    'audio': (f'{_OWN}AudioChunk', topic_qos.AUDIO),
    'playback': (f'{_OWN}Playback', topic_qos.PLAYBACK),
    'speech': (f'{_OWN}SpeechChunk', topic_qos.SPEECH),
    'conversation': (f'{_OWN}ConversationEvent', topic_qos.CONVERSATION),
    'action_intents': (f'{_OWN}ActionIntent', topic_qos.ACTION_INTENTS),
    'approved_intents': (f'{_OWN}ActionIntent', topic_qos.ACTION_INTENTS),
    'gate_decisions': (f'{_OWN}GateDecision', topic_qos.GATE_DECISIONS),
    'micro_turn_status': (f'{_OWN}MicroTurnStatus', topic_qos.MICRO_TURN_STATUS),
}
TOPICS = [*_EXPECTED, 'image', 'image/compressed', 'cmd_vel', 'goal_pose', '/diagnostics']

PARAMETERS = (
    NodeParameter('uri', '', 'Folder that is made for the recording; empty for one named by time'),
    NodeParameter('topics', TOPICS, 'Topics to record; relative names are within the namespace'),
    NodeParameter('max_queue_mb', 64, 'What waits for the disk; beyond it is dropped, MB', 1, 4096),
    NodeParameter('compress', False, 'Compress the file with Zstandard'),
)


@dataclass(frozen=True)
class _Plan:
    """How a topic is to be subscribed to."""

    type_name: str
    reliability: ReliabilityPolicy
    durability: DurabilityPolicy

    @property
    def profile(self) -> QoSProfile:
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_IMAGE_DEPTH if self.type_name.endswith('Image') else _DEPTH,
            reliability=self.reliability,
            durability=self.durability,
        )


@dataclass
class _Topic:
    name: str
    full_name: str
    plan: _Plan | None = None
    subscription: Subscription | None = None
    qos: list[Qos] = field(default_factory=list)


class RecorderNode(Node):
    """Subscribes to topics as they appear and hands the raw messages to a `Recording`."""

    def __init__(self, **kwargs) -> None:
        super().__init__('recorder_node', **kwargs)
        self._values = declare_parameters(self, PARAMETERS)
        self._errors = NodeErrors(self)
        uri = self._values['uri'] or time.strftime('recording_%Y_%m_%d-%H_%M_%S')
        self._recording = Recording(
            Path(uri).expanduser(),
            self._values['max_queue_mb'] * 1_000_000,
            self._values['compress'],
        )
        self._topics = [
            _Topic(name, self.resolve_topic_name(name)) for name in self._values['topics']
        ]
        self._errors.add_values(self._state)
        self.create_timer(_LOOK_PERIOD_S, self._look)
        self._look()
        self.get_logger().info(f'recording to {uri}')

    def close(self) -> None:
        """Completes the file."""
        self._recording.close()
        recording = self._recording
        self._report_errors()
        self.get_logger().info(
            f'recorded {sum(recording.written.values())} messages, '
            f'dropped {sum(recording.dropped.values())}'
        )

    def _look(self) -> None:
        """Subscribes to what has appeared, and anew where publishers have changed."""
        for topic in self._topics:
            publishers = self.get_publishers_info_by_topic(topic.full_name)
            wanted = self._wanted(topic, publishers)
            if wanted is not None and wanted != topic.plan:
                self._subscribe(topic, wanted)
            topic.qos = [_offered(publisher) for publisher in publishers] or topic.qos
        self._report_errors()

    def _wanted(self, topic: _Topic, publishers: list[TopicEndpointInfo]) -> _Plan | None:
        if not publishers:
            if topic.plan is not None or topic.name not in _EXPECTED:
                return None
            type_name, profile = _EXPECTED[topic.name]
            return _Plan(type_name, profile.reliability, profile.durability)
        types = sorted({publisher.topic_type for publisher in publishers})
        if len(types) > 1:
            self._errors.warn(topic.name, f'{topic.full_name} has several types: {types}')
        profiles = [publisher.qos_profile for publisher in publishers]
        reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
        keeps = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
        return _Plan(
            types[0],
            ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            DurabilityPolicy.TRANSIENT_LOCAL if keeps else DurabilityPolicy.VOLATILE,
        )

    def _subscribe(self, topic: _Topic, plan: _Plan) -> None:
        if topic.subscription is not None:
            self.destroy_subscription(topic.subscription)
        topic.plan, topic.subscription = plan, None
        try:
            message_type = _message_class(plan.type_name)
        except (ImportError, AttributeError, ValueError):
            message = f'{topic.full_name} is not recorded: {plan.type_name} is not installed'
            self._errors.error(topic.name, message)
            return
        topic.subscription = self.create_subscription(
            message_type, topic.name, partial(self._take, topic), plan.profile, raw=True
        )

    def _take(self, topic: _Topic, data: bytes) -> None:
        assert topic.plan is not None
        now_ns = self.get_clock().now().nanoseconds
        if not topic.qos:  # the first message may come before we look for its publisher
            topic.qos = self._offered_qos(topic)
        self._recording.write(
            Sample(topic.full_name, topic.plan.type_name, now_ns, data, topic.qos)
        )

    def _offered_qos(self, topic: _Topic) -> list[Qos]:
        return [_offered(info) for info in self.get_publishers_info_by_topic(topic.full_name)]

    def _report_errors(self) -> None:
        for key, message in dict(self._recording.errors).items():
            self._errors.error(key, message)
        dropped = sum(self._recording.dropped.values())
        if dropped and not self._recording.errors:
            self._errors.warn('dropped', 'the disk is too slow: messages are dropped')

    def _state(self) -> dict[str, object]:
        recording = self._recording
        counts = {f'messages {name}': count for name, count in recording.written.items()}
        return {
            'messages': sum(recording.written.values()),
            'dropped': sum(recording.dropped.values()),
            'megabytes': recording.written_bytes / 1e6,
            **counts,
            **{f'dropped {name}': count for name, count in recording.dropped.items()},
        }


def _message_class(type_name: str) -> type:
    package, folder, name = type_name.split('/')
    return getattr(importlib.import_module(f'{package}.{folder}'), name)


def _offered(publisher: TopicEndpointInfo) -> Qos:
    profile = publisher.qos_profile
    return Qos(
        # Discovery doesn't tell the history; a player needs one that is valid.
        history=QosHistory.KEEP_LAST,
        depth=profile.depth or _DEPTH,
        reliability=QosReliability[profile.reliability.name],
        durability=QosDurability[profile.durability.name],
        deadline=_qos_time(profile.deadline.nanoseconds),
        lifespan=_qos_time(profile.lifespan.nanoseconds),
        liveliness=QosLiveliness[profile.liveliness.name],
        liveliness_lease_duration=_qos_time(profile.liveliness_lease_duration.nanoseconds),
        avoid_ros_namespace_conventions=profile.avoid_ros_namespace_conventions,
    )


def _qos_time(nanoseconds: int) -> QosTime:
    return QosTime(*divmod(nanoseconds, _SECOND_NS))


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node until Ctrl-C."""
    return run_node(RecorderNode, PARAMETERS, __doc__, args, program='recorder_node')


if __name__ == '__main__':
    sys.exit(main())
