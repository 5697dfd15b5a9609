# SPDX-License-Identifier: Apache-2.0
"""The repository keeps its own rules: who may import whom, and what every interface field says."""

import ast
import configparser
import enum
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interaction_node.model import interface

ROOT = Path(__file__).resolve().parents[2]
INTERFACES = sorted([*ROOT.glob('msg/*.msg'), *ROOT.glob('srv/*.srv')])
ROS_MODULES = {
    'ament_index_python',
    'builtin_interfaces',
    'diagnostic_msgs',
    'duplex_interaction',
    'geometry_msgs',
    'launch',
    'launch_ros',
    'lifecycle_msgs',
    'rcl_interfaces',
    'rclpy',
    'rosgraph_msgs',
    'sensor_msgs',
    'std_msgs',
    'std_srvs',
}
MAY_IMPORT = {
    'kernels': ('interaction_node.kernels',),
    'model': ('interaction_node.kernels', 'interaction_node.model'),
}
VAGUE_NAMES = {'common', 'helper', 'helpers', 'manager', 'misc', 'util', 'utils'}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob('*.py'))


def module_name(path: Path) -> str:
    """Dotted name under which a file of the three code folders is imported."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    parts = parts if parts[0] == 'interaction_node' else ('interaction_node', *parts)
    return '.'.join(parts)


def imported(tree: ast.AST, package: str = '') -> Iterator[str]:
    """Full dotted names of everything that a syntax tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            levels = package.split('.')[: -node.level + 1 or None] if node.level else []
            base = '.'.join([*levels, *filter(None, [node.module])])
            yield base
            yield from (f'{base}.{alias.name}' for alias in node.names)


def imports_of(path: Path) -> set[str]:
    package = module_name(path).rpartition('.')[0]
    return set(imported(ast.parse(path.read_text()), package))


def test_dependencies_go_one_way():
    for folder, allowed in MAY_IMPORT.items():
        for path in python_files(folder):
            ours = {name for name in imports_of(path) if name.startswith('interaction_node.')}
            assert not {name for name in ours if not name.startswith(allowed)}, path


def test_only_the_nodes_know_ros():
    for path in python_files('kernels', 'model'):
        assert not {name.split('.')[0] for name in imports_of(path)} & ROS_MODULES, path


def test_tests_outside_ros_are_collected_without_it():
    for path in python_files('tests/unit', 'tests/model', 'tests/kernels', 'benchmarks'):
        statements = ast.parse(path.read_text()).body
        imports = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
        roots = {name.split('.')[0] for name in imported(ast.Module(imports, []))}
        assert not roots & (ROS_MODULES | {'triton'}), path


def test_the_offline_part_runs_without_ros():
    code = 'import sys\n'
    code += ''.join(f'sys.modules[{name!r}] = None\n' for name in sorted(ROS_MODULES))
    code += 'import interaction_node, interaction_node.run_folder'
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize('line', ['from . import x', 'from .. import kernels', 'import rclpy.node'])
def test_the_rules_see_every_way_to_import(line):
    names = set(imported(ast.parse(line), 'interaction_node.model'))
    assert names & {'interaction_node.model.x', 'interaction_node.kernels', 'rclpy.node'}


def test_every_file_says_its_licence_and_has_a_telling_name():
    for path in python_files('kernels', 'model', 'interaction_node', 'tests', 'benchmarks'):
        assert path.read_text().startswith('# SPDX-License-Identifier: Apache-2.0\n'), path
        assert path.stem not in VAGUE_NAMES, path


def fields(path: Path) -> list[tuple[str, str, str]]:
    """The (type, name, comment) of every field and constant of an interface file."""
    found = []
    for line in path.read_text().splitlines():
        declaration, _, comment = line.partition('#')
        if match := re.match(r'(\S+)\s+([A-Za-z]\w*)', declaration):
            found.append((match[1], match[2], comment.strip()))
    return found


def constants(path: Path) -> dict[str, int]:
    declared = re.findall(r'^\w+ ([A-Z][A-Z_]*)=(\d+)', path.read_text(), re.MULTILINE)
    return {name: int(value) for name, value in declared}


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_every_field_is_commented(path):
    assert path.read_text().startswith('# '), 'the file says first what it is for'
    assert fields(path)
    for _, name, comment in fields(path):
        assert len(comment) > 8, f'{path.name}: {name}'


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_every_number_has_a_range(path):
    enumeration = r'\b(' + '|'.join([*constants(path), 'NOTHING']) + r')\b'
    for kind, name, comment in fields(path):
        if re.match(r'u?int\d+|float\d+', kind) and not name.isupper():
            says_range = re.search(r'\d', comment) or re.search(enumeration, comment)
            assert says_range, f'{path.name}: {name} has no range'


def test_every_interface_is_built():
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    listed = re.findall(r'^\s+((?:msg|srv)/\w+\.\w+)$', cmake, re.MULTILINE)
    assert sorted(listed) == [str(path.relative_to(ROOT)) for path in INTERFACES]


@pytest.mark.parametrize(
    ('message', 'enumeration'),
    [
        ('ConversationEvent', interface.Role),
        ('ActionIntent', interface.Priority),
        ('MicroTurnStatus', interface.Missing),
    ],
)
def test_messages_and_model_number_alike(message: str, enumeration: type[enum.IntEnum]):
    declared = constants(ROOT / 'msg' / f'{message}.msg')
    for member in enumeration:
        assert member.name == 'NONE' or declared[member.name] == member.value


def test_every_program_exists():
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    programs = config['options.entry_points']['console_scripts'].strip().splitlines()
    assert programs
    for program in programs:
        module, _, function = program.partition('=')[2].strip().partition(':')
        path = ROOT / Path(*module.split('.')).with_suffix('.py')
        tree = ast.parse(path.read_text())
        assert function in {getattr(node, 'name', None) for node in tree.body} | set(imported(tree))


def test_the_version_is_the_same_everywhere():
    import interaction_node

    package_xml = (ROOT / 'package.xml').read_text()
    assert f'<version>{interaction_node.__version__}</version>' in package_xml
    assert f'\n{interaction_node.__version__} (' in (ROOT / 'CHANGELOG.rst').read_text()
