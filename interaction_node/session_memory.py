# SPDX-License-Identifier: Apache-2.0
"""Keeps in a file what a model remembers of a conversation, so that it goes on after a restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from interaction_node.model.snapshot import Snapshot

FILE = 'model.snapshot_file'
_KEY = 'snapshot'


@runtime_checkable
class LastingModel(Protocol):
    """A model whose conversation can outlive its process."""

    def reset(self) -> None:
        """Forgets the conversation."""

    def snapshot(self) -> Snapshot:
        """Takes down everything that is remembered."""

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on where a snapshot was taken; raises ValueError where it does not fit."""


class Reports(Protocol):
    """Where warnings and figures go; `NodeErrors` is one."""

    def warn(self, key: str, message: str) -> None:
        """Reports a warning that lasts until `resolve(key)`."""

    def resolve(self, key: str, message: str = '') -> None:
        """Ends a warning."""

    def set_value(self, key: str, value: Any) -> None:
        """Sets a value that is shown."""


class SessionMemory:
    """The file with a model's memory: taken where the model lives, written in another thread.

    `after_step` and `forget` belong to the model's thread; `load`, `begin`, `end` and `close` are
    called while that thread doesn't run.

    Args:
        model: The model, warmed up.
        path: The file; its folder is made.
        period_s: Time between two snapshots, seconds; 0 for only at the end.
        reports: Where warnings go.
        now: A steady clock, seconds.
    """

    def __init__(
        self,
        model: LastingModel,
        path: str | Path,
        period_s: float,
        reports: Reports,
        now: Callable[[], float] = time.monotonic,
    ):
        self._model, self._reports, self._now = model, reports, now
        self._path, self._period_s = Path(path).expanduser(), period_s
        self._kept: Snapshot | None = None
        self._writer = ThreadPoolExecutor(1, 'snapshot')
        self._writing: Future | None = None
        self._taken_s = now()

    @property
    def found(self) -> str:
        """The file with the conversation that `begin` goes on with, '' where there is none."""
        return '' if self._kept is None else str(self._path)

    def load(self) -> None:
        """Reads the file, if there is one; says so once where it can't be used."""
        from interaction_node.model.snapshot import Snapshot

        try:
            # The first one may compute what later ones only look up: not while time presses.
            self._model.snapshot()
            if self._path.exists():
                snapshot = Snapshot.load(self._path)
                self._model.restore(snapshot)
                self._kept = snapshot
        except Exception as error:  # whatever a file holds must not end the node
            self._model.reset()
            self._reports.warn(
                _KEY,
                f'{FILE}: {self._path} is not used and will be overwritten, the conversation '
                f'begins anew: {type(error).__name__}: {error}',
            )

    def begin(self) -> None:
        """Lets the model go on where it ended, or begin anew where there is nothing to go on."""
        self._taken_s = self._now()
        if self._kept is None:
            self._model.reset()
        else:
            self._model.restore(self._kept)

    def after_step(self) -> None:
        """Takes a snapshot where it is time for one; it is written while the model goes on."""
        if not self._period_s or self._now() - self._taken_s < self._period_s:
            return
        if self._writing is not None and not self._writing.done():
            return
        self._taken_s = self._now()
        self._writing = self._writer.submit(self._write, self._take())

    def forget(self) -> None:
        """Removes what is remembered, after the model was reset."""
        self._kept = None
        self._taken_s = self._now()
        self._writing = self._writer.submit(self._remove)

    def end(self) -> None:
        """Takes a last snapshot and waits until it is on the disk."""
        try:
            self._kept = self._take()
        except Exception as error:
            self._warn(error)
            return
        self._writer.submit(self._write, self._kept).result()

    def close(self) -> None:
        """Waits for the disk and ends the thread."""
        self._writer.shutdown()

    def _take(self) -> Snapshot:
        start_s = time.perf_counter()
        snapshot = self._model.snapshot()
        self._reports.set_value('snapshot_ms', 1e3 * (time.perf_counter() - start_s))
        return snapshot

    def _write(self, snapshot: Snapshot) -> None:
        try:
            snapshot.save(self._path)
        except Exception as error:  # the disk may be full, or the folder not ours
            self._warn(error)
        else:
            self._reports.resolve(_KEY, f'{FILE}: {self._path} is written')

    def _remove(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        message = f'{FILE}: {self._path} can not be written: {type(error).__name__}: {error}'
        self._reports.warn(_KEY, message)


def open_memory(
    model: object, factory: str, path: str, period_s: float, reports: Reports
) -> SessionMemory | None:
    """Makes the memory of a model and reads what is in its file.

    Args:
        model: The model, warmed up.
        factory: What loaded it, for messages.
        path: The file, '' for none.
        period_s: Time between two snapshots, seconds; 0 for only at the end.
        reports: Where warnings go.

    Returns:
        The memory; None where there is no file, or the model has nothing to keep.
    """
    reports.resolve(_KEY)
    if not path:
        return None
    if not isinstance(model, LastingModel):
        reports.warn(
            _KEY,
            f'parameter {FILE!r} is {path!r}, but the model that {factory!r} loads has no '
            f'snapshot() and restore(); its conversations are not kept',
        )
        return None
    memory = SessionMemory(model, path, period_s, reports)
    memory.load()
    return memory
