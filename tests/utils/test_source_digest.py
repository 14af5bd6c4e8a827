"""Digests of source: what they see, what they do not see, and that they are the same on every Python."""
import ast
import hashlib
import os
import shutil
import sys

import pytest

from utils.source_digest import ROOT, Source, canonical

# Every kind of node that Python 3.6 has.
SAMPLE = '''
"""Of the module."""
import os, sys as system
from . import here
from ..above import (one as two, three)

constant: int = 0x10
bare: "a text"
a = b = None, True, False, ..., 1.5, 2j, 10 ** 40, -3, b"\\x00\\xff", "caf\\u00e9 \\U0001f600 \\x7f\\ud800", "joined " "text", u"old"
a[0], a[1:2], a[::3], a[1:2, 3], a[..., None], a[b, c], a[-1] = 1, 2, 3, 4, 5, 6, 7
(first, *rest), [second, third] = value
a += 1; a -= 1; a *= 1; a /= 1; a //= 1; a %= 1; a **= 1; a >>= 1; a <<= 1; a &= 1; a ^= 1; a |= 1; a @= b
del a, b[0], c.d
assert a, "why"
text = f"{a}{b!r:>{width}}and {{more}} {c:.3f}"
x = not a or b and c
y = ~a + +b - -c if a < b <= c != d > e >= f == g else (a is b, a is not b, a in b, a not in b)
z = lambda p, q=1, *r, s, t=2, **u: (p, q, r, s, t, u)
s = {1, 2}, {1: 2, **more}, [*a, *b], {**a}, (), [], {}
c = [i for i in a if i if not i], {i for i in a}, {i: j for i, j in a}, (i for i in a for j in i)
call(1, *args, key=2, **kwargs)


@decorator
@other.one(1)
def function(a, b: int = 1, *args: str, c, d=2, **kwargs) -> float:
    """Of the function."""
    global g
    for i in range(3):
        if i: continue
        elif a: break
        else: pass
    else:
        yield
    while a:
        yield a
    else:
        yield from b
    with open(a) as b, c: return
    try:
        raise Error(1) from None
    except (A, B) as error:
        raise
    except C: pass
    else: pass
    finally: pass

    def inner():
        nonlocal a
        return a


class Class(Base, metaclass=Meta):
    """Of the class."""
    field = 1


class Empty:
    """Nothing but this."""


async def coroutine():
    """Of the coroutine."""
    async with a as b: await c
    async for i in a: pass
    return [i async for i in a]
'''
SAMPLE_DIGEST = '853edd15620edcc5413f8e92434e3052fbea0e4dc219fd59bdd0bd75cac58c2a'


def digest(source):
    return hashlib.sha256(canonical(ast.parse(source)).encode('utf-8')).hexdigest()


def test_the_sample_has_the_same_digest_on_every_python():
    assert digest(SAMPLE) == SAMPLE_DIGEST

@pytest.mark.skipif(sys.version_info >= (3, 8), reason='newer Pythons have other kinds of nodes')
def test_the_sample_has_every_kind_of_node():
    kinds = {name for name, kind in vars(ast).items()
             if isinstance(kind, type) and issubclass(kind, ast.AST) and not kind.__subclasses__()}
    used = {type(node).__name__ for node in ast.walk(ast.parse(SAMPLE))}
    assert kinds - used == {'AugLoad', 'AugStore', 'Constant', 'Expression', 'Interactive', 'Param', 'Suite'}


def test_what_a_reader_sees_and_a_computer_does_not_changes_nothing():
    plain = 'def f(a):\n    return [a, "x"]\n'
    same = ('"""Module."""\n# a comment\ndef f(a):\n\n    """What it does."""\n'
            '    return [  a,\n        \'x\']  # why\n')
    assert digest(plain) == digest(same)


@pytest.mark.parametrize('other', [
    'def f(a):\n    return [a, "y"]\n', 'def f(a):\n    return (a, "x")\n',
    'def f(b):\n    return [b, "x"]\n',
    'def f(a=1):\n    return [a, "x"]\n', 'def f(a):\n    "x"\n    return ["x", a]\n',
    'def f(*a):\n    return [a, "x"]\n'])
def test_what_computes_something_else_changes_it(other):
    assert digest('def f(a):\n    return [a, "x"]\n') != digest(other)


def test_equal_numbers_of_different_kinds_differ():
    assert len({digest('a = %s' % value) for value in ('1', '1.0', 'True', '"1"', 'b"1"')}) == 5


@pytest.fixture
def project(tmp_path):
    """function name, text -> the file of a small project is written; .digests():
    of what `start.run` reaches."""
    class Project(object):
        rows = {('package.table', 'TABLE'): 'a'}

        def write(self, name, text):
            path = tmp_path.joinpath(*name.split('.')).with_suffix('.py')
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            return self

        def digests(self):
            return Source(str(tmp_path)).digests([('start', 'run')], self.rows)

    made = Project()
    made.write('start',
               'import json\nfrom package import helper as h, table\nfrom package.deep import LIMIT\n'
                        'def run():\n    return h.used(table.TABLE["a"], LIMIT, json)\ndef other():\n    '
                        'return h.unused()\n')
    made.write('package.helper',
               'def used(*a):\n    return _inner(a)\ndef _inner(a):\n    return a\ndef unused():\n    pass\n')
    made.write('package.deep', 'LIMIT = 3\nMESSAGE = "hello"\n')
    made.write('package.table',
               'from package.one import A\nfrom package.two import B\nTABLE = {"a": A, "b": B}\n')
    made.write('package.one', 'class A:\n    pass\n')
    return made.write('package.two', 'class B:\n    pass\n')


def test_only_what_is_reached_counts(project):
    before = project.digests()
    assert sorted(before) == ['package.deep', 'package.helper', 'package.one', 'package.table', 'start']
    project.write('package.deep', 'LIMIT = 3\nMESSAGE = "good day"\n')
    project.write('package.two', 'class B:\n    x = 1\n')
    project.write('package.helper',
                  'def used(*a):\n    return _inner(a)\ndef _inner(a):\n    return a\ndef unused():\n    '
                  'return 1\n')
    assert project.digests() == before
    project.write('package.helper',
                  'def used(*a):\n    return _inner(a)\ndef _inner(a):\n    return [a]\ndef unused():\n    '
                  'pass\n')
    after = project.digests()
    assert [name for name in after if after[name] != before[name]] == ['package.helper']
    project.write('package.one', 'class A:\n    x = 1\n')
    assert project.digests()['package.one'] != before['package.one']


def test_what_runs_when_a_module_is_imported_counts(project):
    before = project.digests()
    project.write('package.deep', 'LIMIT = 3\nMESSAGE = "hello"\nLIMIT += 1\n')
    assert project.digests()['package.deep'] != before['package.deep']


def test_the_order_of_definitions_and_a_moved_module_change_no_digest(project):
    before = project.digests()
    project.write('package.helper',
                  'def unused():\n    pass\ndef _inner(a):\n    return a\ndef used(*a):\n    return '
                  '_inner(a)\n')
    project.write('package.elsewhere', '"""Moved."""\nLIMIT = 3\n')
    project.write('start',
                  'import json\nfrom package import helper as h, table\nfrom package.elsewhere import LIMIT\n'
                           'def run():\n    return h.used(table.TABLE["a"], LIMIT, json)\n')
    after = project.digests()
    assert set(before.values()) == set(
        after.values()) and 'package.elsewhere' in after and 'package.deep' not in after


@pytest.fixture
def house(tmp_path):
    """A copy of this project's sources: pathlib.Path."""
    for name in ('classification', 'utils'):
        shutil.copytree(os.path.join(ROOT, name), str(tmp_path / name),
                        ignore=shutil.ignore_patterns('__pycache__'))
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_edit_of_one_method_or_mechanism_flags_no_other(house):
    from classification.runs import provenance
    from tests.support.commands import experiment_of
    experiments = {name: experiment_of('--model_type', name) for name in ('HPS', 'Hybrid_TF', 'LASEM_HPS')}
    experiments['DEN'] = experiment_of('--model_type', 'DEN', '--test_type', '0')
    experiments['joint'] = experiments['HPS']._replace(lifelong=False)

    def digests():
        files = Source(str(house))
        return {name: provenance.source(one, files) for name, one in experiments.items()}

    def changed_since(before):
        after = digests()
        return {name: [module for module in after[name] if after[name][module] != before[name].get(module)]
                for name in after if after[name] != before[name]}

    first = digests()
    assert all('classification.%s' % name in first['HPS'] for name in ('train', 'gen_data', 'data.readers',
                                                                       'model.method'))
    assert not any(name in first['HPS'] for name in ('classification.experiment.flags',
                                                     'classification.data.readers_officehome',
                                                     'utils.report'))
    edit(house / 'classification' / 'model' / 'cnn_den_model.py', 'def _notes(',
         'UNUSED = 1\n\n\ndef _notes(')
    edit(house / 'utils' / 'utils_env_cl.py', "('den_split', True)", "('den_split', False)")
    assert changed_since(first) == {}           # an unused name, and a value that an experiment holds itself
    edit(house / 'classification' / 'model' / 'cnn_den_model.py', 'class DEN(Method):',
         'class DEN(Method):\n    new = 1\n')
    assert changed_since(first) == {'DEN': ['classification.model.cnn_den_model']}
    second = digests()
    edit(house / 'classification' / 'model' / 'mechanisms.py', 'class TensorFactors(Mechanism):',
         'class TensorFactors(Mechanism):\n    new = 1\n')
    assert changed_since(second) == {'Hybrid_TF': ['classification.model.mechanisms']}
    edit(house / 'classification' / 'trial' / 'schedule.py', "purpose='task of an epoch'",
         "purpose='another'")
    edit(house / 'classification' / 'trial' / 'task_graph.py', "'training%d' % task", "'trained%d' % task")
    assert changed_since(dict(second, Hybrid_TF=digests()['Hybrid_TF'])) == {
        'joint': ['classification.trial.schedule', 'classification.trial.task_graph']}
    third = digests()
    edit(house / 'classification' / 'train.py', 'data.train.size // batch', '1 + data.train.size // batch')
    assert changed_since(third) == {name: ['classification.train'] for name in experiments}
