# SPDX-License-Identifier: Apache-2.0
"""Which sound is heard when, from the times of the words."""

import numpy as np
import pytest
from burst_bank import write_burst_bank

from interaction_node.model.data.feed import load_store
from interaction_node.model.data.mixing import Piece
from interaction_node.model.data.script_speech import Script
from interaction_node.model.data.sessions import SessionFactory, _sounds
from interaction_node.model.sounds import DELAY, SILENCE, SOUNDS, UNKNOWN, sounds_of, sounds_within
from interaction_node.model.tokens import default_vocabulary


def named(sounds):
    return [SOUNDS[sound] for sound in sounds]


def test_vowels_take_longer_than_stops():
    heard = named(sounds_of('stop', 12))
    assert sorted(set(heard), key=heard.index) == ['S', 'T', 'AA', 'P']
    assert heard.count('AA') > heard.count('T')


def test_most_words_that_the_robot_knows_have_sounds():
    words = default_vocabulary().words
    assert len(words) > 900
    assert [word for word in words if sounds_of(word, 8)[0] == UNKNOWN] == []


def test_a_word_that_nobody_knows_is_not_judged():
    assert set(sounds_of('xqzzy', 5)) == {UNKNOWN}


def test_pieces_keep_their_part_of_a_word():
    words = [('stop', 10, 22), ('now', 25, 34)]
    whole = sounds_within(words, 0, 40)
    assert set(whole[[*range(10), 22, 23, 24, *range(34, 40)]]) == {SILENCE}
    np.testing.assert_array_equal(whole[10:22], sounds_of('stop', 12))
    np.testing.assert_array_equal(sounds_within(words, 15, 30), whole[15:30])


class Spoken:
    def __init__(self, *words):
        self.words = words


class Targets:
    own = ()


def test_the_louder_of_two_is_heard_and_the_far_away_are_not_judged():
    near = Piece(Spoken(('stop', 2, 14)), 0, 16, 5, 0.0)
    softer = Piece(Spoken(('yes', 0, 20)), 0, 20, 10, -8.0)
    far = Piece(Spoken(('no', 0, 8)), 0, 8, 40, -20.0, far=True)
    heard = _sounds(Script(pieces=[near, softer, far]), Targets(), 60)
    now = heard[DELAY:]
    np.testing.assert_array_equal(now[7:19], sounds_of('stop', 12))
    np.testing.assert_array_equal(now[19:30], sounds_of('yes', 20)[9:])
    assert set(now[40:48]) == {UNKNOWN}
    assert set(now[48:]) | set(heard[: DELAY + 7]) == {SILENCE}


@pytest.mark.parametrize('theme', ['command', 'numbers'])
def test_sessions_say_what_sounds_in_each_micro_turn(tmp_path, theme):
    store = load_store(write_burst_bank(tmp_path), 'train', 1)
    session = SessionFactory(store, default_vocabulary(), 1, {theme: 1.0}).make()
    assert session.sounds_NF.shape == session.user_NFM.shape[:2]
