# SPDX-License-Identifier: Apache-2.0
"""Benchmarks compare like with like."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from interaction_node.model.config import TransformerConfig
from interaction_node.model.transformer import Transformer

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))
pytest.importorskip('transformers', reason='the public code is not installed')

import decoder_speed
import inkling
from stopwatch import Times, ratio, side_by_side


def small_model():
    torch.manual_seed(0)
    config = TransformerConfig(
        vocab=40,
        width=64,
        layer_types=('sliding', 'full'),
        heads=4,
        kv_heads=2,
        head_dim=16,
        mlp_width=96,
        window=16,
        d_rel=4,
        rel_extent=24,
        full_window=48,
    )
    model = Transformer(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(('weight_KC', 'rel_proj_RE')):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize('attention', ['eager', 'sdpa'])
def test_the_rival_sees_the_same_window_and_says_the_same(attention):
    ours = small_model()
    decoder_speed.check_equal(ours, inkling.build(ours, attention))


def test_another_window_is_noticed():
    ours = small_model()
    public = inkling.build(ours)
    other = Transformer(TransformerConfig(**vars(ours.config) | {'full_window': 40})).eval()
    other.load_state_dict(ours.state_dict())
    cached = inkling.CachedInkling(public, 48)
    x_TD = torch.randn(60, 64)
    with torch.inference_mode():
        for x_tD in x_TD.split(4):
            found = cached.append(x_tD)
        expected = ours.logits(ours(x_TD[None])[0, -1])
        wrong = other.logits(other(x_TD[None])[0, -1])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - wrong).abs().max() > 1e-3


def test_sides_are_measured_in_turn():
    calls = []
    sides = {name: lambda n=name: calls.append(n) for name in 'ab'}
    times = side_by_side(sides, 3, 'test', warm_up=1)
    assert calls == ['a', 'b', 'b', 'a', 'a', 'b', 'b', 'a']
    assert [len(t.cpu_ms) for t in times.values()] == [3, 3]


def test_a_ratio_is_of_rounds():
    assert ratio(Times([2.0, 30.0, 3.0]), Times([1.0, 10.0, 1.0])) == 3.0


def test_what_the_graph_adds_is_less_the_step():
    graph_overhead = pytest.importorskip('graph_overhead')
    sounds = [(320 * (i + 1), 0.02 * (i + 1)) for i in range(200)]
    # Window n ends with piece 10 (n + 1); its step takes 4 ms, its result comes after 7 ms.
    results = [(3200 * n, 0.2 * (n + 1) + 0.007, 4.0) for n in range(20)]
    found = graph_overhead.figures(sounds, results)
    assert found['node_turns'] == 10
    assert found['node_overhead_ms_p50'] == pytest.approx(3.0)
    with pytest.raises(RuntimeError, match='no micro-turn'):
        graph_overhead.figures(sounds, [])


def test_a_soak_counts_holes_and_growth():
    soak = pytest.importorskip('soak')
    steps = [(3200 * n, 0.2 * n, 4.0 + n) for n in range(4)]
    watched = SimpleNamespace(results=steps, indices=[5, 6, 8, 9], missed=1)
    memory = [{'a': 50.0, 'b': 10.0}, {'a': 90.0, 'b': 10.0}, {'a': 100.0, 'b': 10.0}]
    found = soak.figures(watched, [*memory, {'a': 111.0, 'b': 10.0}])
    assert (found['micro_turns'], found['holes'], found['missed_deadlines']) == (4, 1, 1)
    assert (found['step_ms_p50'], found['step_ms_max']) == (5.5, 7.0)
    assert found['rss_growth_percent'] == {'a': 11.0, 'b': 0.0}
    assert found['rss_total_growth_percent'] == 10.0
