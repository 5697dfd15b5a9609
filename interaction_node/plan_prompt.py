# SPDX-License-Identifier: Apache-2.0
"""Writes the prompts for the background planner's language model, as OpenAI chat messages."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from typing import Any

from interaction_node.conversation_log import Event, Kind
from interaction_node.model.interface import SAMPLE_RATE_HZ, Role
from interaction_node.plan_request import PlanRequest

Message = dict[str, Any]

STYLE = (
    'Answer in at most two short spoken sentences, in plain everyday words. No lists, no markdown, '
    'no headings, no emoji. Write numbers as words. Give the answer itself, never ask back.'
)
_LARGE_MODEL = (
    'You are the slower, thinking half of a robot that is talking with a person. The other half '
    'hears, sees and speaks, and will say your answer aloud when the moment suits. You get the '
    'conversation so far with the seconds before now, the skills and the state of the robot, and '
    f'the goal. {STYLE}'
)
_SMALL_MODEL = (
    'You are a robot that helps people in a house{places}. '
    'Answer in one or two short spoken sentences. Use plain words and no lists.'
)
# So small a model takes the form of the answer from examples, not from rules.
_EXAMPLES = (
    (
        'how should i pack for a weekend',
        'Pack two shirts, warm socks and a rain jacket. Put the heavy things at the bottom.',
    ),
    (
        'plan a round through the house',
        'Start in the hallway and go to the kitchen and the office. End in the garden.',
    ),
    (
        'what is the best way to get rid of ants',
        'Wipe the floor with vinegar and close the gaps. Keep sugar and honey in closed boxes.',
    ),
    ('who wrote hamlet', 'William Shakespeare wrote it, about the year sixteen hundred.'),
)
_SPEAKERS = {Role.USER: 'person', Role.ROBOT: 'robot', Role.PLANNER: 'you', Role.SYSTEM: 'system'}
_NOTES = {
    Kind.TEXT: ' (typed)',
    Kind.INTENT: ' (did)',
    Kind.PLAN_REQUESTED: ' (asked you)',
    Kind.PLAN_RESULT: ' (answered)',
    Kind.PLAN_FAILED: ' (could not answer)',
    Kind.PLAN_CANCELLED: ' (was cancelled)',
    Kind.STATE: ' (state)',
}


def whole_context(
    request: PlanRequest, max_characters: int, vision: bool = False, audio: bool = False
) -> list[Message]:
    """Writes the prompt for a capable model: everything that is known, with times.

    Args:
        request: The request.
        max_characters: Most characters of the conversation; the oldest events are left out first.
        vision: Whether the model takes the camera image.
        audio: Whether the model takes the sound of the last utterances.

    Returns:
        A system message and one of the user.
    """
    text = '\n'.join(
        [
            'Conversation:',
            *(_transcript(request, max_characters) or ['(nothing yet)']),
            '',
            'Skills of the robot: ' + (', '.join(request.skills) or 'unknown'),
            'State of the robot: ' + (request.robot_state.strip() or 'unknown'),
            '',
            'Goal: ' + request.goal.strip(),
        ]
    )
    parts: list[Message] = [{'type': 'text', 'text': text}]
    if vision and request.image:
        parts.append({'type': 'image_url', 'image_url': {'url': image_url(request)}})
    if audio and request.pcm.size:
        data = base64.b64encode(_wav(request)).decode()
        parts.append({'type': 'input_audio', 'input_audio': {'data': data, 'format': 'wav'}})
    # Not every server takes a list of parts: plain text stays plain.
    content = parts if len(parts) > 1 else text
    return [{'role': 'system', 'content': _LARGE_MODEL}, {'role': 'user', 'content': content}]


def short_context(
    request: PlanRequest, max_events: int, places: Sequence[str] = ()
) -> list[Message]:
    """Writes the prompt for a tiny model: examples, the last few turns, and the goal.

    Args:
        request: The request.
        max_events: How many of the last things that person and robot said are shown.
        places: Places that the robot knows, for the system message.

    Returns:
        Messages whose beginning is the same every time, so that a server can keep it.
    """
    known = f' with these places: {", ".join(places)}' if places else ''
    messages = [_message('system', _SMALL_MODEL.format(places=known))]
    for question, answer in _EXAMPLES:
        messages += [_message('user', question), _message('assistant', answer)]
    for event in _spoken_turns(request)[-max_events:] if max_events else []:
        role = 'user' if event.role == Role.USER else 'assistant'
        messages.append(_message(role, event.text.strip()))
    return [*messages, _message('user', request.goal.strip())]


def image_url(request: PlanRequest) -> str:
    """The camera image as a data URL."""
    kind = 'png' if 'png' in request.image_format.lower() else 'jpeg'
    return f'data:image/{kind};base64,{base64.b64encode(request.image).decode()}'


def _message(role: str, content: str) -> Message:
    return {'role': role, 'content': content}


def _transcript(request: PlanRequest, max_characters: int) -> list[str]:
    lines: list[str] = []
    left = max_characters
    for event in reversed(request.heard_context):
        line = _line(event, request.asked_s)
        left -= len(line) + 1
        if left < 0:
            lines.append('(earlier events are left out)')
            break
        lines.append(line)
    return lines[::-1]


def _line(event: Event, now_s: float) -> str:
    ago_s = max(0.0, now_s - event.stamp_s)
    speaker = _SPEAKERS.get(event.role, 'system')
    text = ' '.join(event.text.split())
    return f'-{ago_s:.1f} s {speaker}{_NOTES.get(event.kind, "")}: {text}'


def _spoken_turns(request: PlanRequest) -> list[Event]:
    """What person and robot said, without the goal itself at the end."""
    kinds = (Kind.TEXT, Kind.HEARD, Kind.SAID)
    turns = [event for event in request.heard_context if event.kind in kinds]
    turns = [event for event in turns if event.role in (Role.USER, Role.ROBOT)]
    while turns and turns[-1].role == Role.USER and request.goal.strip() in turns[-1].text:
        turns.pop()
    return turns


def _wav(request: PlanRequest) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(request.pcm.astype('<i2').tobytes())
    return buffer.getvalue()
