# SPDX-License-Identifier: Apache-2.0
"""A step of a training, the rate that it takes, and the state that it leaves."""

import copy

import pytest
import torch

from interaction_node.model.descent import descend, save_state, warm_and_falling


def test_a_step_is_cut_has_the_rate_and_the_average_follows():
    net = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    average = copy.deepcopy(net)
    optimiser = torch.optim.SGD(net.parameters(), lr=123.0)
    net.weight.grad = torch.tensor([[30.0, 40.0]])
    descend(net, average, [optimiser], 0.1, 0, 0.99)
    torch.testing.assert_close(net.weight.data, torch.tensor([[-0.06, -0.08]]))
    torch.testing.assert_close(average.weight.data, 0.9 * net.weight.data)
    assert net.weight.grad is None
    net.weight.grad = torch.zeros(1, 2)
    descend(net, average, [optimiser], 0.1, 10_000, 0.99)
    torch.testing.assert_close(average.weight.data, (0.99 * 0.9 + 0.01) * net.weight.data)


def test_the_rate_rises_stays_and_falls():
    assert warm_and_falling(2.0, 0, 100, 0.0) == pytest.approx(0.02)
    assert warm_and_falling(2.0, 500, 100, 0.0) == 2.0
    assert warm_and_falling(2.0, 500, 100, 0.25) == pytest.approx(1.02)
    assert warm_and_falling(2.0, 500, 100, 1.0) == pytest.approx(0.04)


def test_a_state_that_can_not_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / 'run' / 'state.pt'
    save_state(path, {'step': 1})
    with pytest.raises(Exception, match='pickle'):
        save_state(path, {'step': lambda: 2})
    assert torch.load(path) == {'step': 1}
