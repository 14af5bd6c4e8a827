"""Result files, MATLAB version 5: a cell `training_summary` with one struct per experiment.

In Python a struct is a dict, a cell a list, a char row a str, and every number an array of at least two
dimensions.
SciPy is imported where it is used: half a second that `--help` need not wait for.
"""
import contextlib
import io
import numbers
import os
import re
import stat
import tempfile
import warnings

import numpy as np

from classification.results import mat_check, mat_parts
from classification.results.mat_parts import CONTINUES, HEADER, HEADING, SUMMARY, series
from utils.locks import Held, Lock
from utils.utils import UserError, error_text, write_atomically

LOCK_WAIT_S = 120
LONGEST_FIELD = 31
# MATLAB's rule; savemat drops or refuses the others
_FIELD_NAME = re.compile('[A-Za-z][A-Za-z0-9_]{0,30}$')


def as_stored(value):
    """A Python value as a result file holds it.

    Numbers and rectangular lists of them become int64, float64 or logical arrays; an array keeps its type; a
    single dimension is a row; None and the empty list are MATLAB's []; other lists, also those of arrays, are
    cells.
    """
    if isinstance(value, dict):
        return {name: as_stored(one) for name, one in value.items()}
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, (list, tuple)) and not value:
        return np.zeros((0, 0))
    array = value if isinstance(value, np.ndarray) else _rectangle(value)
    if array is None:
        return [as_stored(one) for one in value]
    if array.dtype.kind == 'U':
        return as_stored(array.tolist())
    if array.ndim < 2:
        return array.reshape((1, -1) if array.size else (0, 0))
    return array


def _rectangle(value):
    """Numbers as an array; None if they are no numbers or their lists differ in length."""
    if not _only_numbers(value):
        return None
    try:
        array = np.array(value)
    except ValueError:      # NumPy >= 1.24 where lengths differ; older ones give an array of objects
        return None
    kinds = {'b': np.bool_, 'i': np.int64, 'u': np.uint64, 'f': np.float64}
    return array.astype(kinds[array.dtype.kind]) if array.dtype.kind in kinds else None


def _only_numbers(value):
    if isinstance(value, (list, tuple)):
        return all(_only_numbers(one) for one in value)
    return isinstance(value, (numbers.Real, np.bool_))


def entries(path):
    """The experiments in a result file, the authors' release's too, oldest first.

    Raises:
        UserError: the file is missing, damaged or not a result file.
    """
    return [_plain(entry) for entry in _load(path)[SUMMARY].flat]


def find_entry(path, fingerprint):
    """The newest entry of an experiment; None if there is none, or no file."""
    return locate(path, fingerprint)[1]


def locate(path, fingerprint):
    """(file, entry): the newest entry of an experiment in a result file and those that continue it; (None,
    None): none."""
    found = None, None
    for file, entry in each_entry(path):
        if _same(entry.get('fingerprint'), fingerprint):
            found = file, entry
    return found


def each_entry(path):
    """Yields (file, entry) of every experiment in a result file, there or not, and those that continue it;
    one is in memory at a time."""
    for file in series(path):
        if os.path.exists(file):
            with _ResultFile(file) as opened:
                for entry in opened.each():
                    yield file, entry


def append_entry(path, entry, replace=False, keep=()):
    """Adds an experiment to a result file, which is made if need be; what the file holds stays as it is, bit
    for bit.

    (A file that is compressed, or written on a big-endian machine, is written anew; its values stay.)

    An entry with the same `run_id` is replaced, so that appending once more after a crash changes nothing.
    With `replace` so is the newest one with the same `fingerprint`. Where the file would become too large for
    MATLAB the entry goes into the next one, NAME-2.mat and so on. Fields in `keep` of an entry that is
    replaced stay where the new one lacks them.

    Returns:
        path of the file that holds it now.
    Raises:
        UserError: the file is damaged or not a result file, or cannot be added to; nothing was written.
    """
    def kept(before):
        return {name: before[name] for name in keep if name in before and name not in entry}

    return _put(path, entry, replace, lambda before: dict(entry, **(kept(before()) if keep else {})))


def change_entry(path, fingerprint, change):
    """Replaces the newest entry of an experiment that is in a result file.

    Args:
        change: function of the entry, as `entries` gives it -> the new one.
    Raises:
        UserError: the file no longer holds it.
    """
    def made(before):
        if not before():
            raise UserError('%s no longer holds the experiment %s; give the same command again'
                            % (path, fingerprint[:8]))
        return change(before())

    _put(path, {'fingerprint': fingerprint}, True, made)


def _put(path, about, replace, made):
    """Writes an entry in the place of that which `about` (its run_id, its fingerprint) finds, or behind the
    last one; returns the path of the file.

    Args:
        made: function of a function -> the entry; the latter gives the entry that is replaced, {}: none.
    """
    check_permission(path)
    with _locked(path) as lock, contextlib.ExitStack() as opened:
        files = [opened.enter_context(_ResultFile(file)) for file in series(path) if os.path.exists(file)]
        found = _places(files, about, replace)
        old, place = found[-1] if found else (None, None)
        entry = made(lambda: {} if old is None else old.entry(place))
        new = _written(path, _savable(as_stored(entry)), opened)
        goals = [(old, place)] * (old is not None) + [(file, None) for file in files[-1:]
                                                      if os.path.exists(path)]
        goal, at = next((pair for pair in goals if pair[0].takes(new, pair[1])), (None, None))
        if goal is None:
            goal = _ResultFile(path)
            if os.path.exists(path):
                goal = _ResultFile(mat_parts.next_file(path), os.path.basename(mat_parts.target_of(path)))
        lock.check(path)
        goal.write(new, at)
        for file, place in found:
            if file is not goal:        # also what a crash between these two writes left
                file.write(None, place)
    return goal.path


def _written(path, savable, opened):
    """Span of an experiment in a nameless file beside the result, which `opened` closes:
    in memory it would be there twice."""
    from scipy.io import savemat
    try:
        stream = opened.enter_context(tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))))
        savemat(stream, {SUMMARY: _cell([savable])})
    except OSError as problem:      # a full disk
        raise OSError(problem.errno, problem.strerror, path) from problem
    except Exception as problem:      # MatWriteError has no public name that all versions of SciPy share
        raise UserError('%s cannot be added to (%s); give another file name' % (path, problem)) from problem
    return mat_parts.Span(HEADER + HEADING, stream.seek(0, os.SEEK_END), stream)


class _ResultFile(object):
    """One file of experiments, there or not, whose parts are copied rather than loaded.

    Args:
        path: of the file.
        continues: name of the file that it continues, where it is new.
    Raises:
        UserError: it is damaged, no result file, or cannot be added to.
    """

    def __init__(self, path, continues=None):
        self.path, self.stream, self.entries, self.behind = path, None, [], []
        if os.path.exists(path):
            self.stream, parts = _plain_parts(path)
            self.before, self.behind = parts.variables[:parts.summary], parts.variables[parts.summary + 1:]
            self.entries = parts.entries
            self.stream.seek(0)
            self.header = self.stream.read(HEADER)
        else:
            content = _encoded({CONTINUES: continues or ''})
            self.header, self.before = content[:HEADER], [content[HEADER:]] * bool(continues)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stream.close()

    def each(self):
        """Yields every experiment; one of them is in memory at a time."""
        for place in range(len(self.entries)):
            yield self.entry(place)

    def entry(self, place):
        """One experiment."""
        alone = mat_parts.Alone(self.stream, self.entries[place])
        return _plain(_summary(self.path, _loaded(self.path, alone)).flat[0])

    def takes(self, element, place):
        """Whether it stays small enough for MATLAB, or holds nothing else, with this experiment (in the place
        of another)."""
        others = [span for number, span in enumerate(self.entries) if number != place]
        return not others or mat_parts.cell_size(others + [element]) <= mat_parts.MAX_BYTES

    def write(self, element, place):
        """Writes the file with an experiment in a place, or behind the last (place None), or without that
        (element None)."""
        entries, at = list(self.entries), len(self.entries) if place is None else place
        entries[at:at + 1] = [] if element is None else [element]
        parts = [self.header] + self.before + [mat_parts.heading(entries)] + entries + self.behind
        write_atomically(self.path, mat_parts.pieces(self.stream, parts), alone=True)


def _plain_parts(path):
    """(binary stream, its Parts) of a result file;
    one that is not plain is loaded and written anew in memory."""
    stream = _opened(path)
    try:
        _check_kind(path, stream.read(HEADER))
        if not mat_parts.is_plain(stream):
            variables = _load(path)
            variables[SUMMARY] = _cell([_resavable(one) for one in variables[SUMMARY].flat])
            stream.close()
            stream = io.BytesIO(_encoded(variables))
        return stream, mat_parts.parts_of(stream)
    except mat_parts.NoSummary:
        stream.close()
        raise _no_result_file(path) from None
    except UserError:
        stream.close()
        raise
    except Exception as problem:      # SciPy has another class of error for every kind of damage
        stream.close()
        raise _damaged(path, problem) from problem


def check_permission(path):
    """Finds out whether the files of a result that are there may be replaced by ones with more in them;
    writes nothing.

    Its own mode counts, also for a user who may write everything.

    Raises:
        UserError: it may not.
    """
    for file in series(path):
        _check_permission_of(file)


def _check_permission_of(path):
    target = os.path.realpath(path)
    try:
        state = os.stat(target)
        if not state.st_mode & 0o222:
            raise UserError(
                '%s is write-protected (mode %o); permit writing (chmod u+w), or give another file name'
                % (path, stat.S_IMODE(state.st_mode)))
        os.close(os.open(target, os.O_WRONLY))
        folder = os.stat(os.path.dirname(target))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError('%s cannot be written: %s' % (path, error.strerror)) from error
    if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, folder.st_uid, state.st_uid):
        raise UserError(
            '%s belongs to another user, and %s lets only owners replace files (it has the sticky bit); give '
            'another file name' % (path, os.path.dirname(target)))


def check_writable(path):
    """Finds out whether an entry can be added to a result file later; leaves nothing but the file of its
    lock.

    Raises:
        UserError: it cannot.
    """
    check_permission(path)
    target = os.path.realpath(path)
    try:
        with _locked(path):
            write_atomically(target + '.writable', '')
            os.remove(target + '.writable')
    except OSError as error:
        raise UserError('%s cannot be written: %s' % (path, error_text(error))) from error


def write_temp(path, summary):
    """Writes what the finished trials of a running experiment give, for people to look at."""
    write_atomically(path, _encoded({'training_summary_temp': _savable(as_stored(summary))}))


def read(path):
    """Every variable of a file of this kind: dict name -> dicts, lists, texts and arrays, as `as_stored`
    makes them.

    Raises:
        UserError: the file is missing, damaged or not a MATLAB file of version 5.
    """
    return {name: _plain(value) for name, value in _variables(path).items() if isinstance(value, np.ndarray)}


def encoded(variables):
    """The bytes of a file that holds these variables: dict name -> anything that `as_stored` takes."""
    return _encoded({name: _savable(as_stored(value)) for name, value in variables.items()})


def equal(one, other):
    """Whether two values are stored as the same bytes; of a file, or as `as_stored` makes them."""
    return encoded({'value': one})[HEADER:] == encoded({'value': other})[HEADER:]


def _places(files, entry, replace):
    """[(file, place in it)] of the entries that the new one replaces:
    those of the same run, else the newest experiment."""
    names = ('run_id', 'fingerprint') if replace else ('run_id',)
    found = {name: [] for name in names}
    for file in files:
        for place, one in enumerate(file.each()):
            if _longest_name(one) > LONGEST_FIELD:
                raise UserError(
                    '%s cannot be added to (it has names of fields of more than %d signs); give another '
                    'file name'
                    % (file.path, LONGEST_FIELD))
            for name in names:
                if name in entry and _same(one.get(name), entry[name]):
                    found[name].append((file, place))
    return found['run_id'] or found.get('fingerprint', [])[-1:]


def _longest_name(value):
    """Signs of the longest name of a field."""
    if isinstance(value, dict):
        return max([0] + [max(len(name), _longest_name(one)) for name, one in value.items()])
    return max([0] + [_longest_name(one) for one in value]) if isinstance(value, list) else 0


def _same(found, text):
    """Whether what a file has is this text; it can be an array, which compares itself by element."""
    return isinstance(found, str) and found == text


@contextlib.contextmanager
def _locked(path):
    """Holds the lock of a result file, beside the file itself also where `path` is a symbolic link: Lock."""
    folder, name = os.path.split(os.path.realpath(path))
    lock = Lock(os.path.join(folder, '.%s.lock' % name))
    try:
        lock.acquire(LOCK_WAIT_S)
    except Held as holder:
        raise UserError('%s has been held by %s for %d s; stop that process (it holds %s), or try again later'
                        % (path, holder, LOCK_WAIT_S, lock.path)) from holder
    with lock:
        yield lock


def _load(path):
    """All variables of a result file; see `_variables`."""
    variables = _variables(path)
    _summary(path, variables)
    return variables


def _summary(path, variables):
    """The cell of experiments."""
    cell = variables.get(SUMMARY)
    if not (isinstance(cell, np.ndarray) and cell.dtype == object
            and all(_is_struct(one) for one in cell.flat)):
        raise _no_result_file(path)
    return cell


def _no_result_file(path):
    return UserError('%s is not a result file: it has no cell training_summary of structs; '
                     'move it away or give another file name' % path)


def _damaged(path, problem):
    return UserError('%s is damaged (%s); move it away or give another file name' % (path, problem))


def _variables(path):
    """All variables of a file as loadmat gives them: structured arrays, logicals kept."""
    with _opened(path) as stream:
        content = stream.read()
    _check_kind(path, content)
    try:
        mat_check.check(content)
    except Exception as problem:          # zlib's, besides
        raise _damaged(path, problem) from problem
    return _loaded(path, io.BytesIO(content))


def _opened(path):
    """A result file for reading; a UserError where that is impossible."""
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):       # it would be waited for for ever
            raise UserError('%s is no regular file; move it away or give another file name' % path)
        return open(path, 'rb')
    except OSError as problem:
        raise UserError('%s cannot be read (%s)' % (path, problem.strerror)) from problem


def _check_kind(path, content):
    """A UserError if the header of a file is not that of MATLAB's version 5."""
    kind = content[124:128]
    if kind in (b'\x00\x02IM', b'\x02\x00MI'):
        raise UserError(
            "%s is a MATLAB file of version 7.3; save it with '-v7' in MATLAB, or give another file name"
                        % path)
    if kind not in (b'\x00\x01IM', b'\x01\x00MI'):
        raise UserError('%s is not a MATLAB file of version 5; move it away or give another file name' % path)


def _loaded(path, stream):
    """What loadmat gives, of a stream whose sizes fit together."""
    from scipy.io import loadmat
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')      # of SciPy, on stderr
            warnings.filterwarnings('error', 'Casting complex')      # mat_dtype=True drops imaginary parts
            variables = loadmat(stream, struct_as_record=True, mat_dtype=True)
    except Exception as problem:          # SciPy has another class of error for every kind of damage
        raise _damaged(path, problem) from problem
    return {name: value for name, value in variables.items() if not name.startswith('__')}


def _is_struct(value):
    return isinstance(value, np.ndarray) and value.dtype.names is not None and value.size == 1


def _is_struct_without_fields(value):
    return value.dtype == object and value.size and all(one is None for one in value.flat)


def _plain(value):
    """What loadmat gave, as the dicts, lists, texts and arrays that `as_stored` makes."""
    if _is_struct_without_fields(value):
        return {}
    if value.dtype.names:
        structs = [{name: _plain(one[name]) for name in value.dtype.names} for one in value.flat]
        return structs[0] if len(structs) == 1 else structs
    if value.dtype == object:
        return [_plain(one) for one in value.flat]
    if value.dtype.kind == 'U':
        return ''.join(value.flat) if value.size < 2 else list(value.flat)
    return value


def _resavable(value):
    """What loadmat gave, changed in place so that savemat writes the same again."""
    if _is_struct_without_fields(value):
        return {}       # the only thing that SciPy reads but cannot write; types and shapes survive
    if value.dtype == object or value.dtype.names:
        for cell in [value[name] for name in value.dtype.names] if value.dtype.names else [value]:
            for index in np.ndindex(cell.shape):
                cell[index] = _resavable(cell[index])
    return value


def _savable(value):
    """What `as_stored` made, in the form that savemat writes as structs and cells."""
    if isinstance(value, dict):
        bad_names = [name for name in value if not _FIELD_NAME.match(name)]
        assert not bad_names, 'MATLAB has no fields of these names: %r' % bad_names
        return {name: _savable(one) for name, one in value.items()}
    return _cell([_savable(one) for one in value]) if isinstance(value, list) else value


def _cell(values):
    """A cell row, also of one element, which np.array would take apart."""
    cell = np.empty((1, len(values)), dtype=object)
    for place, value in enumerate(values):
        cell[0, place] = value
    return cell


def _encoded(variables):
    from scipy.io import savemat
    content = io.BytesIO()
    savemat(content, variables)
    return content.getvalue()
