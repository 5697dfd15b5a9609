# SPDX-License-Identifier: Apache-2.0
"""The file that keeps a conversation over a restart. No ROS needed."""

import threading

import pytest
from fakes import FakeModel, LastingModel, OtherModel
from small_session import bits, memory, noise, small_session

from interaction_node.model.interface import MicroTurn, Role, TextInput
from interaction_node.model.snapshot import Snapshot
from interaction_node.session_memory import SessionMemory, open_memory

PERIOD_S = 60.0


class Reports:
    """Collects what is reported."""

    def __init__(self):
        self.open, self.values = {}, {}

    def warn(self, key, message):
        self.open[key] = message

    def resolve(self, key, message=''):
        self.open.pop(key, None)

    def set_value(self, key, value):
        self.values[key] = value


class World:
    """A model with a memory, and a clock to turn on."""

    def __init__(self, path, model=None, period_s=PERIOD_S):
        self.now_s, self.reports, self.path = 100.0, Reports(), path
        self.model = model or LastingModel()
        self.memory = SessionMemory(self.model, path, period_s, self.reports, lambda: self.now_s)
        self.memory.load()
        self.memory.begin()

    def learn(self, words):
        silence = noise(1, frames=False)[0]
        line = TextInput(Role.USER, f'learn {words}')
        self.model.step(MicroTurn(0, 0.0, silence.user_pcm, silence.own_pcm, text=(line,)))
        self.memory.after_step()

    def on_disk(self):
        self.memory._writer.submit(lambda: None).result()  # whatever waits is written then
        return Snapshot.load(self.path).facts['learnt'] if self.path.exists() else None

    @property
    def warning(self):
        return self.reports.open.get('snapshot', '')


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'folder' / 'robot.safetensors'


def test_a_conversation_outlives_its_process(path):
    world = World(path)
    assert not world.memory.found
    world.learn('red cup')
    world.memory.end()
    world.memory.close()
    again = World(path)
    assert again.memory.found == str(path)
    assert again.model._learnt == ['red', 'cup']
    assert not again.warning
    assert not list(path.parent.glob('*.partial'))


def test_it_is_written_once_a_period_and_at_the_end(path):
    world = World(path)
    world.learn('one')
    assert world.on_disk() is None
    world.now_s += PERIOD_S
    world.learn('two')
    assert world.on_disk() == ['one', 'two']
    world.now_s += PERIOD_S - 1
    world.learn('three')
    assert world.on_disk() == ['one', 'two']
    assert world.reports.values['snapshot_ms'] >= 0
    world.memory.end()
    assert world.on_disk() == ['one', 'two', 'three']


def test_without_a_period_only_at_the_end(path):
    world = World(path, period_s=0.0)
    world.now_s += 1e6
    world.learn('one')
    assert world.on_disk() is None
    world.memory.end()
    assert world.on_disk() == ['one']


def test_a_slow_disk_holds_no_step_up_and_nothing_piles_up(path, monkeypatch):
    release, saved = threading.Event(), []

    def save(snapshot, path):
        assert release.wait(10.0)
        saved.append(snapshot.facts['learnt'])

    monkeypatch.setattr(Snapshot, 'save', save)
    world = World(path)
    for word in ('one', 'two', 'three'):
        world.now_s += PERIOD_S
        world.learn(word)
    release.set()
    world.memory.end()
    assert saved == [['one'], ['one', 'two', 'three']]


def test_it_goes_on_after_a_pause_in_the_same_process(path):
    world = World(path)
    world.learn('one')
    world.memory.end()
    world.model.reset()
    world.memory.begin()
    assert world.model._learnt == ['one']


def test_a_reset_removes_what_is_remembered(path):
    world = World(path)
    world.learn('one')
    world.memory.end()
    world.memory.begin()
    world.now_s += PERIOD_S
    world.learn('two')  # may still be on its way to the disk
    world.model.reset()
    world.memory.forget()
    assert world.on_disk() is None
    assert not world.memory.found
    world.learn('three')
    world.memory.end()
    assert World(path).model._learnt == ['three']


@pytest.mark.parametrize('content', [b'', b'no snapshot at all', b'\x08' + bytes(7) + b'{"a": {}'])
def test_a_broken_file_is_named_and_the_conversation_begins_anew(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    world = World(path)
    assert str(path) in world.warning
    assert 'model.snapshot_file' in world.warning
    assert not world.memory.found
    world.learn('one')
    world.memory.end()
    assert not world.warning
    assert world.on_disk() == ['one']


def test_a_file_of_another_checkpoint_is_named(path):
    other = World(path, OtherModel())
    other.memory.end()
    world = World(path)
    assert str(path) in world.warning
    assert 'of another checkpoint' in world.warning
    assert world.model._learnt == []


def test_facts_that_are_missing_are_no_end(path):
    Snapshot({}, {'checkpoint': 'lasting'}).save(path)
    world = World(path)
    assert 'KeyError' in world.warning
    assert world.model._learnt == []


def test_a_folder_that_can_not_be_written_is_told_until_it_can(path):
    path.parent.write_text('a file where the folder should be')
    world = World(path)
    world.learn('one')
    world.memory.end()
    assert f'{path} can not be written' in world.warning
    path.parent.unlink()
    world.memory.end()
    assert not world.warning
    assert world.on_disk() == ['one']


def test_a_model_that_can_not_be_kept_is_told():
    reports = Reports()
    assert open_memory(FakeModel(), 'fakes:load_session', 'a.safetensors', 1.0, reports) is None
    told = reports.open['snapshot']
    for part in ("'model.snapshot_file'", "'a.safetensors'", "'fakes:load_session'"):
        assert part in told
    assert open_memory(FakeModel(), 'fakes:load_session', '', 1.0, reports) is None
    assert not reports.open


def test_a_real_session_goes_on_bit_for_bit(path):
    turns = noise(8)
    lasting, other = small_session(), small_session()
    keeper = open_memory(lasting, 'small', str(path), PERIOD_S, Reports())
    keeper.begin()
    for turn in turns[:4]:
        lasting.step(turn)
    keeper.end()
    keeper.close()
    expected = [bits(lasting.step(turn)) for turn in turns[4:]]
    again = open_memory(other, 'small', str(path), PERIOD_S, Reports())
    again.begin()
    assert [bits(other.step(turn)) for turn in noise(8)[4:]] == expected
    assert memory(other)[0] == memory(lasting)[0]
