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


def test_a_smaller_ear_keeps_what_it_hears(tmp_path):
    small, large = (
        build_net(dataclasses.replace(preset('tiny', len(WORDS)), **ear))
        for ear in ({'ear_sounds': 0}, {'ear_width': 24, 'ear_blocks': 3})
    )
    for name, net in (('a', small), ('b', large)):
        with torch.no_grad():
            net.ear.merge.weight.normal_()
        save_checkpoint(tmp_path / name, net, WORDS, dtype=torch.float32)
    blend(tmp_path / 'a', tmp_path / 'b', tmp_path / 'c', 0.0)
    blended = load_checkpoint(tmp_path / 'c')[0]
    user = torch.rand(1, 4, 10, 64)
    torch.testing.assert_close(
        blended.user_tokens(user, blended.silence(1))[0],
        small.user_tokens(user, small.silence(1))[0],
        rtol=0.02,
        atol=0.05,  # of weights that were rounded to bf16
    )
    with pytest.raises(ValueError, match='another shape'):
        blend(tmp_path / 'b', tmp_path / 'a', tmp_path / 'c')


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
