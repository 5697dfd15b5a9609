# SPDX-License-Identifier: Apache-2.0
"""Sessions for training, made from a tiny bank of noise bursts that stand in for words."""

import os
import shutil
import time

import numpy as np
import pytest
from burst_bank import burst_clip, write_burst_bank

from interaction_node.model.data import script_speech
from interaction_node.model.data.features import (
    REFERENCE_RMS,
    in_rhythm,
    other_rhythm,
    speech_rms,
    utterance,
)
from interaction_node.model.data.feed import LENGTHS, Feed, Packer, load_store, tokens_of
from interaction_node.model.data.mixing import (
    Piece,
    add_power,
    bend,
    blur,
    reverberate,
    to_log,
    vocal_tract,
)
from interaction_node.model.data.recomposed import Recomposed, choose_swaps, swap_meaning
from interaction_node.model.data.scripts import THEMES, ScriptWriter
from interaction_node.model.data.sessions import SessionFactory, _mask_moments
from interaction_node.model.data.store import SpeechStore
from interaction_node.model.data.tensors import _as_heard, collate
from interaction_node.model.losses import to_tensors
from interaction_node.model.mel import HOP, MELS, mel_levels, mel_magnitude
from interaction_node.model.timer import timer_after
from interaction_node.model.tokens import default_vocabulary, number_words


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
    return write_burst_bank(tmp_path_factory.mktemp('bank'))


@pytest.fixture(scope='module')
def store(bank):
    return load_store(bank, 'train', 1)


@pytest.fixture
def vocabulary():
    return default_vocabulary()


@pytest.mark.parametrize('theme', list(THEMES))
def test_every_theme_makes_sessions_that_can_be_laid_out(store, vocabulary, theme):
    factory = SessionFactory(store, vocabulary, 4, {theme: 1.0})
    made = [factory.make() for _ in range(8)]
    # A batch is all with pictures or all without.
    has_video = made[0].frames_N is not None
    sessions = [session for session in made if (session.frames_N is not None) == has_video]
    batch = collate(sessions, vocabulary, np.random.default_rng(0), replace=0.0)
    for row, session in enumerate(sessions):
        turns = len(session.out)
        assert batch.valid_BN[row].sum() == turns
        ids = batch.ids_BT[row]
        assert (ids[batch.audio_pos_BN[row, :turns]] == vocabulary['<audio>']).all()
        opening = ids[batch.turn_pos_BN[row, :turns]]
        assert np.isin(opening, [vocabulary['<silent>'], vocabulary['<speak>']]).all()
        labels = batch.label_BT[row][batch.label_BT[row] >= 0]
        learned = [out for n, out in enumerate(session.out) if n not in session.unasked]
        assert len(labels) == len(learned) + sum(map(len, learned))
        # What is predicted at one position is what is read at the next, boundaries included.
        asked = np.flatnonzero(batch.label_BT[row] >= 0)[:-1]
        np.testing.assert_array_equal(ids[asked + 1], batch.label_BT[row, asked])


def test_phrases_are_assembled_from_words_of_a_voice_and_others_where_it_has_none(
    store, monkeypatch
):
    monkeypatch.setattr(script_speech, 'ASSEMBLED_SHARE', 1.0)
    voice = store.voices[0]
    writer = ScriptWriter(store, np.random.default_rng(2), voice)
    writer._typing = False
    known = {utterance.text for each in store.kinds(voice).values() for utterance in each}
    made = [writer._phrase(kind) for kind in ('command', 'cue_set', 'interruption') * 20]
    assembled = [phrase for phrase in made if isinstance(phrase, Recomposed)]
    assert {phrase.text for phrase in assembled} - known
    for phrase in assembled:
        assert [word for *_, word in phrase.parts] == phrase.text.split()
        for source, *_, word in phrase.parts:
            assert (source.voice == voice) == (word in store.words(voice))
        assert all(first < last <= source.frames for source, first, last, _ in phrase.parts)


def test_who_writes_can_write_everything(store, monkeypatch):
    monkeypatch.setattr(script_speech, 'TYPED_SHARE', 1.0)
    writer = ScriptWriter(store, np.random.default_rng(2), store.voices[0])
    texts = {writer._phrase('interruption').text for _ in range(200)}
    assert len(texts) > 60  # as many as that no voice of the store has said


def test_nothing_is_assembled_for_validation(store, monkeypatch):
    monkeypatch.setattr(script_speech, 'ASSEMBLED_SHARE', 1.0)
    writer = ScriptWriter(store, np.random.default_rng(2), store.voices[0], 'val')
    made = [writer._phrase(kind) for kind in ('interruption', 'address') * 20]
    assert not any(isinstance(phrase, Recomposed) for phrase in made)


def test_sessions_are_reproducible(store, vocabulary):
    one, other = (SessionFactory(store, vocabulary, 9) for _ in range(2))
    for _ in range(6):
        first, second = one.make(), other.make()
        assert first.out == second.out
        assert first.theme == second.theme
        np.testing.assert_array_equal(first.user_NFM, second.user_NFM)


def test_it_is_given_orders_while_it_counts(store, vocabulary):
    factory = SessionFactory(store, vocabulary, 5, {'count': 1.0})
    act, both = vocabulary['<act>'], 0
    for _ in range(60):
        session = factory.make()
        counted = [n for n, speaks in enumerate(session.speak) if speaks]
        acts = [n for n, out in enumerate(session.out) if act in out]
        both += any(counted[0] < n < counted[-1] for n in acts) if counted else 0
    assert both > 10


def test_a_cue_inside_an_instruction_is_no_cue(store):
    writer = ScriptWriter(store, np.random.default_rng(0), 'bursts-a', limit=300)
    writer._typing = False
    for _ in range(20):
        script = writer.write('cue')
        first, last = script.instructions[0]
        cues = [e.frame for e in script.events if e.kind == 'cue_word']
        assert not any(first < frame <= last for frame in cues)


def test_mixing_levels_is_close_to_mixing_samples(bank):
    rng = np.random.default_rng(0)
    clips = [burst_clip(text, 'chatter', {}, 'v', 'train') for text in ('a b c', 'd e f')]
    sources = [utterance(clip, ('', i), None) for i, clip in enumerate(clips)]
    starts, gains_db = (5, 9), (-3.0, 2.0)
    power = np.full((80, MELS), 1e-10, np.float32)
    samples = rng.standard_normal(80 * HOP).astype(np.float32) * 1e-6
    for clip, source, start, gain_db in zip(clips, sources, starts, gains_db, strict=True):
        piece = Piece(source, 0, source.frames, start, gain_db)
        add_power(power, piece, np.ones(MELS, np.float32))
        audio = clip.audio.astype(np.float32) / 32768
        audio *= REFERENCE_RMS / speech_rms(audio) * 10 ** (gain_db / 20)
        samples[start * HOP : start * HOP + len(audio)] += audio[: len(samples) - start * HOP]
    exact = mel_levels(mel_magnitude(samples)) / 255
    loud = exact > 0.35
    difference = np.abs(to_log(power) - exact)[loud]
    assert loud.mean() > 0.3
    assert difference.mean() < 0.02


def test_bent_vowels_keep_the_order_of_frequencies_and_all_power():
    rng = np.random.default_rng(0)
    for _ in range(200):
        change_MM = vocal_tract(float(rng.uniform(0.85, 1.17)), bend(rng))
        np.testing.assert_allclose(change_MM.sum(0), 1, atol=1e-5)
        reads_from = (np.arange(MELS)[:, None] * change_MM).sum(0)
        assert (np.diff(reads_from) > -1e-3).all()


def test_overtones_that_merge_keep_their_power():
    overtones = np.zeros(MELS, np.float32)
    overtones[20:40:2] = 1.0
    merged = overtones @ blur(1.2)
    assert merged[22:38].std() < 0.1 * overtones[22:38].std()
    assert merged.sum() == pytest.approx(overtones.sum(), rel=0.02)


def test_moments_of_practice_are_silenced_here_and_there():
    power = np.ones((3600, MELS), np.float32)
    _mask_moments(power, np.random.default_rng(3))
    silenced = (power < 0.5).all(axis=1)
    assert 0.01 < silenced.mean() < 0.15
    assert (power[~silenced] == 1).all()
    lengths = np.diff(np.flatnonzero(np.diff(silenced, prepend=False, append=False)))[::2]
    assert np.median(lengths) <= 5


def test_a_room_adds_a_tail_that_fades_and_nothing_before_the_sound():
    power = np.zeros((60, MELS), np.float32)
    power[20] = 1.0
    tails = []
    for seed in range(30):
        heard = reverberate(power, np.random.default_rng(seed))
        assert heard.dtype == np.float32
        assert not heard[:20].any()
        ripple_db = 10 * np.log10(heard[20])
        assert 0.2 < ripple_db.std() < 4
        assert abs(ripple_db.mean()) < 2
        tail = heard[21:].sum(axis=1)
        assert 0 < tail[30:].sum() + 1e-9 < tail[:9].sum()
        tails.append(tail.sum() / MELS)
    # From a mouth close by to more sound from the walls than from the mouth.
    assert min(tails) < 0.2
    assert max(tails) > 1.5


def test_batches_keep_to_the_token_budget(store, vocabulary):
    packer, factory = Packer(2400), SessionFactory(store, vocabulary, 2)
    full = [packer.add(factory.make()) for _ in range(60)]
    full = [each for each in full if each]
    assert full
    for sessions, length in full:
        assert length in LENGTHS
        assert len(sessions) * length <= 2400
        assert max(map(tokens_of, sessions)) <= length


def test_tensors_have_the_names_that_the_network_reads(store, vocabulary):
    import torch

    factory = SessionFactory(store, vocabulary, 5, {'watch_count': 1.0})
    batch = collate([factory.make()], vocabulary, np.random.default_rng(0))
    tensors = to_tensors(batch, torch.device('cpu'))
    assert tensors['frames'].shape[2:] == (2, 80, 120, 3)
    assert set(tensors) >= {'ids', 'user', 'own', 'label', 'heard', 'phase', 'video_pos'}


def test_heard_words_are_tokens_that_keep_to_the_length(store, vocabulary):
    factory = SessionFactory(store, vocabulary, 6, {'words': 1.0})
    for _ in range(10):
        session = factory.make()
        length = tokens_of(session)
        batch = collate(
            [session],
            vocabulary,
            np.random.default_rng(0),
            length=length,
            heard_tokens=True,
            mishear=3.0,
        )
        places = batch.heard_pos_BNS[batch.heard_pos_BNS >= 0]
        assert len(places)
        assert all(vocabulary.is_word(token) for token in batch.ids_BT[0, places])


def test_a_timer_counts_from_its_mark_and_names_whole_seconds(store, vocabulary):
    factory = SessionFactory(store, vocabulary, 7, {'time': 1.0})
    mark, ends = vocabulary['<mark>'], 0
    for _ in range(20):
        session = next(each for each in iter(factory.make, None) if each.turns_N is None)
        batch = collate([session], vocabulary, np.random.default_rng(0))
        elapsed = 0
        for turn, out in enumerate(session.out):
            assert batch.since_BN[0, turn] == elapsed
            named = [vocabulary.tokens[token] for token in session.text_in[turn]]
            assert (mark in session.text_in[turn]) == (elapsed > 0 and elapsed % 5 == 0)
            if named and '<user>' not in named:
                assert named == ['<mark>', *number_words(elapsed // 5).split()]
            ends += '<end>' in [vocabulary.tokens[token] for token in out]
            elapsed = timer_after(elapsed, [vocabulary.tokens[token] for token in out])
    assert ends


@pytest.mark.parametrize(
    ('elapsed', 'tokens', 'after'),
    [
        (0, [], 0),
        (0, ['<mark>'], 2),
        (2, ['okay'], 3),
        (25, ['<mark>', 'now'], 1),
        (25, ['<end>', 'now'], 0),
        (7, ['<act>', '<wave>', '<end>', 'okay'], 8),
        (7, ['<end>', '<act>', '<stop>', '<end>'], 0),
    ],
)
def test_a_timer_is_set_and_taken_away(elapsed, tokens, after):
    assert timer_after(elapsed, tokens) == after


def test_what_is_named_too_early_is_not_named_again_and_what_is_missed_is(store, vocabulary):
    factory = SessionFactory(store, vocabulary, 8, {'words': 1.0})
    early = late = 0
    for seed in range(20):
        session = factory.make()
        named, wanted = _as_heard(session, vocabulary, np.random.default_rng(seed), 3.0)
        for turn, spoken in enumerate(session.heard[:-1]):
            if len(spoken) != 1 or spoken[0] == vocabulary['<unknown>']:
                continue
            (word,) = spoken
            around = [*session.heard[max(0, turn - 2) : turn], *session.heard[turn + 1 : turn + 3]]
            if any(word in words for words in around):
                continue
            if turn and word in named[turn - 1]:
                assert word not in wanted[turn]
                early += 1
            elif word not in named[turn] and word in named[turn + 1]:
                assert word in wanted[turn]
                late += 1
    assert early and late


@pytest.mark.parametrize('answer', ['now', 'seven', 'ready', 'three', 'hello'])
@pytest.mark.parametrize('every_s', [7, 3, 23])
def test_a_recomposed_reminder_means_what_it_says(answer, every_s):
    spoken = number_words(every_s)
    text = f'say {answer} every {spoken} seconds'
    known = {number_words(number) for number in range(1, 11)} | {'ready', 'hello', 'yes'}
    for seed in range(40):
        meaning = {'every_s': every_s, 'answer': answer}
        swaps = choose_swaps('time_set', meaning, np.random.default_rng(seed), known)
        said = ' '.join(swaps.get(word, word) for word in text.split())
        meant = swap_meaning(meaning, swaps)
        assert said == f'say {meant["answer"]} every {number_words(meant["every_s"])} seconds'
        assert meant['every_s'] > 1


@pytest.mark.parametrize(
    ('text', 'halts'),
    [('stop it helen', True), ('hold on anna', True), ('mary stop by later', False)],
)
def test_talk_that_cannot_be_told_from_stop_in_time_is_not_practised(text, halts):
    assert script_speech.asks_for_a_halt(text) == halts
    clips = [burst_clip(text, 'chatter', {}, 'bursts-a', 'train')]
    store = SpeechStore([utterance(each, ('a', 0), None) for each in clips], [], [])
    writer = ScriptWriter(store, np.random.default_rng(0), 'bursts-a', split='val')
    assert (writer._say('chatter') is None) == halts
    assert bool(writer.script.heard) != halts


def test_several_processes_feed_one_trainer(bank):
    feed = Feed(bank, 3, 1024, variants=1, processes=2)
    try:
        batches = [feed.next() for _ in range(4)]
        ours, end_s = os.getpriority(os.PRIO_PROCESS, 0), time.monotonic() + 60
        # One may have made all of these while the other was still starting.
        while any(os.getpriority(os.PRIO_PROCESS, each.pid) <= ours for each in feed._processes):
            assert time.monotonic() < end_s, 'they get in the way of the trainer'
            time.sleep(0.1)
    finally:
        feed.close()
    assert not any(process.is_alive() for process in feed._processes)
    assert all(batch.ids_BT.shape[1] in LENGTHS for batch in batches)
    with pytest.raises(ValueError, match='processes: 0'):
        Feed(bank, 3, 1024, processes=0)


def test_features_will_do_where_their_bank_is_not(tmp_path):
    root = write_burst_bank(tmp_path / 'bank', each=2)
    whole = load_store(root, 'train', 1)
    shutil.rmtree(root)
    alone = load_store(root, 'train', 1)
    assert alone.voices == whole.voices
    for voice in whole.voices:
        ours, theirs = alone.kinds(voice), whole.kinds(voice)
        assert ours.keys() == theirs.keys()
        for kind, utterances in theirs.items():
            for one, other in zip(ours[kind], utterances, strict=True):
                assert np.array_equal(one.levels_FM, other.levels_FM)
    assert len(alone.robot_open) == len(whole.robot_open)


def test_lengths_are_those_that_were_asked_for(store, vocabulary):
    factory = SessionFactory(store, vocabulary, 3)
    packer, lengths = Packer(2_000, (384, 768)), set()
    for session in (factory.make() for _ in range(60)):
        full = packer.add(session)
        if full:
            assert all(tokens_of(each) <= full[1] for each in full[0])
            lengths.add(full[1])
    assert lengths == {384, 768}


@pytest.mark.parametrize('frames', [1, 7, 11, 150])
def test_another_rhythm_keeps_the_order(frames):
    levels = np.repeat(np.arange(frames, dtype=np.uint8)[:, None], MELS, axis=1)
    lengths = []
    for seed in range(30):
        places = other_rhythm(frames, np.random.default_rng(seed))
        assert places.shape == (frames + 1,)
        assert places[0] == 0
        assert (np.diff(places) > 0).all()
        moved = in_rhythm(levels, places)
        assert moved.shape == (int(places[-1]), MELS)
        assert (np.diff(moved.astype(int), axis=0) >= 0).all()
        for frame in range(frames):
            place = round(places[frame])
            if place < len(moved):
                assert int(moved[place, 0]) == pytest.approx(frame, abs=1.5)
        lengths.append(len(moved))
    assert frames < 100 or 0.7 * frames < min(lengths) < frames < max(lengths) < 1.5 * frames


def test_words_keep_to_their_sound_in_another_rhythm():
    clip = burst_clip('say hello when the door opens', 'cue_set', {}, 'a', 'train')
    rng = np.random.default_rng(3)
    for _ in range(20):
        said = utterance(clip, ('', 0), rng)
        assert [word for word, _, _ in said.words] == clip.text.split()
        ends = [frame for _, first, last in said.words for frame in (first, last)]
        assert ends == sorted(ends)
        assert ends[-1] <= said.frames + 1
