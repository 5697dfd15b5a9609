# SPDX-License-Identifier: Apache-2.0
"""How well a checkpoint knows a lesson: new sentences by voices that it never heard, in real time.

Sound goes in by samples, through the session that runs on a robot.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from tqdm import tqdm

from .closed_loop import THEMES, score
from .data.bank import Bank, Clip
from .data.render import noise_floor
from .exercises import Exercise
from .interface import SAMPLE_RATE_HZ, TURN_S, TURN_SAMPLES, MicroTurn
from .metrics import interval_95, pass_at_1
from .session import Session, load_session

_BEFORE_S, _BETWEEN_S, _AFTER_S = 1.0, 1.6, 2.2
_FLOOR_DB = -62.0


@dataclass(frozen=True)
class Trial:
    """Something said to the robot, and what it should do.

    Attributes:
        item: What it tests, e.g. 'skill water'.
        clips: What is said, one after the other.
        acts: The actions that must follow, and none else.
        said: What the robot must say after the last clip; None if it does not matter.
    """

    item: str
    clips: tuple[Clip, ...]
    acts: tuple[tuple[str, dict], ...] = ()
    said: str | None = None


def write_trials(
    exercises: Sequence[Exercise], lesson_bank: Path, bank: Path, most: int, seed: int = 0
) -> list[Trial]:
    """Trials from the clips of voices and sentences that are kept out of training.

    Args:
        exercises: Sentences of the lesson.
        lesson_bank: Folder of the lesson's bank.
        bank: Folder of the ordinary bank, for cues that are not new.
        most: Most trials of an item.
        seed: Decides which.
    """
    items = {(e.phrase.kind, e.phrase.text): e.item for e in exercises if e.item}
    clips = list(Bank.load(lesson_bank, 'test'))
    cues: dict[tuple[str, str], Clip] = {}
    ordinary = Bank.load(bank, 'test')
    for clip in [*(ordinary[i] for i in ordinary.indices('cue_word')), *clips]:
        if clip.kind == 'cue_word':
            cues[clip.voice, clip.text] = clip
    trials: dict[str, list[Trial]] = defaultdict(list)
    Random(seed).shuffle(clips)
    for clip in clips:
        item = items.get((clip.kind, clip.text), '')
        trial = _trial(item, clip, cues) if item and clip.text_split == 'test' else None
        if trial and len(trials[item]) < most:
            trials[item].append(trial)
    return [trial for item in sorted(trials) for trial in trials[item]]


def _trial(item: str, clip: Clip, cues: dict[tuple[str, str], Clip]) -> Trial | None:
    meaning = clip.meaning
    if clip.kind == 'command':
        return Trial(item, (clip,), ((meaning['skill'], dict(meaning['arguments'])),))
    if clip.kind == 'address':
        return Trial(item, (clip,), said=meaning['answer'])
    if clip.kind == 'cue_set':
        word = item.split(' ', 1)[1]
        for cue, answer in meaning['cues']:
            spoken = cues.get((clip.voice, cue))
            if word in (cue, answer) and spoken:
                return Trial(item, (clip, spoken), said=answer)
    return None


def passes(session: Session, trial: Trial, seed: int = 0) -> bool:
    """Whether the robot does exactly what it should.

    Args:
        session: The robot; it is reset.
        trial: What happens.
        seed: Decides the noise.
    """
    parts: list[np.ndarray] = [np.zeros(int(_BEFORE_S * SAMPLE_RATE_HZ), np.float32)]
    last_start = 0
    for number, clip in enumerate(trial.clips):
        if number:
            parts.append(np.zeros(int(_BETWEEN_S * SAMPLE_RATE_HZ), np.float32))
        last_start = sum(map(len, parts))
        parts.append(clip.audio.astype(np.float32) / 32768)
    parts.append(np.zeros(int(_AFTER_S * SAMPLE_RATE_HZ), np.float32))
    sound = np.concatenate(parts)
    sound += noise_floor(len(sound), _FLOOR_DB, np.random.default_rng(seed))
    pcm = np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16)
    session.reset()
    own = silence = np.zeros(TURN_SAMPLES, np.int16)
    acts: list[tuple[str, dict]] = []
    said: list[str] = []
    for index in range(len(pcm) // TURN_SAMPLES):
        heard = pcm[index * TURN_SAMPLES : (index + 1) * TURN_SAMPLES]
        result = session.step(MicroTurn(index, index * TURN_S, heard, own))
        own = silence if result.speech is None else result.speech
        acts += [(intent.skill, intent.arguments) for intent in result.intents]
        if result.text and index * TURN_SAMPLES >= last_start:
            said.append(result.text)
    right = pass_at_1(acts, list(trial.acts))
    # None extra: a cue or a reply asks for no action.
    right = right and len(acts) == len(trial.acts)
    return right and (trial.said is None or ' '.join(said) == trial.said)


def score_lesson(checkpoint: Path, trials: Sequence[Trial], name: str) -> dict[str, dict]:
    """Pass@1 of every item.

    Args:
        checkpoint: Whom to test.
        trials: What happens.
        name: For the progress bar.

    Returns:
        By item: `percent`, `n`, `low` and `high` (bootstrap 95 %).
    """
    session = load_session(checkpoint)
    results: dict[str, list[bool]] = defaultdict(list)
    for number, trial in enumerate(tqdm(trials, desc=name, unit='trial')):
        results[trial.item].append(passes(session, trial, number))
    session.close()
    return {item: _summary(right) for item, right in results.items()}


def _summary(right: list[bool]) -> dict:
    low, high = interval_95(right)
    return {
        'percent': round(100 * float(np.mean(right)), 1),
        'n': len(right),
        'low': round(100 * low, 1),
        'high': round(100 * high, 1),
    }


def score_known(checkpoint: Path, bank: Path, sessions: int, seed: int = 1000) -> dict[str, dict]:
    """How well the ordinary behaviours go, on voices and sentences of the test split.

    Args:
        checkpoint: Whom to test.
        bank: Folder of the ordinary bank.
        sessions: Sessions of each theme; 0 for no test.
        seed: Decides the sessions.

    Returns:
        By theme: `percent` of what should be said or done, and `n`; empty without test voices.
    """
    if not sessions or not Bank.load(bank, 'test').voices:
        return {}
    options = argparse.Namespace(
        checkpoint=str(checkpoint),
        bank=bank,
        split='test',
        sessions=sessions,
        themes=THEMES,
        voices=None,
        seed=seed,
        show=False,
    )
    got = score(options)
    rows = {}
    for theme in THEMES:
        for kind in ('said', 'acts'):
            percent, n = got[theme][f'{kind}_percent'], got[theme][f'n_{kind}']
            if percent is not None and n >= 3:
                rows[f'{theme}, {"words" if kind == "said" else "actions"}'] = {
                    'percent': percent,
                    'n': n,
                }
    return rows


def table(sections: dict[str, tuple[dict[str, dict], dict[str, dict]]]) -> str:
    """Before and after, side by side.

    Args:
        sections: By title: scores before and after, each by name.
    """
    lines = []
    for title, (before, after) in sections.items():
        lines.append(f'{title:36}{"n":>5}{"before":>9}{"after":>9}')
        for name, row in after.items():
            old = before.get(name)
            was = f'{old["percent"]:.0f} %' if old else '-'
            lines.append(f'  {name:34}{row["n"]:5}{was:>9}{row["percent"]:7.0f} %')
        lines.append('')
    return '\n'.join(lines)
