# SPDX-License-Identifier: Apache-2.0
"""Quick closed-loop score of a checkpoint: scripts of held-out voices, rendered and lived through.

`python -m interaction_node.model.closed_loop --split val --sessions 20`
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .data.feed import load_store
from .data.ideal import IdealPartner, Targets
from .data.render import Renderer, noise_floor
from .data.scripts import Script, ScriptWriter
from .interface import TURN_SAMPLES, MicroTurn, Role, TextInput
from .session import load_session

EARLY_TURNS, LATE_TURNS = 1, 2


class Scenario:
    """A script with its sound and what an ideal partner would do.

    Attributes:
        script: What people do.
        turns: Micro-turns.
        user: (turns * 3200,) float32 microphone without echo.
        targets: What should happen.
    """

    def __init__(self, store, renderer: Renderer, theme: str, voice: str, seed: int):
        rng = np.random.default_rng(seed)
        writer = ScriptWriter(store, rng, voice, 'test', limit=900)
        self.script: Script = writer.write(theme)
        self.turns = self.script.cursor // 10 + 12
        self.user = renderer.render(self.script, self.turns, rng)
        self.user += noise_floor(len(self.user), rng.uniform(-75, -50), rng)
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
        result = session.step(MicroTurn(turn, turn * 0.2, pcm, own, text=scenario.lines(turn)))
        own = result.speech if result.speech is not None else np.zeros(TURN_SAMPLES, np.int16)
        if result.text:
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


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Score a checkpoint in closed loop.')
    parser.add_argument('--checkpoint', default='')
    parser.add_argument('--bank', type=Path, default=Path('.cache/bank'))
    parser.add_argument('--split', default='val')
    parser.add_argument('--sessions', type=int, default=10, help='sessions of each theme')
    parser.add_argument(
        '--themes',
        nargs='*',
        default=['cue', 'time', 'count', 'command', 'address', 'delegate', 'idle'],
    )
    parser.add_argument('--voices', nargs='*', default=None)
    parser.add_argument('--show', action='store_true', help='print every session')
    arguments = parser.parse_args()
    session = load_session(arguments.checkpoint)
    store = load_store(arguments.bank, arguments.split, 0)
    renderer = Renderer(arguments.bank, arguments.split)
    voices = arguments.voices or store.voices
    figures: dict[str, Counter] = defaultdict(Counter)
    step_ms: list[float] = []
    for theme in arguments.themes:
        for number in tqdm(range(arguments.sessions), desc=theme, leave=False):
            voice = voices[number % len(voices)]
            scenario = Scenario(store, renderer, theme, voice, 1000 + number)
            got = live(session, scenario)
            wanted = words_of(scenario.targets)
            right, missed, extra = match(wanted, got['said'])
            figures[theme] += Counter(right=right, missed=missed, extra=extra)
            acts = [(t, s, tuple(a.values())) for t, s, a in scenario.targets.acts]
            mine = [(t, s, tuple(a.values())) for t, s, a in got['acts']]
            acts_right = match(
                [(t, f'{s}{a}') for t, s, a in acts], [(t, f'{s}{a}') for t, s, a in mine]
            )
            figures[theme] += Counter(
                act=acts_right[0], act_missed=acts_right[1], act_extra=acts_right[2]
            )
            step_ms += got['step_ms']
            if arguments.show:
                print(f'--- {theme} {voice}\nwanted {wanted} {acts}\n   got {got["said"]} {mine}')
                print('  heard', ' '.join(got['heard']))
                print('   true', ' '.join(w for w, _ in scenario.script.heard))
    for theme, counts in figures.items():
        print(theme, dict(counts))
    print('step ms p50 p99', np.percentile(step_ms, [50, 99]).round(1))


if __name__ == '__main__':
    main()
