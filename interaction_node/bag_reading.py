# SPDX-License-Identifier: Apache-2.0
"""Reads recordings back, by topic and with times. Nothing in here needs ROS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore


@dataclass(frozen=True)
class Recorded:
    """A message out of a recording.

    Attributes:
        topic: Full name of its topic.
        time_s: When it was recorded, ROS time.
        message: Its fields as attributes, named as in the `.msg` file; arrays are numpy arrays.
    """

    topic: str
    time_s: float
    message: Any


def bag_topics(path: str | Path) -> dict[str, int]:
    """Lists the topics of a recording, and how many messages each has.

    Raises:
        ValueError: It can't be read.
    """
    with _opened(path) as reader:
        return {name: info.msgcount for name, info in reader.topics.items()}


def bag_messages(path: str | Path, topics: Sequence[str] = ()) -> Iterator[Recorded]:
    """Reads a recording in the order of time.

    Args:
        path: Folder of the recording, or its MCAP file.
        topics: Names of topics; relative ones stand for any namespace. Empty for all.

    Yields:
        Its messages.

    Raises:
        ValueError: It can't be read, or a relative name stands for several topics.
    """
    with _opened(path) as reader:
        connections = _chosen(reader.connections, topics)
        if not connections:
            return
        for connection, time_ns, data in reader.messages(connections=connections):
            try:
                message = reader.deserialize(data, connection.msgtype)
            except AnyReaderError as error:
                raise ValueError(f'recording {str(path)!r}, {connection.topic}: {error}') from error
            yield Recorded(connection.topic, time_ns * 1e-9, message)


def read_bag(path: str | Path, topics: Sequence[str]) -> dict[str, list[Recorded]]:
    """Reads topics of a recording.

    Args:
        path: Folder of the recording, or its MCAP file.
        topics: Names of topics; relative ones stand for any namespace.

    Returns:
        For every name in `topics` its messages in the order of time, maybe none.

    Raises:
        ValueError: It can't be read, or a relative name stands for several topics.
    """
    found: dict[str, list[Recorded]] = defaultdict(list)
    for recorded in bag_messages(path, topics):
        for name in topics:
            if _matches(recorded.topic, name):
                found[name].append(recorded)
    return {name: found[name] for name in topics}


@contextmanager
def _opened(path: str | Path) -> Iterator[AnyReader]:
    # The definitions are in the file; the store serves bags that were made without them.
    store = get_typestore(Stores.ROS2_JAZZY)
    try:
        reader = AnyReader([_folder(Path(path))], default_typestore=store)
        reader.open()
    except (AnyReaderError, OSError) as error:
        raise ValueError(f'recording {str(path)!r} can not be read: {error}') from error
    try:
        yield reader
    finally:
        reader.close()


def _folder(path: Path) -> Path:
    """The folder of a recording that is named by its MCAP file."""
    has_metadata = (path.parent / 'metadata.yaml').is_file()
    return path.parent if path.suffix == '.mcap' and has_metadata else path


def _chosen(connections: Sequence[Connection], topics: Sequence[str]) -> list[Connection]:
    if not topics:
        return list(connections)
    for name in topics:
        full_names = sorted({c.topic for c in connections if _matches(c.topic, name)})
        if len(full_names) > 1:
            raise ValueError(f'topic {name!r} stands for {", ".join(full_names)}; name one of them')
    return [c for c in connections if any(_matches(c.topic, name) for name in topics)]


def _matches(full_name: str, name: str) -> bool:
    if name.startswith('/'):
        return full_name == name
    return full_name.endswith(f'/{name}')
