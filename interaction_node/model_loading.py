# SPDX-License-Identifier: Apache-2.0
"""Loads the model that a parameter names, and warms it up."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from interaction_node.model.interface import TURN_S, TURN_SAMPLES, InteractionModel, MicroTurn

LOADER = 'interaction_node.model.session:load_session'
VOICE_PATIENCE_S = 30.0


def find_factory(name: str) -> Callable[..., Any]:
    """Finds the function that a 'module:function' names.

    Raises:
        ValueError: The name has another form, or there is no such module or function.
    """
    module_name, _, function_name = name.partition(':')
    try:
        factory = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"model.factory is {name!r}; expected 'module:function' ({error})"
        ) from error
    return factory


def load_model(
    factory: str, checkpoint: str = '', device: str = 'auto', threads: int = 0, seed: int = 0
) -> InteractionModel:
    """Loads a model.

    Args:
        factory: 'module:function' that is called with the other arguments, by name.
        checkpoint: Checkpoint, '' for the default one.
        device: Device, 'auto' for the best there is.
        threads: Processor threads, 0 for what suits the device.
        seed: Seed of everything that is drawn by lot.

    Returns:
        The model, ready to step.

    Raises:
        ValueError: The factory doesn't exist, or refuses an argument.
        OSError: The checkpoint can't be read.
    """
    return find_factory(factory)(checkpoint=checkpoint, device=device, threads=threads, seed=seed)


def warm_up(model: InteractionModel, turns: int) -> None:
    """Lets a model do once what it will do, so that nothing is compiled or allocated later.

    It has forgotten that afterwards.

    Args:
        model: The model; if it has a `warm_up`, that does it.
        turns: Silent micro-turns that another one steps; with 0 nothing is done.
    """
    if turns and (own := getattr(model, 'warm_up', None)):
        own()
        return
    silence = np.zeros(TURN_SAMPLES, np.int16)
    for index in range(turns):
        model.step(MicroTurn(index, index * TURN_S, silence, silence))
    if turns:
        model.reset()


def wait_for_voice(model: InteractionModel) -> None:
    """Lets a model whose voice is made beside it wait for the sound, where time doesn't press.

    What is said when then doesn't depend on how fast the machine is.
    """
    wait = getattr(model, 'wait_for_voice', None)
    if wait is not None:
        wait(VOICE_PATIENCE_S)


def close_model(model: InteractionModel) -> None:
    """Frees what a model holds, where it has something to free."""
    close = getattr(model, 'close', None)
    if close is not None:
        close()
