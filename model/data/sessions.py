# SPDX-License-Identifier: Apache-2.0
"""Training sessions, made up on the fly from the speech store."""

from __future__ import annotations

import numpy as np

from ..mel import MELS
from ..sounds import DELAY, SILENCE, UNKNOWN, sounds_within
from ..timer import timer_words
from ..tokens import Vocabulary, normalise
from .features import Utterance
from .ideal import TURN_FRAMES, IdealPartner, OwnSpeech, Targets, turn_named
from .mixing import Piece, add_power, colour, own_power, reverberate, to_log
from .scenes import SceneRenderer, SceneScript
from .scenes3d import Looks, RenderedScene
from .scripts import THEMES, UNASKED, Script, ScriptWriter
from .skips import leave_out, ranges_to_skip
from .store import SpeechStore
from .tensors import Session

FLOOR_LOG = (-4.4, -2.95)  # of the noise that is always there, from session to session
DISTANT_SHARE = 0.85  # of the sessions, in which the room is heard
MOST_TURNS = 1_000  # of a session of which most is left out
RENDERED_SHARE = 0.6  # of the scenes, where some were rendered in 3-D


class SessionFactory:
    """Makes sessions without end.

    Args:
        store: Utterances to build from.
        vocabulary: Token ids.
        seed: Seed; the same seed and store give the same sessions.
        themes: Share of each theme; default `scripts.THEMES`.
        voice_weights: Relative share of each voice.
        split: Text split of composed phrases.
        looks: Scenes that were rendered in 3-D; None for drawn ones only.
    """

    def __init__(
        self,
        store: SpeechStore,
        vocabulary: Vocabulary,
        seed: int,
        themes: dict[str, float] | None = None,
        voice_weights: dict[str, float] | None = None,
        split: str = 'train',
        looks: Looks | None = None,
    ):
        self._store, self._vocabulary, self._split = store, vocabulary, split
        self._rng, self._looks = np.random.default_rng(seed), looks
        themes = themes or THEMES
        self._themes = list(themes)
        self._theme_p = np.array(list(themes.values())) / sum(themes.values())
        self._weights = voice_weights or {}

    def make(self) -> Session:
        """One session with everything that the model reads and should say."""
        while True:
            try:
                return self._make()
            except KeyError:  # the robot's bank is still growing
                continue

    def listen(self, rows: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Speech without a pause, for the ear to practise on; in a tenth the robot speaks, too.

        Args:
            rows: How many, each of another voice.
            frames: Length of each, frames of 20 ms.

        Returns:
            (rows, frames, M) float32 in [0, 1] mel frames, and (rows, frames) int8 sounds.
        """
        rng, levels, sounds = self._rng, [], []
        for _ in range(rows):
            writer = ScriptWriter(self._store, rng, self._voice(''), self._split, frames)
            script, targets = writer.write('listen'), Targets([], [], [])
            if self._store.robot_open and rng.random() < 0.1:
                own = self._store.robot_open[rng.integers(len(self._store.robot_open))]
                targets.own.append(OwnSpeech(own, int(rng.integers(frames)), 0, own.frames))
            power = self._microphone(script, targets, frames)
            if self._split == 'train':
                _mask_moments(power, rng)
            levels.append(to_log(power))
            sounds.append(_sounds(script, targets, frames))
        return np.stack(levels), np.stack(sounds)

    def _make(self) -> Session:
        rng = self._rng
        theme = str(rng.choice(self._themes, p=self._theme_p))
        voice = self._voice(theme)
        limit = int(rng.choice([700, 1000, 1400]))
        writer = ScriptWriter(self._store, rng, voice, self._split, limit)
        script = writer.write(theme)
        turns = (script.cursor + int(rng.integers(40, 120))) // TURN_FRAMES
        turns = min(turns, MOST_TURNS if script.skips or script.skips_counting else 320)
        speaks = _user_speaks(script, turns)
        targets = IdealPartner(
            lambda text: self._store.robot(rng, text),
            turns,
            speaks,
            rng if self._split == 'train' else None,
        ).run(script.events)
        skipped = ranges_to_skip(script, targets, speaks, rng)
        return leave_out(self._session(script, targets, turns), skipped)

    def _voice(self, theme: str) -> str:
        voices = self._store.taught_voices if theme == 'taught' else self._store.voices
        weights = np.array([self._weights.get(voice, 1.0) for voice in voices])
        return str(self._rng.choice(voices, p=weights / weights.sum()))

    def _session(self, script: Script, targets, turns: int) -> Session:
        rng, ids = self._rng, self._vocabulary.ids
        frames = turns * TURN_FRAMES
        user = self._microphone(script, targets, frames)
        delay = int(rng.choice([0, 0, 0, 1, 2]))
        own = own_power(targets.own, frames, delay) * colour(rng)
        own += np.float32(10 ** (2 * -5.0))
        elapsed = targets.elapsed[:turns]
        text_in = [[ids[token] for token in timer_words(each)] for each in elapsed]
        for frame, role, text in script.typed:
            if frame // TURN_FRAMES < turns:
                text_in[frame // TURN_FRAMES] += [
                    ids[role],
                    *self._vocabulary.encode(text),
                    ids['<end>'],
                ]
        for turn, done in enumerate(targets.read_done):
            if done:
                text_in[turn].append(ids['<read_done>'])
        heard: list[list[int]] = [[] for _ in range(turns)]
        for word, end in script.heard:
            turn = turn_named(end)
            if turn < turns:
                heard[turn] += [self._vocabulary.word_id(part) for part in normalise(word)]
        frames_N, phase_N3 = self._video(script.scene, turns)
        shape = (turns, TURN_FRAMES, MELS)
        return Session(
            to_log(user).reshape(shape),
            to_log(own).reshape(shape),
            text_in,
            [[ids[token] for token in tokens] for tokens in targets.tokens],
            targets.speak,
            heard,
            start_turn=int(rng.integers(0, 18_000)) if rng.random() < 0.5 else 0,
            frames_N=frames_N,
            phase_N3=phase_N3,
            theme=script.theme,
            elapsed=elapsed,
            unasked=frozenset(range(turns)) if script.theme in UNASKED else targets.unasked,
        )

    def _video(self, scene: SceneScript | None, turns: int):
        """(turns, 2, 80, 120, 3) pictures, the last and this, and (turns, 3) movement."""
        if scene is None:
            return None, None
        pictures = self._renderer(scene).render(turns)
        pairs = np.stack([np.concatenate([pictures[:1], pictures[:-1]]), pictures], axis=1)
        phase = np.full((turns, 3), np.nan, np.float32)
        if scene.movement:
            phase[:] = 0.0
            for turn in range(turns):
                for bout in scene.bouts:
                    now = bout.phase((turn + 1) * TURN_FRAMES - 1)
                    if now is not None:
                        phase[turn] = np.cos(2 * np.pi * now), np.sin(2 * np.pi * now), 1
        return pairs, phase

    def _renderer(self, scene: SceneScript) -> SceneRenderer:
        if self._looks and self._looks.can(scene) and self._rng.random() < RENDERED_SHARE:
            return RenderedScene(scene, self._rng, self._looks)
        return SceneRenderer(scene, self._rng)

    def _microphone(self, script: Script, targets, frames: int) -> np.ndarray:
        rng = self._rng
        power = np.zeros((frames, MELS), np.float32)
        mouth = colour(rng)
        far = colour(rng, far=True)
        for piece in script.pieces:
            add_power(power, piece, far if piece.far else mouth)
        if rng.random() < DISTANT_SHARE:
            power = reverberate(power, rng)
        floor = rng.chisquare(4, power.shape).astype(np.float32) / 4 * colour(rng)
        power += floor * np.float32(10 ** (2 * rng.uniform(*FLOOR_LOG)))
        self._add_sounds(power)
        if rng.random() < 0.45:
            self._add_echo(power, targets)
        if self._split == 'train' and rng.random() < 0.3:
            _mask_band(power, rng)
        return power

    def _add_sounds(self, power: np.ndarray) -> None:
        rng = self._rng
        if not self._store.sounds or rng.random() < 0.25:
            return
        for _ in range(1 if rng.random() < 0.8 else 2):
            sound: Utterance = self._store.sounds[rng.integers(len(self._store.sounds))]
            gain_db = float(rng.uniform(-38, -8))
            tint = colour(rng)
            start = int(rng.integers(0, max(1, len(power) // 2))) if rng.random() < 0.3 else 0
            while start < len(power):
                first = int(rng.integers(0, max(1, sound.frames // 2)))
                add_power(power, Piece(sound, first, sound.frames, start, gain_db), tint)
                start += sound.frames - first
                if rng.random() < 0.2:
                    break

    def _add_echo(self, power: np.ndarray, targets) -> None:
        rng = self._rng
        frames = len(power)
        echo = own_power(targets.own, frames, int(rng.integers(1, 13)))
        gain_db = rng.uniform(-22, -4)
        power += echo * colour(rng) * np.float32(10 ** (gain_db / 10))


def _mask_band(power_FM: np.ndarray, rng: np.random.Generator) -> None:
    """Silences a few neighbouring mel bins, so that no single one is relied on."""
    width = int(rng.integers(2, 9))
    low = int(rng.integers(0, MELS - width))
    power_FM[:, low : low + width] = 10 ** (2 * FLOOR_LOG[0])


def _mask_moments(power_FM: np.ndarray, rng: np.random.Generator) -> None:
    """Silences up to a twelfth of some sound, a moment each: what was said must be guessed.

    Source: D. Park et al., "SpecAugment", 2019.
    """
    for _ in range(rng.integers(0, 2 + len(power_FM) // 36)):
        begin = int(rng.integers(len(power_FM)))
        power_FM[begin : begin + int(rng.integers(1, 6))] = 10 ** (2 * FLOOR_LOG[0])


def _user_speaks(script: Script, turns: int) -> np.ndarray:
    speaks = np.zeros(turns, bool)
    for piece in script.pieces:
        if not piece.far:
            first = piece.start // TURN_FRAMES
            speaks[first : (piece.start + piece.last - piece.first) // TURN_FRAMES + 1] = True
    return speaks


def _sounds(script: Script, targets, frames: int) -> np.ndarray:
    """(frames,) int8, the sound of whoever is loudest, `DELAY` frames late.

    Nobody is asked what the far away say, nor what the robot does.
    """
    heard = np.full(frames, SILENCE, np.int8)
    for piece in sorted(script.pieces, key=lambda piece: piece.gain_db):
        said = sounds_within(piece.source.words, piece.first, piece.last)
        if piece.far or not piece.source.words:
            said = np.full_like(said, UNKNOWN)
        _write(heard, piece.start, said, said != SILENCE)
    for own in targets.own:
        here = heard[max(0, own.start) : own.start + own.last - own.first]
        here[here == SILENCE] = UNKNOWN
    return np.concatenate([np.zeros(DELAY, np.int8), heard[:-DELAY]])


def _write(heard: np.ndarray, start: int, said: np.ndarray, where: np.ndarray) -> None:
    begin = max(0, -start)
    here = heard[max(0, start) : start + len(said)]
    part = slice(begin, begin + len(here))
    here[where[part]] = said[part][where[part]]
