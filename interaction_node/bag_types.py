# SPDX-License-Identifier: Apache-2.0
"""Message definitions for recordings, from installed `.msg` files. Nothing here needs ROS."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from interaction_node.graph import PACKAGE

_TYPE = re.compile(r'([a-z]\w*)/msg/([A-Z]\w*)')
_CHECKOUT = Path(__file__).resolve().parents[1]


class BagTypes:
    """Knows the types of ROS 2 Jazzy, ours, and those of every other installed package."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)

    def store_with(self, name: str) -> Typestore:
        """The type store, once it knows a message type and all types within it.

        Args:
            name: E.g. 'duplex_interaction/msg/AudioChunk'.

        Raises:
            ValueError: The name is no message type, or its definition is not installed.
        """
        self._learn(name)
        return self._store

    def _learn(self, name: str) -> None:
        if name in self._store.fielddefs:
            return
        match = _TYPE.fullmatch(name)
        if match is None:
            raise ValueError(f'message type is {name!r}; expected package/msg/Name')
        found = get_types_from_msg(definition_file(*match.groups()).read_text('utf-8'), name)
        for _, fields in found.values():
            for inner in _names_within(fields):
                self._learn(inner)
        self._store.register(found)


def definition_file(package: str, name: str) -> Path:
    """Finds the `.msg` file of a message type.

    Args:
        package: ROS package.
        name: Name of the type, e.g. AudioChunk.

    Raises:
        ValueError: No such file is installed.
    """
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    files = [Path(prefix) / 'share' / package / 'msg' / f'{name}.msg' for prefix in prefixes]
    if package == PACKAGE:  # a checkout without ROS
        files.append(_CHECKOUT / 'msg' / f'{name}.msg')
    for file in files:
        if file.is_file():
            return file
    raise ValueError(f'no definition of {package}/msg/{name} is installed')


def _names_within(fields: object) -> set[str]:
    """The message types that fields refer to, however deep rosbags nests its descriptions."""
    if isinstance(fields, str):
        return {fields} if _TYPE.fullmatch(fields) else set()
    if isinstance(fields, list | tuple):
        return set().union(*map(_names_within, fields)) if fields else set()
    return set()
