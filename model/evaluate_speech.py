# SPDX-License-Identifier: Apache-2.0
"""Writes what the flow head says, beside the recordings it learnt from, for judges to listen to.

`make voice` calls it, and then the judges. Folders: source (the synthesiser), vocoded (its features
through the vocoder), flow (from words). Each holds WAV files and texts.json ({name: {text, kind}}),
which judge_speech.py reads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from tqdm import tqdm

from interaction_node.model import speech_features as sf
from interaction_node.model.checkpoint import load_checkpoint
from interaction_node.model.data import open_talk
from interaction_node.model.data.bank import DEFAULT_ROOT, Bank
from interaction_node.model.data.pack import shipped_bank
from interaction_node.model.open_voice import OpenVoice
from interaction_node.model.session import DEFAULT_CHECKPOINT
from interaction_node.model.speech_out import SamplerConfig, SpeechOut

UNSEEN = (
    'rabbits hide beneath wooden bridges',
    'the pilot landed smoothly despite heavy fog',
    'my grandson collects foreign coins',
    'please sharpen these pencils tomorrow',
    'a gentle breeze moved across the meadow',
    'seven monkeys stole the picnic basket',
    'dragons never visit the library',
    'the professor lost his leather gloves',
    'fresh strawberries taste wonderful',
    'thunder scared the little puppies',
    'every winter the old farmer repairs his wooden fence',
    'she whispered a secret about the hidden treasure',
    'nobody believed his strange excuse',
    'bright lanterns floated above the harbour',
    'the orchestra rehearsed until midnight',
    'heavy snow blocked the narrow mountain pass',
    'their cousin paints enormous wooden masks',
    'fishermen untangle nets before sunrise',
    'spicy noodles burned his tongue',
    'a curious squirrel buried twelve acorns',
)


@dataclass(frozen=True)
class Sample:
    """One recording to compare with.

    Attributes:
        name: File name.
        kind: Group in which it is scored.
        text: Lower-case words.
        pcm: (N,) int16.
        words: (word, start in s), in order.
    """

    name: str
    kind: str
    text: str
    pcm: np.ndarray
    words: tuple[tuple[str, float], ...]


def samples(roots: list[Path], count: int) -> Iterator[Sample]:
    """Evenly spread recordings of each kind; of composed sentences only those never trained on."""
    clips = [clip for root in roots for clip in Bank.load(root, 'robot') if clip.aligned]
    # Sentences in all words of English are there to learn from; `unseen` has those that are judged.
    for kind in sorted({clip.kind for clip in clips} - {open_talk.KIND}):
        chosen = {
            clip.text: clip
            for clip in clips
            if clip.kind == kind and (kind != 'robot_open' or clip.text_split == 'test')
        }
        texts = sorted(chosen)
        for i in np.unique(np.linspace(0, len(texts) - 1, min(count, len(texts))).astype(int)):
            clip = chosen[texts[i]]
            words = tuple((word, start_s) for word, start_s, _ in clip.words)
            yield Sample(f'{kind}-{i:04d}', kind, clip.text, clip.audio, words)


def unseen(voice: OpenVoice) -> Iterator[Sample]:
    """Sentences full of words that were never trained on, spoken by the synthesiser."""
    for i, text in enumerate(UNSEEN):
        spoken = voice.say(text)
        words = tuple((word, start_s) for word, start_s, _ in spoken.words)
        yield Sample(f'unseen-{i:04d}', 'unseen', text, spoken.pcm, words)


def render(speech: SpeechOut, sample: Sample, seed: int) -> tuple[np.ndarray, float, int]:
    """Lets the head speak with the recording's word times; stops with the recording.

    Returns:
        int16 samples, time per block in seconds, blocks by which the end flag was off.
    """
    state = speech.start(seed)
    blocks = -(-len(sample.pcm) // sf.BLOCK_SAMPLES)
    made, ended, began = [], blocks + 2, time.perf_counter()
    for block in range(blocks + 1):
        begin_s, end_s = block * 0.2, (block + 1) * 0.2
        last = block == blocks
        words = [w for w, at in sample.words if begin_s <= at < end_s or (last and at >= end_s)]
        made.append(speech.speak(state, words))
        if state.ended > 0.5 and end_s > sample.words[-1][1]:
            ended = min(ended, block + 1)
    return np.concatenate(made), (time.perf_counter() - began) / (blocks + 1), ended - blocks


def vocode(speech: SpeechOut, sample: Sample) -> np.ndarray:
    """Sends a recording's features through the vocoder, int16."""
    wave = np.pad(sample.pcm.astype(np.float32) / 32768, (0, sf.HOP))
    made, _ = speech.vocoder(sf.features(wave)[None], speech.vocoder.start())
    return np.round(made[0].numpy().clip(-1, 1) * 32767).astype(np.int16)


def mel_distance_db(made: np.ndarray, true: np.ndarray) -> float:
    """Mean absolute difference of log-mels where the true one is not silent, dB."""
    n = min(len(made), len(true)) // sf.HOP * sf.HOP
    mels = [
        sf.log_mel(torch.from_numpy(x[None, :n].astype(np.float32) / 32768)) for x in (made, true)
    ]
    heard = (mels[1] > -6).float()
    return float(((mels[0] - mels[1]).abs() * heard).sum() / heard.sum().clamp_min(1)) * 8.686


def main(args: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--data',
        type=Path,
        nargs='+',
        help=f'phrase banks (default: {DEFAULT_ROOT}, else the clips that come along)',
    )
    parser.add_argument('--checkpoint', type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument('--output', type=Path, default=Path('out/speech'))
    parser.add_argument('--count', type=int, default=30, help='recordings of each kind')
    parser.add_argument('--steps', type=int, default=2)
    parser.add_argument('--temperature', type=float, default=SamplerConfig.temperature)
    parser.add_argument('--past-noise', type=float, default=SamplerConfig.past_noise)
    given = parser.parse_args(args)
    sampler = SamplerConfig(given.steps, given.temperature, given.past_noise)
    try:
        speech = SpeechOut.from_state(load_checkpoint(given.checkpoint)[2], sampler)
    except ValueError as error:
        parser.error(str(error))
    texts: dict[str, dict[str, str]] = {}
    costs, off, distances = [], [], []
    for name in ('source', 'vocoded', 'flow'):
        (given.output / name).mkdir(parents=True, exist_ok=True)
    voice = OpenVoice()
    own = [DEFAULT_ROOT] if (DEFAULT_ROOT / 'robot').is_dir() else [shipped_bank()]
    chosen = [*samples(given.data or own, given.count), *(unseen(voice) if voice.engine else ())]
    for sample in tqdm(chosen, desc='speaking', unit='phrase'):
        texts[sample.name] = {'text': sample.text, 'kind': sample.kind}
        flow, cost_s, late = render(speech, sample, len(texts))
        copied = vocode(speech, sample)
        for name, pcm in (('source', sample.pcm), ('vocoded', copied), ('flow', flow)):
            soundfile.write(given.output / name / f'{sample.name}.wav', pcm, sf.SAMPLE_RATE_HZ)
        costs.append(cost_s)
        off.append(late)
        distances.append((mel_distance_db(copied, sample.pcm), mel_distance_db(flow, sample.pcm)))
    voice.close()
    for name in ('source', 'vocoded', 'flow'):
        path = given.output / name / 'texts.json'
        path.write_text(json.dumps(texts, indent=0), encoding='utf-8')
    print(f'{len(texts)} phrases, {np.median(costs) * 1e3:.1f} ms a block (median)')
    exact, near = np.mean(np.array(off) == 0), np.mean(np.abs(off) < 2)
    print(f'end flag exact {exact:.2f}, within one block {near:.2f}')
    vocoded, flow = np.mean(distances, axis=0)
    print(f'log-mel distance to the source: vocoded {vocoded:.2f} dB, flow {flow:.2f} dB')


if __name__ == '__main__':
    main()
