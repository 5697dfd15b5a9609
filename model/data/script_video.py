# SPDX-License-Identifier: Apache-2.0
"""Scripts about seeing: movements to count, starts and stops, and things to wait for."""

from __future__ import annotations

from ..tokens import number_words
from . import phrases
from .ideal import Event
from .scenes import Bout, SceneScript, Thing
from .script_speech import SECOND, SpeechWriter

_MOVEMENTS = tuple(phrases.grammar()['slots']['movement'])


class VideoWriter(SpeechWriter):
    """Writes the themes in which the robot watches, and what can be seen in the others."""

    def _scenery(self) -> SceneScript:
        """Something to see that has nothing to do with what is said."""
        scene = SceneScript()
        if self._rng.random() < 0.75:
            scene.movement = str(self._rng.choice(_MOVEMENTS))
            start, end = self.script.cursor, max(100, self.script.cursor)
            self.script.cursor = int(self._rng.integers(0, end))
            scene.bouts = self._bouts(0.7, 2.2, 8) if self._rng.random() < 0.7 else []
            self.script.cursor = start
        self._distract(scene, '', self.script.cursor)
        return scene

    def _watch_count(self) -> None:
        meaning = self._watch_for('visual_count_set')
        movement = meaning['movement'] if meaning else str(self._rng.choice(_MOVEMENTS))
        self.script.skips_counting = self._rng.random() < 0.25
        bouts = [self._long_bout()] if self.script.skips_counting else self._bouts(1.0, 2.2, 9)
        scene = self.script.scene = SceneScript(movement, bouts)
        done = 0
        for bout in scene.bouts:
            for i in range(bout.count):
                done += 1
                end = bout.start + bout.period * (i + 1)
                self._see(meaning, end, number_words(done))
        self._while_watching(scene.bouts[-1].end)

    def _watch_start_stop(self) -> None:
        meaning = self._watch_for('visual_start_stop_set')
        movement = meaning['movement'] if meaning else str(self._rng.choice(_MOVEMENTS))
        scene = self.script.scene = SceneScript(movement, self._bouts(0.7, 1.8, 7))
        for bout in scene.bouts:
            self._see(meaning, bout.start + 14, 'start')
            self._see(meaning, bout.end + 14, 'stop')
        self._while_watching(scene.bouts[-1].end + 20)

    def _watch_trigger(self) -> None:
        meaning = self._watch_for('visual_trigger_set')
        scene = self.script.scene = SceneScript()
        if self._rng.random() < 0.2:
            self._wait(self.script.cursor + int(self._rng.uniform(8, 40) * SECOND))
        at = self.script.cursor + int(self._rng.uniform(0.5, 7) * SECOND)
        see = meaning['see'] if meaning else ''
        if see == 'person':
            scene.enters = at
        elif see == 'green light':
            scene.light_green = at
        elif see:
            colour, shape = see.split()
            scene.things.append(Thing(colour, shape, at))
        self._distract(scene, see, at)
        if meaning and see:
            self._see(meaning, at + 4, meaning['answer'])
        self._while_watching(at + 40)

    def _watch_for(self, kind: str) -> dict | None:
        """Asks the robot to watch for something; in some sessions nobody asks."""
        meaning = self._say(kind, 0.1) if self._rng.random() < 0.88 else None
        self._pause(0.6, 2.5)
        return meaning

    def _see(self, meaning: dict | None, frame: int, text: str) -> None:
        if meaning is not None:
            self.script.events.append(Event(frame, 'sight', {'text': text}))

    def _bouts(self, shortest_s: float, longest_s: float, most: int) -> list[Bout]:
        bouts, start = [], self.script.cursor + int(self._rng.uniform(0, 2) * SECOND)
        for _ in range(1 if self._rng.random() < 0.6 else 2):
            period = int(self._rng.uniform(shortest_s, longest_s) * SECOND)
            bouts.append(Bout(start, period, int(self._rng.integers(2, most))))
            start = bouts[-1].end + int(self._rng.uniform(1.5, 3.5) * SECOND)
        return bouts

    def _long_bout(self) -> Bout:
        """A movement that is repeated often."""
        start = self.script.cursor + int(self._rng.uniform(0, 2) * SECOND)
        period = int(self._rng.uniform(0.8, 1.4) * SECOND)
        return Bout(start, period, int(self._rng.integers(14, 41)))

    def _distract(self, scene: SceneScript, see: str, at: int) -> None:
        """Other things in view, before and after what is watched for."""
        slots = phrases.grammar()['slots']
        for _ in range(self._rng.integers(0, 3)):
            colour, shape = (str(self._rng.choice(slots[name])) for name in ('colour', 'shape'))
            if f'{colour} {shape}' != see:
                appears = int(self._rng.choice([-100, int(self._rng.integers(0, at + 60))]))
                scene.things.append(Thing(colour, shape, appears))
        if see != 'green light' and self._rng.random() < 0.15:
            scene.light_green = int(self._rng.integers(0, at + 100))
        if see != 'person' and self._rng.random() < 0.3:
            scene.movement = str(self._rng.choice(_MOVEMENTS))

    def _while_watching(self, until: int) -> None:
        while self.script.cursor < until - 60:
            self._pause(0.5, 3.0)
            if self._rng.random() < 0.2 and self.script.cursor < until - 60:
                self._something_idle()
        self.script.cursor = max(until + 20, self.script.cursor)
        if self._rng.random() < 0.3:
            self._say('interruption')
            self._pause(0.8, 1.5)
