"""The packages stand in layers: every import points to one that stands below, or to the same one.

Nothing but tests imports tests, and no test imports another one.
"""
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
    'plugin': 'experiment model gen_data data', 'status': 'runs report experiment results',
    'predict': 'experiment model gen_data data results analysis',
    'train_wrapper': 'runs report experiment gen_data data results',
    'main': 'train_wrapper runs trial experiment'}
SAME = {'data_sets': 'plugin', 'train_grid': 'train_wrapper'}      # modules that stand beside another one
# thin, under the names that users know
ENTRIES = {'utils.report': 'report', 'utils.read_results': 'results', 'utils.status': 'status'}
# A plug-in's file imports this module; so that it can, experiment.plugin_files only names it in a text.


def files(*tops):
    """Paths of the Python files below these folders, from the root."""
    return [os.path.relpath(os.path.join(folder, name), ROOT) for top in tops
            for folder, _, names in os.walk(os.path.join(ROOT, top)) for name in names
            if name.endswith('.py')]


def name_of(path):
    """'utils.report' for 'utils/report.py'."""
    return path[:-len('.py')].replace(os.sep, '.')


def modules():
    """(name, path) of each module of the product."""
    return [(name_of(path), os.path.join(ROOT, path)) for path in ['main.py']
            + files('classification', 'utils')
            if os.path.basename(path) != '__init__.py']


def package_of(name):
    """'runs' for 'classification.runs.progress', 'plugin' for 'classification.data_sets'."""
    part = name.split('.')[1] if name.startswith('classification.') else name.split('.')[0]
    return SAME.get(part, part)


def imported(path, tops=('classification', 'utils')):
    """Full names of what a file imports of these packages."""
    with open(path, encoding='utf-8') as stream:
        tree = ast.parse(stream.read())
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ['%s.%s' % (node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, 'attr',
                                                    None) in ('importorskip', 'import_module'):
            names = [word for word in (getattr(each, 'value', getattr(each, 's', None)) for each in node.args)
                     if isinstance(word, str)]
        for name in names:
            if name.split('.')[0] in tops:
                yield name


@pytest.mark.parametrize('name, path', modules(), ids=str)
def test_an_import_points_down(name, path):
    mine = package_of(name)
    allowed = {mine, 'utils'} | set(BELOW[mine].split()) | {ENTRIES.get(name)}
    found = {package_of(other): other for other in imported(path)}
    assert not {package: other for package, other in found.items() if package not in allowed}


def test_only_tests_import_tests():
    for path in ['main.py'] + files('classification', 'utils', 'scripts', 'examples'):
        assert not list(imported(os.path.join(ROOT, path), ['tests'])), path


def test_no_test_imports_another_one():
    for path in files('tests'):
        found = [name for name in imported(os.path.join(ROOT, path), ['tests'])
                 if any(part.startswith('test_') for part in name.split('.'))]
        assert not found, '%s imports %s' % (path, found)
