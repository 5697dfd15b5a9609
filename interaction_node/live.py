# SPDX-License-Identifier: Apache-2.0
"""A conversation with this machine's own microphone, loudspeaker and camera, until Ctrl-C.

`python -m interaction_node.live` starts the same graph as the launch files and the demonstration;
a report of the conversation is left in out/live.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from interaction_node import graph
from interaction_node.process_graph import ProcessGraph
from interaction_node.report import write_report
from interaction_node.sound_device import choose_sound_device, list_sound_devices

READY_S = 120.0


def live_settings(options: argparse.Namespace) -> dict[str, str]:
    """Settings of the graph (`graph.ARGUMENTS`) for the command line's options."""
    return {
        'microphone_device': options.microphone,
        'speaker_device': options.speaker,
        'video_file': options.camera,
        'recording': str(options.output / 'session'),
        'checkpoint': options.checkpoint,
        'planner_backend': options.planner,
    }


def check_devices(microphone: str, speaker: str) -> None:
    """Makes sure that both sound devices exist.

    Args:
        microphone: Part of a name, an index, or '' for the default.
        speaker: Likewise.

    Raises:
        ValueError: One does not; names those that do.
    """
    choose_sound_device(microphone, 'input', list_sound_devices('input'))
    choose_sound_device(speaker, 'output', list_sound_devices('output'))


def find_camera() -> str:
    """The first camera of the machine, '' if there is none."""
    cameras = sorted(Path('/dev').glob('video*'))
    return str(cameras[0]) if cameras else ''


def run_live(options: argparse.Namespace) -> None:
    """Runs the graph until Ctrl-C or until `--seconds` have passed.

    Raises:
        RuntimeError: A node ended.
        TimeoutError: The nodes did not come up.
    """
    import rclpy
    from rclpy.context import Context

    from interaction_node.live_view import LiveView

    context = Context()
    rclpy.init(context=context)
    try:
        nodes = graph.processes(live_settings(options), {'recorder_node': {'compress': True}})
        with ProcessGraph(nodes, options.output / 'log') as running:
            print('starting the nodes ...', flush=True)
            running.wait_ready(READY_S)
            print('speak; Ctrl-C ends it', flush=True)
            with LiveView(0, context):
                until = time.monotonic() + (options.seconds or float('inf'))
                with contextlib.suppress(KeyboardInterrupt):
                    while time.monotonic() < until:
                        running.check()
                        time.sleep(0.1)
    finally:
        rclpy.try_shutdown(context=context)


def main(args: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(args)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    try:
        check_devices(options.microphone, options.speaker)
        if options.camera == 'auto':
            options.camera = find_camera()
        print(f'camera: {options.camera or "none"}')
        shutil.rmtree(options.output, ignore_errors=True)
        options.output.mkdir(parents=True)
        run_live(options)
        summary = write_report(options.output / 'session', options.output)
    except KeyboardInterrupt:
        print('\nstopped')
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f'live: {error}', file=sys.stderr)
        return 1
    print(f'{summary["micro_turns"]} micro-turns; open {options.output / "session.html"}')
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('live', description=__doc__.partition('\n')[0])
    add = parser.add_argument
    add('--microphone', default='', help='part of the name of a device, or its index')
    add('--speaker', default='', help='part of the name of a device, or its index')
    add('--camera', default='auto', help='camera device or video file; "" for none')
    add('--planner', default='', help='embedded or openai')
    add('--checkpoint', default='', help='checkpoint; default: the one that the package brings')
    add('--output', type=Path, default=Path('out/live'), help='folder for recording and report')
    add('--seconds', type=float, default=0.0, help='end after this time; 0: at Ctrl-C')
    return parser


if __name__ == '__main__':
    sys.exit(main())
