# SPDX-License-Identifier: Apache-2.0
"""Changes the sampling rate of sound that arrives in pieces."""

from __future__ import annotations

import numpy as np

MODEL_RATE_HZ = 16_000


class StreamResampler:
    """High-quality streaming resampler; sample n of the output belongs to the time n / rate_out.

    Equal rates pass the samples unchanged.
    """

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        """Starts at silence.

        Args:
            rate_in_hz: Sampling rate of what is pushed.
            rate_out_hz: Sampling rate of what comes back.

        Raises:
            ValueError: A rate is not positive.
        """
        if rate_in_hz <= 0 or rate_out_hz <= 0:
            raise ValueError(
                f'sampling rates are {rate_in_hz} and {rate_out_hz} Hz; expected positive numbers'
            )
        self._stream = None
        if rate_in_hz != rate_out_hz:
            import soxr

            self._stream = soxr.ResampleStream(
                rate_in_hz, rate_out_hz, 1, dtype='float32', quality='HQ'
            )

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Takes (N,) float32 and returns the (M,) float32 that are ready; M varies."""
        if self._stream is None:
            return samples
        return self._stream.resample_chunk(np.ascontiguousarray(samples, np.float32))

    def finish(self) -> np.ndarray:
        """Returns the (M,) float32 that are still inside; nothing may be pushed after it."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        return self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
