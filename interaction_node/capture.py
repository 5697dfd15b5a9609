# SPDX-License-Identifier: Apache-2.0
"""Turns a device's blocks into chunks of 16 kHz mono sound on one unbroken sample counter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interaction_node.audio_file import mix_down, to_pcm16
from interaction_node.capture_clock import CaptureClock
from interaction_node.stream_resampler import MODEL_RATE_HZ, StreamResampler


@dataclass(frozen=True)
class CapturedChunk:
    """A piece of sound from a microphone.

    Attributes:
        first_sample: Position of its first sample, at 16 kHz.
        acquired_s: When that sample was acquired, on the steady clock.
        pcm: (N,) int16, mono.
    """

    first_sample: int
    acquired_s: float
    pcm: np.ndarray


class Capture:
    """Resamples, mixes and cuts what a microphone delivers.

    The counter never goes back. What was lost, also while the device was gone, is a jump of
    `first_sample`; a chunk never spans one.
    """

    def __init__(self, chunk_samples: int, channel: int = -1) -> None:
        """Prepares; `open` comes first.

        Args:
            chunk_samples: Length of a chunk at 16 kHz.
            channel: The channel to take, -1 for the mean of all.
        """
        self._chunk_samples = chunk_samples
        self._channel = channel
        self._end = 0
        self._origin_s: float | None = None
        self._pending = np.zeros(0, np.int16)
        self.lost_samples = 0

    def open(self, rate_hz: int) -> None:
        """Starts a device, or starts it again.

        Args:
            rate_hz: Its sampling rate.
        """
        self._rate_hz = rate_hz
        self._clock = CaptureClock(rate_hz)
        self._base = -1
        self._expected = 0
        self._restart(self._end)

    def push(
        self, block_FC: np.ndarray, acquired_s: float, lost: int = 0, overflowed: bool = False
    ) -> list[CapturedChunk]:
        """Takes a block.

        Args:
            block_FC: (frames, channels) int16.
            acquired_s: When its first frame was acquired, on the steady clock.
            lost: Frames that were dropped before it.
            overflowed: Whether the device reports that it lost some more.

        Returns:
            The chunks that are complete.
        """
        first = self._clock.push(len(block_FC), acquired_s, lost, overflowed)
        chunks = []
        if self._base < 0:
            self._set_base(acquired_s)
        elif first != self._expected:
            chunks = self._finish()
            self._lose(self._base + self._scaled(first))
        self._expected = first + len(block_FC)
        self._pending = np.concatenate([self._pending, self._convert(block_FC)])
        return chunks + self._cut(self._chunk_samples)

    def _set_base(self, acquired_s: float) -> None:
        """Places the first block of a device on the counter."""
        if self._origin_s is None:
            self._origin_s = acquired_s
        self._base = max(self._end, round((acquired_s - self._origin_s) * MODEL_RATE_HZ))
        self._lose(self._base)

    def _lose(self, position: int) -> None:
        position = max(position, self._end)
        self.lost_samples += position - self._end
        self._restart(position)

    def _restart(self, position: int) -> None:
        self._end = position
        self._pending = np.zeros(0, np.int16)
        self._resampler = StreamResampler(self._rate_hz, MODEL_RATE_HZ)

    def _convert(self, block_FC: np.ndarray) -> np.ndarray:
        if self._channel >= 0:
            block_FC = block_FC[:, self._channel : self._channel + 1]
        samples = mix_down(block_FC.astype(np.float32) / 32_768)
        return to_pcm16(self._resampler.push(samples))

    def _finish(self) -> list[CapturedChunk]:
        """Returns all that came before a gap; the last chunk is short."""
        self._pending = np.concatenate([self._pending, to_pcm16(self._resampler.finish())])
        return self._cut(self._chunk_samples) + self._cut(len(self._pending))

    def _cut(self, length: int) -> list[CapturedChunk]:
        chunks = []
        while length and len(self._pending) >= length:
            steady_s = self._clock.time_of((self._end - self._base) * self._rate_hz / MODEL_RATE_HZ)
            chunks.append(CapturedChunk(self._end, steady_s, self._pending[:length]))
            self._pending = self._pending[length:]
            self._end += length
        return chunks

    def _scaled(self, frames: int) -> int:
        return round(frames * MODEL_RATE_HZ / self._rate_hz)
