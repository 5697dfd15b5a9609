# SPDX-License-Identifier: Apache-2.0
"""Reads sound files as what the model hears: 16 kHz mono 16-bit PCM.

Live and offline runs read through the same functions, so that both hear the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from interaction_node.stream_resampler import MODEL_RATE_HZ, StreamResampler

SUFFIXES = ('.wav', '.flac')
_BLOCK_FRAMES = 16_384


def audio_files(path: str | Path) -> list[Path]:
    """Lists the sound files that a path stands for.

    Args:
        path: A WAV or FLAC file, or a folder of them.

    Returns:
        The file itself, or the folder's files in the order of their names; never empty.

    Raises:
        ValueError: There is no such file or folder, or no sound file in the folder.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f'sound file {str(path)!r} does not exist; expected a WAV or FLAC file')
    found = sorted(item for item in path.iterdir() if item.suffix.lower() in SUFFIXES)
    if not found:
        raise ValueError(f'folder {str(path)!r} holds no sound file; expected *.wav or *.flac')
    return found


def check_audio_files(paths: list[Path]) -> None:
    """Checks that files can be read as sound.

    Raises:
        ValueError: A file is missing, empty of channels, or no sound file.
    """
    for path in paths:
        with _open(path):
            pass


def stream_pcm16(path: str | Path, block_samples: int = _BLOCK_FRAMES) -> Iterator[np.ndarray]:
    """Reads a sound file piece by piece, at any rate and with any number of channels.

    Args:
        path: A WAV or FLAC file.
        block_samples: Frames read from the file at a time; bounds the memory in use.

    Yields:
        (N,) int16 at 16 kHz, N varying; 16-bit mono files at 16 kHz pass bit for bit, and
        `block_samples` doesn't change the samples.

    Raises:
        ValueError: The file is missing or no sound file.
    """
    import soundfile

    with _open(Path(path)) as file:
        resampler = StreamResampler(file.samplerate, MODEL_RATE_HZ)
        try:
            while len(block_FC := file.read(block_samples, dtype='float32', always_2d=True)):
                yield to_pcm16(resampler.push(mix_down(block_FC)))
        except soundfile.LibsndfileError as error:
            raise ValueError(f'sound file {str(path)!r} is damaged: {error}') from None
    yield to_pcm16(resampler.finish())


def read_pcm16(path: str | Path) -> np.ndarray:
    """Reads a whole sound file.

    Args:
        path: A WAV or FLAC file at any rate, with any number of channels.

    Returns:
        (N,) int16 at 16 kHz, mono.

    Raises:
        ValueError: The file is missing or no sound file.
    """
    return np.concatenate([np.zeros(0, np.int16), *stream_pcm16(path)])


def mix_down(block_FC: np.ndarray) -> np.ndarray:
    """Averages channels: (frames, channels) float32 -> (frames,) float32."""
    return block_FC[:, 0] if block_FC.shape[1] == 1 else block_FC.mean(axis=1, dtype=np.float32)


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """Converts (N,) float in [-1, 1) to int16; what is louder is clipped."""
    return np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype(np.int16)


def _open(path: Path):
    import soundfile

    try:
        return soundfile.SoundFile(path.expanduser())
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise ValueError(
            f'sound file {str(path)!r} cannot be read ({error}); expected a WAV or FLAC file'
        ) from None
