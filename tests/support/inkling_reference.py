# SPDX-License-Identifier: Apache-2.0
"""The public Inkling code, in sizes that a test can run; skips the test where it is missing."""

import json
import os
from pathlib import Path

import pytest
import torch

os.environ.setdefault('HF_HUB_OFFLINE', '1')
VERSION = '5.23.0'
REASON = f'transformers=={VERSION}, the reference, is not installed'

TEXT = {
    'vocab_size': 48,
    'hidden_size': 32,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'head_dim': 8,
    'swa_num_attention_heads': 6,
    'swa_num_key_value_heads': 3,
    'swa_head_dim': 12,
    'sliding_window_size': 8,
    'd_rel': 4,
    'rel_extent': 12,
    'intermediate_size': 48,
    'moe_intermediate_size': 16,
    'n_routed_experts': 6,
    'num_experts_per_tok': 2,
    'mlp_layer_types': ['dense', 'sparse', 'sparse', 'dense'],
    'layer_types': ['hybrid_sliding', 'hybrid', 'hybrid_sliding', 'hybrid'],
}


def reference():
    """Returns the module with the public code, or skips the test."""
    return pytest.importorskip(
        'transformers.models.inkling.modeling_inkling', reason=REASON, exc_type=ImportError
    )


def text_config(**changes):
    """A small configuration in the public terms."""
    reference()
    from transformers.models.inkling.configuration_inkling import InklingTextConfig

    return InklingTextConfig(**TEXT, **changes)


@torch.no_grad()
def randomise(module):
    """Gives every weight a random value, so that none is one or zero by chance of its start."""
    for name, parameter in module.named_parameters():
        parameter.normal_(1.0 if 'norm' in name or 'scale' in name else 0.0, 0.3)
    for name, buffer in module.named_buffers():
        if 'correction' in name:
            buffer.normal_(0.0, 0.2)
    return module.eval()


def text_model(**changes):
    """A language model with random weights."""
    torch.manual_seed(0)
    return randomise(reference().InklingForCausalLM(text_config(**changes)))


def save(model, folder: Path, shard_size: str = '40KB') -> Path:
    """Writes a checkpoint of several files and an index, as on the hub."""
    model.save_pretrained(folder, max_shard_size=shard_size)
    assert len(json.loads((folder / 'model.safetensors.index.json').read_text())['weight_map']) > 9
    return folder
