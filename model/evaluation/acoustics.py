# SPDX-License-Identifier: Apache-2.0
"""How a robot hears people: rooms, talk to others, voices in the background, the robot's own voice.

The rooms are computed by the image method (J. Allen, D. Berkley, "Image method for efficiently
simulating small-room acoustics", 1979); training uses another kind of room, so that none of these
was trained in. Side talk and background speech sound as Full-Duplex-Bench v1.5 makes them.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

SAMPLE_RATE_HZ = 16_000
_SOUND_MPS = 343.0
_IMAGES = 5


def room_response(rng: np.random.Generator) -> np.ndarray:
    """(n,) float32 impulse response of a random room; the direct sound is 1 and comes first."""
    size = rng.uniform([2.6, 2.4, 2.3], [7.0, 6.0, 3.2])
    mouth, ear = rng.uniform(0.15, 0.85, 3) * size, rng.uniform(0.15, 0.85, 3) * size
    reverberation_s = rng.uniform(0.12, 0.45)
    surface = 2 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    absorbed = min(0.9, 0.161 * size.prod() / (surface * reverberation_s))
    reflected = np.sqrt(1 - absorbed)
    order = np.arange(-_IMAGES, _IMAGES + 1)
    # Along each axis: where the images are, and how many walls each has met.
    places = [
        np.concatenate([2 * order * size[i] + mouth[i], 2 * order * size[i] - mouth[i]]) - ear[i]
        for i in range(3)
    ]
    walls = np.concatenate([np.abs(2 * order), np.abs(2 * order - 1)])
    x, y, z = np.meshgrid(*places, indexing='ij')
    met = walls[:, None, None] + walls[None, :, None] + walls[None, None, :]
    distance = np.sqrt(x**2 + y**2 + z**2).ravel()
    gain = reflected ** met.ravel() / np.maximum(distance, 0.3)
    delay = np.round((distance - distance.min()) / _SOUND_MPS * SAMPLE_RATE_HZ).astype(int)
    within = delay < SAMPLE_RATE_HZ * 0.3
    response = np.bincount(delay[within], gain[within])
    return (response / response[0]).astype(np.float32)


def in_room(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """(n,) float32: samples as they sound in a room, as long as before."""
    return scipy.signal.fftconvolve(samples, response)[: len(samples)].astype(np.float32)


def gain(level_db: float) -> np.float32:
    """Factor of a level."""
    return np.float32(10 ** (level_db / 20))


def echoes(samples: np.ndarray, *reflections: tuple[float, float]) -> np.ndarray:
    """Adds reflections, each (delay in seconds, level in dB); the result is longer."""
    late = max(round(delay_s * SAMPLE_RATE_HZ) for delay_s, _ in reflections)
    out = np.concatenate([samples, np.zeros(late, np.float32)])
    for delay_s, level_db in reflections:
        start = round(delay_s * SAMPLE_RATE_HZ)
        out[start : start + len(samples)] += samples * gain(level_db)
    return out


def side_talk(samples: np.ndarray) -> np.ndarray:
    """Talk to somebody else: -8 dB, -5 dB above 4 kHz, reflections at 45 and 120 ms."""
    sos = scipy.signal.butter(2, 4000, 'high', fs=SAMPLE_RATE_HZ, output='sos')
    high = scipy.signal.sosfilt(sos, samples).astype(np.float32)
    dull = samples - high * (1 - gain(-5))
    return echoes(dull, (0.045, -6), (0.120, -12)) * gain(-8)


def background(samples: np.ndarray) -> np.ndarray:
    """A voice in the background: -15 dB, 3 kHz low-pass, an echo after 100 ms at -10 dB."""
    sos = scipy.signal.butter(4, 3000, 'low', fs=SAMPLE_RATE_HZ, output='sos')
    dull = scipy.signal.sosfilt(sos, samples).astype(np.float32)
    return echoes(dull, (0.100, -10)) * gain(-15)


def hiss(count: int, level_dbfs: float, rng: np.random.Generator) -> np.ndarray:
    """(count,) float32 noise of a microphone and a room, more of it at low frequencies."""
    white = rng.standard_normal(count)
    tilted = scipy.signal.lfilter([1.0], [1, -rng.uniform(0.3, 0.95)], white)
    return (tilted / tilted.std() * 10 ** (level_dbfs / 20)).astype(np.float32)
