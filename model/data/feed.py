# SPDX-License-Identifier: Apache-2.0
"""Feeds a trainer: features of the bank, sessions and batches, made in other processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..mel import HOP, SAMPLE_RATE_HZ
from ..tokens import Vocabulary, default_vocabulary
from . import phrases
from .bank import read_shard
from .features import Utterance, utterance
from .scenes3d import Looks
from .sessions import SessionFactory
from .store import SpeechStore
from .tensors import Batch, Session, collate

_SOUNDS = ('noise', 'music')


@dataclass(frozen=True)
class Extra:
    """What a robot is being taught on top of what the bank has.

    Attributes:
        root: Folder of a bank with the phrases that are being taught.
        slots: More words of the grammar's slots.
        vocabulary: Tokens of the network, with the new words.
    """

    root: Path
    slots: dict[str, list[str]]
    vocabulary: Vocabulary


def load_store(
    bank_root: Path, split: str, variants: int, seed: int = 0, taught: Path | None = None
) -> SpeechStore:
    """Reads a split of the bank and renders `variants` augmented features of every clip.

    Args:
        bank_root: Folder of the bank.
        split: 'train', 'val' or 'test'.
        variants: Augmented renderings of each clip; 0 for the clips as they are.
        seed: Seed of the augmentation.
        taught: Folder of a bank with what the robot is being taught.
    """
    people = _features(bank_root, split, variants, seed)
    robot = _features(bank_root, 'robot', 0, seed)
    new = []
    if taught:
        new = _features(taught, split, variants, seed)
        robot += _features(taught, 'robot', 0, seed)
    sounds = [u for u in people if u.kind in _SOUNDS]
    spoken = [u for u in people if u.kind not in _SOUNDS]
    return SpeechStore(spoken, robot, sounds, new)


def _features(root: Path, split: str, variants: int, seed: int) -> list[Utterance]:
    """Features of every clip of a split, cached by shard: a growing bank costs only its growth.

    Where there are no shards the cache alone will do, which is a fifth of their size.
    """
    utterances = []
    folder = root.parent / 'features' / f'{split}-{variants}-{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    shards = sorted((root / split).glob('*.npz'))
    if not shards:
        return [each for path in sorted(folder.glob('*.pkl')) for each in _cached(path)]
    for path in shards:
        cached = folder / f'{path.stem}.pkl'
        if cached.exists() and cached.stat().st_mtime >= path.stat().st_mtime:
            utterances += _cached(cached)
            continue
        made = _render(path, split, variants, seed)
        cached.write_bytes(pickle.dumps(made, protocol=5))
        utterances += made
    return utterances


def _cached(path: Path) -> list[Utterance]:
    return pickle.loads(path.read_bytes())


def _render(path: Path, split: str, variants: int, seed: int) -> list[Utterance]:
    made = []
    rng = np.random.default_rng([seed, *path.stem.encode()])
    for index, clip in enumerate(read_shard(path)):
        if clip.text_split not in ('shared', split) and split != 'robot':
            continue
        plain = variants == 0 or clip.kind in _SOUNDS
        for _ in range(1 if plain else variants):
            made.append(utterance(clip, (path.name, index), None if plain else rng))
    return made


# Engines by how near their voices are to people and how much the voices differ. hibari's thirty are
# one speaker in disguise, espeak-ng's are no speakers at all.
ENGINE_SHARES = {
    'kokoro': 0.5,
    'hibari': 0.12,
    'espeak': 0.14,
    'pico': 0.12,
    'flite': 0.06,
    'festival': 0.06,
    'rhvoice': 0.08,
}


def voice_weights(store: SpeechStore) -> dict[str, float]:
    """Shares of the voices: by engine, and within it by the root of what a voice has said."""
    engine_of = {voice: voice.partition('-')[0] for voice in store.voices}
    amount = {v: sum(len(k) for k in store.kinds(v).values()) ** 0.5 for v in store.voices}
    total: dict[str, float] = {}
    for voice, engine in engine_of.items():
        total[engine] = total.get(engine, 0.0) + amount[voice]
    return {
        voice: amount[voice] / total[engine] * ENGINE_SHARES.get(engine, 0.1)
        for voice, engine in engine_of.items()
    }


# Padded lengths: multiples of the sliding window; few, so that a compiled network has few shapes.
LENGTHS = (192, 288, 384, 480, 576, 768, 1056)
LISTENING_FRAMES = 800  # of one voice at a time, when only the ear practises
_NICE = 19  # of the processes that make sessions


def tokens_of(session: Session) -> int:
    """Tokens that a session takes."""
    fixed = 4 if session.frames_N is not None else 3
    streams = (session.out, session.text_in, session.heard)
    return len(session.out) * fixed + sum(len(tokens) for stream in streams for tokens in stream)


class Packer:
    """Collects sessions of similar length until they fill a batch.

    Args:
        token_budget: Padded tokens in a batch.
        lengths: Padded lengths of sessions, ascending; what is longer than the last is left out.
    """

    def __init__(self, token_budget: int, lengths: Sequence[int] = LENGTHS):
        self._budget, self._lengths = token_budget, lengths
        self._waiting: dict[tuple[int, bool], list[Session]] = {}

    def add(self, session: Session) -> tuple[list[Session], int] | None:
        """Adds a session; returns a full batch and its padded length when there is one."""
        length = next((n for n in self._lengths if n >= tokens_of(session)), None)
        if length is None:
            return None
        waiting = self._waiting.setdefault((length, session.frames_N is not None), [])
        waiting.append(session)
        if len(waiting) < self._budget // length:
            return None
        del self._waiting[length, session.frames_N is not None]
        return waiting, length


class Feed:
    """Batches from processes of their own.

    Args:
        bank_root: Folder of the bank.
        seed: Seed.
        token_budget: Padded tokens in a batch.
        variants: Augmented renderings of each clip.
        refresh_s: Seconds after which a grown bank is read again; 0 for never.
        themes: Share of each theme.
        extra: What the robot is being taught.
        heard_tokens: Whether the network reads the words that it heard.
        processes: How many make sessions; with more than one the order of the batches is chance.
        lengths: Padded lengths, see `Packer`.
        listening_s: Seconds of speech for the ear alone that come with each batch.

    Raises:
        ValueError: `processes` is not positive.
    """

    def __init__(
        self,
        bank_root: Path,
        seed: int,
        token_budget: int,
        variants: int = 4,
        refresh_s: float = 0.0,
        themes: dict[str, float] | None = None,
        extra: Extra | None = None,
        heard_tokens: bool = False,
        processes: int = 1,
        lengths: Sequence[int] = LENGTHS,
        listening_s: float = 0.0,
    ):
        if processes < 1:
            raise ValueError(f'processes: {processes}, expected 1 or more')
        context = multiprocessing.get_context('spawn')
        self._queue = context.Queue(maxsize=12)
        listening = round(listening_s * SAMPLE_RATE_HZ / HOP / LISTENING_FRAMES)
        settings = (
            token_budget, variants, refresh_s, themes, extra, heard_tokens, lengths, listening,
        )  # fmt: skip
        self._processes = [
            context.Process(
                target=_produce,
                args=(self._queue, bank_root, seed + 7_919 * number, *settings),
                daemon=True,
            )
            for number in range(processes)
        ]
        os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # for NumPy in those processes
        for process in self._processes:
            process.start()

    def next(self) -> Batch:
        """The next batch; waits for it.

        Raises:
            RuntimeError: A process that makes them has died.
        """
        while True:
            try:
                return self._queue.get(timeout=5)
            except queue.Empty:
                if not all(process.is_alive() for process in self._processes):
                    raise RuntimeError('the process that makes training sessions died') from None

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()


def _produce(
    out,
    bank_root,
    seed,
    token_budget,
    variants,
    refresh_s,
    themes,
    extra,
    heard_tokens,
    lengths,
    listening,
) -> None:
    # Whoever trains waits for the slowest of its threads after every layer: it goes first.
    os.nice(_NICE)
    vocabulary = extra.vocabulary if extra else default_vocabulary()
    taught = extra.root if extra else None
    if extra:
        phrases.add_words(extra.slots)
    rng = np.random.default_rng(seed)
    packer = Packer(token_budget, lengths)
    looks = Looks.load(bank_root.parent / 'scenes3d', 'train')
    while True:
        store = load_store(bank_root, 'train', variants, taught=taught)
        weights = voice_weights(store)
        seed = int(rng.integers(2**31))
        factory = SessionFactory(store, vocabulary, seed, themes, weights, looks=looks)
        until = time.monotonic() + (refresh_s or float('inf'))
        while time.monotonic() < until:
            full = packer.add(factory.make())
            if full:
                sessions, length = full
                batch = collate(sessions, vocabulary, rng, length=length, heard_tokens=heard_tokens)
                if listening:
                    levels, sounds = factory.listen(listening, LISTENING_FRAMES)
                    batch.practice_RFM = np.round(levels * 255).astype(np.uint8)
                    batch.practice_sounds_RF = sounds
                out.put(batch)
