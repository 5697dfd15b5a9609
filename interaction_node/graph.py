# SPDX-License-Identifier: Apache-2.0
"""The one description of the graph: which nodes there are, what they are called, how they are set.

The launch files, the evaluation through the live graph and the demonstration all start from here,
so that they start the same thing. Nothing in here needs ROS.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interaction_node.graph_arguments import (
    ARGUMENTS,
    AUTO,
    NODES,
    NodeSpec,
    settings,
)

PACKAGE = 'duplex_interaction'
PROFILE_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'


_REMAPPINGS = (
    ('audio', 'audio_topic', ''),
    ('image', 'image_topic', ''),
    ('image/compressed', 'image_topic', '/compressed'),
    ('cmd_vel', 'cmd_vel_topic', ''),
)


@dataclass(frozen=True)
class NodeProcess:
    """A node that is to be started, with everything that it is to be told.

    Attributes:
        executable: Program, and module in `interaction_node`.
        name: Name of the ROS node.
        namespace: Namespace, '' for the root.
        lifecycle: Whether it is a lifecycle node.
        parameter_files: YAML files, later ones win.
        parameters: Single parameters, which win over the files.
        remappings: (from, to) names.
        log_level: Least severity that is logged.
        environment: Variables on top of the inherited ones.
    """

    executable: str
    name: str
    namespace: str = ''
    lifecycle: bool = False
    parameter_files: tuple[str, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    log_level: str = 'info'
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """Name with the namespace, e.g. /robot1/interaction_node."""
        return '/'.join(('', *filter(None, (self.namespace.strip('/'), self.name))))

    def command(self) -> list[str]:
        """The command line that starts this node with the Python that runs now."""
        arguments = ['--ros-args', '-r', f'__node:={self.name}']
        if self.namespace:
            arguments += ['-r', f'__ns:=/{self.namespace.strip("/")}']
        for source, target in self.remappings:
            arguments += ['-r', f'{source}:={target}']
        for path in self.parameter_files:
            arguments += ['--params-file', path]
        for name, value in self.parameters.items():
            arguments += ['-p', f'{name}:={json.dumps(value)}']
        arguments += ['--log-level', self.log_level]
        return [sys.executable, '-m', f'interaction_node.{self.executable}', *arguments]


def resource_folder(kind: str) -> Path:
    """Finds a folder of the package: 'config', 'launch' or 'worlds'.

    Args:
        kind: Name of the folder.

    Returns:
        The folder of the checkout where there is one, else of the installed package.

    Raises:
        FileNotFoundError: The package is not installed with that folder.
    """
    checkout = Path(__file__).resolve().parents[1] / kind
    if checkout.is_dir():
        return checkout
    try:
        from ament_index_python.packages import get_package_share_directory

        installed = Path(get_package_share_directory(PACKAGE)) / kind
    except (ImportError, LookupError):
        installed = Path(sys.prefix) / 'share' / PACKAGE / kind
    if not installed.is_dir():
        raise FileNotFoundError(
            f'{PACKAGE} has no folder {kind!r}: looked in {checkout}, {installed}'
        )
    return installed


def processes(
    given: Mapping[str, str] | None = None,
    parameters: Mapping[str, Mapping[str, object]] | None = None,
) -> list[NodeProcess]:
    """Says which nodes to start for these settings, and how.

    Args:
        given: Settings by argument name (`ARGUMENTS`), as text.
        parameters: More parameters, by executable; they win over settings and files.

    Returns:
        The nodes that the switches turn on, in the order of `NODES`.

    Raises:
        ValueError: A setting or an executable that doesn't exist, or a value that is not allowed.
    """
    values = settings(given)
    parameters = parameters or {}
    if unknown := set(parameters) - {spec.executable for spec in NODES}:
        raise ValueError(f'no such node: {", ".join(sorted(unknown))}')
    files = [resource_folder('config') / 'interaction.yaml']
    if values['params_file']:
        files.append(existing_file(values['params_file'], 'params_file'))
    return [
        NodeProcess(
            executable=spec.executable,
            name=spec.executable,
            namespace=values['namespace'],
            lifecycle=spec.lifecycle,
            parameter_files=tuple(map(str, files)),
            parameters=_parameters(spec, values) | dict(parameters.get(spec.executable, {})),
            remappings=_remappings(values),
            log_level=values['log_level'],
            environment=_environment(values),
        )
        for spec in NODES
        if _runs(spec, values)
    ]


def existing_file(name: str, argument: str, kind: str = 'config') -> Path:
    """Finds a file by its path, or by its name in a folder of the package.

    Args:
        name: Path or name.
        argument: Who wants it, for the message.
        kind: The folder, as for `resource_folder`.

    Raises:
        ValueError: There is no such file.
    """
    for path in (Path(name).expanduser(), resource_folder(kind) / name):
        if path.is_file():
            return path.resolve()
    raise ValueError(f'{argument}: there is no file {name!r}, nor one of that name in {kind}/')


def _runs(spec: NodeSpec, values: Mapping[str, str]) -> bool:
    if values[spec.switch] != AUTO:
        return values[spec.switch] == 'true'
    return any(values[each.name] for each in ARGUMENTS if each.node == spec.executable)


def _parameters(spec: NodeSpec, values: Mapping[str, str]) -> dict[str, object]:
    chosen: dict[str, object] = {'use_sim_time': values['use_sim_time'] == 'true'}
    for argument in ARGUMENTS:
        if argument.node == spec.executable and values[argument.name]:
            value = values[argument.name]
            chosen[argument.parameter] = value == 'true' if 'true' in argument.choices else value
    return chosen


def _remappings(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    pairs = ((source, values[name] + suffix) for source, name, suffix in _REMAPPINGS)
    return tuple((source, target) for source, target in pairs if source != target)


def _environment(values: Mapping[str, str]) -> dict[str, str]:
    profile = values['fastdds_profile']
    if profile in ('', 'none'):
        return {}
    return {PROFILE_VARIABLE: str(existing_file(profile, 'fastdds_profile'))}
