# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a recording runs through the whole graph in real time.

`python -m interaction_node.demo` leaves session.html, timeline.png, speech.wav, session.mcap and
summary.json in out/demo and ends with 0 only if the robot really responded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import soundfile

from interaction_node import graph
from interaction_node.model.interface import TURN_S
from interaction_node.process_graph import ProcessGraph
from interaction_node.report import write_report

RECORDING = graph.resource_folder('examples') / 'demo'
READY_S = 120.0
STALL_S = 20.0


def demo_settings(recording: Path, output: Path) -> dict[str, str]:
    """Settings of the graph for the demonstration (`graph.ARGUMENTS`)."""
    video = recording / 'video.mp4'
    return {
        'audio_file': str(recording / 'input.wav'),
        'video_file': str(video) if video.is_file() else '',
        'speech_file': str(output / 'speaker.wav'),
        'recording': str(output / 'session'),
    }


def run_demo(recording: Path, output: Path) -> dict:
    """Runs the graph on a recording and reports on it.

    Args:
        recording: Folder with input.wav, maybe video.mp4, and script.json (what is said when).
        output: Folder for the results; what was in it before is replaced.

    Returns:
        The summary.

    Raises:
        RuntimeError: A node ended early or the graph stalled.
        TimeoutError: The nodes did not come up.
        ValueError: The recording is not there.
    """
    wav = recording / 'input.wav'
    if not wav.is_file():
        raise ValueError(f'recording: {wav} does not exist')
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    turns = int(soundfile.info(wav).duration / TURN_S)
    settings = demo_settings(recording, output)
    # The sound begins when all who listen to it are connected: recorder, model and camera.
    listeners = 2 + bool(settings['video_file'])
    parameters: dict[str, dict[str, object]] = {
        'recorder_node': {'compress': True},
        'microphone_node': {'wait_for_subscribers': listeners, 'start_delay_s': 0.5},
    }
    nodes = graph.processes(settings, parameters)
    _run_graph(nodes, output, turns)
    script = recording / 'script.json'
    lines = json.loads(script.read_text('utf-8')) if script.is_file() else None
    summary = write_report(output / 'session', output, lines, 'duplex_interaction: the demo')
    for mcap in (output / 'session').glob('*.mcap'):
        shutil.copy(mcap, output / 'session.mcap')
    return summary


def _run_graph(nodes: list[graph.NodeProcess], output: Path, turns: int) -> None:
    # Imported here: the rest of this module is useful without ROS.
    import rclpy
    from rclpy.context import Context

    from interaction_node.live_view import LiveView

    context = Context()
    rclpy.init(context=context)
    microphone = next(node for node in nodes if node.name == 'microphone_node')
    try:
        print('starting the nodes ...', flush=True)
        with ProcessGraph([n for n in nodes if n is not microphone], output / 'log') as running:
            running.wait_ready(READY_S)
            with LiveView(turns, context) as view:
                running.add(microphone)
                _wait(running, view, turns)
    finally:
        rclpy.try_shutdown(context=context)


def _wait(running: ProcessGraph, view, turns: int) -> None:
    seen, since = 0, time.monotonic()
    while view.turns < turns:
        running.check()
        if view.turns > seen:
            seen, since = view.turns, time.monotonic()
        if time.monotonic() - since > STALL_S:
            raise RuntimeError(
                f'no micro-turn for {STALL_S:.0f} s after {seen}; see {running.log_folder}'
            )
        time.sleep(0.1)
    time.sleep(1.0)


def judge(summary: dict, script: list[dict]) -> list[str]:
    """What is missing for a robot that really responded.

    Args:
        summary: From `report.write_report`.
        script: What was said, with the answers expected.

    Returns:
        Complaints, none if all is well.
    """
    complaints = []
    wanted = [entry for entry in script if entry.get('answer')]
    answered = len(summary.get('responses', []))
    if answered < 0.6 * len(wanted):
        complaints.append(f'{answered} of {len(wanted)} answers came')
    skills = {entry['skill'] for entry in script if entry.get('skill')}
    missing = skills - {intent['skill'] for intent in summary['intents']}
    if missing:
        complaints.append(f'no intent for {", ".join(sorted(missing))}')
    if any(entry.get('delegates') for entry in script) and not summary['planner_results']:
        complaints.append('no result came from the planner')
    return complaints


def main(args: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser('demo', description=__doc__.partition('\n')[0])
    parser.add_argument('--recording', type=Path, default=RECORDING, help='folder with input.wav')
    parser.add_argument('--output', type=Path, default=Path('out/demo'), help='folder for results')
    options = parser.parse_args(args)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    try:
        summary = run_demo(options.recording, options.output)
    except KeyboardInterrupt:
        print('\nstopped')
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    script = options.recording / 'script.json'
    complaints = judge(summary, json.loads(script.read_text('utf-8')) if script.is_file() else [])
    _print_summary(summary, options.output, complaints)
    return 1 if complaints or not summary['said'] else 0


def _print_summary(summary: dict, output: Path, complaints: list[str]) -> None:
    names = ('micro_turns', 'missed_deadlines', 'step_ms_p50', 'step_ms_p99')
    for name in (*names, 'response_latency_s_mean'):
        print(f'{name:>26}: {summary[name]}')
    print(f'{"said":>26}: {" | ".join(summary["said"])}')
    print(f'{"intents":>26}: {" | ".join(i["skill"] for i in summary["intents"])}')
    print(f'{"planner":>26}: {" | ".join(summary["planner_results"])}')
    for complaint in complaints:
        print(f'demo: {complaint}', file=sys.stderr)
    print(f'open {output / "session.html"}')


if __name__ == '__main__':
    sys.exit(main())
