"""Which TensorFlow is installed, found without importing it."""
import contextlib
import glob
import importlib.machinery
import os
import re

from utils.utils import UserError


def tensorflow_version():
    """Version of the installed TensorFlow; see `tensorflow_distribution`."""
    return tensorflow_distribution()[1]


def tensorflow_distribution():
    """(name, version) of the distribution that brought the module `tensorflow`, found without importing it.

    There are many: TensorFlow's own, for CPUs, nightly ones, those of makers of hardware.

    Raises:
        UserError: none is installed.
    """
    spec = importlib.machinery.PathFinder.find_spec('tensorflow')      # also where it is imported already
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            'TensorFlow is not installed for this Python; run: python3 -m pip install -r requirements.txt')
    packages = os.path.dirname(list(spec.submodule_search_locations)[0])
    named = {}      # what tells it -> (name, version)
    for path in sorted(glob.glob(os.path.join(glob.escape(packages), '[!~]*.dist-info'))
                       + glob.glob(os.path.join(glob.escape(packages), '[!~]*.egg-info'))):
        told = _tells_of_tensorflow(path)
        if told and told not in named:
            headers = _first_text(os.path.join(path, 'METADATA'), os.path.join(path, 'PKG-INFO'), path)
            found = [re.search('^%s: *(.*?) *$' % name, headers, re.MULTILINE)
                     for name in ('Name', 'Version')]
            if all(found) and re.match(r'\d+\.', found[1].group(1)):
                named[told] = found[0].group(1), found[1].group(1)
    for told in ('files', 'modules'):      # an empty distribution may name a module that another one brings
        if told in named:
            return named[told]
    raise UserError(
        'the TensorFlow in %s has no version: no distribution beside it says that it brought it; reinstall it'
        % packages)


def _tells_of_tensorflow(path):
    """'files' if the metadata of a distribution list those of the module `tensorflow`, 'modules' if they name
    it."""
    modules = _first_text(os.path.join(path, 'top_level.txt')).split()
    if modules and 'tensorflow' not in modules:
        return None         # lists of files are long
    files = _first_text(os.path.join(path, 'RECORD'), os.path.join(path, 'installed-files.txt'))
    if re.search(r'^(\.\./)?tensorflow/__init__\.py', files, re.MULTILINE):
        return 'files'
    return 'modules' if modules else None


def _first_text(*paths):
    """The text of the first of some files that can be read; '' if none can."""
    for path in paths:
        with contextlib.suppress(OSError), open(path, encoding='utf-8', errors='replace') as stream:
            return stream.read()
    return ''
