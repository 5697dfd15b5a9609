# SPDX-License-Identifier: Apache-2.0
"""Sessions of one network don't notice each other, and a session doesn't notice a restart."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_session import bits, memory, noise, small_session

from interaction_node.model.interface import MicroTurn, Role, TextInput
from interaction_node.model.session import step_together
from interaction_node.model.snapshot import Snapshot

X86 = 'x86' in torch.backends.quantized.supported_engines
LINES = {
    2: (TextInput(Role.USER, 'when you hear kilo say seven ' * 4),),
    6: (TextInput(Role.PLANNER, 'the red cup is in the kitchen'),),
    8: (TextInput(Role.SYSTEM, 'summary: kilo is seven'),),
}


@pytest.mark.skipif(not X86, reason='weights are packed on x86 only')
def test_together_gives_the_same_bits_as_alone():
    turns = [noise(16, seed=1, lines=LINES), noise(16, seed=2), noise(16, seed=3, frames=False)]
    first = small_session(speaks=True)
    together = [first, first.sibling(), first.sibling(seed=5)]
    found = [[], [], []]
    for number in range(16):
        # One has come later than the others.
        present = [0, 1, 2] if number >= 4 else [0, 1]
        results = step_together([together[i] for i in present], [turns[i][number] for i in present])
        for i, result in zip(present, results, strict=True):
            found[i].append(bits(result))
    assert any(speech for _, speech, _ in found[0])
    for i, live in enumerate(turns):
        alone = small_session(speaks=True).sibling(seed=5 if i == 2 else 0)
        expected = [bits(alone.step(turn)) for turn in (live[4:] if i == 2 else live)]
        assert found[i] == expected
        assert memory(together[i]) == memory(alone)


def test_siblings_share_weights_and_nothing_else():
    session = small_session()
    other = session.sibling()
    assert other._net is session._net
    assert other._decoder is session._decoder
    before = memory(other)
    for turn in noise(5):
        session.step(turn)
    assert memory(other) == before
    other.close()
    session.close()


def test_strangers_can_not_be_stepped_together():
    session, turn = small_session(), noise(1)[0]
    for sessions in ([session, session], [session, small_session()]):
        with pytest.raises(ValueError, match='expected different siblings of one session'):
            step_together(sessions, [turn, turn])


def test_a_bad_micro_turn_steps_nobody():
    session = small_session()
    other, before = session.sibling(), memory(session)
    short = np.zeros(100, np.int16)
    with pytest.raises(ValueError, match='user_pcm'):
        step_together([session, other], [noise(1)[0], MicroTurn(0, 0.0, short, short)])
    assert memory(session) == before


@pytest.mark.parametrize(('moment', 'offset'), [(3, 0), (9, 1000)])
def test_a_restored_session_goes_on_bit_for_bit(tmp_path, moment, offset):
    turns = noise(18, lines=LINES)
    lasting = small_session(speaks=True)
    for turn in turns[:moment]:
        lasting.step(turn)
    path = tmp_path / 'kept' / 'session.safetensors'
    lasting.snapshot().save(path)
    restored = small_session(speaks=True)
    for turn in noise(7, seed=9):
        restored.step(turn)
    restored.restore(Snapshot.load(path))
    assert memory(restored) == memory(lasting)
    # A robot that was started anew counts its micro-turns from 0 again.
    later = noise(18, lines=LINES, first=offset - moment if offset else 0)
    for old, new in zip(turns[moment:], later[moment:], strict=True):
        expected, found = lasting.step(old), restored.step(new)
        assert bits(found) == bits(expected)
        assert found.index == new.index
    assert memory(restored)[0] == memory(lasting)[0]
    assert not list(tmp_path.glob('**/*.partial'))


def test_a_snapshot_does_not_change_with_the_session():
    session = small_session(speaks=True)
    turns = noise(20)
    for turn in turns[:10]:
        session.step(turn)
    taken = session.snapshot()
    kept = {name: tensor.clone() for name, tensor in taken.tensors.items()}
    facts = json.dumps(taken.facts)
    for turn in turns[10:]:
        session.step(turn)
    assert all(torch.equal(taken.tensors[name], tensor) for name, tensor in kept.items())
    assert json.dumps(taken.facts) == facts


def test_a_snapshot_of_another_checkpoint_is_refused():
    session = small_session()
    before = memory(session)
    with pytest.raises(ValueError, match='of another checkpoint'):
        session.restore(small_session(seed=4).snapshot())
    assert memory(session) == before


@pytest.mark.parametrize('content', [None, b'not a snapshot', 'another format'])
def test_files_that_are_no_snapshots_are_named(tmp_path, content):
    path = tmp_path / 'x.safetensors'
    if content == 'another format':
        save_file({'x': torch.zeros(2)}, path, {'format': 'other'})
    elif content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r'path: .*x\.safetensors'):
        Snapshot.load(path)
