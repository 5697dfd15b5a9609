# SPDX-License-Identifier: Apache-2.0
"""The action gate: the only node that drives the robot.

It checks every action intent (allow list, arguments, rate, distance, age, confirmation),
publishes what became of it on `gate_decisions`, and passes on what is allowed: as velocities on
`cmd_vel`, as a goal on `goal_pose`, and as it is on `approved_intents`, for the robot's own
drivers. Velocities of others, e.g. of a navigation stack, go through it: from `cmd_vel_in`,
limited, and not after a stop. The skill `stop` and the service ~/emergency_stop send zero at once
and cancel Nav2's goals; after an emergency stop nothing moves until ~/release.

Parameters places.NAME: [x_m, y_m, yaw_rad] add places to those of the skills file, or move them; an
underscore in NAME stands for a blank.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence

from action_msgs.srv import CancelGoal
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from std_srvs.srv import Trigger

from duplex_interaction.msg import ActionIntent, GateDecision
from interaction_node import topic_qos
from interaction_node.action_limits import (
    ActionLimits,
    Decision,
    LimitSettings,
    Phase,
    Reason,
    Wish,
)
from interaction_node.conversation_messages import to_seconds
from interaction_node.drive import Drive, DriveSettings
from interaction_node.motion_profile import STILL, Velocity
from interaction_node.node_errors import NodeErrors
from interaction_node.node_main import run_node
from interaction_node.node_parameters import NodeParameter, declare_parameters
from interaction_node.skill_catalogue import Place, load_catalogue

_GOODBYE_S = 0.5

PARAMETERS = (
    NodeParameter('skills_file', '', 'Skills and places (YAML); empty for config/skills.yaml'),
    NodeParameter('limits.allow', [], 'Allowed skills; empty for all of the skills file'),
    NodeParameter('limits.confirm', [], 'Skills that must be asked for twice'),
    NodeParameter('limits.confirm_window_s', 10.0, 'Time for the second time', 0.1, 600.0),
    NodeParameter(
        'limits.confirm_below', 0.0, 'Intents of less confidence must be asked for twice', 0.0, 1.0
    ),
    NodeParameter('limits.max_age_s', 1.0, 'Older intents are refused', 0.05, 3600.0),
    NodeParameter('limits.window_s', 5.0, 'Time over which intents are counted', 0.1, 3600.0),
    NodeParameter('limits.max_of_one_skill', 3, 'Intents of one skill within that time', 1, 1000),
    NodeParameter('limits.max_of_all', 8, 'Intents of all skills within that time', 1, 1000),
    NodeParameter('limits.max_distance_m', 10.0, 'Longest straight move', 0.0, 1000.0),
    NodeParameter('limits.linear_mps', 0.5, 'Fastest along any direction', 0.01, 10.0),
    NodeParameter('limits.angular_radps', 1.0, 'Fastest rotation', 0.01, 10.0),
    NodeParameter('speed.linear_mps', 0.25, 'Speed of straight moves at the start', 0.01, 10.0),
    NodeParameter('speed.angular_radps', 0.6, 'Speed of turns at the start', 0.01, 10.0),
    NodeParameter('holonomic', False, 'The robot can move sideways'),
    NodeParameter('rate_hz', 20.0, 'How often a velocity is sent during a motion', 5.0, 200.0),
    NodeParameter('cmd_vel_timeout_s', 0.5, 'How long a velocity of others counts', 0.05, 10.0),
    NodeParameter('cmd_vel_stamped', False, 'Send TwistStamped instead of Twist on cmd_vel'),
    NodeParameter('base_frame', 'base_link', 'Frame of stamped velocities'),
    NodeParameter(
        'nav2_action', 'navigate_to_pose', 'Action whose goals a stop cancels; empty for none'
    ),
)


class ActionGateNode(Node):
    """Checks intents and drives the robot."""

    def __init__(self, **kwargs) -> None:
        super().__init__('action_gate_node', **kwargs)
        self._values = declare_parameters(self, PARAMETERS)
        self._errors = NodeErrors(self)
        self._catalogue = load_catalogue(self._values['skills_file'], self._places())
        self._limits = ActionLimits(self._catalogue, self._limit_settings())
        self._drive = Drive(self._drive_settings())
        self._errors.add_values(self._state)
        self._open_clock()
        self._open_publishers()
        self.create_subscription(
            ActionIntent, 'action_intents', self._take_intent, topic_qos.ACTION_INTENTS
        )
        self.create_subscription(Twist, 'cmd_vel_in', self._take_velocity, 10)
        self.create_service(Trigger, '~/emergency_stop', self._emergency_stop)
        self.create_service(Trigger, '~/release', self._release)

    def close(self) -> None:
        """Leaves the robot standing still."""
        self._send(STILL)
        self._velocities.wait_for_all_acked(Duration(seconds=_GOODBYE_S))

    def _places(self) -> dict[str, Place]:
        start = 'places.'
        places = {}
        for name in self._parameter_overrides:
            if name.startswith(start):
                pose = self.declare_parameter(name, [0.0, 0.0, 0.0]).value
                if len(pose) != 3:
                    raise ValueError(f'parameter {name!r} is {list(pose)}; expected [x, y, yaw]')
                places[name.removeprefix(start).replace('_', ' ')] = Place(*pose)
        return places

    def _limit_settings(self) -> LimitSettings:
        limits = self._values.group('limits')
        speeds = ('linear_mps', 'angular_radps')
        rules = {name: value for name, value in limits.items() if name not in speeds}
        for name in ('allow', 'confirm'):
            rules[name] = tuple(rules[name])
        return LimitSettings(holonomic=self._values['holonomic'], **rules)

    def _drive_settings(self) -> DriveSettings:
        rate_hz = self._values['rate_hz']
        return DriveSettings(
            max_linear_mps=self._values['limits.linear_mps'],
            max_angular_radps=self._values['limits.angular_radps'],
            linear_mps=self._values['speed.linear_mps'],
            angular_radps=self._values['speed.angular_radps'],
            period_s=1.0 / rate_hz,
            input_timeout_s=self._values['cmd_vel_timeout_s'],
            still_ticks=max(1, round(0.5 * rate_hz)),
        )

    def _open_clock(self) -> None:
        # A motion in a simulation lasts simulated time; a real one must not follow clock changes.
        is_simulated = self.get_parameter('use_sim_time').value
        clock = self.get_clock() if is_simulated else Clock(clock_type=ClockType.STEADY_TIME)
        self._motion_clock = clock
        self.create_timer(1.0 / self._values['rate_hz'], self._tick, clock=clock)

    def _open_publishers(self) -> None:
        kind = TwistStamped if self._values['cmd_vel_stamped'] else Twist
        self._velocities = self.create_publisher(kind, 'cmd_vel', 10)
        self._goals = self.create_publisher(PoseStamped, 'goal_pose', 10)
        self._approved = self.create_publisher(
            ActionIntent, 'approved_intents', topic_qos.ACTION_INTENTS
        )
        self._decisions = self.create_publisher(
            GateDecision, 'gate_decisions', topic_qos.GATE_DECISIONS
        )
        action = self._values['nav2_action']
        service = f'{action}/_action/cancel_goal'
        self._nav2 = self.create_client(CancelGoal, service) if action else None

    def _take_intent(self, message: ActionIntent) -> None:
        phase = Phase(message.phase) if message.phase in tuple(Phase) else Phase.START
        wish = Wish(
            message.intent_id,
            message.skill,
            message.arguments,
            to_seconds(message.header.stamp),
            message.confidence,
            phase,
        )
        if wish.skill == 'stop':
            self._stop()  # before anything else: the decision is always yes
        decision = self._limits.decide(wish, self._now_s())
        if decision.allowed and wish.skill != 'stop':
            decision = self._carry_out(wish, decision)
        self._publish_decision(message, decision)

    def _carry_out(self, wish: Wish, decision: Decision) -> Decision:
        """Does what the gate itself does about an allowed intent."""
        skill, arguments = decision.skill, decision.arguments
        assert skill is not None
        if wish.phase == Phase.CANCEL:
            self._send(self._drive.cancel(wish.intent_id))
            if skill.message == 'goal_pose':
                self._cancel_navigation()
            return decision
        if skill.message == 'speed':
            factor = skill.factor[str(arguments['change'])]
            if not self._drive.change_speed(factor):
                return Decision(Reason.SPEED_LIMIT, 'the speed is at its limit already')
        if skill.message == 'cmd_vel':
            self._cancel_navigation()
            now_s = self._motion_s()
            self._send(self._drive.start(skill, arguments, wish.intent_id, now_s))
        if skill.drives:
            self._send(self._drive.hand_over())
        if skill.message == 'goal_pose':
            self._goals.publish(self._goal(str(arguments['place'])))
        return decision

    def _publish_decision(self, message: ActionIntent, decision: Decision) -> None:
        arguments = json.dumps(decision.arguments) if decision.allowed else message.arguments
        told = GateDecision(
            intent_id=message.intent_id,
            skill=message.skill,
            arguments=arguments,
            allowed=decision.allowed,
            reason=int(decision.reason),
            detail=decision.detail,
        )
        told.header.stamp = self.get_clock().now().to_msg()
        if decision.allowed:
            message.arguments = arguments
            self._approved.publish(message)
        self._decisions.publish(told)
        self._errors.count(decision.reason.name.lower())
        if not decision.allowed:
            self.get_logger().info(f'{message.skill} refused: {decision.detail}')

    def _goal(self, place: str) -> PoseStamped:
        where = self._catalogue.places[place]
        goal = PoseStamped()
        goal.header.frame_id = self._catalogue.frame
        goal.header.stamp = self.get_clock().now().to_msg()
        goal.pose.position.x = where.x_m
        goal.pose.position.y = where.y_m
        goal.pose.orientation.z = math.sin(where.yaw_rad / 2)
        goal.pose.orientation.w = math.cos(where.yaw_rad / 2)
        return goal

    def _take_velocity(self, message: Twist) -> None:
        wanted = Velocity(message.linear.x, message.linear.y, message.angular.z)
        self._send(self._drive.take_input(wanted, self._motion_s()))

    def _tick(self) -> None:
        self._send(self._drive.tick(self._motion_s()))

    def _stop(self) -> None:
        self._send(self._drive.stop())
        self._cancel_navigation()

    def _cancel_navigation(self) -> None:
        # An empty request cancels all goals (action_msgs/CancelGoal).
        if self._nav2 is not None and self._nav2.service_is_ready():
            self._nav2.call_async(CancelGoal.Request())

    def _emergency_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._drive.is_latched = True
        self._limits.emergency_stop = True
        self._stop()
        self._errors.error('emergency_stop', 'emergency stop: nothing moves until ~/release')
        response.success = True
        return response

    def _release(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._drive.is_latched
        response.message = '' if response.success else 'there was no emergency stop'
        self._drive.is_latched = False
        self._limits.emergency_stop = False
        self._drive.hand_over()
        self._errors.resolve('emergency_stop', 'released: the robot may move again')
        return response

    def _send(self, velocity: Velocity | None) -> None:
        if velocity is None:
            return
        twist = Twist()
        twist.linear.x, twist.linear.y = velocity.x_mps, velocity.y_mps
        twist.angular.z = velocity.yaw_radps
        if self._values['cmd_vel_stamped']:
            stamped = TwistStamped(twist=twist)
            stamped.header.stamp = self.get_clock().now().to_msg()
            stamped.header.frame_id = self._values['base_frame']
            self._velocities.publish(stamped)
        else:
            self._velocities.publish(twist)

    def _state(self) -> dict[str, object]:
        linear_mps, angular_radps = self._drive.speeds
        return {
            'moving': self._drive.is_moving,
            'blocks_cmd_vel_in': self._drive.blocks_input,
            'linear_mps': linear_mps,
            'angular_radps': angular_radps,
        }

    def _now_s(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _motion_s(self) -> float:
        return self._motion_clock.now().nanoseconds * 1e-9


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node until Ctrl-C."""
    return run_node(ActionGateNode, PARAMETERS, __doc__, args, program='action_gate_node')


if __name__ == '__main__':
    sys.exit(main())
