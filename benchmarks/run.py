# SPDX-License-Identifier: Apache-2.0
"""Measures a step of the shipped model on this machine: `make bench`.

Leaves out/bench/results.json. Every step hears noise and its own voice and sees a picture; the
share that speaks is forced, so that the flow head and the vocoder are measured too.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from interaction_node.model.interface import TURN_S, TURN_SAMPLES, MicroTurn
from interaction_node.model.session import load_session


def measure(turns: int, device: str, threads: int) -> dict:
    """Steps a session and returns the figures, milliseconds."""
    session = load_session(device=device, threads=threads)
    rng = np.random.default_rng(0)
    pcm = rng.integers(-3000, 3000, (8, TURN_SAMPLES)).astype(np.int16)
    frames = rng.integers(0, 255, (8, 2, 240, 320, 3)).astype(np.uint8)
    steps, speech = [], []
    for index in tqdm(range(turns), unit='turn', desc='step'):
        turn = MicroTurn(index, index * TURN_S, pcm[index % 8], pcm[index % 7], frames[index % 8])
        steps.append(session.step(turn).timing.total_ms)
        begun = time.perf_counter()
        session._voice.speak(['seven'] if index % 3 == 0 else [], None)
        speech.append((time.perf_counter() - begun) * 1e3)
    session.close()
    both = np.add(steps, speech)
    figures = {'device': platform.processor() or platform.machine(), 'torch': torch.__version__}
    for name, values in (('step', steps), ('speech', speech), ('step_and_speech', both)):
        for percent in (50, 99):
            figures[f'{name}_ms_p{percent}'] = round(float(np.percentile(values, percent)), 2)
    return figures


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--turns', type=int, default=600)
    parser.add_argument('--device', default='auto')
    parser.add_argument('--threads', type=int, default=0)
    parser.add_argument('--output', type=Path, default=Path('out/bench/results.json'))
    options = parser.parse_args()
    figures = measure(options.turns, options.device, options.threads)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')
    print(json.dumps(figures, indent=1))


if __name__ == '__main__':
    main()
