# SPDX-License-Identifier: Apache-2.0
"""Plans what each voice says, and fills the bank with it, one small shard of each voice in turn."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from random import Random

from tqdm import tqdm

from . import open_talk, scramble
from .align import align
from .bank import Clip, read_shard, write_shard
from .phrases import SHARED, Phrase, fixed_phrases, sample
from .voices import MARGIN_S, VOICES, Voice, synthesise

SHARD_CLIPS = 32
# How often a training voice says each kind, in two courses: the first is small and has some of
# everything, so that a bank that is cut short serves all voices; the second has the variety. Takes
# are of every fixed word of the kind.
_FIRST_TAKES = {
    'cue_word': 1,
    'hesitation': 1,
    'interruption': 1,
    'backchannel': 1,
    'resume': 1,
    'cue_cancel': 1,
}
_FIRST_DRAWS = {
    'answer_word': 6, 'cue_set': 20, 'time_set': 10, 'count_set': 7, 'command': 18,
    'ambiguous': 2, 'address': 4, 'visual_count_set': 2, 'visual_start_stop_set': 2,
    'visual_trigger_set': 3, 'delegate': 6, 'chatter': 6, 'running_speech': 4,
    'interruption': 6, 'backchannel': 2, 'resume': 2, 'cue_cancel': 2,
}  # fmt: skip
_TAKES = {
    'cue_word': 1, 'answer_word': 1, 'interruption': 2, 'backchannel': 2, 'address': 3,
    'resume': 2, 'cue_cancel': 2, 'ambiguous': 1,
}  # fmt: skip
_DRAWS = {
    'cue_set': 80, 'time_set': 60, 'count_set': 43, 'command': 112, 'ambiguous': 12,
    'interruption': 12, 'backchannel': 10, 'address': 6, 'resume': 5, 'cue_cancel': 6,
    'visual_count_set': 8, 'visual_start_stop_set': 6, 'visual_trigger_set': 11,
    'delegate': 39, 'chatter': 39, 'running_speech': 18, 'word_list': 100, open_talk.KIND: 64,
    scramble.KIND: 100,
}  # fmt: skip
_FOR_TRAINING = ('word_list', open_talk.KIND, scramble.KIND)
_HELD_OUT_SHARE, _HELD_OUT_CLIPS = 0.42, 256
_UNSEEN_SHARE, _TRIES = 0.6, 50
# Formant voices are far from people, and hibari's speakers have one rhythm: these widen the range
# of voices, so each says a part of its plan.
_LONGEST_PLANS = {'espeak': 256, 'hibari': 384}
_ROBOT_TAKES = {'robot_number': 2, 'robot_fixed': 3, 'robot_see': 1, 'answer_word': 1}
_ROBOT_OPEN = {'train': 1500, 'val': 60, 'test': 120}
_ROBOT_MORE = 1500


def plan(voice: Voice, seed: int, kinds: Sequence[str] = ('*',)) -> list[Phrase]:
    """What a voice says, shuffled so that every shard holds a bit of everything.

    Args:
        voice: who speaks; its split decides which texts it may say.
        seed: another seed gives other sentences; after seed 0 nothing but variety, since what is
            fixed has been said.
        kinds: patterns of the kinds of phrases that are wanted.
    """
    rng = Random(f'plan/{voice.key}/{seed}')
    if voice.split == 'robot':
        course = _robot_plan(rng) if seed == 0 else _robot_sentences(rng)
        return [p for p in course if any(fnmatch(p.kind, pattern) for pattern in kinds)]
    share = 1.0 if voice.split == 'train' else _HELD_OUT_SHARE
    phrases: list[Phrase] = []
    courses = ((_FIRST_TAKES, _FIRST_DRAWS), (_TAKES, _DRAWS))
    for takes, draws in courses if seed == 0 else (({}, _DRAWS),):
        course = []
        if voice.split == 'train' or takes is _FIRST_TAKES:
            course += [p for kind, count in takes.items() for p in fixed_phrases(kind) * count]
        for kind, count in draws.items():
            if kind in _FOR_TRAINING and voice.split != 'train':
                continue
            course += [_drawn(kind, rng, voice) for _ in range(max(1, round(count * share)))]
        if phrases and voice.split == 'train':
            course += _every_number(rng)
        rng.shuffle(course)
        phrases += [p for p in course if any(fnmatch(p.kind, pattern) for pattern in kinds)]
    if voice.split != 'train':
        return phrases[:_HELD_OUT_CLIPS]
    return phrases[: _LONGEST_PLANS.get(voice.engine)]


def _drawn(kind: str, rng: Random, voice: Voice) -> Phrase:
    """A phrase of a kind; with held-out voices more often than not one that nobody trains on."""
    if kind == open_talk.KIND:
        return open_talk.open_talk(rng, voice.split)
    if kind == scramble.KIND:
        return scramble.scrambled(rng, voice.split)
    phrase = sample(kind, rng, voice.split)
    if voice.split == 'train' or rng.random() > _UNSEEN_SHARE:
        return phrase
    for _ in range(_TRIES):
        if phrase.split == voice.split:
            break
        phrase = sample(kind, rng, voice.split)
    return phrase


def _every_number(rng: Random) -> list[Phrase]:
    """One time phrase for each number from 2 to 60 that chance would leave out too often."""
    phrases = fixed_phrases('time_set')
    wanted = []
    for seconds in range(2, 61):
        options = [p for p in phrases if seconds in p.meaning.values()]
        wanted.append(rng.choice(options))
    return wanted


def _robot_plan(rng: Random) -> list[Phrase]:
    """Numbers and fixed answers first, since nothing works without them, then open sentences."""
    first = [
        phrase for kind, takes in _ROBOT_TAKES.items() for phrase in fixed_phrases(kind) * takes
    ]
    first += [sample('robot_see', rng) for _ in range(70)]
    rng.shuffle(first)
    texts: set[str] = set()
    later: list[Phrase] = []
    for split, count in _ROBOT_OPEN.items():
        for _ in range(count * 20):
            phrase = sample('robot_open', rng, split)
            if phrase.text not in texts and len(later) < count + sum(
                1 for p in later if p.split != split
            ):
                texts.add(phrase.text)
                later.append(phrase)
    rng.shuffle(later)
    return first + later


def _robot_sentences(rng: Random) -> list[Phrase]:
    """More sentences to learn to speak from: its own, and as many in all words of English."""
    own = {p.text: p for p in (sample('robot_open', rng, 'train') for _ in range(2 * _ROBOT_MORE))}
    phrases = [p for p in own.values() if p.split == 'train'][:_ROBOT_MORE]
    phrases += [open_talk.open_talk(rng, 'train') for _ in range(_ROBOT_MORE)]
    rng.shuffle(phrases)
    return phrases


def build_bank(
    root: Path,
    engines: Sequence[str],
    minutes: float,
    rounds: int = 1,
    seed: int = 0,
    names: Sequence[str] = ('*',),
    kinds: Sequence[str] = ('*',),
) -> None:
    """Adds shards, one of each voice in turn, until every plan is spoken or the time is over.

    Args:
        root: folder of the bank; what it holds already is left as it is and not made again.
        engines: which engines to use, by name.
        minutes: longest time to work, in minutes.
        rounds: how many plans each voice speaks; round r uses seed + r.
        seed: decides texts, paces and pitches.
        names: patterns of the voices' names, as in 'kokoro-[ab]?_*'.
        kinds: patterns of the kinds of phrases, as in 'open_talk'; these get shards of their own.

    Raises:
        ValueError: if an engine is unknown.
    """
    known = {voice.engine for voice in VOICES}
    if not set(engines) <= known:
        raise ValueError(f'engines must be among {sorted(known)}, got {list(engines)}')
    voices = [
        voice
        for voice in VOICES
        if voice.engine in engines and any(fnmatch(voice.key, name) for name in names)
    ]
    end_s = time.monotonic() + minutes * 60
    for take in range(rounds):
        plans = {
            voice: plan(voice, seed + take, kinds) for voice in voices if _speaks(voice, seed, take)
        }
        jobs = _interleave(root, plans, seed + take, kinds)
        with tqdm(jobs, unit='shard', desc=f'round {take + 1}') as progress:
            for voice, path, phrases in progress:
                if time.monotonic() > end_s:
                    return
                progress.set_postfix_str(voice.key)
                clips = [
                    clip
                    for i, p in enumerate(phrases)
                    if (clip := _speak(voice, p, i + seed + take))
                ]
                if clips:
                    write_shard(path, clips)


def _speaks(voice: Voice, seed: int, take: int) -> bool:
    """Whether a voice speaks in a round.

    Those held out do in seed 0 only: scores on them stay comparable while the bank grows.
    """
    if voice.split == 'train':
        return True
    return take == 0 and (seed == 0 or voice.split == 'robot')


def _interleave(
    root: Path, plans: dict[Voice, list[Phrase]], seed: int, kinds: Sequence[str]
) -> list[tuple[Voice, Path, list[Phrase]]]:
    """Shards that are missing: the first of every voice, then the second of every voice, ..."""
    jobs = []
    chosen = re.sub(r'[^\w+]', '', '+'.join(sorted(kinds)))  # '' for all
    course = f'{chosen}-{seed:02d}' if chosen else f'{seed:02d}'
    longest = max((len(phrases) for phrases in plans.values()), default=0)
    for start in range(0, longest, SHARD_CLIPS):
        for voice, phrases in plans.items():
            path = root / voice.split / f'{voice.key}-{course}{start // SHARD_CLIPS:03d}.npz'
            part = phrases[start : start + SHARD_CLIPS]
            if part and not path.exists():
                jobs.append((voice, path, part))
    return jobs


def _speak(voice: Voice, phrase: Phrase, seed: int) -> Clip | None:
    try:
        audio = synthesise(voice, phrase.text, seed)
    except RuntimeError as error:
        tqdm.write(f'{voice.key} could not say {phrase.text!r}: {error}')
        return None
    words = align(audio, phrase.text, MARGIN_S)
    # The robot keeps one voice for all splits, so its clips are told apart by their text.
    assert voice.split == 'robot' or phrase.split in (voice.split, SHARED)
    return Clip(
        audio=audio,
        text=phrase.text,
        kind=phrase.kind,
        meaning=dict(phrase.meaning),
        voice=voice.key,
        engine=voice.engine,
        natural=voice.natural,
        split=voice.split,
        text_split=phrase.split,
        words=words.words,
        aligned=words.aligned,
    )


def realign_bank(root: Path) -> int:
    """Tries again to find the words of clips that the aligner failed on, and rewrites their shards.

    Args:
        root: folder of the bank.

    Returns:
        How many clips have word times now that had none.
    """
    found = 0
    for path in tqdm(sorted(root.glob('*/*.npz')), unit='shard', desc='realign'):
        clips = read_shard(path)
        mended = [_realigned(clip) for clip in clips]
        better = sum(
            new.aligned and not old.aligned for new, old in zip(mended, clips, strict=True)
        )
        if better:
            write_shard(path, mended, replace=True)
        found += better
    return found


def _realigned(clip: Clip) -> Clip:
    if clip.aligned or not clip.text:
        return clip
    words = align(clip.audio, clip.text, MARGIN_S)
    return dataclasses.replace(clip, words=words.words, aligned=words.aligned)
