# SPDX-License-Identifier: Apache-2.0
"""Ties a microphone's 16 kHz sample counter to the ROS clock."""

from __future__ import annotations

import math
from statistics import median

from interaction_node.model.interface import SAMPLE_RATE_HZ

_STAMP_VARIANCE_S2 = 0.003**2
_DRIFT_VARIANCE = 0.02**2
_OFFSET_NOISE_PER_S = 1e-10
_DRIFT_NOISE_PER_S = 1e-12
_MAX_DRIFT = 0.05
_GATE_S = (0.02, 0.2)
_AGREEING_OUTLIERS = 5
_MAX_OUTLIERS = 25


class SampleClock:
    """Offset and drift between stamps and sample counts: a Kalman filter that sorts outliers out.

    The state is the offset (ROS time minus sample time, seconds) at the newest sample and its
    slope. Stamps jitter by milliseconds, crystals drift by up to 1 % (a bad one) but steadily, so
    the filter settles to a time constant of tens of seconds. A stamp far from the expected one is
    an outlier; when several in a row agree with each other, the ROS clock has jumped.
    """

    def __init__(self) -> None:
        self.known = False
        self._time_s = 0.0
        self._offset_s = 0.0
        self._drift = 0.0
        self._variance = [_STAMP_VARIANCE_S2, 0.0, _DRIFT_VARIANCE]
        self._mean_error_s = 0.01
        self._outliers_s: list[float] = []

    @property
    def offset_s(self) -> float:
        """ROS time minus sample time at the newest sample, seconds."""
        return self._offset_s

    @property
    def drift_ppm(self) -> float:
        """By how much the ROS clock runs faster than the sample clock, parts per million."""
        return self._drift * 1e6

    def restart(self, first_sample: int, stamp_s: float) -> None:
        """Starts at a new counter; the drift is kept, as it is mostly the same crystal."""
        self.known = True
        self._time_s = first_sample / SAMPLE_RATE_HZ
        self._anchor(stamp_s - self._time_s)

    def observe(self, first_sample: int, stamp_s: float) -> None:
        """Learns from one chunk; one older than the newest teaches nothing."""
        time_s = first_sample / SAMPLE_RATE_HZ
        if time_s < self._time_s:
            return
        self._predict(time_s)
        error_s = stamp_s - time_s - self._offset_s
        if abs(error_s) > self._gate_s():
            self._reject(error_s)
        else:
            self._outliers_s.clear()
            self._mean_error_s += 0.02 * (abs(error_s) - self._mean_error_s)
            self._correct(error_s)

    def step(self, delta_s: float) -> None:
        """Follows a jump of the ROS clock that was seen from elsewhere."""
        self._offset_s += delta_s

    def disagrees(self, first_sample: int, stamp_s: float, tolerance_s: float) -> bool:
        """Whether a stamp doesn't belong to this counter."""
        return abs(stamp_s - self.ros_time(first_sample)) > tolerance_s

    def ros_time(self, sample: float) -> float:
        """Returns the ROS time of a sample, seconds."""
        time_s = sample / SAMPLE_RATE_HZ
        return time_s + self._offset_s + self._drift * (time_s - self._time_s)

    def sample_at(self, ros_time_s: float) -> float:
        """Returns the sample at a ROS time, the inverse of `ros_time`."""
        since_s = (ros_time_s - self._time_s - self._offset_s) / (1.0 + self._drift)
        return (self._time_s + since_s) * SAMPLE_RATE_HZ

    def _gate_s(self) -> float:
        return min(max(6.0 * self._mean_error_s, _GATE_S[0]), _GATE_S[1])

    def _predict(self, time_s: float) -> None:
        step_s = time_s - self._time_s
        self._time_s = time_s
        self._offset_s += self._drift * step_s
        offset, cross, drift = self._variance
        offset += 2 * cross * step_s + drift * step_s**2 + _OFFSET_NOISE_PER_S * step_s
        self._variance = [offset, cross + drift * step_s, drift + _DRIFT_NOISE_PER_S * step_s]

    def _correct(self, error_s: float) -> None:
        offset, cross, drift = self._variance
        total = offset + _STAMP_VARIANCE_S2
        self._offset_s += offset / total * error_s
        self._drift += cross / total * error_s
        self._drift = min(max(self._drift, -_MAX_DRIFT), _MAX_DRIFT)
        rest = _STAMP_VARIANCE_S2 / total
        self._variance = [offset * rest, cross * rest, drift - cross**2 / total]

    def _reject(self, error_s: float) -> None:
        self._outliers_s.append(error_s)
        last = self._outliers_s[-_AGREEING_OUTLIERS:]
        agree = len(last) == _AGREEING_OUTLIERS and max(last) - min(last) < self._gate_s()
        if agree or len(self._outliers_s) >= _MAX_OUTLIERS:
            self._anchor(self._offset_s + median(last))

    def _anchor(self, offset_s: float) -> None:
        assert math.isfinite(offset_s)
        self._offset_s = offset_s
        self._variance[:2] = [_STAMP_VARIANCE_S2, 0.0]
        self._outliers_s.clear()
