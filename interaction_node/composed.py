# SPDX-License-Identifier: Apache-2.0
"""Runs several nodes in one process, each in a thread with a single-threaded executor of its own.

Messages still pass through ROS. Parameters, remappings and the namespace come after `--ros-args`,
as for single nodes; `-r NODE:FROM:=TO` and `-p NODE:NAME:=VALUE` mean one of them. The process
ends when one node ends.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from interaction_node.graph import NODES

DEFAULT = tuple(spec.executable for spec in NODES if spec.runs == 'true')


def node_class(name: str) -> Callable[[], Any]:
    """Finds the class of a node.

    Args:
        name: Name of its program, e.g. 'microphone_node'.

    Returns:
        The class: what its module calls `NODE`, else the name in camel case.

    Raises:
        ValueError: There is no such node.
    """
    known = {spec.executable for spec in NODES}
    if name not in known:
        raise ValueError(f'node is {name!r}; expected one of {", ".join(sorted(known))}')
    module = importlib.import_module(f'interaction_node.{name}')
    camel = ''.join(word.capitalize() for word in name.split('_'))
    found = getattr(module, 'NODE', None) or getattr(module, camel, None)
    if found is None:
        raise ValueError(f'node {name!r} has no class {camel} in {module.__name__}')
    return found


def main(args: Sequence[str] | None = None) -> int:
    """Runs the nodes that the command line names; without names those of the demonstration."""
    words = list(sys.argv[1:] if args is None else args)
    parser = argparse.ArgumentParser(prog='composed', description=__doc__)
    parser.add_argument('nodes', nargs='*', metavar='NODE', help=f'default: {" ".join(DEFAULT)}')
    # By hand, so that usage needs no ROS: names stand before `--ros-args` or after `--`.
    chosen = parser.parse_args(_without_ros_arguments(words)).nodes or DEFAULT
    from interaction_node.node_main import run_nodes

    try:
        classes = [node_class(name) for name in chosen]
    except (ValueError, ImportError) as error:
        print(f'composed: {error}', file=sys.stderr)
        return 1
    return run_nodes(classes, ['composed', *words], 'composed')


def _without_ros_arguments(words: Sequence[str]) -> list[str]:
    own, is_ros = [], False
    for word in words:
        if word in ('--ros-args', '--') and is_ros != (word == '--ros-args'):
            is_ros = not is_ros
        elif not is_ros:
            own.append(word)
    return own


if __name__ == '__main__':
    sys.exit(main())
