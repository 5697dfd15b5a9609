# SPDX-License-Identifier: Apache-2.0
"""Clips of the phrase bank as two files that can be shipped: Opus, and what is said in it.

The bank of the test voices is made from what the repository holds, apart from any other bank, so
that everybody scores a model on the same clips and needs no speech engines. A few training voices
come along too, to begin with. Run as a program, this writes these files from a bank; that of the
test voices is made by scripts/build_test_bank.sh.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from .bank import DEFAULT_ROOT, SAMPLE_RATE_HZ, SPLITS, Clip, read_shard, write_shard

SHIPPED = Path('benchmarks/test_voices')
TRAINING = Path('benchmarks/training_voices')
UNPACKED = Path('.cache/test_voices')
SOUND, FACTS = 'clips.opus', 'clips.json.gz'
# Silence between two clips, so that a codec doesn't smear one into the next.
_GAP = SAMPLE_RATE_HZ // 25
# libsndfile's way to ask for some 18 kbit/s.
_COMPRESSION = 0.95
_BLOCK_S = 60


def is_for_tests(clip: Clip) -> bool:
    """Whether the evaluation needs a clip: all of test voices, of the robot a result to read."""
    return clip.split == 'test' or (clip.kind == 'robot_open' and clip.text_split == 'test')


def is_for_training(clip: Clip) -> bool:
    """Whether a clip is worth shipping for training: natural and slow to make, or the robot's."""
    if clip.split == 'robot':
        return clip.text_split != 'test'
    return clip.split == 'train' and clip.voice.startswith('kokoro-')


def pack(root: Path, folder: Path, wanted: Callable[[Clip], bool] = is_for_tests) -> int:
    """Writes clips of a bank to two files.

    Args:
        root: Folder of the bank.
        folder: Where the files go.
        wanted: Which clips.

    Returns:
        How many clips there are.

    Raises:
        ValueError: There are none.
    """
    shards: dict[str, list[dict[str, Any]]] = {}
    sound: list[np.ndarray] = []
    for path in sorted(root.glob('*/*.npz')):
        clips = [clip for clip in read_shard(path) if wanted(clip)]
        for clip in clips:
            sound += [clip.audio, np.zeros(_GAP, np.int16)]
        if clips:
            shards[f'{path.parent.name}/{path.name}'] = [_facts(clip) for clip in clips]
    if not shards:
        raise ValueError(f'root: {root} has no such clips, expected a phrase bank')
    folder.mkdir(parents=True, exist_ok=True)
    _write_sound(folder / SOUND, np.concatenate(sound))
    # Without a time stamp the same clips are the same bytes.
    text = json.dumps(shards, separators=(',', ':'))
    (folder / FACTS).write_bytes(gzip.compress(text.encode(), mtime=0))
    return sum(map(len, shards.values()))


def unpack(folder: Path, root: Path, splits: Sequence[str] = SPLITS) -> int:
    """Makes shards of a bank from what `pack` wrote; those that exist are left as they are.

    Args:
        folder: Where the files are.
        root: Folder of the bank.
        splits: Only shards of these are made.

    Returns:
        How many clips there are.

    Raises:
        ValueError: The files are missing, or don't belong together.
    """
    for name in (SOUND, FACTS):
        if not (folder / name).is_file():
            raise ValueError(f'folder: {folder} has no {name}, expected what `pack` wrote')
    shards = json.loads(gzip.decompress((folder / FACTS).read_bytes()))
    sound, rate_hz = soundfile.read(folder / SOUND, dtype='int16')
    lengths = [facts['samples'] for each in shards.values() for facts in each]
    if rate_hz != SAMPLE_RATE_HZ or len(sound) != sum(lengths) + len(lengths) * _GAP:
        raise ValueError(f'folder: {SOUND} and {FACTS} in {folder} do not belong together')
    at = 0
    for name, each in shards.items():
        clips = []
        for facts in each:
            samples = facts.pop('samples')
            facts['words'] = tuple((word, start, end) for word, start, end in facts['words'])
            clips.append(Clip(audio=sound[at : at + samples], **facts))
            at += samples + _GAP
        if name.partition('/')[0] in splits and not (root / name).exists():
            write_shard(root / name, clips)
    return len(lengths)


def shipped_bank(folder: Path = SHIPPED, root: Path = UNPACKED) -> Path:
    """The bank of the clips that come along, which is made at the first call.

    Args:
        folder: Where the packed files are.
        root: Folder of the bank.

    Raises:
        ValueError: The packed files are missing, or don't belong together.
    """
    whole = root / 'whole'
    if not whole.exists():
        unpack(folder, root)
        whole.touch()
    return root


def _facts(clip: Clip) -> dict[str, Any]:
    facts = {field.name: getattr(clip, field.name) for field in dataclasses.fields(clip)}
    return {'samples': len(facts.pop('audio'))} | facts


def _write_sound(path: Path, samples: np.ndarray) -> None:
    options = {'format': 'OGG', 'subtype': 'OPUS', 'compression_level': _COMPRESSION}
    with soundfile.SoundFile(path, 'w', SAMPLE_RATE_HZ, 1, **options) as file:
        for begin in range(0, len(samples), _BLOCK_S * SAMPLE_RATE_HZ):
            file.write(samples[begin : begin + _BLOCK_S * SAMPLE_RATE_HZ])


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--bank', type=Path, default=DEFAULT_ROOT, help='default: %(default)s')
    parser.add_argument(
        '--what', choices=['test', 'training'], default='test', help='voices (default: %(default)s)'
    )
    parser.add_argument('--folder', type=Path, help=f'default: {SHIPPED} or {TRAINING}')
    options = parser.parse_args(arguments)
    for_tests = options.what == 'test'
    folder = options.folder or (SHIPPED if for_tests else TRAINING)
    try:
        count = pack(options.bank, folder, is_for_tests if for_tests else is_for_training)
    except ValueError as error:
        parser.exit(1, f'pack: {error}\n')
    print(f'pack: {count} clips')


if __name__ == '__main__':
    main()
