# SPDX-License-Identifier: Apache-2.0
"""The README says what the code does: commands, files, topics, services, parameters."""

import ast
import functools
import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from interaction_node.graph_arguments import ARGUMENTS, NODES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text()
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
NODE_NAMES = [spec.executable for spec in NODES]


def section(title: str) -> str:
    return README.split(f'\n## {title}\n', 1)[1].split('\n## ', 1)[0]


def table(title: str) -> list[list[str]]:
    """The rows of a section's table, without the head; cells as text."""
    rows = [line for line in section(title).splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in row.strip('|').split('|')] for row in rows[2:]]


def code(cell: str) -> list[str]:
    return re.findall(r'`([^`]+)`', cell)


class NodeSource:
    """What a node creates, read from its module and all of ours that it imports."""

    def __init__(self, node: str):
        self._trees: dict[str, ast.Module] = {}
        self._load(node)

    def _load(self, name: str) -> None:
        path = ROOT / 'interaction_node' / f'{name}.py'
        if name in self._trees or not path.is_file():
            return
        self._trees[name] = ast.parse(path.read_text())
        for statement in ast.walk(self._trees[name]):
            if isinstance(statement, ast.ImportFrom):
                parts = (statement.module or '').split('.')
                if parts[0] == 'interaction_node' and len(parts) == 2:
                    self._load(parts[1])

    def created(self, what: str) -> Iterator[tuple[str, str, str]]:
        """(name, type, QoS) of every publisher, subscription, service or client; '' if unknown."""
        for tree in self._trees.values():
            for call in ast.walk(tree):
                if (
                    isinstance(call, ast.Call)
                    and getattr(call.func, 'attr', '') == f'create_{what}'
                ):
                    kind, name, *rest = call.args
                    for topic, type_name in names_of(tree, kind, name):
                        yield topic, type_name, qos_text(rest[-1]) if rest else ''


def names_of(tree: ast.Module, kind: ast.expr, name: ast.expr) -> Iterator[tuple[str, str]]:
    if isinstance(name, ast.Constant):
        yield name.value, type_name(tree, kind)
    elif isinstance(kind, ast.Subscript):  # TYPES[topic], topic: a table of the module
        tables = [s for s in tree.body if isinstance(s, ast.Assign) and is_named(s, kind.value.id)]
        for key, value in zip(tables[0].value.keys, tables[0].value.values, strict=True):
            yield key.value, type_name(tree, value)


def is_named(statement: ast.Assign, name: str) -> bool:
    return getattr(statement.targets[0], 'id', '') == name


def type_name(tree: ast.Module, kind: ast.expr) -> str:
    """Name of a message class as its package has it; '' where it is chosen at run time."""
    for statement in ast.walk(tree):
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if isinstance(kind, ast.Name) and (alias.asname or alias.name) == kind.id:
                    return alias.name
    return ''


def qos_text(expression: ast.expr) -> str:
    if isinstance(expression, ast.Constant):
        return f'reliable, keep {expression.value}'
    if getattr(getattr(expression, 'value', None), 'id', '') == 'topic_qos':
        return QOS[expression.attr]
    return ''


def named_qos() -> dict[str, str]:
    """The profiles of `topic_qos`, in words."""
    found = {}
    for statement in ast.parse((ROOT / 'interaction_node/topic_qos.py').read_text()).body:
        if isinstance(statement, ast.Assign):
            text = ast.unparse(statement.value)
            depth = re.search(r'\((?:depth=)?(\d+)', text)[1]
            best_effort = 'best_effort' in text or 'BEST_EFFORT' in text
            words = ['best effort' if best_effort else 'reliable', f'keep {depth}']
            if 'TRANSIENT_LOCAL' in text:
                words.insert(1, 'transient local')
            found[statement.targets[0].id] = ', '.join(words)
    return found


QOS = named_qos()


@functools.cache
def in_the_code(what: str) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """By name and node: (type, QoS) of all publishers, subscriptions, services or clients."""
    found: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for node in NODE_NAMES:
        for name, type_name, qos in NodeSource(node).created(what):
            found[name][node].append((type_name, qos))
    return found


def nodes_in(cell: str) -> set[str]:
    return set(NODE_NAMES) if cell == 'every node' else set(code(cell)) & set(NODE_NAMES)


def test_the_code_is_read_as_it_is_written():
    assert QOS['AUDIO'] == 'reliable, keep 50'
    assert QOS['CONVERSATION'] == 'reliable, transient local, keep 100'
    published = in_the_code('publisher')
    assert set(published['conversation']) == {'interaction_node', 'planner_node'}
    assert published['speech']['interaction_node'] == [('SpeechChunk', 'reliable, keep 10')]
    subscribed = in_the_code('subscription')
    assert subscribed['image/compressed']['interaction_node'] == [('CompressedImage', '')]


@pytest.mark.parametrize(('what', 'column'), [('publisher', 2), ('subscription', 3)])
def test_the_topics_have_the_nodes_of_the_code(what, column):
    written = {code(row[0])[0]: nodes_in(row[column]) for row in table('Topics')}
    found = {name: set(nodes) for name, nodes in in_the_code(what).items()}
    assert {name: nodes for name, nodes in written.items() if nodes} == {
        name: nodes for name, nodes in found.items() if nodes
    }


@pytest.mark.parametrize('what', ['publisher', 'subscription'])
def test_the_topics_have_types_and_qos_of_the_code(what):
    rows = {code(row[0])[0]: row for row in table('Topics')}
    for name, nodes in in_the_code(what).items():
        for type_name, qos in (each for found in nodes.values() for each in found):
            types = [full.rpartition('/')[2] for full in code(rows[name][1])]
            assert not type_name or type_name in types, name
            assert qos in rows[name][4], name


def test_the_services_are_those_of_the_code():
    rows = table('Services')
    written = {(code(row[0])[0], code(row[2])[0]): code(row[1])[0] for row in rows}
    found = {
        (name, node): kind
        for name, nodes in in_the_code('service').items()
        for node, ((kind, _),) in nodes.items()
    }
    assert {key: name.rpartition('/')[2] for key, name in written.items()} == found
    called = {name for name, nodes in in_the_code('client').items() if nodes}
    assert called == {'request_plan', 'cancel_plan'}, 'the text below the table names them'


def test_every_message_and_service_of_ours_is_in_a_table():
    for folder, title in (('msg', 'Topics'), ('srv', 'Services')):
        own = {name for row in table(title) for name in code(row[1]) if '/' not in name}
        own -= {'TwistStamped', 'cmd_vel_stamped'}
        assert own == {path.stem for path in (ROOT / folder).glob(f'*.{folder}')}


def defaults() -> dict[str, dict[str, object]]:
    text = (ROOT / 'config/interaction.yaml').read_text()
    return {
        key.removeprefix('/**/'): dict(flat(part['ros__parameters']))
        for key, part in yaml.safe_load(text).items()
    }


def flat(tree: dict, prefix: str = '') -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def test_the_parameters_of_the_readme_exist_with_these_defaults():
    rows = table('Parameters')
    assert rows
    for node, name, default, _ in rows:
        value = yaml.safe_load(code(default)[0])
        assert defaults()[code(node)[0]][code(name)[0]] == value, name


def test_the_launch_arguments_of_the_readme_exist():
    cells = re.findall(r'^\| (`[^|]+) \|', section('On a robot'), re.MULTILINE)
    known = {argument.name for argument in ARGUMENTS} | {'camera_driver'}
    names = {name.partition(':=')[0] for cell in cells for name in code(cell)}
    assert len(names) > 8
    assert names <= known


def test_the_page_of_parameters_is_up_to_date():
    pytest.importorskip('rclpy', reason='the modules of the nodes need ROS')
    path = ROOT / 'scripts' / 'write_parameters.py'
    spec = importlib.util.spec_from_file_location('write_parameters', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FILE.read_text() == module.render(), f'run {path.relative_to(ROOT)}'


def test_the_page_of_parameters_has_all_of_them():
    page = (ROOT / 'docs' / 'parameters.md').read_text()
    for node, values in defaults().items():
        part = page.split(f'\n## {node}: ', 1)[1].split('\n## ', 1)[0]
        listed = re.findall(r'^\| `([^`]+)` \|', part, re.MULTILINE)
        assert sorted(listed) == sorted(values)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_command_and_link_leads_somewhere(page):
    text = page.read_text()
    targets = re.findall(r'^(\w+):.*?## ', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    commands = [code for code in re.findall(r'`([^`]+)`', text) if code.startswith('make ')]
    commands += re.findall(r'^(?:\S+=\S+ )?(make \w+)', text, re.MULTILINE)
    for command in commands:
        assert command.split()[1] in targets, command
    for module in re.findall(r'python -m interaction_node\.([\w.]+\w)', text):
        base = ROOT if module.startswith(('model.', 'kernels.')) else ROOT / 'interaction_node'
        path = base.joinpath(*module.split('.'))
        assert path.with_suffix('.py').is_file() or (path / '__main__.py').is_file(), module
    for link in re.findall(r'\]\(([^)#\s]+)\)', text):
        assert '://' in link or (page.parent / link).exists(), link


def test_every_file_that_is_named_exists():
    named = re.findall(r'\b(?:config|examples|model|scripts|tests|worlds)/[\w/]+\.\w+', README)
    assert named
    for name in named:
        assert (ROOT / name).is_file(), name


def test_the_tree_names_every_folder():
    tree = re.search(r'```\n(interaction_node/.*?)```', README, re.DOTALL)[1]
    named = {name for line in tree.splitlines() for name in re.findall(r'^[\w/ ]+/', line)}
    named = {folder.rstrip('/') for names in named for folder in names.split()}
    present = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != '.'}
    present -= {'build', 'install', 'log', 'out'}
    assert present <= named
    assert all((ROOT / folder).is_dir() for folder in named), named - present


def test_the_places_for_measurements_are_there():
    for name in ('scores', 'latency'):
        assert README.count(f'<!-- {name} -->') == README.count(f'<!-- /{name} -->') == 1
