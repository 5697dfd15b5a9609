# SPDX-License-Identifier: Apache-2.0
"""Between the record of the conversation and its ROS messages."""

from __future__ import annotations

from builtin_interfaces.msg import Time as TimeMessage
from rclpy.time import Time

from duplex_interaction.msg import ConversationEvent
from interaction_node.conversation_log import Event, Kind
from interaction_node.model.interface import Role


def to_stamp(seconds: float) -> TimeMessage:
    """Seconds of ROS time as a stamp; negative ones become 0, which means unknown."""
    return Time(nanoseconds=max(0, round(seconds * 1e9))).to_msg()


def to_seconds(stamp: TimeMessage) -> float:
    """A stamp as seconds of ROS time."""
    return stamp.sec + 1e-9 * stamp.nanosec


def to_message(event: Event, conversation_id: str) -> ConversationEvent:
    """Makes the message of an event."""
    message = ConversationEvent(
        conversation_id=conversation_id,
        event_id=event.event_id,
        in_reply_to=event.in_reply_to,
        micro_turn=event.micro_turn,
        role=int(event.role),
        kind=int(event.kind),
        text=event.text,
        final=event.final,
        heard_until=event.heard_until_s,
    )
    message.header.stamp = to_stamp(event.stamp_s)
    return message


def to_event(message: ConversationEvent) -> Event:
    """Reads a message.

    Raises:
        ValueError: Role or kind are none of the constants of `ConversationEvent`.
    """
    try:
        role, kind = Role(message.role), Kind(message.kind)
    except ValueError as error:
        raise ValueError(
            f'ConversationEvent {message.event_id!r}: role is {message.role}, kind {message.kind}; '
            f'expected 0 to {max(Role)} and 0 to {max(Kind)}'
        ) from error
    return Event(
        role,
        kind,
        message.text,
        message.event_id,
        to_seconds(message.header.stamp),
        message.micro_turn,
        message.in_reply_to,
        # Nothing can follow what has no name: typing text on the topic needs no more than text.
        message.final or not message.event_id,
        message.heard_until,
    )
