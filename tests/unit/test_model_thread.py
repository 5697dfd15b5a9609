# SPDX-License-Identifier: Apache-2.0
"""The thread that owns the model gets ready before anything waits for it."""

import threading

import pytest

from interaction_node.clock_settings import ClockSettings
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model_thread import ModelThread


class _Names:
    """A model that notes in which threads it was called."""

    def __init__(self):
        self.threads = []

    def step(self, turn):
        self.threads.append(threading.current_thread().name)
        raise RuntimeError('not asked')

    def warm_up(self):
        self.threads.append(threading.current_thread().name)


def _thread(model, begin):
    clock = MicroTurnClock(ClockSettings())
    return ModelThread(model, clock, lambda: 0.0, None, True, begin, lambda step: None, print)


def test_a_model_is_made_ready_in_the_thread_that_steps_it():
    model = _Names()
    thread = _thread(model, model.warm_up)
    thread.start()
    assert model.threads == ['model']
    thread.stop()


def test_what_fails_at_the_beginning_is_raised_where_the_thread_was_started():
    def fail():
        raise ValueError('no memory left')

    thread = _thread(_Names(), fail)
    with pytest.raises(ValueError, match='no memory left'):
        thread.start()
    thread.stop()
