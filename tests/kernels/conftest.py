# SPDX-License-Identifier: Apache-2.0
"""Kernels run on the GPU where there is one, else in Triton's interpreter on the processor."""

import importlib
import importlib.util

import pytest
import torch

INTERPRET = 'TRITON_INTERPRET'
HAS_TRITON = importlib.util.find_spec('triton') is not None

if HAS_TRITON and not torch.cuda.is_available():
    # Triton's own library is interpreted, too, only if the variable is set when it is loaded;
    # the processes that other tests start must not inherit it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(INTERPRET, '1')
        importlib.import_module('triton.language')


@pytest.fixture(autouse=True)
def device(monkeypatch, request):
    """Where kernels run; they are first imported inside a test."""
    if not HAS_TRITON:
        pytest.skip('Triton is not installed (requirements/kernels.txt)')
    torch.manual_seed(0)
    # Fills what `torch.empty` returns with NaN: whatever a kernel fails to write is seen.
    torch.use_deterministic_algorithms(True, warn_only=True)
    request.addfinalizer(lambda: torch.use_deterministic_algorithms(False))
    if torch.cuda.is_available():
        return torch.device('cuda')
    monkeypatch.setenv(INTERPRET, '1')
    return torch.device('cpu')
