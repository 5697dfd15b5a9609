# SPDX-License-Identifier: Apache-2.0
"""Parts put together into a checkpoint."""

import pytest
import torch

from interaction_node.model.checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from interaction_node.model.export import export
from interaction_node.model.flow_head import FlowConfig, FlowHead
from interaction_node.model.speech_out import SpeechOut
from interaction_node.model.tokens import Vocabulary
from interaction_node.model.vocoder import Vocoder

WORDS = Vocabulary(['go', 'stop'])


@pytest.fixture
def shipped(tmp_path):
    net = build_net(preset('tiny', len(WORDS)))
    speech = SpeechOut(FlowHead(['go']), Vocoder())
    save_checkpoint(tmp_path / 'shipped', net, WORDS, speech.state_dict(), {'steps': 7})
    return tmp_path / 'shipped'


def test_a_new_head_joins_the_network_and_vocoder_of_a_checkpoint(shipped, tmp_path):
    head = FlowHead(['go', 'now'], FlowConfig(layers=4))
    (tmp_path / 'voice').mkdir()
    torch.save({'average': head.state_dict()}, tmp_path / 'voice' / 'head.pt')
    notes = export(shipped, tmp_path / 'voice', tmp_path / 'out')
    assert notes == {'steps': 7}
    net, words, tensors, _ = load_checkpoint(tmp_path / 'out')
    before, _, old_tensors, _ = load_checkpoint(shipped)
    assert words.tokens == WORDS.tokens
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])
    assert net.config.silence_bias == 0
    export(tmp_path / 'out', tmp_path / 'out', tmp_path / 'calm', silence_bias=1.5)
    assert load_checkpoint(tmp_path / 'calm')[0].config.silence_bias == 1.5
    speech = SpeechOut.from_state(tensors)
    assert speech.knows('now') and len(speech.head.blocks) == 4
    vocoder = [name for name in tensors if name.startswith('vocoder.')]
    assert vocoder and all(torch.equal(tensors[n], old_tensors[n]) for n in vocoder)
