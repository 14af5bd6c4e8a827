"""Tries one entry of the corpus as a user would, and says what is wrong with the answer."""
import contextlib
import io
import os
import shutil
import stat
import tempfile
import traceback
import warnings
from typing import Any, Callable, NamedTuple, Tuple

import main
from classification import train_wrapper
from classification.report import command as report

PREFIX = 'error: '
FAULTS = ('traceback', 'wrong status', 'not one line', 'not named', 'written')


class Entry(NamedTuple):
    """One bad input, or one that looks bad and works."""
    kind: str
    name: str
    # (folder, Materials) -> options; lays the thing into the folder, an empty one
    make: Callable
    words: Tuple[str, ...] = ()     # that the line contains; ends of paths too
    works: str = ''                 # what a user expects instead of an error; '': an error
    check: Callable = None          # folder -> whether that is so
    program: Any = main


class Outcome(NamedTuple):
    """What a command line did."""
    status: Any
    out: str
    err: str               # Python's stderr, warnings and what C libraries write
    raised: str            # a traceback; '': none
    changed: Tuple[str, ...]


def tried(entry, folder, materials):
    """Outcome of an entry in an empty folder, which becomes the current one."""
    options = entry.make(folder, materials)
    before, here = listed(folder), os.getcwd()
    os.chdir(str(folder))
    try:
        status, out, err, raised = listened(entry.program, options)
    finally:
        os.chdir(here)
    after = listed(folder)
    return Outcome(status, out, err, raised, tuple(sorted(
        name for name in set(before) | set(after) if before.get(name) != after.get(name))))


def faults(entry, outcome):
    """Names from FAULTS; none: the answer is as it should be."""
    found = ['traceback'] if outcome.raised or 'Traceback' in outcome.err else []
    if entry.works:
        return found + ['wrong status'] * (outcome.status != 0) + ['not one line'] * bool(outcome.err)
    if outcome.status != 2:
        found.append('wrong status')
    if not outcome.err.startswith(PREFIX) or outcome.err.count('\n') != 1 or len(
            outcome.err.splitlines()) != 1:
        found.append('not one line')
    if not all(word in outcome.err for word in entry.words):
        found.append('not named')
    return found + ['written'] * bool(outcome.changed)


def listened(program, options):
    """(status, stdout, stderr, traceback) of a program's command line in this process; nothing is trained."""
    out, err, raised, status = io.StringIO(), io.StringIO(), '', None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(
            err), untrained(), c_stderr() as said_by_c, \
            warnings.catch_warnings(record=True) as warned:
        for kind in ('dtype', 'ufunc', 'ndarray'):      # what NumPy itself ignores, and pytest does not
            warnings.filterwarnings('ignore', 'numpy.%s size changed' % kind)
        try:
            status = program.main(options)
        except SystemExit as end:
            status = end.code
        except Exception:
            raised = traceback.format_exc()
    shown = [str(one.message) + '\n' for one in warned if not issubclass(
        one.category, (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning,
                       FutureWarning))]
    return status, out.getvalue(), err.getvalue() + ''.join(shown) + said_by_c[0], raised


@contextlib.contextmanager
def untrained():
    """A command line that gets as far as its trials ends there, with status 0."""
    run = train_wrapper.Run.run
    train_wrapper.Run.run = lambda self: 0
    try:
        yield
    finally:
        train_wrapper.Run.run = run


@contextlib.contextmanager
def c_stderr():
    """A list whose one text is afterwards what was written past Python to stderr."""
    said = ['']
    with tempfile.TemporaryFile() as stream:
        kept = os.dup(2)
        os.dup2(stream.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            stream.seek(0)
            said[0] = stream.read().decode('utf-8', 'replace')


def listed(folder):
    """dict path -> (kind, size, time of change) of everything below a folder; links are not followed."""
    found = {}
    for place, folders, files in os.walk(str(folder)):
        for name in folders + files:
            path = os.path.join(place, name)
            state = os.lstat(path)
            kind = stat.S_IFMT(state.st_mode)
            found[os.path.relpath(path, str(folder))] = (kind,) if stat.S_ISDIR(state.st_mode) else (
                kind, state.st_size, state.st_mtime_ns)
    return found


class Materials(object):
    """What is good and takes time to make: made once, and copied as hard links.

    Args:
        folder: pathlib.Path, for the originals.
    """

    def __init__(self, folder):
        self.folder = folder

    def copy(self, write, to):
        """Copies what `write(folder)` makes; a file must be replaced, not changed, there."""
        original = self.folder / write.__name__
        if not original.exists():
            unfinished = self.folder / 'unfinished'
            unfinished.mkdir()
            write(unfinished)
            unfinished.rename(original)
        shutil.copytree(str(original), str(to), copy_function=os.link)
        return to


def replace(path, content):
    """Gives a file, that may be a hard link, another content."""
    with contextlib.suppress(OSError):
        os.remove(str(path))
    with open(str(path), 'wb') as stream:
        stream.write(content)


def edit(path, change):
    """Replaces a file's content by change(content)."""
    with open(str(path), 'rb') as stream:
        content = stream.read()
    replace(path, change(content))


COMMANDS = {main: 'main.py', report: 'utils.report'}
