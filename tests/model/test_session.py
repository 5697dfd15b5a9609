# SPDX-License-Identifier: Apache-2.0
"""A session is the trained network, stepped: same decisions, repeatable, of constant size."""

import dataclasses

import numpy as np
import pytest
import torch

from interaction_node.model.checkpoint import build_net, preset
from interaction_node.model.data.tensors import Session as TrainingSession
from interaction_node.model.data.tensors import collate
from interaction_node.model.interface import MicroTurn, Role, TextInput
from interaction_node.model.losses import to_tensors
from interaction_node.model.mel import MelStream
from interaction_node.model.open_voice import OpenVoice
from interaction_node.model.picture import fit_newest
from interaction_node.model.session import MAX_OUT, Session
from interaction_node.model.timer import timer_after, timer_words
from interaction_node.model.tokens import Vocabulary
from interaction_node.model.voice import Voice

WORDS = [
    'four',
    'five',
    'six',
    'eight',
    'go',
    'stop',
    'one',
    'two',
    'three',
    'kilo',
    'when',
    'you',
    'hear',
    'say',
    'seven',
    'now',
    'kitchen',
    'red',
    'cup',
]


@pytest.fixture
def vocabulary():
    return Vocabulary(WORDS)


@pytest.fixture
def net(vocabulary):
    torch.manual_seed(6)
    net = build_net(preset('tiny', len(vocabulary))).eval()
    with torch.no_grad():
        # A random head hardly ever ends a micro-turn; make boundaries likely, words possible.
        net.transformer.head.weight *= 4
        net.heard.weight.view(2, len(vocabulary), -1)[:, vocabulary.first_word :] *= 3
        net.heard_type_D.normal_()
        net.since_mark.weight.normal_()
        net.ear.merge.weight.normal_(std=0.1)
        net.transformer.head.weight[vocabulary['<mark>']] *= 1.5
    return net


def session_of(net, vocabulary):
    return Session(net, vocabulary, Voice(None, OpenVoice()))


def micro_turns(count, seed=0, frames=False):
    rng = np.random.default_rng(seed)
    pcm = rng.integers(-8000, 8000, (2, count, 3200)).astype(np.int16)
    pictures = rng.integers(0, 255, (count, 2, 80, 120, 3)).astype(np.uint8) if frames else None
    lines = {2: (TextInput(Role.USER, 'go red'),), 5: (TextInput(Role.PLANNER, 'say now'),)}
    return [
        MicroTurn(
            i,
            0.2 * i,
            pcm[0, i],
            pcm[1, i],
            frames=None if pictures is None else pictures[i],
            text=lines.get(i, ()),
        )
        for i in range(count)
    ]


def pairs(turns):
    """(N, 2, h, w, 3): the newest picture of the micro-turn before and of this one."""
    newest = [fit_newest(turn.frames, (2, 3)) for turn in turns]
    return np.stack([np.stack(pair) for pair in zip([newest[0], *newest], newest, strict=False)])


def live(session, turns):
    """Steps a session; returns its results, output tokens and boundaries."""
    decoded = []
    act_on = session._act_on
    session._act_on = lambda out, *rest: decoded.append(out) or act_on(out, *rest)
    results = [session.step(turn) for turn in turns]
    session._act_on = act_on
    return results, [d.tokens for d in decoded], [d.boundary == '<speak>' for d in decoded]


@pytest.mark.parametrize('frames', [False, True])
def test_stepping_equals_teacher_forcing(net, vocabulary, frames):
    turns = micro_turns(40, frames=frames)
    texts = {2: ['<user>', 'go', 'red', '<end>'], 5: ['<planner>', 'say', 'now', '<end>']}
    session = session_of(net, vocabulary)
    session._elapsed = 3
    results, tokens, speak = live(session, turns)
    assert any(result.heard for result in results)
    assert any('<mark>' in said for said in tokens)
    user, own = MelStream(), MelStream()
    ids = vocabulary.ids
    elapsed = [3]
    for said in tokens:
        elapsed.append(timer_after(elapsed[-1], said))
    read = [timer_words(elapsed[turn.index]) + texts.get(turn.index, []) for turn in turns]
    assert any('<mark>' in words for words in read)
    training = TrainingSession(
        np.stack([user.push(t.user_pcm) for t in turns]).astype(np.float32) / 255,
        np.stack([own.push(t.own_pcm) for t in turns]).astype(np.float32) / 255,
        [[ids[w] for w in words] for words in read],
        [[ids[w] for w in said] for said in tokens],
        speak,
        [[ids[w] for w in result.heard] for result in results],
        frames_N=pairs(turns) if frames else None,
        elapsed=elapsed[:-1],
    )
    batch = collate(
        [training],
        vocabulary,
        np.random.default_rng(0),
        replace=0.0,
        heard_tokens=True,
        mishear=0.0,
    )
    tensors = to_tensors(batch, torch.device('cpu'))
    with torch.no_grad():
        logits = net.transformer.logits(net(tensors)[0])
    asked = torch.from_numpy(batch.label_BT[0]) >= 0
    wanted = torch.from_numpy(batch.label_BT[0])[asked]
    chosen = logits[asked].gather(1, wanted[:, None])[:, 0]
    allowed = logits[asked] + session_of(net, vocabulary)._bias_V
    # Where a micro-turn was cut off after MAX_OUT tokens, its boundary was not chosen.
    free = [i > 0 or len(said) < MAX_OUT for said in tokens for i in range(len(said), -1, -1)]
    free = torch.tensor(free)
    assert free.sum() > 100
    best = allowed.max(-1).values
    torch.testing.assert_close(chosen[free], best[free], atol=1e-4, rtol=0)


def test_a_session_is_repeatable_bit_for_bit(net, vocabulary):
    session = session_of(net, vocabulary)
    turns = micro_turns(30, seed=1)
    first = live(session, turns)[1:]
    session.reset()
    assert live(session, turns)[1:] == first
    assert live(session_of(net, vocabulary), turns)[1:] == first


@pytest.mark.parametrize(('bias', 'speaks'), [(-1e4, True), (0.0, True), (1e4, False)])
def test_a_bias_towards_silence_decides_when_in_doubt(net, vocabulary, bias, speaks):
    net.config = dataclasses.replace(net.config, silence_bias=bias)
    _, tokens, boundaries = live(session_of(net, vocabulary), micro_turns(30))
    assert (any(tokens) or any(boundaries)) == speaks


def test_memory_does_not_grow(net, vocabulary):
    session = session_of(net, vocabulary)
    sizes = []
    for turn in micro_turns(80, seed=2):
        session.step(turn)
        tensors = [t for block in session._state.blocks for t in block.tensors()]
        sizes.append(sum(t.numel() for t in tensors))
    assert len(set(sizes)) == 1


def test_a_wrong_number_of_samples_is_named(net, vocabulary):
    short = np.zeros(3199, np.int16)
    with pytest.raises(ValueError, match=r'user_pcm: shape \(3199,\)'):
        session_of(net, vocabulary).step(MicroTurn(0, 0.0, short, short))


def test_long_texts_are_read_over_several_micro_turns(net, vocabulary):
    session = session_of(net, vocabulary)
    silence = np.zeros(3200, np.int16)
    line = TextInput(Role.USER, 'unheard ' * 60)
    session.step(MicroTurn(0, 0.0, silence, silence, text=(line,)))
    assert session._lines.waiting
    for index in range(1, 6):
        session.step(MicroTurn(index, 0.0, silence, silence))
    assert not session._lines.waiting


def test_speech_that_comes_too_late_is_dropped(net, vocabulary):
    session = session_of(net, vocabulary)
    for turn in micro_turns(20, seed=4):
        late = MicroTurn(turn.index, turn.start_s, turn.user_pcm, turn.own_pcm, emit=False)
        result = session.step(late)
        assert result.speech is None
        assert result.text == ''
        assert result.control in ('silent', 'flush')
