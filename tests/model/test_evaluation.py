# SPDX-License-Identifier: Apache-2.0
"""Every stand-in set, tried by models whose scores are known: oracle, silence, constant talk."""

import dataclasses
import json
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tiny_bank import VOICES, write_tiny_bank

from interaction_node.model.data.bank import read_shard, write_shard
from interaction_node.model.evaluation import int8, run
from interaction_node.model.evaluation.living import live
from interaction_node.model.evaluation.models import load_model
from interaction_node.model.evaluation.people import SETS as OF_PEOPLE
from interaction_node.model.evaluation.sample import Echo, Sample
from interaction_node.model.evaluation.studio import LEFT_OUT, Studio
from interaction_node.model.interface import TURN_SAMPLES, StepResult

HUMAN = Path(__file__).parents[2] / '.cache' / 'human'
SYNTHETIC = [name for name in run.SETS if name not in {each.name for each in OF_PEOPLE}]
# Samples of each set, so that every category occurs.
COUNTS = {'FDB-v1-syn': 7, 'Command-syn': 5, 'False-onsets-per-hour': 1, 'RepCount-syn': 2}
COUNTS |= {
    'Typed-syn': 15,
    'Charades-syn': 2,
    'ProactiveVideoQA-syn': 3,
    'Delegate-syn': 3,
    'Echo-syn': 3,
}
# (lowest, highest) score of the oracle, of silence and of constant talk.
KNOWN = {
    'CueSpeak-syn': ((100, 100), (0, 0), (0, 0)),
    'TimeSpeak-syn': ((100, 100), (0, 0), (0, 0)),
    'Patience-syn': ((100, 100), (0, 0), (0, 0)),
    'Typed-syn': ((100, 100), (0, 0), (0, 0)),
    'RepCount-syn': ((100, 100), (0, 0), (0, 0)),
    'Charades-syn': ((75, 100), (0, 0), (0, 0)),
    'ProactiveVideoQA-syn': ((95, 100), (25, 25), (0, 3)),
    'FDB-v1-syn': ((1, 1), (0.6, 0.6), (0.4, 0.4)),
    'FDB-v1.5-syn': ((100, 100), (0, 0), (0, 0)),
    'Command-syn': ((100, 100), (20, 20), (20, 20)),
    'Delegate-syn': ((100, 100), (0, 0), (0, 0)),
    'Echo-syn': ((100, 100), (0, 0), (0, 0)),
    'False-onsets-per-hour': ((0, 0), (0, 0), (60, 10_000)),
}


@pytest.fixture(scope='module')
def studio(tmp_path_factory):
    return Studio(write_tiny_bank(tmp_path_factory.mktemp('evaluation') / 'bank'))


@pytest.fixture(scope='module')
def samples(studio):
    @cache
    def of(name):
        count = COUNTS.get(name, 4)
        return [run.SETS[name].sample(studio, index) for index in range(count)]

    return of


def score_of(name, made, model):
    each = run.SETS[name]
    judged = [{'category': s.category, **each.judge(s, live(model, s))} for s in made]
    scores = each.score(judged)
    assert scores[0].name == name
    for score in scores:
        assert np.isnan(score.value) or score.low - 1e-9 <= score.value <= score.high + 1e-9, score
    return scores[0].value


@pytest.mark.parametrize('number', range(3), ids=['oracle', 'silent', 'talking'])
@pytest.mark.parametrize('name', SYNTHETIC)
def test_models_that_are_known_score_as_they_should(samples, name, number):
    low, high = KNOWN[name][number]
    model = load_model(('oracle', 'silent', 'talking')[number])
    value = score_of(name, samples(name), model)
    assert low - 1e-6 <= value <= high + 1e-6


def test_every_category_was_tried(samples):
    tried = {name: {s.category for s in samples(name)} for name in SYNTHETIC}
    assert tried['CueSpeak-syn'] == {'alone', 'several', 'inside_speech', 'forgotten'}
    assert tried['Typed-syn'] == {'command', 'cue', 'time', 'count', 'planner'}
    assert tried['Patience-syn'] == {'reminder', 'once', 'count', 'cue'}
    assert tried['TimeSpeak-syn'] == {'every', 'every_word', 'once', 'until_stop'}
    assert tried['Command-syn'] == {'one', 'two', 'unclear'}
    assert len(tried['FDB-v1-syn']) == 5
    assert len(tried['FDB-v1.5-syn']) == 4
    assert len(tried['Echo-syn']) == len(tried['Delegate-syn']) == 3


def test_samples_are_reproducible_and_differ(studio):
    each = run.SETS['CueSpeak-syn']
    one, again, other = (each.sample(studio, i) for i in (1, 1, 2))
    np.testing.assert_array_equal(one.pcm, again.pcm)
    assert one.events == again.events
    assert one.voice == again.voice
    assert len(one.pcm) != len(other.pcm) or (one.pcm != other.pcm).any()
    another = each.sample(Studio(studio.bank.root, seed=1), 1)
    assert len(one.pcm) != len(another.pcm) or (one.pcm != another.pcm).any()


def test_only_voices_and_texts_that_were_kept_out_are_used(tmp_path):
    root = write_tiny_bank(tmp_path)
    path = root / 'test' / f'{VOICES[0]}-00000.npz'
    clips = read_shard(path)
    trained = [dataclasses.replace(c, text_split='train', text='never ' + c.text) for c in clips]
    left_out = [dataclasses.replace(c, voice=next(iter(LEFT_OUT))) for c in clips]
    write_shard(root / 'test' / 'trained-00000.npz', trained)
    write_shard(root / 'test' / 'left-out-00000.npz', left_out)
    write_shard(root / 'train' / 'kokoro-a-00000.npz', clips)
    studio, before = Studio(root), Studio(write_tiny_bank(tmp_path / 'before'))
    assert studio.fingerprint != before.fingerprint
    assert studio.voices == tuple(sorted(VOICES))
    for kind in studio.bank.kinds:
        for voice in studio.voices:
            assert {c.text_split for c in studio.clips(kind, voice)} <= {'test', 'shared'}


def test_a_bank_without_test_voices_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'docs/data\.md'):
        Studio(tmp_path)


class Parrot:
    """Says a loud sample once, and keeps what it hears."""

    def reset(self):
        self.turns = []

    def step(self, micro_turn):
        self.turns.append(micro_turn)
        speech = np.zeros(TURN_SAMPLES, np.int16)
        speech[0] = 10_000
        first = micro_turn.index == 0
        return StepResult(
            micro_turn.index, 'hello' if first else '', 'speak', speech if first else None
        )


def test_the_robot_hears_itself_late_and_fainter():
    pcm = np.full(3 * TURN_SAMPLES, 7, np.int16)
    sample = Sample(pcm, [], np.zeros(3, bool), echo=Echo(0.1, -20))
    parrot = Parrot()
    lived = live(parrot, sample)
    heard = np.concatenate([turn.user_pcm for turn in parrot.turns])
    assert np.flatnonzero(heard - 7).tolist() == [TURN_SAMPLES + 1600]
    assert heard[TURN_SAMPLES + 1600] == 1007
    assert parrot.turns[1].own_pcm[0] == 10_000
    assert [(w.text, w.start) for w in lived.words] == [('hello', 0.2)]


def test_the_shipped_checkpoint_lives_through_a_sample(samples):
    model = load_model('')
    try:
        one, two = (live(model, samples('Command-syn')[0]) for _ in range(2))
    finally:
        model.close()
    assert len(one.step_ms) == samples('Command-syn')[0].turns
    assert one.words == two.words
    np.testing.assert_array_equal(one.pcm, two.pcm)


def test_the_command_leaves_scores_a_table_and_pictures(studio, tmp_path, capsys):
    arguments = [
        '--model',
        'silent',
        '--quick',
        '--workers',
        '1',
        '--output',
        str(tmp_path / 'out'),
    ]
    arguments += ['--bank', str(studio.bank.root), '--sets', 'Command-syn', 'FDB-v1-syn']
    assert run.main(arguments) == 0
    numbers = json.loads((tmp_path / 'out/scores.json').read_text())
    assert numbers['Command-syn'] == 20.0
    assert numbers['Command-syn.n'] == 5
    assert 0 < numbers['Command-syn.low'] < 20 < numbers['Command-syn.high'] < 100
    assert all(isinstance(value, int | float | None) for value in numbers.values())
    assert 'FDB-v1-syn' in (tmp_path / 'out/scores.md').read_text()
    lines = (tmp_path / 'out/samples.jsonl').read_text().splitlines()
    assert len(lines) == 12
    for name in ('scores.png', 'onsets.png'):
        assert (tmp_path / 'out' / name).read_bytes()[:4] == b'\x89PNG'
    assert 'Command-syn' in capsys.readouterr().out


def test_rounded_weights_are_scored_and_told(studio, tmp_path, capsys):
    out = tmp_path / 'out'
    arguments = ['--int8', '--samples', '1', '--workers', '1', '--output', str(out)]
    arguments += ['--bank', str(studio.bank.root), '--sets', 'Command-syn']
    assert run.main(arguments) == 0
    assert int8.NOTE in (out / 'scores.md').read_text()
    assert (out / 'int8.safetensors').exists()
    assert run.main([*arguments, '--model', 'silent']) == 1
    assert "--int8: 'silent' has no weights" in capsys.readouterr().err


def test_without_a_bank_it_says_what_to_do(tmp_path, capsys):
    assert run.main(['--bank', str(tmp_path / 'none'), '--output', str(tmp_path)]) == 1
    assert 'docs/data.md' in capsys.readouterr().err


@pytest.mark.parametrize('what', ['does not exist', 'is no .safetensors file'])
def test_a_checkpoint_that_cannot_be_read_is_named_at_once(studio, tmp_path, capsys, what):
    path = tmp_path / 'nothing.safetensors'
    if 'exist' not in what:
        path.write_bytes(b'nothing')
    arguments = ['--model', str(path), '--workers', '2', '--output', str(tmp_path / 'out')]
    assert run.main([*arguments, '--bank', str(studio.bank.root)]) == 1
    assert f'checkpoint: {path} {what}' in capsys.readouterr().err


def test_a_process_that_cannot_begin_ends_the_evaluation(studio):
    settings = (studio.bank.root, 0, 'test', 'no such model')
    with pytest.raises(BrokenProcessPool):
        list(run.judge_all([('Command-syn', 0)], 2, *settings))


def test_without_recordings_of_people_their_sets_are_left_out(studio, capsys):
    left = run._possible(['Human-cue', 'Command-syn'], studio)
    assert left == ['Command-syn']
    assert 'fetch_human_speech.sh' in capsys.readouterr().err


@pytest.mark.skipif(not (HUMAN / 'complete').exists(), reason='no recordings of people here')
@pytest.mark.parametrize(('name', 'silent'), [('Human-cue', 0), ('Human-command', 0)])
def test_recordings_of_people_can_be_answered(studio, name, silent, monkeypatch):
    monkeypatch.setattr(studio, 'human_root', HUMAN)
    made = [run.SETS[name].sample(studio, index) for index in range(3)]
    assert score_of(name, made, load_model('oracle')) == 100
    assert score_of(name, made, load_model('silent')) == silent
