# SPDX-License-Identifier: Apache-2.0
"""Words out of place: never what is held out, and nothing is asked but to name them."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from burst_bank import burst_clip, write_burst_bank

from interaction_node.model.checkpoint import build_net, preset
from interaction_node.model.data import script_speech
from interaction_node.model.data.bank import write_shard
from interaction_node.model.data.build import plan
from interaction_node.model.data.feed import load_store
from interaction_node.model.data.phrases import grammar, is_held_out, sample, split_of
from interaction_node.model.data.scramble import KIND, scramble, scrambled
from interaction_node.model.data.scripts import ScriptWriter
from interaction_node.model.data.sessions import SessionFactory
from interaction_node.model.data.tensors import collate
from interaction_node.model.data.voices import VOICES
from interaction_node.model.losses import compute_losses, to_tensors
from interaction_node.model.tokens import default_vocabulary


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    root = write_burst_bank(tmp_path_factory.mktemp('bank'))
    clip = burst_clip('count the seven kitchen', KIND, {}, 'bursts-a', 'train')
    write_shard(root / 'train' / 'bursts-a-scrambled-00000.npz', [clip])
    return load_store(root, 'train', 1)


def test_something_is_changed_and_all_comes_from_what_was_given():
    parts = ['please', 'go', 'to', 'the', 'kitchen', 'now']
    made = [scramble(parts, lambda: 'x', Random(seed)) for seed in range(300)]
    assert all(set(each) <= {*parts, 'x'} and each for each in made)
    assert sum(each == parts for each in made) < 6  # the first cannot change places
    assert {len(each) for each in made} >= {4, 5, 6, 7, 8}
    assert len({tuple(each) for each in made}) > 200


def test_what_cannot_be_replaced_stays():
    parts = ['go', 'on']
    made = [scramble(parts, lambda: None, Random(seed)) for seed in range(50)]
    assert all(made) and {word for each in made for word in each} == set(parts)
    assert scramble(['stop'], lambda: None, Random(3)) == ['stop']


@pytest.mark.parametrize('split', ['train', 'val'])
def test_scrambled_phrases_are_of_their_split(split):
    made = [scrambled(Random(seed), split) for seed in range(150)]
    assert made == [scrambled(Random(seed), split) for seed in range(150)]
    assert {(each.kind, each.split) for each in made} == {(KIND, split)}
    assert all(split_of(each.text) == split and len(each.text.split()) > 2 for each in made)
    if split == 'train':
        assert not any(is_held_out(each.text) for each in made)


def test_of_an_unknown_split_there_are_none():
    with pytest.raises(ValueError, match=r"split must be .* got 'dev'"):
        scrambled(Random(0), 'dev')


@pytest.mark.parametrize('kind', ['command', 'cue_set', 'time_set', 'count_set'])
def test_held_out_are_templates_of_other_splits_and_none_that_is_trained(kind):
    assert not any(is_held_out(sample(kind, Random(seed), 'train').text) for seed in range(200))
    tested = [sample(kind, Random(seed), 'test') for seed in range(200)]
    templates = {
        template
        for family in grammar()['kinds'][kind]
        for template in family.get('varied', ())
        if split_of(template) == 'test'
    }
    assert templates
    assert any(is_held_out(each.text) for each in tested)


def test_slots_of_a_held_out_template_hold_what_they_may_and_nothing_else():
    assert is_held_out('count for me to forty two')  # 'count for me to {number}'
    assert not is_held_out('count for me to the kitchen')


def test_only_training_voices_say_them():
    held_out = [voice for voice in VOICES if voice.split in ('val', 'test')]
    assert not any(p.kind == KIND for voice in held_out for p in plan(voice, 0))
    trained = next(voice for voice in VOICES if voice.split == 'train')
    assert {p.kind for p in plan(trained, 5, [KIND])} == {KIND}


def test_sessions_of_them_ask_for_words_and_for_nothing_else(store):
    vocabulary = default_vocabulary()
    factory = SessionFactory(store, vocabulary, 2, {KIND: 1.0})
    sessions = [replace(factory.make(), frames_N=None, phase_N3=None) for _ in range(4)]
    batch = collate(sessions, vocabulary, np.random.default_rng(0), heard_tokens=True)
    assert (batch.label_BT == -100).all()
    assert (batch.heard_BNS > 0).sum() > 40
    assert not any(out for session in sessions for out in session.out)


def test_a_batch_that_asks_for_words_only_has_a_loss(store):
    vocabulary = default_vocabulary()
    factory = SessionFactory(store, vocabulary, 2, {KIND: 1.0})
    made = [replace(factory.make(), frames_N=None, phase_N3=None) for _ in range(2)]
    batch = collate(made, vocabulary, np.random.default_rng(0), heard_tokens=True)
    net = build_net(preset('tiny', len(vocabulary)))
    boundaries = torch.zeros(len(vocabulary), dtype=torch.bool)
    losses = compute_losses(net, to_tensors(batch, torch.device('cpu')), boundaries)
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_words_around_a_phrase_change_nothing_that_it_means(store, monkeypatch):
    monkeypatch.setattr(script_speech, 'DRESSED_SHARE', 1.0)
    writer = ScriptWriter(store, np.random.default_rng(0), 'bursts-a')
    texts = set()
    for seed in range(300):
        phrase = sample('command', Random(seed))
        dressed = writer._dressed(phrase)
        assert dressed.meaning == phrase.meaning and phrase.text in dressed.text
        assert not is_held_out(dressed.text)
        texts.add(dressed.text.replace(phrase.text, '...'))
    assert len(texts) > 60


def test_an_utterance_has_words_of_the_same_voice_around_it(store, monkeypatch):
    monkeypatch.setattr(script_speech, 'DRESSED_SHARE', 1.0)
    before, after = store.words('bursts-a')[:2]
    monkeypatch.setattr(script_speech, '_BEFORE', (before,))
    monkeypatch.setattr(script_speech, '_AFTER', (after,))
    writer = ScriptWriter(store, np.random.default_rng(0), 'bursts-a')
    said = store.pick(np.random.default_rng(0), 'bursts-a', 'command')
    dressed = [writer._dressed_up(said) for _ in range(30)]
    assert {each.text for each in dressed} == {
        f'{before} {said.text}',
        f'{said.text} {after}',
        f'{before} {said.text} {after}',
    }
    assert all(each.meaning == said.meaning for each in dressed)
    for each in dressed:
        assert ' '.join(word for *_, word in writer._segments(each)) == each.text
