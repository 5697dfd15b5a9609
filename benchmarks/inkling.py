# SPDX-License-Identifier: Apache-2.0
"""The public Inkling code of `transformers` with our weights, fed micro-turn by micro-turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interaction_node.model.config import TransformerConfig
from interaction_node.model.load_inkling import _sources
from interaction_node.model.transformer import Transformer

os.environ.setdefault('HF_HUB_OFFLINE', '1')


def build(ours: Transformer, attention: str = 'eager') -> Any:
    """A public model with the shape and the weights of ours.

    Args:
        ours: A transformer of dense layers, or of the sparse ones that the public code has.
        attention: How it attends: 'eager' or 'sdpa'.

    Returns:
        An `InklingForCausalLM` in evaluation mode.
    """
    from transformers.models.inkling.configuration_inkling import InklingTextConfig
    from transformers.models.inkling.modeling_inkling import InklingForCausalLM
    from transformers.utils import logging

    # It advises a kernel for GPUs at every start.
    logging.set_verbosity_error()
    config = InklingTextConfig(**public_terms(ours.config))
    config._attn_implementation = attention
    model = InklingForCausalLM(config).eval()
    model.load_state_dict(public_tensors(ours))
    return model


def public_terms(config: TransformerConfig) -> dict[str, Any]:
    """Our shape in the public terms; the bound of full layers is left to the cache."""
    return {
        'vocab_size': config.vocab,
        'hidden_size': config.width,
        'num_hidden_layers': config.layers,
        'num_attention_heads': config.heads,
        'num_key_value_heads': config.kv_heads,
        'head_dim': config.head_dim,
        'swa_num_attention_heads': config.sliding_heads,
        'swa_num_key_value_heads': config.sliding_kv_heads,
        'swa_head_dim': config.sliding_head_dim,
        'sliding_window_size': config.window,
        'd_rel': config.d_rel,
        'rel_extent': config.rel_extent,
        'conv_kernel_size': config.conv_kernel,
        'sconv_kernel_size': config.conv_kernel,
        'intermediate_size': config.mlp_width,
        'moe_intermediate_size': config.expert_width or 1,
        'n_routed_experts': config.experts or 1,
        'num_experts_per_tok': config.experts_per_token or 1,
        'n_shared_experts': config.shared_experts or 1,
        'route_scale': config.route_scale,
        'mlp_layer_types': list(config.mlp_types),
        'layer_types': [
            'hybrid' if kind == 'full' else 'hybrid_sliding' for kind in config.layer_types
        ],
        'rms_norm_eps': config.norm_eps,
        'logits_mup_width_multiplier': config.logits_divisor,
        'log_scaling_n_floor': config.log_scaling_floor,
        'pad_token_id': 0,
    }


def public_tensors(ours: Transformer) -> dict[str, Tensor]:
    """Our weights under the public names: what `load_inkling.load_transformer` reads."""
    tensors = {}
    for name, tensor in ours.state_dict().items():
        sources = [_module_name(source) for source in _sources(name)]
        tensors.update(zip(sources, _take_apart(ours, name, tensor), strict=True))
    return tensors


def _module_name(source: str) -> str:
    name = source.replace('text.', 'model.', 1)
    return name.replace('_sconv.weight', '_sconv.conv1d.weight')


def _take_apart(ours: Transformer, name: str, tensor: Tensor) -> list[Tensor]:
    """One of our tensors as those of the public code that it is made of."""
    if name.endswith('weight_KC'):
        parts = tensor.T[:, None].chunk(2 if 'kv_conv' in name else 1)
    elif name.endswith('qkvr_proj.weight'):
        attention = ours.blocks[int(name.split('.')[1])].attention
        kv = attention.kv_width // 2
        parts = tensor.split((attention.q_width, kv, kv, attention.r_width))
    elif name.endswith('mlp.gate_up_proj.weight'):
        parts = tensor.chunk(2)
    elif name.endswith('shared_gate_up.weight'):
        shared = ours.config.shared_experts
        parts = [part.unflatten(0, (shared, -1)) for part in tensor.chunk(2)]
    elif name.endswith('shared_down.weight'):
        parts = [tensor.unflatten(1, (ours.config.shared_experts, -1)).transpose(0, 1)]
    else:
        parts = [tensor]
    return [part.contiguous() for part in parts]


class CachedInkling:
    """A public model with its own cache, which keeps our window of full layers.

    Its masks are made beforehand, which it would do itself at each call: an advantage.

    Args:
        model: From `build`.
        window: Most recent tokens that full layers see; None for all, as it does by itself.
    """

    def __init__(self, model: Any, window: int | None):
        from transformers import DynamicCache
        from transformers.cache_utils import LinearAttentionAndSlidingWindowAttentionLayer

        self.model, self._window = model, window
        self.cache = DynamicCache(config=model.config)
        self._masks: dict[int, dict[str, Tensor | None]] = {}
        if window is not None:
            for index, kind in enumerate(model.config.layer_types):
                if kind == 'hybrid':
                    states = len(self.cache.layers[index].conv_states)
                    self.cache.layers[index] = LinearAttentionAndSlidingWindowAttentionLayer(
                        window, number_of_states=states
                    )

    @torch.inference_mode()
    def append(self, x_tD: Tensor) -> Tensor:
        """Reads the next tokens, (t, D); returns the logits of the last, (V,)."""
        seen = self.cache.get_seq_length()
        masks = self._steady_masks(len(x_tD)) if self._full(seen) else None
        out = self.model(
            inputs_embeds=x_tD[None],
            attention_mask=masks or self._growing_masks(len(x_tD), seen),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[0, -1]

    def _full(self, seen: int) -> bool:
        return self._window is not None and seen >= self._window

    def _steady_masks(self, length: int) -> dict[str, Tensor | None]:
        """Once all windows are full, masks depend on the number of new tokens only."""
        if length not in self._masks:
            windows = {
                'full_attention': self._window,
                'sliding_attention': self.model.config.sliding_window_size,
            }
            self._masks[length] = {
                name: _mask(length, window - 1, window) for name, window in windows.items()
            } | {'linear_attention': None}
        return self._masks[length]

    def _growing_masks(self, length: int, seen: int) -> dict[str, Tensor | None] | None:
        if self._window is None:
            return None
        sliding = self.model.config.sliding_window_size
        return {
            'full_attention': _mask(length, seen, self._window),
            'sliding_attention': _mask(length, min(seen, sliding - 1), sliding),
            'linear_attention': None,
        }


def _mask(length: int, before: int, window: int) -> Tensor:
    """(1, 1, t, before + t): 0 where a query sees a key, -inf elsewhere."""
    distance = torch.arange(length)[:, None] + before - torch.arange(before + length)
    hidden = (distance < 0) | (distance >= window)
    return torch.zeros(distance.shape).masked_fill_(hidden, float('-inf'))[None, None]


def stretch(cached: CachedInkling, tokens: int) -> None:
    """Makes a cache as long as after many tokens; time does not depend on what is in it."""
    for layer in cached.cache.layers:
        if not layer.is_sliding:
            shape = (*layer.keys.shape[:2], tokens, layer.keys.shape[3])
            layer.keys, layer.values = torch.randn(shape), torch.randn(shape)
        else:
            layer.cumulative_length = tokens


def refill(model: Any, x_TD: Tensor) -> Callable[[], Tensor]:
    """Reads a whole window anew, without a cache."""

    @torch.inference_mode()
    def run() -> Tensor:
        return model(inputs_embeds=x_TD[None], use_cache=False, logits_to_keep=1).logits[0, -1]

    return run
