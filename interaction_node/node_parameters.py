# SPDX-License-Identifier: Apache-2.0
"""Parameters of a node, written down once: declared, checked and printed by `--help`.

A node lists its parameters in a table of `NodeParameter` and calls `declare_parameters` in its
constructor. The same table makes the node's usage text.
"""

from __future__ import annotations

import difflib
import shutil
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter

Value = bool | int | float | str | list[str] | list[float] | list[int] | list[bool]

_BUILT_IN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')


@dataclass(frozen=True)
class NodeParameter:
    """One parameter of a node.

    Attributes:
        name: ROS name; dots make groups, e.g. `turn.jitter_ms`.
        default: Default value; its type is the parameter's type. A float takes integers too.
        description: What it means, one sentence.
        minimum: Least number allowed, None for no bound.
        maximum: Greatest number allowed, None for no bound.
        choices: Values allowed, () for any.
        read_only: True where a change needs a restart.
        element: Type of the elements of a list, needed where the default is empty.
        check: Further check; gets the value, returns '' or what was expected.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str | int | float, ...] = ()
    read_only: bool = True
    element: type = str
    check: Callable[[Any], str] | None = None

    @property
    def kind(self) -> str:
        """Name of the type, e.g. 'float' or 'list of str'."""
        if not isinstance(self.default, list):
            return type(self.default).__name__
        return f'list of {self._element.__name__}'

    @property
    def expected(self) -> str:
        """What is allowed, in words, e.g. 'an int from 5 to 200'."""
        if self.choices:
            return 'one of ' + ', '.join(repr(choice) for choice in self.choices)
        article = 'an' if self.kind[0] in 'aeiou' else 'a'
        bounds = {
            (False, False): '',
            (True, False): f' of at least {self.minimum}',
            (False, True): f' of at most {self.maximum}',
            (True, True): f' from {self.minimum} to {self.maximum}',
        }[self.minimum is not None, self.maximum is not None]
        return f'{article} {self.kind}{bounds}'

    def convert(self, value: Any) -> Any:
        """Checks a value and returns it in the parameter's type.

        Raises:
            ValueError: The value has another type or is out of bounds.
        """
        converted = self._convert_list(value) if isinstance(self.default, list) else value
        if isinstance(self.default, float) and type(value) is int:
            converted = float(value)
        if not isinstance(self.default, list) and type(converted) is not type(self.default):
            raise ValueError(self._complaint(value, self.expected))
        if self.choices and converted not in self.choices:
            raise ValueError(self._complaint(value, self.expected))
        if not all(self._within(number) for number in _numbers(converted)):
            raise ValueError(self._complaint(value, self.expected))
        if self.check is not None and (expected := self.check(converted)):
            raise ValueError(self._complaint(value, expected))
        return converted

    def _convert_list(self, value: Any) -> list:
        element = self._element
        if isinstance(value, str | bytes) or not hasattr(value, '__iter__'):
            raise ValueError(self._complaint(value, self.expected))
        items = [float(v) if element is float and type(v) is int else v for v in value]
        if not all(type(item) is element for item in items):
            raise ValueError(self._complaint(value, self.expected))
        return items

    @property
    def _element(self) -> type:
        return (
            type(self.default[0])
            if isinstance(self.default, list) and self.default
            else self.element
        )

    def _within(self, number: float) -> bool:
        above = self.minimum is None or number >= self.minimum
        return above and (self.maximum is None or number <= self.maximum)

    def _complaint(self, value: Any, expected: str) -> str:
        return f'parameter {self.name!r} is {value!r}; expected {expected}'


class ParameterValues(Mapping[str, Any]):
    """The present values of a node's parameters, safe to read from any thread."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._lock = threading.Lock()
        self._listeners: list[Callable[[str, Any], None]] = []

    def __getitem__(self, name: str) -> Any:
        with self._lock:
            return self._values[name]

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(tuple(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def group(self, prefix: str) -> dict[str, Any]:
        """Returns the parameters below a prefix, without it: `group('turn')['jitter_ms']`."""
        start = f'{prefix}.'
        return {name[len(start) :]: self[name] for name in self if name.startswith(start)}

    def on_change(self, listener: Callable[[str, Any], None]) -> None:
        """Calls `listener(name, value)` after each change of a parameter that may change."""
        self._listeners.append(listener)

    def _update(self, name: str, value: Any) -> None:
        with self._lock:
            self._values[name] = value
        for listener in self._listeners:
            listener(name, value)


def declare_parameters(node: Node, table: Sequence[NodeParameter]) -> ParameterValues:
    """Declares a table of parameters on a node.

    Args:
        node: The node; overrides from YAML, the command line and the constructor apply.
        table: Its parameters.

    Returns:
        The values, kept up to date when a parameter is set later.

    Raises:
        ValueError: An override is not allowed; names the parameter, the value, what is expected.
    """
    rows = {row.name: row for row in table}
    values = ParameterValues({row.name: _declare(node, row) for row in table})
    _warn_of_misspelt(node, rows)

    # Without references from here the node would be the only owner: both callbacks close over it.
    node.add_on_set_parameters_callback(lambda changed: _check(rows, changed))
    node.add_post_set_parameters_callback(lambda changed: _apply(rows, values, changed))
    return values


def _declare(node: Node, row: NodeParameter) -> Any:
    """Declares one parameter and returns its value."""
    # Typing is dynamic because `-p delay_s:=1` makes an integer, which a double would refuse.
    parameter = node.declare_parameter(row.name, row.default, _descriptor(row, dynamic=True))
    if not row.default and isinstance(row.default, list) and not parameter.value:
        return []
    return row.convert(parameter.value)


def _descriptor(row: NodeParameter, *, dynamic: bool) -> Any:
    from rcl_interfaces.msg import ParameterDescriptor

    # No range goes into the descriptor's fields: rclpy would refuse first, with a poorer message.
    limits = '' if row.expected.endswith(row.kind) else f'; {row.expected}'
    return ParameterDescriptor(
        description=row.description,
        additional_constraints=f'{row.kind}{limits}',
        read_only=row.read_only,
        dynamic_typing=dynamic,
    )


def _check(rows: dict[str, NodeParameter], changed: list[Parameter]) -> Any:
    from rcl_interfaces.msg import SetParametersResult

    try:
        for parameter in changed:
            if parameter.name in rows:
                rows[parameter.name].convert(parameter.value)
    except ValueError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def _apply(
    rows: dict[str, NodeParameter], values: ParameterValues, changed: list[Parameter]
) -> None:
    for parameter in changed:
        if parameter.name in rows:
            values._update(parameter.name, rows[parameter.name].convert(parameter.value))


def _warn_of_misspelt(node: Node, rows: dict[str, NodeParameter]) -> None:
    """Warns of overrides that look like a parameter but are none; ROS drops them silently."""
    for name in getattr(node, '_parameter_overrides', {}):
        if name in rows or name.startswith(_BUILT_IN):
            continue
        if near := difflib.get_close_matches(name, rows, n=1, cutoff=0.8):
            node.get_logger().warning(f'unknown parameter {name!r}; did you mean {near[0]!r}?')


def usage(program: str, description: str, table: Sequence[NodeParameter]) -> str:
    """Makes the text of `--help`.

    Args:
        program: Name of the node's program.
        description: What the node does; usually the docstring of its module.
        table: Its parameters.

    Returns:
        Usage, description and a table of name, type, default and meaning.
    """
    lines = [
        f'usage: {program} [--help] [--ros-args -p NAME:=VALUE -r FROM:=TO --params-file FILE]',
        '',
        description.strip(),
        '',
        'parameters:',
    ]
    wide = max((len(row.name) for row in table), default=0)
    kinds = max((len(row.kind) for row in table), default=0)
    for row in table:
        lines += _usage_row(row, wide, kinds)
    return '\n'.join(lines)


def _usage_row(row: NodeParameter, wide: int, kinds: int) -> list[str]:
    bounded = row.choices or row.minimum is not None or row.maximum is not None
    meaning = row.description.rstrip('.')
    meaning += f' ({row.expected})' if bounded else ''
    meaning += f' [default: {row.default!r}]'
    head = f'  {row.name:<{wide}}  {row.kind:<{kinds}}  '
    width = max(shutil.get_terminal_size((100, 24)).columns, len(head) + 30)
    return textwrap.wrap(
        head + meaning, width, subsequent_indent=' ' * len(head), drop_whitespace=True
    )


def _numbers(value: Any) -> list[float]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, int | float) and type(item) is not bool]
