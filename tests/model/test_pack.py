# SPDX-License-Identifier: Apache-2.0
"""Clips that are shipped: what is packed comes out, and nothing of it was trained on."""

import dataclasses

import numpy as np
import pytest
from burst_bank import write_burst_bank

from interaction_node.model.data import bank as bank_module
from interaction_node.model.data.bank import Bank, read_shard
from interaction_node.model.data.pack import (
    FACTS,
    SHIPPED,
    SOUND,
    is_for_tests,
    main,
    pack,
    shipped_bank,
    unpack,
)
from interaction_node.model.data.phrases import SHARED
from interaction_node.model.data.voices import VOICES

SPLIT_OF = {voice.key: voice.split for voice in VOICES}


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
    return write_burst_bank(tmp_path_factory.mktemp('packed') / 'bank', ('bursts-a',), each=2)


def without_sound(clip):
    return {
        field.name: getattr(clip, field.name)
        for field in dataclasses.fields(clip)
        if field.name != 'audio'
    }


def test_clips_come_out_at_their_places_and_nearly_as_they_went_in(bank, tmp_path):
    wanted = lambda clip: clip.split == 'train'  # noqa: E731
    count = pack(bank, tmp_path / 'packed', wanted)
    assert unpack(tmp_path / 'packed', tmp_path / 'bank') == count
    paths = sorted(bank.glob('train/*.npz'))
    assert sorted((tmp_path / 'bank').glob('*/*.npz')) == [
        tmp_path / 'bank' / 'train' / path.name for path in paths
    ]
    for path in paths:
        found = read_shard(tmp_path / 'bank' / 'train' / path.name)
        for one, other in zip(read_shard(path), found, strict=True):
            assert without_sound(one) == without_sound(other)
            assert len(one.audio) == len(other.audio)
            # Bursts of noise are the hardest there is for a codec; a shift would leave nothing.
            together = np.corrcoef(one.audio, other.audio)[0, 1]
            assert together > 0.6
    assert count == sum(len(read_shard(path)) for path in paths)


def test_the_same_clips_are_the_same_facts_and_shards_that_exist_stay(bank, tmp_path):
    for name in ('one', 'two'):
        pack(bank, tmp_path / name, lambda clip: clip.split == 'train')
    facts = [(tmp_path / name / FACTS).read_bytes() for name in ('one', 'two')]
    assert facts[0] == facts[1]
    unpack(tmp_path / 'one', tmp_path / 'bank')
    kept = next((tmp_path / 'bank').glob('*/*.npz'))
    kept.write_bytes(b'mine')
    unpack(tmp_path / 'one', tmp_path / 'bank')
    assert kept.read_bytes() == b'mine'


def test_what_is_missing_or_does_not_fit_is_named(bank, tmp_path, capsys):
    with pytest.raises(ValueError, match='no such clips'):
        pack(bank, tmp_path / 'none', is_for_tests)
    with pytest.raises(ValueError, match=f'has no {SOUND}'):
        unpack(tmp_path, tmp_path / 'bank')
    for name, share in (('all', 2), ('some', 1)):
        pack(bank, tmp_path / name, lambda clip, most=share: len(clip.text) % 2 < most)
    (tmp_path / 'some' / FACTS).replace(tmp_path / 'all' / FACTS)
    with pytest.raises(ValueError, match='do not belong together'):
        unpack(tmp_path / 'all', tmp_path / 'bank')
    with pytest.raises(SystemExit, match='1'):
        main(['--folder', str(tmp_path / 'nowhere'), '--bank', str(tmp_path / 'none')])
    assert 'pack: root:' in capsys.readouterr().err


def test_the_bank_of_shipped_clips_is_made_once_and_again_if_that_was_cut_short(bank, tmp_path):
    pack(bank, tmp_path / 'packed', lambda clip: clip.split == 'train')
    root = shipped_bank(tmp_path / 'packed', tmp_path / 'bank')
    shards = sorted(root.glob('train/*.npz'))
    assert shards
    shards[0].unlink()
    assert not shipped_bank(tmp_path / 'packed', root).joinpath('train', shards[0].name).exists()
    (root / 'whole').unlink()
    assert shipped_bank(tmp_path / 'packed', root).joinpath('train', shards[0].name).exists()


def test_the_shipped_training_clips_are_of_training_voices_and_their_phrases(tmp_path):
    bank_module.main(['--root', str(tmp_path), 'unpack'])
    bank = Bank.load(tmp_path, 'train')
    assert len(bank) > 1_300
    assert all(SPLIT_OF[voice] == 'train' for voice in bank.voices)
    assert {clip.text_split for clip in bank} == {'train', 'shared'}
    robot = Bank.load(tmp_path, 'robot')
    assert len(robot) > 500
    assert 'test' not in {clip.text_split for clip in robot}
    assert not list(tmp_path.glob('test/*'))


def test_it_is_said_where_the_clips_that_come_along_were_looked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        bank_module.main(['--root', str(tmp_path / 'bank'), 'unpack'])
    assert 'training_voices has no clips.opus' in capsys.readouterr().err


def test_the_shipped_clips_are_of_test_voices_and_of_phrases_that_are_not_trained(tmp_path):
    assert unpack(SHIPPED, tmp_path) > 2_000
    bank = Bank.load(tmp_path, 'test')
    speakers = set(bank.voices)
    assert speakers >= {key for key, split in SPLIT_OF.items() if split == 'test'} - {
        'festival-slt_hts'
    }
    assert all(SPLIT_OF[voice] == 'test' for voice in speakers)
    spoken = [clip for clip in bank if clip.text]
    assert all(clip.text_split in ('test', SHARED) for clip in spoken)
    assert sum(clip.kind in ('noise', 'music') for clip in bank) >= 20
    results = Bank.load(tmp_path, 'robot')
    assert len(results) > 50
    assert all((clip.kind, clip.text_split) == ('robot_open', 'test') for clip in results)
