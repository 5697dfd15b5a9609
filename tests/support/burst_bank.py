# SPDX-License-Identifier: Apache-2.0
"""A tiny phrase bank of noise bursts that stand in for words."""

import zlib
from random import Random

import numpy as np

from interaction_node.model.data import phrases
from interaction_node.model.data.bank import Clip, write_shard
from interaction_node.model.tokens import number_words

KINDS = [kind for kind in phrases.KINDS if not kind.startswith('robot')]


def burst_clip(text, kind, meaning, voice, split):
    """A clip in which every word is its own 200 ms of coloured noise."""
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    words, parts = [], [np.zeros(480)]
    for number, word in enumerate(text.split() or ['']):
        words.append((word, 0.03 + 0.25 * number, 0.23 + 0.25 * number))
        parts += [rng.standard_normal(3200) * 0.1, np.zeros(800)]
    audio = (np.concatenate(parts) * 8000).astype(np.int16)
    shared = 'shared' if split != 'robot' else 'train'
    return Clip(
        audio, text, kind, meaning, voice, 'bursts', True, split, shared, tuple(words), True
    )


def write_burst_bank(root, voices=('bursts-a', 'bursts-b'), each=12):
    """Writes a bank with `each` phrases of every kind from some voices, noise, and the robot."""
    rng = Random(1)
    for voice in voices:
        clips = []
        for kind in KINDS:
            for _ in range(each):
                phrase = phrases.sample(kind, rng)
                clips.append(burst_clip(phrase.text, kind, dict(phrase.meaning), voice, 'train'))
        write_shard(root / 'train' / f'{voice}-00000.npz', clips)
    noise = (np.random.default_rng(2).standard_normal(32_000) * 500).astype(np.int16)
    sound = Clip(noise, '', 'noise', {}, 'bursts-n', 'recording', True, 'train', 'train', (), False)
    write_shard(root / 'train' / 'bursts-n-00000.npz', [sound])
    kinds = ('robot_fixed', 'robot_see')
    fixed = [phrases.sample(kind, rng).text for kind in kinds for _ in range(2000)]
    answers = phrases.grammar()['slots']['answer']
    texts = {*fixed, *answers, *(number_words(n) for n in range(101))}
    robot = [burst_clip(text, 'robot_fixed', {}, 'piper-joe', 'robot') for text in sorted(texts)]
    robot.append(
        burst_clip('boil the rice for ten minutes', 'robot_open', {}, 'piper-joe', 'robot')
    )
    write_shard(root / 'robot' / 'piper-joe-00000.npz', robot)
    return root
