# SPDX-License-Identifier: Apache-2.0
"""The presets build, the largest on the meta device; their table is up to date."""

from pathlib import Path

import pytest
import torch

from interaction_node.model import presets
from interaction_node.model.transformer import Transformer


@pytest.mark.parametrize('name', ['nano', 'orin', 'inkling_small'])
def test_shapes_run_on_the_meta_device(name):
    config = presets.preset(name).config
    with torch.device('meta'):
        model = Transformer(config).bfloat16()
        x_BTD = torch.empty(1, 1100, config.width, dtype=torch.bfloat16)
    assert model.logits(model(x_BTD)).shape == (1, 1100, config.vocab)
    state = model.init_state(1, 16, torch.bfloat16, 'meta', capacity=8192)
    assert model.append(x_BTD[:, :14], state).shape == (1, 14, config.width)


def test_inkling_small_has_the_published_size():
    cost = presets.cost(presets.preset('inkling_small'))
    assert 260e9 < cost.parameters < 276e9
    assert 11.5e9 < cost.active_parameters < 12.5e9


def test_nano_and_orin_fit_their_devices():
    nano, orin = (presets.cost(presets.preset(name)) for name in ('nano', 'orin'))
    assert nano.parameters < 10e6
    assert 200e6 < orin.parameters < 1e9
    assert orin.floor_ms(presets.DEVICES_GB_S['Orin Nano Super']) < 50


def test_bytes_of_a_dense_decoder_are_those_of_its_weights_and_state():
    choice = presets.preset('nano')
    cost = presets.cost(choice)
    model = Transformer(choice.config)
    read = sum(p.numel() for p in model.parameters()) - model.embedding.weight.numel()
    expected = (1 + choice.decode_steps) * (2 * read + cost.state_bytes)
    assert cost.turn_bytes == expected
    state = model.init_state(1, 1, torch.bfloat16)
    kept = sum(2 * block.attention.k_BKRF.nbytes for block in state.blocks)
    # Rings are rounded up to a multiple of eight slots.
    assert cost.state_bytes <= kept < 1.2 * cost.state_bytes


def test_table_is_up_to_date():
    path = Path(presets.__file__).with_name('presets.md')
    assert path.read_text() == presets.table(), 'run: python -m interaction_node.model.presets'


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match='name must be one of'):
        presets.preset('huge')
