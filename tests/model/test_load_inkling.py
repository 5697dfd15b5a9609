# SPDX-License-Identifier: Apache-2.0
"""Public checkpoints: written by the test in both spellings, read into our modules."""

import dataclasses
import json

import inkling_reference
import pytest
import torch
from safetensors.torch import load_file, save_file

from interaction_node.model.dmel import DMel, DMelConfig
from interaction_node.model.hmlp import Hmlp, HmlpConfig
from interaction_node.model.load_inkling import (
    Checkpoint,
    load_front_end,
    load_transformer,
    main,
    missing_tensors,
    read_config,
)
from interaction_node.model.transformer import Transformer


def public_model(**changes):
    """Text, sound and pictures, small, with random weights."""
    module = inkling_reference.reference()
    from transformers.models.inkling.configuration_inkling import InklingConfig

    torch.manual_seed(0)
    config = InklingConfig(
        text_config=inkling_reference.TEXT | changes,
        audio_config={'mel_vocab_size': 16},
        vision_config={'num_hidden_layers': 4},
        image_token_id=40,
        audio_token_id=41,
    )
    return inkling_reference.randomise(module.InklingForConditionalGeneration(config))


def published_tensors(layers=2, width=16, heads=4, size=4, experts=3, shared=2, hidden=8):
    """A checkpoint in the spelling of the published files, the second layer sparse."""
    torch.manual_seed(0)
    out = {
        'model.llm.embed.weight': torch.randn(12, width),
        'model.llm.embed_norm.weight': torch.randn(width),
        'model.llm.norm.weight': torch.randn(width),
        'model.llm.unembed.weight': torch.randn(12, width),
        'model.mtp.layers.0.something.weight': torch.randn(3),
    }
    for layer in range(layers):
        name = f'model.llm.layers.{layer}'
        extent = 6 if layer == 0 else 10
        out |= {
            f'{name}.attn_norm.weight': torch.randn(width),
            f'{name}.attn.wq_du.weight': torch.randn(heads * size, width),
            f'{name}.attn.wk_dv.weight': torch.randn(2 * size, width),
            f'{name}.attn.wv_dv.weight': torch.randn(2 * size, width),
            f'{name}.attn.wr_du.weight': torch.randn(heads * 2, width),
            f'{name}.attn.wo_ud.weight': torch.randn(width, heads * size),
            f'{name}.attn.q_norm.weight': torch.randn(size),
            f'{name}.attn.k_norm.weight': torch.randn(size),
            f'{name}.attn.k_sconv.weight': torch.randn(2 * size, 1, 4),
            f'{name}.attn.v_sconv.weight': torch.randn(2 * size, 1, 4),
            f'{name}.attn.rel_logits_proj.proj': torch.randn(2, extent),
            f'{name}.attn_sconv.weight': torch.randn(width, 1, 4),
            f'{name}.mlp_norm.weight': torch.randn(width),
            f'{name}.mlp_sconv.weight': torch.randn(width, 1, 4),
        }
    out |= {
        'model.llm.layers.0.mlp.w13_dn.weight': torch.randn(2 * hidden, width),
        'model.llm.layers.0.mlp.w2_md.weight': torch.randn(width, hidden),
        'model.llm.layers.0.mlp.global_scale': torch.randn(1),
        'model.llm.layers.1.mlp.gate.weight': torch.randn(experts + shared, width),
        'model.llm.layers.1.mlp.gate.global_scale': torch.randn(1),
        'model.llm.layers.1.mlp.gate.bias': torch.randn(experts),
        'model.llm.layers.1.mlp.experts.w13_weight': torch.randn(experts, 2 * hidden, width),
        'model.llm.layers.1.mlp.experts.w2_weight': torch.randn(experts, width, hidden),
        'model.llm.layers.1.mlp.shared_experts.shared_w13_weight': torch.randn(
            shared, 2 * hidden, width
        ),
        'model.llm.layers.1.mlp.shared_experts.shared_w2_weight': torch.randn(
            shared, width, hidden
        ),
    }
    return out


PUBLISHED_CONFIG = {
    'model_type': 'inkling_mm_model',
    'text_config': {
        'vocab_size': 12,
        'hidden_size': 16,
        'num_hidden_layers': 2,
        'num_attention_heads': 4,
        'num_key_value_heads': 2,
        'head_dim': 4,
        'swa_num_attention_heads': 4,
        'swa_num_key_value_heads': 2,
        'swa_head_dim': 4,
        'sliding_window_size': 6,
        'd_rel': 2,
        'rel_extent': 10,
        'sconv_kernel_size': 4,
        'local_layer_ids': [0],
        'dense_mlp_idx': 1,
        'intermediate_size': 8,
        'dense_intermediate_size': 8,
        'n_routed_experts': 3,
        'num_experts_per_tok': 2,
        'n_shared_experts': 2,
        'route_scale': 8.0,
        'rms_norm_eps': 1e-6,
        'logits_mup_width_multiplier': 16.0,
    },
}


@pytest.fixture
def published(tmp_path):
    """A folder as on the hub: two shards and an index."""
    tensors = published_tensors()
    names = sorted(tensors)
    shards = {'a.safetensors': names[::2], 'b.safetensors': names[1::2]}
    for file, held in shards.items():
        save_file({name: tensors[name].bfloat16() for name in held}, tmp_path / file)
    weight_map = {name: file for file, held in shards.items() for name in held}
    index = {'weight_map': weight_map}
    (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(index))
    (tmp_path / 'config.json').write_text(json.dumps(PUBLISHED_CONFIG))
    return tmp_path, tensors


def test_published_files_are_read_tensor_by_tensor(published):
    folder, tensors = published
    model = Transformer(read_config(folder))
    load_transformer(model, folder)
    stored = {name: tensor.bfloat16().float() for name, tensor in tensors.items()}
    dense, sparse = model.blocks
    layer = 'model.llm.layers'
    gates_ups = stored[f'{layer}.0.mlp.w13_dn.weight']
    expected = torch.cat([gates_ups[::2], gates_ups[1::2]])
    assert torch.equal(dense.mlp.gate_up_proj.weight, expected)
    experts = stored[f'{layer}.1.mlp.experts.w13_weight']
    assert torch.equal(sparse.mlp.gate_up_EXD[:, :8], experts[:, ::2])
    shared = stored[f'{layer}.1.mlp.shared_experts.shared_w13_weight']
    assert torch.equal(sparse.mlp.shared_gate_up.weight[8:16], shared[1, ::2])
    assert torch.equal(sparse.mlp.shared_gate_up.weight[16:24], shared[0, 1::2])
    taps = stored[f'{layer}.0.attn.v_sconv.weight']
    assert torch.equal(dense.attention.kv_conv.weight_KC[:, 8:], taps[:, 0].T)
    assert torch.equal(sparse.mlp.router.bias_E, stored[f'{layer}.1.mlp.gate.bias'])
    assert torch.isfinite(model(torch.randn(1, 9, 16))).all()


def test_configuration_is_translated(published):
    config = read_config(published[0])
    assert config.layer_types == ('sliding', 'full')
    assert config.mlp_types == ('dense', 'sparse')
    assert (config.mlp_width, config.expert_width) == (8, 8)
    assert config.logits_divisor == 16.0
    assert config.full_window is None


def test_a_missing_tensor_is_named(published):
    folder, _ = published
    index_file = folder / 'model.safetensors.index.json'
    index = json.loads(index_file.read_text())
    del index['weight_map']['model.llm.layers.1.attn.wr_du.weight']
    index_file.write_text(json.dumps(index))
    model = Transformer(read_config(folder))
    expected = 'text.layers.1.self_attn.r_proj.weight'
    assert missing_tensors(model, Checkpoint(folder)) == [expected]
    with pytest.raises(ValueError, match=expected):
        load_transformer(model, folder)


def test_another_shape_is_named(published):
    folder, _ = published
    config = dataclasses.replace(read_config(folder), expert_width=6)
    with pytest.raises(ValueError, match=r'blocks\.1\.mlp\.gate_up_EXD must be'):
        load_transformer(Transformer(config), folder)


def test_a_smaller_vocabulary_takes_the_first_rows(published):
    folder, tensors = published
    model = Transformer(dataclasses.replace(read_config(folder), vocab=5))
    load_transformer(model, folder)
    expected = tensors['model.llm.unembed.weight'][:5].bfloat16().float()
    assert torch.equal(model.head.weight, expected)


def test_folders_without_a_checkpoint_are_named(tmp_path):
    with pytest.raises(ValueError, match=r'folder must hold config\.json'):
        read_config(tmp_path)
    with pytest.raises(ValueError, match='folder must hold'):
        Checkpoint(tmp_path)


def test_command_checks_and_converts(published, monkeypatch, capsys):
    folder, _ = published
    command = ['load_inkling', '--init-from', str(folder)]
    monkeypatch.setattr('sys.argv', command)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    assert 'every tensor is there' in capsys.readouterr().out
    output = folder / 'ours.safetensors'
    monkeypatch.setattr('sys.argv', [*command, '--output', str(output), '--dtype', 'float32'])
    main()
    model = Transformer(read_config(folder))
    load_transformer(model, folder)
    stored = load_file(output)
    for name, tensor in model.state_dict().items():
        assert torch.equal(stored[name], tensor), name


@pytest.mark.parametrize('original', [True, False])
def test_a_checkpoint_of_the_public_code_gives_its_logits(tmp_path, original):
    theirs = public_model()
    theirs.save_pretrained(tmp_path, max_shard_size='2MB', save_original_format=original)
    names = json.loads((tmp_path / 'model.safetensors.index.json').read_text())['weight_map']
    assert ('model.llm.embed.weight' in names) == original
    config = read_config(tmp_path)
    ours = Transformer(config).eval()
    load_transformer(ours, tmp_path)
    sound = DMel(DMelConfig(width=config.width)).eval()
    load_front_end(sound, tmp_path, 'audio')
    pictures = Hmlp(HmlpConfig(width=config.width)).eval()
    load_front_end(pictures, tmp_path, 'vision')
    ids_T = torch.randint(0, 39, (30,))
    ids_T[4:9], ids_T[12:14] = 41, 40
    levels_BFM = torch.randint(0, 16, (1, 5, 80))
    patches = torch.randn(2, 2, 40, 40, 3)
    with torch.no_grad():
        expected = theirs(
            input_ids=ids_T[None], audio_input_ids=levels_BFM, pixel_values=patches
        ).logits
        x_BTD = ours.embed(ids_T[None])
        x_BTD[0, 4:9] = sound(levels_BFM)[0]
        x_BTD[0, 12:14] = pictures(patches[None])[0]
        found = ours.logits(ours(x_BTD))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
