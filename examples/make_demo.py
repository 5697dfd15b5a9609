# SPDX-License-Identifier: Apache-2.0
"""Makes the recording of the demonstration: a synthetic person speaks and moves for a minute.

The voices are held out from training (see docs/data.md). Run it where the speech engines are:
`scripts/setup_data.sh && PYTHONPATH=. .venv-data/bin/python examples/make_demo.py`
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import soundfile

from interaction_node.model.data.align import align
from interaction_node.model.data.scenes import Bout, SceneRenderer, SceneScript
from interaction_node.model.data.voices import find_voice, synthesise

RATE_HZ = 16_000
FOLDER = Path(__file__).parent / 'demo'
PERSON, BYSTANDER = 'kokoro-bm_george', 'kokoro-n'
LENGTH_S = 60.0
FPS = 15
SCALE = 2


@dataclass(frozen=True)
class Line:
    """Something that is said.

    Attributes:
        start_s: When it begins.
        text: The words.
        answer: First words of the answer expected; '' for none.
        trigger: The word whose end counts; '' for the last.
        skill: Skill that the robot should be asked for; '' for none.
        delegates: Whether it is for the planner.
        voice: Who says it.
        gain_db: Level.
    """

    start_s: float
    text: str
    answer: str = ''
    trigger: str = ''
    skill: str = ''
    delegates: bool = False
    voice: str = PERSON
    gain_db: float = 0.0


LINES = (
    Line(1.0, 'hello robot', 'hello'),
    Line(4.0, 'when you hear kilo say seven'),
    Line(8.0, 'kilo', 'seven'),
    Line(12.0, 'count to ten', 'one'),
    Line(15.6, 'mm hmm'),
    Line(17.8, 'stop', 'stopped', skill='stop'),
    Line(22.0, 'go to the kitchen', 'okay', skill='navigate_to'),
    Line(26.0, 'mary we should leave at nine', voice=BYSTANDER, gain_db=-8.0),
    Line(30.0, 'bring me the red cup', 'okay', skill='bring'),
    Line(34.0, 'robot what is the best way to cook rice', 'one', delegates=True),
    Line(46.0, 'follow me', 'okay', skill='follow'),
    Line(50.0, 'good morning robot', 'good'),
    Line(54.0, 'thank you robot', "you're"),
)
BOUTS = (Bout(100, 50, 3), Bout(2550, 55, 4))  # waves at the beginning and at the end


def speech() -> tuple[np.ndarray, list[dict]]:
    """The sound, and what was said when."""
    rng = np.random.default_rng(7)
    mixed = rng.standard_normal(int(LENGTH_S * RATE_HZ)) * 10 ** (-66 / 20)
    script = []
    for line in LINES:
        pcm = synthesise(find_voice(line.voice), line.text, seed=4)
        samples = pcm.astype(np.float64) / 32768
        samples *= 10 ** (line.gain_db / 20)
        first = int(line.start_s * RATE_HZ)
        mixed[first : first + len(samples)] += samples
        end_s = line.start_s + _trigger_end_s(line, pcm)
        script.append(
            {
                'start': line.start_s,
                'end': round(end_s, 3),
                'text': line.text,
                'answer': line.answer,
                'skill': line.skill,
                'delegates': line.delegates,
            }
        )
    return np.clip(mixed, -1, 1), script


def _trigger_end_s(line: Line, pcm: np.ndarray) -> float:
    """When the robot could know what is wanted: the end of the trigger word, or of the line."""
    if line.trigger:
        return next(end for word, _, end in align(pcm, line.text).words if word == line.trigger)
    loud = np.flatnonzero(np.abs(pcm) > 0.02 * np.abs(pcm).max())
    return (int(loud[-1]) + 1) / RATE_HZ


def film(path: Path) -> None:
    """Draws the person and writes the video."""
    renderer = SceneRenderer(SceneScript('waves', list(BOUTS)), np.random.default_rng(21))
    renderer.noise = 0.8  # noise costs megabytes
    size = (120 * SCALE, 80 * SCALE)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), FPS, size)
    for number in range(int(LENGTH_S * FPS)):
        picture = renderer.picture(number / FPS * 50)
        large = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        writer.write(cv2.cvtColor(large, cv2.COLOR_RGB2BGR))
    writer.release()


def main() -> None:
    """Writes input.wav, video.mp4 and script.json."""
    FOLDER.mkdir(exist_ok=True)
    sound, script = speech()
    soundfile.write(FOLDER / 'input.wav', sound, RATE_HZ, subtype='PCM_16')
    (FOLDER / 'script.json').write_text(json.dumps(script, indent=1) + '\n', encoding='utf-8')
    film(FOLDER / 'video.mp4')


if __name__ == '__main__':
    main()
