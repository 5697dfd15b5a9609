# SPDX-License-Identifier: Apache-2.0
"""The synthesiser for other words: pieces, blocks, word times, a worker that dies."""

import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_node.model import open_voice
from interaction_node.model.open_voice import OpenVoice, split_text
from interaction_node.model.open_voice_worker import match_words, sound_groups, with_durations
from interaction_node.model.recital import Recital, Spoken

# Says each word as half a second of a constant, at 8 kHz; dies at 'crash', hangs at 'slow'.
FAKE_WORKER = """
import array, json, sys, time
for line in sys.stdin:
    words = json.loads(line)['text'].lower().strip('.').split()
    if 'crash' in words:
        sys.exit(3)
    time.sleep(0.5 * ('slow' in words))
    pcm = array.array('h', [1000] * (4000 * len(words)))
    timed = [[w, 4000 * i, 4000 * i + 4000] for i, w in enumerate(words)]
    head = {'rate_hz': 8000, 'samples': len(pcm), 'words': timed}
    sys.stdout.buffer.write(json.dumps(head).encode() + b'\\n' + pcm.tobytes())
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def voice(tmp_path, monkeypatch):
    worker = tmp_path / 'worker.py'
    worker.write_text(FAKE_WORKER)
    monkeypatch.setattr(open_voice, '_WORKER', worker)
    monkeypatch.setattr(open_voice, '_installed', lambda engine, python: engine == 'piper')
    made = OpenVoice()
    yield made
    made.close()


def wait_for(condition, timeout_s=10):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_say_gives_16_khz_and_word_times(voice):
    spoken = voice.say('hello big world')
    assert spoken.voice == 'piper' and spoken.pcm.dtype == np.int16
    assert spoken.duration_s == pytest.approx(1.5, abs=0.01)
    assert spoken.words == (('hello', 0.0, 0.5), ('big', 0.5, 1.0), ('world', 1.0, 1.5))


def test_nothing_but_say_waits(voice):
    began_s = time.monotonic()
    recital = voice.recite('slow words come late')
    assert recital.block() is None and not recital.done
    assert time.monotonic() - began_s < 0.1
    wait_for(lambda: recital.ready)
    assert recital.block().words == ('slow',)


def test_a_prepared_text_is_there_at_once(voice):
    voice.prepare('one two three')
    wait_for(lambda: voice.poll('one two three') is not None)
    assert voice.recite('one two three').ready


def test_words_come_in_the_block_in_which_they_sound(voice):
    recital = voice.recite('one two three')
    wait_for(lambda: recital.ready)
    blocks = []
    while not recital.done:
        blocks.append(recital.block())
    assert [block.words for block in blocks] == [
        ('one',), (), ('two',), (), (), ('three',), (), (),
    ]  # fmt: skip
    assert [block.last for block in blocks] == [False] * 7 + [True]
    assert all(block.pcm.shape == (3200,) for block in blocks)
    assert recital.said == ['one', 'two', 'three']


def test_pieces_join_without_a_gap(voice):
    text = 'alpha bravo. charlie delta.'
    recital = voice.recite(text)
    blocks = []
    while not recital.done:
        wait_for(lambda: recital.ready)
        blocks.append(recital.block())
    assert [word for block in blocks for word in block.words] == text.replace('.', '').split()
    assert len(blocks) == 10
    assert all(block.pcm[1000:2000].all() for block in blocks)


def test_stop_fades_and_drops_the_rest(voice):
    recital = voice.recite('one two three')
    wait_for(lambda: recital.ready)
    recital.block()
    tail = recital.stop()
    assert tail[:100].all() and not tail[320:].any()
    assert recital.done and recital.block() is None and recital.said == ['one']


def test_a_dead_worker_is_told_and_does_not_hang(voice):
    with pytest.raises(RuntimeError, match='worker ended with 3'):
        voice.say('crash now')
    assert voice.engine == ''
    with pytest.raises(RuntimeError, match='no speech engine'):
        voice.say('hello')


def test_a_text_that_nobody_can_speak_ends(voice):
    recital = voice.recite('crash now')
    wait_for(lambda: recital.ready or recital.done)
    assert recital.block() is None and recital.done


def test_a_forgotten_piece_is_spoken_again(voice):
    voice._cache = 1
    recital = voice.recite('one two. three four. five six.')
    words = []
    while not recital.done:
        wait_for(lambda: recital.ready)
        words += recital.block().words
    assert words == ['one', 'two', 'three', 'four', 'five', 'six']


def test_a_slow_worker_times_out(voice):
    with pytest.raises(TimeoutError, match='slow'):
        voice.say('slow', timeout_s=0.05)


def test_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine: 'festival'"):
        OpenVoice('festival')


@pytest.mark.skipif(not shutil.which('espeak-ng'), reason='espeak-ng is not installed')
def test_espeak_speaks():
    voice = OpenVoice('espeak-ng')
    spoken = voice.say('hello there')
    voice.close()
    assert [word for word, _, _ in spoken.words] == ['hello', 'there']
    assert 0.4 < spoken.duration_s < 2 and np.abs(spoken.pcm).max() > 1000


@given(
    st.lists(st.sampled_from(['one', 'two,', 'three.', 'four', 'five;', '-', 'six']), max_size=60)
)
def test_split_keeps_every_word_in_order(words):
    pieces = split_text(' '.join(words))
    assert ' '.join(pieces).split() == [word for word in words if word != '-']
    assert all(len(piece.split()) <= 14 for piece in pieces)
    assert not pieces or len(pieces[0].split()) <= 8


def test_words_that_run_together_share_their_sounds():
    groups = [(0, 300, 3), (300, 800, 5), (900, 1300, 4)]
    matched = match_words(groups, ['one', 'of', 'the', 'cats'], [3, 2, 3, 4])
    assert matched == [('one', 0, 300), ('of', 300, 500), ('the', 500, 800), ('cats', 900, 1300)]


def test_a_word_said_in_parts_is_one_word():
    groups = [(0, 100, 2), (150, 400, 3), (500, 700, 4)]
    matched = match_words(groups, ['x-ray', 'cats'], [5, 4])
    assert matched == [('x-ray', 0, 400), ('cats', 500, 700)]


def test_pauses_separate_groups_of_sounds():
    sounds = [('^', 100), ('h', 50), ('i', 60), (' ', 10), ('y', 70), ('.', 30), ('$', 10)]
    alignments = [SimpleNamespace(phoneme=p, num_samples=n) for p, n in sounds]
    assert sound_groups(alignments) == [(100, 210, 2), (220, 290, 1)]


def test_voices_without_durations_are_left_alone():
    assert with_durations(b'model') == b'model'
    assert with_durations(b'x/Ceil_output_0x').startswith(b'x/Ceil_output_0x:')


def test_recital_waits_for_pieces_in_order():
    ready = {}
    recital = Recital(['a', 'b'], ready.get)
    ready['b'] = Spoken('b', np.ones(3200, np.int16), (('b', 0.0, 0.2),), 'fake')
    assert recital.block() is None
    ready['a'] = Spoken('a', np.ones(1600, np.int16), (('a', 0.0, 0.1),), 'fake')
    assert recital.block().words == ('a', 'b')
    assert recital.block().pcm[1600:].sum() == 0
    assert recital.done
