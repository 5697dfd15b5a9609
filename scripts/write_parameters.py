# SPDX-License-Identifier: Apache-2.0
"""Writes docs/parameters.md from what the nodes declare and the launch files offer.

`.venv/bin/python scripts/write_parameters.py` after every change; a test compares the two.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from interaction_node.graph_arguments import ARGUMENTS, NODES
from interaction_node.node_parameters import NodeParameter

FILE = Path(__file__).resolve().parents[1] / 'docs' / 'parameters.md'
HEAD = """\
# Parameters and launch arguments

Written by `scripts/write_parameters.py` from the nodes themselves. Every node prints its own part
of this page with `--help`, for example `.venv/bin/python -m interaction_node.speaker_node --help`.

Times end in `_s` or `_ms`, frequencies in `_hz`, lengths in `_m`. Parameters are read when a node
starts: after a change, start it anew. A value that is not allowed ends the node with a message that
names the parameter, the value and what was expected.

[config/interaction.yaml](../config/interaction.yaml) holds all of them with their defaults. To
change some, write a file with only those and pass it on top:

```yaml
# my_robot.yaml; /**/ stands for any namespace
/**/action_gate_node:
  ros__parameters:
    holonomic: true
    limits:
      linear_mps: 0.8
```

```
ros2 launch duplex_interaction robot.launch.py params_file:=my_robot.yaml
```

In the same place `robot.launch.py` has [config/robot.yaml](../config/robot.yaml) and
`simulation.launch.py` [config/simulation.yaml](../config/simulation.yaml). Your file replaces them:
copy from them what you want to keep.

## Launch arguments

All four launch files take these: `ros2 launch duplex_interaction robot.launch.py NAME:=VALUE`. An
empty argument leaves the parameter that it sets as the files have it.

| argument | default | meaning | sets |
|---|---|---|---|
"""
MORE_ARGUMENTS = """
Some launch files have more: `robot.launch.py` has `camera_driver` (`v4l2_camera` or `usb_cam`),
`simulation.launch.py` has `world` and `headless`, `replay.launch.py` has `bag` and `bag_topics`.
Some defaults differ: `robot.launch.py` has `params_file:=robot.yaml` and `respawn:=true`,
`simulation.launch.py` has `params_file:=simulation.yaml` and `use_sim_time:=true`. `--show-args`
lists the arguments of a launch file.
"""
PLACES = """
`action_gate_node` also takes `places.NAME: [x_m, y_m, yaw_rad]`, as many as you like. They add
places to those of the skills file, or move them. An underscore in NAME stands for a blank.
"""


def render() -> str:
    """The whole page."""
    parts = [HEAD, *map(_argument_row, ARGUMENTS), MORE_ARGUMENTS]
    for spec in NODES:
        rows = importlib.import_module(f'interaction_node.{spec.executable}').PARAMETERS
        parts.append(f'\n## {spec.executable}: {spec.description}\n')
        parts += [_group(prefix, list(group)) for prefix, group in groupby(_sorted(rows), _prefix)]
        if spec.executable == 'action_gate_node':
            parts.append(PLACES)
    return ''.join(parts)


def _argument_row(argument) -> str:
    choices = f' (one of {_codes(argument.choices)})' if argument.choices else ''
    target = f'`{argument.parameter}` of `{argument.node}`' if argument.node else ''
    meaning = f'{argument.description}{choices}'
    return f'| `{argument.name}` | {_codes([argument.default])} | {meaning} | {target} |\n'


def _sorted(rows: Sequence[NodeParameter]) -> list[NodeParameter]:
    """Parameters without a prefix first, then the groups in the order of their first parameter."""
    prefixes = list(dict.fromkeys(['', *map(_prefix, rows)]))
    return sorted(rows, key=lambda row: prefixes.index(_prefix(row)))


def _prefix(row: NodeParameter) -> str:
    return row.name.rpartition('.')[0]


def _group(prefix: str, rows: Sequence[NodeParameter]) -> str:
    head = f'\n### {prefix}.*\n' if prefix else ''
    head += '\n| parameter | type | default | meaning |\n|---|---|---|---|\n'
    return head + ''.join(map(_parameter_row, rows))


def _parameter_row(row: NodeParameter) -> str:
    bounded = row.choices or row.minimum is not None or row.maximum is not None
    meaning = row.description + (f' ({row.expected})' if bounded else '')
    return f'| `{row.name}` | {row.kind} | {_codes([row.default])} | {meaning} |\n'


def _codes(values: Sequence[object]) -> str:
    texts = (value if value and isinstance(value, str) else json.dumps(value) for value in values)
    return ', '.join(f'`{text}`' for text in texts)


if __name__ == '__main__':
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(render(), encoding='utf-8')
    print(f'wrote {FILE}')
