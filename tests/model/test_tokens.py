# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_node.model.skills import Slot, parse_act
from interaction_node.model.tokens import (
    SKILLS,
    Vocabulary,
    default_vocabulary,
    normalise,
    number_words,
    parse_number,
)


def test_every_number_is_spelled_and_parsed():
    for number in range(101):
        assert parse_number(number_words(number).split()) == number


def test_numbers_beyond_the_range_are_refused():
    with pytest.raises(ValueError, match='number: 101'):
        number_words(101)


def test_every_word_of_a_number_has_a_token():
    vocabulary = default_vocabulary()
    for number in range(101):
        assert all(word in vocabulary.ids for word in number_words(number).split())


def test_words_outside_the_vocabulary_are_spelled():
    vocabulary = Vocabulary(['go'])
    tokens = [vocabulary.tokens[i] for i in vocabulary.encode('Go, zab!')]
    assert tokens == ['go', '_z', '+a', '+b']


def test_a_vocabulary_without_duplicates_is_demanded():
    with pytest.raises(ValueError, match='duplicates'):
        Vocabulary(['go', 'go'])


@given(st.text(max_size=60))
def test_any_text_can_be_encoded(text):
    vocabulary = default_vocabulary()
    assert all(0 <= token < len(vocabulary) for token in vocabulary.encode(text))


def test_digits_become_words():
    assert normalise('Go 12 m, x-ray!') == ['go', 'twelve', 'm', 'x-ray']


@pytest.mark.parametrize(
    ('skill', 'words', 'arguments'),
    [
        ('navigate_to', ['charging', 'station'], {'place': 'charging station'}),
        ('move', ['forward', 'twenty', 'one'], {'direction': 'forward', 'distance_m': 21}),
        ('bring', ['red', 'cup'], {'colour': 'red', 'object': 'cup'}),
        ('bring', ['cup'], {'object': 'cup'}),
        ('stop', [], {}),
        ('move', ['forward'], None),
        ('pick', ['red'], None),
        ('wave', ['cup'], None),
        ('turn', [], None),
    ],
)
def test_acts_are_parsed(skill, words, arguments):
    assert parse_act(skill, words) == arguments


def test_an_unknown_skill_is_refused():
    with pytest.raises(ValueError, match='fly'):
        parse_act('fly', [])
    assert 'stop' in SKILLS


TAUGHT = {
    'water': (Slot('plant', ('fern', 'lemon tree', 'lemon')), Slot('cups', optional=True)),
    'dock': (),
    'bring': (Slot('colour', ('red', 'purple'), True), Slot('object', ('cup',))),
}


@pytest.mark.parametrize(
    'skill, text, arguments',
    [
        ('water', 'fern', {'plant': 'fern'}),
        ('water', 'lemon tree', {'plant': 'lemon tree'}),
        ('water', 'lemon twenty one', {'plant': 'lemon', 'cups': 21}),
        ('water', 'cactus', None),
        ('water', '', None),
        ('water', 'fern now', None),
        ('dock', '', {}),
        ('dock', 'now', None),
        ('bring', 'purple cup', {'colour': 'purple', 'object': 'cup'}),
        ('bring', 'cup', {'object': 'cup'}),
        ('bring', 'blue cup', None),
        ('wave', '', {}),
    ],
)
def test_a_taught_skill_takes_its_arguments_in_order(skill, text, arguments):
    assert parse_act(skill, text.split(), TAUGHT) == arguments


def test_a_taught_skill_is_no_word():
    vocabulary = Vocabulary(['go', 'fern', '<water>', 'dock'], TAUGHT)
    assert vocabulary.skills == (*SKILLS, 'water')
    assert vocabulary.words == ['go', 'fern', '<water>', 'dock']
    assert not vocabulary.is_word(vocabulary['<water>'])
    assert vocabulary.is_word(vocabulary['dock'])
