# SPDX-License-Identifier: Apache-2.0
"""Scripts of conversations: what is said, by whom and how, one phrase after the other.

A script only places what people do; what the robot should do follows from `ideal.IdealPartner`.
Frames are 20 ms.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import numpy as np

from ..tokens import normalise
from . import phrases
from .features import Utterance
from .ideal import Event, typed_frame
from .mixing import Piece, bend, blur, vocal_tract
from .phrases import Phrase
from .recomposed import COMPOSED, Recomposed, choose_swaps, swap_meaning
from .scenes import SceneScript
from .scramble import KIND as SCRAMBLED_KIND
from .scramble import SCRAMBLED, scramble
from .store import SpeechStore

SECOND = 50  # frames
STOP_WORDS = ('stop', 'wait', 'quiet', 'enough')
_DRAWS = 300  # of a phrase that means what is wanted
_AT_ONCE = (*STOP_WORDS, 'hold', 'halt', 'freeze')
_INSTRUCTIONS = frozenset(kind for kind in phrases.KINDS if kind.endswith('_set'))
_LONGEST_CUE = 4  # words
# What people at a distance say; most of it would mean something if they were near.
_FROM_AFAR = ('talk', 'running_speech', 'command', 'delegate', 'interruption', 'cue_set')
_FROM_AFAR_P = (0.25, 0.1, 0.3, 0.17, 0.1, 0.08)
BLURRED_SHARE = 0.4  # of them: their overtones merge
BENT_SHARE = 0.6  # of the people whose size is changed: their vowels are, too
TYPED_SHARE = 0.1  # of the people, who write what they have to say
OPEN_SHARE = 0.5  # of the talk that is for nobody's robot, where a voice has said any
ASSEMBLED_SHARE = 0.35
# Of kinds that voices say in few ways, and people in many: what they did not say is assembled.
_SELDOM_SAID_SHARE = 0.6
_SELDOM_SAID = ('cue_cancel', 'resume', 'interruption', 'chatter')
# Words that people put around what they say, which change nothing.
_BEFORE = (
    'okay', 'so', 'now', 'well', 'hey', 'please', 'robot', 'all right', 'oh', 'and', 'then', 'um',
    'good', 'hey robot', 'okay robot', 'okay now', 'oh and', 'so now', 'now please',
    'robot please', 'um okay', 'well okay', 'all right then', 'so please',
)  # fmt: skip
_AFTER = (
    'please', 'now', 'robot', 'for me', 'okay', 'then', 'please robot', 'now please',
    'for me please', 'if you can', 'thank you', 'will you', 'would you', 'for us', 'all right',
)  # fmt: skip
_DRESSED = frozenset((
    'command', 'cue_set', 'time_set', 'count_set', 'cue_cancel', 'visual_trigger_set',
    'visual_count_set', 'visual_start_stop_set',
))  # fmt: skip
DRESSED_SHARE = 0.25  # of them that have such words around them
_NEVER_TYPED = ('chatter', 'open_talk', 'backchannel', 'cue_word', 'running_speech')
# Never assembled.
_WHOLE = frozenset(('cue_word', 'answer_word', 'hesitation', 'open_talk'))


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
        skips: (first frame, frame after the last) of waiting that may be left out.
        skips_counting: Whether the middle of a count may be left out.
    """

    pieces: list[Piece] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    heard: list[tuple[str, int]] = field(default_factory=list)
    typed: list[tuple[int, str, str]] = field(default_factory=list)
    instructions: list[tuple[int, int]] = field(default_factory=list)
    scene: SceneScript | None = None
    cursor: int = 0
    theme: str = ''
    skips: list[tuple[int, int]] = field(default_factory=list)
    skips_counting: bool = False


def asks_for_a_halt(text: str) -> bool:
    """Whether a sentence begins with what has to be acted on before its end is known.

    "Stop it, Helen" is not for the robot; but it must have stopped by "Helen".
    """
    return text.split()[0] in _AT_ONCE


class SpeechWriter:
    """Places what one voice of the store, and others around it, say.

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
        self._typing = rng.random() < TYPED_SHARE
        self._lesson: dict[str, list[Utterance]] = {}
        self._cues = frozenset(phrases.grammar()['slots']['cue'])
        self.script = Script()

    def _any_tract(self) -> np.ndarray | None:
        """Another size of speaker, and more often than not other vowels; only for training."""
        if self._split != 'train' or self._rng.random() < 0.25:
            return None
        factor = float(np.exp(self._rng.uniform(np.log(0.85), np.log(1.17))))
        tract = vocal_tract(factor, bend(self._rng) if self._rng.random() < BENT_SHARE else None)
        if self._rng.random() < BLURRED_SHARE:
            tract = tract @ blur(self._rng.uniform(0.4, 1.4))
        return tract

    def _pause(self, low_s: float, high_s: float) -> None:
        self.script.cursor += int(self._rng.uniform(low_s, high_s) * SECOND)

    def _wait(self, until: int) -> None:
        """Nothing happens until a frame; most of it can be left out.

        What is left is long enough in half of the cases that what was asked for is far away.
        """
        longest_s = 2.0 if self._rng.random() < 0.5 else 20.0
        first = self.script.cursor + int(self._rng.uniform(0.8, longest_s) * SECOND)
        last = until - int(self._rng.uniform(0.8, 4.0) * SECOND)
        if last > first:
            self.script.skips.append((first, last))
        self.script.cursor = max(self.script.cursor, until)

    def _room_left(self, seconds: float) -> bool:
        return self.script.cursor + seconds * SECOND < self._limit

    def _say(self, kind: str, chance_to_hesitate: float = 0.0) -> dict | None:
        """Says a phrase of a kind at the cursor; returns its meaning."""
        return self._say_this(kind, self._phrase(kind), chance_to_hesitate)

    def _say_where(self, kind: str, where: Callable[[dict], bool]) -> dict | None:
        """Says a phrase of a kind that means what is wanted; returns its meaning."""
        if self._types(kind):
            return self._say_this(kind, self._sample(kind, where))
        known = [u for u in self._store.kinds(self._voice).get(kind, ()) if where(u.meaning)]
        if known and self._rng.random() < 0.5:
            return self._say_this(kind, known[self._rng.integers(len(known))])
        return self._say_this(kind, self._assemble(kind, where))

    def _say_this(
        self, kind: str, utterance: Utterance | Phrase | None, chance_to_hesitate: float = 0.0
    ) -> dict | None:
        if utterance is None:
            return None
        if isinstance(utterance, Phrase) or self._types(kind):
            return self._type(kind, utterance.text, dict(utterance.meaning))
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
            keyword = next((w for w in words if w in STOP_WORDS), None)
            if keyword:
                said = [f for w, f in self.script.heard[-len(words) :] if w == keyword]
                frame = said[0] if said else end
        if kind == 'count_set' and words[-1] in phrases.TENS:
            meaning['may_go_on'] = True
        self.script.events.append(Event(frame, kind, meaning))

    def _types(self, kind: str) -> bool:
        return self._typing and kind not in _NEVER_TYPED

    def _type(self, kind: str, text: str, meaning: dict) -> dict:
        turn = self.script.cursor // 10
        self.script.typed.append((turn * 10, '<user>', text))
        halts = {'halts': 'stop' in text.split()}
        self.script.events.append(Event(typed_frame(turn), kind, meaning | halts))
        self.script.cursor += 10
        return meaning

    def _phrase(self, kind: str) -> Utterance | Phrase | None:
        if self._types(kind) and kind not in self._lesson:
            phrase = self._sample(kind)
            return self._dressed(phrase) if phrase else None
        utterance = self._draw(kind)
        if kind == 'chatter' and utterance is not None and asks_for_a_halt(utterance.text):
            return None
        return utterance

    def _draw(self, kind: str) -> Utterance | None:
        taught = self._lesson.get(kind)
        if taught and self._rng.random() < 0.75:
            return taught[self._rng.integers(len(taught))]
        share = _SELDOM_SAID_SHARE if kind in _SELDOM_SAID else ASSEMBLED_SHARE
        if self._split == 'train' and kind not in _WHOLE and self._rng.random() < share:
            assembled = self._assemble(kind)
            if assembled is not None:
                return assembled
        utterance = self._store.pick(self._rng, self._voice, kind)
        if utterance is None:
            return None
        if kind in COMPOSED and self._rng.random() < 0.6:
            utterance = self._recompose(kind, utterance)
        return self._dressed_up(utterance)

    def _out_of_place(self) -> list[tuple[Utterance, int, int, str]] | None:
        """Something with words out of place: said so, or put together from what was said."""
        whole = self._store.pick(self._rng, self._voice, SCRAMBLED_KIND)
        if whole and self._rng.random() < 0.5:
            return self._segments(whole)
        kinds = list(SCRAMBLED)
        share = np.array(list(SCRAMBLED.values()))
        base = self._draw(str(self._rng.choice(kinds, p=share / share.sum())))
        if base is None or not base.words:
            return None
        parts = self._segments(base)
        if self._rng.random() < 0.2:  # nobody can know that this one is as it should be
            return parts
        made = scramble(parts, self._any_word, self._rng)
        held_out = phrases.is_held_out(' '.join(word for *_, word in made))
        return parts if held_out else made

    def _any_word(self) -> tuple[Utterance, int, int, str] | None:
        """A word that somebody has said, more often than not this voice."""
        if self._rng.random() < 0.6:
            known = self._store.words(self._voice)
            word = known[self._rng.integers(len(known))] if known else ''
        else:
            words = phrases.grammar()['slots']['any']
            word = words[self._rng.integers(len(words))]
        return self._anyhow(word)

    def _anyhow(self, word: str) -> tuple[Utterance, int, int, str] | None:
        """A piece in which this voice says a word, or another one if it never did."""
        found = self._store.word(self._rng, self._voice, word) or self._store.word_of_anybody(
            self._rng, self._voice, word
        )
        return (*found, word) if found else None

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

    def _sample(self, kind: str, where: Callable[[dict], bool] | None = None) -> Phrase | None:
        """Any phrase of a kind, None if none of many means what is wanted."""
        chance = Random(int(self._rng.integers(2**62)))
        for _ in range(_DRAWS):
            phrase = phrases.sample(kind, chance, self._split)
            if where is None or where(dict(phrase.meaning)):
                return phrase
        return None

    def _around(self, kind: str, text: str) -> tuple[str, str]:
        """Words to say before a phrase and after it, more often than not none."""
        dressed = kind in _DRESSED and self._split == 'train'
        if not dressed or self._rng.random() >= DRESSED_SHARE:
            return '', ''
        draw = self._rng.random()
        # Seldom after it: the robot must not learn to wait for a word that does not come.
        before = str(self._rng.choice(_BEFORE)) if draw < 0.85 else ''
        after = str(self._rng.choice(_AFTER)) if draw > 0.75 else ''
        held_out = phrases.is_held_out(f'{before} {text} {after}'.strip())
        return ('', '') if held_out else (before, after)

    def _dressed(self, phrase: Phrase) -> Phrase:
        """A phrase with words around it that change nothing, or as it is."""
        before, after = self._around(phrase.kind, phrase.text)
        return dataclasses.replace(phrase, text=f'{before} {phrase.text} {after}'.strip())

    def _said(self, text: str) -> list[tuple[Utterance, int, int, str]] | None:
        """Pieces in which this voice says the words of a text; None if it never said one."""
        found = [(self._store.word(self._rng, self._voice, w), w) for w in text.split()]
        pieces = [(*piece, word) for piece, word in found if piece]
        return pieces if len(pieces) == len(found) else None

    def _dressed_up(self, utterance: Utterance) -> Utterance:
        """An utterance with words of the same voice around it, or as it is."""
        before, after = self._around(utterance.kind, utterance.text)
        first, last = self._said(before), self._said(after)
        if first is None or last is None or not first + last:
            return utterance
        parts = [*first, *self._segments(utterance), *last]
        text = ' '.join([*before.split(), utterance.text, *after.split()])
        return Recomposed.of(utterance, parts, text, dict(utterance.meaning))

    def _assemble(self, kind: str, where: Callable[[dict], bool] | None = None) -> Utterance | None:
        """A new phrase of a kind, word by word from whatever this voice has said.

        What it never said another voice says, so that no way to say a thing is left out.
        """
        phrase = self._sample(kind, where)
        if phrase is None:
            return None
        phrase = self._dressed(phrase)
        parts = []
        for word in normalise(phrase.text):
            part = self._anyhow(word)
            if part is None:
                return None
            parts.append(part)
        return Recomposed.of(parts[0][0], parts, phrase.text, dict(phrase.meaning))

    def _recompose(self, kind: str, utterance: Utterance) -> Utterance:
        """Puts other words of the same voice into an utterance's slots."""
        swaps = choose_swaps(
            kind, utterance.meaning, self._rng, set(self._store.words(self._voice))
        )
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
        return Recomposed.of(utterance, parts, text, swap_meaning(utterance.meaning, swaps))

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
        kind = str(self._rng.choice(_FROM_AFAR, p=_FROM_AFAR_P)) if far else 'talk'
        kind = self._talk(voice) if kind == 'talk' else kind
        utterance = self._store.pick(self._rng, voice, kind)
        if utterance is None or (not far and asks_for_a_halt(utterance.text)):
            return
        gain = self._gain_db - (self._rng.uniform(15, 28) if far else self._rng.uniform(3, 10))
        heard = len(self.script.heard)
        self._place([(utterance, 0, utterance.frames, '')], far=far, gain_db=gain)
        del self.script.heard[heard:]
        if self._rng.random() < 0.4:
            self.script.cursor = start + int(self._rng.integers(5, 60))

    def _aside(self) -> None:
        """The user says something that is not meant for the robot."""
        talk = self._talk(self._voice)
        self._say(str(self._rng.choice([talk, 'backchannel'], p=[0.7, 0.3])))

    def _talk(self, voice: str) -> str:
        """A kind of talk that means nothing to the robot: in its words, or in any."""
        knows = 'open_talk' in self._store.kinds(voice)
        return 'open_talk' if knows and self._rng.random() < OPEN_SHARE else 'chatter'

    def _something_idle(self) -> None:
        draw = self._rng.random()
        if draw < 0.35:
            self._aside()
        elif draw < 0.8:
            self._bystander()
        self._pause(0.3, 2.0)
