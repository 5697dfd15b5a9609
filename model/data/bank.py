# SPDX-License-Identifier: Apache-2.0
"""The phrase bank: synthesised clips with word times, readable while it grows.

A shard is `<root>/<split>/<engine>-<voice>-<nnnnn>.npz`; where only some kinds of phrases were
asked for, they stand before the number. It has `audio` (int16, all clips end to end), `offsets`
(int64, one more than there are clips) and `meta` (JSON as bytes, one object a clip). It appears all
at once, by a rename, and is not changed after that but for better word times.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SAMPLE_RATE_HZ = 16_000
SPLITS = ('train', 'val', 'test', 'robot')
ENGINES = ('piper', 'hibari', 'pico', 'flite', 'festival', 'espeak', 'kokoro')
DEFAULT_ROOT = Path('.cache/bank')


@dataclass(frozen=True)
class Clip:
    """One utterance.

    Attributes:
        audio: int16, shape (n,), 16 kHz mono, speech at -23 dBFS, about 30 ms of silence at both
            ends; a read-only view.
        text: lower-case words; '' for noise and music.
        kind: as in `phrases.KINDS`, or 'noise' or 'music'.
        meaning: what it asks for, as in `phrases.Phrase.meaning`.
        voice: 'engine-name', unique over the bank.
        engine: 'kokoro', 'flite', ...; 'background' for noise and music.
        natural: False for formant voices.
        split: the voice's split: 'train', 'val', 'test' or 'robot'.
        text_split: the phrase's split: 'train', 'val', 'test' or 'shared'.
        words: (word, start in s, end in s) from the first sample.
        aligned: False where word times are only guessed from the words' lengths.
    """

    audio: np.ndarray
    text: str
    kind: str
    meaning: Mapping[str, Any]
    voice: str
    engine: str
    natural: bool
    split: str
    text_split: str
    words: tuple[tuple[str, float, float], ...]
    aligned: bool

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.audio) / SAMPLE_RATE_HZ


class Bank(Sequence[Clip]):
    """All clips of one split, in the order of their shards; grows with `refresh`.

    Attributes:
        root: folder of the bank.
        split: 'train', 'val', 'test' or 'robot'.
    """

    def __init__(self, root: Path | str, split: str) -> None:
        if split not in SPLITS:
            raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
        self.root, self.split = Path(root), split
        self._clips: list[Clip] = []
        self._seen: set[str] = set()
        self._by_kind: dict[str, list[int]] = defaultdict(list)
        self._by_voice: dict[str, list[int]] = defaultdict(list)
        self.refresh()

    @classmethod
    def load(cls, root: Path | str = DEFAULT_ROOT, split: str = 'train') -> Bank:
        """Reads all shards of a split.

        Args:
            root: folder of the bank.
            split: 'train', 'val', 'test' or 'robot'.

        Raises:
            ValueError: if `split` is unknown.
        """
        return cls(root, split)

    def refresh(self) -> int:
        """Reads shards that have come since; indices of clips already read stay.

        Returns:
            How many clips are new.
        """
        before = len(self._clips)
        for path in sorted((self.root / self.split).glob('*.npz')):
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._append(read_shard(path))
        return len(self._clips) - before

    def _append(self, clips: list[Clip]) -> None:
        for clip in clips:
            self._by_kind[clip.kind].append(len(self._clips))
            if clip.text:
                self._by_voice[clip.voice].append(len(self._clips))
            self._clips.append(clip)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index):
        return self._clips[index]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that occur, sorted."""
        return tuple(sorted(self._by_kind))

    @property
    def voices(self) -> tuple[str, ...]:
        """Voices that speak, sorted; noise and music are no voices."""
        return tuple(sorted(self._by_voice))

    def indices(self, kind: str | None = None, voice: str | None = None) -> list[int]:
        """Indices of the clips of a kind and a voice (None: any), ascending."""
        if voice is not None:
            of_voice = self._by_voice.get(voice, ())
            return [i for i in of_voice if kind is None or self._clips[i].kind == kind]
        if kind is not None:
            return list(self._by_kind.get(kind, ()))
        return list(range(len(self)))

    @property
    def duration_s(self) -> float:
        """Length of all clips together, in seconds."""
        return sum(clip.duration_s for clip in self._clips)


def write_shard(path: Path, clips: Sequence[Clip], replace: bool = False) -> None:
    """Writes clips to a new shard; the file appears complete or not at all.

    Args:
        path: `<root>/<split>/<voice>-<nnn>.npz`; its folder is made.
        clips: what to write, at least one.
        replace: whether the file may exist.

    Raises:
        ValueError: if there are no clips, or the file exists and `replace` is False.
    """
    if not clips:
        raise ValueError('clips must not be empty')
    if path.exists() and not replace:
        raise ValueError(f'path must be new, {path} exists')
    meta = [{k: v for k, v in vars(clip).items() if k != 'audio'} for clip in clips]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f'.{os.getpid()}.tmp')
    with draft.open('wb') as file:
        np.savez(
            file,
            audio=np.concatenate([clip.audio for clip in clips]).astype(np.int16),
            offsets=np.cumsum([0] + [len(clip.audio) for clip in clips]).astype(np.int64),
            meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
        )
    draft.rename(path)


def read_shard(path: Path) -> list[Clip]:
    """Reads the clips of one shard; their audio shares one read-only array."""
    with np.load(path) as stored:
        audio, offsets = stored['audio'], stored['offsets']
        meta = json.loads(stored['meta'].tobytes())
    audio.flags.writeable = False
    clips = []
    for fields, start, end in zip(meta, offsets[:-1], offsets[1:], strict=True):
        fields['words'] = tuple((word, start_s, end_s) for word, start_s, end_s in fields['words'])
        clips.append(Clip(audio=audio[start:end], **fields))
    return clips


def summary(root: Path | str = DEFAULT_ROOT) -> str:
    """A table of clips and minutes by split and engine, as text."""
    lines = [f'{"split":8}{"engine":12}{"voices":>7}{"clips":>8}{"minutes":>9}{"aligned":>9}']
    for split in SPLITS:
        bank = Bank.load(root, split)
        engines = sorted({clip.engine for clip in bank})
        for engine in engines:
            clips = [clip for clip in bank if clip.engine == engine]
            minutes = sum(clip.duration_s for clip in clips) / 60
            aligned = sum(clip.aligned for clip in clips) / len(clips)
            voices = len({clip.voice for clip in clips})
            lines.append(
                f'{split:8}{engine:12}{voices:7}{len(clips):8}{minutes:9.1f}{aligned:9.1%}'
            )
    return '\n'.join(lines)


def kinds_table(root: Path | str = DEFAULT_ROOT) -> str:
    """Clips by kind and split, as text."""
    counts = {split: Counter(clip.kind for clip in Bank.load(root, split)) for split in SPLITS}
    kinds = sorted(set().union(*counts.values()))
    lines = [f'{"kind":24}' + ''.join(f'{split:>8}' for split in SPLITS)]
    lines += [
        f'{kind:24}' + ''.join(f'{counts[split][kind]:8}' for split in SPLITS) for kind in kinds
    ]
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: `build` makes clips until the time is over, `summary` counts them."""
    parser = argparse.ArgumentParser(
        prog='python -m model.data.bank', description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        '--root', type=Path, default=DEFAULT_ROOT, help='folder of the bank (default: %(default)s)'
    )
    commands = parser.add_subparsers(dest='command', required=True)
    build = commands.add_parser('build', help='synthesise clips; goes on where the last run ended')
    build.add_argument('--engines', nargs='+', default=list(ENGINES))
    build.add_argument(
        '--minutes', type=float, default=60.0, help='stop after so long (default: %(default)s)'
    )
    build.add_argument(
        '--rounds', type=int, default=1, help='how many whole plans a voice speaks (default: 1)'
    )
    build.add_argument(
        '--voices', nargs='+', default=['*'], help="patterns, as in 'kokoro-[ab]?_*' (default: all)"
    )
    build.add_argument(
        '--seed',
        type=int,
        default=0,
        help='another one brings other sentences; what is fixed, like cue words, only 0 says',
    )
    build.add_argument(
        '--kinds',
        nargs='+',
        default=['*'],
        help='patterns of the kinds of phrases, in shards of their own (default: all)',
    )
    commands.add_parser('unpack', help='begin with the training voices that come along')
    commands.add_parser('backgrounds', help='make noise and music')
    commands.add_parser('realign', help='look again for words that were not found')
    commands.add_parser('summary', help='count clips and minutes')
    options = parser.parse_args(arguments)
    if options.command == 'summary':
        print(summary(options.root), kinds_table(options.root), sep='\n\n')
        return
    if options.command == 'unpack':
        from .pack import TRAINING, unpack  # needs this module

        try:
            print(f'{unpack(TRAINING, options.root)} clips in {options.root}')
        except ValueError as error:
            parser.exit(1, f'bank: {error}\n')
        return
    if options.command == 'backgrounds':
        from .backgrounds import build_backgrounds

        build_backgrounds(options.root)
        return
    from .build import build_bank, realign_bank  # need the speech engines, which reading does not

    if options.command == 'realign':
        print(f'found the words of {realign_bank(options.root)} more clips')
        return
    build_bank(
        options.root,
        options.engines,
        options.minutes,
        options.rounds,
        options.seed,
        options.voices,
        options.kinds,
    )


if __name__ == '__main__':
    main()
