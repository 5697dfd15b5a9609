# SPDX-License-Identifier: Apache-2.0
"""The interaction model as a ROS 2 lifecycle node: perceives, speaks and decides every 200 ms.

Subscribes audio, image, image/compressed, playback and conversation; publishes speech,
action_intents, conversation, micro_turn_status and /diagnostics; calls request_plan and
cancel_plan; serves ~/interrupt, ~/reset and ~/mute.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import SetBool, Trigger

from interaction_node.clock_settings import ClockSettings
from interaction_node.conversation import Conversation
from interaction_node.inputs import Inputs
from interaction_node.interaction_parameters import PARAMETERS
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import InteractionModel, Role, TextInput
from interaction_node.model_loading import close_model, load_model, wait_for_voice, warm_up
from interaction_node.model_thread import ModelThread, Step
from interaction_node.node_errors import NodeErrors
from interaction_node.node_main import run_node
from interaction_node.node_parameters import declare_parameters
from interaction_node.session_memory import SessionMemory, open_memory
from interaction_node.step_health import StepHealth
from interaction_node.turn_output import TurnOutput
from interaction_node.voice import Voice

INTERRUPT_TEXT = 'interrupt'
_SUCCESS = TransitionCallbackReturn.SUCCESS
_FAILURE = TransitionCallbackReturn.FAILURE


@dataclass
class _Session:
    """What exists while the node is active."""

    model: InteractionModel
    clock: MicroTurnClock
    voice: Voice
    conversation: Conversation
    output: TurnOutput
    thread: ModelThread
    inputs: Inputs


class InteractionNode(LifecycleNode):
    """Lifecycle node around an interaction model.

    configure loads the model and warms it up; activate subscribes and starts the clock; deactivate
    falls silent and keeps the weights; cleanup frees them. With `autostart` it does the first two
    by itself.
    """

    def __init__(self, **kwargs):
        super().__init__('interaction_node', **kwargs)
        self._settings = declare_parameters(self, PARAMETERS)
        self._errors = NodeErrors(self)
        self._model: InteractionModel | None = None
        self._memory: SessionMemory | None = None
        self._session: _Session | None = None
        # rclpy lets an impossible transition raise, which would end the node.
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._change_state_or_refuse
        self.create_service(Trigger, '~/interrupt', self._on_interrupt)
        self.create_service(Trigger, '~/reset', self._on_reset)
        self.create_service(SetBool, '~/mute', self._on_mute)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._check_inputs, clock=steady)
        if self._settings['autostart']:
            self._starter = self.create_timer(0.0, self._autostart, clock=steady)

    def close(self) -> None:
        """Falls silent, ends the model's thread, frees the model."""
        self._end_session()
        self._free_model()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and warms it up."""
        try:
            start_s = time.monotonic()
            self._model = load_model(
                self._settings['model.factory'],
                self._settings['model.checkpoint'],
                self._settings['model.device'],
                self._settings['model.threads'],
                self._settings['model.seed'],
            )
            warm_up(self._model, self._settings['model.warm_up_turns'])
            if self._settings['turn.pace'] == 'graph':
                wait_for_voice(self._model)
            self._memory = open_memory(
                self._model,
                self._settings['model.factory'],
                self._settings['model.snapshot_file'],
                self._settings['model.snapshot_period_s'],
                self._errors,
            )
        except Exception as error:  # whatever a model raises must not end the node
            self._free_model()
            message = f'the model can not be loaded: {type(error).__name__}: {error}'
            self._errors.error('load', message)
            return _FAILURE
        self._errors.resolve('load')
        # To look through all that was loaded for garbage would take longer than a micro-turn.
        gc.collect()
        gc.freeze()
        found = self._memory.found if self._memory else ''
        self.get_logger().info(
            f'model ready after {time.monotonic() - start_s:.1f} s'
            + (f', to go on with the conversation in {found}' if found else '')
        )
        return _SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes and starts the clock, with a fresh conversation or the one that was kept."""
        try:
            self._session = self._begin_session()
        except Exception as error:
            self._errors.error('activate', f'can not start: {type(error).__name__}: {error}')
            return _FAILURE
        self._errors.resolve('activate')
        self.get_logger().info('listening')
        return _SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Falls silent; the weights stay."""
        self._end_session()
        return _SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the model."""
        self._free_model()
        return _SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Falls silent and frees the model."""
        self.close()
        return _SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Gives everything back, so that the node can be configured again."""
        self.close()
        return _SUCCESS

    def _autostart(self) -> None:
        self._starter.cancel()
        if self.trigger_configure() == _SUCCESS:
            self.trigger_activate()

    def _change_state_or_refuse(self, request, response):
        try:
            return self._change_state(request, response)
        except RCLError:
            label = request.transition.label or request.transition.id
            self.get_logger().error(f'transition {label} is not possible now')
            response.success = False
            return response

    def _begin_session(self) -> _Session:
        model = self._model
        assert model is not None, 'activated before it was configured'
        clock = MicroTurnClock(self._clock_settings())
        voice = Voice(
            self,
            clock,
            self._ros_now,
            self._settings['speech.frame_id'],
            self._settings['speech.pause_ms'] / 1e3,
        )
        now = self._pacing_clock()

        def begin() -> None:
            # Once more, since some of what is compiled is a thread's own.
            warm_up(model, self._settings['model.warm_up_turns'])
            if self._memory is None:
                model.reset()
            else:
                self._memory.begin()

        def deliver(step: Step) -> None:
            output.deliver(step)  # made below, before the thread starts
            if self._memory is not None:  # now the next step is farthest away
                self._memory.after_step()

        thread = ModelThread(
            model,
            clock,
            now,
            None if now == self._ros_now else self._ros_now,
            self._settings['turn.pace'] == 'realtime',
            begin,
            deliver,
            lambda error: self._errors.error('internal', f'{type(error).__name__}: {error}'),
        )
        conversation = Conversation(
            self,
            self._errors,
            self._settings,
            thread.call,
            lambda text, stamp_s: clock.push_text(text, stamp_s, now()),
            self._ros_now,
        )
        output = TurnOutput(
            self,
            voice,
            conversation,
            StepHealth(self._errors),
            self._settings['actions.frame_id'],
            self._settings['actions.hri_intents'],
        )
        thread.start()  # before anything is heard that would have to wait for it
        try:
            inputs = Inputs(self, clock, thread, conversation, self._errors, self._settings, now)
        except Exception:
            thread.stop()
            raise
        return _Session(model, clock, voice, conversation, output, thread, inputs)

    def _clock_settings(self) -> ClockSettings:
        turn = self._settings.group('turn')
        return ClockSettings(
            pace=turn['pace'],
            jitter_ms=turn['jitter_ms'],
            takeover_ms=turn['takeover_ms'],
            max_catch_up_s=turn['max_catch_up_s'],
            lookahead_s=turn['lookahead_s'],
            graph_wait_s=turn['graph_wait_s'],
            camera_timeout_ms=self._settings['camera.timeout_ms'],
            wait_for_image=self._settings['camera.wait'],
        )

    def _pacing_clock(self):
        return self._ros_now if self.get_parameter('use_sim_time').value else time.monotonic

    def _ros_now(self) -> float:
        return 1e-9 * self.get_clock().now().nanoseconds

    def _end_session(self) -> None:
        if self._session is None:
            return
        session, self._session = self._session, None
        session.inputs.close()
        session.thread.stop()
        session.voice.interrupt()
        for part in (session.output, session.conversation, session.voice):
            part.close()
        if self._memory is not None:
            self._memory.end()

    def _free_model(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if self._model is not None:
            close_model(self._model)
            self._model = None
            gc.unfreeze()

    def _check_inputs(self) -> None:
        if self._session is not None:
            self._session.inputs.check()

    def _on_interrupt(self, _request, response: Trigger.Response) -> Trigger.Response:
        if session := self._active(response):
            session.voice.interrupt()
            session.clock.push_text(
                TextInput(Role.SYSTEM, INTERRUPT_TEXT), 0.0, self._pacing_clock()()
            )
        return response

    def _on_reset(self, _request, response: Trigger.Response) -> Trigger.Response:
        if self._session is None and self._memory is not None:  # no thread has the model now
            self._memory.forget()
            response.success, response.message = True, 'the conversation that was kept is forgotten'
        elif session := self._active(response):
            session.voice.interrupt()
            session.thread.call(session.model.reset)
            if self._memory is not None:
                session.thread.call(self._memory.forget)
            session.thread.call(session.conversation.reset)
        return response

    def _on_mute(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if session := self._active(response):
            session.voice.mute(request.data)
        return response

    def _active(self, response) -> _Session | None:
        response.success = self._session is not None
        response.message = '' if response.success else 'the node is not active'
        return self._session


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node until Ctrl-C."""
    return run_node(InteractionNode, PARAMETERS, __doc__, args, program='interaction_node')


if __name__ == '__main__':
    sys.exit(main())
