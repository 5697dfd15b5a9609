# SPDX-License-Identifier: Apache-2.0
"""Scripts of conversations: what is practised in them, theme by theme.

What is said is placed in `script_speech`, what is to be seen in `script_video`.
"""

from __future__ import annotations

import numpy as np

from .ideal import Event, typed_frame
from .script_speech import SECOND, STOP_WORDS, Script
from .script_video import VideoWriter

SEEN_SHARE = 0.12  # of the sessions that are not about seeing
LONG_SHARE = 0.15  # of the cues, which are waited for for long
BESIDE_SHARE = 0.4  # of what happens while it counts or waits: it has to do that, too
_MEANT = frozenset((*STOP_WORDS, 'robot', 'hello', 'hi', 'hey', 'morning', 'follow', 'thanks'))


class ScriptWriter(VideoWriter):
    """Invents conversations for one voice of the store; see `SpeechWriter` for its arguments."""

    def write(self, theme: str) -> Script:
        """Writes a session of a theme: `cue`, `time`, `count`, `command`, ... (see `THEMES`)."""
        self.script = Script(cursor=int(self._rng.integers(10, 60)), theme=theme)
        getattr(self, f'_{theme}')()
        self._find_cues()
        long = self.script.skips or self.script.skips_counting
        if self.script.scene is None and not long and self._rng.random() < SEEN_SHARE:
            self.script.scene = self._scenery()
        return self.script

    def _cue(self) -> None:
        meaning = self._say('cue_set', 0.2)
        if meaning is None:
            self._command()
            return
        bound = [cue for cue, _ in meaning['cues']]
        extra = len(bound) == 1 and self._rng.random() < 0.35
        self._pause(0.5, 1.8)
        if self._rng.random() < LONG_SHARE:
            waited = int(self._rng.uniform(10, 90) * SECOND)
            self._wait(self.script.cursor + waited)
            self._limit += waited
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
        if self._rng.random() < 0.5:
            self._say('cue_cancel' if self._rng.random() < 0.65 else 'interruption')
            self._pause(0.8, 1.5)
            for _ in range(self._rng.integers(1, 4)):
                self._cue_or_other(bound)
                self._pause(0.5, 1.5)

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
        # Mostly short: the word that was asked for is the same.
        most = self._rng.choice([10, 25, 60], p=[0.45, 0.15, 0.4])
        while meaning and tries < 8 and _seconds(meaning) > most:
            self._undo_last()
            meaning = self._say('time_set', 0.15)
            tries += 1
        if meaning is None:
            self._count()
            return
        seconds = _seconds(meaning)
        if seconds > 10:
            self._long_time(seconds, 'every_s' in meaning)
        else:
            self._short_time(meaning, seconds)
        if self._rng.random() < 0.7:
            self._say('interruption')
            self._pause(1.0, 2.0)
            if 'every_s' in meaning and self._rng.random() < 0.4:
                self._wait(self.script.cursor + int(seconds * SECOND))

    def _long_time(self, seconds: int, repeats: bool) -> None:
        """Waits until it is due once or some times; most of it is left out."""
        asked = self.script.cursor
        for number in range(int(self._rng.integers(1, 4)) if repeats else 1):
            due = asked + (number + 1) * seconds * SECOND
            self._pause(0.5, 3.0)
            if self._rng.random() < 0.3:
                self._meanwhile()
            self._wait(due - int(self._rng.uniform(0, 3) * SECOND))
            if self._rng.random() < 0.2:
                self._something_idle()
            after = due + int(self._rng.uniform(0.8, 2.0) * SECOND)
            self.script.cursor = max(self.script.cursor, after)

    def _numbers(self) -> None:
        """Numbers, most of them of two words: after how long, how far, from where to where."""
        draw = self._rng.random()
        for _ in range(self._rng.integers(2, 4)):
            if draw < 0.6:
                self._alarm()
            elif draw < 0.8:
                self._say_where('command', _is_far)
                self._pause(1.0, 2.0)
            else:
                self._count_from_afar()

    def _alarm(self) -> None:
        """Waits for a number among others that are like it."""
        asked = self._say_where('time_set', lambda meaning: _seconds(meaning) > 10)
        if asked is None:
            return
        seconds, begun = _seconds(asked), self.script.cursor
        alike = [n for n in range(1, seconds) if n % 10 == seconds % 10 or n > seconds - 3]
        alike += [int(n) for n in self._rng.integers(1, seconds, 2)]
        # What was asked for must be found from afar, too, beyond all biases for distance.
        self._pause(1.0, min(seconds - 2, 24))
        for number in sorted(set(alike)):
            self._skip(begun + number * SECOND - 30)
            self.script.cursor = max(self.script.cursor, begun + number * SECOND + 20)
        self._skip(begun + seconds * SECOND - 30)
        self.script.cursor = begun + seconds * SECOND + int(self._rng.uniform(1.0, 1.8) * SECOND)
        if 'every_s' in asked:
            self._say('interruption')
            self._pause(1.0, 1.8)

    def _skip(self, until: int) -> None:
        """Leaves out all until a frame."""
        if until > self.script.cursor + SECOND:
            self.script.skips.append((self.script.cursor + 10, until))
            self.script.cursor = until

    def _broken_off(self) -> None:
        """One order that lasts after the other, each stopped soon: most is about how they begin."""
        while self._room_left(9):
            kind = 'count_set' if self._rng.random() < 0.7 else 'time_set'
            if self._say(kind, 0.1) is None:
                break
            self._pause(0.6, 3.0)
            draw = self._rng.random()
            if draw < 0.2:
                self._say('backchannel')
                self._pause(0.6, 2.0)
            elif draw < 0.5:
                self._something_idle()
            self._say('interruption')
            self._pause(0.8, 1.8)

    def _count_from_afar(self) -> None:
        over_tens = self._rng.random() < 0.6
        meaning = self._say_where(
            'count_set',
            lambda meaning: meaning['first'] > 10 and (not over_tens or _is_over_tens(meaning)),
        )
        if meaning is None:
            return
        length = abs(meaning['last'] - meaning['first']) * 0.85 + 1.5
        if length > 13:
            self._pause(2.5, 6.0)
            self._say('interruption')
            self._pause(1.0, 1.8)
        else:
            self.script.cursor += int(length * SECOND)

    def _short_time(self, meaning: dict, seconds: int) -> None:
        length = seconds * (
            min(float(self._rng.integers(2, 5)), 28 / seconds) if 'every_s' in meaning else 1.2
        )
        until = self.script.cursor + int((length + 1.5) * SECOND)
        while self.script.cursor < until - 100:
            self._pause(0.5, 4.0)
            if self._rng.random() < 0.4 and self.script.cursor < until - 100:
                self._meanwhile()
        self.script.cursor = max(until, self.script.cursor)

    def _undo_last(self) -> None:
        fresh = Script(cursor=int(self._rng.integers(10, 60)), theme=self.script.theme)
        self.script = fresh

    def _count(self) -> None:
        meaning = self._say('count_set', 0.15)
        if meaning is None:
            self._command()
            return
        length = abs(meaning['last'] - meaning['first']) * 0.8 + 1.5
        if length > 12 and self._rng.random() < 0.7:
            self.script.skips_counting = True
            self._long_count(length * float(self._rng.uniform(1.0, 1.2)))
            return
        finish = self.script.cursor + int(min(length, 18) * SECOND)
        self._pause(1.2, 3.5)
        for _ in range(self._rng.integers(0, 4)):
            if self.script.cursor > finish:
                break
            self._meanwhile()
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

    def _meanwhile(self) -> None:
        """While it counts or waits: something to do beside that, or nothing to do with it."""
        if self._rng.random() < BESIDE_SHARE:
            self._say(str(self._rng.choice(['command', 'address', 'delegate'], p=[0.8, 0.1, 0.1])))
        else:
            self._something_idle()

    def _long_count(self, length_s: float) -> None:
        """It counts on and on: to the end, or until it is told to stop."""
        finish = self.script.cursor + int(length_s * SECOND)
        for _ in range(self._rng.integers(0, 3)):
            self.script.cursor += int(self._rng.uniform(0.1, 0.5) * (finish - self.script.cursor))
            self._meanwhile()
        if self._rng.random() < 0.5:
            self.script.cursor += int(self._rng.random() * (finish - self.script.cursor))
            self._say('interruption')
            self._pause(1.2, 3.0)
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
            kind = str(self._rng.choice(['address', 'talk', 'interruption', 'command']))
            self._say(self._talk(self._voice) if kind == 'talk' else kind)
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
        arrives = asked + int(self._rng.uniform(1.5, 7.0) * SECOND)
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
        self.script.events.append(Event(typed_frame(turn), 'result', {'text': utterance.text}))

    def _idle(self) -> None:
        while self._room_left(6):
            self._something_idle()
            self._pause(0.2, 2.0)

    def _transcribe(self) -> None:
        """Dense speech with nothing to do but to name the words: cheap practice in hearing."""
        kinds = ['talk', 'running_speech', 'word_list', 'cue_word', 'answer_word', 'backchannel']
        while self._room_left(4):
            kind = str(self._rng.choice(kinds, p=[0.3, 0.2, 0.25, 0.12, 0.08, 0.05]))
            self._say(self._talk(self._voice) if kind == 'talk' else kind)
            self._pause(0.05, 0.6)

    def _listen(self) -> None:
        """Whatever a voice has said, without pauses: practice for the ear alone."""
        kinds = self._store.kinds(self._voice)
        said = [utterance for kind in sorted(kinds) for utterance in kinds[kind]]
        while self._room_left(0):
            utterance = said[self._rng.integers(len(said))]
            self._place([(utterance, 0, utterance.frames, '')])
            if self._rng.random() < 0.1:
                self._bystander()
            self._pause(0.0, 0.3)

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
                    if piece:
                        self._place([(*piece, word)])
                    if rng.random() < 0.4:
                        self._pause(0.02, 0.4)
            self._tract = tract
            self._pause(0.1, 0.8)

    def _scrambled(self) -> None:
        """Words out of place, to be named and nothing else; `UNASKED` says what that means."""
        while self._room_left(4):
            parts = self._out_of_place()
            if parts:
                self._place(parts, self._rng.random() < 0.1)
            self._pause(0.1, 1.0)

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
    'cue': 0.2,
    'time': 0.13,
    'count': 0.17,
    'broken_off': 0.15,
    'command': 0.18,
    'address': 0.03,
    'delegate': 0.09,
    'idle': 0.1,
    'transcribe': 0.15,
    'words': 0.12,
    'scrambled': 0.15,
    'numbers': 0.2,
    'mixed': 0.06,
    'watch_count': 0.05,
    'watch_start_stop': 0.03,
    'watch_trigger': 0.03,
}
# Themes in which it is not asked what the robot should do: nobody could tell.
UNASKED = frozenset(('scrambled',))
# Kinds of phrases that can be taught, with the theme in which they are practised.
_LESSONS = {'command': '_command', 'cue_set': '_cue', 'address': '_address'}


def _seconds(meaning: dict) -> int:
    """Of a request to say something every so often, or once after a while."""
    return meaning['every_s'] if 'every_s' in meaning else meaning['in_s']


def _is_over_tens(meaning: dict) -> bool:
    """Of a short count: it is not over where the tens of its last number are reached."""
    first, last = meaning['first'], meaning['last']
    return first // 10 != last // 10 and abs(last - first) < 14


def _is_far(meaning: dict) -> bool:
    return meaning['skill'] == 'move' and meaning['arguments']['distance_m'] > 10
