# SPDX-License-Identifier: Apache-2.0
"""A conversation on disk: tensors and facts in one safetensors file, nothing that is executed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FORMAT = 'duplex-interaction-session-3'


@dataclass(frozen=True)
class Snapshot:
    """Everything that a session remembers; independent of it once taken.

    Attributes:
        tensors: By name.
        facts: JSON-ready.
    """

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Writes a file, whole or not at all: a crash leaves the one before.

        Args:
            path: Where to write; its folder is made.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + '.partial')
        save_file(self.tensors, partial, {'format': FORMAT, 'facts': json.dumps(self.facts)})
        with partial.open('rb') as file:
            os.fsync(file.fileno())  # else a power cut may leave an empty file under the name
        partial.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Snapshot:
        """Reads a file.

        Raises:
            ValueError: The file is missing, damaged, or no snapshot of a session.
        """
        if not Path(path).is_file():
            raise ValueError(f'path: {path} does not exist, expected a snapshot of a session')
        try:
            with safe_open(path, 'pt') as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f'path: {path} can not be read: {error}') from error
        if metadata.get('format') != FORMAT:
            raise ValueError(
                f'path: {path} has format {metadata.get("format")!r}, expected {FORMAT!r}'
            )
        return cls(tensors, json.loads(metadata['facts']))

    def add(self, name: str, part: Snapshot) -> None:
        """Puts a part under a name."""
        self.tensors.update({f'{name}.{key}': tensor for key, tensor in part.tensors.items()})
        self.facts[name] = part.facts

    def part(self, name: str) -> Snapshot:
        """Takes out what `add` put in."""
        start = f'{name}.'
        tensors = {k[len(start) :]: t for k, t in self.tensors.items() if k.startswith(start)}
        return Snapshot(tensors, self.facts[name])


def check(targets: Mapping[str, torch.Tensor], sources: Mapping[str, torch.Tensor]) -> None:
    """Looks whether tensors of a snapshot fit those of a session.

    Raises:
        ValueError: One is missing or of another shape or dtype.
    """
    for name, target in targets.items():
        source = sources.get(name)
        found = None if source is None else (tuple(source.shape), source.dtype)
        expected = (tuple(target.shape), target.dtype)
        if found != expected:
            raise ValueError(f'snapshot: {name} is {found}, expected {expected}')


def fill(targets: Mapping[str, torch.Tensor], sources: Mapping[str, torch.Tensor]) -> None:
    """Copies tensors of a snapshot into those of a session, in place.

    Raises:
        ValueError: One does not fit; nothing was copied then.
    """
    check(targets, sources)
    for name, target in targets.items():
        target.copy_(sources[name])
