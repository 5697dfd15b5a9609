# SPDX-License-Identifier: Apache-2.0
"""The rules of the action gate: what passes, what does not and why, and how the robot moves."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_node.action_limits import (
    ActionLimits,
    Decision,
    LimitSettings,
    Phase,
    Reason,
    Wish,
)
from interaction_node.drive import Drive, DriveSettings
from interaction_node.motion_profile import STILL, MotionProfile, Velocity
from interaction_node.skill_catalogue import Place, load_catalogue

CATALOGUE = load_catalogue()
NOW_S = 1000.0
EXAMPLES = Path(__file__).parents[2] / 'examples'


class Gate:
    """The rules, and a clock that the test turns."""

    def __init__(self, **settings):
        self.limits = ActionLimits(CATALOGUE, LimitSettings(**settings))
        self.now_s = NOW_S
        self._number = 0

    def ask(self, skill: str, arguments: object = None, age_s: float = 0.1, **more) -> Decision:
        self._number += 1
        more.setdefault('intent_id', f'i{self._number}')
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        wish = Wish(skill=skill, arguments=text, stamp_s=self.now_s - age_s, **more)
        return self.limits.decide(wish, self.now_s)

    def reason(self, *args, **more) -> Reason:
        return self.ask(*args, **more).reason


@pytest.mark.parametrize(
    ('skill', 'arguments', 'understood'),
    [
        ('navigate_to', {'place': 'kitchen'}, {'place': 'kitchen'}),
        ('navigate_to', {'place': ' Charging Station'}, {'place': 'charging station'}),
        ('come_here', {}, {}),
        ('come_here', '', {}),
        ('turn', {'direction': 'around'}, {'direction': 'around'}),
        ('move', {'direction': 'back', 'distance_m': 2}, {'direction': 'back', 'distance_m': 2.0}),
        ('move', {'direction': 'forward'}, {'direction': 'forward', 'distance_m': 1.0}),
        ('bring', {'colour': 'red', 'object': 'cup'}, {'colour': 'red', 'object': 'cup'}),
        ('bring', {'colour': None, 'object': 'cup'}, {'object': 'cup'}),
        ('gripper', {'state': 'open'}, {'state': 'open'}),
    ],
)
def test_what_the_robot_can_do_passes(skill, arguments, understood):
    decision = Gate().ask(skill, arguments)
    assert (decision.reason, decision.detail) == (Reason.OK, '')
    assert decision.arguments == understood


@pytest.mark.parametrize(
    ('skill', 'arguments', 'detail'),
    [
        ('navigate_to', {}, 'place is missing; expected one of kitchen'),
        ('navigate_to', {'place': 'moon'}, "place is 'moon'; expected one of kitchen"),
        ('navigate_to', {'place': 3}, 'place is 3'),
        ('navigate_to', {'place': 'kitchen', 'speed': 9}, "'speed' is no argument of navigate_to"),
        ('move', {'direction': 'forward', 'distance_m': '2'}, "distance_m is '2'; expected a num"),
        ('move', {'direction': 'forward', 'distance_m': True}, 'distance_m is True'),
        ('move', {'direction': 'forward', 'distance_m': -1}, 'distance_m is -1'),
        ('move', '{"direction": "forward", "distance_m": NaN}', 'distance_m is nan'),
        ('move', '{"direction": "forward", "distance_m": Infinity}', 'distance_m is inf'),
        ('move', '{"direction": "forward", "distance_m": 1e999}', 'distance_m is inf'),
        ('move', {'direction': 'forward', 'distance_m': 10**400}, 'distance_m is 1000'),
        ('move', {'direction': 'left'}, 'can not move sideways'),
        ('wave', '[1, 2]', 'expected a JSON object'),
        ('wave', '{"hand"', 'expected a JSON object'),
        ('wave', '[' * 4000, 'expected a JSON object'),
        ('wave', ' ' * 5000 + '{}', '5002 characters'),
    ],
)
def test_bad_arguments_are_refused_with_what_was_expected(skill, arguments, detail):
    decision = Gate().ask(skill, arguments)
    assert decision.reason is Reason.BAD_ARGUMENT
    assert detail in decision.detail
    assert len(decision.detail) < 250


TEXT = st.text(max_size=30)
ANY_SKILL = st.sampled_from([*CATALOGUE.skills]) | TEXT
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
).map(json.dumps)


@given(ANY_SKILL, ANY_JSON | TEXT, st.floats(), st.floats(), st.sampled_from(Phase))
def test_whatever_comes_is_decided_and_only_known_things_pass(
    skill, arguments, stamp_s, confidence, phase
):
    gate = Gate()
    wish = Wish('i', skill, arguments, stamp_s, confidence, phase)
    decision = gate.limits.decide(wish, NOW_S)
    if decision.allowed:
        assert skill in CATALOGUE.skills
        assert skill == 'stop' or phase is Phase.CANCEL or abs(NOW_S - stamp_s) <= 1.0
        assert all(math.isfinite(v) for v in decision.arguments.values() if type(v) is float)
    else:
        assert decision.detail
        assert skill != 'stop'


@given(ANY_JSON | TEXT, st.floats(), st.floats(), st.sampled_from(Phase))
def test_stop_always_passes(arguments, stamp_s, confidence, phase):
    gate = Gate(allow=('wave',), confirm=('stop',), max_of_all=1, max_of_one_skill=1)
    gate.limits.emergency_stop = True
    for _ in range(3):
        wish = Wish('i', 'stop', arguments, stamp_s, confidence, phase)
        assert gate.limits.decide(wish, NOW_S).allowed


def test_only_listed_skills_pass():
    gate = Gate(allow=('wave', 'turn'))
    assert gate.reason('wave') is Reason.OK
    assert gate.reason('follow') is Reason.NOT_ALLOWED
    assert gate.reason('fly') is Reason.NOT_ALLOWED


def test_a_skill_that_does_not_exist_can_not_be_listed():
    with pytest.raises(ValueError, match="allow has 'fly'; expected one of navigate_to"):
        Gate(allow=('fly',))


@pytest.mark.parametrize('age_s', [1.5, 3600.0, -1.5, NOW_S, float('nan'), float('inf')])
def test_old_intents_and_ones_from_the_future_are_refused(age_s):
    assert Gate().reason('wave', age_s=age_s) is Reason.STALE


@pytest.mark.parametrize('age_s', [0.0, 0.9, -0.9])
def test_fresh_intents_pass(age_s):
    assert Gate().reason('wave', age_s=age_s) is Reason.OK


def test_too_far_is_refused():
    move = {'direction': 'forward', 'distance_m': 12.0}
    assert Gate().reason('move', move) is Reason.SPEED_LIMIT
    assert Gate(max_distance_m=12.0).reason('move', move) is Reason.OK


def test_a_robot_that_can_moves_sideways():
    assert Gate(holonomic=True).reason('move', {'direction': 'left'}) is Reason.OK


def test_too_many_of_one_skill_are_refused_until_some_time_has_passed():
    gate = Gate(max_of_one_skill=2, window_s=5.0)
    assert [gate.reason('wave') for _ in range(3)] == [Reason.OK, Reason.OK, Reason.RATE_LIMIT]
    assert gate.reason('follow') is Reason.OK
    gate.now_s += 5.0
    assert gate.reason('wave') is Reason.OK


def test_too_many_of_all_are_refused_and_refused_ones_do_not_count():
    gate = Gate(max_of_all=2)
    assert gate.reason('fly') is Reason.NOT_ALLOWED
    asked = [gate.reason(skill) for skill in ('wave', 'follow', 'come_here')]
    assert asked == [Reason.OK, Reason.OK, Reason.RATE_LIMIT]


def test_a_clock_that_jumps_back_does_not_lock_the_robot():
    gate = Gate(max_of_one_skill=1)
    assert gate.reason('wave') is Reason.OK
    gate.now_s -= 500.0
    assert gate.reason('wave') is Reason.OK


def test_an_emergency_stop_latches():
    gate = Gate()
    gate.limits.emergency_stop = True
    assert gate.reason('wave') is Reason.EMERGENCY_STOP
    gate.limits.emergency_stop = False
    assert gate.reason('wave') is Reason.OK


def test_a_skill_that_needs_it_is_confirmed_by_a_second_intent():
    gate = Gate(confirm=('pick',))
    cup = {'object': 'cup'}
    assert gate.reason('pick', cup) is Reason.NEEDS_CONFIRMATION
    assert gate.reason('pick', {'object': 'ball'}) is Reason.NEEDS_CONFIRMATION
    gate.now_s += 9.0
    assert gate.reason('pick', '{"object":"Cup"}') is Reason.OK
    assert gate.reason('pick', cup) is Reason.NEEDS_CONFIRMATION


def test_a_confirmation_that_is_late_or_the_same_message_again_does_not_count():
    gate = Gate(confirm=('wave',))
    assert gate.reason('wave', intent_id='a') is Reason.NEEDS_CONFIRMATION
    assert gate.reason('wave', intent_id='a') is Reason.NEEDS_CONFIRMATION
    gate.now_s += 10.5
    assert gate.reason('wave', intent_id='b') is Reason.NEEDS_CONFIRMATION
    assert gate.reason('wave', intent_id='c') is Reason.OK


def test_stop_and_cancel_take_back_what_waits_for_confirmation():
    gate = Gate(confirm=('wave',))
    gate.ask('wave')
    gate.ask('stop')
    assert gate.reason('wave', intent_id='a') is Reason.NEEDS_CONFIRMATION
    assert gate.reason('wave', intent_id='a', phase=Phase.CANCEL) is Reason.OK
    assert gate.reason('wave') is Reason.NEEDS_CONFIRMATION


@pytest.mark.parametrize('confidence', [0.3, float('nan')])
def test_what_is_uncertain_must_be_confirmed(confidence):
    gate = Gate(confirm_below=0.5)
    assert gate.reason('wave', confidence=0.6) is Reason.OK
    assert gate.reason('wave', confidence=confidence) is Reason.NEEDS_CONFIRMATION


def test_ending_an_action_is_always_allowed():
    gate = Gate(allow=('wave',))
    gate.limits.emergency_stop = True
    assert gate.reason('turn', age_s=99.0, phase=Phase.CANCEL) is Reason.OK
    assert gate.reason('fly', phase=Phase.CANCEL) is Reason.NOT_ALLOWED


def test_places_can_be_added_and_are_then_allowed():
    catalogue = load_catalogue(more_places={'cellar': Place(1.0, 2.0)})
    limits = ActionLimits(catalogue, LimitSettings())
    wish = Wish('i', 'navigate_to', '{"place": "cellar"}', NOW_S)
    assert limits.decide(wish, NOW_S).allowed
    with pytest.raises(ValueError, match='finite'):
        Place(float('nan'), 0.0)


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('skills: {wave: {}}', "expected a skill 'stop'"),
        ('skills: {stop: {message: stop}, fly: {message: wings}}', "fly: message is 'wings'"),
        ('skills: {stop: {message: stop}, go: {message: cmd_vel}}', 'go: a skill with'),
        ('skills: {stop: {message: stop}, go: {arguments: {far: {}}}}', 'argument far: expected'),
        ('skills: {stop: {message: stop}, go: {arguments: {on: {one_of: [on]}}}}', 'one_of is'),
        ('skills: {stop: {message: stop}, go: {message: goal_pose}}', 'needs an argument place'),
        (
            'skills: {stop: {message: stop}, go: {message: cmd_vel, angle_rad: {left: 1}, '
            'arguments: {direction: {one_of: [left, up]}}}}',
            'go: expected an argument direction, one_of left',
        ),
        ('[1]', 'expected a mapping with skills'),
        ('{', 'flow node'),
    ],
)
def test_a_wrong_skills_file_is_told_by_name(tmp_path, text, problem):
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'mine\.yaml') as caught:
        load_catalogue(path)
    assert problem in str(caught.value)


def test_the_packaged_skills_are_the_ones_that_the_model_knows():
    from interaction_node.model.tokens import SKILLS

    assert set(CATALOGUE.skills) == set(SKILLS)
    assert 'move(direction, distance_m)' in CATALOGUE.signatures


@given(
    st.floats(0.05, 10.0),
    st.floats(0.05, 1.0),
    st.lists(st.floats(0.0, 0.3), min_size=1, max_size=5),
)
def test_a_motion_covers_its_distance_whenever_the_ticks_come(amount, speed, steps_s):
    period_s = 0.05
    motion = MotionProfile(Velocity(x_mps=-1.0), amount, speed, period_s)
    covered, now_s, longest_s = 0.0, 5.0, max(period_s, *steps_s)
    velocity = motion.tick(now_s)
    for number in range(100_000):
        if velocity.is_zero:
            break
        assert 0 < -velocity.x_mps <= speed
        step_s = period_s + steps_s[number % len(steps_s)] * (number % 3 == 0)
        now_s += step_s
        covered -= velocity.x_mps * step_s
        velocity = motion.tick(now_s)
    # A late last tick is driven on through: at most that much too far.
    assert amount - 0.011 * speed * period_s <= covered <= amount + speed * (longest_s + 1e-6)
    if max(steps_s) == 0.0:
        assert covered == pytest.approx(amount, abs=0.01 * speed * period_s + 1e-9)


def drive(**settings) -> Drive:
    return Drive(DriveSettings(linear_mps=0.25, angular_radps=0.5, period_s=0.05, **settings))


def run(drive: Drive, start_s: float = 0.0, limit_s: float = 60.0) -> tuple[Velocity, float]:
    """Ticks until nothing is sent any more; returns what was covered, and for how long."""
    x = y = yaw = 0.0
    ticks = 0
    while ticks * 0.05 < limit_s and (velocity := drive.tick(start_s + ticks * 0.05)) is not None:
        x, y = x + velocity.x_mps * 0.05, y + velocity.y_mps * 0.05
        yaw += velocity.yaw_radps * 0.05
        ticks += 1
    return Velocity(x, y, yaw), ticks * 0.05


@pytest.mark.parametrize(
    ('skill', 'arguments', 'covered', 'took_s'),
    [
        ('move', {'direction': 'forward', 'distance_m': 1.0}, Velocity(1.0), 4.0),
        ('move', {'direction': 'back', 'distance_m': 0.5}, Velocity(-0.5), 2.0),
        ('move', {'direction': 'left', 'distance_m': 0.5}, Velocity(0.0, 0.5), 2.0),
        ('turn', {'direction': 'left'}, Velocity(yaw_radps=1.5708), 3.15),
        ('turn', {'direction': 'right'}, Velocity(yaw_radps=-1.5708), 3.15),
        ('turn', {'direction': 'around'}, Velocity(yaw_radps=3.1416), 6.3),
    ],
)
def test_a_skill_moves_the_robot_so_far_and_then_stops(skill, arguments, covered, took_s):
    mover = drive()
    mover.start(CATALOGUE.skills[skill], arguments, 'i', 0.0)
    moved, ran_s = run(mover)
    for name in ('x_mps', 'y_mps', 'yaw_radps'):
        assert getattr(moved, name) == pytest.approx(getattr(covered, name), abs=1e-3)
    assert ran_s == pytest.approx(took_s, abs=0.101)
    assert not mover.is_moving


FORWARD = (CATALOGUE.skills['move'], {'direction': 'forward', 'distance_m': 1.0}, 'i')


def test_a_stop_ends_a_motion_and_blocks_others_until_they_may():
    mover = drive()
    mover.start(*FORWARD, 0.0)
    assert not mover.tick(0.05).is_zero
    assert mover.stop() == STILL
    assert run(mover, 0.1)[0] == STILL
    assert mover.take_input(Velocity(0.1), 1.0) is None
    mover.hand_over()
    assert mover.take_input(Velocity(0.1), 1.0) == Velocity(0.1)


def test_others_are_limited_and_forgotten_when_they_fall_silent():
    mover = drive(max_linear_mps=0.5, max_angular_radps=1.0)
    passed = mover.take_input(Velocity(3.0, 4.0, -2.0), 0.0)
    assert (passed.x_mps, passed.y_mps, passed.yaw_radps) == pytest.approx((0.3, 0.4, -1.0))
    assert mover.take_input(Velocity(math.nan), 0.0) == STILL
    assert mover.tick(0.4) is None
    assert mover.tick(0.6) == STILL
    assert mover.tick(0.65) is None


def test_others_do_not_disturb_a_motion():
    mover = drive()
    mover.start(*FORWARD, 0.0)
    assert mover.take_input(Velocity(-0.1), 0.01) is None
    run(mover)
    assert mover.take_input(Velocity(-0.1), 10.0) == Velocity(-0.1)


def test_a_latched_robot_gets_zero_all_the_time():
    mover = drive()
    mover.start(*FORWARD, 0.0)
    mover.is_latched = True
    assert [mover.tick(tick * 0.05) for tick in range(100)] == [STILL] * 100
    assert mover.take_input(Velocity(0.1), 0.0) is None


def test_only_the_intent_that_moves_the_robot_is_cancelled():
    mover = drive()
    mover.start(*FORWARD, 0.0)
    assert mover.cancel('other') is None
    assert mover.is_moving
    assert mover.cancel('i') == STILL
    assert not mover.is_moving


def test_faster_and_slower_change_the_motion_within_the_limits():
    mover = drive(max_linear_mps=0.3, max_angular_radps=0.6)
    mover.start(*FORWARD, 0.0)
    assert mover.change_speed(1.25)
    assert mover.tick(0.05).x_mps == pytest.approx(0.3)
    assert not mover.change_speed(1.25)
    assert mover.change_speed(0.5)
    assert mover.tick(0.10).x_mps == pytest.approx(0.15)
    while mover.change_speed(0.5):
        pass
    assert mover.speeds[0] == pytest.approx(0.05)


def test_speeds_above_the_limits_are_told():
    with pytest.raises(ValueError, match=r'linear_mps is 0.25; expected above 0 and at most 0.2'):
        DriveSettings(linear_mps=0.25, max_linear_mps=0.2)


def test_a_file_with_what_people_say_is_good_for_the_gate():
    catalogue = load_catalogue(EXAMPLES / 'skills.yaml')
    assert {'water(plant)', 'volume(percent)'} <= set(catalogue.signatures)
    assert 'workshop' in catalogue.places
    limits = ActionLimits(catalogue, LimitSettings())
    decision = limits.decide(Wish('1', 'water', '{"plant": "lemon tree"}', 5.0), 5.1)
    assert decision.allowed
    assert decision.arguments == {'plant': 'lemon tree'}
    refused = ActionLimits(catalogue, LimitSettings(allow=('wave',)))
    assert refused.decide(Wish('1', 'water', '{"plant": "fern"}', 5.0), 5.1).reason == (
        Reason.NOT_ALLOWED
    )
