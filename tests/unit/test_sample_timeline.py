# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from interaction_node.sample_timeline import Placement, SampleTimeline

pushes = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 30)), max_size=30)


@given(pushes, st.integers(1, 40), st.integers(20, 200))
def test_the_first_of_each_position_stays_whatever_the_order(schedule, window, capacity):
    timeline = SampleTimeline(capacity)
    kept = {}
    heard = []
    value = 0
    for number, (start, count) in enumerate(schedule):
        pcm = np.arange(value + 1, value + count + 1, dtype=np.int16)
        value += count
        placed = timeline.insert(start, pcm)
        late = [p for p in range(start, start + count) if p < len(heard)]
        far = [p for p in range(start, start + count) if p >= len(heard) + capacity]
        fresh = [p for p in range(start, start + count) if p not in kept and p >= len(heard)]
        fresh = [p for p in fresh if p not in far]
        kept.update({p: int(pcm[p - start]) for p in fresh})
        overlap = count - len(late) - len(far) - len(fresh)
        assert placed == Placement(len(fresh), len(late), overlap, 0, len(far))
        assert timeline.newest == (max(kept) + 1 if kept else None)
        if number % 3 == 2:
            expected = [kept.get(p, 0) for p in range(len(heard), len(heard) + window)]
            taken, gap = timeline.take(window)
            assert taken.tolist() == expected
            assert gap == expected.count(0)
            heard += expected
            assert timeline.begin == len(heard)
    waiting = [p for p in kept if p >= len(heard)]
    assert timeline.count(timeline.begin, timeline.begin + 400) == len(waiting)
    assert timeline.end == max([*waiting, timeline.begin - 1]) + 1


def test_pieces_are_copies():
    timeline = SampleTimeline(100)
    pcm = np.ones(10, np.int16)
    timeline.insert(0, pcm)
    pcm[:] = 2
    assert timeline.take(10)[0].tolist() == [1] * 10
