# SPDX-License-Identifier: Apache-2.0
"""Teaches a robot its own skills, places, things, cues and answers: `make skills`.

`python -m interaction_node.model.teach --skills config/skills.yaml` reads what is new in the file,
lets many synthetic voices say it, trains the checkpoint on it among what it can already, and shows
what it could before and can now. docs/skills.md has an example.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from .checkpoint import load_checkpoint, save_checkpoint
from .data import phrases
from .data.bank import Bank
from .data.feed import Extra, Feed
from .data.pack import SHIPPED, TRAINING, unpack
from .data.scripts import THEMES, UNASKED
from .data.taught_speech import Job, build, plan, robot_jobs
from .descent import descend
from .exercises import Exercise, write_exercises
from .grow import grow_net
from .interaction_net import InteractionNet
from .lesson import Lesson, grow_vocabulary
from .lesson_file import LessonError, read_lesson
from .losses import compute_losses, to_tensors
from .precision import training_autocast
from .session import DEFAULT_CHECKPOINT
from .taught_scores import score_known, score_lesson, table, write_trials
from .tokens import Vocabulary
from .train import build_optimisers

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ('espeak', 'flite', 'pico', 'festival', 'hibari', 'kokoro')
WARM_UP_STEPS = 30
AVERAGE = 0.995
SANK = 5.0  # percent points that a known behaviour may lose before it is pointed out


class TeachError(Exception):
    """Something that is needed for teaching is missing; the message says what to do."""


def speech_python() -> str:
    """The interpreter of the environment with the speech engines, else this one."""
    own = ROOT / '.venv-data' / 'bin' / 'python'
    return str(own) if own.exists() else sys.executable


def make_speech(options: argparse.Namespace, exercises: Sequence[Exercise], lesson: Lesson) -> Path:
    """Lets voices say the lesson.

    Returns:
        Folder of the lesson's bank; a lesson that was made before is not made again.

    Raises:
        TeachError: No engine could speak, or the robot's own voice is missing.
    """
    clips = options.cache / 'clips'
    spoken = [exercise.phrase for exercise in exercises]
    known = _robot_texts(options.bank)
    answers = [answer for answer in lesson.answers if answer not in known]
    jobs = robot_jobs(answers) + plan(spoken, options.engines, options.seed, options.clips)
    clips.mkdir(parents=True, exist_ok=True)
    listed = options.cache / 'jobs.json'
    listed.write_text(json.dumps([[job.voice, job.text, job.take] for job in jobs]), 'utf-8')
    module = ['-m', 'model.data.taught_speech', str(listed.resolve())]
    limits = ['--minutes', str(options.speech_minutes), '--workers', str(options.workers)]
    command = [speech_python(), *module, '--cache', str(clips.resolve()), *limits]
    subprocess.run(command, cwd=ROOT, check=True)
    folder = options.cache / _digest(exercises, [job for job in jobs if job.path(clips).exists()])
    if not (folder / 'bank').exists():
        draft = folder.with_suffix('.new')
        shutil.rmtree(draft, ignore_errors=True)
        if not build(clips, jobs, spoken, draft / 'bank'):
            raise TeachError('no speech engine is installed; run scripts/setup_data.sh')
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    missing = set(answers) - _robot_texts(folder / 'bank')
    if missing:
        raise TeachError(
            f"the robot's voice (piper) could not say {sorted(missing)}; run scripts/setup_data.sh"
        )
    return folder / 'bank'


def _robot_texts(bank: Path) -> set[str]:
    return {clip.text for clip in Bank.load(bank, 'robot')}


def _digest(exercises: Sequence[Exercise], jobs: Sequence[Job]) -> str:
    facts = [[e.item, e.phrase.kind, e.phrase.text, e.phrase.meaning] for e in exercises]
    clips = [[job.voice, job.text, job.take] for job in jobs]
    return 'lesson-' + hashlib.sha256(json.dumps([facts, clips]).encode()).hexdigest()[:12]


def make_bank(options: argparse.Namespace) -> None:
    """Makes a small ordinary bank where there is none, to practise what the robot can already.

    Test voices are those that come along, unless the bank has its own.
    """
    if not _has_bank(options.bank):
        _build_bank(options)
    if options.sessions and not Bank.load(options.bank, 'test').voices:
        unpack(ROOT / SHIPPED, options.bank, ['test'])


def _build_bank(options: argparse.Namespace) -> None:
    print(
        f'{options.bank} has no phrase bank yet: to the voices that come along others are added, '
        f'for {options.bank_minutes:g} minutes. docs/data.md says how to make a better one.',
        flush=True,
    )
    installed = _installed(['piper', *options.engines])
    if 'piper' not in installed or len(installed) < 2:
        raise TeachError(f'speech engines: only {installed} work; run scripts/setup_data.sh')
    unpack(ROOT / TRAINING, options.bank)
    module = [speech_python(), '-m', 'model.data.bank', '--root', str(options.bank.resolve())]
    limits = ['--minutes', str(options.bank_minutes)]
    command = [*module, 'build', '--engines', *installed[1:], *limits]
    subprocess.run(command, cwd=ROOT, check=True)


def _has_bank(root: Path) -> bool:
    return all(any((root / split).glob('*.npz')) for split in ('train', 'robot'))


def _installed(engines: Sequence[str]) -> list[str]:
    """Those of the engines that can speak here, in their order."""
    command = [speech_python(), '-m', 'model.data.taught_speech', '--try', *engines]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.split()


class Teacher:
    """Continues the training of a network.

    Args:
        net: The network, with the new tokens.
        vocabulary: Its tokens.
        rate: Peak learning rate.
        device: 'cpu' or 'cuda'.
    """

    def __init__(self, net: InteractionNet, vocabulary: Vocabulary, rate: float, device: str):
        self.device = torch.device(device)
        self.net, self.rate = net.to(self.device).train(), rate
        self.average = copy.deepcopy(self.net)
        self.optimisers = build_optimisers(net, rate)
        self.step = 0
        self._boundaries = torch.zeros(len(vocabulary), dtype=torch.bool, device=self.device)
        self._boundaries[[vocabulary['<silent>'], vocabulary['<speak>']]] = True

    def train_step(self, batch, done: float):
        """One step; `done` runs from 0 to 1 and lets the rate fall to almost nothing.

        Returns:
            The `Losses` of the batch.
        """
        rate = self.rate * min(1.0, (self.step + 1) / WARM_UP_STEPS) * max(0.02, 1 - done)
        tensors = to_tensors(batch, self.device)
        with training_autocast(self.device):
            losses = compute_losses(self.net, tensors, self._boundaries)
        losses.total.backward()
        descend(self.net, self.average, self.optimisers, rate, self.step, AVERAGE)
        self.step += 1
        return losses


def practise(teacher: Teacher, feed: Feed, minutes: float, steps: int) -> None:
    """Trains until the time is over or the steps are done (0: no limit), or Ctrl-C.

    Args:
        teacher: Whom to train.
        feed: Batches.
        minutes: Longest time.
        steps: Most steps.
    """
    stop: list[bool] = []
    before = signal.signal(signal.SIGINT, lambda *_: stop.append(True))
    batch = feed.next()  # the first one waits for the features of all clips
    begun = time.monotonic()
    total_s = minutes * 60
    bar = tqdm(total=round(total_s), unit='s', desc='training', smoothing=0)
    smooth: dict[str, float] = {}
    while not stop and (elapsed_s := time.monotonic() - begun) < total_s:
        done = max(elapsed_s / total_s, teacher.step / steps if steps else 0.0)
        if done >= 1:
            break
        losses = teacher.train_step(batch, done)
        for name in ('out_correct', 'heard_correct'):
            value = getattr(losses, name)
            smooth[name] = 0.95 * smooth.get(name, value) + 0.05 * value
        bar.set_postfix(
            step=teacher.step,
            right=f'{smooth["out_correct"]:.2f}',
            heard=f'{smooth["heard_correct"]:.2f}',
        )
        bar.update(max(0, min(round(time.monotonic() - begun), bar.total) - bar.n))
        batch = feed.next()
    bar.close()
    signal.signal(signal.SIGINT, before)


def teach(options: argparse.Namespace) -> dict:
    """Does everything; prints what it does.

    Returns:
        Scores: 'new' and 'known', each with 'before' and 'after'.

    Raises:
        LessonError: The skills file has mistakes.
        TeachError: Something is missing.
        ValueError: The checkpoint is missing.
    """
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    net, old, extra, notes = load_checkpoint(options.base)
    lesson = read_lesson(options.skills, old)
    if lesson.is_empty:
        raise TeachError(
            f'{options.skills} has nothing that {options.base.name} does not know; add a skill '
            'with `say`, a place, a word, or a section `teach` (docs/skills.md)'
        )
    print(f'To learn, from {options.skills}:\n{_indent(lesson.summary())}')
    minutes = options.speech_minutes + options.minutes
    print(f'This takes up to about {minutes + 8:.0f} minutes on two cores.', flush=True)
    if options.dry_run:
        return {}
    phrases.add_words(lesson.slots)
    exercises = write_exercises(lesson, options.seed)
    make_bank(options)
    bank = make_speech(options, exercises, lesson)
    vocabulary = grow_vocabulary(old, lesson, [each.phrase.text for each in exercises])
    trials = write_trials(exercises, bank, options.bank, options.trials)
    before = score_lesson(options.base, trials, 'before'), _known(options, options.base)

    torch.set_num_threads(options.threads)  # a session sets its own
    grown = grow_net(net, old, vocabulary)
    teacher = Teacher(grown, vocabulary, options.rate, options.device)
    known = {name: share for name, share in THEMES.items() if name not in UNASKED}
    themes = {name: share * (1 - options.share) for name, share in known.items()}
    themes['taught'] = options.share * sum(known.values())
    print('Reading the speech ...', flush=True)
    feed = Feed(
        options.bank,
        options.seed + 1,
        options.tokens,
        options.variants,
        themes=themes,
        extra=Extra(bank, lesson.slots, vocabulary),
        heard_tokens=net.config.heard_tokens,
    )
    try:
        practise(teacher, feed, options.minutes, options.steps)
    finally:
        feed.close()
    path = _save(options, teacher, vocabulary, extra, notes)
    after = score_lesson(path, trials, 'after'), _known(options, path)
    return _report(options, path, vocabulary, before, after)


def _known(options: argparse.Namespace, checkpoint: Path) -> dict[str, dict]:
    return score_known(checkpoint, options.bank, options.sessions)


def _save(options, teacher: Teacher, vocabulary: Vocabulary, extra, notes: dict) -> Path:
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / 'robot.safetensors'
    taught = {'taught_steps': teacher.step, 'taught_from': options.base.name}
    save_checkpoint(path, teacher.average.cpu().eval(), vocabulary, extra, notes | taught)
    return path


def _report(options, path: Path, vocabulary: Vocabulary, before, after) -> dict:
    skills_file = options.output / 'skills.yaml'
    if options.skills.resolve() != skills_file.resolve():
        shutil.copyfile(options.skills, skills_file)
    parameters = options.output / 'robot.yaml'
    parameters.write_text(_parameters(path, skills_file, vocabulary), 'utf-8')
    names = ('new (Pass@1, unknown voices and words)', 'known behaviours')
    sections = {
        name: (old, new) for name, old, new in zip(names, before, after, strict=True) if new
    }
    scores = {
        key: {'before': old, 'after': new}
        for key, old, new in zip(('new', 'known'), before, after, strict=True)
    }
    (options.output / 'scores.json').write_text(json.dumps(scores, indent=1) + '\n', 'utf-8')
    print('\n' + table(sections))
    for name, row in after[1].items():
        was = before[1].get(name)
        if was and was['percent'] - row['percent'] > SANK:
            print(f'Note: {name} went from {was["percent"]:g} to {row["percent"]:g} %.')
    print(_usage(path, parameters))
    return scores


def _parameters(path: Path, skills_file: Path, vocabulary: Vocabulary) -> str:
    quoted = ', '.join(f"'{name}'" for name in vocabulary.skills)
    return f"""# Written by `make skills`: what differs from config/interaction.yaml for this robot.

/**/interaction_node:
  ros__parameters:
    model:
      checkpoint: '{path.resolve()}'
    planner:
      skills_file: '{skills_file.resolve()}'

/**/action_gate_node:
  ros__parameters:
    # The gate knows the new skills and places from this file.
    skills_file: '{skills_file.resolve()}'
    # limits:
    #   An empty list allows every skill of the file; a list needs the new ones, too.
    #   allow: [{quoted}]
"""


def _usage(path: Path, parameters: Path) -> str:
    return f"""The taught robot is in {path}. To use it:
  ros2 launch duplex_interaction robot.launch.py params_file:={parameters.resolve()}
or, without the parameter file, checkpoint:={path.resolve()} and, for the action gate,
the parameter skills_file. A gate with a list in limits.allow needs the new skills in that list.
Try it here:  make live ARGS="--checkpoint {path}"
"""


def _indent(text: str) -> str:
    return '\n'.join(f'  {line}' for line in text.splitlines())


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog='teach', description='Teach a robot its own skills, places, cues and answers.'
    )
    add = parser.add_argument
    add('--skills', type=Path, default=ROOT / 'config' / 'skills.yaml', help='what to teach')
    add('--dry-run', action='store_true', help='only check the file and say what is new in it')
    add('--base', type=Path, default=DEFAULT_CHECKPOINT, help='checkpoint to go on from')
    add('--output', type=Path, default=Path('out/skills'), help='folder for the result')
    add('--minutes', type=float, default=25, help='longest training')
    add('--steps', type=int, default=0, help='most training steps; 0 for no limit')
    add('--speech-minutes', type=float, default=12, help='longest synthesis of new phrases')
    add('--bank', type=Path, default=Path('.cache/bank'), help='ordinary phrase bank')
    add('--bank-minutes', type=float, default=9, help='time to add voices where there is none')
    add('--cache', type=Path, default=Path('.cache/skills'), help='folder of what was spoken')
    add('--engines', nargs='+', default=list(ENGINES), choices=ENGINES, help='who speaks')
    add('--clips', type=int, default=0, help='most sentences of a voice; 0: as suits its engine')
    add('--share', type=float, default=0.45, help='share of the training that is new')
    add('--rate', type=float, default=6e-4, help='peak learning rate')
    add('--tokens', type=int, default=6144, help='padded tokens in a batch')
    add('--variants', type=int, default=4, help='augmentations of each clip')
    add('--trials', type=int, default=12, help='most trials of each new thing')
    add('--sessions', type=int, default=6, help='test sessions of each known behaviour; 0: none')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--threads', type=int, default=2)
    add('--workers', type=int, default=2, help='processes that synthesise')
    add('--seed', type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; ends with a sentence where something is wrong."""
    # So that the processes that speak end with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        teach(parse(arguments))
    except (LessonError, TeachError, ValueError) as error:
        raise SystemExit(f'teach: {error}') from None


if __name__ == '__main__':
    main()
