# SPDX-License-Identifier: Apache-2.0
"""Quality of service of every topic, in one place, so that both ends agree."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _reliable(depth: int) -> QoSProfile:
    return QoSProfile(
        depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
    )


def _best_effort(depth: int) -> QoSProfile:
    return QoSProfile(
        depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT
    )


AUDIO = _reliable(50)
FILE_CAMERA = _reliable(10)
PLAYBACK = _reliable(10)
SPEECH = _reliable(10)
ACTION_INTENTS = _reliable(10)
GATE_DECISIONS = _reliable(10)
MICRO_TURN_STATUS = _best_effort(10)
# Transient local: who joins late still gets the conversation so far.
CONVERSATION = QoSProfile(
    depth=100,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
