# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import soundfile
from fakes import DigestModel
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node import run_folder
from interaction_node.model.interface import TURN_SAMPLES
from interaction_node.offline_run import OfflineRun
from interaction_node.sample_folder import load_sample, word_chunks

FAKE = ('--factory', 'fakes:load_session')


def write_sample(folder, seconds=2.0, rate_hz=16_000, channels=1, lines=()):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(lines))
    pcm = rng.integers(-9000, 9000, (round(seconds * rate_hz), channels)).astype(np.int16)
    soundfile.write(folder / 'input.wav', pcm, rate_hz)
    if lines:
        (folder / 'text.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    return pcm


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(source, target, *options):
    return run_folder.main(['--input', str(source), '--output', str(target), *FAKE, *options])


def test_writes_everything_at_the_right_time(tmp_path):
    lines = [
        {'t': 0.0, 'text': 'say one two'},
        {'t': 0.85, 'text': 'go kitchen'},
        {'t': 0.85, 'text': 'plan a tour'},
        {'t': 1.25, 'text': 'three', 'role': 'PLANNER'},
    ]
    write_sample(tmp_path / 'in', 1.9, lines=lines)
    assert run(tmp_path / 'in', tmp_path / 'out') == 0

    pcm, rate_hz = soundfile.read(tmp_path / 'out/output.wav', dtype='int16')
    assert (rate_hz, pcm.shape) == (16_000, (30_400,))
    audible = [bool(pcm[i : i + 3200].any()) for i in range(0, len(pcm), 3200)]
    assert audible == [False, True, True, False, False, False, False, True, False, False]
    transcript = json.loads((tmp_path / 'out/output.json').read_text())
    assert transcript['text'] == 'one two three'
    starts = [chunk['timestamp'][0] for chunk in transcript['chunks']]
    assert starts == pytest.approx([0.2, 0.4, 1.4], abs=0.01)
    (intent,) = read_jsonl(tmp_path / 'out/intents.jsonl')
    assert intent == {
        't': 1.0,
        'skill': 'navigate_to',
        'arguments': {'place': 'kitchen'},
        'phase': 'start',
        'priority': 1,
        'confidence': 0.9,
    }
    assert read_jsonl(tmp_path / 'out/plan_requests.jsonl') == [{'t': 1.0, 'goal': 'a tour'}]
    turns = read_jsonl(tmp_path / 'out/micro_turns.jsonl')
    assert [turn['index'] for turn in turns] == list(range(10))
    assert turns[0] | {'step_ms': 0} == {
        'index': 0,
        't': 0.2,
        'step_ms': 0,
        'text': 'one',
        'control': 'speak',
    }


def test_a_folder_of_samples_gives_a_folder_of_results(tmp_path):
    for name in ('a', 'b'):
        write_sample(tmp_path / 'in' / name, 0.5)
    assert run(tmp_path / 'in', tmp_path / 'out') == 0
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['a', 'b']
    assert len(list((tmp_path / 'out/a').iterdir())) == 5


@pytest.mark.parametrize(('rate_hz', 'channels'), [(48_000, 2), (44_100, 1), (8_000, 1)])
def test_other_rates_and_channels_keep_the_length(tmp_path, rate_hz, channels):
    write_sample(tmp_path / 'in', 1.0, rate_hz, channels)
    assert run(tmp_path / 'in', tmp_path / 'out', '--checkpoint', 'digest') == 0
    assert soundfile.info(tmp_path / 'out/output.wav').frames == 16_000


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5 * TURN_SAMPLES))
def test_the_own_voice_is_the_speech_of_the_step_before(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp('sample')
    pcm = write_sample(folder, samples / 16_000)[:, 0]
    heard, spoken = [], [np.zeros(TURN_SAMPLES, np.int16)]

    class Ears(DigestModel):
        def step(self, turn):
            result = super().step(turn)
            heard.append(turn)
            silence = np.zeros(TURN_SAMPLES, np.int16)
            spoken.append(silence if result.speech is None else result.speech)
            return result

    offline = OfflineRun(load_sample(folder), Ears())
    assert list(offline.steps()) == list(range(-(-samples // TURN_SAMPLES)))
    for turn, own_pcm in zip(heard, spoken, strict=False):
        np.testing.assert_array_equal(turn.own_pcm, own_pcm)
    everything = np.concatenate([np.zeros(0, np.int16), *(turn.user_pcm for turn in heard)])
    np.testing.assert_array_equal(everything[:samples], pcm)
    assert not everything[samples:].any()


def test_words_end_where_the_sound_ends():
    pcm = np.zeros(16_000, np.int16)
    pcm[3_500:6_000] = 5_000
    pcm[9_600:11_200] = 5_000
    chunks = word_chunks([(0.2, 'one two'), (0.6, 'three')], pcm)
    assert [chunk['text'] for chunk in chunks] == ['one', 'two', 'three']
    assert [chunk['timestamp'] for chunk in chunks] == [[0.219, 0.297], [0.297, 0.375], [0.6, 0.7]]


@pytest.mark.parametrize(
    ('text', 'options', 'message'),
    [
        ('{"t": 0, "role": "QUEEN", "text": "x"}', (), 'text.jsonl, line 1'),
        ('not json', (), 'text.jsonl, line 1'),
        ('', ('--checkpoint', 'missing'), "no checkpoint 'missing'"),
        ('', ('--factory', 'nowhere'), "model.factory is 'nowhere'"),
    ],
)
def test_wrong_input_is_named(tmp_path, capsys, text, options, message):
    write_sample(tmp_path / 'in', 0.2)
    (tmp_path / 'in/text.jsonl').write_text(text)
    assert run(tmp_path / 'in', tmp_path / 'out', *options) == 1
    assert message in capsys.readouterr().err


def test_a_folder_without_samples_is_named(tmp_path, capsys):
    assert run(tmp_path, tmp_path / 'out') == 1
    assert 'expected input.wav' in capsys.readouterr().err
