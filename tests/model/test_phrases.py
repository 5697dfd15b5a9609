# SPDX-License-Identifier: Apache-2.0
"""Phrases: their meaning says what their text asks for, and no test text is ever trained."""

import json
import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.model.data import phrases
from interaction_node.model.data.phrases import (
    KINDS,
    SHARED,
    SPLITS,
    fixed_phrases,
    grammar,
    is_held_out,
    normalise,
    number_words,
    sample,
    split_of,
)

# The listed ways to ask, one of each, and what each must come to.
LISTED = {
    'when you hear kilo say seven': ('cue_set', {'cues': [['kilo', 'seven']]}),
    'say seven when you hear kilo': ('cue_set', {'cues': [['kilo', 'seven']]}),
    'remind me every four seconds': ('time_set', {'every_s': 4, 'answer': 'now'}),
    'in ten seconds say done': ('time_set', {'in_s': 10, 'answer': 'done'}),
    'wake me in thirty seconds': ('time_set', {'in_s': 30, 'answer': 'now'}),
    'count to ten': ('count_set', {'first': 1, 'last': 10, 'step': 1}),
    'count down from twelve': ('count_set', {'first': 12, 'last': 1, 'step': -1}),
    'turn around': ('command', {'skill': 'turn', 'arguments': {'direction': 'around'}}),
    'go to the kitchen': ('command', {'skill': 'navigate_to', 'arguments': {'place': 'kitchen'}}),
    'halt': ('command', {'skill': 'stop', 'arguments': {}}),
    'open the gripper': ('command', {'skill': 'gripper', 'arguments': {'state': 'open'}}),
    'count my jumping jacks': ('visual_count_set', {'movement': 'jumping jacks'}),
    'tell me when the light turns green': (
        'visual_trigger_set',
        {'see': 'green light', 'answer': 'it is green'},
    ),
    'good morning robot': ('address', {'answer': 'good morning'}),
}
MADE = [
    kind
    for kind, families in grammar()['kinds'].items()
    if any('made' in family for family in families)
]
kinds = st.sampled_from(KINDS)
splits = st.sampled_from(SPLITS)
seeds = st.integers(0, 2**32)


def draw(kind, count=300, split='train', seed=0):
    rng = Random(seed)
    return [sample(kind, rng, split) for _ in range(count)]


@settings(max_examples=200, deadline=None)
@given(kinds, splits, seeds)
def test_a_phrase_is_plain_words_of_its_split(kind, split, seed):
    phrase = sample(kind, Random(seed), split)
    assert phrase.kind == kind
    assert phrase.split in (split, SHARED)
    assert re.fullmatch(r"[a-z'-]+( [a-z'-]+)*", phrase.text), phrase.text
    assert json.loads(json.dumps(phrase.meaning)) == phrase.meaning
    assert '{' not in json.dumps(phrase.meaning).replace('{"', '').replace('{}', '')


@settings(max_examples=50, deadline=None)
@given(kinds, splits, seeds)
def test_the_same_seed_gives_the_same_phrase(kind, split, seed):
    assert sample(kind, Random(seed), split) == sample(kind, Random(seed), split)


@pytest.mark.parametrize('text', LISTED)
def test_listed_phrases_mean_what_they_say(text, monkeypatch):
    monkeypatch.setattr(phrases, 'MADE_SHARE', 0.0)
    kind, meaning = LISTED[text]
    found = next(p for p in draw(kind, 20_000) + fixed_phrases(kind) if p.text == text)
    assert found.meaning == meaning


@pytest.mark.parametrize('kind', KINDS)
def test_held_out_texts_are_never_trained(kind):
    trained = {phrase.text for phrase in draw(kind, 1_000) if phrase.split != SHARED}
    for split in ('val', 'test'):
        held_out = {phrase.text for phrase in draw(kind, 300, split) if phrase.split != SHARED}
        assert not trained & held_out


@pytest.mark.parametrize('kind', MADE)
def test_what_is_made_from_parts_is_for_training_only(kind, monkeypatch):
    drawn = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(phrases, 'MADE_SHARE', share)
        drawn[share] = {split: draw(kind, 300, split) for split in SPLITS}
    for split in ('val', 'test'):
        assert drawn[0.0][split] == drawn[1.0][split]
    listed = {phrase.text for phrase in drawn[0.0]['train']}
    made = {phrase.text for phrase in drawn[1.0]['train'] if phrase.split == 'train'} - listed
    assert len(made) > 150
    for text in made:
        assert not re.search(r'[<>(|){}]', text)
        assert not is_held_out(text)


def test_parts_are_put_in_and_one_alternative_is_taken(monkeypatch):
    monkeypatch.setitem(grammar()['parts'], 'say', ['say', '(tell|give) me'])
    made = {phrases._made('(please|) <say>  (it|) <say>', Random(seed)) for seed in range(500)}
    ways = ['say', 'tell me', 'give me']
    expected = {
        ' '.join(f'{first} {way} {it} {again}'.split())
        for first in ('please', '')
        for way in ways
        for it in ('it', '')
        for again in ways
    }
    assert made == expected


@pytest.mark.parametrize(
    'kind',
    ['cue_set', 'command', 'delegate', 'chatter', 'running_speech', 'robot_open', 'time_set'],
)
def test_there_is_something_new_to_test(kind):
    new = [phrase for phrase in draw(kind, 300, 'test') if phrase.split == 'test']
    assert len({phrase.text for phrase in new}) >= 15


def test_lists_of_words_call_nobody():
    for phrase in draw('word_list', 500):
        words = phrase.text.split()
        assert 3 <= len(words) == len(set(words)) <= 7
        assert not {'robot', 'stop', 'wait', 'halt', 'hello'} & set(words)


def test_texts_are_dealt_out_as_stated():
    counts = [split_of(f'sentence number {i}') for i in range(20_000)]
    for split, share in (('train', 0.85), ('val', 0.05), ('test', 0.10)):
        assert counts.count(split) / len(counts) == pytest.approx(share, abs=0.01)


def test_cues_of_one_phrase_differ_and_are_said_in_order():
    for phrase in draw('cue_set', 500):
        pairs = phrase.meaning['cues']
        assert len({cue for cue, _ in pairs}) == len(pairs) <= 3
        words = phrase.text.split()
        places = [words.index(cue) for cue, _ in pairs]
        assert places == sorted(places)
        assert {answer for _, answer in pairs} <= set(words)
    assert {len(phrase.meaning['cues']) for phrase in draw('cue_set', 200)} == {1, 2, 3}


def test_cues_inside_sentences_are_named():
    for phrase in draw('running_speech', 300):
        assert phrase.meaning['cues']
        words = phrase.text.split()
        known = set(grammar()['slots']['cue'])
        assert sorted(phrase.meaning['cues']) == sorted(w for w in words if w in known)


def test_times_are_those_that_can_be_kept():
    for phrase in draw('time_set', 500):
        seconds = phrase.meaning.get('every_s', phrase.meaning.get('in_s'))
        assert 2 <= seconds <= 60
        assert number_words(seconds) in phrase.text


def test_counts_are_within_a_hundred():
    for phrase in draw('count_set', 500):
        assert 1 <= phrase.meaning['first'] <= 100
        assert 1 <= phrase.meaning['last'] <= 100
        assert (phrase.meaning['last'] - phrase.meaning['first']) * phrase.meaning['step'] >= 0


def test_arguments_of_commands_are_spoken():
    for phrase in draw('command', 1_000):
        for name, value in phrase.meaning['arguments'].items():
            spoken = number_words(value) if name == 'distance_m' else value
            assert spoken in phrase.text or name == 'change', phrase


def test_every_skill_and_every_cue_occurs():
    skills = {phrase.meaning['skill'] for phrase in draw('command', 2_000)}
    assert skills == {
        'navigate_to', 'come_here', 'follow', 'turn', 'move', 'pick', 'place', 'bring', 'look_at',
        'wave', 'gripper', 'speed', 'stop',
    }  # fmt: skip
    cues = [phrase.text for phrase in fixed_phrases('cue_word')]
    assert len(cues) == len(set(cues)) == 26


def test_one_meter_is_singular():
    texts = [phrase.text for phrase in draw('command', 5_000) if 'meter' in phrase.text]
    assert any(' one meter' in text or text.endswith('one meter') for text in texts)
    assert not any(re.search('(?<!ty )one meters', text) for text in texts)
    assert any('ty one meters' in text for text in texts)


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        (0, 'zero'),
        (12, 'twelve'),
        (20, 'twenty'),
        (21, 'twenty one'),
        (99, 'ninety nine'),
        (100, 'one hundred'),
    ],
)
def test_numbers_are_spelt(value, words):
    assert number_words(value) == words


@settings(deadline=None)
@given(st.integers(0, 100))
def test_numbers_have_names_of_their_own(value):
    others = {number_words(other) for other in range(101) if other != value}
    assert number_words(value) not in others


def test_normalising_keeps_what_belongs_to_words():
    assert normalise("That's ENOUGH, x-ray!  (mm-hm)") == "that's enough x-ray mm hm"


@pytest.mark.parametrize('value', [-1, 101])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match='0 to 100'):
        number_words(value)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match='kind'):
        sample('sermon', Random(0))
    with pytest.raises(ValueError, match='split'):
        sample('chatter', Random(0), 'robot')
