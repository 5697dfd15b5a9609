# SPDX-License-Identifier: Apache-2.0
"""A session that runs through the kernels decides what it decides without them."""

import numpy as np
import pytest
import torch
from small_session import WORDS, noise, small_session

from interaction_node.kernels.launch import recorded
from interaction_node.model import turn_graphs
from interaction_node.model.captured import Captured
from interaction_node.model.checkpoint import build_net, preset
from interaction_node.model.flow_head import FlowHead
from interaction_node.model.flow_sampler import FlowSampler
from interaction_node.model.fused import FusedTransformer
from interaction_node.model.fused_decoder import FusedDecoder
from interaction_node.model.heads import Heads
from interaction_node.model.interface import MicroTurn, Role, TextInput
from interaction_node.model.open_voice import OpenVoice
from interaction_node.model.session import MAX_OUT, Session
from interaction_node.model.speech_out import SpeechOut
from interaction_node.model.tokens import Vocabulary
from interaction_node.model.vocoder import Vocoder
from interaction_node.model.voice import Voice


@pytest.mark.timeout(600)
def test_a_session_decides_the_same_through_the_kernels(device):
    vocabulary = Vocabulary(['go', 'stop', 'one', 'two', 'say', 'seven'])
    torch.manual_seed(3)
    net = build_net(preset('tiny', len(vocabulary))).eval().to(device)
    with torch.no_grad():
        # A random head hardly ever ends a micro-turn.
        net.transformer.head.weight *= 4
    fused = FusedDecoder(FusedTransformer(net.transformer, torch.float32))
    pcm = np.random.default_rng(0).integers(-8000, 8000, (2, 3200)).astype(np.int16)
    memories, decided = [], []
    for decoder in (fused, None):
        session = Session(net, vocabulary, Voice(None, OpenVoice()), str(device), decoder)
        turns = [MicroTurn(i, 0.2 * i, pcm[i], pcm[i]) for i in range(2)]
        results = [session.step(turn) for turn in turns]
        decided.append([(r.text, r.control, r.intents, r.plan_goals) for r in results])
        state = session._state
        memories.append((int(state.position), state.blocks[1].attention.v_BKRF.clone()))
    assert decided[0] == decided[1]
    assert memories[0][0] == memories[1][0] >= 6
    torch.testing.assert_close(memories[0][1], memories[1][1], atol=1e-4, rtol=1e-3)


def test_nothing_but_what_is_read_leaves_the_device(device, monkeypatch):
    # Tensors without values: whatever asks for one, or mixes devices, raises.
    meta = torch.device('meta')
    plain = small_session()
    net, vocabulary = plain._net.to(meta), plain._vocabulary
    monkeypatch.setattr(torch, 'is_autocast_enabled', lambda _kind: False)
    choices = [('go', 'seven'), ('go', 'one'), ('go', 'two'), ('go', '<speak>')]
    answers = [[vocabulary[heard], 0, vocabulary[said], 0.5] for heard, said in choices]

    def read(captured, x):
        made = captured(x)
        assert made.is_meta
        return torch.zeros(made.shape) if len(made) > 4 else torch.tensor(answers.pop(0))

    monkeypatch.setattr(Captured, 'read', read)
    with recorded() as launches:
        head = FlowHead(WORDS)
        speech = SpeechOut(head, Vocoder())
        speech._flow = FlowSampler(head, 2, meta)
        decoder = FusedDecoder(FusedTransformer(net.transformer))
        session = Session(net, vocabulary, Voice(speech, OpenVoice()), meta, decoder)
        session._heads = Heads(net, decoder, session._bias_V, at_once=True)
        lines = {0: (TextInput(Role.USER, 'go red ' * 10),)}
        result = session.step(noise(1, lines=lines)[0])
    # Four are read, then 'go', the line in two passes, and the words that are said.
    assert (result.heard, result.text) == (('go',), 'one two')
    assert session._state.appended == 4 + 1 + 22 + 2
    assert launches
    assert answers == []
    assert result.speech is not None


def test_nothing_is_asked_of_the_device_before_the_micro_turn_is_over(device, monkeypatch):
    meta = torch.device('meta')
    plain = small_session()
    net, vocabulary = plain._net.to(meta), plain._vocabulary
    monkeypatch.setattr(torch, 'is_autocast_enabled', lambda _kind: False)
    # As in a capture: whatever is chosen, all of it becomes part of the graph.
    parts = []
    monkeypatch.setattr(turn_graphs, 'when', lambda _chosen, work: parts.append(work()))
    ids = [vocabulary[token] for token in ('go', '<pad>', 'one', 'two', '<speak>')]
    answers = [*ids, *ids[-1:] * (MAX_OUT - 3), *[0.5] * MAX_OUT]
    waited = []

    def wait(captured):
        assert captured._y.is_meta
        waited.append(len(captured._y))
        return torch.tensor(answers)

    monkeypatch.setattr(Captured, 'wait', wait)
    with recorded() as launches:
        decoder = FusedDecoder(FusedTransformer(net.transformer))
        session = Session(net, vocabulary, Voice(None, OpenVoice()), meta, decoder)
        session._graphs = session._capture()
        lines = {0: (TextInput(Role.USER, 'go red ' * 10),)}
        result = session.step(noise(1, lines=lines)[0])
    assert waited == [len(answers)]
    assert (result.heard, result.text) == (('go',), 'one two')
    assert session._state.appended == 4 + 1 + 22 + 2
    assert len(parts) == 2 + MAX_OUT
    assert launches
