# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run real nodes: processes, a spy in their graph, and virtual sound."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import virtual_sound as virtual
from node_process import NodeProcess


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """A function that starts a node as a process; at the end of the test all must stop cleanly."""
    nodes: list[NodeProcess] = []

    def start(module: str, **options) -> NodeProcess:
        node = NodeProcess(module, tmp_path / f'{len(nodes)}-{module}.log', **options)
        nodes.append(node)
        return node

    yield start
    problems = []
    for node in nodes:
        try:
            node.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, '\n'.join(problems)


@pytest.fixture
def spy() -> Iterator['Spy']:  # noqa: F821
    """A node of the test's own, to publish, collect and call with."""
    from spy import Spy

    spy = Spy()
    yield spy
    spy.close()


@pytest.fixture
def virtual_sound() -> Iterator[virtual.VirtualSound]:
    """A virtual loudspeaker and microphone; nodes need `environment=virtual_sound.environment`."""
    if missing := virtual.what_is_missing():
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix='sound-') as folder:
        sound = virtual.VirtualSound(Path(folder))
        yield sound
        sound.close()
