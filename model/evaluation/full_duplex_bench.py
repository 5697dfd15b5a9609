# SPDX-License-Identifier: Apache-2.0
"""The folders of Full-Duplex-Bench v1 and v1.5, read and written, so that its real data drops in.

v1_0/TASK/ID holds input.wav, transcription.json ([{"speaker", "item": [{"text", "timestamp"}]}])
and, by task, pause.json, turn_taking.json or interrupt.json ([{"text" | "context" and "interrupt",
"timestamp": [start, end]}]), for interruptions also context.wav and interrupt.wav. v1_5/TASK/ID
holds input.wav, clean_input.wav (without what overlaps) and metadata.json ({"context_text",
"current_turn_text", "timestamps"}). What a system said goes beside it: output.wav, aligned with
input.wav, and output.json ({"text", "chunks": [{"text", "timestamp"}]}); after an interruption of
v1, only what was said from its end on. Source: the benchmark's own README files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..interface import SAMPLE_RATE_HZ
from ..metrics import Word

# Folder of the task: what this package calls it.
V1_TASKS = {
    'candor_turn_taking': 'turn',
    'candor_pause_handling': 'pause_natural',
    'icc_backchannel': 'backchannel',
    'synthetic_pause_handling': 'pause_synthetic',
    'synthetic_user_interruption': 'interruption',
}
V15_TASKS = ('user_interruption', 'user_backchannel', 'talking_to_other', 'background_speech')
_FOLDER_OF = {task: folder for folder, task in V1_TASKS.items()}
_MARKS = {'pause_natural': '[PAUSE]', 'pause_synthetic': '[PAUSE]', 'turn': '[TURN-TAKING]'}
_FILES = {'pause_natural': 'pause', 'pause_synthetic': 'pause', 'turn': 'turn_taking'}


@dataclass
class BenchSample:
    """One folder.

    Attributes:
        task: As in `turn_taking.TASKS` or `V15_TASKS`.
        pcm: (n,) int16 at 16 kHz.
        spans: (start, end) in seconds: the pauses; from the end of the turn to the next word; the
            interruption; what overlaps. Empty for backchannels.
        texts: (context, interruption), where there is one.
        transcript: (word, start, end) of the user.
        clean_pcm: v1.5: the input without what overlaps.
        folder: Where it was read from.
    """

    task: str
    pcm: np.ndarray
    spans: tuple[tuple[float, float], ...] = ()
    texts: tuple[str, str] = ('', '')
    transcript: tuple[tuple[str, float, float], ...] = ()
    clean_pcm: np.ndarray | None = None
    folder: Path = field(default_factory=Path)

    @property
    def is_v15(self) -> bool:
        """Whether it belongs to v1.5."""
        return self.task in V15_TASKS

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / SAMPLE_RATE_HZ

    @property
    def truth(self) -> dict:
        """What `turn_taking.judge_words` needs to know."""
        end_s = {'turn': 0, 'interruption': 1}.get(self.task)
        return {} if end_s is None else {'end_s': self.spans[0][end_s]}


def read(root: Path) -> Iterator[BenchSample]:
    """Reads all samples below a folder: of a whole release, of a version, or of one task.

    Raises:
        ValueError: There is none, or a file is not as it should be; the message names it.
    """
    known = [*V1_TASKS, *V15_TASKS]
    folders = [root] if root.name in known else [p for n in known for p in sorted(root.rglob(n))]
    found = [
        s for folder in folders for s in sorted(folder.iterdir(), key=_by_number) if s.is_dir()
    ]
    if not found:
        raise ValueError(f'{root}: expected folders named {", ".join(known)} with samples in them')
    for folder in found:
        yield read_sample(folder)


def _by_number(path: Path) -> tuple[int, str]:
    return (int(path.name) if path.name.isdigit() else 1 << 30, path.name)


def read_sample(folder: Path) -> BenchSample:
    """Reads one sample; its task is the name of the folder above.

    Raises:
        ValueError: A file is missing or not as it should be; the message names it.
    """
    name = folder.parent.name
    if name not in V1_TASKS and name not in V15_TASKS:
        raise ValueError(f'{folder}: its parent is no task of Full-Duplex-Bench')
    task = V1_TASKS.get(name, name)
    pcm, words = _read_wav(folder / 'input.wav'), _transcript(folder / 'transcription.json')
    if task in V15_TASKS:
        data = _read_json(folder / 'metadata.json')
        clean = folder / 'clean_input.wav'
        return BenchSample(
            task,
            pcm,
            (_span(data, 'timestamps', folder),),
            (str(data.get('context_text', '')), str(data.get('current_turn_text', ''))),
            words,
            _read_wav(clean) if clean.exists() else None,
            folder,
        )
    if task == 'backchannel':
        return BenchSample(task, pcm, transcript=words, folder=folder)
    path = folder / f'{_FILES.get(task, "interrupt")}.json'
    marks = _read_json(path)
    if not isinstance(marks, list) or not marks:
        raise ValueError(f'{path}: expected a list of marks')
    texts = (str(marks[0].get('context', '')), str(marks[0].get('interrupt', '')))
    spans = tuple(_span(mark, 'timestamp', path) for mark in marks)
    return BenchSample(task, pcm, spans, texts, words, folder=folder)


def write(root: Path, number: int, sample: BenchSample) -> Path:
    """Writes a sample in the layout of its version.

    Args:
        root: Folder that gets v1_0 or v1_5.
        number: Name of the sample's folder.
        sample: What to write.

    Returns:
        The sample's folder.
    """
    version = 'v1_5' if sample.is_v15 else 'v1_0'
    folder = root / version / _FOLDER_OF.get(sample.task, sample.task) / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    _write_wav(folder / 'input.wav', sample.pcm)
    spans = [list(span) for span in sample.spans]
    if sample.is_v15:
        clean = sample.pcm if sample.clean_pcm is None else sample.clean_pcm
        _write_wav(folder / 'clean_input.wav', clean)
        context, now = sample.texts
        data = {'context_text': context, 'current_turn_text': now, 'timestamps': spans[0]}
        _write_json(folder / 'metadata.json', data)
        return folder
    items = [{'text': text, 'timestamp': [start, end]} for text, start, end in sample.transcript]
    _write_json(folder / 'transcription.json', [{'speaker': 0, 'item': items}])
    if sample.task == 'interruption':
        _write_interruption(folder, sample)
    elif sample.task in _FILES:
        marks = [{'text': _MARKS[sample.task], 'timestamp': span} for span in spans]
        _write_json(folder / f'{_FILES[sample.task]}.json', marks)
    return folder


def _write_interruption(folder: Path, sample: BenchSample) -> None:
    context, interrupt = sample.texts
    first, last = (round(t * SAMPLE_RATE_HZ) for t in sample.spans[0])
    _write_wav(folder / 'context.wav', sample.pcm[:first])
    _write_wav(folder / 'interrupt.wav', sample.pcm[first:last])
    mark = {'context': context, 'interrupt': interrupt, 'timestamp': list(sample.spans[0])}
    _write_json(folder / 'interrupt.json', [mark])


def write_output(
    folder: Path, sample: BenchSample, pcm: np.ndarray, words: Sequence[Word], clean: bool = False
) -> None:
    """Writes what a model said: output.wav and output.json, or clean_output of v1.5.

    Args:
        folder: The sample's folder.
        sample: What it heard.
        pcm: (n,) int16, its voice; cut or filled up to the length of the input.
        words: Its words.
        clean: Whether it heard the clean input.
    """
    heard = sample.clean_pcm if clean and sample.clean_pcm is not None else sample.pcm
    after_s = sample.truth['end_s'] if sample.task == 'interruption' else 0.0
    kept = [w for w in words if after_s <= w.start < len(heard) / SAMPLE_RATE_HZ]
    chunks = [{'text': word.text, 'timestamp': [word.start, word.end]} for word in kept]
    name = 'clean_output' if clean else 'output'
    fitted = np.zeros(len(heard), np.int16)
    fitted[: len(pcm)] = pcm[: len(heard)]
    _write_wav(folder / f'{name}.wav', fitted)
    text = ' '.join(word.text for word in kept)
    _write_json(folder / f'{name}.json', {'text': text, 'chunks': chunks})


def read_output(folder: Path, name: str = 'output') -> list[Word]:
    """Words of an output.json, from any system.

    Raises:
        ValueError: It is missing or not as it should be.
    """
    data = _read_json(folder / f'{name}.json')
    spans = (_span(chunk, 'timestamp', folder / name) for chunk in data['chunks'])
    texts = (str(chunk['text']).strip() for chunk in data['chunks'])
    return [Word(text, *span) for text, span in zip(texts, spans, strict=True)]


def _transcript(path: Path) -> tuple[tuple[str, float, float], ...]:
    if not path.exists():
        return ()
    items = (item for speaker in _read_json(path) for item in speaker['item'])
    return tuple((str(item['text']), *_span(item, 'timestamp', path)) for item in items)


def _span(data: Any, key: str, path: Path) -> tuple[float, float]:
    try:
        start, end = data[key]
        return float(start), float(start if end is None else end)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f'{path}: expected {key!r} to be [start, end] in seconds') from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text('utf-8'))
    except FileNotFoundError:
        raise ValueError(f'{path} is missing') from None
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is no JSON: {error}') from None


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=4) + '\n', 'utf-8')


def _read_wav(path: Path) -> np.ndarray:
    """(n,) int16 at 16 kHz mono, from any rate and number of channels."""
    import soundfile
    import soxr

    try:
        samples, rate_hz = soundfile.read(path, dtype='int16', always_2d=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(f'{path} can not be read as sound: {error}') from None
    if samples.shape[1] == 1 and rate_hz == SAMPLE_RATE_HZ:
        return samples[:, 0]
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0].astype(float)
    return np.clip(np.round(soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)), -32768, 32767).astype(
        np.int16
    )


def _write_wav(path: Path, pcm: np.ndarray) -> None:
    import soundfile

    soundfile.write(path, pcm, SAMPLE_RATE_HZ, subtype='PCM_16')
