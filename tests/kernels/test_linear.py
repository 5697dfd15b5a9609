# SPDX-License-Identifier: Apache-2.0
"""Dense layers agree with plain PyTorch, and no row depends on its company."""

import pytest
import torch

from interaction_node.kernels import linear as layers
from interaction_node.kernels.linear import reference
from interaction_node.kernels.quantise import Weight, quantise

# Relative to the largest value: fp32 sums in another order; fp16 also rounds the result.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3}


def assert_near(found, wanted):
    scale = wanted.float().abs().max()
    assert torch.isfinite(found.float()).all()
    assert (found.float() - wanted.float()).abs().max() <= TOLERANCE[found.dtype] * scale


def rows_and_weight(device, rows, inputs, outputs, dtype, int8=False):
    x = torch.randn(rows, inputs, device=device).to(dtype)
    weight = torch.randn(outputs, inputs, device=device)
    return x, quantise(weight) if int8 else Weight(weight.to(dtype))


@pytest.mark.parametrize('int8', [False, True])
@pytest.mark.parametrize(
    ('rows', 'inputs', 'outputs', 'dtype'),
    [
        (1, 24, 40, torch.float32),
        (17, 150, 33, torch.float32),
        (5, 128, 1, torch.float16),
        (16, 200, 64, torch.float16),
    ],
)
def test_agrees_with_plain_pytorch(device, rows, inputs, outputs, dtype, int8):
    x, weight = rows_and_weight(device, rows, inputs, outputs, dtype, int8)
    factor = torch.tensor([0.7], device=device)
    wanted = reference.linear(x, weight, factor, dtype)
    assert_near(layers.linear(x, weight, factor), wanted)


@pytest.mark.parametrize('int8', [False, True])
def test_gated_half_agrees_with_plain_pytorch(device, int8):
    x, weight = rows_and_weight(device, 18, 70, 2 * 45, torch.float32, int8)
    assert_near(layers.gate_up(x, weight), reference.gate_up(x, weight))


def test_a_row_is_the_same_bits_alone_and_among_others(device):
    x, weight = rows_and_weight(device, 37, 150, 40, torch.float32)
    together = layers.linear(x, weight)
    for row in (0, 5, 15, 16, 36):
        assert torch.equal(layers.linear(x[row : row + 1], weight)[0], together[row])
    assert torch.equal(layers.linear(x[3:21].clone(), weight), together[3:21])
    gated = layers.gate_up(x, weight)
    assert torch.equal(layers.gate_up(x[20:23].clone(), weight), gated[20:23])


def test_int8_is_as_near_as_its_step(device):
    weight = torch.randn(30, 64, device=device)
    found = quantise(weight)
    assert found.values.abs().max() == 127
    error = (found.float() - weight).abs()
    assert (error <= 0.5001 * found.scale[:, None]).all()


def test_wrong_shapes_are_named(device):
    x, weight = rows_and_weight(device, 3, 24, 8, torch.float32)
    with pytest.raises(ValueError, match=r'\(N, 24\), got \(3, 23\)'):
        layers.linear(x[:, 1:].contiguous(), weight)
    with pytest.raises(ValueError, match=r'must be torch\.float16 or int8'):
        layers.linear(x.half(), weight)
