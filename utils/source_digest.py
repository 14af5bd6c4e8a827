"""Digests of the source that computes an experiment's numbers, found without importing it.

From some roots on, every top-level definition of this project that a definition names belongs to it too. A
module's digest covers its definitions that were reached, as syntax trees without docstrings, comments and
positions: it changes when what they compute may change, and not when a module moves or a message elsewhere in
it is reworded.
"""
import ast
import hashlib
import json
import os
from collections import OrderedDict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DIGITS = 16
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
DECLARING = ('classification.model.declare', 'classification.data_sets', 'classification.plugin')
# of a syntax tree's fields: the place tells, or nothing
_NO_MEANING = ('ctx', 'kind', 'type_comment', 'type_ignores')


def canonical(node):
    """A syntax tree as a text that every Python from 3.6 on gives for the same source.

    Absent and empty fields are left out, since newer Pythons have more of them; nodes that newer ones have no
    longer are written as what replaced them; docstrings are left out.
    """
    if isinstance(node, list):
        return '[%s]' % ','.join(map(canonical, node))
    if not isinstance(node, ast.AST):
        return _constant(node)
    name = type(node).__name__
    if name in ('Num', 'Str', 'Bytes', 'NameConstant', 'Ellipsis', 'Constant'):
        return 'Constant(%s)' % _constant(_value(node, name))
    if name == 'Index':
        return canonical(node.value)
    fields = {field: getattr(node, field, None) for field in node._fields if field not in _NO_MEANING}
    if name == 'ExtSlice':
        name, fields = 'Tuple', {'elts': fields['dims']}
    if name in ('Module', 'FunctionDef', 'AsyncFunctionDef', 'ClassDef') and _is_text(fields['body'][:1]):
        fields['body'] = fields['body'][1:]
    return '%s(%s)' % (name, ','.join('%s=%s' % (field, canonical(fields[field])) for field in sorted(fields)
                                      if fields[field] is not None and fields[field] != []))


def _value(node, name):
    """The value of a constant, of which Python 3.6 and 3.7 have five kinds."""
    return Ellipsis if name == 'Ellipsis' else getattr(node, {'Num': 'n', 'Str': 's', 'Bytes': 's'}.get(
        name, 'value'))


def _is_text(statements):
    """Whether these statements are a bare text, as docstrings are."""
    values = [statement.value for statement in statements if isinstance(statement, ast.Expr)]
    return bool(values) and type(values[0]).__name__ in ('Str', 'Constant') and isinstance(
        _value(values[0], type(values[0]).__name__), str)


def _constant(value):
    if isinstance(value, str):
        return json.dumps(value)        # repr depends on the signs that a Python knows to be printable
    return '%s %r' % (type(value).__name__, value)


class _Module(object):
    """The top-level definitions of a source file: name -> statement; loose: what runs when it is imported."""

    def __init__(self, tree):
        self.definitions, self.loose, self.imports = {}, [], _imported(tree.body)
        for place, statement in enumerate(tree.body):
            names = _defined(statement)
            if isinstance(statement, _DEFINITIONS):
                statement.decorator_list = [node for node in statement.decorator_list
                                            if not self._declares(node)]
            self.definitions.update((name, statement) for name in names)
            main = isinstance(statement, ast.If) and "'__name__'" in ast.dump(statement.test)
            if not names and not isinstance(statement, _IMPORTS) and not main and not (
                    place == 0 and _is_text([statement])):
                self.loose.append(statement)


    def _declares(self, decorator):
        """Whether a decorator only declares what the experiment holds: a call of a name of DECLARING."""
        name = getattr(decorator.func, 'id', None) if isinstance(decorator, ast.Call) else None
        return self.imports.get(name, ('',))[0] in DECLARING


def _defined(statement):
    """Names that a top-level statement gives a meaning."""
    if isinstance(statement, _DEFINITIONS):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, 'target', None)]
    return [node.id for target in targets if isinstance(target, (ast.Name, ast.Tuple))
            for node in ast.walk(target) if isinstance(node, ast.Name)]


def _imported(statements):
    """Name in the importing file -> (module, name there or None for the module itself)."""
    found = {}
    for statement in statements:
        for part in getattr(statement, 'names', ()) if isinstance(statement, _IMPORTS) else ():
            if isinstance(statement, ast.Import):
                found[(part.asname or part.name).split('.')[0]] = part.name, None
            else:
                found[part.asname or part.name] = statement.module or '', part.name
    return found


class Source(object):
    """The project's source files below a folder, parsed when first asked for."""

    def __init__(self, root=ROOT):
        self.root, self.modules = root, {}

    def module(self, name):
        """_Module, or None for what is not of this project."""
        if name not in self.modules:
            path = os.path.join(self.root, *name.split('.')) + '.py'
            self.modules[name] = None
            if os.path.isfile(path):
                with open(path, 'rb') as stream:
                    self.modules[name] = _Module(ast.parse(stream.read()))
        return self.modules[name]

    def add(self, name, content):
        """Takes a file of this content for a module of the project."""
        self.modules[name] = _Module(ast.parse(content))

    def digests(self, roots, rows, without=()):
        """OrderedDict module -> digest of its definitions that are reached.

        Args:
            roots: (module, name) pairs from which the search starts.
            rows: dict (module, name of a table) -> the key whose row alone is used.
            without: modules that change no number.
        """
        reached, waiting = {}, list(roots)
        while waiting:
            module, name = self._home(*waiting.pop())
            if module is None or module in without or name in reached.setdefault(module, {}):
                continue
            content = self.module(module)
            nodes = [_row(content.definitions[name], rows[module, name])] if (module, name) in rows else [
                content.definitions[name]]
            if not reached[module]:
                nodes += content.loose
            reached[module][name] = nodes
            for node in nodes:
                waiting += self._named(node, module)
        return OrderedDict((module, _digest(names)) for module, names in sorted(reached.items()) if names)

    def _home(self, module, name):
        """Where a name is defined, through imports; (None, None) if not in this project."""
        content = self.module(module)
        if content is None:
            return None, None
        if name in content.definitions:
            return module, name
        return self._home(*content.imports[name]) if content.imports.get(name, (None, None))[1] else (
            None, None)

    def _named(self, node, module):
        """(module, name) pairs that a node speaks of."""
        imports = dict(self.module(module).imports)
        imports.update(_imported(node for node in ast.walk(node) if isinstance(node, _IMPORTS)))
        own = self.module(module).definitions
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.value,
                                                              ast.Name) and part.value.id in imports:
                there = self._as_module(imports[part.value.id])
                if there:
                    yield there, part.attr
            elif isinstance(part, ast.Name) and part.id in own:
                yield module, part.id
            elif isinstance(part, ast.Name) and part.id in imports and imports[part.id][1]:
                yield imports[part.id]

    def _as_module(self, imported):
        """The module of this project that an import names, or None."""
        module, name = imported
        full = module if name is None else '%s.%s' % (module, name)
        if self.module(full):
            return full
        passed_on = self.module(module).imports.get(name) if name and self.module(module) else None
        return self._as_module(passed_on) if passed_on else None


def _row(statement, key):
    """The value of one row of a table, a dict or OrderedDict written out;
    an empty tree where it has no such row."""
    for node in ast.walk(statement.value):
        pairs = zip(node.keys, node.values) if isinstance(node, ast.Dict) else (
            [node.elts] if isinstance(node, ast.Tuple) and len(node.elts) == 2 else [])
        for name, value in pairs:
            if type(name).__name__ in ('Str', 'Constant') and _value(name, type(name).__name__) == key:
                return value
    return ast.Tuple(elts=[])


def of_tree(tree):
    """Digest of a whole file, parsed; comments and docstrings do not count."""
    return hashlib.sha256(canonical(tree).encode('utf-8')).hexdigest()


def _digest(names):
    """Of the definitions of a module, whatever their order."""
    texts = {hashlib.sha256(canonical(node).encode('utf-8')).hexdigest() for nodes in names.values()
             for node in nodes}
    return hashlib.sha256(''.join(sorted(texts)).encode('ascii')).hexdigest()[:DIGITS]
