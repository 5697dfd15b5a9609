# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest

from interaction_node.model.data.ideal import Event, IdealPartner, turn_named, typed_frame


def robot_voice(text):
    words = text.split()
    spoken = tuple((word, 12 * i, 12 * i + 10) for i, word in enumerate(words))
    return SimpleNamespace(frames=12 * len(words), words=spoken, text=text)


def partner(turns=100, speaks=()):
    user = np.zeros(turns, bool)
    user[list(speaks)] = True
    return IdealPartner(robot_voice, turns, user)


def said(targets):
    return targets.said


def test_a_cue_is_answered_in_the_micro_turn_that_names_it():
    events = [
        Event(20, 'cue_set', {'cues': [['kilo', 'seven']]}),
        Event(56, 'cue_word', {'cue': 'kilo'}),
        Event(89, 'cue_word', {'cue': 'kilo'}),
        Event(120, 'cue_word', {'cue': 'alpha'}),
    ]
    assert said(partner().run(events)) == [(5, 'seven'), (9, 'seven')]


def test_a_word_is_named_when_its_end_was_heard_for_60_ms():
    assert [turn_named(end) for end in (40, 46, 47, 50)] == [4, 4, 5, 5]
    assert Event(46, 'cue_word').turn == 4
    assert Event(47, 'cue_word').turn == 5
    # What is seen or typed needs no such care, and a stop is obeyed while it is said.
    assert Event(48, 'sight').turn == 4
    assert Event(53, 'interruption').turn == 4
    for kind in ('command', 'interruption', 'result'):
        assert Event(typed_frame(7), kind).turn == 7


def test_a_number_that_may_go_on_is_waited_for():
    # "Count to fifty" may go on with "six", and typed lines do not.
    assert Event(46, 'count_set', {'may_go_on': True}).turn == 5
    assert Event(46, 'count_set', {}).turn == 4


def test_forget_it_ends_cues():
    events = [
        Event(20, 'cue_set', {'cues': [['kilo', 'seven']]}),
        Event(40, 'cue_cancel', {}),
        Event(100, 'cue_word', {'cue': 'kilo'}),
    ]
    assert said(partner().run(events)) == [(4, 'okay')]


def test_every_three_seconds_is_counted_from_the_end_of_the_instruction():
    targets = partner().run([Event(27, 'time_set', {'every_s': 3, 'answer': 'now'})])
    onsets_s = [(turn + 1) * 0.2 for turn, _ in said(targets)]
    due_s = [0.54 + 3 * (i + 1) for i in range(len(onsets_s))]
    assert len(onsets_s) == 6
    assert onsets_s == pytest.approx(due_s, abs=0.17)


def test_a_reminder_comes_once():
    targets = partner().run([Event(20, 'time_set', {'in_s': 5, 'answer': 'done'})])
    assert [text for _, text in said(targets)] == ['done']


def test_counting_goes_down_too():
    targets = partner().run([Event(20, 'count_set', {'first': 3, 'last': 1, 'step': -1})])
    assert [text for _, text in said(targets)] == ['three', 'two', 'one']


def test_stop_silences_within_one_turn_and_becomes_an_intent():
    events = [
        Event(20, 'count_set', {'first': 1, 'last': 9, 'step': 1}),
        Event(75, 'interruption', {'then': 'stopped', 'halts': True}),
    ]
    targets = partner().run(events)
    turn = Event(75, 'interruption', {}).turn
    assert turn == 7
    assert targets.acts == [(turn, 'stop', {})]
    assert targets.tokens[turn][0] == '<flush>'
    assert not targets.speak[turn]
    assert said(targets)[-1][1] == 'stopped'


def test_counting_resumes_after_wait_and_go_on():
    events = [
        Event(20, 'count_set', {'first': 1, 'last': 4, 'step': 1}),
        Event(96, 'interruption', {'then': 'yes'}),
        Event(150, 'resume', {}),
    ]
    texts = [text for _, text in said(partner().run(events))]
    assert texts[:2] == ['one', 'two']
    assert texts[-1] == 'four'
    assert 'yes' in texts
    assert set(texts) == {'one', 'two', 'three', 'four', 'yes'}


def test_backchannels_and_talk_to_others_change_nothing():
    quiet = partner().run([Event(30, 'backchannel'), Event(60, 'chatter')])
    assert not any(quiet.speak)
    assert not any(quiet.tokens)


def test_a_command_acts_and_is_acknowledged_in_the_same_turn():
    meaning = {'skill': 'move', 'arguments': {'direction': 'forward', 'distance_m': 3}}
    targets = partner().run([Event(36, 'command', meaning)])
    assert targets.tokens[3] == ['<act>', '<move>', 'forward', 'three', '<end>', 'okay']


def test_a_result_waits_until_the_person_is_silent():
    events = [Event(20, 'delegate', {}), Event(66, 'result', {'text': 'go home'})]
    targets = partner(speaks=range(6, 12)).run(events)
    assert targets.delegated == [2]
    assert said(targets) == [(2, 'one moment'), (13, 'go home')]
    assert targets.tokens[13] == ['<read>']
    assert targets.read_done.index(True) == 16


def test_words_begin_in_the_turn_whose_window_they_begin_in():
    events = [Event(2, 'visual_trigger_set'), Event(20, 'sight', {'text': 'i see a ball'})]
    targets = partner().run(events)
    assert targets.tokens[2:7] == [['i'], ['see'], ['a'], ['ball'], []]
    assert targets.speak[2:7] == [True] * 5


def test_slips_come_early_or_late_and_are_not_learned():
    events = [Event(20, 'cue_set', {'cues': [['kilo', 'seven']]})]
    events += [Event(100 * (i + 1) + 5, 'cue_word', {'cue': 'kilo'}) for i in range(5)]
    slips = 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        targets = IdealPartner(robot_voice, 70, np.zeros(70, bool), random).run(events)
        for i, (turn, text) in enumerate(said(targets)):
            assert text == 'seven'
            wanted = 10 * (i + 1)
            assert -1 <= turn - wanted <= 2
            # Where it should have reacted and did not; or did, and should not have yet.
            slipped = set(range(min(turn, wanted), max(turn, wanted)))
            near = set(range(wanted - 1, wanted + 3))
            assert slipped == near & targets.unasked
            slips += turn != wanted
    assert 5 < slips < 75
