# SPDX-License-Identifier: Apache-2.0
"""The background planner: a language model answers goals, knowing the whole conversation.

Services `request_plan` (answers at once) and `cancel_plan`; results are published on `conversation`
as PLANNER events whose `in_reply_to` is the request. The language model is either a small embedded
one, which needs no network, or any server that speaks the OpenAI protocol.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

import numpy as np
from rclpy.node import Node

from duplex_interaction.msg import ConversationEvent
from duplex_interaction.srv import CancelPlan, RequestPlan
from interaction_node import topic_qos
from interaction_node.conversation_log import Event, Kind
from interaction_node.conversation_messages import to_event, to_message, to_seconds
from interaction_node.node_errors import NodeErrors
from interaction_node.node_main import run_node
from interaction_node.node_parameters import NodeParameter, declare_parameters
from interaction_node.plan_prompt import whole_context
from interaction_node.plan_queue import PlanLimits, PlanQueue, Refusal
from interaction_node.plan_request import PlanRequest
from interaction_node.planner_backend import PlannerBackend
from interaction_node.planner_backend_embedded import EmbeddedBackend, EmbeddedSettings
from interaction_node.planner_backend_openai import OpenAiBackend, ServerSettings
from interaction_node.skill_catalogue import load_catalogue

_EXPIRY_PERIOD_S = 0.1

PARAMETERS = (
    NodeParameter(
        'backend', 'embedded', 'Language model that answers', choices=('embedded', 'openai')
    ),
    NodeParameter('max_parallel', 2, 'Requests that are answered at a time', 1, 32),
    NodeParameter('max_queued', 4, 'Requests that wait on top of them; more are BUSY', 0, 1000),
    NodeParameter(
        'deadline_s', 30.0, 'Time for a request that brings no deadline of its own', 0.1, 3600.0
    ),
    NodeParameter('max_sentences', 2, 'Sentences of an answer', 1, 20),
    NodeParameter('max_characters', 300, 'Characters of an answer', 20, 5000),
    NodeParameter('preload', True, 'Load the embedded model at start, not with the first request'),
    NodeParameter('embedded.model_path', '', 'Model file (GGUF); empty for the packaged SmolLM2'),
    NodeParameter('embedded.threads', 1, 'Processor threads of the embedded model', 1, 64),
    NodeParameter('embedded.nice', 10, 'How far its process stands back for others', 0, 19),
    NodeParameter('embedded.max_tokens', 60, 'Tokens of its answer', 1, 2000),
    NodeParameter('embedded.context_tokens', 1024, 'Tokens of prompt and answer', 256, 131072),
    NodeParameter(
        'embedded.max_context_events', 2, 'Last turns of the conversation that it sees', 0, 100
    ),
    NodeParameter(
        'openai.base_url', 'http://127.0.0.1:8000/v1', 'Address of the server, with its version'
    ),
    NodeParameter('openai.model', '', 'Name of the model; empty for the first that is offered'),
    NodeParameter(
        'openai.api_key_env', '', 'Environment variable with the API key; empty for no key'
    ),
    NodeParameter('openai.max_tokens', 160, 'Tokens of its answer', 1, 100000),
    NodeParameter('openai.temperature', 0.3, 'Randomness of its answer', 0.0, 2.0),
    NodeParameter('openai.vision', False, 'Send the newest camera image along'),
    NodeParameter('openai.audio', False, 'Send the sound of the last utterances along'),
    NodeParameter(
        'openai.max_context_characters', 20000, 'Characters of conversation that it sees', 100
    ),
    NodeParameter('openai.connect_timeout_s', 3.0, 'Longest wait for a connection', 0.05, 60.0),
    NodeParameter('openai.read_timeout_s', 20.0, 'Longest wait for the next piece', 0.05, 600.0),
    NodeParameter('openai.retries', 3, 'Repetitions after failures that may pass', 0, 20),
    NodeParameter('openai.backoff_s', 0.5, 'Wait before the first repetition; doubles', 0.01, 60.0),
)


class PlannerNode(Node):
    """Serves `request_plan` and `cancel_plan`; the work happens in the thread of a `PlanQueue`."""

    def __init__(self, **kwargs) -> None:
        super().__init__('planner_node', **kwargs)
        self._values = declare_parameters(self, PARAMETERS)
        self._errors = NodeErrors(self, hardware_id=self._values['backend'])
        self._counts = dict.fromkeys(('accepted', 'refused', 'answered', 'failed', 'cancelled'), 0)
        self._publisher = self.create_publisher(
            ConversationEvent, 'conversation', topic_qos.CONVERSATION
        )
        self._queue = PlanQueue(self._make_backend(), self._publish, self._limits(), self._now_s)
        if self._values['preload']:
            self._queue.preload(partial(self._errors.error, 'backend'))
        self._errors.add_values(lambda: {'open': self._queue.open_requests, **self._counts})
        self.create_timer(_EXPIRY_PERIOD_S, self._queue.expire)
        self.create_service(RequestPlan, 'request_plan', self._request_plan)
        self.create_service(CancelPlan, 'cancel_plan', self._cancel_plan)

    def close(self) -> None:
        """Fails what is still open and ends the language model."""
        self._queue.close()

    def _limits(self) -> PlanLimits:
        return PlanLimits(
            parallel=self._values['max_parallel'],
            queued=self._values['max_queued'],
            limit_s=self._values['deadline_s'],
            max_sentences=self._values['max_sentences'],
            max_characters=self._values['max_characters'],
        )

    def _make_backend(self) -> PlannerBackend:
        if self._values['backend'] == 'openai':
            return self._openai_backend(self._values.group('openai'))
        settings = EmbeddedSettings(
            parallel=self._values['max_parallel'],
            places=tuple(load_catalogue().places),
            **self._values.group('embedded'),
        )
        return EmbeddedBackend(settings, self._report_backend)

    def _openai_backend(self, options: dict) -> OpenAiBackend:
        variable = options['api_key_env']
        if variable and not os.environ.get(variable):
            raise ValueError(
                f"parameter 'openai.api_key_env' is {variable!r}; expected the name of an "
                'environment variable that holds the key, or an empty string'
            )
        settings = ServerSettings(
            api_key=os.environ.get(variable, '') if variable else '',
            options={'temperature': options['temperature']},
            **{
                name: options[name]
                for name in (
                    'base_url',
                    'model',
                    'connect_timeout_s',
                    'read_timeout_s',
                    'retries',
                    'backoff_s',
                    'max_tokens',
                )
            },
        )
        prompt = partial(
            whole_context,
            max_characters=options['max_context_characters'],
            vision=options['vision'],
            audio=options['audio'],
        )
        return OpenAiBackend(settings, prompt)

    def _report_backend(self, fault: str) -> None:
        if fault:
            self._errors.error('backend', fault)
        else:
            self._errors.resolve('backend', 'the embedded language model is ready')

    def _now_s(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _request_plan(
        self, request: RequestPlan.Request, response: RequestPlan.Response
    ) -> RequestPlan.Response:
        try:
            refusal, response.message = self._queue.submit(self._converted(request))
        except ValueError as error:
            refusal, response.message = Refusal.BAD_REQUEST, str(error)
        response.accepted = refusal is Refusal.NONE
        response.error_code = int(refusal)
        self._counts['accepted' if response.accepted else 'refused'] += 1
        if not response.accepted:
            self.get_logger().warning(f'request {request.request_id!r}: {response.message}')
        return response

    def _cancel_plan(
        self, request: CancelPlan.Request, response: CancelPlan.Response
    ) -> CancelPlan.Response:
        response.cancelled = self._queue.cancel(request.request_id)
        if not response.cancelled:
            response.message = f'no request {request.request_id!r} is running'
        return response

    def _converted(self, request: RequestPlan.Request) -> PlanRequest:
        return PlanRequest(
            request_id=request.request_id,
            goal=request.goal,
            conversation_id=request.context[-1].conversation_id if request.context else '',
            context=tuple(map(to_event, request.context)),
            pcm=np.frombuffer(request.audio, np.int16),
            image=bytes(request.frame.data),
            image_format=request.frame.format,
            skills=tuple(request.skills),
            robot_state=request.robot_state,
            asked_s=self._now_s(),
            deadline_s=to_seconds(request.deadline),
        )

    def _publish(self, event: Event, request: PlanRequest) -> None:
        """Publishes an event, from whatever thread, and counts how requests end."""
        if event.kind == Kind.PLAN_FAILED:
            self._errors.warn('plan', f'request {event.in_reply_to!r} failed: {event.text}')
        elif event.kind == Kind.PLAN_RESULT:
            self._errors.resolve('plan')
        names = {
            Kind.PLAN_RESULT: 'answered',
            Kind.PLAN_FAILED: 'failed',
            Kind.PLAN_CANCELLED: 'cancelled',
        }
        if event.kind in names:
            self._counts[names[event.kind]] += 1
            self._errors.set_value('last_took_s', event.stamp_s - request.asked_s)
        self._publisher.publish(to_message(event, request.conversation_id))


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node until Ctrl-C."""
    return run_node(PlannerNode, PARAMETERS, __doc__, args, program='planner_node')


if __name__ == '__main__':
    sys.exit(main())
