# SPDX-License-Identifier: Apache-2.0
"""Norm and convolution agree with plain PyTorch, and with themselves however they are split."""

import pytest
import torch

from interaction_node.kernels.norm_conv import norm, norm_conv, reference

EPS = 1e-6
# fp32 sums in another order; fp16 rounds results and state to 11 bits.
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3}


def make(device, batch, tokens, width, taps=4, dtype=torch.float32):
    y = torch.randn(batch, tokens, width, device=device).to(dtype)
    past = torch.randn(batch, taps - 1, width, device=device).to(dtype)
    taps = torch.randn(taps, width, device=device).to(dtype)
    return y, past, taps, torch.randn(batch, tokens, width, device=device), gain(width, device)


def gain(width, device):
    return torch.rand(width, device=device) + 0.5


@pytest.mark.parametrize(
    ('batch', 'tokens', 'width', 'taps', 'dtype'),
    [
        (1, 1, 16, 4, torch.float32),
        (2, 2, 33, 4, torch.float32),
        (1, 17, 100, 4, torch.float16),
        (3, 5, 7, 2, torch.float32),
    ],
)
def test_agrees_with_plain_pytorch(device, batch, tokens, width, taps, dtype):
    y, past, *rest = make(device, batch, tokens, width, taps, dtype)
    past_wanted = past.clone()
    wanted = reference.norm_conv(y, past_wanted, *rest, EPS)
    found = norm_conv(y, past, *rest, EPS)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        limit = TOLERANCE[dtype] * other.abs().max()
        assert (one.float() - other.float()).abs().max() <= limit
    assert torch.equal(past, past_wanted)


@pytest.mark.parametrize('split', [[1] * 20, [16, 4], [3, 17], [7, 6, 7]])
def test_any_split_gives_the_same_bits(device, split):
    y, past, taps, residual, weight = make(device, 1, 20, 40)
    past_whole = past.clone()
    whole = norm_conv(y, past_whole, taps, residual, weight, EPS)
    pieces = []
    for piece, rest in zip(y.split(split, 1), residual.split(split, 1), strict=True):
        pieces.append(norm_conv(piece.clone(), past, taps, rest.clone(), weight, EPS))
    for found, wanted in zip(zip(*pieces, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(found, dim=1), wanted)
    assert torch.equal(past, past_whole)


def test_a_sequence_is_the_same_bits_alone_and_among_others(device):
    y, past, taps, residual, weight = make(device, 3, 4, 40)
    alone = norm_conv(y[1:2].clone(), past[1:2].clone(), taps, residual[1:2].clone(), weight, EPS)
    together = norm_conv(y, past, taps, residual, weight, EPS)
    for one, all_of_them in zip(alone, together, strict=True):
        assert torch.equal(one[0], all_of_them[1])


@pytest.mark.parametrize('width', [1, 24, 130])
def test_norm_alone_agrees_with_plain_pytorch(device, width):
    x = torch.randn(2, 5, width, device=device)
    weight = gain(width, device)
    wanted = reference.norm(x, weight, EPS, torch.float16)
    torch.testing.assert_close(norm(x, weight, EPS, torch.float16), wanted, atol=0, rtol=1e-3)


def test_a_state_of_another_dtype_is_refused(device):
    y, past, *rest = make(device, 1, 2, 16)
    with pytest.raises(ValueError, match='past_BPD must be'):
        norm_conv(y, past.half(), *rest, EPS)
