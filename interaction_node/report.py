# SPDX-License-Identifier: Apache-2.0
"""Makes a page, a picture, a sound file and a summary of a recording.

`python -m interaction_node.report --bag out/demo/session --output out/demo`
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import soundfile

from interaction_node.model.interface import SAMPLE_RATE_HZ
from interaction_node.report_latency import Latency, measure_latency, stop_latency_s
from interaction_node.report_picture import draw_timeline
from interaction_node.session_timeline import Timeline, read_timeline

PEAK_S = 0.025
PAGE = Path(__file__).with_name('report_page.html')


def write_report(
    bag: Path, folder: Path, script: list[dict] | None = None, title: str = ''
) -> dict:
    """Writes session.html, timeline.png, speech.wav and summary.json.

    Args:
        bag: Folder of a recording, or its MCAP file.
        folder: Where to write; made if needed.
        script: What was really said, [{'start', 'end', 'text'}] in seconds, for the latencies;
            None where nobody knows.
        title: Heading of the page; default the name of the bag.

    Returns:
        The summary.

    Raises:
        ValueError: The recording can't be read.
    """
    timeline = read_timeline(bag)
    latencies = measure_latency(timeline, script) if script else []
    summary = summarise(timeline, latencies)
    stop_s = stop_latency_s(timeline, script) if script else None
    summary['stop_latency_s'] = None if stop_s is None else round(stop_s, 4)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    soundfile.write(folder / 'speech.wav', timeline.robot, SAMPLE_RATE_HZ)
    draw_timeline(timeline, folder / 'timeline.png')
    (folder / 'session.html').write_text(_page(timeline, summary, title or bag.stem), 'utf-8')
    return summary


def summarise(timeline: Timeline, latencies: list[Latency]) -> dict:
    """The figures of a recording.

    Args:
        timeline: What happened.
        latencies: One for each answer to something of the script.

    Returns:
        JSON-ready; times in seconds or milliseconds as named.
    """
    steps = np.array([turn.step_ms for turn in timeline.turns] or [0.0])
    summary: dict = {
        'duration_s': round(timeline.duration_s, 2),
        'micro_turns': len(timeline.turns),
        'missed_deadlines': sum(turn.missed for turn in timeline.turns),
        'step_ms_p50': round(float(np.percentile(steps, 50)), 2),
        'step_ms_p99': round(float(np.percentile(steps, 99)), 2),
        'step_ms_max': round(float(steps.max()), 2),
        'response_latency_s_mean': None,
        'said': timeline.said,
        'intents': timeline.intents,
        'planner_results': timeline.plans,
        'heard': [mark.text for mark in timeline.marks if mark.kind == 'heard'],
    }
    if latencies:
        parts = {
            'response_latency_s_mean': [each.total_s for each in latencies],
            'response_wait_for_window_s_mean': [each.window_s for each in latencies],
            'response_decision_s_mean': [each.decision_s for each in latencies],
            'response_step_s_mean': [each.step_s for each in latencies],
            'response_transport_s_mean': [each.transport_s for each in latencies],
        }
        summary |= {name: round(float(np.mean(values)), 4) for name, values in parts.items()}
        summary['responses'] = [each.as_dict() for each in latencies]
    return summary


def _page(timeline: Timeline, summary: dict, title: str) -> str:
    latency = summary['response_latency_s_mean']
    cards = [
        ['micro-turns', str(summary['micro_turns'])],
        ['missed', str(summary['missed_deadlines'])],
        ['step p50 / p99', f'{summary["step_ms_p50"]} / {summary["step_ms_p99"]} ms'],
        ['mean response latency', f'{latency:.2f} s' if latency is not None else 'not measured'],
        ['utterances', str(len(summary['said']))],
        ['intents', str(len(summary['intents']))],
        ['planner results', str(len(summary['planner_results']))],
    ]
    data = {
        'title': title,
        'cards': cards,
        'duration': timeline.duration_s,
        'sound': _sound(timeline),
        'peak_s': PEAK_S,
        'user': peaks(timeline.user),
        'robot': peaks(timeline.robot),
        'thumbnails': [[round(t, 2), _jpeg(image)] for t, image in timeline.thumbnails],
        'marks': [{'t': round(m.t, 3), 'text': m.text, 'kind': m.kind} for m in timeline.marks],
        'turns': [[turn.t, round(turn.step_ms, 1), turn.missed] for turn in timeline.turns],
    }
    text = json.dumps(data, separators=(',', ':')).replace('</', '<\\/')
    return PAGE.read_text(encoding='utf-8').replace('/*DATA*/null', text)


def peaks(pcm: np.ndarray) -> list[float]:
    """Largest magnitude in every 25 ms, 0 to 1, relative to the loudest of the recording."""
    step = round(PEAK_S * SAMPLE_RATE_HZ)
    whole = np.abs(pcm[: len(pcm) // step * step].astype(np.int32)).reshape(-1, step)
    tops = whole.max(axis=1, initial=0)
    return [round(float(v), 3) for v in tops / max(1, tops.max(initial=0))]


def _sound(timeline: Timeline) -> str:
    """The user on the left, the robot on the right, as an MP3 data URL."""
    length = max(len(timeline.user), len(timeline.robot))
    tracks = [np.pad(t, (0, length - len(t))) for t in (timeline.user, timeline.robot)]
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack(tracks, axis=1), SAMPLE_RATE_HZ, format='MP3')
    return 'data:audio/mpeg;base64,' + base64.b64encode(buffer.getvalue()).decode()


def _jpeg(rgb: np.ndarray) -> str:
    _, jpeg = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [1, 80])
    return 'data:image/jpeg;base64,' + base64.b64encode(jpeg.tobytes()).decode()


def main(args: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser('report', description=__doc__.partition('\n')[0])
    parser.add_argument('--bag', type=Path, required=True, help='folder of a recording, or .mcap')
    parser.add_argument('--output', type=Path, required=True, help='folder for the results')
    parser.add_argument(
        '--script', type=Path, help='JSON: [{"start", "end", "text"}] of what was said'
    )
    parser.add_argument('--title', default='', help='heading of the page')
    options = parser.parse_args(args)
    try:
        script = json.loads(options.script.read_text('utf-8')) if options.script else None
        summary = write_report(options.bag, options.output, script, options.title)
    except (ValueError, OSError) as error:
        print(f'report: {error}', file=sys.stderr)
        return 1
    print(
        f'{options.output / "session.html"}: {summary["micro_turns"]} micro-turns, '
        f'{len(summary["said"])} utterances'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
