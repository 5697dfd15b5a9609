# SPDX-License-Identifier: Apache-2.0
"""Speech of a lesson: says what is missing, keeps every clip, puts clips together to a bank.

The engines live in an environment of their own, so this file is also a command:
`python -m model.data.taught_speech JOBS.json --cache FOLDER --minutes 10`.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from tqdm import tqdm

from .bank import Clip, write_shard
from .phrases import SHARED, Phrase
from .voices import MARGIN_S, ROBOT, VOICES, Voice, find_voice

# Sentences of a lesson that a voice says: few for slow engines and for formants, which are far
# from people.
_CLIPS = {'kokoro': 14, 'espeak': 24, 'festival': 40, 'hibari': 40, 'flite': 90, 'pico': 90}
_TEST_SHARE = 0.4
_SLOW = ('kokoro', 'piper', 'festival')
_ROUNDS_OF_ALL = 2


@dataclass(frozen=True)
class Job:
    """One clip to make.

    Attributes:
        voice: Who speaks, as `Voice.key`.
        text: What is said.
        take: Another number gives another pace and pitch.
    """

    voice: str
    text: str
    take: int = 0

    def path(self, cache: Path) -> Path:
        """Where the clip is kept."""
        name = hashlib.sha256(f'{self.text}/{self.take}'.encode()).hexdigest()[:20]
        return cache / self.voice / f'{name}.npz'


def plan(
    phrases: Sequence[Phrase], engines: Iterable[str], seed: int = 0, clips: int = 0
) -> list[Job]:
    """Who says what: every voice its own choice, a sentence of each voice in turn.

    Args:
        phrases: Sentences of the splits 'train', 'test' and 'shared'.
        engines: Engines to use.
        seed: Another seed deals sentences out otherwise.
        clips: Most sentences of a voice; 0 for a number that suits its engine.

    Returns:
        Jobs, the most useful ones first: a plan that is cut short still has all voices.
    """
    engines = set(engines)
    by_split: dict[str, list[str]] = defaultdict(list)
    for phrase in phrases:
        by_split[phrase.split].append(phrase.text)
    lists = []
    for voice in VOICES:
        if voice.engine not in engines or voice.split not in ('train', 'test'):
            continue
        rng = Random(f'lesson/{voice.key}/{seed}')
        most = clips or _CLIPS[voice.engine]
        if voice.split == 'test':
            most = max(8, round(most * _TEST_SHARE))
        own = dict.fromkeys(by_split[voice.split])
        shared = list(dict.fromkeys(by_split[SHARED]))
        texts = shared + rng.sample(list(own), min(len(own), most))
        rng.shuffle(texts)
        lists.append([Job(voice.key, text) for text in texts])
    rounds = [[job for job in each if job] for each in itertools.zip_longest(*lists)]
    jobs = list(itertools.chain.from_iterable(rounds))
    # Every voice says a bit, then the quick ones all the rest: it takes them next to no time.
    begun = sum(map(len, rounds[:_ROUNDS_OF_ALL]))
    later = sorted(jobs[begun:], key=lambda job: find_voice(job.voice).engine in _SLOW)
    return jobs[:begun] + later


def robot_jobs(texts: Iterable[str], takes: int = 3) -> list[Job]:
    """What the robot itself says."""
    return [Job(ROBOT.key, text, take) for text in texts for take in range(takes)]


def build(cache: Path, jobs: Sequence[Job], phrases: Sequence[Phrase], root: Path) -> int:
    """Puts the clips that are there together to a bank.

    Args:
        cache: Folder of the clips.
        jobs: Clips of the lesson; those that were not made are left out.
        phrases: Meanings of the texts; a text may have several kinds.
        root: Folder of the bank; must not have one.

    Returns:
        Number of clips.
    """
    meant: dict[str, list[Phrase]] = defaultdict(list)
    for phrase in phrases:
        meant[phrase.text].append(phrase)
    clips: dict[Voice, list[Clip]] = defaultdict(list)
    for job in jobs:
        if not job.path(cache).exists():
            continue
        voice = find_voice(job.voice)
        if voice is ROBOT:
            own = [Phrase('robot_fixed', job.text, {}, 'train')]
        else:
            own = [each for each in meant[job.text] if each.split in (voice.split, SHARED)]
        clips[voice] += [_clip(job.path(cache), voice, phrase) for phrase in own]
    for voice, made in clips.items():
        if made:
            write_shard(root / voice.split / f'{voice.key}-00000.npz', made)
    return sum(map(len, clips.values()))


def _clip(path: Path, voice: Voice, phrase: Phrase) -> Clip:
    with np.load(path) as stored:
        audio, facts = stored['audio'], json.loads(stored['facts'].tobytes())
    return Clip(
        audio,
        phrase.text,
        phrase.kind,
        dict(phrase.meaning),
        voice.key,
        voice.engine,
        voice.natural,
        voice.split,
        phrase.split,
        tuple((word, start_s, end_s) for word, start_s, end_s in facts['words']),
        facts['aligned'],
    )


def speak(cache: Path, jobs: Sequence[Job], minutes: float, workers: int) -> None:
    """Makes the clips that are missing, with a progress bar.

    An engine that is not installed is left out, with a line that says so.

    Args:
        cache: Folder of the clips.
        jobs: What to say, the most important first.
        minutes: Time after which the rest is left undone.
        workers: Processes.
    """
    missing = [job for job in jobs if not job.path(cache).exists()]
    engines = list(dict.fromkeys(find_voice(job.voice).engine for job in missing))
    for engine in engines:
        trial = next(job for job in missing if find_voice(job.voice).engine == engine)
        problem = _make((cache, trial))
        if problem:
            tqdm.write(f'speech: {engine} is left out ({problem})')
            missing = [job for job in missing if find_voice(job.voice).engine != engine]
    missing = [job for job in missing if not job.path(cache).exists()]
    until = time.monotonic() + minutes * 60
    context = multiprocessing.get_context('spawn')
    with tqdm(total=len(missing), unit='clip', desc='speech', disable=not missing) as bar:
        if not missing:
            return
        with context.Pool(min(workers, len(missing))) as pool:
            for problem in pool.imap_unordered(_make, [(cache, job) for job in missing]):
                if problem:
                    tqdm.write(f'speech: {problem}')
                bar.update()
                if time.monotonic() > until:
                    tqdm.write(f'speech: {minutes:g} minutes are over; the rest is left out')
                    return


def _make(task: tuple[Path, Job]) -> str:
    """Makes one clip; returns what went wrong, '' for nothing."""
    from .align import align
    from .voices import synthesise

    cache, job = task
    path = job.path(cache)
    try:
        audio = synthesise(find_voice(job.voice), job.text, job.take)
    except (RuntimeError, ImportError, OSError, ValueError) as error:
        return f'{job.voice} could not say {job.text!r}: {error}'
    words = align(audio, job.text, MARGIN_S)
    facts = json.dumps({'words': words.words, 'aligned': words.aligned})
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f'.{os.getpid()}.tmp')
    with draft.open('wb') as file:
        np.savez(file, audio=audio, facts=np.frombuffer(facts.encode(), np.uint8))
    draft.rename(path)
    return ''


def works(engine: str) -> bool:
    """Whether an engine is installed and speaks."""
    from .voices import synthesise

    try:
        synthesise(next(voice for voice in VOICES if voice.engine == engine), 'hello', 0)
    except (RuntimeError, ImportError, OSError, ValueError):
        return False
    return True


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Say what a robot is to be taught.')
    parser.add_argument('jobs', type=Path, nargs='?', help='JSON: a list of [voice, text, take]')
    parser.add_argument('--cache', type=Path, default=Path('.cache/skills/clips'))
    parser.add_argument('--try', nargs='+', dest='engines', help='only say which of these work')
    parser.add_argument('--minutes', type=float, default=12)
    parser.add_argument('--workers', type=int, default=2)
    options = parser.parse_args()
    if options.engines:
        print(' '.join(engine for engine in options.engines if works(engine)))
        return
    if options.jobs is None:
        parser.error('expected a file of jobs, or --try')
    jobs = [Job(*each) for each in json.loads(options.jobs.read_text('utf-8'))]
    speak(options.cache, jobs, options.minutes, options.workers)


if __name__ == '__main__':
    main()
