# SPDX-License-Identifier: Apache-2.0
"""The shipped checkpoint does what it is for, on a voice that it was not trained on."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from interaction_node.model.interface import TURN_SAMPLES, MicroTurn, Priority
from interaction_node.model.session import DEFAULT_CHECKPOINT, load_session

DEMO = Path(__file__).parents[2] / 'examples' / 'demo'
LIMIT_BYTES = 24_000_000


def test_the_checkpoint_is_small_enough_for_the_repository():
    assert 1_000_000 < DEFAULT_CHECKPOINT.stat().st_size <= LIMIT_BYTES


@pytest.fixture(scope='module')
def lived():
    """The demonstration's sound, lived through twice: (script, results, results)."""
    pcm, rate_hz = soundfile.read(DEMO / 'input.wav', dtype='int16')
    assert rate_hz == 16_000
    script = json.loads((DEMO / 'script.json').read_text('utf-8'))
    session = load_session()
    runs = []
    for _ in range(2):
        session.reset()
        own = np.zeros(TURN_SAMPLES, np.int16)
        results = []
        for index in range(len(pcm) // TURN_SAMPLES):
            heard = pcm[index * TURN_SAMPLES : (index + 1) * TURN_SAMPLES]
            results.append(session.step(MicroTurn(index, 0.2 * index, heard, own)))
            speech = results[-1].speech
            own = np.zeros(TURN_SAMPLES, np.int16) if speech is None else speech
        runs.append(results)
    session.close()
    return script, *runs


def answers(script, results):
    """Which of the expected answers began within 1.4 s of what was said."""
    found = {}
    for entry in script:
        if not entry['answer']:
            continue
        first, last = int(entry['end'] / 0.2) - 1, int(entry['end'] / 0.2) + 6
        said = ' '.join(r.text for r in results[max(0, first) : last + 1] if r.text)
        found[entry['text']] = entry['answer'] in said
    return found


def test_most_of_what_is_said_is_answered(lived):
    script, results, _ = lived
    found = answers(script, results)
    assert sum(found.values()) >= 0.6 * len(found), found


def test_commands_become_intents_with_their_arguments(lived):
    _, results, _ = lived
    intents = [intent for result in results for intent in result.intents]
    assert ('navigate_to', {'place': 'kitchen'}) in [(i.skill, i.arguments) for i in intents]
    stops = [intent for intent in intents if intent.skill == 'stop']
    assert stops
    assert all(intent.priority == Priority.STOP for intent in stops)


def test_it_is_silent_while_nobody_speaks_to_it(lived):
    script, results, _ = lived
    first = script[0]['start']
    assert not any(result.text for result in results[: int(first / 0.2)])


def test_a_session_is_repeatable_bit_for_bit(lived):
    _, one, other = lived
    assert [r.text for r in one] == [r.text for r in other]
    for first, second in zip(one, other, strict=True):
        assert (first.speech is None) == (second.speech is None)
        if first.speech is not None:
            np.testing.assert_array_equal(first.speech, second.speech)
