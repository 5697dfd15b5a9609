# SPDX-License-Identifier: Apache-2.0
"""What the background planner is asked; `RequestPlan` without ROS."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from interaction_node.conversation_log import Event, Kind
from interaction_node.model.interface import Role


@dataclass(frozen=True)
class PlanRequest:
    """One request to the background planner.

    Attributes:
        request_id: Names the request, not empty.
        goal: What is wanted, as it was heard, not empty.
        conversation_id: Names the conversation; '' for the one that is running.
        context: The conversation so far, oldest first.
        pcm: (N,) int16 at 16 kHz, the last utterances of the person.
        image: The newest camera image as JPEG or PNG, empty if there is none.
        image_format: As in `sensor_msgs/CompressedImage`, e.g. 'jpeg'.
        skills: Skills of the robot, e.g. 'navigate_to(place)'.
        robot_state: JSON object, or empty.
        asked_s: When it was asked, ROS time.
        deadline_s: When the answer is no longer of use, ROS time; 0 for the planner's own limit.
    """

    request_id: str
    goal: str
    conversation_id: str = ''
    context: tuple[Event, ...] = ()
    pcm: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    image: bytes = b''
    image_format: str = ''
    skills: tuple[str, ...] = ()
    robot_state: str = ''
    asked_s: float = 0.0
    deadline_s: float = 0.0

    @property
    def heard_context(self) -> list[Event]:
        """The events that both sides know of: of the robot's words only those that sounded."""
        known = [event for event in self.context if _is_common_knowledge(event)]
        newest = {
            event.event_id or id(event): event for event in known
        }  # grown ones: as they ended
        return list(newest.values())


def _is_common_knowledge(event: Event) -> bool:
    # What the person is just saying is not final, but the goal may well be in it.
    if not event.text.strip() or not (event.final or event.kind == Kind.HEARD):
        return False
    if event.kind == Kind.SAID:
        return event.heard_until_s != 0.0
    # What the robot writes but never says is not part of the conversation.
    return not (event.role == Role.ROBOT and event.kind == Kind.TEXT)
