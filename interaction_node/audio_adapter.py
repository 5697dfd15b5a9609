# SPDX-License-Identifier: Apache-2.0
"""Makes 16 kHz mono of whatever a microphone or a speaker sends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interaction_node.model.interface import SAMPLE_RATE_HZ
from interaction_node.stream_resampler import StreamResampler

RATES_HZ = (4_000, 384_000)
MAX_CHANNELS = 32

Piece = tuple[int, np.ndarray]


class AudioAdapter:
    """Converts the chunks of one source; 16 kHz mono passes unchanged.

    A chunk that doesn't continue the one before it (a gap, a repetition, another rate) ends the
    stream: what the resampler still held comes out, and a new stream starts at the chunk.
    """

    def __init__(self) -> None:
        self._rate_hz = SAMPLE_RATE_HZ
        self._resampler: StreamResampler | None = None
        self._next_in = 0
        self._next_out = 0

    def continues_at(self, sample_rate_hz: int) -> int | None:
        """Returns the sample, at its own rate, that would continue the stream, None without one."""
        return self._next_in if self._resampler and sample_rate_hz == self._rate_hz else None

    def convert(
        self, first_sample: int, sample_rate_hz: int, channels: int, pcm: Sequence[int] | np.ndarray
    ) -> list[Piece]:
        """Converts one chunk.

        Args:
            first_sample: Position of the first sample at `sample_rate_hz`, >= 0.
            sample_rate_hz: 4,000 to 384,000.
            channels: 1 to 32, interleaved; they are averaged.
            pcm: (n * channels,) int16, n >= 1.

        Returns:
            (position at 16 kHz, (m,) int16) of what is ready; a resampler holds some back.

        Raises:
            ValueError: An argument is out of range; names it, its value and what was expected.
        """
        samples = check_chunk(first_sample, sample_rate_hz, channels, pcm)
        if channels > 1:
            mean = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
            samples = _to_int16(mean)
        if sample_rate_hz == SAMPLE_RATE_HZ:
            return [*self.flush(), (first_sample, samples)]
        pieces: list[Piece] = []
        resampler = self._resampler
        if resampler is None or first_sample != self.continues_at(sample_rate_hz):
            pieces = self.flush()
            resampler = self._start(first_sample, sample_rate_hz)
        self._next_in += len(samples)
        return pieces + self._emit(resampler.push(samples.astype(np.float32)))

    def flush(self) -> list[Piece]:
        """Ends the stream and returns what was held back."""
        if self._resampler is None:
            return []
        pieces = self._emit(self._resampler.finish())
        self._resampler = None
        return pieces

    def _start(self, first_sample: int, sample_rate_hz: int) -> StreamResampler:
        self._resampler = StreamResampler(sample_rate_hz, SAMPLE_RATE_HZ)
        self._rate_hz = sample_rate_hz
        self._next_in = first_sample
        self._next_out = round(first_sample * SAMPLE_RATE_HZ / sample_rate_hz)
        return self._resampler

    def _emit(self, samples: np.ndarray) -> list[Piece]:
        if not len(samples):
            return []
        piece = (self._next_out, _to_int16(samples))
        self._next_out += len(samples)
        return [piece]


def check_chunk(
    first_sample: int, sample_rate_hz: int, channels: int, pcm: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Returns (n * channels,) int16 or raises ValueError; see `AudioAdapter.convert`."""
    if first_sample < 0:
        raise ValueError(f'first_sample is {first_sample}, expected a position >= 0')
    if not RATES_HZ[0] <= sample_rate_hz <= RATES_HZ[1]:
        raise ValueError(
            f'sample_rate_hz is {sample_rate_hz}, expected {RATES_HZ[0]} to {RATES_HZ[1]}'
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f'channels is {channels}, expected 1 to {MAX_CHANNELS}')
    samples = np.asarray(pcm)
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f'pcm has shape {samples.shape}, expected (n,) with n >= 1')
    if samples.dtype != np.int16:
        raise ValueError(f'pcm is {samples.dtype}, expected int16')
    if len(samples) % channels:
        raise ValueError(
            f'pcm has {len(samples)} samples, expected a multiple of channels = {channels}'
        )
    return samples


def _to_int16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
