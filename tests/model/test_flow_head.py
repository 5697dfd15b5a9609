# SPDX-License-Identifier: Apache-2.0
"""The flow head and its speech: streams, snapshots, repeatability, letters, checkpoints."""

import numpy as np
import pytest
import torch

from interaction_node.model import speech_features as sf
from interaction_node.model import speech_text
from interaction_node.model.flow_head import PAST_FRAMES, FlowConfig, FlowHead, deepen
from interaction_node.model.session import DEFAULT_CHECKPOINT
from interaction_node.model.speech_lines import Line, Lines, LineSampler
from interaction_node.model.speech_out import SamplerConfig, SpeechOut
from interaction_node.model.train_flow import Trainer, _shipped_head
from interaction_node.model.vocoder import Vocoder

WORDS = ['one', 'seven', 'x-ray', "you're", 'okay']
SMALL = FlowConfig(width=32, layers=1, heads=2, text_layers=1, word_width=8, hidden_width=16)


def fresh_speech(config=None, seed=0):
    torch.manual_seed(seed)
    head = FlowHead(WORDS, config)
    with torch.no_grad():
        for parameter in (head.out.weight, head.modulation.weight):
            parameter.normal_(std=0.05)
    return SpeechOut(head, Vocoder())


@pytest.fixture(scope='module')
def speech():
    return fresh_speech()


def say(speech, blocks, state=None):
    state = state or speech.start(3)
    return np.concatenate([speech.speak(state, words) for words in blocks])


def test_every_call_gives_3200_samples(speech):
    state = speech.start()
    for words in (['okay'], [], ['one', 'seven'], []):
        pcm = speech.speak(state, words)
        assert pcm.shape == (3200,) and pcm.dtype == np.int16
    assert speech.stop(state).shape == (3200,)


def test_same_seed_and_words_give_the_same_samples(speech):
    blocks = [['seven'], [], ['one']]
    assert np.array_equal(say(speech, blocks), say(speech, blocks))
    assert not np.array_equal(say(speech, blocks), say(speech, blocks, speech.start(4)))
    assert not np.array_equal(say(speech, blocks), say(speech, [['okay'], [], ['one']]))


def test_streams_side_by_side_do_not_mix(speech):
    alone = say(speech, [['seven'], [], []])
    first, second, mixed = speech.start(3), speech.start(9), []
    for words in (['seven'], [], []):
        mixed.append(speech.speak(first, words))
        speech.speak(second, ['okay'])
    assert np.array_equal(np.concatenate(mixed), alone)


def test_a_snapshot_carries_on_as_the_stream_would_have(speech):
    state = speech.start(3)
    speech.speak(state, ['seven'])
    snapshot = state.clone()
    expected = say(speech, [[], ['one']], state)
    assert np.array_equal(say(speech, [[], ['one']], snapshot), expected)


def test_stop_fades_within_20_ms_and_resets(speech):
    state = speech.start(3)
    speech.speak(state, ['seven'])
    tail = speech.stop(state)
    assert not tail[320:].any()
    assert abs(int(tail[319])) <= 1
    assert np.array_equal(say(speech, [['one'], []], state), say(speech, [['one'], []]))


def test_later_words_do_not_change_what_was_made(speech):
    first = say(speech, [['seven'], [], ['one']])
    second = say(speech, [['seven'], [], ['okay']])
    assert np.array_equal(first[:6400], second[:6400])
    assert not np.array_equal(first[6400:], second[6400:])


def test_unknown_words_are_told_apart_by_their_letters(speech):
    assert not speech.knows('zebra')
    assert not np.array_equal(say(speech, [['zebra']]), say(speech, [['lemon']]))


def test_hidden_state_changes_nothing_until_it_is_trained():
    speech = fresh_speech(SMALL)
    hidden = torch.randn(16)
    with_it, without = speech.start(1), speech.start(1)
    assert np.array_equal(speech.speak(with_it, ['one'], hidden), speech.speak(without, ['one']))
    torch.nn.init.normal_(speech.head.hidden_in.weight)
    assert not np.array_equal(speech.speak(with_it, [], hidden), speech.speak(without, []))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_checkpoint_round_trip(dtype):
    speech = fresh_speech()
    tensors = speech.state_dict(dtype)
    # The checkpoint of the whole model stores every tensor in one float type.
    stored = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    again = SpeechOut.from_state(stored)
    assert again.head.vocabulary == WORDS
    for name, tensor in again.state_dict(torch.float32).items():
        torch.testing.assert_close(
            tensor, speech.state_dict(torch.float32)[name].to(dtype).to(tensor.dtype)
        )


def test_checkpoint_without_speech_is_refused():
    with pytest.raises(ValueError, match=r'flow\.'):
        SpeechOut.from_state({'net.x': torch.zeros(1)})


def test_a_deeper_head_speaks_as_before_and_keeps_its_shape_in_a_file():
    speech = fresh_speech(SMALL)
    deeper = deepen(speech.head, 3, 2)
    assert len(deeper.blocks) == 3 and len(deeper.text.layers) == 2
    blocks = [['seven'], [], ['zebra']]
    assert np.array_equal(say(SpeechOut(deeper, speech.vocoder), blocks), say(speech, blocks))
    again = FlowHead.from_state(deeper.state_dict())
    assert again.config == FlowConfig(32, 3, 4, 2, 8, 16)
    with pytest.raises(ValueError, match='at least 3, 2'):
        deepen(deeper, 2, 2)


def test_training_goes_on_from_the_head_of_a_checkpoint():
    head = _shipped_head(DEFAULT_CHECKPOINT)
    assert head.config == FlowConfig() and 'okay' in head.vocabulary
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_sizes(speech):
    modules = (speech.head, speech.vocoder)
    assert sum(p.numel() for m in modules for p in m.parameters()) < 3.5e6
    size = sum(t.numel() * t.element_size() for t in speech.state_dict().values())
    assert size < 7.5e6


def test_letters_name_the_newest_words_and_their_ages():
    spoken = speech_text.SpokenWords().begin(['one'], 0).begin(['x-ray'], 3)
    letters = speech_text.encode(spoken, 4, speech_text.word_ids(WORDS))
    used = letters[letters[:, 0] != speech_text.PAD]
    text = ''.join(speech_text.LETTERS[i - 1] for i in used[:, 0].tolist())
    assert text == ' one x-ray'
    assert used[:, 1].tolist() == [0, 1, 1, 1, 0, 3, 3, 3, 3, 3]
    assert used[:, 2].tolist() == [4] * 4 + [1] * 6
    assert used[:, 3].tolist() == [0, 0, 1, 2, 0, 0, 1, 2, 3, 4]


def test_long_utterances_keep_the_newest_letters():
    spoken = speech_text.SpokenWords()
    for block in range(100):
        spoken = spoken.begin(['seven'], block)
    letters = speech_text.encode(spoken, 99, {})
    assert letters.shape == (speech_text.MAX_LETTERS, 4)
    assert letters[-1].tolist() == [speech_text.LETTERS.index('n') + 1, 0, 0, 4]
    assert len(spoken.words) <= speech_text.MAX_LETTERS


def ramp_lines():
    """Two 'utterances' whose log-mels tell the number of the frame."""
    items = []
    for start, word in ((1, 'one'), (3, 'seven')):
        frames = torch.arange(25.0)[:, None] / 10 + start - 9
        features = frames.expand(25, sf.N_FEATURES).clone()
        items.append(Line(word, features, ((word, 640),), 'robot_fixed'))
    return Lines(items)


def test_examples_show_the_frames_before_and_only_words_that_have_begun():
    sampler = LineSampler(ramp_lines(), ['one', 'seven'], 64, seed=1)
    batch, before = sampler.draw()
    assert batch['target_BTF'].shape == (64, sf.FRAMES_PER_BLOCK, sf.N_FEATURES)
    assert batch['past_BPF'].shape == (64, PAST_FRAMES, sf.N_FEATURES)
    quiet = sf.SILENCE_LOG_MEL
    for past, target in zip(batch['past_BPF'][:, -1, 0], batch['target_BTF'][:, 0, 0], strict=True):
        joins = past > quiet and target > quiet
        assert not joins or float(target - past) == pytest.approx(0.1, abs=1e-4)
    first = batch['begun_B'] == 0
    assert (batch['past_BPF'][first][:, :, 0] == quiet).all()
    empty = (batch['letters_BLC'][..., 0] == 0).all(1)
    assert (batch['letters_BLC'][~empty][..., 2] <= speech_text.MAX_AGE).all()
    assert (before['begun_B'] <= batch['begun_B']).all()
    assert set(batch['end_B'].tolist()) == {0.0, 1.0}


def test_training_lowers_the_loss_and_carries_on(tmp_path, monkeypatch):
    def trainer(minutes):
        return Trainer(ramp_lines(), tmp_path / 'head.pt', minutes, 8, 2e-3, 1)

    monkeypatch.setattr(Lines, 'vocabulary', lambda self: ['one', 'seven'])
    first = trainer(1.0)
    first.step = 300  # past the warm-up of the learning rate
    losses = [first._train_step()['loss'] for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    first.step, first.spent_s = 60, 30.0
    first._save()
    second = trainer(1.0)
    assert (second.step, second.spent_s) == (60, 30.0)
    assert torch.equal(second.head.out.weight, first.head.out.weight)


def test_sampler_of_more_steps_is_another_take_of_the_same_shape(speech):
    again = SpeechOut(speech.head, speech.vocoder, SamplerConfig(steps=4))
    assert say(again, [['one']]).shape == (3200,)
