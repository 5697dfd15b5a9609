# SPDX-License-Identifier: Apache-2.0
"""Sounds behind a conversation: music, machines, weather, kitchens, other people's talk.

The samples are those of Debian's sonic-pi-samples (CC0); everything else is computed. Every sample
belongs to one split.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from scipy import signal
from tqdm import tqdm

from .bank import Bank, Clip, write_shard
from .phrases import SPLITS, split_of

SAMPLE_RATE_HZ = 16_000
SAMPLES = Path('/usr/share/sonic-pi/samples')
LEVEL_DBFS = -26.0
CLIP_S = 15
# Clips of each kind, per split.
COUNTS = {
    'train': {'noise': 320, 'music': 120},
    'val': {'noise': 8, 'music': 6},
    'test': {'noise': 16, 'music': 12},
}
_PENTATONIC = (0, 3, 5, 7, 10, 12, 15)
_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 5, 9), (0, 4, 9), (0, 3, 8))


def build_backgrounds(root: Path, seed: int = 0) -> None:
    """Adds what is missing of the bank's noise and music.

    Args:
        root: folder of the bank; its chatter becomes other people's talk, so build speech first.
        seed: decides all sounds.
    """
    for split, counts in COUNTS.items():
        for kind, count in counts.items():
            path = root / split / f'background-{kind}-{seed:02d}000.npz'
            if path.exists():
                continue
            makers = _MUSIC if kind == 'music' else _NOISES
            clips = []
            for i in tqdm(range(count), desc=f'{split} {kind}', unit='clip'):
                rng = np.random.default_rng([seed, SPLITS.index(split), kind == 'music', i])
                maker = makers[i % len(makers)]
                clips.append(_clip(maker(rng, split, root), kind, split, maker.__name__.strip('_')))
            write_shard(path, clips)


def _clip(sound: np.ndarray, kind: str, split: str, source: str) -> Clip:
    level = np.sqrt(np.mean(sound**2)) + 1e-9
    scaled = np.clip(sound * 10 ** (LEVEL_DBFS / 20) / level, -0.98, 0.98)
    pcm = np.round(scaled * 32767).astype(np.int16)
    return Clip(
        pcm,
        '',
        kind,
        {'source': source},
        f'background-{kind}',
        'background',
        True,
        split,
        split,
        (),
        True,
    )


@cache
def samples(prefix: str, split: str) -> tuple[np.ndarray, ...]:
    """Sounds of the sample library whose names begin with `prefix`, float32 at 16 kHz.

    Args:
        prefix: 'drum', 'loop', 'ambi', ...
        split: whose; where a split got none by chance, the sounds are dealt out by turns instead.

    Raises:
        FileNotFoundError: if the library is not installed.
    """
    import soundfile
    import soxr

    paths = sorted(SAMPLES.glob(f'{prefix}_*.flac'))
    if not paths:
        raise FileNotFoundError(
            f"{SAMPLES} holds no {prefix}_*.flac; install Debian's sonic-pi-samples"
        )
    chosen = [path for path in paths if split_of(path.stem) == split] or paths[
        SPLITS.index(split) :: len(SPLITS)
    ]
    sounds = []
    for path in chosen:
        sound, rate_hz = soundfile.read(path, dtype='float32', always_2d=True)
        sounds.append(soxr.resample(sound.mean(axis=1), rate_hz, SAMPLE_RATE_HZ).astype(np.float32))
    return tuple(sounds)


def _length() -> int:
    return CLIP_S * SAMPLE_RATE_HZ


def _add(track: np.ndarray, sound: np.ndarray, at: int, gain: float = 1.0) -> None:
    end = min(len(track), at + len(sound))
    if at < end:
        track[at:end] += gain * sound[: end - at]


def _coloured(rng: np.random.Generator, slope: float, length: int) -> np.ndarray:
    """Noise whose power falls by `slope` times 3 dB an octave, RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-slope / 2)
    sound = np.fft.irfft(spectrum, length)
    return sound / (sound.std() + 1e-9)


def _swell(rng: np.random.Generator, depth: float, period_s: float) -> np.ndarray:
    """A slow random rise and fall round 1, shape (length,)."""
    points = max(4, int(CLIP_S / period_s))
    curve = np.interp(
        np.linspace(0, points, _length()), np.arange(points + 1), rng.uniform(-1, 1, points + 1)
    )
    return 10 ** (depth * curve / 20)


def _fan(rng, split, root):
    """A fan or an air conditioner: coloured noise, mains hum and the tone of the blades."""
    t = np.arange(_length()) / SAMPLE_RATE_HZ
    mains_hz, blades_hz = rng.choice([50, 60]), rng.uniform(70, 320)
    hum = sum(rng.uniform(0, 0.4) / k * np.sin(2 * np.pi * k * mains_hz * t) for k in range(1, 6))
    tone = rng.uniform(0, 0.5) * np.sin(
        2 * np.pi * blades_hz * t + 0.3 * np.sin(2 * np.pi * 0.7 * t)
    )
    return (_coloured(rng, rng.uniform(0.6, 1.8), _length()) + hum + tone) * _swell(rng, 1.5, 3)


def _rain(rng, split, root):
    """Rain: a bright hiss and many small drops."""
    sound = 0.4 * _coloured(rng, 0.3, _length()) * _swell(rng, 4, 2)
    for at in rng.integers(0, _length(), rng.integers(300, 3000)):
        length = rng.integers(20, 200)
        drop = np.sin(2 * np.pi * rng.uniform(800, 5000) * np.arange(length) / SAMPLE_RATE_HZ)
        _add(sound, drop * np.exp(-np.arange(length) / (length / 5)), at, rng.uniform(0.2, 2.5))
    return sound


def _street(rng, split, root):
    """A street: a low roar and cars that pass."""
    sound = 0.5 * _coloured(rng, 2.0, _length()) + 0.1 * _coloured(rng, 1.0, _length())
    t = np.arange(_length()) / SAMPLE_RATE_HZ
    for _ in range(rng.integers(2, 7)):
        passing = np.exp(-(((t - rng.uniform(0, CLIP_S)) / rng.uniform(0.6, 2.0)) ** 2))
        sound += rng.uniform(0.5, 2.5) * passing * _coloured(rng, rng.uniform(0.8, 1.6), _length())
    return sound


def _kitchen(rng, split, root):
    """Plates, cups and drawers: struck things that ring and thump, over a faint room."""
    sound = 0.02 * _coloured(rng, 1.2, _length())
    for at in rng.integers(0, _length(), rng.integers(12, 60)):
        length = int(rng.uniform(0.05, 0.5) * SAMPLE_RATE_HZ)
        t = np.arange(length) / SAMPLE_RATE_HZ
        base_hz = rng.choice([rng.uniform(80, 300), rng.uniform(1200, 4500)])
        ring = sum(
            np.sin(2 * np.pi * base_hz * ratio * t) / (1 + k)
            for k, ratio in enumerate((1, 1.58, 2.24, 2.92))
        )
        _add(sound, ring * np.exp(-t * rng.uniform(12, 60)), at, rng.uniform(0.1, 1.0))
        _add(
            sound, rng.standard_normal(80) * np.exp(-np.arange(80) / 15), at, rng.uniform(0.1, 0.6)
        )
    return sound


def _steps(rng, split, root):
    """Somebody walks, types or knocks: soft regular thumps."""
    sound = 0.03 * _coloured(rng, 1.5, _length())
    period, at = rng.uniform(0.12, 0.65), 0.0
    low_hz, high_hz = sorted(rng.uniform(60, 3000, 2))
    taps = signal.butter(2, [low_hz, high_hz + 200], 'bandpass', fs=SAMPLE_RATE_HZ, output='sos')
    while at < CLIP_S:
        burst = rng.standard_normal(1600) * np.exp(-np.arange(1600) / rng.uniform(60, 350))
        _add(sound, signal.sosfilt(taps, burst), int(at * SAMPLE_RATE_HZ), rng.uniform(0.4, 1.0))
        at += period * rng.uniform(0.8, 1.25) * (6 if rng.random() < 0.06 else 1)
    return sound


def _motor(rng, split, root):
    """A drill, a mixer or a vacuum cleaner: a buzz whose speed changes with the load."""
    speed_hz = rng.uniform(60, 260) * _swell(rng, 1.5, 2)
    phase = 2 * np.pi * np.cumsum(speed_hz) / SAMPLE_RATE_HZ
    buzz = sum(
        rng.uniform(0.2, 1) / k**0.7 * np.sin(k * phase + rng.uniform(0, 6)) for k in range(1, 24)
    )
    running = (_swell(rng, 20, 3) > 0.7).astype(float)
    smooth = signal.sosfiltfilt(signal.butter(1, 4, fs=SAMPLE_RATE_HZ, output='sos'), running)
    return (buzz + _coloured(rng, 0.7, _length())) * smooth + 0.02 * _coloured(rng, 1.0, _length())


def _babble(rng, split, root):
    """Five to twelve people who talk at once, made of the bank's chatter in the same split."""
    bank = _chatter(root, split)
    sound = 0.01 * _coloured(rng, 1.0, _length())
    if not bank:
        return sound
    for _ in range(rng.integers(5, 13)):
        at, gain = rng.integers(0, SAMPLE_RATE_HZ), rng.uniform(0.3, 1.0)
        while at < _length():
            clip = bank[rng.integers(len(bank))]
            _add(sound, clip.audio / 32768.0, at, gain)
            at += len(clip.audio) + rng.integers(0, SAMPLE_RATE_HZ)
    return sound


@cache
def _chatter(root: Path, split: str) -> list[Clip]:
    return [clip for clip in Bank.load(root, split) if clip.kind == 'chatter']


def _ambience(rng, split, root):
    """Sounds of the library, one after the other, at any pitch."""
    sounds = [
        sound
        for prefix in ('ambi', 'vinyl', 'glitch', 'misc', 'perc')
        for sound in samples(prefix, split)
    ]
    sound, at = 0.005 * _coloured(rng, 1.0, _length()), 0
    while at < _length():
        played = _pitched(sounds[rng.integers(len(sounds))], rng.integers(-7, 8))
        _add(sound, played / (np.abs(played).max() + 1e-6), at, rng.uniform(0.2, 1.0))
        at += int(len(played) * rng.uniform(0.5, 1.3)) + 1
    return sound


def _pitched(sound: np.ndarray, semitones: float) -> np.ndarray:
    """Plays a sound faster or slower."""
    at = np.arange(0, len(sound) - 1, 2 ** (semitones / 12))
    return np.interp(at, np.arange(len(sound)), sound)


def _pluck(rng: np.random.Generator, frequency_hz: float, length_s: float) -> np.ndarray:
    """A plucked string (Karplus and Strong, Computer Music Journal 7(2), 1983), as one filter."""
    period = max(2, round(SAMPLE_RATE_HZ / frequency_hz))
    excitation = np.zeros(int(length_s * SAMPLE_RATE_HZ))
    excitation[:period] = rng.uniform(-1, 1, period)
    feedback = np.zeros(period + 2)
    feedback[0], feedback[period], feedback[period + 1] = 1, -0.498, -0.498
    return signal.lfilter([1.0], feedback, excitation)


def _pad(rng: np.random.Generator, frequency_hz: float, length_s: float) -> np.ndarray:
    """A soft organ-like tone."""
    t = np.arange(int(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = sum(
        np.sin(2 * np.pi * frequency_hz * k * t * (1 + 0.002 * rng.standard_normal())) / k**1.5
        for k in (1, 2, 3, 4)
    )
    return tone * np.minimum(1, np.minimum(t / 0.15, (length_s - t) / 0.2))


def _band(rng, split, root):
    """A small band: chords, a melody on strings, a bass, and drums from the library."""
    track = np.zeros(_length())
    beat_s, key = 60 / rng.uniform(66, 150), rng.integers(45, 62)
    progression = [
        (rng.choice([0, 5, 7, -3, -4]), _CHORDS[rng.integers(len(_CHORDS))]) for _ in range(4)
    ]
    drums = samples('drum', split) + samples('bd', split) + samples('sn', split)
    kit = [drums[rng.integers(len(drums))] for _ in range(3)]
    voice, with_drums = (_pluck, _pad)[rng.integers(2)], rng.random() < 0.7
    for beat in range(int(CLIP_S / beat_s) + 1):
        at = int(beat * beat_s * SAMPLE_RATE_HZ)
        root_note, chord = progression[beat // 4 % 4]
        if beat % 4 == 0:
            for note in chord:
                _add(track, _pad(rng, _hertz(key + root_note + note), 4 * beat_s), at, 0.12)
        _add(track, _pluck(rng, _hertz(key + root_note - 12), beat_s * 1.5), at, 0.5)
        for half in range(2):
            if rng.random() < 0.6:
                note = key + 12 + root_note + rng.choice(_PENTATONIC)
                _add(
                    track,
                    voice(rng, _hertz(note), beat_s),
                    at + int(half * beat_s / 2 * SAMPLE_RATE_HZ),
                    0.35,
                )
        if with_drums:
            hit = kit[beat % 2 if rng.random() < 0.9 else 2]
            _add(track, hit[:8000] / (np.abs(hit).max() + 1e-6), at, 0.4)
    return track + 1e-4 * rng.standard_normal(_length())


def _loops(rng, split, root):
    """Loops of the library over each other."""
    loops = samples('loop', split) + samples('mehackit', split)
    track = 1e-4 * rng.standard_normal(_length())
    for _ in range(rng.integers(1, 4)):
        loop = _pitched(loops[rng.integers(len(loops))], rng.integers(-5, 6))
        loop = loop / (np.abs(loop).max() + 1e-6)
        for at in range(rng.integers(SAMPLE_RATE_HZ), _length(), max(len(loop), 4000)):
            _add(track, loop, at, rng.uniform(0.3, 1.0))
    return track


def _hertz(note: float) -> float:
    return 440.0 * 2 ** ((note - 69) / 12)


_NOISES = (_fan, _babble, _rain, _street, _kitchen, _steps, _motor, _ambience)
_MUSIC = (_band, _band, _loops)
