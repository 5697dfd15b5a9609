# SPDX-License-Identifier: Apache-2.0
"""Writes messages into an MCAP file from a thread of its own. Nothing in here needs ROS."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.rosbag2.errors import WriterError

from interaction_node.bag_types import BagTypes


@dataclass(frozen=True)
class Sample:
    """One serialized message.

    Attributes:
        topic: Full name of the topic.
        type_name: E.g. 'duplex_interaction/msg/AudioChunk'.
        time_ns: When it was received, ROS time.
        data: The message in CDR.
        qos: What its publishers offer; of the first message of a topic it goes into the file.
    """

    topic: str
    type_name: str
    time_ns: int
    data: bytes
    qos: Sequence[Qos] = ()


class Recording:
    """An MCAP file that is being written.

    `write` never waits: what the disk can't take in time is dropped and counted.

    Args:
        path: Folder that is made for the recording.
        max_queue_bytes: Most bytes that wait to be written.
        compress: Whether chunks are compressed with Zstandard.

    Raises:
        ValueError: The folder exists already or can't be made.
    """

    def __init__(self, path: Path, max_queue_bytes: int = 64_000_000, compress: bool = False):
        self._types = BagTypes()
        self._max_queue_bytes = max_queue_bytes
        self._writer = _open(path, compress)
        self._connections: dict[tuple[str, str], Connection | None] = {}
        self._samples: queue.SimpleQueue[Sample | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._is_closed = False
        self.written: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.written_bytes = 0
        self.errors: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name='recording', daemon=True)
        self._thread.start()

    def write(self, sample: Sample) -> bool:
        """Takes a message; returns False where it had to be dropped."""
        with self._lock:
            is_full = self._waiting_bytes + len(sample.data) > self._max_queue_bytes
            if is_full or self._is_closed or 'file' in self.errors:
                self.dropped[sample.topic] += 1
                return False
            self._waiting_bytes += len(sample.data)
            self._samples.put(sample)
            return True

    def close(self) -> None:
        """Writes what still waits and completes the file, so that it can be read."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._samples.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (sample := self._samples.get()) is not None:
            with self._lock:
                self._waiting_bytes -= len(sample.data)
            if 'file' in self.errors:
                self.dropped[sample.topic] += 1
                continue
            try:
                self._store(sample)
            except OSError as error:  # the disk is full, or gone
                self.errors['file'] = f'{self._writer.path} can not be written: {error}'
                self.dropped[sample.topic] += 1
        try:
            self._writer.close()
        except OSError as error:
            self.errors['file'] = f'{self._writer.path} can not be completed: {error}'

    def _store(self, sample: Sample) -> None:
        key = sample.topic, sample.type_name
        if key not in self._connections:
            self._connections[key] = self._connect(sample)
        connection = self._connections[key]
        if connection is None:
            self.dropped[sample.topic] += 1
            return
        self._writer.write(connection, sample.time_ns, sample.data)
        self.written[sample.topic] += 1
        self.written_bytes += len(sample.data)

    def _connect(self, sample: Sample) -> Connection | None:
        try:
            return self._writer.add_connection(
                sample.topic,
                sample.type_name,
                typestore=self._types.store_with(sample.type_name),
                offered_qos_profiles=sample.qos,
            )
        except (ValueError, WriterError) as error:
            self.errors[sample.topic] = f'{sample.topic} is not recorded: {error}'
            return None


def _open(path: Path, compress: bool) -> Writer:
    try:
        writer = Writer(path, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP)
        if compress:
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        writer.open()
    except (WriterError, OSError) as error:
        raise ValueError(f"parameter 'uri': {error}") from error
    return writer
