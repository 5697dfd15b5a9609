# SPDX-License-Identifier: Apache-2.0
"""Every kernel compiles for every robot's GPU, within its memory, without spills."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interaction_node.kernels.cases import MAX_APPEND, SHAPES, TAPS
from interaction_node.kernels.compile_all import SHARED_LIMIT
from interaction_node.model.presets import preset
from interaction_node.model.session import MAX_APPEND as SESSION_MAX_APPEND

KERNELS = Path(__file__).resolve().parents[2] / 'kernels'


def launched_kernels():
    """Names of the kernels that are launched, as the table has them."""
    found = set()
    for path in KERNELS.glob('*/__init__.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'launch':
                found.add(f'{path.parent.name}.{node.args[0].attr}')
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize('target', SHARED_LIMIT)
def test_every_kernel_compiles_fits_and_does_not_spill(target):
    command = [sys.executable, '-m', 'interaction_node.kernels.compile_all', '--once']
    environment = {k: v for k, v in os.environ.items() if k != 'TRITON_INTERPRET'}
    done = subprocess.run(
        [*command, '--preset', 'orin', '--target', str(target)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(' | ') for line in done.stdout.splitlines()[2:]]
    assert {row[1] for row in rows} == launched_kernels()
    assert all('mma' in row[-1] or 'no product' in row[-1] for row in rows)


@pytest.mark.parametrize('name', SHAPES)
def test_the_shapes_are_those_of_the_presets(name):
    shape, config = SHAPES[name], preset(name).config
    assert (config.conv_kernel, SESSION_MAX_APPEND) == (TAPS, MAX_APPEND)
    pairs = {'rank': 'd_rel', 'sink': 'sink_tokens', 'extent': 'rel_extent'}
    pairs |= {'chosen': 'experts_per_token', 'shared': 'shared_experts'}
    for field, value in vars(shape).items():
        wanted = getattr(config, pairs.get(field, field))
        # Full layers that see everything are compiled as if they saw 8192 tokens.
        assert value == (8192 if wanted is None else wanted), field
