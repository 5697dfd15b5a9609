# SPDX-License-Identifier: Apache-2.0
"""Starts from public Inkling weights: reads a Hugging Face checkpoint into our modules.

Two spellings of the tensor names are understood: that of the published files (`model.llm.layers.0
.attn.wq_du.weight`, gate and up rows interleaved) and that of transformers' modules (`model.
language_model.layers.0.self_attn.q_proj.weight`).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from interaction_node.model.config import TransformerConfig
from interaction_node.model.transformer import Transformer

INDEX_FILE = 'model.safetensors.index.json'
SINGLE_FILE = 'model.safetensors'

# Published spelling -> spelling of transformers' modules, tried in order.
_RENAMES = [
    (r'^model\.llm\.unembed\.', 'lm_head.'),
    (r'^model\.llm\.embed_norm\.', 'text.embed_tokens.embed_norm.'),
    (r'^model\.llm\.embed\.', 'text.embed_tokens.'),
    (r'^model\.llm\.', 'text.'),
    (r'^model\.language_model\.', 'text.'),
    (r'^model\.audio(_tower)?\.', 'audio.'),
    (r'^model\.vis(ual|ion_tower)\.', 'vision.'),
    (r'^model\.', 'text.'),
    (r'\.attn_norm\.', '.input_layernorm.'),
    (r'\.mlp_norm\.', '.post_attention_layernorm.'),
    (r'\.attn\.w([qkvr])_d[uv]\.', r'.self_attn.\1_proj.'),
    (r'\.attn\.wo_ud\.', '.self_attn.o_proj.'),
    (r'\.attn\.', '.self_attn.'),
    (r'_sconv\.(conv1d\.)?weight$', '_sconv.weight'),
    (r'\.mlp\.w2_md\.', '.mlp.down_proj.'),
    (r'\.mlp\.gate\.bias$', '.mlp.gate.e_score_correction_bias'),
    (r'\.mlp\.experts\.w2_weight$', '.mlp.experts.down_proj'),
    (r'\.shared_experts\.shared_w2_weight$', '.shared_experts.down_proj'),
    (r'\.layers\.linear_(\d+)\.', r'.layers.\1.projection.'),
    (r'\.layers\.norm_(\d+)\.', r'.layers.\1.layer_norm.'),
    (r'\.encoder_layers\.', '.layers.'),
    (r'^audio\.(encoder|embed_audio_tokens\.embed_audio_tokens)\.', 'audio.embedding.'),
    (r'^audio\.(final_norm|norm)\.', 'audio.norm.'),
]
_INTERLEAVED = {
    'mlp.w13_dn.weight': ('mlp.gate_proj.weight', 'mlp.up_proj.weight'),
    'mlp.experts.w13_weight': ('mlp.experts.gate_up_proj',),
    'mlp.shared_experts.shared_w13_weight': (
        'mlp.shared_experts.gate_proj',
        'mlp.shared_experts.up_proj',
    ),
}


def read_config(folder: Path) -> TransformerConfig:
    """Translates the configuration of a checkpoint.

    Args:
        folder: Holds `config.json`.

    Returns:
        The same shapes in our terms; unbounded full layers, as in the reference.

    Raises:
        ValueError: If the file is missing or describes something else.
    """
    path = Path(folder) / 'config.json'
    if not path.is_file():
        raise ValueError(f'folder must hold config.json, got {folder}')
    values = json.loads(path.read_text())
    text = values.get('text_config', values)
    if text.get('model_type', 'inkling_text') not in ('inkling_text', 'inkling_model'):
        raise ValueError(f'config.json must be of an Inkling model, got {text["model_type"]!r}')
    return config_from_text(text)


def config_from_text(text: dict[str, Any]) -> TransformerConfig:
    """Translates the `text_config` of a checkpoint.

    Args:
        text: JSON object with the public names.

    Returns:
        The same shapes in our terms.
    """
    layers = text['num_hidden_layers']
    dense_width, expert_width = text.get('intermediate_size'), text.get('moe_intermediate_size')
    if text.get('dense_intermediate_size'):
        # Published files call the experts' width `intermediate_size`.
        dense_width, expert_width = text['dense_intermediate_size'], text['intermediate_size']
    return TransformerConfig(
        vocab=text['vocab_size'],
        width=text['hidden_size'],
        layer_types=_layer_types(text, layers),
        mlp_types=_mlp_types(text, layers),
        heads=text['num_attention_heads'],
        kv_heads=text['num_key_value_heads'],
        head_dim=text['head_dim'],
        sliding_heads=text['swa_num_attention_heads'],
        sliding_kv_heads=text['swa_num_key_value_heads'],
        sliding_head_dim=text['swa_head_dim'],
        window=text['sliding_window_size'],
        d_rel=text['d_rel'],
        rel_extent=text['rel_extent'],
        conv_kernel=text.get('conv_kernel_size') or text.get('sconv_kernel_size', 4),
        mlp_width=dense_width or 0,
        expert_width=expert_width or 0,
        experts=text['n_routed_experts'],
        experts_per_token=text['num_experts_per_tok'],
        shared_experts=text['n_shared_experts'],
        route_scale=text['route_scale'],
        shared_expert_sink=text.get('shared_expert_sink', True),
        norm_eps=text['rms_norm_eps'],
        logits_divisor=text['logits_mup_width_multiplier'],
        log_scaling_floor=text.get('log_scaling_n_floor'),
        log_scaling_alpha=text.get('log_scaling_alpha', 0.1),
    )


def _layer_types(text: dict[str, Any], layers: int) -> tuple[str, ...]:
    if text.get('layer_types'):
        return tuple('full' if kind == 'hybrid' else 'sliding' for kind in text['layer_types'])
    local = text.get('local_layer_ids')
    if local is None:
        local = [layer for layer in range(layers) if (layer + 1) % 6]
    return tuple('sliding' if layer in set(local) else 'full' for layer in range(layers))


def _mlp_types(text: dict[str, Any], layers: int) -> tuple[str, ...]:
    if text.get('mlp_layer_types'):
        return tuple(text['mlp_layer_types'])
    dense = text.get('dense_mlp_idx', 0)
    return tuple('dense' if layer < dense else 'sparse' for layer in range(layers))


class Checkpoint:
    """Tensors of a folder of safetensors files, read one at a time.

    Args:
        folder: Holds one file, or several and an index.

    Raises:
        ValueError: If there are no such files.
    """

    def __init__(self, folder: Path) -> None:
        folder = Path(folder)
        if (folder / INDEX_FILE).is_file():
            files = json.loads((folder / INDEX_FILE).read_text())['weight_map']
        elif (folder / SINGLE_FILE).is_file():
            with safe_open(folder / SINGLE_FILE, framework='pt') as file:
                files = dict.fromkeys(file.keys(), SINGLE_FILE)
        else:
            raise ValueError(f'folder must hold {INDEX_FILE} or {SINGLE_FILE}, got {folder}')
        self.folder = folder
        self.sources: dict[str, tuple[str, str, Callable]] = {}
        for stored, file in files.items():
            for name, convert in _targets(stored):
                self.sources[name] = (stored, file, convert)

    def names(self) -> list[str]:
        """Returns the names of all tensors, in one spelling."""
        return list(self.sources)

    def read(self, name: str) -> torch.Tensor:
        """Reads one tensor.

        Args:
            name: As from `names`.

        Returns:
            The tensor as stored.

        Raises:
            ValueError: If there is no such tensor.
        """
        if name not in self.sources:
            raise ValueError(f'checkpoint must hold {name!r}, not found in {self.folder}')
        stored, file, convert = self.sources[name]
        with safe_open(self.folder / file, framework='pt') as tensors:
            return convert(tensors.get_tensor(stored))


def _targets(stored: str) -> Iterator[tuple[str, Callable]]:
    """Yields the names, in one spelling, of what a stored tensor holds."""
    name = stored
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    for suffix, targets in _INTERLEAVED.items():
        if name.endswith(suffix):
            for index, target in enumerate(targets):
                yield name.removesuffix(suffix) + target, _deinterleaver(index, len(targets))
            return
    yield name, lambda tensor: tensor


def _deinterleaver(index: int, parts: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Rows gate, up, gate, up, ... of the last but one dimension: takes gates, ups, or both."""

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        halves = tensor.unflatten(-2, (-1, 2)).transpose(-3, -2)
        return halves.flatten(-3, -2) if parts == 1 else halves.select(-3, index)

    return convert


# Our name within a block -> names within a layer of the checkpoint.
_BLOCK_SOURCES = {
    'attention_norm.weight': ['input_layernorm.weight'],
    'attention.qkvr_proj.weight': [f'self_attn.{part}_proj.weight' for part in 'qkvr'],
    'attention.kv_conv.weight_KC': [f'self_attn.{part}_sconv.weight' for part in 'kv'],
    'attention.q_norm.weight': ['self_attn.q_norm.weight'],
    'attention.k_norm.weight': ['self_attn.k_norm.weight'],
    'attention.rel_proj_RE': ['self_attn.rel_logits_proj.proj'],
    'attention.o_proj.weight': ['self_attn.o_proj.weight'],
    'attention_conv.weight_KC': ['attn_sconv.weight'],
    'mlp_norm.weight': ['post_attention_layernorm.weight'],
    'mlp.gate_up_proj.weight': ['mlp.gate_proj.weight', 'mlp.up_proj.weight'],
    'mlp.down_proj.weight': ['mlp.down_proj.weight'],
    'mlp.scale': ['mlp.global_scale'],
    'mlp.router.weight_ED': ['mlp.gate.weight'],
    'mlp.router.scale': ['mlp.gate.global_scale'],
    'mlp.router.bias_E': ['mlp.gate.e_score_correction_bias'],
    'mlp.gate_up_EXD': ['mlp.experts.gate_up_proj'],
    'mlp.down_EDI': ['mlp.experts.down_proj'],
    'mlp.shared_gate_up.weight': [f'mlp.shared_experts.{part}_proj' for part in ('gate', 'up')],
    'mlp.shared_down.weight': ['mlp.shared_experts.down_proj'],
    'mlp_conv.weight_KC': ['mlp_sconv.weight'],
}
_SOURCES = {
    'embedding.weight': 'text.embed_tokens.weight',
    'embedding_norm.weight': 'text.embed_tokens.embed_norm.weight',
    'norm.weight': 'text.norm.weight',
    'head.weight': 'lm_head.weight',
}


def _sources(name: str) -> list[str]:
    """Returns the names of the checkpoint's tensors that make up our tensor `name`."""
    if name in _SOURCES:
        return [_SOURCES[name]]
    _, layer, inner = name.split('.', 2)
    return [f'text.layers.{layer}.{source}' for source in _BLOCK_SOURCES[inner]]


def _assemble(name: str, parts: list[torch.Tensor]) -> torch.Tensor:
    """Brings the checkpoint's tensors into the layout of our tensor `name`."""
    if name.endswith('weight_KC'):
        # Published (C, 1, K).
        return torch.cat(parts).flatten(1).T
    if name.endswith('shared_gate_up.weight'):
        # Published (S, I, D) each.
        return torch.cat([part.flatten(0, 1) for part in parts])
    if name.endswith('shared_down.weight'):
        # Published (S, D, I).
        return parts[0].transpose(0, 1).flatten(1)
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def missing_tensors(model: nn.Module, checkpoint: Checkpoint) -> list[str]:
    """Lists the tensors that `model` needs and `checkpoint` lacks, without reading any.

    Args:
        model: A `Transformer`, on any device.
        checkpoint: Where to look.

    Returns:
        Names in the checkpoint's spelling.
    """
    needed = {source for name in model.state_dict() for source in _sources(name)}
    return sorted(needed - set(checkpoint.names()))


@torch.no_grad()
def load_transformer(model: nn.Module, folder: Path) -> None:
    """Copies the weights of the decoder into `model`, converting to its dtype.

    Args:
        model: A `Transformer` built from `read_config(folder)`; its vocabulary may be smaller.
        folder: A Hugging Face checkpoint.

    Raises:
        ValueError: If a tensor is missing or has another shape.
    """
    checkpoint = Checkpoint(folder)
    for name, tensor in model.state_dict(keep_vars=True).items():
        parts = [checkpoint.read(part) for part in _sources(name)]
        _copy(tensor, _assemble(name, parts), name)


@torch.no_grad()
def load_front_end(module: nn.Module, folder: Path, prefix: str) -> None:
    """Copies the weights of a front end into `module`.

    Args:
        module: `DMel` or `Hmlp` at the public values.
        folder: A Hugging Face checkpoint.
        prefix: 'audio' or 'vision'.

    Raises:
        ValueError: If a tensor is missing or has another shape.
    """
    checkpoint = Checkpoint(folder)
    for name, tensor in module.state_dict(keep_vars=True).items():
        _copy(tensor, checkpoint.read(f'{prefix}.{name}'), name)


def _copy(target: torch.Tensor, source: torch.Tensor, name: str) -> None:
    if name in ('embedding.weight', 'head.weight') and source.shape[0] > target.shape[0]:
        source = source[: target.shape[0]]
    if target.shape != source.shape:
        raise ValueError(f'{name} must be {tuple(target.shape)}, got {tuple(source.shape)}')
    target.copy_(source)


def main() -> None:
    """Checks a checkpoint, and writes it in our layout if asked to."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--init-from', type=Path, required=True, help='Hugging Face folder')
    parser.add_argument('--output', type=Path, help='safetensors file with our tensor names')
    parser.add_argument('--dtype', default='bfloat16', choices=('bfloat16', 'float32'))
    arguments = parser.parse_args()
    config = read_config(arguments.init_from)
    with torch.device('meta'):
        model = Transformer(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f'{config.layers} layers of width {config.width}, {parameters:,} parameters')
    if arguments.output is None:
        missing = missing_tensors(model, Checkpoint(arguments.init_from))
        print(f'missing: {missing}' if missing else 'every tensor is there')
        raise SystemExit(bool(missing))
    model = model.to(getattr(torch, arguments.dtype)).to_empty(device='cpu')
    load_transformer(model, arguments.init_from)
    save_file(model.state_dict(), arguments.output)


if __name__ == '__main__':
    main()
