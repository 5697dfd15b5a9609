# SPDX-License-Identifier: Apache-2.0
"""Training computes in bf16 only where the hardware does."""

import pytest
import torch

from interaction_node.model import muon, precision
from interaction_node.model.muon import Muon


@pytest.mark.parametrize(
    ('found', 'dtype'),
    [
        ({'avx2': True, 'avx512_bf16': False}, torch.float32),
        ({'avx2': True, 'avx512_bf16': True}, torch.bfloat16),
        ({'amx_bf16': True}, torch.bfloat16),
        ({}, torch.float32),
    ],
)
def test_a_cpu_uses_bf16_only_if_it_has_it(monkeypatch, found, dtype):
    precision._cpu_has_bf16.cache_clear()
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: found)
    with precision.training_autocast('cpu'):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    precision._cpu_has_bf16.cache_clear()


def test_muon_steps_alike_in_fp32_and_goes_on_from_the_state_of_the_other(monkeypatch):
    torch.manual_seed(0)
    start = [torch.randn(shape) for shape in ((24, 8), (8, 24), (24, 8), (16, 16))]
    grads = [[torch.randn_like(matrix) for matrix in start] for _ in range(4)]

    def steps(bf16, switch):
        parameters = [torch.nn.Parameter(matrix.clone()) for matrix in start]
        optimiser = Muon(parameters, 0.02, weight_decay=0.05)
        for number, gradients in enumerate(grads):
            if number == switch:
                bf16, saved = not bf16, optimiser.state_dict()
                optimiser = Muon(parameters, 0.02, weight_decay=0.05)
                optimiser.load_state_dict(saved)
            monkeypatch.setattr(muon, 'has_bf16', lambda _device, there=bf16: there)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            optimiser.step()
        return [parameter.detach() for parameter in parameters]

    theirs = steps(bf16=True, switch=None)
    for ours in (steps(bf16=False, switch=None), steps(bf16=False, switch=2)):
        for one, other, before in zip(ours, theirs, start, strict=True):
            moved = (other - before).norm()
            assert (one - other).norm() < 0.02 * moved  # bf16 has eight bits


def test_what_is_orthogonalised_has_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((3, 12, 40), (2, 40, 12)):
        values = torch.linalg.svdvals(
            muon.orthogonalise(torch.randn(shape), (3.4445, -4.775, 2.0315), 5, 1e-7)
        )
        assert values.min() > 0.6 and values.max() < 1.3
