# SPDX-License-Identifier: Apache-2.0
"""Shapes of the transformer, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

LAYER_TYPES = ('sliding', 'full')
MLP_TYPES = ('dense', 'sparse')


@dataclass(frozen=True)
class TransformerConfig:
    """Everything that decides the shape and the arithmetic of the decoder.

    The terms are those of the public Inkling code; `load_inkling.py` has the mapping.

    Attributes:
        vocab: Number of rows of the token embedding and of the head.
        width: Size of the residual stream.
        layer_types: 'sliding' or 'full', one per layer.
        mlp_types: 'dense' or 'sparse', one per layer; empty means dense throughout.
        heads: Query heads of full layers.
        kv_heads: Key/value heads of full layers; divides `heads`.
        head_dim: Size of one head of full layers.
        sliding_heads: Query heads of sliding layers; 0 means `heads`.
        sliding_kv_heads: Key/value heads of sliding layers; 0 means `kv_heads`.
        sliding_head_dim: Size of one head of sliding layers; 0 means `head_dim`.
        window: Tokens that a sliding layer sees, itself included; also its bias extent.
        d_rel: Size of the per-head state that mixes the relative-position profiles.
        rel_extent: Distance, in tokens, from which the bias of full layers is zero.
        conv_kernel: Taps of the short causal convolutions.
        mlp_width: Hidden size of a dense SwiGLU.
        expert_width: Hidden size of one expert.
        experts: Number of routed experts.
        experts_per_token: Routed experts that a token visits.
        shared_experts: Experts that every token visits.
        route_scale: Factor on all expert weights.
        shared_expert_sink: Shared experts take part in normalising the expert weights.
        norm_eps: Epsilon of every RMSNorm.
        logits_divisor: The last hidden state is divided by it before the head (muP).
        log_scaling_floor: Context length from which full layers sharpen; None for never.
        log_scaling_alpha: Strength of that sharpening.
        sink_tokens: First tokens that full layers always see.
        full_window: Most recent tokens that full layers see; None for all (the reference).
    """

    vocab: int
    width: int
    layer_types: tuple[str, ...]
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    mlp_types: tuple[str, ...] = ()
    sliding_heads: int = 0
    sliding_kv_heads: int = 0
    sliding_head_dim: int = 0
    window: int = 512
    d_rel: int = 16
    rel_extent: int = 1024
    conv_kernel: int = 4
    expert_width: int = 0
    experts: int = 0
    experts_per_token: int = 0
    shared_experts: int = 0
    route_scale: float = 1.0
    shared_expert_sink: bool = True
    norm_eps: float = 1e-6
    logits_divisor: float = 1.0
    log_scaling_floor: int | None = None
    log_scaling_alpha: float = 0.1
    sink_tokens: int = 0
    full_window: int | None = None

    def __post_init__(self) -> None:
        fill = {
            'sliding_heads': self.sliding_heads or self.heads,
            'sliding_kv_heads': self.sliding_kv_heads or self.kv_heads,
            'sliding_head_dim': self.sliding_head_dim or self.head_dim,
            'layer_types': tuple(self.layer_types),
            'mlp_types': tuple(self.mlp_types) or ('dense',) * len(self.layer_types),
        }
        for name, value in fill.items():
            object.__setattr__(self, name, value)
        self._check_layers()
        self._check_positive()
        self._check_experts()

    def _check_layers(self) -> None:
        for name, kinds in (('layer_types', LAYER_TYPES), ('mlp_types', MLP_TYPES)):
            values = getattr(self, name)
            if not values or any(value not in kinds for value in values):
                raise ValueError(f'{name} must hold only {kinds}, one per layer, got {values}')
        if len(self.mlp_types) != len(self.layer_types):
            raise ValueError(
                f'mlp_types must have one entry per layer ({len(self.layer_types)}), '
                f'got {len(self.mlp_types)}'
            )
        for heads, kv_heads in (('heads', 'kv_heads'), ('sliding_heads', 'sliding_kv_heads')):
            if getattr(self, heads) % getattr(self, kv_heads):
                raise ValueError(
                    f'{kv_heads} must divide {heads}, '
                    f'got {getattr(self, kv_heads)} and {getattr(self, heads)}'
                )

    def _check_positive(self) -> None:
        names = ['vocab', 'width', 'heads', 'kv_heads', 'head_dim', 'window', 'd_rel']
        names += ['rel_extent', 'conv_kernel', 'logits_divisor']
        if 'dense' in self.mlp_types:
            names.append('mlp_width')
        for name in names:
            if getattr(self, name) <= 0:
                raise ValueError(f'{name} must be positive, got {getattr(self, name)}')
        if self.sink_tokens < 0:
            raise ValueError(f'sink_tokens must be 0 or more, got {self.sink_tokens}')
        if self.full_window is not None and self.full_window <= 0:
            raise ValueError(f'full_window must be positive or None, got {self.full_window}')

    def _check_experts(self) -> None:
        if 'sparse' not in self.mlp_types:
            return
        for name in ('expert_width', 'experts', 'experts_per_token', 'shared_experts'):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f'{name} must be positive with sparse layers, got {getattr(self, name)}'
                )
        if self.experts_per_token > self.experts:
            raise ValueError(
                f'experts_per_token must be at most experts ({self.experts}), '
                f'got {self.experts_per_token}'
            )

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.layer_types)


def every_third_full(layers: int) -> tuple[str, ...]:
    """Layer types with a full layer after every two sliding ones.

    Args:
        layers: Number of blocks.

    Returns:
        One of `LAYER_TYPES` per block.
    """
    return tuple('full' if (i + 1) % 3 == 0 else 'sliding' for i in range(layers))
