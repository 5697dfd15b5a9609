# SPDX-License-Identifier: Apache-2.0
"""Which sound is heard when, from the times of the words."""

import numpy as np
import torch
from burst_bank import write_burst_bank

from interaction_node.model.checkpoint import build_net, preset
from interaction_node.model.data.feed import load_store
from interaction_node.model.data.mixing import Piece
from interaction_node.model.data.script_speech import Script
from interaction_node.model.data.sessions import SessionFactory, _sounds
from interaction_node.model.losses import sound_loss
from interaction_node.model.mel import MELS
from interaction_node.model.sounds import (
    DELAY,
    SILENCE,
    SOUNDS,
    UNKNOWN,
    align_sounds,
    sounds_of,
    sounds_within,
)
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


def test_speech_to_practise_on_comes_with_its_sounds(tmp_path):
    store = load_store(write_burst_bank(tmp_path), 'train', 1)
    levels, sounds = SessionFactory(store, default_vocabulary(), 1).listen(3, 400)
    assert levels.shape == (3, 400, MELS)
    assert sounds.shape == (3, 400)
    assert 0 <= levels.min() < levels.max() <= 1
    assert (sounds > SILENCE).mean() > 0.2


def scores_of(sounds):
    scores = np.full((*sounds.shape, len(SOUNDS)), -5.0, np.float32)
    np.put_along_axis(scores, sounds[..., None].clip(0), -0.1, axis=2)
    return scores


def stretches(*lengths):
    return np.concatenate([np.full(frames, sound, np.int8) for sound, frames in lengths])[None]


def test_borders_of_sounds_move_to_where_they_are_heard():
    labelled = stretches((0, 10), (3, 10), (5, 10), (0, 10), (3, 10), (0, 10))
    heard = stretches((0, 13), (3, 11), (5, 4), (0, 10), (3, 14), (0, 8))
    np.testing.assert_array_equal(align_sounds(scores_of(heard), labelled), heard)


def test_borders_move_only_so_far():
    labelled, heard = stretches((0, 10), (3, 20)), stretches((0, 25), (3, 5))
    aligned = align_sounds(scores_of(heard), labelled, most=4)
    np.testing.assert_array_equal(aligned, stretches((0, 14), (3, 16)))


def test_what_nobody_knows_stays_between_its_neighbours():
    labelled = stretches((0, 8), (UNKNOWN, 8), (7, 8))
    heard = stretches((0, 10), (20, 8), (7, 6))
    expected = stretches((0, 10), (UNKNOWN, 8), (7, 6))
    np.testing.assert_array_equal(align_sounds(scores_of(heard), labelled), expected)


def test_rows_with_more_and_fewer_sounds_do_not_disturb_each_other():
    rng = np.random.default_rng(2)
    rows = [stretches((0, 6), (3, 6), (9, 6), (0, 6)), stretches((0, 12), (4, 12))]
    scores = [rng.normal(size=(1, 24, len(SOUNDS))) for _ in rows]
    together = align_sounds(np.concatenate(scores), np.concatenate(rows))
    alone = [align_sounds(*each) for each in zip(scores, rows, strict=True)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_an_ear_learns_sounds_from_speech_alone(tmp_path):
    store = load_store(write_burst_bank(tmp_path), 'train', 1)
    levels, sounds = SessionFactory(store, default_vocabulary(), 1).listen(2, 200)
    torch.manual_seed(0)
    net = build_net(preset('nano', len(default_vocabulary())))
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    batch = {
        'practice': torch.from_numpy(np.round(levels * 255).astype(np.uint8)),
        'practice_sounds': torch.from_numpy(sounds),
    }
    found = []
    for _ in range(8):
        loss, _ = sound_loss(net, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    assert found[-1] < 0.7 * found[0]
