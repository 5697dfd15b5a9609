# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from interaction_node.model.interface import TURN_SAMPLES, StepResult
from interaction_node.utterances import Utterances

CONTROLS = st.lists(st.sampled_from(['silent', 'speak', 'flush', 'flush and speak']), max_size=40)


def step(index, what):
    speech = np.full(TURN_SAMPLES, 1, np.int16) if 'speak' in what else None
    return StepResult(index, control=what.split(' ', maxsplit=1)[0], speech=speech)


def pieces_of(whats, gap_turns=2):
    utterances = Utterances('u', gap_turns)
    return [
        (index, piece)
        for index, what in enumerate(whats)
        for piece in utterances.add(step(index, what), (index + 1) * TURN_SAMPLES)
    ]


@given(CONTROLS)
def test_sequences_have_no_holes_and_end_once(whats):
    seen = {}
    for _, piece in pieces_of(whats):
        sequence, ended = seen.get(piece.utterance_id, (0, False))
        assert not ended
        assert piece.sequence == sequence
        seen[piece.utterance_id] = (sequence + 1, piece.last)


@given(CONTROLS)
def test_all_speech_sounds_one_micro_turn_later_and_nothing_else(whats):
    sound = [piece.first_sample for _, piece in pieces_of(whats) if len(piece.pcm)]
    assert sound == [(i + 1) * TURN_SAMPLES for i, what in enumerate(whats) if 'speak' in what]


def test_a_short_pause_belongs_to_the_utterance_and_a_long_one_ends_it():
    whats = ['speak', 'silent', 'speak', 'silent', 'silent', 'speak']
    pieces = [(index, p.utterance_id, p.last) for index, p in pieces_of(whats)]
    assert pieces == [(0, 'u-0', False), (2, 'u-0', False), (4, 'u-0', True), (5, 'u-1', False)]


def test_a_flush_ends_the_utterance_before_the_new_one_begins():
    (_, spoken), (_, flush), (_, answer) = pieces_of(['speak', 'flush and speak'])
    assert flush.flush
    assert flush.last
    assert flush.utterance_id == spoken.utterance_id
    assert answer.utterance_id != spoken.utterance_id
    assert not answer.flush
