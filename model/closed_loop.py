# SPDX-License-Identifier: Apache-2.0
"""Quick closed-loop score of a checkpoint: scripts of held-out voices, rendered and lived through.

`python -m interaction_node.model.closed_loop --split val --sessions 20`
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .data.feed import load_store
from .data.ideal import IdealPartner, Targets
from .data.render import Renderer, noise_floor
from .data.scenes import SceneRenderer
from .data.scripts import Script, ScriptWriter
from .interface import TURN_S, TURN_SAMPLES, MicroTurn, Role, TextInput
from .session import load_session

EARLY_TURNS, LATE_TURNS = 1, 2
THEMES = ['cue', 'time', 'count', 'command', 'address', 'delegate', 'idle']
THEMES += ['watch_count', 'watch_start_stop', 'watch_trigger']


class Scenario:
    """A script with its sound and what an ideal partner would do.

    Attributes:
        script: What people do.
        turns: Micro-turns.
        user: (turns * 3200,) float32 microphone without echo.
        targets: What should happen.
        pictures: (turns, h, w, 3) uint8 or None.
    """

    def __init__(self, store, renderer: Renderer, theme: str, voice: str, seed: int):
        rng = np.random.default_rng(seed)
        writer = ScriptWriter(store, rng, voice, 'test', limit=900)
        self.script: Script = writer.write(theme)
        self.turns = self.script.cursor // 10 + 12
        self.user = renderer.render(self.script, self.turns, rng)
        self.user += noise_floor(len(self.user), rng.uniform(-75, -50), rng)
        scene = self.script.scene
        self.pictures = SceneRenderer(scene, rng).render(self.turns) if scene else None
        speaks = np.zeros(self.turns, bool)
        for piece in self.script.pieces:
            if not piece.far:
                speaks[piece.start // 10 : (piece.start + piece.last - piece.first) // 10 + 1] = (
                    True
                )
        self.targets: Targets = IdealPartner(
            lambda text: store.robot(rng, text), self.turns, speaks
        ).run(self.script.events)

    def lines(self, turn: int) -> tuple[TextInput, ...]:
        """Text that arrives in a micro-turn."""
        roles = {'<user>': Role.USER, '<planner>': Role.PLANNER}
        return tuple(
            TextInput(roles[role], text)
            for frame, role, text in self.script.typed
            if frame // 10 == turn
        )


def live(session, scenario: Scenario, echo_db: float | None = None) -> dict:
    """Runs a session through a scenario, hearing its own voice.

    Returns:
        Lists `said` (turn, text), `acts` (turn, skill, arguments), `delegated`, `heard`, `step_ms`.
    """
    session.reset()
    own = np.zeros(TURN_SAMPLES, np.int16)
    out: dict = {
        'said': [],
        'acts': [],
        'delegated': [],
        'heard': [],
        'step_ms': [],
        'speaking': [],
    }
    for turn in range(scenario.turns):
        heard = scenario.user[turn * TURN_SAMPLES : (turn + 1) * TURN_SAMPLES] * 32768
        if echo_db is not None:
            heard = heard + own * 10 ** (echo_db / 20)
        pcm = np.clip(np.round(heard), -32768, 32767).astype(np.int16)
        frames = None if scenario.pictures is None else scenario.pictures[[turn, turn]]
        lines = scenario.lines(turn)
        result = session.step(MicroTurn(turn, turn * TURN_S, pcm, own, frames, text=lines))
        own = result.speech if result.speech is not None else np.zeros(TURN_SAMPLES, np.int16)
        # What is read out of a planner's result is not the model's own wording.
        if result.text and result.voice == 'flow':
            out['said'].append((turn, result.text))
        out['acts'] += [(turn, i.skill, i.arguments) for i in result.intents]
        out['delegated'] += [turn] * len(result.plan_goals)
        out['heard'] += result.heard
        out['step_ms'].append(result.timing.total_ms)
        out['speaking'].append(result.control == 'speak')
    return out


def match(wanted: list[tuple[int, str]], said: list[tuple[int, str]]) -> tuple[int, int, int]:
    """Counts (right, missed, extra); an utterance is right in text and time."""
    left = list(said)
    right = 0
    for turn, text in wanted:
        for item in left:
            if item[1] == text and -EARLY_TURNS <= item[0] - turn <= LATE_TURNS:
                left.remove(item)
                right += 1
                break
    return right, len(wanted) - right, len(left)


def words_of(targets: Targets) -> list[tuple[int, str]]:
    """(turn, words that begin) of the ideal partner, in the form in which a session reports."""
    words, acting = [], False
    for turn, tokens in enumerate(targets.tokens):
        said = []
        for token in tokens:
            acting = token == '<act>' or (acting and token != '<end>')
            if not acting and not token.startswith('<'):
                said.append(token)
        if said:
            words.append((turn, ' '.join(said)))
    return words


class Scores:
    """Counts of one theme.

    Attributes:
        said: (right, missed, extra) utterances' beginnings.
        acts: Likewise for actions.
        minutes: Time lived.
    """

    def __init__(self) -> None:
        self.said, self.acts, self.minutes = np.zeros(3, int), np.zeros(3, int), 0.0

    def add(self, scenario: Scenario, got: dict) -> None:
        """Compares what happened with what should have."""
        self.said += match(words_of(scenario.targets), got['said'])
        wanted, mine = (
            [(turn, f'{skill} {sorted(arguments.items())}') for turn, skill, arguments in acts]
            for acts in (scenario.targets.acts, got['acts'])
        )
        self.acts += match(wanted, mine)
        self.minutes += scenario.turns * TURN_S / 60

    def as_dict(self) -> dict:
        """JSON-ready: recalls in percent, extras per minute."""
        return {
            'n_said': int(self.said[:2].sum()),
            'said_percent': _percent(self.said),
            'extra_per_minute': round(float(self.said[2] / self.minutes), 2),
            'n_acts': int(self.acts[:2].sum()),
            'acts_percent': _percent(self.acts),
            'extra_acts_per_minute': round(float(self.acts[2] / self.minutes), 2),
        }


def _percent(counts: np.ndarray) -> float | None:
    asked = counts[:2].sum()
    return round(100 * float(counts[0] / asked), 1) if asked else None


def score(options: argparse.Namespace) -> dict:
    """Lives through sessions of every theme; returns JSON-ready scores."""
    session = load_session(options.checkpoint)
    store = load_store(options.bank, options.split, 0)
    voices = options.voices or store.voices
    if not voices:
        raise SystemExit(
            f'closed_loop: {options.bank} has no voices of the split {options.split!r}; '
            'docs/data.md says how to build the phrase bank'
        )
    renderer = Renderer(options.bank, options.split)
    scores: dict[str, Scores] = defaultdict(Scores)
    step_ms: list[float] = []
    for theme in options.themes:
        for number in tqdm(range(options.sessions), desc=theme, leave=False):
            voice = voices[number % len(voices)]
            scenario = Scenario(store, renderer, theme, voice, options.seed + number)
            got = live(session, scenario)
            scores[theme].add(scenario, got)
            step_ms += got['step_ms']
            if options.show:
                _show(theme, voice, scenario, got)
    session.close()
    result: dict = {theme: each.as_dict() for theme, each in scores.items()}
    result['voices'] = voices
    result['step_ms_p50'], result['step_ms_p99'] = (
        np.percentile(step_ms, [50, 99]).round(2).tolist()
    )
    return result


def _show(theme: str, voice: str, scenario: Scenario, got: dict) -> None:
    print(f'--- {theme} {voice}')
    print('  heard', ' '.join(got['heard']))
    print('   true', ' '.join(word for word, _ in scenario.script.heard))
    print(' wanted', words_of(scenario.targets), scenario.targets.acts)
    print('    got', got['said'], got['acts'])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Score a checkpoint in closed loop.')
    parser.add_argument('--checkpoint', default='')
    parser.add_argument('--bank', type=Path, default=Path('.cache/bank'))
    parser.add_argument('--split', default='val')
    parser.add_argument('--sessions', type=int, default=10, help='sessions of each theme')
    parser.add_argument('--themes', nargs='*', default=THEMES)
    parser.add_argument('--voices', nargs='*', default=None)
    parser.add_argument('--seed', type=int, default=1000)
    parser.add_argument('--show', action='store_true', help='print every session')
    parser.add_argument('--output', type=Path, help='JSON file for the scores')
    options = parser.parse_args()
    result = score(options)
    for theme in options.themes:
        print(f'{theme:18}', result[theme])
    print({name: result[name] for name in ('step_ms_p50', 'step_ms_p99')})
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=1) + '\n', 'utf-8')


if __name__ == '__main__':
    main()
