# SPDX-License-Identifier: Apache-2.0
"""Acoustic features of the robot's voice: log-mel, pitch and voicing every 20 ms.

Dimension legend: B batch, T frames (20 ms), N samples, F features (80 mels, log-pitch, voicing).

Frame t looks at samples [320 t, 320 t + 640), so it is centred on the end of its own hop and the
ten frames of a 200 ms block say everything that a vocoder needs up to the block's last sample.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

SAMPLE_RATE_HZ = 16_000
HOP = 320
WINDOW = 640
N_FFT = 1024
N_MELS = 80
N_FEATURES = N_MELS + 2
FRAMES_PER_BLOCK = 10
BLOCK_SAMPLES = HOP * FRAMES_PER_BLOCK
LOG_FLOOR = 1e-4
SILENCE_LOG_MEL = float(np.log(LOG_FLOOR))
PITCH_MIN_HZ, PITCH_MAX_HZ = 60.0, 330.0
PITCH_INDEX, VOICING_INDEX = N_MELS, N_MELS + 1

_PITCH_WINDOW = 640
_PITCH_STEP_COST = 12.0
_SILENCE_RMS = 3e-3


def _hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Slaney's scale: linear below 1 kHz, logarithmic above."""
    linear = hz * 3.0 / 200.0
    return np.where(hz < 1000, linear, 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4))


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Inverse of `_hz_to_mel`."""
    return np.where(mel < 15, mel * 200.0 / 3.0, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@functools.cache
def mel_centres_hz() -> np.ndarray:
    """Returns the centre frequencies of the mels, (80,) float64, Hz."""
    return _mel_to_hz(np.linspace(0, _hz_to_mel(np.array(8000.0)), N_MELS + 2))[1:-1]


@functools.cache
def _filters() -> torch.Tensor:
    """Area-normalised triangular mel filters, (513, 80) float32."""
    edges = _mel_to_hz(np.linspace(0, _hz_to_mel(np.array(8000.0)), N_MELS + 2))
    hz = np.linspace(0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1)[:, None]
    rise = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rise, fall)) * 2.0 / (edges[2:] - edges[:-2])
    return torch.from_numpy(weights.astype(np.float32))


def silence_frame() -> torch.Tensor:
    """Returns the features of digital silence, (82,) float32."""
    frame = torch.full((N_FEATURES,), SILENCE_LOG_MEL)
    frame[PITCH_INDEX] = float(np.log(110.0))
    frame[VOICING_INDEX] = 0.0
    return frame


def log_mel(wave_BN: torch.Tensor) -> torch.Tensor:
    """Computes the log-mel spectrogram of whole hops of sound.

    Args:
        wave_BN: (B, N) float32 in -1..1, N a multiple of 320.

    Returns:
        (B, N / 320, 80) float32, natural logarithm of magnitude, floored at ln 1e-4.

    Raises:
        ValueError: If N is not a positive multiple of 320.
    """
    if wave_BN.shape[-1] % HOP or not wave_BN.shape[-1]:
        raise ValueError(f'wave_BN: {wave_BN.shape[-1]} samples, expected a multiple of {HOP}')
    padded = torch.nn.functional.pad(wave_BN, (0, WINDOW - HOP))
    frames_BTN = padded.unfold(-1, WINDOW, HOP) * torch.hann_window(WINDOW)
    magnitude = torch.fft.rfft(frames_BTN, N_FFT).abs()
    return torch.log(torch.clamp(magnitude @ _filters(), min=LOG_FLOOR))


def _correlations(wave_N: np.ndarray, n_frames: int) -> np.ndarray:
    """Normalised autocorrelation around each frame's centre, (T, lags)."""
    lag_max = int(SAMPLE_RATE_HZ / PITCH_MIN_HZ)
    span = _PITCH_WINDOW + lag_max
    # Frame t is centred on sample 320 (t + 1); the pair (x, x shifted) is centred there too.
    padded = np.pad(wave_N, (span, span))
    starts = HOP * (np.arange(n_frames) + 1) - span // 2 + span
    segments = padded[starts[:, None] + np.arange(span)]
    head = segments[:, :_PITCH_WINDOW]
    n = 1 << (span + _PITCH_WINDOW).bit_length()
    cross = np.fft.irfft(np.fft.rfft(segments, n) * np.conj(np.fft.rfft(head, n)), n)
    energy = np.cumsum(np.pad(segments**2, ((0, 0), (1, 0))), axis=1)
    window_energy = energy[:, _PITCH_WINDOW:] - energy[:, : lag_max + 1]
    scale = np.sqrt(window_energy[:, :1] * window_energy) + _PITCH_WINDOW * _SILENCE_RMS**2
    return cross[:, : lag_max + 1] / scale


def _best_path(score_TL: np.ndarray, lags_L: np.ndarray) -> np.ndarray:
    """Viterbi over lags; a jump costs in proportion to the change of log-pitch."""
    n_lags = len(lags_L)
    step = np.abs(np.log(lags_L)[:, None] - np.log(lags_L)[None])
    cost = np.minimum(_PITCH_STEP_COST * step**2 * 10, 1.5)
    total, back = score_TL[0].copy(), np.zeros(score_TL.shape, np.int64)
    for t in range(1, len(score_TL)):
        options = total[:, None] - cost
        back[t] = options.argmax(0)
        total = options[back[t], np.arange(n_lags)] + score_TL[t]
    path = np.zeros(len(score_TL), np.int64)
    path[-1] = total.argmax()
    for t in range(len(score_TL) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def pitch(wave_N: np.ndarray, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Tracks the pitch of one voice.

    Args:
        wave_N: (N,) float in -1..1 at 16 kHz.
        n_frames: Number of 20 ms frames.

    Returns:
        Pitch in Hz, (T,) float32, carried through unvoiced frames by interpolation of its
        logarithm; voicing, (T,) float32 from 0 to 1, the correlation at the pitch lag.
    """
    correlations = _correlations(np.asarray(wave_N, np.float64), n_frames)
    lag_min = int(SAMPLE_RATE_HZ / PITCH_MAX_HZ)
    lags = np.arange(lag_min, correlations.shape[1])
    # A slight preference for short lags keeps the path from falling an octave.
    score = correlations[:, lag_min:] - 0.0006 * (lags - lag_min)
    path = _best_path(score, lags.astype(np.float64))
    rows = np.arange(n_frames)
    at = path + lag_min
    voicing = np.clip(correlations[rows, at], 0, 1)
    left = correlations[rows, at - 1]
    right = correlations[rows, np.minimum(at + 1, correlations.shape[1] - 1)]
    bend = 2 * correlations[rows, at] - left - right
    offset = np.where(bend > 1e-6, 0.5 * (right - left) / np.maximum(bend, 1e-6), 0)
    hz = SAMPLE_RATE_HZ / (at + np.clip(offset, -0.5, 0.5))
    voiced = voicing > 0.5
    if voiced.any():
        hz = np.exp(np.interp(rows, rows[voiced], np.log(hz[voiced])))
    else:
        hz = np.full(n_frames, 110.0)
    return hz.astype(np.float32), voicing.astype(np.float32)


def features(wave_N: np.ndarray) -> torch.Tensor:
    """Computes all features of one utterance.

    Args:
        wave_N: (N,) float32 in -1..1 at 16 kHz, any length; padded with silence to 320.

    Returns:
        (T, 82) float32: 80 log-mels, log of the pitch in Hz, voicing from 0 to 1.
    """
    wave = np.asarray(wave_N, np.float32)
    wave = np.pad(wave, (0, -len(wave) % HOP))
    mel_TF = log_mel(torch.from_numpy(wave)[None])[0]
    hz, voicing = pitch(wave, len(mel_TF))
    extra = torch.from_numpy(np.stack([np.log(hz), voicing], axis=1))
    return torch.cat([mel_TF, extra], dim=1)
