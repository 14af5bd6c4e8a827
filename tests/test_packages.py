"""The packages stand in layers: every import points to one that stands below, or to the same one."""
import ast
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What each may import beside itself and `utils`.
BELOW = {
    'utils': '', 'data': '', 'results': '', 'model': '', 'gen_data': 'data', 'analysis': 'data results',
    'trial': 'model gen_data data results analysis', 'experiment': 'model gen_data data results',
    'report': 'experiment results model', 'train': 'experiment trial model gen_data data results analysis',
    'runs': 'train experiment trial model gen_data data results', 'download': 'experiment gen_data data',
    'plugin': 'experiment model gen_data data', 'train_wrapper': 'runs report experiment gen_data data results',
    'main': 'train_wrapper runs trial experiment'}
SAME = {'data_sets': 'plugin'}      # modules that stand beside another one
ENTRIES = {'utils.report': 'report', 'utils.read_results': 'results'}       # thin, under the names that users know
# A plug-in's file imports this module; so that it can, experiment.plugin_files only names it in a text.


def modules():
    """(name, path) of each module of the product."""
    paths = ['main.py'] + [os.path.join(folder, name) for top in ('classification', 'utils')
                           for folder, _, names in os.walk(os.path.join(ROOT, top)) for name in names if name.endswith('.py') and name != '__init__.py']
    return [(os.path.relpath(os.path.join(ROOT, path), ROOT)[:-len('.py')].replace(os.sep, '.'), os.path.join(ROOT, path))
            for path in paths]


def package_of(name):
    """'runs' for 'classification.runs.progress', 'plugin' for 'classification.data_sets'."""
    part = name.split('.')[1] if name.startswith('classification.') else name.split('.')[0]
    return SAME.get(part, part)


def imported(path):
    """Full names of what a file imports of the product."""
    with open(path, encoding='utf-8') as stream:
        tree = ast.parse(stream.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split('.')[0] in ('classification', 'utils'):
            for alias in node.names:
                yield '%s.%s' % (node.module, alias.name)


@pytest.mark.parametrize('name, path', modules(), ids=str)
def test_an_import_points_down(name, path):
    mine = package_of(name)
    allowed = {mine, 'utils'} | set(BELOW[mine].split()) | {ENTRIES.get(name)}
    found = {package_of(other): other for other in imported(path)}
    assert not {package: other for package, other in found.items() if package not in allowed}
