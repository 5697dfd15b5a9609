# SPDX-License-Identifier: Apache-2.0
"""The queue between speech that arrives over the network and a loudspeaker that never waits.

Pure: no thread, no clock, no device of its own. A sound callback calls `render` with the time at
which the samples will sound.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

# Speech that goes on and is due at most this much later is played on without a gap: the clocks of
# stamps and of the loudspeaker differ a little.
JOIN_S = 0.02


@dataclass
class QueuedSpeech:
    """A piece of speech that waits to be played.

    Attributes:
        utterance_id: The utterance that it belongs to.
        sequence: Its number within the utterance.
        pcm: (N,) int16; may be empty where only the end of the utterance is told.
        due_s: When its first sample should sound, on the clock of `PlayOut.render`.
        last: True where the utterance ends with it.
    """

    utterance_id: str
    sequence: int
    pcm: np.ndarray
    due_s: float
    last: bool = False
    position: int = field(default=0, init=False)

    @property
    def remaining(self) -> int:
        """Samples that have not been played."""
        return len(self.pcm) - self.position


@dataclass(frozen=True)
class PlayedSpeech:
    """What really sounded, or that an utterance is over.

    Attributes:
        utterance_id: The utterance.
        sequence: Number of the piece that the samples belong to.
        offset: Samples from the start of the rendered block to the first of these.
        pcm: (N,) int16 as they sounded, fades included; empty where only an end is told.
        played: Samples of the utterance that sounded so far, these included.
        flushed: True where a flush cut the utterance short.
        done: True where nothing more of the utterance will sound.
    """

    utterance_id: str
    sequence: int
    offset: int
    pcm: np.ndarray
    played: int
    flushed: bool = False
    done: bool = False


class PlayOut:
    """Plays speech in order as soon as it is due; silence where there is none.

    Sound fades in where it starts and out where it ends without a continuation or is flushed, so
    that nothing clicks. Pieces that follow each other pass bit for bit. Safe for two threads: one
    that pushes and flushes, one that renders.
    """

    def __init__(
        self,
        rate_hz: int = 16_000,
        fade_ms: float = 5.0,
        hold_ms: float = 0.0,
        queue_s: float = 30.0,
        flush_fade_ms: float | None = None,
    ) -> None:
        """Starts silent.

        Args:
            rate_hz: Sampling rate.
            fade_ms: Length of a fade.
            hold_ms: What arrives too late plays this much after its arrival at the earliest, where
                silence is before it; keeps a later piece that is even later from leaving a gap.
            queue_s: Speech that the queue holds at most.
            flush_fade_ms: Length of the fade at a flush, None for `fade_ms`.

        Raises:
            ValueError: A number is out of range.
        """
        for name, value in (('rate_hz', rate_hz), ('queue_s', queue_s)):
            if value <= 0:
                raise ValueError(f'{name} is {value}; expected more than 0')
        for name, value in (('fade_ms', fade_ms), ('hold_ms', hold_ms)):
            if value < 0:
                raise ValueError(f'{name} is {value}; expected at least 0')
        self._rate_hz = rate_hz
        self._fade = max(1, round(fade_ms * rate_hz / 1_000))
        flush_fade_ms = fade_ms if flush_fade_ms is None else flush_fade_ms
        self._flush_fade = max(1, round(flush_fade_ms * rate_hz / 1_000))
        self._hold_s = hold_ms / 1_000
        self._capacity = round(queue_s * rate_hz)
        self._queue: deque[QueuedSpeech] = deque()
        self._queued = 0
        self._gain = 0.0
        self._current: tuple[str, int] | None = None  # open utterance and its last sequence
        self._played = 0
        self._ended: list[PlayedSpeech] = []
        self._flushing = False
        self._lock = threading.Lock()

    @property
    def queued_samples(self) -> int:
        """Samples that wait to be played."""
        return self._queued

    def push(self, speech: QueuedSpeech, now_s: float = -math.inf) -> bool:
        """Queues speech behind what is there.

        Args:
            speech: The piece.
            now_s: The time now, on the clock of `due_s`.

        Returns:
            False where the queue is full and the piece was dropped.
        """
        with self._lock:
            if self._queued + len(speech.pcm) > self._capacity:
                return False
            if not self._queue:  # only what may start out of silence is held back
                speech.due_s = max(speech.due_s, now_s + self._hold_s)
            self._queue.append(speech)
            self._queued += len(speech.pcm)
            return True

    def flush(self) -> None:
        """Drops everything that is queued; what sounds fades out at once."""
        with self._lock:
            self._flush_queue()

    def drop(self) -> list[PlayedSpeech]:
        """Drops everything without a fade, for a device that is gone.

        Returns:
            How the utterances ended.
        """
        with self._lock:
            self._gain = 0.0
            self._flush_queue()
            ended, self._ended = self._ended, []
            return ended

    def render(self, count: int, start_s: float) -> tuple[np.ndarray, list[PlayedSpeech]]:
        """Makes the next samples for the loudspeaker.

        Args:
            count: Number of samples.
            start_s: When the first of them will sound.

        Returns:
            (count,) int16, and what of it is speech, in order.
        """
        out = np.zeros(count, np.int16)
        with self._lock:
            played, self._ended = self._ended, []
            at = 0
            while self._queue and at < count:
                at += self._wait(start_s + at / self._rate_hz, count - at)
                if at < count:
                    pcm = self._take(count - at, start_s + at / self._rate_hz)
                    out[at : at + len(pcm)] = pcm
                    played += self._report(pcm, at)
                    at += len(pcm)
        return out, played

    def _wait(self, now_s: float, most: int) -> int:
        """Returns the samples of silence before the head of the queue may sound."""
        head = self._queue[0]
        early_s = head.due_s - now_s
        if head.position or (self._goes_on(head) and early_s <= JOIN_S and self._gain):
            return 0
        silent = min(most, max(0, math.ceil(early_s * self._rate_hz - 1e-6)))
        if silent:
            self._gain = 0.0
        return silent

    def _take(self, most: int, now_s: float) -> np.ndarray:
        """Takes up to `most` samples from the head of the queue, faded where need be."""
        head = self._queue[0]
        count = min(most, head.remaining)
        pcm = head.pcm[head.position : head.position + count]
        gain = self._gains(count, self._unbroken(count + self._fade, now_s))
        head.position += count
        self._queued -= count
        if gain is None:
            return pcm
        self._gain = float(gain[-1]) if count else self._gain
        return np.rint(pcm * gain).astype(np.int16)

    def _gains(self, count: int, unbroken: int) -> np.ndarray | None:
        """Returns (count,) gains for sound of `unbroken` samples; None if all are 1."""
        if self._gain == 1.0 and unbroken - count >= self._fade:
            return None
        rising = self._gain + np.arange(1, count + 1) / self._fade
        fade = self._flush_fade if self._flushing else self._fade
        falling = (unbroken - 1 - np.arange(count)) / fade
        return np.minimum(1.0, np.minimum(rising, falling))

    def _unbroken(self, enough: int, now_s: float) -> int:
        """Counts the samples that follow each other without a gap, up to about `enough`."""
        head = self._queue[0]
        total = head.remaining
        for item in islice(self._queue, 1, None):
            end_s = now_s + total / self._rate_hz
            broken = head.last or self._flushing or item.utterance_id != head.utterance_id
            if total >= enough or broken or item.due_s > end_s + JOIN_S:
                break
            total += item.remaining
            head = item
        return total

    def _goes_on(self, speech: QueuedSpeech) -> bool:
        return self._current is not None and self._current[0] == speech.utterance_id

    def _report(self, pcm: np.ndarray, offset: int) -> Iterator[PlayedSpeech]:
        """Says what was just taken from the head of the queue; removes a head that is over."""
        head = self._queue[0]
        if not self._goes_on(head):
            self._played = 0
        self._played += len(pcm)
        self._current = (head.utterance_id, head.sequence)
        over = head.remaining == 0
        flushed = over and self._flushing
        done = over and (head.last or flushed)
        if over:
            self._queue.popleft()
            self._flushing = False
        if len(pcm) or done:
            yield PlayedSpeech(
                head.utterance_id, head.sequence, offset, pcm, self._played, flushed, done
            )
        if done:
            self._current = None

    def _flush_queue(self) -> None:
        """Keeps of the queue only the fade of what sounds, and notes which utterances end."""
        head = self._queue[0] if self._queue else None
        keep = head if head is not None and self._sounds(head) else None
        dropped = list(self._queue)
        self._queue.clear()
        self._queued = 0
        self._flushing = keep is not None
        if keep is not None:
            same = [item.pcm for item in dropped[1:] if item.utterance_id == keep.utterance_id]
            whole = np.concatenate([keep.pcm, *same])
            keep.pcm = whole[: keep.position + self._fade_left()]
            self._queue.append(keep)
            self._queued = keep.remaining
        self._end_dropped(dropped, keep)

    def _sounds(self, head: QueuedSpeech) -> bool:
        return self._gain > 0.0 and (head.position > 0 or self._goes_on(head))

    def _fade_left(self) -> int:
        """Samples in which the present gain falls to nothing."""
        return max(1, round(self._gain * self._flush_fade))

    def _end_dropped(self, dropped: list[QueuedSpeech], keep: QueuedSpeech | None) -> None:
        """Reports the end of each utterance that was dropped, except of the one that fades."""
        open_id = keep.utterance_id if keep is not None else None
        ended = {}
        if self._current is not None and self._current[0] != open_id:
            ended[self._current[0]] = (self._current[1], self._played)
            self._current = None
        for item in dropped:
            if item.utterance_id != open_id:
                ended.setdefault(item.utterance_id, (item.sequence, 0))
        nothing = np.zeros(0, np.int16)
        self._ended += [
            PlayedSpeech(name, sequence, 0, nothing, played, flushed=True, done=True)
            for name, (sequence, played) in ended.items()
        ]
