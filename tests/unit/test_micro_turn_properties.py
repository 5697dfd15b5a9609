# SPDX-License-Identifier: Apache-2.0
"""Arbitrary schedules of everything that can go wrong, against an oracle of its own."""

import itertools

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interaction_node.clock_settings import ClockSettings
from interaction_node.micro_turn_clock import MicroTurnClock
from interaction_node.model.interface import Missing, Role, TextInput

TURN = 3200
TICK_S = 0.01
SMALL_JUMP_S = 0.21
ROS_START_S = 1.7e9


def values(first, count, key=0):
    """Returns samples that tell where they are from: unique over 4 s, never silent."""
    unique = (np.arange(first, first + count) * 7919 + key * 31) % 65521 + 1
    return (unique - 32768 - (unique <= 32768)).astype(np.int16)


class World:
    """A room with a clock, microphones that misbehave, and a clock under test."""

    def __init__(self, chunk=320, rate=1.0, simulated=False, delay_s=0.004, **changes):
        self.clock = MicroTurnClock(ClockSettings(**changes))
        self.chunk, self.rate, self.simulated, self.delay_s = chunk, rate, simulated, delay_s
        self.now = ROS_START_S if simulated else 50.0
        self.ros = ROS_START_S
        self.sample = 0
        self.due_s = 0.0
        self.held = []
        self.handed = []
        self.placements = []
        self.in_time = np.zeros(1_000_000, bool)
        self.handed_until = 0
        self.swap = False
        self.deaf = False

    def pass_time(self, seconds, microphone=True, deliver=True, poll=True):
        """Lets time pass in ticks; the microphone hears, its chunks arrive or are held up."""
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            self.ros += TICK_S
            if microphone:
                self.due_s += TICK_S
                self.hear()
            if deliver:
                self.deliver()
            if poll:
                self.poll()

    def hear(self):
        duration_s = self.chunk / (16_000 * self.rate)
        while self.due_s >= duration_s - 1e-9:
            self.due_s -= duration_s
            stamp_s = self.ros - self.due_s - duration_s
            if not self.deaf:
                self.held.append((self.sample, self.chunk, stamp_s))
            self.sample += self.chunk

    def deliver(self):
        order = self.held[::-1] if self.swap else self.held
        self.held = []
        for first, count, stamp_s in order:
            self.push(first, count, stamp_s)

    def push(self, first, count, stamp_s, source='one', key=0):
        pcm = values(first, count, key)
        arrival_s = self.now + self.delay_s
        placed = self.clock.push_audio(first, 16_000, 1, pcm, stamp_s, arrival_s, source)
        self.placements.append(placed)
        assert sum(len(pcm) for _, pcm in placed.late_pcm) == placed.late
        self.in_time[max(first, self.handed_until) : first + count] = True
        return placed

    def poll(self):
        ros_s = None if self.simulated else self.ros + self.delay_s
        handed = self.clock.poll(self.now + self.delay_s, ros_s)
        for turn, report in handed:
            self.handed.append((self.now, turn, report))
            self.handed_until = report.first_sample + TURN
        emits = [turn.emit for turn, _ in handed]
        assert emits == [False] * (len(emits) - 1) + [True] * bool(emits)
        assert [report.backlog for _, report in handed] == list(range(len(emits)))[::-1]

    def jump(self, seconds):
        self.ros += seconds
        if self.simulated:
            self.now += seconds

    def total(self, name):
        return sum(getattr(placed, name) for placed in self.placements)


def check_numbering(world):
    for number, (_, turn, report) in enumerate(world.handed):
        assert turn.index == report.index == number
        assert turn.user_pcm.shape == turn.own_pcm.shape == (TURN,)
        assert turn.user_pcm.dtype == turn.own_pcm.dtype == np.int16
        gap = int(np.count_nonzero(turn.user_pcm == 0))
        assert report.audio_gap_samples == gap
        assert bool(turn.missing & Missing.AUDIO) == (gap > 0)
        assert report.first_sample % TURN == 0


def check_identity(world):
    """Every sample that came in time is in exactly one micro-turn, where it belongs."""
    heard = []
    for _, turn, report in world.handed:
        numbers = report.first_sample + np.flatnonzero(turn.user_pcm)
        expected = values(report.first_sample, TURN)
        assert np.array_equal(turn.user_pcm[turn.user_pcm != 0], expected[turn.user_pcm != 0])
        heard.append(numbers)
    heard = np.concatenate(heard)
    assert len(np.unique(heard)) == len(heard)
    assert np.array_equal(heard, np.flatnonzero(world.in_time[: world.handed_until]))


def check_counts(world):
    """Whatever the microphones did, every sample pushed is accounted for once."""
    heard = sum(int(np.count_nonzero(turn.user_pcm)) for _, turn, _ in world.handed)
    timeline = world.clock._microphone.timeline
    assert heard + timeline.count(timeline.begin, timeline.end) == world.total('taken')
    last = world.handed[-1][2]
    assert last.audio_late_samples <= world.total('late')


one_microphone = st.lists(
    st.one_of(
        st.tuples(st.just('talk'), st.floats(0.02, 1.5)),
        st.tuples(st.just('lose'), st.floats(0.02, 2.5)),
        st.tuples(st.just('hold'), st.floats(0.02, 0.25)),
        st.tuples(st.just('repeat'), st.integers(1, 9000)),
        st.tuples(st.just('swap'), st.floats(0.03, 0.05)),
        st.tuples(st.just('stall'), st.floats(0.05, 3.0)),
        st.tuples(st.just('ros jump'), st.floats(-100.0, 100.0)),
    ),
    min_size=1,
    max_size=12,
)


def act(world, action, amount):
    if action == 'talk':
        world.pass_time(amount)
    elif action == 'lose':
        world.deaf = True
        world.pass_time(amount)
        world.deaf = False
    elif action in ('hold', 'swap'):
        world.pass_time(amount, deliver=False)
        world.swap = action == 'swap'
        world.deliver()
        world.swap = False
    elif action == 'repeat':
        first = max(world.sample - amount, 0)
        stamp_s = world.ros - (world.sample - first) / 16_000
        world.push(first, min(amount, 700), stamp_s)
    elif action == 'stall':
        world.pass_time(amount, poll=False)
    elif action == 'ros jump':
        world.jump(amount)
        world.poll()
        world.poll()
        if abs(amount) < SMALL_JUMP_S:
            # Too small to be told from a late poll: the stamps of the next chunks tell of it, and
            # several such jumps before that would be one that nobody told of.
            world.pass_time(1.0)


@settings(max_examples=40, deadline=None)
@example([('ros jump', 0.125), ('ros jump', 0.125), ('repeat', 3901)], 160, 0.99)
@example([('hold', 0.1875), ('lose', 1.5), ('lose', 0.5), ('repeat', 3900)], 1600, 0.99)
@given(one_microphone, st.sampled_from([160, 320, 331, 1600]), st.sampled_from([0.99, 1.0, 1.01]))
def test_every_sample_that_came_in_time_is_heard_once(actions, chunk, rate):
    world = World(chunk, rate)
    # Long enough to have been anchored: before, there is nothing to be late for.
    world.pass_time(0.3)
    for action, amount in actions:
        act(world, action, amount)
    world.pass_time(0.5)
    check_numbering(world)
    check_identity(world)
    check_counts(world)
    assert world.handed[-1][2].reanchors == 1
    assert world.total('foreign') == world.total('dropped') == 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just('talk'), st.floats(0.02, 1.0)),
            st.tuples(st.just('lose'), st.floats(0.02, 1.0)),
            st.tuples(st.just('pause'), st.integers(1, 50)),
            st.tuples(st.just('jump back'), st.floats(-1000.0, -0.6)),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_simulated_time_that_pauses_and_jumps_back(actions):
    world = World(simulated=True)
    world.pass_time(0.3)
    for action, amount in actions:
        if action == 'pause':
            before = len(world.handed)
            for _ in range(amount):
                world.poll()
            assert len(world.handed) == before
        elif action == 'jump back':
            world.jump(amount)
        else:
            act(world, action, amount)
    world.pass_time(0.5)
    check_numbering(world)
    check_identity(world)
    assert world.handed[-1][2].reanchors == 1


anything = st.lists(
    st.one_of(
        one_microphone.flatmap(lambda actions: st.sampled_from(actions)),
        st.tuples(st.just('die'), st.floats(0.05, 4.0)),
        st.tuples(st.just('restart'), st.floats(0.0, 4.0)),
        st.tuples(st.just('skip'), st.integers(-50_000, 500_000)),
        st.tuples(st.just('long hold'), st.floats(0.3, 3.0)),
        st.tuples(st.just('second'), st.floats(0.1, 1.0)),
    ),
    min_size=1,
    max_size=10,
)


def act_wildly(world, action, amount):
    if action == 'die':
        world.pass_time(amount, microphone=False)
    elif action == 'restart':
        world.pass_time(amount, microphone=False)
        world.sample = 0
    elif action == 'skip':
        world.sample = max(world.sample + amount, 0)
    elif action == 'long hold':
        world.pass_time(amount, deliver=False)
        world.deliver()
    elif action == 'second':
        for number in range(round(amount / 0.02)):
            world.pass_time(0.02)
            world.push(777_000 + number * 320, 320, world.ros - 0.02, 'two', key=5)
    else:
        act(world, action, amount)


@settings(max_examples=50, deadline=None)
@given(anything, st.booleans(), st.sampled_from([0.99, 1.0, 1.01]))
def test_microphones_that_die_return_and_restart(actions, early, rate):
    world = World(rate=rate)
    world.pass_time(0.3, microphone=early)
    for action, amount in actions:
        act_wildly(world, action, amount)
    world.pass_time(1.5)
    undisturbed = world.now
    world.pass_time(1.2)
    check_numbering(world)
    check_counts(world)
    if not any(action == 'stall' for action, _ in actions):
        times = [at for at, _, _ in world.handed]
        # A window and the jitter, as a rule; a counter that restarts is waited for, once or twice.
        gaps = [after - at for at, after in itertools.pairwise(times)]
        assert max(gaps) < 1.0
        assert len(times) > (world.now - 50.0) / 0.2 * 0.98 - 2 - 2 * len(actions)
    calm = [(turn, report) for at, turn, report in world.handed if at > undisturbed]
    assert len(calm) >= 5
    for turn, report in calm:
        assert np.array_equal(turn.user_pcm, values(report.first_sample, TURN))
        assert abs(report.latency_ms) < 60


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-0.5, 3.0), st.booleans()), max_size=20),
    st.lists(st.tuples(st.floats(-0.5, 3.0), st.booleans()), max_size=20),
    st.booleans(),
)
def test_text_is_never_lost_and_frames_are_never_from_the_future(lines, frames, microphone):
    world = World()
    start_s = world.ros
    world.pass_time(0.05, microphone=microphone)
    events = [(at, 'text', stamped) for at, stamped in lines]
    events += [(at, 'frame', stamped) for at, stamped in frames]
    sent = {}
    for number, (at, kind, stamped) in enumerate(sorted(events, key=lambda event: event[0])):
        world.pass_time(max(start_s + at - world.ros, 0.0), microphone=microphone)
        stamp_s = start_s + at if stamped else 0.0
        if kind == 'text':
            text = TextInput(Role.USER, str(number))
            world.clock.push_text(text, stamp_s, world.now)
            sent[str(number)] = stamp_s or world.ros
        else:
            world.clock.push_frame(np.full((2, 2, 3), number, np.uint8), stamp_s, world.now)
    world.pass_time(0.6, microphone=microphone)
    said = [(line.text, turn) for _, turn, _ in world.handed for line in turn.text]
    assert sorted(text for text, _ in said) == sorted(sent)
    for _, turn, _ in world.handed:
        assert [int(line.text) for line in turn.text] == sorted(
            int(line.text) for line in turn.text
        )
    if len({stamped for _, stamped in lines}) == 1:
        assert [int(text) for text, _ in said] == sorted(int(text) for text in sent)
    for text, turn in said:
        assert sent[text] < turn.start_s + 0.2 + 0.03
    newest = [
        int(turn.frames[1, 0, 0, 0]) for _, turn, _ in world.handed if turn.frames is not None
    ]
    assert newest == sorted(newest)
    assert all(turn.frame_age_s >= 0.0 for _, turn, _ in world.handed)
