# SPDX-License-Identifier: Apache-2.0
"""The mel front end of `nano`: 64 Slaney mels, 40 ms windows, 20 ms hop, causal.

Legend: F frames of 20 ms, M mel bins.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

SAMPLE_RATE_HZ = 16_000
HOP = 320
WINDOW = 640
MELS = 64
LOG_MIN, LOG_MAX = -5.0, 1.4


def slaney_mel_weights(mels: int = MELS, n_fft: int = WINDOW) -> np.ndarray:
    """(n_fft // 2 + 1, mels) area-normalised Slaney mel filters, 0 to 8 kHz."""

    def to_hz(mel):
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    top = 15 + 27 * np.log(SAMPLE_RATE_HZ / 2 / 1000) / np.log(6.4)
    edges = to_hz(np.linspace(0, top, mels + 2))
    hz = np.linspace(0, SAMPLE_RATE_HZ / 2, n_fft // 2 + 1)
    rise = (hz[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    fall = (edges[2:] - hz[:, None]) / np.diff(edges)[1:]
    area = 2 / (edges[2:] - edges[:-2])
    return (np.clip(np.minimum(rise, fall), 0, None) * area).astype(np.float32)


_WEIGHTS = slaney_mel_weights()
_HANN = scipy.signal.get_window('hann', WINDOW, fftbins=True).astype(np.float32)


def mel_magnitude(samples: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Mel magnitudes; frame f ends at sample HOP * (f + 1).

    Args:
        samples: (n,) float samples in [-1, 1].
        before: (WINDOW - HOP,) samples before the first; default silence.

    Returns:
        (n // HOP, M) float32.
    """
    if before is None:
        before = np.zeros(WINDOW - HOP, np.float32)
    frames = len(samples) // HOP
    if frames == 0:
        return np.zeros((0, MELS), np.float32)
    padded = np.concatenate([before, samples]).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    return np.abs(np.fft.rfft(windows * _HANN, axis=1)).astype(np.float32) @ _WEIGHTS


def mel_levels(magnitude_FM: np.ndarray) -> np.ndarray:
    """(F, M) uint8 levels: log10 of the magnitude, clamped, 256 even steps."""
    log = np.log10(np.maximum(magnitude_FM, 1e-9))
    scaled = (np.clip(log, LOG_MIN, LOG_MAX) - LOG_MIN) * (255 / (LOG_MAX - LOG_MIN))
    return np.round(scaled).astype(np.uint8)


class MelStream:
    """Levels of a signal that arrives in pieces; equal to the levels of the whole.

    The state is the last half window of samples.
    """

    def __init__(self) -> None:
        self.before = np.zeros(WINDOW - HOP, np.float32)

    def reset(self) -> None:
        """Forgets the signal."""
        self.before[:] = 0

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Levels of the next samples.

        Args:
            pcm: (n,) int16, n a multiple of HOP.

        Returns:
            (n // HOP, M) uint8.

        Raises:
            ValueError: n is no multiple of HOP.
        """
        if len(pcm) % HOP:
            raise ValueError(f'pcm: {len(pcm)} samples, expected a multiple of {HOP}')
        samples = pcm.astype(np.float32) / 32768
        levels = mel_levels(mel_magnitude(samples, self.before))
        joined = np.concatenate([self.before, samples])
        self.before = joined[len(joined) - (WINDOW - HOP) :]
        return levels
