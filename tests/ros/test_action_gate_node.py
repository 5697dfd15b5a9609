# SPDX-License-Identifier: Apache-2.0
"""The action gate over DDS: what it lets through, how the robot moves, how fast it stops."""

import json
import math
import statistics
import threading
import time

import pytest
from action_msgs.srv import CancelGoal
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from rclpy.time import Time
from rosgraph_msgs.msg import Clock as ClockMessage
from std_srvs.srv import Trigger

from duplex_interaction.msg import ActionIntent, GateDecision
from interaction_node import topic_qos

OK = GateDecision.OK


class Gate:
    """The node, and a robot that notes when it was told what."""

    def __init__(self, spy, start_node, namespace: str = '', **params):
        self.spy = spy
        self.namespace = namespace
        remaps = {'__ns': namespace} if namespace else {}
        self.node = start_node('action_gate_node', params=params, remaps=remaps)
        self.told: list[tuple[float, Twist]] = []
        spy.node.create_subscription(Twist, self.name('cmd_vel'), self._note, 50)
        self.goals = spy.collect(PoseStamped, self.name('goal_pose'))
        self.approved = spy.collect(ActionIntent, self.name('approved_intents'))
        qos = topic_qos.GATE_DECISIONS
        self.decisions = spy.collect(GateDecision, self.name('gate_decisions'), qos)
        for topic in ('cmd_vel', 'goal_pose', 'approved_intents', 'gate_decisions'):
            spy.wait_for_publishers(self.name(topic))
        self.intents = spy.publisher(
            ActionIntent, self.name('action_intents'), topic_qos.ACTION_INTENTS
        )
        self._number = 0

    def name(self, topic: str) -> str:
        return f'{self.namespace}/{topic}'

    def _note(self, twist: Twist) -> None:
        self.told.append((time.perf_counter(), twist))

    def send(self, skill: str, arguments: object = None, **more) -> str:
        self._number += 1
        more.setdefault('intent_id', f'i{self._number}')
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        intent = ActionIntent(skill=skill, arguments=text, confidence=1.0, **more)
        if 'header' not in more:
            intent.header.stamp = self.spy.node.get_clock().now().to_msg()
        self.intents.publish(intent)
        return intent.intent_id

    def decide(self, skill: str, arguments: object = None, **more) -> GateDecision:
        before = len(self.decisions)
        self.send(skill, arguments, **more)
        return self.spy.wait_for_messages(self.decisions, before + 1)[before]

    def wait_until_moving(self) -> None:
        start = len(self.told)

        def moves(twist):
            return twist.linear.x or twist.angular.z

        self.spy.wait_until(lambda: any(moves(t) for _, t in self.told[start:]), what='motion')

    def covered(self) -> tuple[float, float]:
        """Metres forward and radians that the robot was told to move, as it would have moved."""
        forward_m = yaw_rad = 0.0
        for (start_s, twist), (end_s, _) in zip(self.told, self.told[1:], strict=False):
            forward_m += twist.linear.x * (end_s - start_s)
            yaw_rad += twist.angular.z * (end_s - start_s)
        return forward_m, yaw_rad


@pytest.fixture
def gate(spy, start_node):
    return Gate(spy, start_node)


def test_a_move_covers_its_distance_and_ends_with_zero(spy, start_node):
    params = {
        'speed.linear_mps': 0.5,
        'limits.linear_mps': 0.5,
        'places.wine_cellar': [9.0, 8.0, 0.0],
    }
    gate = Gate(spy, start_node, **params)
    decision = gate.decide('move', {'direction': 'forward', 'distance_m': 0.5})
    assert (decision.allowed, decision.reason) == (True, OK)
    assert json.loads(decision.arguments) == {'direction': 'forward', 'distance_m': 0.5}
    spy.wait_until(lambda: gate.told and gate.told[-1][1] == Twist(), what='the end of the motion')
    assert gate.covered()[0] == pytest.approx(0.5, abs=0.06)
    assert max(twist.linear.x for _, twist in gate.told) <= 0.5
    steps_s = [b[0] - a[0] for a, b in zip(gate.told, gate.told[1:], strict=False)]
    assert statistics.median(steps_s) == pytest.approx(0.05, abs=0.02)
    assert gate.decide('navigate_to', {'place': 'wine cellar'}).allowed
    assert spy.wait_for_messages(gate.goals)[0].pose.position.x == 9.0


def test_a_turn_turns(gate):
    gate.send('turn', {'direction': 'right'})
    gate.wait_until_moving()
    gate.spy.wait_until(lambda: gate.told[-1][1] == Twist(), what='the end of the turn')
    assert gate.covered()[1] == pytest.approx(-math.pi / 2, abs=0.1)


def test_a_place_becomes_a_goal_on_the_map(gate):
    assert gate.decide('navigate_to', {'place': 'bedroom'}).allowed
    goal = gate.spy.wait_for_messages(gate.goals)[0]
    assert goal.header.frame_id == 'map'
    assert (goal.pose.position.x, goal.pose.position.y) == (-3.0, 3.0)
    yaw_rad = 2 * math.atan2(goal.pose.orientation.z, goal.pose.orientation.w)
    assert yaw_rad == pytest.approx(1.5708)


def test_what_passes_is_passed_on_and_what_is_refused_is_not(gate):
    assert gate.decide('pick', {'object': 'CUP '}).allowed
    assert gate.decide('pick', {'object': 'moon'}).reason == GateDecision.BAD_ARGUMENT
    assert gate.decide('fly').reason == GateDecision.NOT_ALLOWED
    assert gate.decide('wave', '{"x": NaN').reason == GateDecision.BAD_ARGUMENT
    far = gate.decide('move', {'direction': 'forward', 'distance_m': 50})
    assert far.reason == GateDecision.SPEED_LIMIT
    late = gate.decide('wave', header=ActionIntent().header)
    assert (late.reason, late.detail) == (GateDecision.STALE, 'the intent has no time stamp')
    assert gate.decide('wave', phase=77, micro_turn=5).allowed
    approved = gate.spy.wait_for_messages(gate.approved, 2)
    told = [(intent.skill, intent.arguments) for intent in approved]
    assert told == [('pick', '{"object": "cup"}'), ('wave', '{}')]
    assert approved[1].micro_turn == 5
    assert gate.told == []


def test_rate_and_confirmation_are_parameters(spy, start_node):
    params = {'limits.max_of_one_skill': 1, 'limits.confirm': ['wave'], 'limits.allow': ['wave']}
    gate = Gate(spy, start_node, **params)
    reasons = [gate.decide('wave').reason for _ in range(3)]
    assert reasons == [GateDecision.NEEDS_CONFIRMATION, OK, GateDecision.RATE_LIMIT]
    assert gate.decide('turn', {'direction': 'left'}).reason == GateDecision.NOT_ALLOWED


def test_stop_zeroes_within_20_ms(spy, start_node, record_property):
    gate = Gate(spy, start_node, **{'limits.max_of_one_skill': 99, 'limits.max_of_all': 99})
    taken_s = []
    for _ in range(5):
        gate.send('move', {'direction': 'forward', 'distance_m': 5.0})
        gate.wait_until_moving()
        time.sleep(0.07)
        count = len(gate.told)
        started_s = time.perf_counter()
        gate.send('stop', 'garbage', header=ActionIntent().header)

        def zero_s(count=count):
            return next((at_s for at_s, twist in gate.told[count:] if twist == Twist()), None)

        gate.spy.wait_until(lambda zero_s=zero_s: zero_s() is not None, what='zero')
        taken_s.append(zero_s() - started_s)
        after = [twist for at_s, twist in gate.told if at_s >= zero_s()]
        assert all(twist == Twist() for twist in after)
        time.sleep(0.6)
    median_ms, most_ms = 1e3 * statistics.median(taken_s), 1e3 * max(taken_s)
    record_property('stop_ms', f'median {median_ms:.1f}, most {most_ms:.1f}')
    print(f'stopped after {median_ms:.1f} ms, at most {most_ms:.1f} ms')
    assert median_ms < 20


def test_an_emergency_stop_latches_until_it_is_released(gate):
    diagnostics = gate.spy.collect(DiagnosticArray, '/diagnostics')
    gate.send('move', {'direction': 'forward', 'distance_m': 5.0})
    gate.wait_until_moving()
    assert gate.spy.call(Trigger, 'action_gate_node/emergency_stop', Trigger.Request()).success
    count = len(gate.told)
    gate.spy.wait_until(lambda: len(gate.told) > count + 5, what='zeros')
    refused = gate.decide('wave')
    assert refused.reason == GateDecision.EMERGENCY_STOP
    assert gate.decide('stop').allowed
    others = gate.spy.publisher(Twist, 'cmd_vel_in')
    others.publish(velocity(0.2))
    time.sleep(0.3)
    assert all(twist == Twist() for _, twist in gate.told[count:])
    gate.spy.wait_until(
        lambda: any('emergency stop' in status.message for a in diagnostics for status in a.status),
        what='diagnostics',
    )
    assert gate.spy.call(Trigger, 'action_gate_node/release', Trigger.Request()).success
    assert not gate.spy.call(Trigger, 'action_gate_node/release', Trigger.Request()).success
    assert gate.decide('wave').allowed
    others.publish(velocity(0.2))
    gate.spy.wait_until(lambda: gate.told[-1][1] == velocity(0.2), what='others may drive again')


def velocity(x_mps: float) -> Twist:
    twist = Twist()
    twist.linear.x = x_mps
    return twist


def test_others_drive_through_the_gate_limited_and_not_after_a_stop(gate):
    others = gate.spy.publisher(Twist, 'cmd_vel_in')
    others.publish(velocity(3.0))
    gate.spy.wait_until(lambda: gate.told, what='a velocity')
    assert gate.told[0][1] == velocity(0.5)
    gate.spy.wait_until(lambda: gate.told[-1][1] == Twist(), what='zero after silence')
    gate.decide('stop')
    time.sleep(0.7)
    count = len(gate.told)
    others.publish(velocity(0.2))
    time.sleep(0.3)
    assert len(gate.told) == count
    gate.decide('navigate_to', {'place': 'kitchen'})
    others.publish(velocity(0.2))
    gate.spy.wait_until(lambda: gate.told[-1][1] == velocity(0.2), what='the way to the goal')


def test_a_stop_cancels_the_goals_of_nav2(gate):
    cancelled = threading.Event()

    def cancel(request, response):
        assert list(request.goal_info.goal_id.uuid) == [0] * 16
        cancelled.set()
        return response

    gate.spy.node.create_service(CancelGoal, 'navigate_to_pose/_action/cancel_goal', cancel)
    time.sleep(1.0)
    gate.decide('stop')
    assert cancelled.wait(5.0)


def test_cancelling_an_intent_ends_its_motion(gate):
    name = gate.send('move', {'direction': 'forward', 'distance_m': 5.0})
    gate.wait_until_moving()
    gate.decide('move', phase=ActionIntent.CANCEL, intent_id='another')
    gate.wait_until_moving()
    gate.decide('move', phase=ActionIntent.CANCEL, intent_id=name)
    gate.spy.wait_until(lambda: gate.told[-1][1] == Twist(), what='zero')


def test_it_leaves_the_robot_standing(spy, start_node):
    gate = Gate(spy, start_node, namespace='/robot1')
    gate.send('move', {'direction': 'forward', 'distance_m': 5.0})
    gate.wait_until_moving()
    gate.node.stop()
    spy.wait_until(lambda: gate.told[-1][1] == Twist(), what='zero at the end')


def test_in_a_simulation_a_motion_lasts_simulated_time(spy, start_node):
    gate = Gate(spy, start_node, use_sim_time=True)
    clock = spy.publisher(ClockMessage, '/clock')
    now_s = 100.0

    def advance() -> float:
        nonlocal now_s
        now_s += 0.05
        clock.publish(ClockMessage(clock=Time(nanoseconds=round(now_s * 1e9)).to_msg()))
        time.sleep(0.02)
        return now_s

    for _ in range(10):
        advance()
    header = ActionIntent().header
    header.stamp = Time(nanoseconds=round(now_s * 1e9)).to_msg()
    gate.decide('move', {'direction': 'forward', 'distance_m': 1.0}, header=header)
    time.sleep(0.5)
    assert [twist.linear.x for _, twist in gate.told] == [0.25], 'time stands still'
    start_s = now_s
    while gate.told[-1][1] != Twist():
        assert advance() < start_s + 10.0
    assert now_s - start_s == pytest.approx(4.0, abs=0.5)


def test_velocities_can_be_stamped(spy, start_node):
    start_node('action_gate_node', params={'cmd_vel_stamped': True, 'base_frame': 'base'})
    told = spy.collect(TwistStamped, 'cmd_vel')
    spy.wait_for_publishers('cmd_vel')
    others = spy.publisher(Twist, 'cmd_vel_in')
    others.publish(velocity(0.1))
    stamped = spy.wait_for_messages(told)[0]
    assert (stamped.twist, stamped.header.frame_id) == (velocity(0.1), 'base')
    assert stamped.header.stamp.sec > 0


def test_a_wrong_skill_in_a_list_is_named(start_node):
    node = start_node('action_gate_node', params={'limits.allow': ['fly']})
    assert node.wait() == 1
    assert "allow has 'fly'; expected one of navigate_to" in node.output
    assert 'Traceback' not in node.output
