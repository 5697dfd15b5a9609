# SPDX-License-Identifier: Apache-2.0
"""A summary stands for what is out of sight: read when something is, and when it is itself."""

import itertools

from small_session import noise, small_session

from interaction_node.model.interface import Role, TextInput
from interaction_node.model.summary import Summary

WINDOW = 96


def read_in(session, turns):
    """Number of tokens appended before each reading of the summary."""
    takes, found = session._lines.summary.take, []

    def take(position):
        text = takes(position)
        found.extend([position] if text else [])
        return text

    session._lines.summary.take = take
    for turn in turns:
        session.step(turn)
    return found


def test_it_is_read_when_the_beginning_and_again_when_it_is_out_of_sight():
    session = small_session()
    session.remember('kilo seven')
    found = read_in(session, noise(80, frames=False))
    assert WINDOW <= found[0] < WINDOW + 20
    assert len(found) >= 3
    for before, after in itertools.pairwise(found):
        assert WINDOW <= after - before < WINDOW + 20


def test_the_model_reads_it_as_a_line_of_the_system():
    session, lines = small_session(), []
    read = session._lines.take
    session._lines.take = lambda *of: lines.append(read(*of)) or lines[-1]
    session.remember('kilo seven')
    for turn in noise(40, frames=False):
        session.step(turn)
    expected = [session._vocabulary[token] for token in ('<system>', 'kilo', 'seven', '<end>')]
    assert next(line for line in lines if line) == expected


def test_nothing_is_read_without_a_text():
    session = small_session()
    assert not read_in(session, noise(60, frames=False))


def test_a_system_line_sets_it():
    session = small_session()
    line = TextInput(Role.SYSTEM, 'summary: kilo is seven')
    session.step(noise(1, lines={0: (line,)})[0])
    assert session._lines.summary.text == 'kilo is seven'
    assert not session._lines.waiting


def test_a_long_one_is_cut():
    session = small_session()
    session.remember('kilo ' * 500)
    assert len(session._lines.summary.text.split()) == WINDOW // 4


def test_a_changed_text_is_read_at_once_when_something_is_out_of_sight():
    summary = Summary(100)
    summary.set('one')
    assert [summary.take(p) for p in (0, 99, 100, 150)] == ['', '', 'one', '']
    summary.set('two')
    assert [summary.take(p) for p in (151, 200, 251)] == ['two', '', 'two']
    summary.set('two')
    assert summary.take(252) == ''
    summary.reset()
    assert summary.take(900) == ''
