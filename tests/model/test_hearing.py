# SPDX-License-Identifier: Apache-2.0
"""What people say is written down beside what a model heard, and judged word by word."""

import json
import sys
from pathlib import Path

import pytest
import soundfile

from interaction_node.model.data.pack import shipped_bank
from interaction_node.model.evaluation import hearing
from interaction_node.model.evaluation.models import SilentModel
from interaction_node.model.evaluation.studio import Studio
from interaction_node.model.interface import StepResult

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

import judge_speech


class Parrot(SilentModel):
    """Hears the same two words in the second micro-turn, whatever is said."""

    def step(self, micro_turn):
        heard = ('turn', 'left') if micro_turn.index == 1 else ()
        return StepResult(micro_turn.index, heard=heard)


def test_sound_and_words_are_written_for_the_judges(tmp_path):
    hearing.write(tmp_path, Studio(shipped_bank()), Parrot(), 4)
    texts = json.loads((tmp_path / 'texts.json').read_text())
    assert [each['kind'] for each in texts.values()] == list(hearing.KINDS)
    assert {each['heard'] for each in texts.values()} == {'turn left'}
    for name, each in texts.items():
        assert each['text']
        trained, engine = each['groups']
        assert trained in ('phrases trained', 'phrases held out')
        assert engine in ('kokoro', 'flite', 'espeak')
        samples, rate = soundfile.read(tmp_path / f'{name}.wav')
        assert rate == 16_000
        assert len(samples) > 0.15 * rate * len(each['text'].split())


def test_words_are_counted_for_a_recogniser_and_for_the_model(tmp_path):
    soundfile.write(tmp_path / 'a.wav', [0.0] * 160, 16_000)
    texts = {'a': {'text': 'turn left now', 'kind': 'command', 'heard': 'turn right'}}
    texts['a']['groups'] = ['flite']
    scores = judge_speech.judge(tmp_path, texts, {'deaf': lambda wave, text: ''})
    assert scores['deaf.command']['words'] == 0
    assert scores['model.command'] == {'words': pytest.approx(1 / 3), 'exact': 0, 'n': 3}
    assert scores['model.flite'] == scores['model.command']


@pytest.mark.parametrize(
    ('reference', 'heard', 'errors'),
    [('go left', 'go left', 0), ('go left', 'left', 1), ('go', 'oh go on', 2), ('', 'yes', 1)],
)
def test_word_errors(reference, heard, errors):
    assert judge_speech.word_errors(reference, heard) == errors


def test_numbers_and_spellings_are_the_same_to_the_judges():
    assert judge_speech.normalise('OK, 12 grey doors!') == 'okay twelve gray doors'
