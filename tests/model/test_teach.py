# SPDX-License-Identifier: Apache-2.0
"""Teaching a robot its own skills: the file, the sentences, the network, and the whole command."""

import argparse
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from burst_bank import burst_clip, write_burst_bank

from interaction_node.model import teach
from interaction_node.model.checkpoint import (
    build_net,
    load_checkpoint,
    preset,
    save_checkpoint,
)
from interaction_node.model.data import phrases
from interaction_node.model.data.bank import Bank
from interaction_node.model.exercises import write_exercises
from interaction_node.model.grow import grow_net
from interaction_node.model.interface import Intent, StepResult
from interaction_node.model.lesson import grow_vocabulary
from interaction_node.model.lesson_file import LessonError, read_lesson
from interaction_node.model.taught_scores import Trial, passes
from interaction_node.model.tokens import default_vocabulary

EXAMPLE = Path(__file__).parents[2] / 'examples' / 'skills.yaml'
PACKAGED = Path(__file__).parents[2] / 'config' / 'skills.yaml'


@pytest.fixture(autouse=True)
def own_grammar():
    """Words that a test adds to the grammar go with it."""
    yield
    phrases.grammar.cache_clear()


@pytest.fixture
def vocabulary():
    return default_vocabulary()


@pytest.fixture
def lesson(vocabulary):
    lesson = read_lesson(EXAMPLE, vocabulary)
    phrases.add_words(lesson.slots)
    return lesson


def skills_file(tmp_path, changes):
    """The packaged file with other values, by dotted key."""
    content = yaml.safe_load(PACKAGED.read_text('utf-8'))
    for key, value in changes.items():
        *parents, last = key.split('.')
        at = content
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump(content), 'utf-8')
    return path


def test_the_packaged_file_holds_nothing_new(vocabulary):
    assert read_lesson(PACKAGED, vocabulary).is_empty


def test_the_example_teaches_one_of_everything(lesson):
    assert lesson.new_skills == ('water', 'volume')
    assert lesson.slots == {
        'place': ['workshop'],
        'object': ['hammer'],
        'cue': ['banana'],
        'answer': ['bingo'],
    }
    assert lesson.answers == ['bingo', 'my name is robbie']


@pytest.mark.parametrize(
    'changes, problem',
    [
        ({'skills.dance': {}}, "skills.dance.say: None, expected ways to ask for this new skill"),
        ({'skills.dance': {'say': 'dance'}}, "skills.dance.say: 'dance', expected a list"),
        ({'skills.dance': {'say': ['Dance!']}}, "skills.dance.say[0]: 'Dance!', expected words"),
        ({'skills.dance': {'say': ['dance {how}']}}, 'expected no arguments instead of {how}'),
        ({'skills.dance': {'says': ['dance']}}, 'skills.dance.says'),
        ({'skills.speak': {'say': ['speak']}}, 'skills.speak'),
        ({'skills.dance': {'say': ['wave your hand']}},
         'something else than what skills.wave says'),
        ({'skills.dance': {'say': ['stop']}}, 'something else than what skills.stop says'),
        ({'skills.dance': {'say': ['spin']}, 'skills.spin': {'say': ['spin']}},
         'something else than what skills.dance says'),
        ({'skills.go': {'say': ['go'], 'arguments': {'to': {'one_of': 'planet'}}}},
         "skills.go.arguments.to.one_of: 'planet', expected a list of words, or one of"),
        ({'skills.go': {'say': ['go {n}'], 'arguments': {'n': {'between': [200, 300]}}}},
         'skills.go.arguments.n.between: [200, 300], expected a whole number from 0 to 100'),
        ({'skills.go': {'say': ['go'], 'arguments': {'to': {'one_of': 'place'}}}},
         'expected {to} in it, or that argument optional: true'),
        ({'places.room 7': {'x_m': 0, 'y_m': 0}}, "'room 7', expected words as they are spoken"),
        ({'words.object': 'cup'}, "words.object: 'cup', expected a list"),
        ({'teach.cue': ['banana']}, "teach.cue: ['banana'], expected only the keys cues"),
        ({'teach.cues': [7]}, 'teach.cues[0]: 7, expected words'),
        ({'teach.replies': [{'answer': 'hello'}]}, 'teach.replies[0].say: None'),
        ({'skills': [1]}, 'expected a mapping of skills'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_key_value_and_what_was_expected(
    tmp_path, vocabulary, changes, problem
):
    with pytest.raises(LessonError, match=r'mine\.yaml') as caught:
        read_lesson(skills_file(tmp_path, changes), vocabulary)
    assert problem in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path, vocabulary):
    changes = {'teach.cues': [7], 'skills.dance': {}, 'words.object': ['Cup']}
    with pytest.raises(LessonError) as caught:
        read_lesson(skills_file(tmp_path, changes), vocabulary)
    assert len(str(caught.value).splitlines()) == 4


def test_no_sentence_is_both_trained_and_tested(lesson):
    exercises = write_exercises(lesson)
    trained = {e.phrase.text for e in exercises if e.phrase.split != 'test'}
    tested = {e.phrase.text for e in exercises if e.phrase.split == 'test'}
    assert not trained & tested
    assert 'the fern needs water' in tested
    items = {e.item for e in exercises if e.phrase.split == 'test'}
    assert items == {e.item for e in exercises} - {''}
    assert {'place workshop', 'skill water', 'cue banana', 'reply my name is robbie'} <= items


def test_every_value_of_a_skill_is_practised(lesson):
    said = [e.phrase for e in write_exercises(lesson) if e.phrase.split == 'train']
    watered = {p.meaning['arguments']['plant'] for p in said if p.meaning.get('skill') == 'water'}
    assert watered == {'fern', 'cactus', 'lemon tree'}
    for phrase in said:
        if phrase.meaning.get('skill') == 'water':
            assert phrase.meaning['arguments']['plant'] in phrase.text


def test_a_grown_network_knows_what_it_knew(lesson, vocabulary):
    torch.manual_seed(0)
    net = build_net(preset('tiny', len(vocabulary))).eval()
    grown_vocabulary = grow_vocabulary(vocabulary, lesson, ['water the fern'])
    grown = grow_net(net, vocabulary, grown_vocabulary).eval()
    assert {'<water>', 'fern', 'lemon', 'tree', 'workshop'} <= set(grown_vocabulary.words)
    assert grown_vocabulary.tokens[: len(vocabulary)] == vocabulary.tokens
    ids = torch.randint(0, len(vocabulary), (1, 20))
    h_old, h_new = (n.transformer(n.transformer.embed(ids)) for n in (net, grown))
    assert torch.equal(h_old, h_new)
    old, new = net.transformer.logits(h_old), grown.transformer.logits(h_new)
    assert torch.allclose(old, new[..., : len(vocabulary)], atol=1e-6)
    heard = grown.hear(h_new)[..., : len(vocabulary)]
    assert torch.allclose(net.hear(h_old), heard, atol=1e-6)
    embedding = grown.transformer.embedding.weight
    spelled = [vocabulary[t] for t in ('_f', '+e', '+r', '+n')]
    expected = embedding[spelled].mean(0)
    assert torch.allclose(embedding[grown_vocabulary['fern']], expected, atol=1e-6)


class Puppet:
    """Says and does what it is told, at micro-turns counted from the end."""

    def __init__(self, turns=(), intents=(), text=''):
        self._turns, self._intents, self._text = turns, intents, text

    def reset(self):
        pass

    def step(self, turn):
        if turn.index not in self._turns:
            return StepResult(turn.index)
        return StepResult(turn.index, self._text, intents=tuple(self._intents))


def test_a_trial_asks_for_exactly_the_wanted_action():
    clip = burst_clip('water the fern', 'command', {}, 'v', 'test')
    trial = Trial('skill water', (clip,), (('water', {'plant': 'fern'}),))
    right, wrong = Intent('water', {'plant': 'fern'}), Intent('water', {'plant': 'cactus'})
    assert passes(Puppet([14], [right], 'okay'), trial)
    assert not passes(Puppet(), trial)
    assert not passes(Puppet([14], [wrong]), trial)
    assert not passes(Puppet([14, 15], [right]), trial)
    assert not passes(Puppet([14], [right, wrong]), trial)


def test_a_trial_of_an_answer_listens_after_the_last_clip():
    clips = tuple(burst_clip(text, 'cue_set', {}, 'v', 'test') for text in ('a b c', 'banana'))
    trial = Trial('cue banana', clips, said='seven')
    assert passes(Puppet([19], text='seven'), trial)
    assert not passes(Puppet([19, 20], text='seven'), trial)
    assert not passes(Puppet([7], text='seven'), trial)
    assert not passes(Puppet([19], [Intent('wave', {})], 'seven'), trial)


def test_a_bank_without_test_voices_gets_those_that_come_along(tmp_path):
    bank = write_burst_bank(tmp_path / 'bank', each=1)
    robot = sorted((bank / 'robot').iterdir())
    teach.make_bank(argparse.Namespace(bank=bank, sessions=0))
    assert not Bank.load(bank, 'test').voices
    teach.make_bank(argparse.Namespace(bank=bank, sessions=6))
    assert 'kokoro-af_bella' in Bank.load(bank, 'test').voices
    assert sorted((bank / 'robot').iterdir()) == robot


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which('espeak-ng'), reason='espeak-ng is not installed')
def test_the_whole_command(tmp_path, vocabulary, capsys):
    """File to checkpoint, with a network of the preset 'tiny', speech and all."""
    net = build_net(preset('tiny', len(vocabulary)))
    save_checkpoint(tmp_path / 'tiny.safetensors', net, vocabulary)
    write_burst_bank(tmp_path / 'bank', each=4)
    changes = {
        'skills.dance': {'say': ['dance', 'let me see you dance']},
        'places.workshop': {'x_m': 1.0, 'y_m': 2.0},
    }
    options = {
        '--skills': skills_file(tmp_path, changes),
        '--base': tmp_path / 'tiny.safetensors',
        '--bank': tmp_path / 'bank',
        '--cache': tmp_path / 'cache',
        '--output': tmp_path / 'out',
        '--engines': 'espeak',
        '--speech-minutes': 5,
        '--clips': 4,
        '--minutes': 4,
        '--steps': 4,
        '--tokens': 1600,
        '--variants': 1,
        '--trials': 2,
        '--sessions': 0,
        '--threads': 1,
        '--workers': 1,
    }
    arguments = [str(part) for part in itertools.chain.from_iterable(options.items())]
    teach.main(arguments)
    shown = capsys.readouterr().out
    assert 'skill dance' in shown
    assert 'params_file:=' in shown
    net, taught, _, notes = load_checkpoint(tmp_path / 'out' / 'robot.safetensors')
    assert taught.skills[-1] == 'dance'
    assert 'workshop' in taught.ids
    assert 'workshop' in taught.signatures['navigate_to'][0].words
    assert notes['taught_steps'] == 4
    assert net.config.transformer.vocab == len(taught)
    scores = json.loads((tmp_path / 'out' / 'scores.json').read_text('utf-8'))
    assert set(scores['new']['after']) == {'skill dance', 'place workshop'}
    parameters = yaml.safe_load((tmp_path / 'out' / 'robot.yaml').read_text('utf-8'))
    gate = parameters['/**/action_gate_node']['ros__parameters']
    assert Path(gate['skills_file']).is_file()
    bank = next((tmp_path / 'cache').glob('lesson-*/bank'))
    said = {clip.text for clip in Bank.load(bank, 'train')}
    tested = {clip.text for clip in Bank.load(bank, 'test')}
    assert any('dance' in text for text in said)
    assert any('workshop' in text for text in said)

    assert tested - said
    clips = set((tmp_path / 'cache' / 'clips').rglob('*.npz'))
    assert clips
    np.testing.assert_array_less(0, [path.stat().st_size for path in clips])
