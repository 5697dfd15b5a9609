# SPDX-License-Identifier: Apache-2.0
"""Loudness of a microphone, for its diagnostics."""

from __future__ import annotations

import math

import numpy as np

SILENT_DBFS = -120.0


class LevelMeter:
    """Peak and root mean square since it was last read, in dB below full scale."""

    def __init__(self) -> None:
        self._peak = 0
        self._power = 0.0
        self._count = 0

    def push(self, pcm: np.ndarray) -> None:
        """Takes (N,) int16."""
        if not len(pcm):
            return
        samples = pcm.astype(np.float64)
        self._peak = max(self._peak, int(np.abs(samples).max()))
        self._power += float(samples @ samples)
        self._count += len(pcm)

    def read(self) -> dict[str, float]:
        """Returns `peak_dbfs` and `rms_dbfs` and starts anew."""
        power = self._power / max(1, self._count)
        levels = {'peak_dbfs': _dbfs(self._peak), 'rms_dbfs': _dbfs(math.sqrt(power))}
        self._peak, self._power, self._count = 0, 0.0, 0
        return levels


def _dbfs(value: float) -> float:
    return max(SILENT_DBFS, 20 * math.log10(value / 32_768)) if value else SILENT_DBFS
