"""Result files, MATLAB version 5: a cell `training_summary` with one struct per experiment.

In Python a struct is a dict, a cell a list, a char row a str, and every number an array of at least two dimensions.
SciPy is imported where it is used: half a second that `--help` need not wait for.
"""
import contextlib
import io
import numbers
import os
import re
import stat
import warnings

import numpy as np

from classification import mat_check
from utils.locks import Held, Lock
from utils.utils import UserError, in_one_line, write_atomically

LOCK_WAIT_S = 120
_FIELD_NAME = re.compile('[A-Za-z][A-Za-z0-9_]{0,30}$')     # MATLAB's rule; savemat drops or refuses the others


def as_stored(value):
    """A Python value as a result file holds it.

    Numbers and rectangular lists of them become int64, float64 or logical arrays; an array keeps its type; a single
    dimension is a row; None and the empty list are MATLAB's []; other lists, also those of arrays, are cells.
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
    """The experiments in a result file, the published code's too, oldest first.

    Raises:
        UserError: the file is missing, damaged or not a result file.
    """
    return [_plain(entry) for entry in _load(path)['training_summary'].flat]


def find_entry(path, fingerprint):
    """The newest entry of an experiment; None if there is none, or no file."""
    if not os.path.exists(path):
        return None
    return next((entry for entry in reversed(entries(path)) if _same(entry.get('fingerprint'), fingerprint)), None)


def append_entry(path, entry, replace=False):
    """Adds an experiment to a result file, which is made if need be; what the file holds stays as it is, bit for bit.

    An entry with the same `run_id` is replaced, so that appending once more after a crash changes nothing. With
    `replace` so is the newest one with the same `fingerprint`.

    Raises:
        UserError: the file is damaged or not a result file, or cannot be added to; nothing was written.
    """
    entry = as_stored(entry)
    check_permission(path)
    with _locked(path) as lock:
        variables = _load(path) if os.path.exists(path) else {'training_summary': _cell([])}
        old = list(variables['training_summary'].flat)
        place = _place([_plain(one) for one in old], entry, replace)
        old = [_resavable(one) for one in old]
        variables['training_summary'] = _cell(old[:place] + [_savable(entry)] + old[place + 1:])
        try:
            content = _content(variables)
        except Exception as problem:      # MatWriteError has no public name that all versions of SciPy share
            raise UserError('%s cannot be added to (%s); give another file name' % (path, problem))
        lock.check(path)
        write_atomically(path, content, alone=True)


def check_permission(path):
    """Finds out whether a result file, if it is there, may be replaced by one with more in it; writes nothing.

    Its own mode counts, also for a user who may write everything.

    Raises:
        UserError: it may not.
    """
    target = os.path.realpath(path)
    try:
        state = os.stat(target)
        if not state.st_mode & 0o222:
            raise UserError('%s is write-protected (mode %o); permit writing (chmod u+w), or give another file name'
                            % (path, stat.S_IMODE(state.st_mode)))
        os.close(os.open(target, os.O_WRONLY))
        folder = os.stat(os.path.dirname(target))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError('%s cannot be written: %s' % (path, error.strerror))
    if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, folder.st_uid, state.st_uid):
        raise UserError('%s belongs to another user, and %s lets only owners replace files (it has the sticky bit); give '
                        'another file name' % (path, os.path.dirname(target)))


def check_writable(path):
    """Finds out whether an entry can be added to a result file later; leaves nothing but the file of its lock.

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
        raise UserError('%s cannot be written: %s' % (path, in_one_line(error)))


def write_temp(path, summary):
    """Writes what the finished trials of a running experiment give, for people to look at."""
    write_atomically(path, _content({'training_summary_temp': _savable(as_stored(summary))}))


def read(path):
    """Every variable of a file of this kind: dict name -> dicts, lists, texts and arrays, as `as_stored` makes them.

    Raises:
        UserError: the file is missing, damaged or not a MATLAB file of version 5.
    """
    return {name: _plain(value) for name, value in _variables(path).items() if isinstance(value, np.ndarray)}


def encoded(variables):
    """The bytes of a file that holds these variables: dict name -> anything that `as_stored` takes."""
    return _content({name: _savable(as_stored(value)) for name, value in variables.items()})


def _place(old, entry, replace):
    """Index of the entry that the new one replaces; len(old): it replaces none."""
    for name in ('run_id', 'fingerprint') if replace else ('run_id',):
        same = [place for place, one in enumerate(old) if name in entry and _same(one.get(name), entry[name])]
        if same:
            return same[-1]
    return len(old)


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
                        % (path, holder, LOCK_WAIT_S, lock.path))
    with lock:
        yield lock


def _load(path):
    """All variables of a result file; see `_variables`."""
    variables = _variables(path)
    cell = variables.get('training_summary')
    if not (isinstance(cell, np.ndarray) and cell.dtype == object and all(_is_struct(one) for one in cell.flat)):
        raise UserError('%s is not a result file: it has no cell training_summary of structs; '
                        'move it away or give another file name' % path)
    return variables


def _variables(path):
    """All variables of a file as loadmat gives them: structured arrays, logicals kept."""
    from scipy.io import loadmat
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):       # it would be waited for for ever
            raise UserError('%s is no regular file; move it away or give another file name' % path)
        with open(path, 'rb') as stream:
            content = stream.read()
    except OSError as problem:
        raise UserError('%s cannot be read (%s)' % (path, problem.strerror))
    kind = content[124:128]
    if kind in (b'\x00\x02IM', b'\x02\x00MI'):
        raise UserError("%s is a MATLAB file of version 7.3; save it with '-v7' in MATLAB, or give another file name"
                        % path)
    if kind not in (b'\x00\x01IM', b'\x01\x00MI'):
        raise UserError('%s is not a MATLAB file of version 5; move it away or give another file name' % path)
    try:
        mat_check.check(content)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')      # of SciPy, on stderr
            warnings.filterwarnings('error', 'Casting complex')      # mat_dtype=True drops imaginary parts
            variables = loadmat(io.BytesIO(content), struct_as_record=True, mat_dtype=True)
    except Exception as problem:          # SciPy has another class of error for every kind of damage
        raise UserError('%s is damaged (%s); move it away or give another file name' % (path, problem))
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


def _content(variables):
    from scipy.io import savemat
    content = io.BytesIO()
    savemat(content, variables)
    return content.getvalue()
