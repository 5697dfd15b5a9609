# SPDX-License-Identifier: Apache-2.0
"""A session on a GPU: same decisions, same bits, nothing compiled, allocated or waited for twice.

What can be tested of it without a GPU is in tests/model/test_fused_decoder.py.
"""

import pytest
import torch
from small_session import WORDS, bits, noise, small_session

from interaction_node.model import session as session_module
from interaction_node.model.captured import Captured
from interaction_node.model.flow_head import FlowHead
from interaction_node.model.fused import FusedTransformer
from interaction_node.model.fused_decoder import FusedDecoder
from interaction_node.model.interface import Role, TextInput
from interaction_node.model.open_voice import OpenVoice
from interaction_node.model.plain_decoder import PlainDecoder
from interaction_node.model.session import MAX_APPEND, Session, step_together
from interaction_node.model.speech_out import SpeechOut
from interaction_node.model.vocoder import Vocoder
from interaction_node.model.voice import Voice

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs an NVIDIA GPU'),
]
LINES = {
    2: (TextInput(Role.USER, 'when you hear kilo say seven ' * 4),),
    6: (TextInput(Role.USER, 'the red cup is in the kitchen'),),
}


@pytest.fixture(autouse=True)
def as_in_service(device):
    """Without the checks of the other tests of kernels, which allocate and wait themselves."""
    torch.use_deterministic_algorithms(False)


def gpu_session():
    session = small_session(speaks=True, device='cuda')
    assert isinstance(session._decoder, FusedDecoder)
    assert session._voice._speech._flow is not None
    return session


def memory_of(session):
    return {name: tensor.cpu() for name, tensor in session.snapshot().tensors.items()}


def assert_same_memory(one, other):
    ours, theirs = memory_of(one), memory_of(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@torch.inference_mode()
def test_hidden_states_stay_near_those_of_the_plain_decoder():
    decoder = small_session(device='cuda')._decoder
    transformer = small_session()._net.transformer
    plain = PlainDecoder(transformer)
    state, expected = decoder.init_state(MAX_APPEND), plain.init_state(MAX_APPEND)
    for length in (4, 1, 1, 16, 16, 3, 1, 9) * 4:
        x_tD = torch.randn(length, transformer.config.width)
        found = decoder.append([x_tD.cuda()], [state])[0].cpu()
        wanted = plain.append([x_tD], [expected])[0]
        # Weights, keys, values and what lies between two layers are rounded to 8 bits.
        assert (found - wanted).norm() <= 4e-2 * wanted.norm()
    assert state.appended == int(state.position) == expected.appended


def test_a_session_decides_what_it_decides_on_a_processor():
    net, plain = small_session(device='cuda')._net, small_session()
    decoder = FusedDecoder(FusedTransformer(net.transformer, torch.float32))
    vocabulary = plain._vocabulary
    session = Session(net, vocabulary, Voice(None, OpenVoice()), 'cuda', decoder)
    for turn in noise(20, lines=LINES):
        assert bits(session.step(turn))[0] == bits(plain.step(turn))[0]
    assert session._state.appended == int(session._state.position) == plain._state.appended


def test_a_session_is_the_same_bits_alone_among_others_and_after_a_restart():
    first = gpu_session()
    other, alone, restored = first.sibling(), first.sibling(), first.sibling()
    turns = noise(12, lines=LINES)
    for turn, beside in zip(turns[:8], noise(8, seed=5), strict=True):
        together = step_together([other, first], [beside, turn])[1]
        assert bits(together) == bits(alone.step(turn))
    assert_same_memory(first, alone)
    restored.restore(first.snapshot())
    for turn in turns[8:]:
        assert bits(restored.step(turn)) == bits(alone.step(turn))
    assert_same_memory(restored, alone)


def test_nothing_is_compiled_or_allocated_after_the_warm_up():
    from triton import knobs

    session, compiled = gpu_session(), []
    for turn in noise(20, lines=LINES):
        session.step(turn)
    with pytest.MonkeyPatch.context() as patch:
        note = lambda *_args, **named: compiled.append(named.get('fn'))  # noqa: E731
        patch.setattr(knobs.runtime, 'jit_post_compile_hook', note)
        before = torch.cuda.memory_allocated(), torch.cuda.memory_stats()['num_device_alloc']
        for turn in noise(60, seed=1, lines=LINES):
            session.step(turn)
        after = torch.cuda.memory_allocated(), torch.cuda.memory_stats()['num_device_alloc']
    assert compiled == []
    assert after == before


def test_the_host_waits_once_for_what_was_decided_and_once_for_the_voice(monkeypatch):
    session, waits, spoke = gpu_session(), [], []
    assert session._graphs is not None
    for turn in noise(10, lines=LINES):
        session.step(turn)
    wait = Captured.wait

    def counted(*args):
        waits.append(args)
        torch.cuda.set_sync_debug_mode('default')
        try:
            return wait(*args)
        finally:
            torch.cuda.set_sync_debug_mode('error')

    monkeypatch.setattr(Captured, 'wait', counted)
    for turn in noise(20, seed=1, lines=LINES):
        waits.clear()
        torch.cuda.set_sync_debug_mode('error')
        try:
            spoke.append(session.step(turn).voice == 'flow')
        finally:
            torch.cuda.set_sync_debug_mode('default')
        assert len(waits) == 1 + spoke[-1]
    assert any(spoke)


def test_a_graph_that_branches_decides_what_the_host_would_decide(monkeypatch):
    branching = gpu_session()
    monkeypatch.setattr(session_module, 'can_branch', lambda _device: False)
    asking = branching.sibling()
    assert asking._graphs is None
    for turn in noise(30, lines=LINES):
        assert bits(branching.step(turn)) == bits(asking.step(turn))
    assert_same_memory(branching, asking)
    assert branching._state.appended == int(branching._state.position)


def test_the_voice_says_nearly_the_same_as_on_a_processor():
    torch.manual_seed(0)
    head = FlowHead(WORDS)
    for layer in (head.out, head.modulation):
        torch.nn.init.normal_(layer.weight, std=0.05)
    plain, kernels = SpeechOut(head, Vocoder()), SpeechOut(head, Vocoder(), device='cuda')
    one, other = plain.start(3), kernels.start(3)
    for words in (['seven'], [], ['kilo', 'go']):
        plain.speak(one, words)
        kernels.speak(other, words)
        # Weights and what lies between two layers are rounded to 8 bits.
        assert (other.past_PF - one.past_PF).norm() <= 4e-2 * one.past_PF.norm()
