# SPDX-License-Identifier: Apache-2.0
"""Talk in words that the robot does not know: where it comes from, and where it is used."""

from random import Random

import numpy as np
import pytest
from burst_bank import burst_clip, write_burst_bank

from interaction_node.model.data import open_talk, script_speech
from interaction_node.model.data.bank import write_shard
from interaction_node.model.data.build import plan
from interaction_node.model.data.feed import load_store
from interaction_node.model.data.phrases import split_of
from interaction_node.model.data.scripts import ScriptWriter
from interaction_node.model.data.voices import VOICES, find_voice
from interaction_node.model.tokens import default_vocabulary


@pytest.mark.usefixtures('wordnet')
def test_examples_become_sentences_of_their_split():
    drawn = {split: set() for split in ('train', 'val', 'test')}
    for split, texts in drawn.items():
        for seed in range(300):
            phrase = open_talk.open_talk(Random(seed), split)
            assert (phrase.kind, phrase.meaning, phrase.split) == ('open_talk', {}, split)
            assert split_of(phrase.text) == split
            texts.add(phrase.text)
    texts = set.union(*drawn.values())
    assert 'an entity of great size' in texts
    assert 'the dog barked all night as ever' in texts
    assert "don't run you'll be out of breath" in texts
    # Too short, a number, a command, a question, and what is no example.
    for refused in ('a dog', '1 + 1 is 2', 'go to the kitchen now', 'what does he want', 'as is'):
        assert not any(refused in text for text in texts)


@pytest.mark.usefixtures('wordnet')
def test_the_robot_learns_to_speak_from_further_sentences_too():
    robot = find_voice('piper-joe')
    more = plan(robot, seed=1)
    kinds = {phrase.kind for phrase in more}
    assert kinds == {'robot_open', 'open_talk'}
    assert all(phrase.split == 'train' for phrase in more)
    before = {phrase.text for phrase in plan(robot, seed=0)}
    new = {phrase.text for phrase in more if phrase.kind == 'robot_open'} - before
    assert len(new) > 1_000
    assert {phrase.kind for phrase in plan(robot, 1, ['open_*'])} == {'open_talk'}


def test_a_missing_wordnet_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(open_talk, 'WORDNET', tmp_path)
    open_talk._sentences.cache_clear()
    with pytest.raises(FileNotFoundError, match='wordnet-base'):
        open_talk.open_talk(Random(0), 'train')


@pytest.mark.usefixtures('wordnet')
def test_only_training_voices_say_it_and_it_can_be_had_alone():
    held_out = [voice for voice in VOICES if voice.split in ('val', 'test')]
    assert not any(p.kind == 'open_talk' for voice in held_out for p in plan(voice, 0))
    voice = find_voice('pico-us')
    assert sum(p.kind == 'open_talk' for p in plan(voice, 0)) > 20
    alone = plan(voice, 7, ['open_talk'])
    assert {phrase.kind for phrase in alone} == {'open_talk'}
    assert not plan(held_out[0], 7, ['open_talk'])


def test_it_is_talk_that_means_nothing(tmp_path, monkeypatch):
    root = write_burst_bank(tmp_path / 'bank', voices=('bursts-a',))
    text = 'a kormorm thing lay there'
    clips = [burst_clip(text, 'open_talk', {}, 'bursts-a', 'train')]
    write_shard(root / 'train' / 'bursts-a-20000.npz', clips)
    store = load_store(root, 'train', 0)
    assert 'kormorm' not in store.words('bursts-a')
    monkeypatch.setattr(script_speech, 'OPEN_SHARE', 1.0)
    heard = set()
    for seed in range(5):
        script = ScriptWriter(store, np.random.default_rng(seed), 'bursts-a').write('idle')
        assert not [e for e in script.events if e.kind not in ('open_talk', 'backchannel')]
        heard |= {word for word, _ in script.heard}
    assert 'kormorm' in heard
    vocabulary = default_vocabulary()
    assert vocabulary.word_id('kormorm') == vocabulary.ids['<unknown>']


def test_without_it_people_chat_as_before(tmp_path):
    store = load_store(write_burst_bank(tmp_path / 'bank', voices=('bursts-a',)), 'train', 0)
    writer = ScriptWriter(store, np.random.default_rng(0), 'bursts-a')
    assert {writer._talk('bursts-a') for _ in range(20)} == {'chatter'}
