# SPDX-License-Identifier: Apache-2.0
"""Scripts of conversations: who says what when, what else sounds, and what is typed.

A script only places what people do; what the robot should do follows from `ideal.IdealPartner`.
Frames are 20 ms.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from ..tokens import number_words, parse_number
from . import phrases
from .features import Utterance
from .ideal import Event
from .mixing import Piece, vocal_tract
from .scenes import Bout, SceneScript, Thing
from .store import SpeechStore

_INSTRUCTIONS = frozenset(kind for kind in phrases.KINDS if kind.endswith('_set'))
_STOP_WORDS = ('stop', 'wait', 'quiet', 'enough')
_MEANT = frozenset((*_STOP_WORDS, 'robot', 'hello', 'hi', 'hey', 'morning', 'follow', 'thanks'))
_SECOND = 50
_LONGEST_CUE = 4  # words
_SECONDS = [number_words(seconds) for seconds in range(2, 21)]
SEEN_SHARE = 0.2  # of the sessions that are not about seeing
_MOVEMENTS = tuple(phrases.grammar()['slots']['movement'])


@dataclass
class Script:
    """What happens in a session, apart from the robot.

    Attributes:
        pieces: Everything that reaches the microphone, apart from noise and echo.
        events: What the ideal partner reacts to.
        heard: (word, frame after its end) of the user's words.
        typed: (frame, role token, text) of lines of text.
        instructions: (first frame, frame after the last) of what is said to the robot.
        scene: What the camera sees; None where there is none.
        cursor: Frame at which the next thing can happen.
        theme: What is practised.
    """

    pieces: list[Piece] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    heard: list[tuple[str, int]] = field(default_factory=list)
    typed: list[tuple[int, str, str]] = field(default_factory=list)
    instructions: list[tuple[int, int]] = field(default_factory=list)
    scene: SceneScript | None = None
    cursor: int = 0
    theme: str = ''


class ScriptWriter:
    """Invents conversations for one voice of the store.

    Args:
        store: Utterances.
        rng: Random numbers.
        voice: Who talks to the robot.
        split: Text split of composed phrases.
        limit: Frames that a session may have.
    """

    def __init__(
        self,
        store: SpeechStore,
        rng: np.random.Generator,
        voice: str,
        split: str = 'train',
        limit: int = 1600,
    ):
        self._store, self._rng, self._voice, self._split = store, rng, voice, split
        self._limit = limit
        self._gain_db = float(rng.uniform(-14, 9))
        self._tract = self._any_tract()
        self._typing = rng.random() < 0.06
        self._lesson: dict[str, list[Utterance]] = {}
        self._cues = frozenset(phrases.grammar()['slots']['cue'])
        self.script = Script()

    def _any_tract(self) -> np.ndarray | None:
        """Another size of speaker; only for training."""
        if self._split != 'train' or self._rng.random() < 0.25:
            return None
        return vocal_tract(float(np.exp(self._rng.uniform(np.log(0.85), np.log(1.17)))))

    def write(self, theme: str) -> Script:
        """Writes a session of a theme: `cue`, `time`, `count`, `command`, ... (see `THEMES`)."""
        self.script = Script(cursor=int(self._rng.integers(10, 60)), theme=theme)
        getattr(self, f'_{theme}')()
        self._find_cues()
        if self.script.scene is None and self._rng.random() < SEEN_SHARE:
            self.script.scene = self._scenery()
        return self.script

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

    def _pause(self, low_s: float, high_s: float) -> None:
        self.script.cursor += int(self._rng.uniform(low_s, high_s) * _SECOND)

    def _room_left(self, seconds: float) -> bool:
        return self.script.cursor + seconds * _SECOND < self._limit

    def _say(self, kind: str, chance_to_hesitate: float = 0.0) -> dict | None:
        """Says a phrase of a kind at the cursor; returns its meaning."""
        utterance = self._phrase(kind)
        if utterance is None:
            return None
        if self._typing and kind not in ('chatter', 'backchannel', 'cue_word', 'running_speech'):
            return self._type(kind, utterance)
        hesitate = self._rng.random() < chance_to_hesitate
        start = self.script.cursor
        end = self._place(self._segments(utterance), hesitate)
        if kind in _INSTRUCTIONS or kind in ('command', 'delegate'):
            self.script.instructions.append((start, self.script.cursor))
        self._emit(kind, utterance, end)
        return utterance.meaning

    def _emit(self, kind: str, utterance: Utterance, end: int) -> None:
        if kind == 'cue_word':
            return
        meaning = dict(utterance.meaning)
        frame = end
        words = utterance.text.split()
        if kind == 'interruption' or meaning.get('skill') == 'stop':
            meaning['halts'] = 'stop' in words
            keyword = next((w for w in words if w in _STOP_WORDS), None)
            if keyword:
                said = [f for w, f in self.script.heard[-len(words) :] if w == keyword]
                frame = said[0] if said else end
        self.script.events.append(Event(frame, kind, meaning))

    def _type(self, kind: str, utterance: Utterance) -> dict:
        turn = self.script.cursor // 10
        self.script.typed.append((turn * 10, '<user>', utterance.text))
        words = utterance.text.split()
        meaning = dict(utterance.meaning) | {'halts': 'stop' in words}
        self.script.events.append(Event(turn * 10 + 6, kind, meaning))
        self.script.cursor += 10
        return utterance.meaning

    def _phrase(self, kind: str) -> Utterance | None:
        taught = self._lesson.get(kind)
        if taught and self._rng.random() < 0.75:
            return taught[self._rng.integers(len(taught))]
        utterance = self._store.pick(self._rng, self._voice, kind)
        if utterance is None:
            return None
        if kind in _COMPOSED and self._rng.random() < 0.6:
            return self._recompose(kind, utterance)
        return utterance

    def _segments(self, utterance: Utterance) -> list[tuple[Utterance, int, int, str]]:
        """Pieces of an utterance, one a word: (source, first, last, word)."""
        parts = getattr(utterance, 'parts', None)
        if parts is not None:
            return parts
        words = utterance.words
        if not words:
            return [(utterance, 0, utterance.frames, '')]
        borders = [0]
        borders += [(a[2] + b[1] + 1) // 2 for a, b in itertools.pairwise(words)]
        borders.append(utterance.frames)
        return [
            (utterance, first, last, word[0])
            for first, last, word in zip(borders, borders[1:], words, strict=False)
        ]

    def _recompose(self, kind: str, utterance: Utterance) -> Utterance:
        """Puts other words of the same voice into an utterance's slots."""
        swaps = _swaps(kind, utterance.meaning, self._rng, set(self._store.words(self._voice)))
        text = ' '.join(swaps.get(w, w) for w in utterance.text.split())
        if not swaps or phrases.split_of(text) not in (self._split, phrases.SHARED):
            return utterance
        parts = []
        for part in self._segments(utterance):
            new = swaps.get(part[3])
            found = self._store.word(self._rng, self._voice, new) if new else None
            if new and found is None:
                return utterance
            parts.append((*found, new) if found else part)
        return _Recomposed.of(utterance, parts, text, _swap_meaning(utterance.meaning, swaps))

    def _place(self, segments, hesitate: bool = False, far: bool = False, gain_db=None) -> int:
        """Places segments at the cursor; returns the frame after the last phoneme."""
        tract = self._tract if gain_db is None else self._any_tract()
        gain_db = self._gain_db if gain_db is None else gain_db
        gap_after = int(self._rng.integers(len(segments))) if hesitate and len(segments) > 1 else -1
        end = self.script.cursor
        for i, (source, first, last, word) in enumerate(segments):
            piece = Piece(source, first, last, self.script.cursor, gain_db, far, tract)
            self.script.pieces.append(piece)
            end = self.script.cursor + self._word_end(source, first, last, word)
            if not far and word:
                self.script.heard.append((word, end))
            self.script.cursor += last - first
            if i == gap_after and i + 1 < len(segments):
                self._hesitate()
        return end

    def _word_end(self, source: Utterance, first: int, last: int, word: str) -> int:
        ends = [w[2] for w in source.words if w[0] == word and first < w[2] <= last + 2]
        return min(ends[0], last) - first if ends else last - first

    def _hesitate(self) -> None:
        self._pause(0.15, 1.0)
        filler = self._store.word(self._rng, self._voice, str(self._rng.choice(['er', 'um', 'uh'])))
        if filler and self._rng.random() < 0.6:
            source, first, last = filler
            self.script.pieces.append(
                Piece(
                    source,
                    first,
                    last,
                    self.script.cursor,
                    self._gain_db - 2,
                    tract=self._tract,
                )
            )
            self.script.cursor += last - first
        self._pause(0.15, 0.9)

    def _find_cues(self) -> None:
        """Cue words inside anything but instructions are events of their own."""
        heard = self.script.heard
        for i, (_, end) in enumerate(heard):
            if any(start < end <= last for start, last in self.script.instructions):
                continue
            for length in range(1, _LONGEST_CUE + 1):
                cue = ' '.join(word for word, _ in heard[i + 1 - length : i + 1])
                if length <= i + 1 and cue in self._cues:
                    self.script.events.append(Event(end, 'cue_word', {'cue': cue}))

    # Bystanders

    def _bystander(self) -> None:
        """Somebody else talks, near by or far away; nothing should happen."""
        start = self.script.cursor
        voices = self._store.voices
        voice = voices[self._rng.integers(len(voices))]
        far = self._rng.random() < 0.6
        kind = self._rng.choice(
            ['chatter', 'running_speech', 'command', 'delegate', 'interruption']
        )
        utterance = self._store.pick(self._rng, voice, str(kind) if far else 'chatter')
        if utterance is None:
            return
        gain = self._gain_db - (self._rng.uniform(15, 28) if far else self._rng.uniform(3, 10))
        heard = len(self.script.heard)
        self._place([(utterance, 0, utterance.frames, '')], far=far, gain_db=gain)
        del self.script.heard[heard:]
        if self._rng.random() < 0.4:
            self.script.cursor = start + int(self._rng.integers(5, 60))

    def _aside(self) -> None:
        """The user says something that is not meant for the robot."""
        self._say(str(self._rng.choice(['chatter', 'backchannel'], p=[0.7, 0.3])))

    def _something_idle(self) -> None:
        draw = self._rng.random()
        if draw < 0.45:
            self._aside()
        elif draw < 0.8:
            self._bystander()
        self._pause(0.3, 2.0)

    # Themes

    def _cue(self) -> None:
        meaning = self._say('cue_set', 0.2)
        if meaning is None:
            self._command()
            return
        bound = [cue for cue, _ in meaning['cues']]
        extra = len(bound) == 1 and self._rng.random() < 0.35
        self._pause(0.5, 1.8)
        if self._rng.random() < 0.5:
            self._cue_drill(bound)
        while self._room_left(5):
            if extra and self._rng.random() < 0.35:
                more = self._say('cue_set', 0.1)
                bound += [cue for cue, _ in more['cues']] if more else []
                extra = False
            elif self._rng.random() < 0.72:
                self._cue_or_other(bound)
            else:
                self._something_idle()
            self._pause(0.5, 2.2)
        if self._rng.random() < 0.35:
            self._say('cue_cancel' if self._rng.random() < 0.5 else 'interruption')
            self._pause(0.8, 1.5)
            self._cue_or_other(bound)

    def _cue_or_other(self, bound: list[str]) -> None:
        draw = self._rng.random()
        if draw < 0.45:
            self._cue_word(str(self._rng.choice(bound)))
        elif draw < 0.75:
            self._cue_word(str(self._rng.choice(sorted(self._cues))))
        else:
            self._running_speech(bound)

    def _cue_drill(self, bound: list[str]) -> None:
        """One cue word after the other, bound or not: which one it was is all that counts."""
        others = sorted(self._cues)
        while self._room_left(7):
            words = bound if self._rng.random() < 0.5 else others
            self._cue_word(str(self._rng.choice(words)))
            self._pause(0.4, 1.0)

    def _cue_word(self, word: str) -> None:
        if ' ' in word:
            whole = self._store.cue(self._rng, self._voice, word)
            if whole:
                self._place(self._segments(whole))
            return
        piece = self._store.word(self._rng, self._voice, word)
        if piece:
            self._place([(*piece, word)])

    def _running_speech(self, bound: list[str]) -> None:
        utterance = self._store.pick(self._rng, self._voice, 'running_speech')
        if utterance is None:
            return
        cues = [w for w, _, _ in utterance.words if w in self._cues]
        bound = [cue for cue in bound if ' ' not in cue]
        parts = []
        for part in self._segments(utterance):
            if bound and part[3] in cues and self._rng.random() < 0.6:
                word = str(self._rng.choice(bound))
                found = self._store.word(self._rng, self._voice, word)
                part = (*found, word) if found else part
            parts.append(part)
        self._place(parts)

    def _time(self) -> None:
        tries = 0
        meaning = self._say('time_set', 0.15)
        # Mostly short: long ones are nothing but waiting.
        most = self._rng.choice([10, 25], p=[0.7, 0.3])
        while meaning and tries < 8 and meaning.get('every_s', meaning.get('in_s')) > most:
            self._undo_last()
            meaning = self._say('time_set', 0.15)
            tries += 1
        if meaning is None:
            self._count()
            return
        seconds = meaning.get('every_s', meaning.get('in_s'))
        length = seconds * (
            min(self._rng.integers(2, 5), 28 / seconds) if 'every_s' in meaning else 1.2
        )
        until = self.script.cursor + int((length + 1.5) * _SECOND)
        while self.script.cursor < until - 100:
            self._pause(0.5, 4.0)
            if self._rng.random() < 0.4 and self.script.cursor < until - 100:
                self._something_idle()
        self.script.cursor = max(until, self.script.cursor)
        if self._rng.random() < 0.7:
            self._say('interruption')
            self._pause(1.0, 2.0)
            if 'every_s' in meaning and self._rng.random() < 0.4:
                self.script.cursor += int(seconds * _SECOND)

    def _undo_last(self) -> None:
        fresh = Script(cursor=int(self._rng.integers(10, 60)), theme=self.script.theme)
        self.script = fresh

    def _count(self) -> None:
        meaning = self._say('count_set', 0.15)
        if meaning is None:
            self._command()
            return
        length = abs(meaning['last'] - meaning['first']) * 0.8 + 1.5
        finish = self.script.cursor + int(min(length, 18) * _SECOND)
        self._pause(1.2, 3.5)
        for _ in range(self._rng.integers(0, 4)):
            if self.script.cursor > finish:
                break
            self._something_idle()
        draw = self._rng.random()
        if draw < 0.65 or length > 18:
            self._say('interruption')
            self._pause(1.2, 3.0)
            if self._rng.random() < 0.5:
                self._say('resume')
                self._pause(1.5, 5.0)
                if self._rng.random() < 0.7:
                    self._say('interruption')
        else:
            self.script.cursor = max(self.script.cursor, finish)

    def _command(self) -> None:
        for _ in range(self._rng.integers(2, 6)):
            draw = self._rng.random()
            kind = 'command' if draw < 0.75 else 'ambiguous' if draw < 0.85 else 'address'
            self._say(kind, 0.2)
            self._pause(1.0, 2.2)
            if self._rng.random() < 0.3:
                self._something_idle()
            if not self._room_left(5):
                break

    def _address(self) -> None:
        for _ in range(self._rng.integers(2, 6)):
            self._say(str(self._rng.choice(['address', 'chatter', 'interruption', 'command'])))
            self._pause(0.8, 2.5)
            if not self._room_left(5):
                break

    def _delegate(self) -> None:
        meaning = self._say('delegate', 0.1)
        if meaning is None:
            self._command()
            return
        asked = self.script.cursor
        self._pause(0.8, 2.0)
        arrives = asked + int(self._rng.uniform(1.5, 7.0) * _SECOND)
        while self.script.cursor < arrives:
            draw = self._rng.random()
            if draw < 0.4:
                self._something_idle()
            elif draw < 0.6:
                self._say('command')
                self._pause(0.8, 1.5)
            self._pause(0.5, 2.0)
        if self._rng.random() < 0.9:
            self._result(arrives)
        self._pause(3.0, 5.0)
        if self._rng.random() < 0.3:
            self._say('interruption')
            self._pause(0.8, 1.5)

    def _result(self, arrives: int) -> None:
        choice = self._store.robot_open
        if not choice:
            return
        utterance = choice[self._rng.integers(len(choice))]
        turn = arrives // 10
        self.script.typed.append((turn * 10, '<planner>', utterance.text))
        self.script.events.append(Event(turn * 10 + 6, 'result', {'text': utterance.text}))

    def _idle(self) -> None:
        while self._room_left(6):
            self._something_idle()
            self._pause(0.2, 2.0)

    def _transcribe(self) -> None:
        """Dense speech with nothing to do but to name the words: cheap practice in hearing."""
        kinds = ['chatter', 'running_speech', 'cue_word', 'answer_word', 'backchannel']
        while self._room_left(4):
            self._say(str(self._rng.choice(kinds, p=[0.35, 0.3, 0.2, 0.1, 0.05])))
            self._pause(0.05, 0.6)

    def _words(self) -> None:
        """Words in no order, from many people: only their sound says which they are."""
        rng, store = self._rng, self._store
        while self._room_left(5):
            voice = self._voice if rng.random() < 0.4 else str(rng.choice(store.voices))
            tract = self._tract
            self._tract = tract if voice == self._voice else self._any_tract()
            known = [word for word in store.words(voice) if word not in _MEANT]
            if len(known) > 20:
                words = rng.choice(known, size=int(rng.integers(3, 9)))
                found = [(store.word(rng, voice, str(word)), str(word)) for word in words]
                for piece, word in found:
                    self._place([(*piece, word)])
                    if rng.random() < 0.4:
                        self._pause(0.02, 0.4)
            self._tract = tract
            self._pause(0.1, 0.8)

    # Video

    def _watch_count(self) -> None:
        meaning = self._watch_for('visual_count_set')
        movement = meaning['movement'] if meaning else str(self._rng.choice(_MOVEMENTS))
        scene = self.script.scene = SceneScript(movement, self._bouts(1.0, 2.2, 9))
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
        at = self.script.cursor + int(self._rng.uniform(0.5, 7) * _SECOND)
        see = meaning['see'] if meaning else ''
        if see == 'person':
            scene.enters = at
        elif see == 'green light':
            scene.light_green = at
        elif see:
            colour, shape = see.split()
            scene.things.append(Thing(colour, shape, at))
        self._distract(scene, see, at)
        if see:
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
        bouts, start = [], self.script.cursor + int(self._rng.uniform(0, 2) * _SECOND)
        for _ in range(1 if self._rng.random() < 0.6 else 2):
            period = int(self._rng.uniform(shortest_s, longest_s) * _SECOND)
            bouts.append(Bout(start, period, int(self._rng.integers(2, most))))
            start = bouts[-1].end + int(self._rng.uniform(1.5, 3.5) * _SECOND)
        return bouts

    def _distract(self, scene: SceneScript, see: str, at: int) -> None:
        """Other things in view, before and after what is watched for."""
        slots = phrases.grammar()['slots']
        for _ in range(self._rng.integers(0, 3)):
            colour, shape = (str(self._rng.choice(slots[name])) for name in ('colour', 'shape'))
            if f'{colour} {shape}' != see:
                appears = int(self._rng.choice([-100, self._rng.integers(0, at + 60)]))
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

    def _taught(self) -> None:
        """What the robot is being taught, among what it knows."""
        self._lesson = self._store.taught(self._voice)
        kinds = [kind for kind in _LESSONS if kind in self._lesson]
        if not kinds:
            self._command()
            return
        share = np.array([len(self._lesson[kind]) for kind in kinds], float)
        getattr(self, _LESSONS[str(self._rng.choice(kinds, p=share / share.sum()))])()

    def _mixed(self) -> None:
        """A bit of everything: several habits at once."""
        kinds = ['cue_set', 'time_set', 'count_set', 'command', 'address', 'cue_word']
        kinds += ['interruption', 'resume', 'backchannel', 'chatter', 'delegate', 'ambiguous']
        while self._room_left(6):
            self._say(str(self._rng.choice(kinds)), 0.1)
            self._pause(0.6, 3.0)


THEMES = {
    'cue': 0.22,
    'time': 0.15,
    'count': 0.1,
    'command': 0.14,
    'address': 0.03,
    'delegate': 0.07,
    'idle': 0.06,
    'transcribe': 0.02,
    'words': 0.11,
    'mixed': 0.06,
    'watch_count': 0.05,
    'watch_start_stop': 0.03,
    'watch_trigger': 0.03,
}
# Kinds of phrases that can be taught, with the theme in which they are practised.
_LESSONS = {'command': '_command', 'cue_set': '_cue', 'address': '_address'}
_COMPOSED = frozenset(['cue_set', 'command', 'time_set'])
_SLOT_OF = {'place': 'place', 'object': 'object', 'colour': 'colour'}


class _Recomposed(Utterance):
    """An utterance made of pieces of others."""

    @classmethod
    def of(cls, base: Utterance, parts, text: str, meaning: dict) -> _Recomposed:
        made = cls(base.levels_FM, base.words, base.clip, base.kind, meaning, base.voice, text)
        object.__setattr__(made, 'parts', parts)
        return made


def _swaps(kind: str, meaning: dict, rng: np.random.Generator, known: set[str]) -> dict[str, str]:
    slots = phrases.grammar()['slots']

    def other(slot: str, taken) -> str:
        words = [w for w in slots[slot] if w in known and w not in taken]
        return str(rng.choice(words)) if words else ''

    swaps: dict[str, str] = {}
    if kind == 'cue_set':
        for cue, answer in meaning['cues']:
            if ' ' in cue or ' ' in answer:
                continue
            swaps[cue] = other('cue', set(swaps.values()) | {c for c, _ in meaning['cues']})
            if rng.random() < 0.7 and answer not in swaps:
                swaps[answer] = other('answer', set())
    elif kind == 'time_set':
        if meaning['answer'] in slots['answer'] and meaning['answer'] != 'now':
            swaps[meaning['answer']] = other('answer', set())
        said = number_words(meaning.get('every_s', meaning.get('in_s')))
        numbers = [word for word in _SECONDS if word in known and word != said]
        if numbers and said not in swaps and said != 'one' and ' ' not in said:
            swaps[said] = str(rng.choice(numbers))
    elif kind == 'command':
        for name, slot in _SLOT_OF.items():
            value = meaning['arguments'].get(name)
            if value and ' ' not in value:
                swaps[value] = other(slot, set())
    return {old: new for old, new in swaps.items() if new}


def _swap_meaning(meaning, swaps: dict[str, str]):
    if isinstance(meaning, dict):
        return {key: _swap_meaning(value, swaps) for key, value in meaning.items()}
    if isinstance(meaning, int):
        new = parse_number([swaps.get(number_words(meaning), '')])
        return meaning if new is None else new
    if isinstance(meaning, list | tuple):
        return [_swap_meaning(value, swaps) for value in meaning]
    return swaps.get(meaning, meaning) if isinstance(meaning, str) else meaning
