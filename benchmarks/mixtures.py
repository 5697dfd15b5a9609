# SPDX-License-Identifier: Apache-2.0
"""Our mixture of experts for few tokens against the grouped one in plain PyTorch.

`nano` has no experts, so this is one layer of the preset `orin`.
"""

from __future__ import annotations

from collections.abc import Callable

import inkling
import torch
from stopwatch import ratio, side_by_side

from interaction_node.model.moe import MixtureOfExperts
from interaction_node.model.packed_mlp import PackedExperts
from interaction_node.model.presets import preset

TOKENS = (1, 4)


@torch.inference_mode()
def measure(rounds: int) -> dict[str, float]:
    """Compares one layer at the number of tokens of a decoding step and of a micro-turn.

    Args:
        rounds: Calls of each side.

    Returns:
        Flat figures; times are processor milliseconds, medians.
    """
    config = preset('orin').config
    torch.manual_seed(0)
    ours = MixtureOfExperts(config).eval()
    for parameter in ours.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, parameter.shape[-1] ** -0.5)
            # As a checkpoint holds them.
            parameter.copy_(parameter.bfloat16())
    packed = PackedExperts(ours)
    theirs = {name: _public(ours, name) for name in ('grouped_mm', 'eager')}
    theirs['grouped_mm_bf16'] = _public(ours, 'grouped_mm').bfloat16()
    figures = {}
    for tokens in TOKENS:
        x_BTD = torch.randn(1, tokens, config.width)
        sides: dict[str, Callable[[], torch.Tensor]] = {'ours': lambda x=x_BTD: packed(x[0])[None]}
        for name, layer in theirs.items():
            x = x_BTD.to(layer.gate.weight.dtype)
            sides[name] = lambda x=x, m=layer: m(x)
            near = 0.1 if 'bf16' in name else 1e-4
            torch.testing.assert_close(sides[name]().float(), sides['ours'](), atol=near, rtol=near)
        times = side_by_side(sides, rounds, f'experts, {tokens} tokens')
        figures[f'moe_{tokens}_ms_p50'] = times['ours'].median_ms
        for name in theirs:
            figures[f'moe_{tokens}_{name}_ms_p50'] = times[name].median_ms
            figures[f'speedup_vs_{name}_moe_{tokens}'] = ratio(times[name], times['ours'])
    return figures


def _public(ours: MixtureOfExperts, experts: str):
    """The public layer with our weights, its experts computed in one of its ways."""
    from transformers.models.inkling.configuration_inkling import InklingTextConfig
    from transformers.models.inkling.modeling_inkling import InklingMoE

    config = InklingTextConfig(**inkling.public_terms(preset('orin').config))
    config._experts_implementation = experts
    layer = InklingMoE(config).eval()
    shared = config.n_shared_experts
    gate, up = ours.shared_gate_up.weight.chunk(2)
    layer.load_state_dict(
        {
            'gate.weight': ours.router.weight_ED,
            'gate.global_scale': ours.router.scale,
            'gate.e_score_correction_bias': ours.router.bias_E,
            'experts.gate_up_proj': ours.gate_up_EXD,
            'experts.down_proj': ours.down_EDI,
            'shared_experts.gate_proj': gate.unflatten(0, (shared, -1)),
            'shared_experts.up_proj': up.unflatten(0, (shared, -1)),
            'shared_experts.down_proj': ours.shared_down.weight.unflatten(
                1, (shared, -1)
            ).transpose(0, 1),
        }
    )
    return layer
