# SPDX-License-Identifier: Apache-2.0
"""A session that runs through the kernels decides what it decides without them."""

import numpy as np
import pytest
import torch

from interaction_node.model.checkpoint import build_net, preset
from interaction_node.model.fused import FusedTransformer
from interaction_node.model.fused_decoder import FusedDecoder
from interaction_node.model.interface import MicroTurn
from interaction_node.model.open_voice import OpenVoice
from interaction_node.model.session import Session
from interaction_node.model.tokens import Vocabulary
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
