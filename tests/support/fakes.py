# SPDX-License-Identifier: Apache-2.0
"""A model for tests that follows simple rules: everything around a model can be provoked."""

import time
import zlib
from collections import deque

import numpy as np

from interaction_node.model.interface import (
    TURN_SAMPLES,
    Intent,
    MicroTurn,
    Priority,
    Role,
    StepResult,
)

LOUD = 1000


class FakeModel:
    """Does what it is told in typed text, one word a micro-turn; loud sound is heard as 'sound'.

    'say A B' speaks, 'stop' flushes and stops the robot, 'go PLACE' makes an intent, 'plan GOAL'
    delegates, 'fail' raises, 'slow SECONDS' makes every step slow. A planner's text is spoken.
    """

    def __init__(self, seed: int = 0):
        self.closed = False
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        self._words: deque[str] = deque()
        self._slow_s = 0.0

    def close(self) -> None:
        self.closed = True

    def step(self, turn: MicroTurn) -> StepResult:
        decided = {'intents': (), 'plan_goals': ()}
        control = ''
        for line in turn.text:
            verb, _, rest = line.text.partition(' ')
            if line.role is Role.PLANNER:
                self._words.extend(line.text.split())
            elif verb == 'say':
                self._words.extend(rest.split())
            elif verb in ('stop', 'interrupt'):
                self._words.clear()
                control = 'flush'
                decided['intents'] += (Intent('stop', {}, priority=Priority.STOP),)
            elif verb == 'go':
                decided['intents'] += (Intent('navigate_to', {'place': rest}, 0.9),)
            elif verb == 'plan':
                decided['plan_goals'] += (rest,)
            elif verb == 'slow':
                self._slow_s = float(rest)
            elif verb == 'fail':
                raise RuntimeError('told to fail')
        time.sleep(self._slow_s)
        word = self._words.popleft() if self._words else ''
        return StepResult(
            turn.index,
            text=word,
            control=control or ('speak' if word else 'silent'),
            speech=self._sound(word) if word else None,
            heard=('sound',) if np.abs(turn.user_pcm.astype(int)).max() > LOUD else (),
            voice='fake' if word else '',
            **decided,
        )

    def _sound(self, word: str) -> np.ndarray:
        rng = np.random.default_rng([self._seed, zlib.crc32(word.encode())])
        return rng.integers(-8000, 8000, TURN_SAMPLES).astype(np.int16)


class DigestModel(FakeModel):
    """Says a digest of all that it perceives, words and sound, three micro-turns in four."""

    def step(self, turn: MicroTurn) -> StepResult:
        result = super().step(turn)
        digest = zlib.crc32(turn.user_pcm.tobytes())
        digest = zlib.crc32(turn.own_pcm.tobytes(), digest)
        if turn.frames is not None:
            digest = zlib.crc32(np.ascontiguousarray(turn.frames).tobytes(), digest)
        for line in turn.text:
            digest = zlib.crc32(f'{line.role} {line.text}'.encode(), digest)
        if turn.index % 4 == 3:
            return result
        word = f'{digest:08x}'
        return StepResult(
            turn.index,
            text=word,
            control='speak',
            speech=self._sound(word),
            intents=result.intents,
            plan_goals=result.plan_goals,
            heard=result.heard,
            voice='fake',
        )


class LastingModel(FakeModel):
    """Can be kept in a file; 'learn A B' is remembered, 'tell' says all that was learnt."""

    checkpoint = 'lasting'

    def reset(self) -> None:
        super().reset()
        self._learnt: list[str] = []

    def step(self, turn: MicroTurn) -> StepResult:
        for line in turn.text:
            verb, _, rest = line.text.partition(' ')
            if verb == 'learn':
                self._learnt += rest.split()
            elif verb == 'tell':
                self._words.extend(self._learnt or ['nothing'])
        return super().step(turn)

    def snapshot(self) -> 'Snapshot':  # noqa: F821
        from interaction_node.model.snapshot import Snapshot

        return Snapshot({}, {'checkpoint': self.checkpoint, 'learnt': [*self._learnt]})

    def restore(self, snapshot: 'Snapshot') -> None:  # noqa: F821
        if snapshot.facts['checkpoint'] != self.checkpoint:
            raise ValueError('snapshot: of another checkpoint, expected one of this')
        self.reset()
        self._learnt = [*snapshot.facts['learnt']]


class OtherModel(LastingModel):
    """As if it were of another checkpoint."""

    checkpoint = 'other'


MODELS = {'': FakeModel, 'digest': DigestModel, 'lasting': LastingModel, 'other': OtherModel}


def load_session(checkpoint: str, device: str, threads: int, seed: int) -> FakeModel:
    """Loads a fake; `checkpoint` is one of `MODELS`, anything else is missing."""
    if checkpoint not in MODELS:
        raise FileNotFoundError(f'there is no checkpoint {checkpoint!r}')
    return MODELS[checkpoint](seed)
