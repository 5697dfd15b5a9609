# SPDX-License-Identifier: Apache-2.0
"""Fills a loudspeaker's blocks, whatever its rate and channels, from 16 kHz mono."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from interaction_node.audio_file import to_pcm16
from interaction_node.stream_resampler import MODEL_RATE_HZ, StreamResampler

# A block's time may differ this much from where the last one ended before it counts as a gap.
_RESYNC_S = 0.02
_FOLLOW = 0.02
_STEP = 32


class OutputBlocks:
    """Asks for 16 kHz samples, with the time at which they will sound, as a device needs them."""

    def __init__(
        self, rate_hz: int, channels: int, render: Callable[[int, float], np.ndarray]
    ) -> None:
        """Starts silent.

        Args:
            rate_hz: Sampling rate of the device.
            channels: Its interleaved channels; each gets the same.
            render: Called with (samples, time of the first one, seconds); returns (N,) int16.
        """
        self._rate_hz = rate_hz
        self._channels = channels
        self._render = render
        self._resampler = StreamResampler(MODEL_RATE_HZ, rate_hz)
        self._ready = np.zeros(0, np.float32)
        self._rendered = 0
        self._next_s: float | None = None
        self._taken = 0

    def fill(self, frames: int, sounds_s: float) -> bytes:
        """Makes a block.

        Args:
            frames: Its length.
            sounds_s: When its first frame will sound, as far as the device knows.

        Returns:
            Interleaved int16.
        """
        start_s = self._smooth(sounds_s)
        self._next_s = start_s + frames / self._rate_hz
        if self._rate_hz == MODEL_RATE_HZ:
            pcm = self._render(frames, start_s)
        else:
            pcm = self._resampled(frames, start_s)
        return np.repeat(pcm, self._channels).tobytes()

    def _smooth(self, sounds_s: float) -> float:
        """Takes the jitter out of a device's times, so that blocks follow without holes."""
        if self._next_s is None or abs(sounds_s - self._next_s) > _RESYNC_S:
            return sounds_s
        return self._next_s + _FOLLOW * (sounds_s - self._next_s)

    def _resampled(self, frames: int, start_s: float) -> np.ndarray:
        while len(self._ready) < frames:
            at_s = start_s + self._rendered / MODEL_RATE_HZ - self._taken / self._rate_hz
            samples = self._render(_STEP, at_s).astype(np.float32) / 32_768
            self._rendered += _STEP
            self._ready = np.concatenate([self._ready, self._resampler.push(samples)])
        block, self._ready = self._ready[:frames], self._ready[frames:]
        self._taken += frames
        return to_pcm16(block)
