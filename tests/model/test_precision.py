# SPDX-License-Identifier: Apache-2.0
"""Training computes in bf16 only where the hardware does."""

import pytest
import torch

from interaction_node.model import precision


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
