# SPDX-License-Identifier: Apache-2.0
import numpy as np

from interaction_node.conversation_log import ConversationLog, Kind
from interaction_node.model.interface import TURN_S, TURN_SAMPLES, Role
from interaction_node.utterances import Speech


def say(log, words, utterance_id='u'):
    """One word a micro-turn."""
    for sequence, word in enumerate(words):
        pcm = np.ones(TURN_SAMPLES, np.int16)
        log.send(Speech(utterance_id, sequence, 0, pcm, word), sequence, 10.0)


def test_words_grow_into_one_event_which_ends_after_a_pause():
    log = ConversationLog('c', gap_s=0.6)
    turns = [['go'], ['to', 'the'], [], [], ['kitchen'], [], [], [], []]
    events = [event for i, words in enumerate(turns) for event in log.hear(words, i, i * TURN_S)]
    assert [event.text for event in events] == [
        'go',
        'go to the',
        'go to the kitchen',
        'go to the kitchen',
    ]
    assert [event.final for event in events] == [False, False, False, True]
    assert len({event.event_id for event in events}) == 1
    assert log.events == [events[-1]]


def test_what_is_just_being_said_is_part_of_the_context():
    log = ConversationLog('c')
    log.hear(['plan', 'a', 'tour'], 0, 0.0)
    assert [event.text for event in log.events] == ['plan a tour']


def test_only_words_that_really_sounded_are_said():
    log = ConversationLog('c')
    say(log, ['one', 'two', 'three', 'four'])
    assert log.played('u', 0.2, done=False) == []
    (said,) = log.played('u', 0.45, done=True)
    assert (said.role, said.kind, said.text) == (Role.ROBOT, Kind.SAID, 'one two')
    assert said.heard_until_s == 0.45
    assert log.events == [said]
    assert log.played('u', 0.45, done=True) == []


def test_an_utterance_of_which_nothing_sounded_leaves_no_trace():
    log = ConversationLog('c')
    say(log, ['one'])
    assert log.played('u', 0.1, done=True) == []
    assert log.events == []


def test_the_record_is_bounded():
    log = ConversationLog('c', limit=3)
    for i in range(5):
        log.event(Role.ROBOT, Kind.INTENT, f'wave {i}', i, i)
    assert [event.text for event in log.events] == ['wave 2', 'wave 3', 'wave 4']


def test_utterances_that_nobody_plays_are_forgotten_and_counted():
    log = ConversationLog('c')
    forgotten = 0
    for i in range(100):
        forgotten += log.send(Speech(f'u{i}', 0, 0), i, i)
    assert forgotten == 68
