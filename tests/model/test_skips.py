# SPDX-License-Identifier: Apache-2.0
"""Long sessions made short: nothing that matters is left out, and the clock goes on as it would."""

from itertools import pairwise

import numpy as np
import pytest
from burst_bank import write_burst_bank

from interaction_node.model.data import skips
from interaction_node.model.data.feed import LENGTHS, load_store, tokens_of
from interaction_node.model.data.ideal import Targets
from interaction_node.model.data.script_speech import Script
from interaction_node.model.data.sessions import SessionFactory
from interaction_node.model.data.skips import leave_out, ranges_to_skip
from interaction_node.model.data.tensors import Session, collate
from interaction_node.model.timer import SECOND_TURNS, timer_words
from interaction_node.model.tokens import default_vocabulary, number_words


@pytest.fixture(scope='module')
def long_sessions(tmp_path_factory):
    store = load_store(write_burst_bank(tmp_path_factory.mktemp('skips') / 'bank'), 'train', 1)

    def of(theme, count=60):
        factory = SessionFactory(store, default_vocabulary(), 4, {theme: 1.0})
        made = [factory.make() for _ in range(count)]
        return [session for session in made if session.turns_N is not None]

    return of


def words(session, tokens):
    return [default_vocabulary().tokens[token] for token in tokens]


def test_a_reminder_after_a_minute_fits_into_a_session(long_sessions):
    found = long_sessions('time', 100)
    assert len(found) > 10
    latest = max(session.turns_N[-1] for session in found)
    assert latest > 60 * SECOND_TURNS
    short = [session for session in found if tokens_of(session) <= LENGTHS[-1]]
    assert len(short) > 0.8 * len(found)
    for session in found:
        for n, (before, after) in enumerate(pairwise(session.turns_N)):
            # While the timer runs and is not set again it has gone on as far as the clock.
            if session.elapsed[n] and session.elapsed[n + 1] > session.elapsed[n]:
                assert session.elapsed[n + 1] - session.elapsed[n] == after - before
            named = timer_words(session.elapsed[n])
            assert words(session, session.text_in[n])[: len(named)] == named


def test_a_long_count_goes_on_behind_a_gap_with_a_number_that_is_not_asked_for(long_sessions):
    # Where nothing is said behind a gap, somebody only waited.
    found = [
        (session, gap)
        for session in long_sessions('count', 300)
        for gap in np.flatnonzero(np.diff(session.turns_N) > 1) + 1
        if session.out[gap]
    ]
    assert len(found) > 10
    for session, gap in found:
        assert gap in session.unasked
        number = ' '.join(words(session, session.out[gap]))
        assert any(number_words(n).startswith(number) for n in range(101))


def _round_number_behind_gaps(sessions):
    """Of each count with a gap, whether a round number comes soon behind it."""
    ones = [number_words(n) for n in range(1, 10)]
    found = []
    for session in sessions:
        gaps = np.flatnonzero(np.diff(session.turns_N) > 1) + 1
        if len(gaps) == 1 and session.out[gaps[0]]:
            said = [word for out in session.out[gaps[0] :] for word in words(session, out)]
            said = [word for word in said if not word.startswith('<')][:14]
            rounds = {number_words(n) for n in range(20, 101, 10)} | {'ten', 'hundred'}
            found.append(any(a in rounds and b not in ones for a, b in pairwise([*said, 'end'])))
    return found


def test_behind_the_gap_a_count_comes_to_its_last_tens(long_sessions, monkeypatch):
    monkeypatch.setattr(skips, 'TENS_SHARE', 1.0)
    found = _round_number_behind_gaps(long_sessions('count', 200))
    assert len(found) > 10 and np.mean(found) > 0.9
    monkeypatch.setattr(skips, 'TENS_SHARE', 0.0)
    assert np.mean(_round_number_behind_gaps(long_sessions('count', 200))) < 0.85


def test_the_batch_has_the_clock_of_the_whole_session(long_sessions):
    session = next(s for s in long_sessions('time') if tokens_of(s) <= LENGTHS[-1])
    batch = collate([session], default_vocabulary(), np.random.default_rng(0))
    expected = session.start_turn + session.turns_N
    assert batch.clock_BN[0, : len(expected)].tolist() == expected.tolist()
    assert len(expected) == int(batch.valid_BN.sum())


def quiet(turns):
    return Targets([[] for _ in range(turns)], [False] * turns, [False] * turns)


@pytest.mark.parametrize(
    'happens', ['nothing', 'a word', 'speech', 'a line', 'a person', 'the turn before']
)
def test_only_waiting_is_left_out(happens):
    script, targets, speaks = Script(skips=[(95, 305)]), quiet(40), np.zeros(40, bool)
    if happens == 'a word':
        targets.tokens[20] = ['now']
    elif happens == 'speech':
        targets.speak[29] = True
    elif happens == 'a line':
        script.typed.append((150, '<user>', 'stop'))
    elif happens == 'a person':
        speaks[12] = True
    elif happens == 'the turn before':
        targets.speak[9] = True  # sounds in the first that would be left out
    found = ranges_to_skip(script, targets, speaks, np.random.default_rng(0))
    assert found == ([(10, 30)] if happens == 'nothing' else [])


def test_what_is_left_is_as_it_was():
    count = 12
    numbered = np.arange(count, dtype=np.float32)[:, None, None]
    whole = Session(
        user_NFM=np.broadcast_to(numbered, (count, 10, 4)),
        own_NFM=np.broadcast_to(-numbered, (count, 10, 4)),
        text_in=[[n] for n in range(count)],
        out=[[n, n] for n in range(count)],
        speak=[n % 2 == 0 for n in range(count)],
        heard=[[] for _ in range(count)],
        start_turn=100,
        elapsed=list(range(count)),
        unasked={2, 5, 9},
    )
    assert leave_out(whole, []) is whole
    left = leave_out(whole, [(3, 6), (8, 9)])
    kept = [0, 1, 2, 6, 7, 9, 10, 11]
    assert left.turns_N.tolist() == left.elapsed == kept
    assert left.user_NFM[:, 0, 0].tolist() == kept
    assert left.own_NFM[:, 0, 0].tolist() == [-n for n in kept]
    assert left.text_in == [[n] for n in kept]
    assert left.speak == [n % 2 == 0 for n in kept]
    assert left.unasked == {2, 5}  # 2 and 9, as they are numbered now
