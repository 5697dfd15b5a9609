# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: safetensors with the configuration and the vocabulary in their metadata."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .config import TransformerConfig
from .interaction_net import InteractionNet, NetConfig
from .skills import Slot
from .sounds import SOUNDS
from .tokens import CONTROLS, Vocabulary

FORMAT = 'duplex-interaction-1'


def preset(name: str, vocab: int) -> NetConfig:
    """The shape of a network by name.

    Args:
        name: 'nano' or 'tiny' (for tests).
        vocab: Number of tokens.

    Raises:
        ValueError: There is no such preset.
    """
    presets = {
        'nano': NetConfig(
            TransformerConfig(
                vocab=vocab,
                width=192,
                layer_types=('sliding', 'sliding', 'full', 'sliding', 'sliding', 'full'),
                heads=3,
                kv_heads=1,
                head_dim=64,
                mlp_width=512,
                window=96,
                d_rel=8,
                rel_extent=192,
                full_window=2048,
            ),
            video_hidden=128,
            audio_conv=128,
            ear_blocks=12,
            ear_width=256,
            ear_sounds=len(SOUNDS),
            heard_tokens=True,
            mark_turns=320,
        ),
        'tiny': NetConfig(
            TransformerConfig(
                vocab=vocab,
                width=32,
                layer_types=('sliding', 'full'),
                heads=2,
                kv_heads=1,
                head_dim=16,
                mlp_width=64,
                window=24,
                d_rel=4,
                rel_extent=32,
                full_window=96,
            ),
            audio_hidden=48,
            video_hidden=16,
            audio_conv=16,
            ear_blocks=2,
            ear_width=16,
            ear_sounds=len(SOUNDS),
            heard_tokens=True,
            mark_turns=64,
        ),
    }
    if name not in presets:
        raise ValueError(f'preset: {name!r}, expected one of {sorted(presets)}')
    return presets[name]


def build_net(config: NetConfig) -> InteractionNet:
    """A network with fresh weights."""
    return InteractionNet(config)


def save_checkpoint(
    path: Path,
    net: InteractionNet,
    vocabulary: Vocabulary,
    extra: dict[str, torch.Tensor] | None = None,
    notes: dict | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Writes weights, shape and vocabulary to one file.

    Args:
        path: Where to write; its folder is made.
        net: The network.
        vocabulary: Its tokens.
        extra: Further tensors, e.g. the flow head's under 'flow.'.
        notes: JSON-ready facts about the training.
        dtype: Type of the stored weights.
    """
    tensors = {f'net.{name}': tensor for name, tensor in net.state_dict().items()}
    tensors |= extra or {}
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    metadata = {
        'format': FORMAT,
        'config': json.dumps(dataclasses.asdict(net.config)),
        'words': ' '.join(vocabulary.words),
        'controls': ' '.join(vocabulary.controls),
        'notes': json.dumps(notes or {}),
    }
    if vocabulary.signatures:
        metadata['skills'] = json.dumps(
            {name: [vars(slot) for slot in slots] for name, slots in vocabulary.signatures.items()}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata)


def load_checkpoint(path: Path) -> tuple[InteractionNet, Vocabulary, dict[str, torch.Tensor], dict]:
    """Reads a checkpoint in fp32.

    Returns:
        The network, its vocabulary, the other tensors, and the notes.

    Raises:
        ValueError: The file is missing or no checkpoint of this package.
    """
    if not path.is_file():
        raise ValueError(f'checkpoint: {path} does not exist, expected a .safetensors file')
    try:
        opened = safe_open(path, 'pt')
    except SafetensorError as error:
        raise ValueError(f'checkpoint: {path} is no .safetensors file ({error})') from None
    with opened as file:
        metadata = file.metadata() or {}
        if metadata.get('format') != FORMAT:
            raise ValueError(
                f'checkpoint: {path} has format {metadata.get("format")!r}, expected {FORMAT!r}'
            )
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    config = _config(json.loads(metadata['config']))
    net = build_net(config)
    own = {name[4:]: t for name, t in tensors.items() if name.startswith('net.')}
    net.load_state_dict(own)
    extra = {name: t for name, t in tensors.items() if not name.startswith('net.')}
    return net.eval(), _vocabulary(metadata), extra, json.loads(metadata['notes'])


def _vocabulary(metadata: dict[str, str]) -> Vocabulary:
    taught = json.loads(metadata.get('skills', '{}'))
    signatures = {name: tuple(Slot(**slot) for slot in slots) for name, slots in taught.items()}
    controls = metadata.get('controls', '').split() or CONTROLS[: CONTROLS.index('<mark>')]
    return Vocabulary(metadata['words'].split(), signatures, controls)


def _config(values: dict) -> NetConfig:
    transformer = TransformerConfig(**values.pop('transformer'))
    values['video_patches'] = tuple(values['video_patches'])
    return NetConfig(transformer, **values)
