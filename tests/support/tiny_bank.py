# SPDX-License-Identifier: Apache-2.0
"""A phrase bank of tones: enough words for every stand-in set, made in a moment."""

from random import Random

import numpy as np

from interaction_node.model.data.bank import Clip, write_shard
from interaction_node.model.data.phrases import fixed_phrases, sample

WORD_S, MARGIN_S, RATE_HZ = 0.2, 0.03, 16_000
KINDS = {
    'cue_set': 50,
    'running_speech': 40,
    'time_set': 240,
    'count_set': 160,
    'command': 30,
    'ambiguous': 5,
    'chatter': 12,
    'backchannel': 12,
    'interruption': 10,
    'cue_cancel': 4,
    'delegate': 12,
    'visual_count_set': 10,
    'visual_start_stop_set': 8,
    'visual_trigger_set': 12,
}
VOICES = ('kokoro-af_test', 'espeak-test')


def clip(phrase, voice, rng, split='test'):
    """A phrase as a row of tones, one a word."""
    words = phrase.text.split()
    length = round((len(words) * WORD_S + 2 * MARGIN_S) * RATE_HZ)
    times = np.arange(length) / RATE_HZ
    audio = 2000 * np.sin(2 * np.pi * rng.uniform(150, 900) * times)
    starts = [MARGIN_S + WORD_S * i for i in range(len(words))]
    return Clip(
        audio=audio.astype(np.int16),
        text=phrase.text,
        kind=phrase.kind,
        meaning=phrase.meaning,
        voice=voice,
        engine=voice.partition('-')[0],
        natural=voice.startswith('kokoro'),
        split=split,
        text_split=phrase.split,
        words=tuple((w, t, t + WORD_S) for w, t in zip(words, starts, strict=True)),
        aligned=True,
    )


def write_tiny_bank(root):
    """Writes test voices and a robot below a folder; returns it."""
    rng = np.random.default_rng(0)
    for number, voice in enumerate(VOICES):
        chance = Random(number)
        phrases = [sample(kind, chance, 'test') for kind, n in KINDS.items() for _ in range(n)]
        phrases += fixed_phrases('cue_word')
        clips = [clip(phrase, voice, rng) for phrase in phrases]
        write_shard(root / 'test' / f'{voice}-00000.npz', clips)
    results = [sample('robot_open', Random(i), 'test') for i in range(5)]
    said = [clip(phrase, 'piper-joe', rng, 'robot') for phrase in results]
    write_shard(root / 'robot' / 'piper-joe-00000.npz', said)
    return root
