# SPDX-License-Identifier: Apache-2.0
"""The parameters of the interaction node."""

from __future__ import annotations

from interaction_node.clock_settings import PACES
from interaction_node.model_loading import LOADER
from interaction_node.node_parameters import NodeParameter

MESSAGES = ('AudioChunk', 'AudioStamped', 'AudioDataStamped')

PARAMETERS = (
    NodeParameter('autostart', True, 'Configure and activate without a lifecycle manager'),
    NodeParameter(
        'turn.pace',
        'realtime',
        'What makes micro-turns due: time, or a file microphone that waits for the graph',
        choices=PACES,
    ),
    NodeParameter(
        'turn.jitter_ms',
        40.0,
        'Longest wait for a late source after the end of a window, ms',
        minimum=0.0,
        maximum=1000.0,
    ),
    NodeParameter(
        'turn.takeover_ms',
        300.0,
        'How long a microphone must be quiet before another one is listened to, ms',
        minimum=0.0,
        maximum=10_000.0,
    ),
    NodeParameter(
        'turn.max_catch_up_s',
        10.0,
        'Silence made up at most after a stall, s',
        minimum=1.0,
        maximum=600.0,
    ),
    NodeParameter(
        'turn.lookahead_s',
        2.0,
        'A stamp this far ahead of its arrival is not believed, s',
        minimum=0.0,
    ),
    NodeParameter(
        'turn.graph_wait_s',
        10.0,
        "Pace 'graph': longest wait for playback and for images, s",
        minimum=0.0,
    ),
    NodeParameter(
        'turn.pause_ms',
        600.0,
        'Time without words after which what the person said is complete, ms',
        minimum=200.0,
        maximum=10_000.0,
    ),
    NodeParameter(
        'microphone.message',
        'AudioChunk',
        'Message on audio: ours, or one of the two packages called audio_common_msgs',
        choices=MESSAGES,
    ),
    NodeParameter(
        'camera.timeout_ms',
        1000.0,
        'An image older than this counts as missing, ms',
        minimum=0.0,
    ),
    NodeParameter(
        'camera.max_rate_hz',
        15.0,
        'More images than this are left out before they are decoded, Hz; 0: none',
        minimum=0.0,
        maximum=1000.0,
    ),
    NodeParameter(
        'camera.wait',
        False,
        "Pace 'graph': wait for an image stamped after the window, so that none is missed",
    ),
    NodeParameter('model.factory', LOADER, "What loads the model, 'module:function'"),
    NodeParameter('model.checkpoint', '', 'Checkpoint; empty for the one that the package brings'),
    NodeParameter('model.device', 'auto', 'Where the model runs: auto, cpu, cuda, cuda:1, ...'),
    NodeParameter(
        'model.threads',
        0,
        'Processor threads of the model; 0 for what suits the device',
        minimum=0,
        maximum=256,
    ),
    NodeParameter('model.seed', 0, 'Seed of everything that the model draws by lot', minimum=0),
    NodeParameter(
        'model.warm_up_turns',
        5,
        'Silent micro-turns that warm up a model which does not do so by itself; 0 for no warm-up',
        minimum=0,
        maximum=1000,
    ),
    NodeParameter(
        'model.snapshot_file',
        '',
        'File that keeps the conversation over a restart; empty: each start is a new one',
    ),
    NodeParameter(
        'model.snapshot_period_s',
        60.0,
        'Time between two snapshots of the conversation, s; 0: only at the end',
        minimum=0.0,
        maximum=86_400.0,
    ),
    NodeParameter(
        'speech.pause_ms',
        1000.0,
        'Silence after which an utterance of the robot is over, ms',
        minimum=200.0,
        maximum=60_000.0,
    ),
    NodeParameter('speech.frame_id', 'speaker', 'Frame of the loudspeaker'),
    NodeParameter('actions.frame_id', 'base_link', 'Frame of spatial arguments of action intents'),
    NodeParameter(
        'actions.hri_intents',
        False,
        'Publish hri_actions_msgs/Intent on intents as well; who acts on it bypasses the gate',
    ),
    NodeParameter(
        'planner.skills_file',
        '',
        'Skills of the robot (YAML), told to the planner; empty for config/skills.yaml',
    ),
    NodeParameter(
        'planner.timeout_s',
        2.0,
        'Longest time until the planner accepts, s',
        minimum=0.01,
        maximum=600.0,
    ),
    NodeParameter(
        'planner.deadline_s',
        60.0,
        'Longest time until the result of the planner, s',
        minimum=0.1,
        maximum=86_400.0,
    ),
    NodeParameter(
        'planner.audio_s',
        20.0,
        'How much of the last sound the planner gets, s',
        minimum=0.2,
        maximum=120.0,
    ),
    NodeParameter(
        'planner.failed_text',
        'i can not do that now',
        'What the model reads where no plan will come; it may say it',
    ),
)
