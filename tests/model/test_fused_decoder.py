# SPDX-License-Identifier: Apache-2.0
"""What a session does on a GPU, here through the kernels' references: nothing is captured.

With CUDA 12.4 it lives through a micro-turn in graphs that branch; before, the host decides what
comes next. Both ways are tested.
"""

import importlib.util
from types import SimpleNamespace

import pytest
import torch
from small_session import WORDS, bits, noise, small_session

from interaction_node.kernels.launch import can_launch
from interaction_node.model import fused_decoder, plain_decoder
from interaction_node.model import session as session_module
from interaction_node.model.captured import Captured, when
from interaction_node.model.flow_head import FlowHead
from interaction_node.model.flow_sampler import FlowSampler
from interaction_node.model.fused import FusedTransformer
from interaction_node.model.fused_decoder import FusedDecoder
from interaction_node.model.heads import Heads
from interaction_node.model.interface import Role, TextInput
from interaction_node.model.open_voice import OpenVoice
from interaction_node.model.packed_decoder import PackedDecoder
from interaction_node.model.plain_decoder import PlainDecoder, make_decoder
from interaction_node.model.session import MAX_APPEND, MAX_OUT, Session, step_together
from interaction_node.model.snapshot import Snapshot
from interaction_node.model.speech_out import SpeechOut
from interaction_node.model.tokens import Vocabulary
from interaction_node.model.vocoder import Vocoder
from interaction_node.model.voice import Voice

LINES = {
    2: (TextInput(Role.USER, 'when you hear kilo say seven ' * 4),),
    4: (TextInput(Role.USER, 'the red cup is in the kitchen'),),
}


def hearing_net():
    """A network that hears words now and then."""
    session = small_session()
    net, first = session._net, session._vocabulary.first_word
    with torch.no_grad():
        net.heard.weight.view(2, -1, net.config.transformer.width)[:, first:] *= 3
    return net, session


@pytest.fixture(params=[True, False], ids=['branches', 'asks'])
def branches(request, monkeypatch):
    """Whether graphs can branch."""
    monkeypatch.setattr(session_module, 'can_branch', lambda _device: request.param)
    return request.param


def as_on_a_gpu(net, dtype=torch.float32):
    """A session with the decoder, and with the heads, of a GPU."""
    decoder = FusedDecoder(FusedTransformer(net.transformer, dtype))
    session = Session(net, Vocabulary(WORDS), Voice(None, OpenVoice()), 'cpu', decoder)
    session._heads = Heads(net, decoder, session._bias_V, at_once=True)
    return session


@pytest.fixture
def waits(monkeypatch):
    """Counts how often the host waits for the device."""
    count = SimpleNamespace(n=0)
    wait = Captured.wait

    def counted(*args):
        count.n += 1
        return wait(*args)

    monkeypatch.setattr(Captured, 'wait', counted)
    return count


def test_a_session_decides_what_it_decides_without_the_kernels(branches):
    net, plain = hearing_net()
    fused, heard = as_on_a_gpu(net), 0
    assert (fused._graphs is not None) == branches
    for turn in noise(6, lines=LINES):
        expected, found = plain.step(turn), fused.step(turn)
        assert bits(found)[0] == bits(expected)[0]
        heard += len(found.heard)
    assert heard
    assert fused._state.appended == int(fused._state.position) == plain._state.appended
    for ours, theirs in zip(fused._state.blocks, plain._state.blocks, strict=True):
        for one, other in zip(ours.tensors(), theirs.tensors(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_the_host_waits_once_a_micro_turn_where_graphs_branch(waits, monkeypatch):
    monkeypatch.setattr(session_module, 'can_branch', lambda _device: True)
    session, heard, tokens = as_on_a_gpu(hearing_net()[0]), [], []
    act_on = session._act_on
    session._act_on = lambda out, *rest: tokens.append(len(out.tokens)) or act_on(out, *rest)
    for number, turn in enumerate(noise(8, lines=LINES)):
        heard += session.step(turn).heard
        assert waits.n == number + 1
    assert heard
    assert max(tokens) > 1


def test_without_a_picture_or_eyes_graphs_read_what_there_is(monkeypatch):
    monkeypatch.setattr(session_module, 'can_branch', lambda _device: True)
    for eyes in (True, False):
        net, plain = hearing_net()
        if not eyes:
            net.video = None
        fused = as_on_a_gpu(net)
        for turn in noise(3, frames=False) + noise(3, first=3) + noise(2, first=6, frames=False):
            assert bits(fused.step(turn))[0] == bits(plain.step(turn))[0]
        assert fused._state.appended == int(fused._state.position) == plain._state.appended


def test_where_too_much_is_said_the_turn_ends_in_silence(branches):
    net, plain = hearing_net()
    fused, ids = as_on_a_gpu(net), [plain._vocabulary[name] for name in ('<silent>', '<speak>')]
    for session in (plain, fused):
        session._bias_V[ids] = float('-inf')
    for turn in noise(2):
        expected, found = plain.step(turn), fused.step(turn)
        assert bits(found)[0] == bits(expected)[0]
        assert fused._state.appended == int(fused._state.position) == plain._state.appended


@pytest.mark.parametrize('chosen', [True, False])
def test_conditional_work_is_done_if_it_was_chosen(chosen):
    done = torch.zeros(1)
    when(torch.tensor([chosen]), lambda: done.add_(1))
    assert bool(done) == chosen


def test_the_host_waits_once_a_token_and_once_for_what_was_read(waits):
    session, tokens = as_on_a_gpu(hearing_net()[0]), []
    act_on = session._act_on
    session._act_on = lambda out, *rest: tokens.append(len(out.tokens)) or act_on(out, *rest)
    for turn in noise(8, lines=LINES):
        waits.n, appended = 0, session._state.appended
        session.step(turn)
        read = session._state.appended - appended - tokens[-1]
        # Boundary, picture, two of sound; whatever else is read takes a second pass.
        second = read > 4
        assert waits.n == min(tokens[-1] + 1, MAX_OUT) + second
    assert max(tokens) > 0


def test_heads_say_the_same_together_and_apart():
    net = small_session()._net
    decoder = PlainDecoder(net.transformer)
    bias_V = torch.zeros(net.config.transformer.vocab)
    bias_V[:5] = float('-inf')
    together, apart = (Heads(net, decoder, bias_V, at_once) for at_once in (True, False))
    with torch.inference_mode():
        for h_D in torch.randn(20, net.config.transformer.width):
            one, other = together.read(h_D), apart.read(h_D)
            assert one.heard == other.heard
            assert one.token == other.token >= 5
            assert one.probability == pytest.approx(other.probability, rel=1e-6)


@torch.inference_mode()
def test_long_texts_are_several_passes_that_leave_their_results_alone():
    net = small_session()._net
    decoder = FusedDecoder(FusedTransformer(net.transformer, torch.float32))
    state = decoder.init_state(5)
    assert sorted(state.passes) == [1, 2, 3, 4, 5]
    pieces = list(torch.randn(3, 5, net.config.transformer.width))
    found = [decoder.append([piece], [state])[0] for piece in pieces]
    plain = PlainDecoder(net.transformer)
    expected = plain.init_state(5)
    for h_tD, piece in zip(found, pieces, strict=True):
        wanted = plain.append([piece], [expected])[0]
        torch.testing.assert_close(h_tD, wanted, atol=1e-4, rtol=1e-4)
    assert state.appended == int(state.position) == 15


class LikeAGraph(Captured):
    """Behaves as on CUDA: its own input and output, and only the device moves on in a replay."""

    def __init__(self, work, x, pool=None):
        super().__init__(work, x, pool)
        self._x, self._y = torch.zeros_like(x), work(x).clone()

    def __call__(self, x):
        state = self._work.keywords['state']
        appended = state.appended
        self._x.copy_(x)
        self._y.copy_(self._work(self._x))
        state.appended = appended
        return self._y


@torch.inference_mode()
def test_replayed_passes_are_as_good_as_called_ones(monkeypatch):
    net = small_session()._net
    decoder = FusedDecoder(FusedTransformer(net.transformer, torch.float32))
    called = decoder.init_state(4)
    monkeypatch.setattr(fused_decoder, 'Captured', LikeAGraph)
    replayed = decoder.init_state(4)
    assert replayed.appended == int(replayed.position) == 0
    pieces = torch.randn(16, net.config.transformer.width).split([4, 1, 1, 4, 2, 4])
    found = [[decoder.append([x], [state])[0] for x in pieces] for state in (called, replayed)]
    assert torch.equal(torch.cat(found[0]), torch.cat(found[1]))
    assert replayed.appended == int(replayed.position) == called.appended == 16


@pytest.mark.parametrize('length', [0, MAX_APPEND + 1])
def test_too_many_tokens_are_refused(length):
    net = small_session()._net
    decoder = FusedDecoder(FusedTransformer(net.transformer, torch.float32))
    state, width = decoder.init_state(MAX_APPEND), net.config.transformer.width
    with pytest.raises(ValueError, match=f'{length} tokens in one, expected 1 to {MAX_APPEND}'):
        decoder.append([torch.zeros(length, width)], [state])
    assert state.appended == 0


def test_siblings_and_snapshots_are_as_without_the_kernels(tmp_path, branches):
    net = small_session()._net
    session = as_on_a_gpu(net, torch.bfloat16)
    other, alone = session.sibling(), session.sibling()
    turns = noise(6, lines=LINES)
    for turn, beside in zip(turns[:3], noise(3, seed=5), strict=True):
        step_together([session, other], [turn, beside])
        alone.step(turn)
    assert memory_of(session) == memory_of(alone)
    session.snapshot().save(tmp_path / 'kept.safetensors')
    restored = session.sibling()
    restored.restore(Snapshot.load(tmp_path / 'kept.safetensors'))
    for turn in turns[3:]:
        assert bits(restored.step(turn)) == bits(alone.step(turn))
    assert memory_of(restored) == memory_of(alone)
    # Rounded to 16 bits, so that the memory of a session on a processor does not fit.
    with pytest.raises(ValueError, match='expected'):
        small_session().restore(restored.snapshot())


def memory_of(session):
    taken = session.snapshot()
    return {name: tensor.tolist() for name, tensor in taken.tensors.items()}, taken.facts


@pytest.mark.parametrize(
    ('device', 'triton', 'capability', 'launches'),
    [
        ('cuda', True, (8, 7), True),
        ('cuda:1', True, (9, 0), True),
        ('cuda', True, (7, 5), False),
        ('cuda', False, (9, 0), False),
        ('cpu', True, (9, 0), False),
    ],
)
def test_kernels_are_launched_where_they_can_be(monkeypatch, device, triton, capability, launches):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda _device: capability)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda _name: triton or None)
    assert can_launch(torch.device(device)) == launches


def test_a_transformer_gets_the_decoder_of_its_device(monkeypatch, caplog):
    transformer = small_session()._net.transformer
    assert isinstance(make_decoder(transformer), PackedDecoder)
    assert not caplog.records
    monkeypatch.setattr(plain_decoder, 'can_launch', lambda _device: True)
    fused = make_decoder(transformer)
    assert isinstance(fused, FusedDecoder)
    assert fused.init_state(1).blocks[0].attention.k_BKRF.dtype == torch.bfloat16
    on_a_gpu = SimpleNamespace(
        head=SimpleNamespace(weight=SimpleNamespace(device=torch.device('cuda', 0)))
    )
    monkeypatch.setattr(plain_decoder, 'can_launch', lambda _device: False)
    monkeypatch.setattr(plain_decoder, 'can_pack', lambda _transformer: False)
    assert isinstance(make_decoder(on_a_gpu), PlainDecoder)
    assert 'no kernels on cuda:0: they need Triton' in caplog.text


@pytest.mark.parametrize('words', [[], ['seven'], ['kilo', 'when', 'you', 'hear', 'kitchen']])
def test_the_voice_of_a_gpu_says_the_same(waits, words):
    torch.manual_seed(0)
    head = FlowHead(WORDS)
    for layer in (head.out, head.modulation):
        torch.nn.init.normal_(layer.weight, std=0.05)
    torch.nn.init.normal_(head.hidden_in.weight)
    plain, kernels = SpeechOut(head, Vocoder()), SpeechOut(head, Vocoder())
    sampler = FlowSampler(head, plain.sampler.steps, torch.device('cpu'), torch.float32)
    kernels._flow = sampler
    one, other = plain.start(3), kernels.start(3)
    for block, hidden in ((words, None), ([], torch.randn(256)), (['go'], None)):
        plain.speak(one, block, hidden)
        kernels.speak(other, block, hidden)
        torch.testing.assert_close(other.past_PF, one.past_PF, atol=1e-4, rtol=1e-4)
        assert other.ended == pytest.approx(one.ended, abs=1e-5)
    assert waits.n == 3
