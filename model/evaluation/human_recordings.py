# SPDX-License-Identifier: Apache-2.0
"""Recordings of people that Debian packages carry; `scripts/fetch_human_speech.sh` gets them.

They are for tests only. No model here was or may be trained on them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from ..data.bank import Clip
from ..data.phrases import grammar, number_words
from ..interface import SAMPLE_RATE_HZ

_ALLISON = Path('usr/share/asterisk/sounds/en_US_f_Allison')
_SPHINX = Path('usr/share/pocketsphinx/test/data')
_QUIET_DB = -34.0  # below the loudest 10 ms: no speech
_NO_SPEECH = ('beep', 'tone', 'monkeys', 'jingle')
# (file, start, end) in seconds, found by forced alignment; all one man.
_GO_FORWARD = ('goforward.raw', 0.43, 1.17)
_METERS = ('goforward.raw', 1.53, 2.12)
_NUMBERS = {
    10: [('goforward.raw', 1.17, 1.53)],
    2: [('tidigits/dhd.2934z.raw', 0.21, 0.40)],
    3: [('tidigits/dhd.2934z.raw', 0.65, 0.88)],
    4: [('tidigits/dhd.2934z.raw', 0.88, 1.13), ('numbers.raw', 1.19, 1.61)],
    6: [('numbers.raw', 1.92, 2.38)],
    9: [('tidigits/dhd.2934z.raw', 0.40, 0.65)],
}


class HumanRecordings:
    """What people say in them.

    Args:
        root: Where the packages were unpacked.

    Attributes:
        cues: The 26 words of the spelling alphabet, by one woman, 8 kHz.
        digits: Zero to ten, by her.
        commands: "go forward ... meters" by one man, 16 kHz; what is spliced is kind 'spliced'.
        sentences: Things that are not meant for a robot, by her and a reader of books.

    Raises:
        FileNotFoundError: They are not there.
    """

    def __init__(self, root: Path):
        if not (root / 'complete').exists():
            raise FileNotFoundError(
                f'{root}: no recordings; scripts/fetch_human_speech.sh gets them'
            )
        self._root = root
        words = {word[0]: word for word in grammar()['slots']['cue']}
        self.cues = {
            words[letter]: self._allison(f'phonetic/{letter}_p.wav', words[letter])
            for letter in ascii_lowercase
        }
        self.digits = [self._allison(f'digits/{n}.wav', number_words(n)) for n in range(11)]
        self.commands = [
            self._command(metres, part) for metres, parts in _NUMBERS.items() for part in parts
        ]
        self.sentences = self._sentences()

    def _allison(self, name: str, text: str) -> Clip:
        return _clip(
            _trimmed(_read(self._root / _ALLISON / name)), text, 'cue_word', 'human-allison'
        )

    def _part(self, part: tuple[str, float, float]) -> np.ndarray:
        name, first, last = part
        whole = np.fromfile(self._root / _SPHINX / name, np.int16).astype(np.float32) / 32768
        piece = whole[round(first * SAMPLE_RATE_HZ) : round(last * SAMPLE_RATE_HZ)]
        return piece * np.float32(0.05 / (np.sqrt((piece**2).mean()) + 1e-6))

    def _command(self, metres: int, part: tuple[str, float, float]) -> Clip:
        if part[0] == _GO_FORWARD[0]:
            samples = self._part((part[0], _GO_FORWARD[1], _METERS[2]))
        else:
            gap = np.zeros(SAMPLE_RATE_HZ // 50, np.float32)
            pieces = [self._part(_GO_FORWARD), gap, self._part(part), gap, self._part(_METERS)]
            samples = np.concatenate(pieces)
        meaning = {'skill': 'move', 'arguments': {'direction': 'forward', 'distance_m': metres}}
        text = f'go forward {number_words(metres)} meters'
        return _clip(samples, text, 'command', 'human-dhd', meaning)

    def _sentences(self) -> list[Clip]:
        found = sorted((self._root / _ALLISON).glob('*.wav'))
        found = [p for p in found if not any(word in p.stem for word in _NO_SPEECH)]
        found += sorted((self._root / _SPHINX).glob('*/*.wav'))
        found = [path for path in found if _seconds(path) < 12]
        return [_clip(_trimmed(_read(path)), '', 'chatter', 'human-others') for path in found]


@cache
def recordings(root: Path) -> HumanRecordings:
    """The recordings, read once."""
    return HumanRecordings(root)


def _seconds(path: Path) -> float:
    import soundfile

    return float(soundfile.info(path).duration)


def _read(path: Path) -> np.ndarray:
    """(n,) float32 at 16 kHz."""
    import soundfile
    import soxr

    samples, rate_hz = soundfile.read(path, dtype='float32')
    return soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ)


def _trimmed(samples: np.ndarray) -> np.ndarray:
    """Without the silence at both ends, but for 30 ms."""
    frame = SAMPLE_RATE_HZ // 100
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    level = np.sqrt((frames**2).mean(axis=1)) + 1e-9
    loud = np.flatnonzero(20 * np.log10(level / level.max()) > _QUIET_DB)
    return samples[max(0, loud[0] - 3) * frame : (loud[-1] + 4) * frame]


def _clip(samples: np.ndarray, text: str, kind: str, voice: str, meaning=None) -> Clip:
    pcm = np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16)
    length_s = len(pcm) / SAMPLE_RATE_HZ
    words = ((text, 0.03, length_s - 0.03),) if kind == 'cue_word' else ()
    return Clip(
        audio=pcm, text=text, kind=kind, meaning=meaning or {}, voice=voice, engine='human',
        natural=True, split='test', text_split='test', words=words, aligned=True,
    )  # fmt: skip
