# SPDX-License-Identifier: Apache-2.0
"""A session of a small random network, and micro-turns full of noise for it."""

import numpy as np
import torch

from interaction_node.model.checkpoint import build_net, preset
from interaction_node.model.flow_head import FlowHead
from interaction_node.model.interface import TURN_SAMPLES, MicroTurn
from interaction_node.model.open_voice import OpenVoice
from interaction_node.model.session import Session
from interaction_node.model.speech_out import SpeechOut
from interaction_node.model.tokens import Vocabulary
from interaction_node.model.vocoder import Vocoder
from interaction_node.model.voice import Voice

WORDS = 'go stop one two three kilo when you hear say seven now kitchen red cup'.split()  # noqa: SIM905


def small_session(seed=11, speaks=False, device='cpu'):
    """A session whose weights are as a checkpoint holds them; it speaks often if it can."""
    torch.manual_seed(seed)
    vocabulary = Vocabulary(WORDS)
    net = build_net(preset('tiny', len(vocabulary))).eval()
    with torch.no_grad():
        net.transformer.head.weight *= 4
        # Boundaries are rare among so many tokens.
        for token in ('<silent>', '<speak>'):
            net.transformer.head.weight[vocabulary[token]] *= 2
        for parameter in net.parameters():
            parameter.copy_(parameter.bfloat16())
    speech = SpeechOut(FlowHead(WORDS), Vocoder(), device=device) if speaks else None
    return Session(net, vocabulary, Voice(speech, OpenVoice()), device)


def noise(count, seed=0, first=0, lines=None, frames=True):
    """Micro-turns with noise to hear and to see, and lines of text by number."""
    rng = np.random.default_rng(seed)
    pcm = rng.integers(-8000, 8000, (2, count, TURN_SAMPLES)).astype(np.int16)
    pictures = rng.integers(0, 255, (count, 2, 80, 120, 3)).astype(np.uint8)
    return [
        MicroTurn(
            first + i,
            0.2 * (first + i),
            pcm[0, i],
            pcm[1, i],
            frames=pictures[i] if frames else None,
            text=(lines or {}).get(i, ()),
        )
        for i in range(count)
    ]


def bits(result):
    """Everything that a step decided, comparable."""
    speech = None if result.speech is None else result.speech.tobytes()
    said = (result.text, result.control, result.heard, result.plan_goals, result.voice)
    return said, speech, result.intents


def memory(session):
    """Every byte that a session remembers."""
    taken = session.snapshot()
    return {k: t.numpy().tobytes() for k, t in taken.tensors.items()}, taken.facts
