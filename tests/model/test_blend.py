# SPDX-License-Identifier: Apache-2.0
"""The mean of two checkpoints."""

import dataclasses

import pytest
import torch

from interaction_node.model.blend import blend, main
from interaction_node.model.checkpoint import build_net, load_checkpoint, preset, save_checkpoint
from interaction_node.model.tokens import Vocabulary

WORDS = Vocabulary(['go', 'stop'])


def write(path, value, words=WORDS, window=96):
    config = preset('tiny', len(words))
    decoder = dataclasses.replace(config.transformer, full_window=window)
    net = build_net(dataclasses.replace(config, transformer=decoder))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)
    save_checkpoint(path, net, words, {'flow.x': torch.full((2,), value)}, {'steps': value})
    return path


def test_weights_lie_between_and_all_else_is_of_the_second(tmp_path):
    before, after = write(tmp_path / 'a', 1.0), write(tmp_path / 'b', 3.0, window=128)
    main([str(before), str(after), '--share', '0.25', '--output', str(tmp_path / 'c')])
    net, words, voice, notes = load_checkpoint(tmp_path / 'c')
    assert all((parameter == 1.5).all() for parameter in net.parameters())
    assert net.config.transformer.full_window == 128
    assert words.tokens == WORDS.tokens
    assert voice['flow.x'].tolist() == [3, 3]
    assert notes == {'steps': 3.0, 'blended_share': 0.25}


def test_what_does_not_fit_is_refused(tmp_path, capsys):
    before = write(tmp_path / 'a', 1.0)
    after = write(tmp_path / 'b', 3.0, Vocabulary(['go', 'wait']))
    with pytest.raises(ValueError, match='another shape or vocabulary'):
        blend(before, after, tmp_path / 'c')
    with pytest.raises(ValueError, match='share: 2'):
        blend(before, before, tmp_path / 'c', 2)
    with pytest.raises(SystemExit, match='1'):
        main([str(before), str(after), '--output', str(tmp_path / 'c')])
    assert 'blend: before:' in capsys.readouterr().err
