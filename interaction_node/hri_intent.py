# SPDX-License-Identifier: Apache-2.0
"""Our intents in the words of ROS4HRI (hri_actions_msgs/Intent)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from interaction_node.model.interface import Intent, Priority

PRIORITIES = {
    Priority.LOW: 64,
    Priority.NORMAL: 128,
    Priority.HIGH: 192,
    Priority.STOP: 255,
}


def _thing(arguments: dict) -> str:
    words = (str(arguments.get(name, '')) for name in ('colour', 'object'))
    return ' '.join(filter(None, words))


# Skill: the constant of Intent, and its thematic roles.
_INTENTS: dict[str, tuple[str, Callable[[dict], dict]]] = {
    'navigate_to': ('MOVE_TO', lambda a: {'goal': a.get('place', '')}),
    'bring': ('BRING_OBJECT', lambda a: {'object': _thing(a), 'recipient': '__unknown_agent__'}),
    'pick': ('GRAB_OBJECT', lambda a: {'object': _thing(a)}),
    'place': ('PLACE_OBJECT', lambda a: {'recipient': a.get('place', '')}),
    'wave': ('PERFORM_MOTION', lambda a: {'object': 'wave'}),
    'stop': ('STOP_ACTIVITY', lambda a: {}),
}


def to_hri_intent(message_type: Any, intent: Intent) -> Any:
    """Makes a message of an intent.

    Args:
        message_type: `hri_actions_msgs.msg.Intent`.
        intent: The intent; skills that ROS4HRI has no name for keep ours.

    Returns:
        The message.
    """
    constant, roles = _INTENTS.get(intent.skill, ('', dict))
    message = message_type()
    message.intent = getattr(message_type, constant) if constant else intent.skill
    message.data = json.dumps(roles(intent.arguments))
    message.source = message_type.UNKNOWN_AGENT
    message.modality = message_type.MODALITY_SPEECH
    message.priority = PRIORITIES[intent.priority]
    message.confidence = float(intent.confidence)
    return message
