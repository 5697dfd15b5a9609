# SPDX-License-Identifier: Apache-2.0
"""Watches the steps of the model: what is slow, late or missing goes into the diagnostics."""

from __future__ import annotations

from collections import deque

import numpy as np

from interaction_node.model.interface import TURN_S
from interaction_node.model_thread import Step
from interaction_node.node_errors import NodeErrors

RECENT_STEPS = 300
DEADLINE_STEPS = 50
DEADLINES_TOLERATED = 2
AUDIO_LOST_MS = 1000.0
QUIET_START_TURNS = 15


class StepHealth:
    """Turns steps into errors and numbers. Belongs to the model's thread.

    Args:
        errors: Where both go.
    """

    def __init__(self, errors: NodeErrors):
        self._errors = errors
        self._step_ms: deque[float] = deque(maxlen=RECENT_STEPS)
        self._missed: deque[bool] = deque(maxlen=DEADLINE_STEPS)
        self._total_missed = 0

    def take(self, step: Step) -> None:
        """Takes a step."""
        self._step_ms.append(step.step_ms)
        self._missed.append(step.deadline_missed)
        self._total_missed += step.deadline_missed
        self._tell_errors(step)
        for name, value in self._values(step).items():
            self._errors.set_value(name, value)

    def _tell_errors(self, step: Step) -> None:
        for key, message in step.report.errors:
            self._errors.error(f'clock {key}', message)
        if step.error:
            self._errors.error('model', f'the model failed: {step.error}')
            self._errors.count('failed_steps')
        else:
            self._errors.resolve('model', 'the model works again')
        if 0 <= step.report.audio_age_ms < AUDIO_LOST_MS:
            self._errors.resolve('audio', 'sound comes from a microphone')
        elif step.turn.index >= QUIET_START_TURNS:
            self._errors.warn('audio', 'no sound comes from a microphone')
        if sum(self._missed) > DEADLINES_TOLERATED:
            self._errors.warn('deadline', f'the model is too slow for {1e3 * TURN_S:g} ms')
        elif not any(self._missed):
            self._errors.resolve('deadline', 'the model is fast enough')

    def _values(self, step: Step) -> dict[str, float]:
        report = step.report
        return {
            'micro_turn': report.index,
            'step_p50_ms': float(np.percentile(self._step_ms, 50)),
            'step_p99_ms': float(np.percentile(self._step_ms, 99)),
            'real_time_factor': float(np.mean(self._step_ms)) / (1e3 * TURN_S),
            'deadlines_missed': self._total_missed,
            'backlog': report.backlog,
            'latency_ms': report.latency_ms,
            'audio_age_ms': report.audio_age_ms,
            'playback_age_ms': report.playback_age_ms,
            'image_age_ms': report.image_age_ms,
            'audio_late_samples': report.audio_late_samples,
            'audio_overlap_samples': report.audio_overlap_samples,
            'audio_foreign_samples': report.audio_foreign_samples,
            'audio_dropped_samples': report.audio_dropped_samples,
            'image_drops': report.image_drops,
            'text_drops': report.text_drops,
            'microphone_changes': report.reanchors,
            'drift_ppm': report.drift_ppm,
        }
