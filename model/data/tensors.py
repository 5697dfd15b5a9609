# SPDX-License-Identifier: Apache-2.0
"""Turns sessions into the arrays that a training step reads.

Legend: B sessions, N micro-turns, T tokens, M mel bins.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np

from ..tokens import Vocabulary

HEARD_SLOTS = 2


@dataclass
class Session:
    """One training session.

    Attributes:
        user_NFM: (N, 10, M) float32 in [0, 1], user mel frames.
        own_NFM: (N, 10, M) own voice.
        text_in: Per micro-turn, input tokens.
        out: Per micro-turn, output tokens before the boundary.
        speak: Per micro-turn, whether the boundary is `<speak>`.
        heard: Per micro-turn, ids of the user's words that ended.
        start_turn: Number of the first micro-turn on the robot's clock.
        frames_N: (N, 2, h, w, 3) uint8 or None.
        phase_N3: (N, 3) float32 (cos, sin, moving) of the visible movement or None.
        theme: What the session practises, for statistics.
        elapsed: Per micro-turn, what it reads from the timer; None where it never runs.
        unasked: Micro-turns whose output is not to be learned.
        turns_N: (N,) numbers of the micro-turns, from `start_turn` on, where some were left out.
    """

    user_NFM: np.ndarray
    own_NFM: np.ndarray
    text_in: list[list[int]]
    out: list[list[int]]
    speak: list[bool]
    heard: list[list[int]]
    start_turn: int = 0
    frames_N: np.ndarray | None = None
    phase_N3: np.ndarray | None = None
    theme: str = ''
    elapsed: list[int] | None = None
    unasked: Set[int] = frozenset()
    turns_N: np.ndarray | None = None


@dataclass
class Batch:
    """Arrays of one training step; positions are flat indices into (B, T).

    Attributes:
        ids_BT: (B, T) int32 token ids.
        user_BNFM, own_BNFM: (B, N, 10, M) uint8 of [0, 1].
        turn_pos_BN: (B, N) position of the boundary that opens a micro-turn.
        audio_pos_BN: (B, N) position of the first of the two user-audio tokens.
        clock_BN: (B, N) int64 number of the micro-turn on the robot's clock.
        valid_BN: (B, N) bool.
        label_BT: (B, T) int64 next output token, -100 elsewhere.
        heard_BNS: (B, N, S) int64 words that ended, -100 beyond the session.
        since_BN: (B, N) int64 micro-turns on the timer, 0 where none runs.
        heard_pos_BNS: (B, N, S) positions of heard words in the stream, -1 for none.
        practice_RFM: None or (R, F, M) uint8 of [0, 1], speech for the ear alone.
        practice_sounds_RF: None or (R, F) int8, its sounds, see `sounds`.
        video: None or (session rows, frames (R, N, 2, h, w, 3) uint8, phase (R, N, 3), positions).
    """

    ids_BT: np.ndarray
    user_BNFM: np.ndarray
    own_BNFM: np.ndarray
    turn_pos_BN: np.ndarray
    audio_pos_BN: np.ndarray
    clock_BN: np.ndarray
    valid_BN: np.ndarray
    label_BT: np.ndarray
    heard_BNS: np.ndarray
    since_BN: np.ndarray
    heard_pos_BNS: np.ndarray
    video_pos_BN: np.ndarray | None = None
    frames_BN: np.ndarray | None = None
    phase_BN3: np.ndarray | None = None
    themes: list[str] = field(default_factory=list)
    practice_RFM: np.ndarray | None = None
    practice_sounds_RF: np.ndarray | None = None


def collate(
    sessions: list[Session],
    vocabulary: Vocabulary,
    rng,
    replace: float = 0.05,
    length: int = 0,
    heard_tokens: bool = False,
    mishear: float = 1.0,
) -> Batch:
    """Lays sessions out as token sequences.

    Args:
        sessions: Sessions of similar length, either all with frames or all without.
        vocabulary: Token ids.
        rng: Random numbers.
        replace: Share of fed-back boundaries that are flipped, so that closed loop is as good as
            teacher-forced.
        length: Padded length; 0 for the longest session's.
        heard_tokens: Whether heard words are tokens of the stream.
        mishear: How much is misheard, where 1 is a bad recogniser and 0 a perfect one.
    """
    ids = vocabulary.ids
    frames_N = sessions[0].frames_N
    rows = []
    for session in sessions:
        hearing = _as_heard(session, vocabulary, rng, mishear if heard_tokens else 0.0)
        named = hearing[0] if heard_tokens else None
        row = _layout(session, ids, rng, replace, named)
        if named and length and len(row[0]) > length:  # words that nobody said have no room
            hearing = _as_heard(session, vocabulary, rng, 0.0)
            row = _layout(session, ids, rng, replace, hearing[0])
        rows.append((*row, hearing[1]))
    length = length or max(len(row[0]) for row in rows)
    turns = max(len(s.out) for s in sessions)
    count = len(sessions)
    mels = sessions[0].user_NFM.shape[1:]
    batch = Batch(
        ids_BT=np.zeros((count, length), np.int64),
        user_BNFM=np.zeros((count, turns, *mels), np.uint8),
        own_BNFM=np.zeros((count, turns, *mels), np.uint8),
        turn_pos_BN=np.zeros((count, turns), np.int64),
        audio_pos_BN=np.zeros((count, turns), np.int64),
        clock_BN=np.zeros((count, turns), np.int64),
        valid_BN=np.zeros((count, turns), bool),
        label_BT=np.full((count, length), -100, np.int64),
        heard_BNS=np.full((count, turns, HEARD_SLOTS), -100, np.int64),
        since_BN=np.zeros((count, turns), np.int64),
        heard_pos_BNS=np.full((count, turns, HEARD_SLOTS), -1, np.int64),
        themes=[s.theme for s in sessions],
    )
    if frames_N is not None:
        batch.video_pos_BN = np.zeros((count, turns), np.int64)
        batch.frames_BN = np.zeros((count, turns, *frames_N.shape[1:]), np.uint8)
        batch.phase_BN3 = np.full((count, turns, 3), np.nan, np.float32)
    for b, (session, row) in enumerate(zip(sessions, rows, strict=True)):
        _fill(batch, b, session, row)
    return batch


# Chances that a word is named a micro-turn early, or late; never; taken for another; that another
# is named before it; or that it is named twice. For the worst recogniser.
_MISHEARD = np.array([0.3, 0.25, 0.2, 0.25, 0.2, 0.1])


def _as_heard(session: Session, vocabulary: Vocabulary, rng, mishear: float):
    """What a recogniser makes of the words, and what it should name then, micro-turn by micro-turn.

    What was named too early is not named again; what was missed is to be named in the next
    micro-turn still.

    Returns:
        Words as they were named, and as they should be named, per micro-turn.
    """
    unknown, turns = vocabulary['<unknown>'], len(session.heard)
    named: list[list[int]] = [[] for _ in range(turns)]
    wanted: list[list[int]] = [[] for _ in range(turns)]

    def add(lists: list[list[int]], turn: int, word: int) -> None:
        if 0 <= turn < turns and len(lists[turn]) < HEARD_SLOTS:
            lists[turn].append(word)

    level = mishear * rng.random() ** 2
    for turn, spoken in enumerate(session.heard):
        for word in spoken[:HEARD_SLOTS]:
            early, late, lost, other, before, twice = rng.random(6) < level * _MISHEARD
            if word == unknown:
                add(wanted, turn, word)
                continue
            if before:
                add(named, turn - 1, _another(word, vocabulary, rng))
            if early and turn and len(named[turn - 1]) < HEARD_SLOTS:
                add(named, turn - 1, word)
                continue
            add(wanted, turn, word)
            if late or lost:
                add(wanted, turn + 1, word)
                if late:
                    add(named, turn + 1, word)
                continue
            add(named, turn, _another(word, vocabulary, rng) if other else word)
            if twice:
                add(named, turn + 1, word)
    return named, wanted


def _another(word: int, vocabulary: Vocabulary, rng) -> int:
    """Another word, half of the time one that begins alike."""
    if rng.random() < 0.5:
        alike = vocabulary.alike(word)
        if alike:
            return int(alike[rng.integers(len(alike))])
    return int(rng.integers(vocabulary.first_word, len(vocabulary)))


def _layout(session, ids, rng, replace, heard):
    silent, speak, audio, video = (ids[t] for t in ('<silent>', '<speak>', '<audio>', '<video>'))
    tokens: list[int] = []
    labels: list[int] = []
    turn_pos, audio_pos, heard_pos = [], [], []
    boundary = silent
    has_video = session.frames_N is not None
    for n, out in enumerate(session.out):
        turn_pos.append(len(tokens))
        flip = rng.random() < replace
        tokens += [(speak if boundary == silent else silent) if flip else boundary]
        if has_video:
            tokens.append(video)
        audio_pos.append(len(tokens))
        words = heard[n] if heard else []
        heard_pos.append(range(len(tokens) + 2, len(tokens) + 2 + len(words)))
        tokens += [audio, audio, *words, *session.text_in[n]]
        labels += [-100] * (len(tokens) - len(labels) - 1)
        boundary = speak if session.speak[n] else silent
        tokens += out
        asked = n not in session.unasked
        labels += [*out, boundary] if asked else [-100] * (len(out) + 1)
    return tokens, labels, turn_pos, audio_pos, heard_pos


def _fill(batch: Batch, b: int, session: Session, row) -> None:
    tokens, labels, turn_pos, audio_pos, heard_pos, wanted = row
    turns = len(session.out)
    batch.ids_BT[b, : len(tokens)] = tokens
    batch.label_BT[b, : len(labels)] = labels
    batch.user_BNFM[b, :turns] = np.round(session.user_NFM * 255)
    batch.own_BNFM[b, :turns] = np.round(session.own_NFM * 255)
    batch.turn_pos_BN[b, :turns] = turn_pos
    batch.audio_pos_BN[b, :turns] = audio_pos
    numbers = np.arange(turns) if session.turns_N is None else session.turns_N
    batch.clock_BN[b, :turns] = session.start_turn + numbers
    batch.valid_BN[b, :turns] = True
    batch.since_BN[b, :turns] = session.elapsed or 0
    for n, places in enumerate(heard_pos):
        batch.heard_pos_BNS[b, n, : len(places)] = places
    batch.heard_BNS[b, :turns] = 0
    for n, words in enumerate(wanted):
        batch.heard_BNS[b, n, : len(words)] = words
    if batch.frames_BN is not None:
        assert batch.video_pos_BN is not None and batch.phase_BN3 is not None
        batch.video_pos_BN[b, :turns] = np.asarray(turn_pos) + 1
        batch.frames_BN[b, :turns] = session.frames_N
        if session.phase_N3 is not None:
            batch.phase_BN3[b, :turns] = session.phase_N3
