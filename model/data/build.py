# SPDX-License-Identifier: Apache-2.0
"""Plans what each voice says, and fills the bank with it, one small shard of each voice in turn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tqdm import tqdm

from .align import align
from .bank import Clip, write_shard
from .phrases import SHARED, Phrase, fixed_phrases, sample
from .voices import MARGIN_S, VOICES, Voice, synthesise

SHARD_CLIPS = 32
# How often a training voice says each kind; fixed words in full, so many takes of each.
_TAKES = {'cue_word': 2, 'answer_word': 2, 'interruption': 3, 'backchannel': 3, 'address': 3, 'resume': 3,
          'cue_cancel': 3, 'ambiguous': 1}  # fmt: skip
_DRAWS = {'cue_set': 100, 'time_set': 75, 'count_set': 50, 'command': 130, 'ambiguous': 12, 'interruption': 12,
          'backchannel': 10, 'address': 6, 'resume': 5, 'cue_cancel': 6, 'visual_count_set': 10,
          'visual_start_stop_set': 8, 'visual_trigger_set': 14, 'delegate': 45, 'chatter': 45,
          'running_speech': 22}  # fmt: skip
_HELD_OUT_SHARE = 0.42
# Formant voices are far from people: they only widen the range, so each says a part of its plan.
_FORMANT_CLIPS = 256
_ROBOT_TAKES = {'robot_number': 2, 'robot_fixed': 3, 'robot_see': 1, 'answer_word': 1}
_ROBOT_OPEN = {'train': 1500, 'val': 60, 'test': 120}


def plan(voice: Voice, seed: int) -> list[Phrase]:
    """What a voice says, shuffled so that every shard holds a bit of everything.

    Args:
        voice: who speaks; its split decides which texts it may say.
        seed: another seed gives other sentences.
    """
    rng = Random(f'plan/{voice.key}/{seed}')
    if voice.split == 'robot':
        return _robot_plan(rng)
    held_out = voice.split != 'train'
    phrases = []
    for kind, takes in _TAKES.items():
        phrases += fixed_phrases(kind) * (1 if held_out else takes)
    for kind, count in _DRAWS.items():
        wanted = round(count * _HELD_OUT_SHARE) + 1 if held_out else count
        phrases += [sample(kind, rng, voice.split) for _ in range(wanted)]
    if not held_out:
        phrases += _every_number(rng)
    rng.shuffle(phrases)
    return phrases if voice.natural else phrases[:_FORMANT_CLIPS]


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
    first = [phrase for kind, takes in _ROBOT_TAKES.items() for phrase in fixed_phrases(kind) * takes]
    first += [sample('robot_see', rng) for _ in range(70)]
    rng.shuffle(first)
    texts: set[str] = set()
    later = []
    for split, count in _ROBOT_OPEN.items():
        for _ in range(count * 20):
            phrase = sample('robot_open', rng, split)
            if phrase.text not in texts and len(later) < count + sum(1 for p in later if p.split != split):
                texts.add(phrase.text)
                later.append(phrase)
    rng.shuffle(later)
    return first + later


def build_bank(root: Path, engines: Sequence[str], minutes: float, rounds: int, seed: int) -> None:
    """Adds shards, one of each voice in turn, until every plan is spoken or the time is over.

    Args:
        root: folder of the bank; what it holds already is left as it is and not made again.
        engines: which engines to use, by name.
        minutes: longest time to work, in minutes.
        rounds: how many plans each voice speaks; round r uses seed + r.
        seed: decides texts, paces and pitches.

    Raises:
        ValueError: if an engine is unknown.
    """
    known = {voice.engine for voice in VOICES}
    if not set(engines) <= known:
        raise ValueError(f'engines must be among {sorted(known)}, got {list(engines)}')
    voices = [voice for voice in VOICES if voice.engine in engines]
    end_s = time.monotonic() + minutes * 60
    for take in range(rounds):
        plans = {voice: plan(voice, seed + take) for voice in voices if take == 0 or voice.split in ('train',)}
        jobs = _interleave(root, plans, seed + take)
        with tqdm(jobs, unit='shard', desc=f'round {take + 1}') as progress:
            for voice, path, phrases in progress:
                if time.monotonic() > end_s:
                    return
                progress.set_postfix_str(voice.key)
                clips = [clip for i, p in enumerate(phrases) if (clip := _speak(voice, p, i + seed + take))]
                if clips:
                    write_shard(path, clips)


def _interleave(root: Path, plans: dict[Voice, list[Phrase]], seed: int) -> list[tuple[Voice, Path, list[Phrase]]]:
    """Shards that are still missing: the first of every voice, then the second of every voice, and so on."""
    jobs = []
    longest = max((len(phrases) for phrases in plans.values()), default=0)
    for start in range(0, longest, SHARD_CLIPS):
        for voice, phrases in plans.items():
            path = root / voice.split / f'{voice.key}-{seed:02d}{start // SHARD_CLIPS:03d}.npz'
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
        audio, phrase.text, phrase.kind, dict(phrase.meaning), voice.key, voice.engine, voice.natural, voice.split,
        phrase.split, words.words, words.aligned,
    )  # fmt: skip
