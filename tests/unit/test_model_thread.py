# SPDX-License-Identifier: Apache-2.0
"""The thread that owns the model gets ready before anything waits for it."""

import threading

import pytest

from interaction_node.clock_settings import ClockSettings
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import StepResult
from interaction_node.model_loading import warm_up
from interaction_node.model_thread import ModelThread


class _Noting:
    """A model that notes the thread of every step."""

    def __init__(self):
        self.threads = []

    def step(self, turn):
        self.threads.append(threading.current_thread())
        return StepResult(turn.index)

    def reset(self):
        pass


def _thread(model, begin):
    clock = MicroTurnClock(ClockSettings())
    return ModelThread(model, clock, lambda: 0.0, None, True, begin, lambda step: None, print)


def test_a_model_is_warm_in_the_thread_that_steps_it_before_anybody_goes_on():
    model = _Noting()
    thread = _thread(model, lambda: warm_up(model, 2))
    thread.start()
    warmed = list(model.threads)
    thread.call(lambda: model.threads.append(threading.current_thread()))
    thread.stop()
    assert len(warmed) == 2
    assert set(warmed) == {model.threads[-1]} != {threading.current_thread()}


def test_a_model_that_warms_itself_up_is_not_stepped():
    model = _Noting()
    model.warm_up = lambda: model.threads.append('itself')
    warm_up(model, 5)
    assert model.threads == ['itself']
    warm_up(model, 0)
    assert model.threads == ['itself']


def test_what_fails_at_the_beginning_is_raised_where_the_thread_was_started():
    def fail():
        raise ValueError('no memory left')

    thread = _thread(_Noting(), fail)
    with pytest.raises(ValueError, match='no memory left'):
        thread.start()
    thread.stop()
