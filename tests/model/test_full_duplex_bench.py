# SPDX-License-Identifier: Apache-2.0
"""Full-Duplex-Bench's folders: what is written is read, and scored as if it had not been."""

import json

import numpy as np
import pytest
import soundfile
from tiny_bank import write_tiny_bank

from interaction_node.model.evaluation import full_duplex_bench as bench
from interaction_node.model.evaluation import full_duplex_run as folders
from interaction_node.model.evaluation import overlap, turn_taking
from interaction_node.model.evaluation.living import live
from interaction_node.model.evaluation.models import load_model
from interaction_node.model.evaluation.studio import Studio
from interaction_node.model.metrics import Word


@pytest.fixture(scope='module')
def studio(tmp_path_factory):
    return Studio(write_tiny_bank(tmp_path_factory.mktemp('folders') / 'bank'))


@pytest.fixture(scope='module')
def samples(studio):
    first = [turn_taking.FDB_V1.sample(studio, i) for i in range(7)]
    return first + [overlap.FDB_V15.sample(studio, i) for i in range(4)]


@pytest.fixture
def written(samples, tmp_path):
    paths = [bench.write(tmp_path, i + 1, folders.as_folder(s)) for i, s in enumerate(samples)]
    return tmp_path, paths


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_the_layout_is_the_published_one(written, samples):
    root, paths = written
    sound = {'input.wav', 'transcription.json'}
    wanted = {
        'turn': ('v1_0/candor_turn_taking', sound | {'turn_taking.json'}),
        'pause_natural': ('v1_0/candor_pause_handling', sound | {'pause.json'}),
        'pause_synthetic': ('v1_0/synthetic_pause_handling', sound | {'pause.json'}),
        'backchannel': ('v1_0/icc_backchannel', sound),
        'interruption': (
            'v1_0/synthetic_user_interruption',
            sound | {'interrupt.json', 'context.wav', 'interrupt.wav'},
        ),
    }
    for task in overlap.TASKS:
        wanted[task] = (f'v1_5/{task}', {'input.wav', 'clean_input.wav', 'metadata.json'})
    for path, sample in zip(paths, samples, strict=True):
        folder, names = wanted[sample.category]
        assert path.parent == root / folder
        assert files(path) == names
    (interrupt,) = json.loads((paths[1] / 'interrupt.json').read_text())
    assert set(interrupt) == {'context', 'interrupt', 'timestamp'}
    assert interrupt['timestamp'][1] == samples[1].truth['end_s']
    metadata = json.loads((paths[7] / 'metadata.json').read_text())
    assert set(metadata) == {'context_text', 'current_turn_text', 'timestamps'}


def test_what_is_written_is_read_again(written, samples):
    root, _ = written
    found = {int(each.folder.name): each for each in bench.read(root)}
    assert sorted(found) == list(range(1, len(samples) + 1))
    for number, sample in enumerate(samples, 1):
        wanted, got = folders.as_folder(sample), found[number]
        np.testing.assert_array_equal(got.pcm, wanted.pcm)
        assert got.task == wanted.task
        if got.is_v15:
            np.testing.assert_array_equal(got.clean_pcm, sample.clean_pcm)
            assert (got.clean_pcm != got.pcm).any()
        np.testing.assert_allclose(got.spans, wanted.spans)
        assert got.texts == wanted.texts
        assert got.truth.get('end_s') == wanted.truth.get('end_s')


@pytest.mark.parametrize('name', ['silent', 'talking'])
def test_the_score_does_not_depend_on_the_folder(written, samples, name):
    root, _ = written
    model = load_model(name)
    folders.respond(model, root)
    through = {s.name: s.value for s in folders.score(list(folders.judge(root)))}
    first = samples[:7]
    judged = [{'category': s.category, **turn_taking.judge(s, live(model, s))} for s in first]
    direct = {s.name: s.value for s in turn_taking.score_tasks('FDB-v1', judged)}
    for key in ('FDB-v1', 'FDB-v1.turn', 'FDB-v1.interruption', 'FDB-v1.latency_s'):
        assert through[key] == pytest.approx(direct[key], nan_ok=True), key
    for path in root.glob('*/*/*'):
        heard, _ = soundfile.read(path / 'input.wav', dtype='int16')
        spoken, rate_hz = soundfile.read(path / 'output.wav', dtype='int16')
        assert (len(spoken), rate_hz) == (len(heard), 16_000)
        assert (path / 'clean_output.json').exists() == (path / 'clean_input.wav').exists()


def test_after_an_interruption_only_what_was_said_then_is_handed_in(tmp_path):
    spoken = [Word('one', 0.5, 0.8), Word('two', 2.5, 2.8)]
    pcm = np.zeros(48_000, np.int16)
    sample = bench.BenchSample('interruption', pcm, ((1.0, 2.0),), ('count', 'stop'))
    folder = bench.write(tmp_path, 1, sample)
    bench.write_output(folder, sample, pcm, spoken)
    assert bench.read_output(folder) == spoken[1:]
    assert json.loads((folder / 'output.json').read_text())['text'] == 'two'


def test_transcripts_of_other_systems_are_read(tmp_path):
    chunks = [
        {'text': ' Hello', 'timestamp': [0.5, 0.9]},
        {'text': ' you', 'timestamp': [1.0, None]},
    ]
    (tmp_path / 'output.json').write_text(json.dumps({'text': ' Hello you', 'chunks': chunks}))
    assert bench.read_output(tmp_path) == [Word('Hello', 0.5, 0.9), Word('you', 1.0, 1.0)]


def test_other_rates_and_stereo_are_read(tmp_path):
    folder = tmp_path / 'icc_backchannel' / '3'
    folder.mkdir(parents=True)
    soundfile.write(folder / 'input.wav', np.full((48_000, 2), 0.25), 48_000, subtype='PCM_16')
    (sample,) = bench.read(tmp_path)
    assert (sample.task, len(sample.pcm)) == ('backchannel', 16_000)
    assert sample.pcm[8000] == pytest.approx(8192, abs=60)


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('turn_taking.json', None, 'is missing'),
        ('turn_taking.json', 'no json', 'is no JSON'),
        ('turn_taking.json', '[]', 'expected a list of marks'),
        ('turn_taking.json', '[{"timestamp": 3}]', r'expected .timestamp. to be \[start, end\]'),
    ],
)
def test_a_broken_sample_is_named(tmp_path, name, text, message):
    folder = tmp_path / 'candor_turn_taking' / '1'
    folder.mkdir(parents=True)
    soundfile.write(folder / 'input.wav', np.zeros(1600, np.int16), 16_000)
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        list(bench.read(tmp_path))
    assert str(folder) in str(caught.value)


def test_a_folder_without_samples_is_refused(tmp_path, capsys):
    assert folders.main(['--data', str(tmp_path), '--score-only']) == 1
    assert 'candor_turn_taking' in capsys.readouterr().err
