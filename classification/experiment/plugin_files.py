"""Plug-ins: files of the user that declare methods, mechanisms and data sets; loaded, checked, copied, told
apart.

A plug-in is one file. What an experiment uses of it is part of its fingerprint by the digest of its syntax
tree; a copy of the file lies in the run folder, which the trials load, wherever they run.
"""
import ast
import hashlib
import importlib.abc
import importlib.util
import os
import sys
import traceback
from collections import OrderedDict
from typing import NamedTuple

from utils import source_digest
from utils.declarations import declared_by
from utils.utils import UserError, error_text, write_atomically

FOLDER = 'plugins'          # in a run folder
OURS = ('classification', 'utils')
PREFIX = 'plugin_'          # of the name of a plug-in's module


class PluginFile(NamedTuple):
    """A plug-in that was loaded."""
    path: str
    module: str           # name of its module
    content: bytes
    sha256: str           # of the file
    digest: str           # of its syntax tree, without comments and docstrings


LOADED = OrderedDict()     # path -> PluginFile


def load(paths):
    """Loads plug-ins, each once.

    Raises:
        UserError: one of them fails; the file and the line are named.
    """
    for path in paths:
        path = os.path.realpath(path)
        if path not in LOADED:
            LOADED[path] = _load(path)


def _load(path):
    name, content = os.path.basename(path), _content(path)
    if not name.endswith('.py') or not name[:-len('.py')].isidentifier():
        raise UserError(
            '--plugin %s: a Python file is needed, whose name is letters, digits and underscores and ends '
            'in .py'
            % path)
    try:
        tree = ast.parse(content, path)
        _Loader(path, content).get_code(name)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UserError('--plugin %s%s: %s' % (path, ', line %s' % error.lineno
                                               if getattr(error, 'lineno', None) else '',
                                               getattr(error, 'msg', error))) from error
    _check_imports(path, tree)
    found = PluginFile(path, PREFIX + name[:-len('.py')], content, hashlib.sha256(content).hexdigest(),
                       source_digest.of_tree(tree))
    for other in LOADED.values():
        if (other.module, other.content) == (found.module, content):        # a copy of it
            return other
    if found.module in sys.modules:
        raise UserError('--plugin %s: another plug-in has the name %s; rename one of them' % (path, name))
    _run(found)
    return found


def _content(path):
    try:
        with open(path, 'rb') as stream:
            return stream.read()
    except OSError as error:
        raise UserError('--plugin %s: %s' % (path, error.strerror)) from error


def _check_imports(path, tree):
    """A UserError where a plug-in imports a file beside it, which would not be copied with it."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [
            node.module or node.names[0].name]
        for name in names:
            first = name.split('.')[0]
            if getattr(node, 'level', 0) or first not in OURS and _is_another_file(first, os.path.dirname(
                    path)):
                raise UserError(
                    '--plugin %s, line %d: a plug-in is one file, and this line imports another one, %s; put '
                    'what it needs into the plug-in' % (path, node.lineno, first))
            if first == 'tensorflow':
                from utils import runtime  # noqa: F401  before TensorFlow is imported


def _is_another_file(name, folder):
    """Whether a module is another plug-in, a file beside the plug-in, or one of this project that is not made
    for it."""
    of_project = os.path.isdir(os.path.join(source_digest.ROOT, name)) or os.path.isfile(
        os.path.join(source_digest.ROOT, name + '.py'))
    return name.startswith(PREFIX) and name in sys.modules or of_project or any(
        os.path.exists(os.path.join(folder, *parts)) for parts in ((name + '.py',), (name, '__init__.py')))


class _Loader(importlib.abc.SourceLoader):
    """Python's own loader of a source file, on the bytes that were checked."""

    def __init__(self, path, content):
        self.path, self.content = path, content

    def get_filename(self, name):
        return self.path

    def get_data(self, path):
        return self.content


def _run(plugin):
    """Runs a plug-in's file, which declares what is in it."""
    from classification.experiment.flags import own_flags
    from classification.model import registry  # noqa: F401  the project's own come first
    loader = _Loader(plugin.path, plugin.content)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(plugin.module, loader))
    sys.modules[plugin.module] = module
    try:
        with declared_by(plugin.path, own_flags()):
            loader.exec_module(module)
    except (Exception, SystemExit) as error:        # whatever a user's file does
        del sys.modules[plugin.module]
        reason = str(error) if isinstance(error, UserError) else error_text(error)
        raise UserError('--plugin %s: %s' % (where(plugin.path, error), reason)) from error


def where(path, error):
    """'FILE.py, line 7': where in a plug-in an exception came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return '%s, line %d' % (path, lines[-1]) if lines else path


def words():
    """The words of a command line that loads what is loaded."""
    return [word for path in LOADED for word in ('--plugin', path)]


def of_files(paths):
    """The PluginFiles of some of the loaded files, each once, as they were loaded:
    one may need what another declares."""
    return [plugin for path, plugin in LOADED.items() if path in paths]


def keep(plugins, run_folder):
    """Copies the plug-ins of an experiment into its run folder, byte for byte;
    the paths there, relative to it."""
    folder = os.path.join(run_folder, FOLDER)
    names = ['%s.py' % plugin.module[len(PREFIX):] for plugin in plugins]
    if plugins:
        os.makedirs(folder, exist_ok=True)
    for name, plugin in zip(names, plugins):
        write_atomically(os.path.join(folder, name), plugin.content, alone=True)
    return [os.path.join(FOLDER, name) for name in names]


def described(plugins, names):
    """What config.json says of an experiment's plug-ins."""
    return [OrderedDict([('file', name), ('from', plugin.path), ('sha256', plugin.sha256),
                         ('digest', plugin.digest)])
            for plugin, name in zip(plugins, names)]


def load_kept(run_folder, kept):
    """Loads the copies in a run folder that config.json tells of.

    Raises:
        UserError: one is missing, or is not the file that the experiment began with.
    """
    for row in kept:
        path = os.path.join(run_folder, row['file'])
        if hashlib.sha256(_content(path)).hexdigest() != row['sha256']:
            raise UserError(
                '%s is not the plug-in that this experiment began with; run the same command again' % path)
        load([path])
