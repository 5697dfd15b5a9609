# SPDX-License-Identifier: Apache-2.0
"""Weights rounded for the evaluation: those that the kernels hold in int8, to the same values."""

import dataclasses

import pytest
import torch
from small_session import WORDS

from interaction_node.model import fused
from interaction_node.model.checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from interaction_node.model.evaluation.int8 import int8_weights, round_weights, write_rounded
from interaction_node.model.tokens import Vocabulary
from interaction_node.model.transformer import Transformer

EXPERTS = {
    'mlp_types': ('dense', 'sparse'),
    'experts': 4,
    'experts_per_token': 2,
    'shared_experts': 2,
    'expert_width': 16,
}


@pytest.fixture(params=['dense', 'experts'])
def transformer(request):
    torch.manual_seed(0)
    config = preset('tiny', 50).transformer
    if request.param == 'experts':
        config = dataclasses.replace(config, **EXPERTS)
    made = Transformer(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def test_they_are_those_of_the_kernels(transformer, monkeypatch):
    packed = []

    def quantise(values):
        packed.append(values)
        return original(values)

    original = fused.quantise
    monkeypatch.setattr(fused, 'quantise', quantise)
    fused.FusedTransformer(transformer, int8=True)
    ours = {weight.data_ptr(): weight for weight in int8_weights(transformer)}
    assert ours.keys() == {values.data_ptr() for values in packed}
    before = {pointer: original(weight.detach()).float() for pointer, weight in ours.items()}
    others = {
        name: parameter.clone()
        for name, parameter in transformer.named_parameters()
        if parameter.data_ptr() not in ours
    }
    round_weights(transformer)
    for pointer, weight in ours.items():
        assert torch.equal(weight, before[pointer])
    for name, parameter in transformer.named_parameters():
        if name in others:
            assert torch.equal(parameter, others[name])


def test_each_row_has_at_most_255_values_and_is_close(transformer):
    before = [weight.detach().clone() for weight in int8_weights(transformer)]
    round_weights(transformer)
    for was, weight in zip(before, int8_weights(transformer), strict=True):
        largest = was.abs().amax(-1, keepdim=True)
        assert ((weight - was).abs() <= largest / 253).all()
        assert not torch.equal(weight, was)
        steps = weight / (largest / 127)
        torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)


def test_the_file_holds_them_exactly(tmp_path):
    torch.manual_seed(0)
    vocabulary = Vocabulary(WORDS)
    net = build_net(preset('tiny', len(vocabulary)))
    extra = {'flow.weight': torch.randn(3, 4)}
    save_checkpoint(tmp_path / 'as_trained.safetensors', net, vocabulary, extra, {'minutes': 1})
    write_rounded(tmp_path / 'as_trained.safetensors', tmp_path / 'out' / 'int8.safetensors')
    trained, _, kept, _ = load_checkpoint(tmp_path / 'as_trained.safetensors')
    read, words, also_kept, notes = load_checkpoint(tmp_path / 'out' / 'int8.safetensors')
    assert words.tokens == vocabulary.tokens
    assert notes == {'minutes': 1}
    assert torch.equal(kept['flow.weight'], also_kept['flow.weight'])
    round_weights(trained.transformer)
    for name, parameter in trained.named_parameters():
        assert torch.equal(parameter, read.get_parameter(name)), name
