# SPDX-License-Identifier: Apache-2.0
"""Compiles every kernel for every robot's GPU; needs none of them.

`python -m interaction_node.kernels.compile_all [--preset orin] [--target 87]` prints a table:
shared memory against what a block may have, registers, spills, and tensor-core instructions. It
ends with 1 if a kernel spills or takes too much.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from interaction_node.kernels.cases import SHAPES, launches_of
from interaction_node.kernels.launch import Launch

# Shared memory that one block may have, bytes (CUDA programming guide, compute capabilities).
KIB = 1024
SHARED_LIMIT = {87: 163 * KIB, 90: 227 * KIB, 100: 227 * KIB, 110: 227 * KIB}
BOARDS = {87: 'Jetson Orin', 90: 'H100, H200', 100: 'B200', 110: 'Jetson Thor'}
_OPTIONS = ('num_warps', 'num_stages', 'maxnreg')
_TYPES = {
    torch.float32: 'fp32',
    torch.float16: 'fp16',
    torch.bfloat16: 'bf16',
    torch.int8: 'i8',
    torch.int32: 'i32',
    torch.int64: 'i64',
}


@dataclass(frozen=True)
class Compiled:
    """What became of one kernel.

    Attributes:
        name: Kernel, with its folder.
        target: Compute capability times ten.
        weights: dtype of the weights.
        shared_bytes: Shared memory of a block.
        registers: Registers of a thread.
        spill_bytes: Bytes stored and loaded because registers did not suffice.
        tensor_cores: Kinds of matrix instructions used, '' for none.
        is_product: The kernel contains a matrix product.
    """

    name: str
    target: int
    weights: str
    shared_bytes: int
    registers: int
    spill_bytes: int
    tensor_cores: str
    is_product: bool

    @property
    def is_good(self) -> bool:
        """Fits, does not spill, and uses tensor cores for its products."""
        fits = self.shared_bytes <= SHARED_LIMIT[self.target] and not self.spill_bytes
        return fits and (bool(self.tensor_cores) or not self.is_product)


def signature(launch: Launch) -> tuple[dict[str, str], dict[str, object], dict]:
    """Returns types, compile-time constants and alignment of a launch, as Triton's launcher would.

    Args:
        launch: A recorded launch.
    """
    types: dict[str, str] = {}
    constants: dict[str, object] = {}
    aligned = {}
    unspecialised = launch.kernel.do_not_specialize or ()
    names = launch.kernel.arg_names
    values = dict(zip(names, launch.args, strict=False)) | launch.options
    for index, parameter in enumerate(launch.kernel.params):
        value = values[parameter.name]
        if parameter.is_constexpr:
            types[parameter.name], constants[parameter.name] = 'constexpr', value
        elif isinstance(value, torch.Tensor):
            types[parameter.name] = '*' + _TYPES[value.dtype]
            if value.storage_offset() * value.element_size() % 16 == 0:
                aligned[(index,)] = [['tt.divisibility', 16]]
        elif isinstance(value, float):
            types[parameter.name] = 'fp32'
        else:
            types[parameter.name] = 'i32'
            if value % 16 == 0 and parameter.name not in unspecialised:
                aligned[(index,)] = [['tt.divisibility', 16]]
    return types, constants, aligned


def compile_launch(launch: Launch, target: int) -> Compiled:
    """Compiles the kernel of a launch down to machine code.

    Args:
        launch: A recorded launch.
        target: Compute capability times ten.

    Returns:
        Its figures.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types, constants, aligned = signature(launch)
    source = ASTSource(launch.kernel, types, constants, aligned)
    options = {k: v for k, v in launch.options.items() if k in _OPTIONS}
    found = triton.compile(source, target=GPUTarget('cuda', target, 32), options=options)
    report = _assemble(found.asm['ptx'], target)
    spilled = re.findall(r'(\d+) bytes spill (?:stores|loads)', report)
    registers = re.search(r'Used (\d+) registers', report)
    if not registers or not spilled:
        raise RuntimeError(f'ptxas reported neither registers nor spills:\n{report}')
    folder = launch.kernel.fn.__module__.split('.')[-2]
    products = re.findall(r'\b(wgmma|tcgen05\.mma|mma)\b[^;]*', found.asm['ptx'])
    weights = 'int8' if '*i8' in types.values() else launch.args[0].dtype
    return Compiled(
        f'{folder}.{launch.kernel.fn.__name__}',
        target,
        str(weights).removeprefix('torch.'),
        found.metadata.shared,
        int(registers[1]),
        sum(map(int, spilled)),
        ', '.join(sorted(set(products))),
        'tt.dot' in found.asm['ttir'],
    )


def _assemble(ptx: str, target: int) -> str:
    """Returns what the assembler that Triton brings along reports."""
    from triton.backends.nvidia.compiler import get_ptxas

    architecture = re.search(r'\.target (\w+)', ptx)
    assert architecture
    # As Triton calls it, and with the report.
    command = [get_ptxas(target).path, '-v', '--regAllocOptLevel=2']
    command += [f'--gpu-name={architecture[1]}', '-', '-o', '/dev/null']
    done = subprocess.run(command, input=ptx, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f'ptxas failed for sm_{target}:\n{done.stderr}')
    return done.stdout + done.stderr


def compile_preset(preset: str, targets: list[int], once: bool = False) -> Iterator[Compiled]:
    """Compiles every kernel of a micro-turn, each kind once, with bf16 and with int8 weights.

    Args:
        preset: A key of `SHAPES`.
        targets: Compute capabilities times ten.
        once: Every kernel only for the first shape that it is used with.

    Yields:
        The figures of each kernel.
    """
    for target in targets:
        seen = set()
        for launch in launches_of(SHAPES[preset]):
            types, constants, _ = signature(launch)
            key = (launch.kernel.fn, repr(types), None if once else repr(constants))
            if key not in seen:
                seen.add(key)
                yield compile_launch(launch, target)


def main() -> int:
    """Prints the table; returns 1 if something does not fit, spills or shuns tensor cores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--preset', choices=SHAPES, action='append', help='default: all')
    parser.add_argument('--target', type=int, choices=SHARED_LIMIT, action='append')
    parser.add_argument('--once', action='store_true', help='every kernel for one shape only')
    options = parser.parse_args()
    print(
        '| preset | kernel | weights | target | shared, KiB | limit | registers | spills |', end=''
    )
    print(' tensor cores |\n|---|---|---|---|---|---|---|---|---|')
    good, targets = True, options.target or list(SHARED_LIMIT)
    for preset in options.preset or SHAPES:
        for one in compile_preset(preset, targets, options.once):
            cells = [preset, one.name, one.weights, f'sm_{one.target} ({BOARDS[one.target]})']
            cells += [f'{one.shared_bytes / KIB:.1f}', f'{SHARED_LIMIT[one.target] // KIB}']
            cells += [str(one.registers), str(one.spill_bytes)]
            cells += [one.tensor_cores or ('missing' if one.is_product else 'no product')]
            print('| ' + ' | '.join(cells) + ' |', flush=True)
            good &= one.is_good
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
