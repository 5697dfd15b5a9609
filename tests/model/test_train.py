# SPDX-License-Identifier: Apache-2.0
"""The trainer: in one process, in two, resumed; and its curves."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from burst_bank import write_burst_bank
from torch._dynamo.utils import counters

from interaction_node.model.checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from interaction_node.model.curves import draw_curves
from interaction_node.model.data.feed import load_store
from interaction_node.model.data.sessions import SessionFactory
from interaction_node.model.data.tensors import collate
from interaction_node.model.export import export
from interaction_node.model.losses import (
    CALM_WEIGHT,
    SILENT_WEIGHT,
    compute_losses,
    to_tensors,
)
from interaction_node.model.parallel import Ranks
from interaction_node.model.tokens import Vocabulary, default_vocabulary
from interaction_node.model.train import Trainer, compile_net, hear_for_itself, keep_ear

ROOT = Path(__file__).parents[2]
SIDE_BY_SIDE = ROOT / 'tests' / 'support' / 'train_side_by_side.py'


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
    return write_burst_bank(tmp_path_factory.mktemp('trained') / 'bank', each=4)


def torchrun(*arguments):
    """Two processes on the CPU, as the documentation says."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += ['--nproc-per-node', '2', *map(str, arguments)]
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=500)


def test_a_deep_decoder_compiles_no_more_than_its_two_types_of_block():
    config = preset('tiny', 50)
    decoder = dataclasses.replace(
        config.transformer, layer_types=('sliding', 'full') * 2, mlp_types=('dense',) * 4
    )
    net = build_net(dataclasses.replace(config, transformer=decoder))
    sequences = [torch.randn(2, n, decoder.width, requires_grad=True) for n in (48, 64)]
    eager = [net.transformer(each) for each in sequences]
    compile_net(net, backend='aot_eager')
    counters.clear()
    for each, wanted in zip(sequences, eager, strict=True):
        torch.testing.assert_close(net.transformer(each), wanted)
    assert counters['stats']['unique_graphs'] == 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_learn_as_one_and_go_on_where_they_stopped(bank, tmp_path):
    runs = []
    for seed in (0, 5):  # the second run's own weights must not matter
        torchrun(SIDE_BY_SIDE, bank, tmp_path, seed)
        runs.append([json.loads((tmp_path / f'rank{i}.json').read_text()) for i in (0, 1)])
    for rank, facts in enumerate(runs[0]):
        assert facts['pictures'] == bool(rank)
        assert facts['own_gradients_differ']
        assert facts['gradients_equal']
        assert facts['gradients_are_the_mean']
        assert facts['weights_equal']
        assert facts['averages_equal']
        assert facts['losses'][-1] < facts['losses'][0] - 0.1
    for first, second in zip(*runs, strict=True):
        assert first['first_step'] == 0
        assert second['first_step'] == len(first['losses'])
        assert second['weights_equal']
        # It goes on from what it had learned, not from the beginning.
        assert second['losses'][0] < first['losses'][len(first['losses']) // 2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_under_torchrun(bank, tmp_path):
    module = ['-m', 'interaction_node.model.train', '--preset', 'tiny', '--bank', bank]
    limits = ['--minutes', 0.1, '--tokens', 1600, '--variants', 1, '--threads', 1]
    steps = []
    for _ in range(2):
        torchrun(*module, *limits, '--device', 'cpu', '--folder', tmp_path)
        state = torch.load(tmp_path / 'state.pt', weights_only=True)
        steps.append(state['step'])
    assert 0 < steps[0] < steps[1]


def test_one_process_needs_no_group(monkeypatch):
    for name in ('WORLD_SIZE', 'RANK'):
        monkeypatch.delenv(name, raising=False)
    ranks = Ranks('cpu')
    module = torch.nn.Linear(2, 2)
    assert ranks.is_first
    assert ranks.together(module) is module
    assert ranks.agree(0.25) == 0.25
    ranks.close()


def test_curves_become_a_picture(tmp_path):
    rows = tmp_path / 'curves.jsonl'
    names = ('out', 'boundary', 'heard', 'out_correct', 'heard_correct', 'step_s', 'wait_s')
    lines = [json.dumps({'step': 20 * i} | dict.fromkeys(names, 1 / (i + 1))) for i in range(9)]
    rows.write_text(lines[0] + '\n')
    picture = tmp_path / 'curves.png'
    draw_curves(rows, picture)
    assert not picture.exists()
    rows.write_text('\n'.join(lines) + '\n{"step": 1')
    draw_curves(rows, picture)
    drawn = cv2.imread(str(picture))
    assert drawn.shape[0] > 300
    assert drawn.std() > 5


def test_the_network_reads_what_it_heard_itself(bank):
    vocabulary = default_vocabulary()
    factory = SessionFactory(load_store(bank, 'train', 1), vocabulary, 6, {'words': 1.0})
    sessions = [each for each in (factory.make() for _ in range(8)) if each.frames_N is None]
    batch = collate(sessions, vocabulary, np.random.default_rng(0), heard_tokens=True, mishear=0)
    tensors = to_tensors(batch, torch.device('cpu'))
    net = build_net(preset('tiny', len(vocabulary)))
    kilo = vocabulary['kilo']
    with torch.no_grad():
        net.heard.weight.zero_()  # nothing is heard
    before = tensors['ids'].clone()
    hear_for_itself(net, tensors, vocabulary.first_word)
    assert torch.equal(tensors['ids'], before)
    net.hear = lambda h_XD: torch.eye(len(vocabulary))[kilo].expand(len(h_XD), 2, -1)
    hear_for_itself(net, tensors, vocabulary.first_word)
    changed = tensors['ids'] != before
    places = batch.heard_pos_BNS[batch.heard_pos_BNS >= 0]
    assert (tensors['ids'][changed] == kilo).all()
    assert len(places) / 4 < changed.sum() <= len(places)


def test_a_run_begins_with_a_checkpoint_and_then_goes_on_by_itself(tmp_path):
    vocabulary = default_vocabulary()
    net = build_net(preset('tiny', len(vocabulary)))
    kept, voice = tmp_path / 'kept.safetensors', {'flow.x': torch.ones(2)}
    notes = {'steps': 70, 'trained_s': 90}
    save_checkpoint(kept, net, vocabulary, voice, notes, torch.float32)
    trainer = Trainer(tmp_path / 'run', 'tiny', 1e-3, Ranks('cpu'), kept)
    assert (trainer.step, trainer.trained_s) == (70, 90)
    for name, weight in net.state_dict().items():
        assert torch.equal(trainer.net.state_dict()[name], weight)
        assert torch.equal(trainer.average.state_dict()[name], weight)
    assert trainer.rate(0.0) < 1e-3 / 100  # optimisers without memory warm up
    trainer.step = 80
    trainer.save()
    assert Trainer(tmp_path / 'run', 'tiny', 1e-3, Ranks('cpu'), kept).step == 80
    # Its voice goes on, too.
    export(tmp_path / 'run', kept, tmp_path / 'new.safetensors', 'tiny')
    _, _, extra, exported = load_checkpoint(tmp_path / 'new.safetensors')
    assert torch.equal(extra['flow.x'], voice['flow.x'])
    assert exported['steps'] == 80


def test_the_last_weights_can_be_exported_instead_of_their_average(tmp_path):
    trainer = Trainer(tmp_path / 'run', 'tiny', 1e-3, Ranks('cpu'))
    with torch.no_grad():
        trainer.net.heard.weight.fill_(2)
        trainer.average.heard.weight.fill_(1)
    trainer.save()
    for last in (False, True):
        export(tmp_path / 'run', None, tmp_path / 'silent.safetensors', 'tiny', last)
        net, *_ = load_checkpoint(tmp_path / 'silent.safetensors')
        assert net.heard.weight.unique().tolist() == [1 + last]


def test_an_ear_that_is_kept_stays_as_it_is(bank, tmp_path):
    factory = SessionFactory(load_store(bank, 'train', 1), default_vocabulary(), 2)
    sessions = [factory.make() for _ in range(2)]
    batch = collate(sessions, default_vocabulary(), np.random.default_rng(0), heard_tokens=True)
    trainer = Trainer(tmp_path / 'run', 'tiny', 1e-3, Ranks('cpu'))
    keep_ear(trainer.net)
    before = {name: weight.clone() for name, weight in trainer.net.state_dict().items()}
    trainer.train_step(batch)
    after = trainer.net.state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    of_ear = {name for name in before if name.startswith(('ear.', 'sounds.'))}
    assert of_ear - still == {'ear.merge.weight'}
    assert 'user.mix.weight' not in still


def test_of_the_ear_that_is_trained_some_is_dropped_and_of_its_average_nothing(tmp_path):
    trainer = Trainer(tmp_path / 'run', 'tiny', 1e-3, Ranks('cpu'), ear_dropout=0.5)
    ear, average = trainer.net.ear, trainer.average.ear
    assert ear is not None and average is not None
    levels_RFM = torch.rand(1, 20, trainer.config.mels)
    silence = [each.expand(1, -1, -1) for each in ear.silence()]
    whole, some, again = (each(levels_RFM, silence)[0] for each in (average, ear, ear))
    assert not torch.equal(some, again)
    assert torch.equal(whole, average(levels_RFM, silence)[0])
    ear.eval()
    assert torch.equal(whole, ear(levels_RFM, silence)[0])


def test_a_run_goes_on_from_a_checkpoint_that_leans_towards_silence(tmp_path):
    leaning = dataclasses.replace(preset('tiny', len(default_vocabulary())), silence_bias=1.0)
    path = tmp_path / 'leaning.safetensors'
    save_checkpoint(path, build_net(leaning), default_vocabulary())
    assert Trainer(tmp_path / 'run', 'tiny', 1e-3, Ranks('cpu'), path).config.silence_bias == 0


def test_a_run_refuses_a_checkpoint_with_other_words(tmp_path):
    vocabulary = Vocabulary(['go', 'stop'])
    path = tmp_path / 'other.safetensors'
    save_checkpoint(path, build_net(preset('tiny', len(vocabulary))), vocabulary)
    with pytest.raises(ValueError, match=r'init: .*other\.safetensors has another shape'):
        Trainer(tmp_path / 'run', 'tiny', 1e-3, Ranks('cpu'), path)


def test_silence_weighs_most_where_nobody_means_the_robot(bank):
    vocabulary = default_vocabulary()
    factory = SessionFactory(load_store(bank, 'train', 1), vocabulary, 6, {'words': 1.0})
    session = next(s for s in iter(factory.make, None) if s.frames_N is None)
    net = build_net(preset('tiny', len(vocabulary)))
    boundaries = torch.zeros(len(vocabulary), dtype=torch.bool)
    totals = {}
    for theme in ('words', 'command'):
        session.theme = theme
        batch = collate([session], vocabulary, np.random.default_rng(0))
        with torch.no_grad():
            tensors = to_tensors(batch, torch.device('cpu'))
            totals[theme] = compute_losses(net, tensors, boundaries, heard_weight=0).total
    # All that is asked of it in such a session is silence.
    ratio = float(totals['words'] / totals['command'])
    assert ratio == pytest.approx(CALM_WEIGHT / SILENT_WEIGHT, rel=0.05)
