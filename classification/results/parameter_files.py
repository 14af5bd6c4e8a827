"""Parameter files (`--saveparam`): a parameter store as MATLAB reads it, under the published field names, and
back.

A file holds three structs. `parameter` has the published fields: cells of arrays in layer order, per task
where the parameters are a task's, and the integer 0 where there is nothing. `names` has the same fields with,
for each array, its name and shape in our parameter store, as 'conv0/shared/hps/bias 16'; so a file of any
method is read without knowing the method. `about` says what was trained. Nothing here imports TensorFlow.
"""
import hashlib
import itertools
import json
import os
import shutil
from collections import OrderedDict
from typing import Any, Mapping, NamedTuple

import numpy as np

from classification.results import mat_file
from utils.utils import UserError, check_version

SCHEMA_VERSION = 1
FINAL = 'final_model_parameter.mat'
REST = 'other_weights'                       # what a method's row does not name
# what the method's networks read beside the parameters, and how its names begin
ARRAYS, OF_METHOD = 'method_arrays', 'method/'
TEXTS = ('state', 'experiment', 'images')    # of `about`, what predictions need
ABSENT = np.zeros((1, 1), np.int64)


# ---- where files are ----

def folder_name(flags):
    """Name of the folder below params/, as published: the words as they were typed."""
    name = '%s_%dp_%s_t%d' % (flags.data_type.lower(), 100 if flags.data_percent is None
                              else flags.data_percent, flags.model_type, flags.test_type)
    if flags.highway_connect_test_type:
        return '%s_h%d' % (name, flags.highway_connect_test_type)
    return '%s_s%d' % (name, flags.skip_connect_test_type) if flags.skip_connect_test_type else name


def new_folder(result_dir, name):
    """Creates params/NAME, with as many a's behind it as it takes to be new; returns its name.

    Raises:
        UserError: it cannot be created.
    """
    while True:
        try:
            os.makedirs(os.path.join(result_dir, 'params', name))
            return name
        except FileExistsError:
            name += 'a'
        except OSError as error:
            raise UserError('%s cannot be written: %s' % (os.path.join(result_dir, 'params'), error.strerror
                                                          or error)) from error


def path_of(folder, trial, position, task):
    """Path of the file that is written after a position of the task order."""
    return os.path.join(folder, 'run%d' % trial, 'model_parameter_taskC%d_task%d.mat' % (position, task))


def alternative_path(folder, trial, task, number):
    """Path of the file of one alternative that was tried for a task:
    of a pattern, by its place in LASEM's order."""
    return os.path.join(folder, 'run%d' % trial, 'config_search_t%d' % task, 'parameter_config%d.mat'
                        % number)


def take_over(earlier, folder, trial):
    """Copies the files of a trial's positions from the folder of a shorter experiment.

    They go on naming that one. Returns whether there are any.
    """
    source, target = [os.path.join(where, 'run%d' % trial) for where in (earlier, folder)]
    if not os.path.isdir(source):
        return False
    for base, _, names in os.walk(source):
        for name in names:
            if name.endswith('.mat') and name != FINAL:
                copy = os.path.join(target, os.path.relpath(base, source), name)
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copyfile(os.path.join(base, name), copy + '.new')
                os.replace(copy + '.new', copy)
    return True


# ---- writing ----

def save(path, store, fields, tasks, sizes, about, made=None, arrays=None):
    """Writes a parameter file, whole or not at all, the folder too.

    Args:
        store: dict name -> array.
        fields: the declarations.Fields of the model.
        tasks: the tasks so far in order of first appearance: the cells of what is per task.
        sizes: dict 'conv' and 'fc' -> number of layers.
        about: dict of numbers, texts and lists of them: what `ParameterFile.about` holds, the state as JSON.
        made: dict name -> array, what the fields hold beside the store; it is not read back.
        arrays: dict name -> array, what the method's networks read beside the store.
    """
    parameter, names, placed = OrderedDict(), OrderedDict(), set()
    for field in fields:
        cells = [_row(field, store, made or {}, tasks, task, sizes)
                 for task in (tasks if field.has('{task}') else [None])]
        values, labels = [[[leaf[part] for leaf in row] for row in cells] for part in (0, 1)]
        placed.update(leaf[2] for row in cells for leaf in row)
        whole = field.has('{task}')
        parameter[field.name], names[field.name] = (values, labels) if whole else (values[0], labels[0])
    rest = [name for name in sorted(store) if name not in placed]
    if rest:
        parameter[REST], names[REST] = [store[name] for name in rest], [_label(name, store[name])
                                                                        for name in rest]
    arrays = {OF_METHOD + name: np.asarray(value) for name, value in (arrays or {}).items()}
    if arrays:
        parameter[ARRAYS], names[ARRAYS] = [arrays[name] for name in sorted(arrays)], [
            _label(name, arrays[name]) for name in sorted(arrays)]
    about = OrderedDict(about, checksum=checksum(dict(store, **arrays)), texts_checksum=_of_texts(about))
    content = mat_file.encoded(OrderedDict([('parameter', parameter), ('names', names), ('about', about)]))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # always the same name: a killed save leaves one file, which the next one takes
    unfinished = path + '.new'
    with open(unfinished, 'wb') as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(unfinished, path)


def _row(field, store, made, tasks, task, sizes):
    """List of (array, label, name), in layer order."""
    first = field.names[0] if isinstance(field.names[0], str) else field.names[0][0]
    earlier = (tasks[:tasks.index(task)] or [None]) if field.has('{earlier}') else [None]
    leaves = []
    for layer, other, name in itertools.product(range(sizes[first.split('{')[0]]), earlier, field.names):
        for one in (name,) if isinstance(name, str) else name:
            found = one.format(layer=layer, task=task, earlier=other)
            if found in store:
                leaves.append((store[found], _label(found, store[found]), found))
                break
            if found in made:
                leaves.append((made[found], '', found))
                break
        else:
            leaves.append((ABSENT, '', None))
    return leaves


def _label(name, value):
    return '%s %s' % (name, times(np.shape(value)))


def times(shape):
    """'3x3x1x16'."""
    return 'x'.join(map(str, shape))


# ---- reading ----

class ParameterFile(NamedTuple):
    """What a parameter file says."""
    store: Mapping[str, np.ndarray]       # dict name -> array, as training left it
    # model_type, data_type, fingerprint; trial, position, task; tasks; state; ...
    about: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]      # dict name -> array, what the method's networks read beside it


def load(path):
    """Reads a file that `save` wrote; the store is bit for bit what it was.

    `about` has texts (model_type, data_type, fingerprint), numbers (trial, position, task), the list `tasks`
    so far in order of first appearance, and `state`, the method's state (what a search chose, for instance)
    as a dict. What an older file lacks is absent: the texts `experiment`, experiment.Experiment as JSON, and
    `images`, how each task's images reach its network and what its classes are called, as JSON.

    Raises:
        UserError: the file is missing, damaged, of a newer version or not a parameter file.
    """
    variables = mat_file.read(path)
    absent = [name for name in ('parameter', 'names', 'about') if not isinstance(variables.get(name), dict)]
    if absent:
        raise UserError('%s is not a parameter file that --saveparam wrote: it has no struct %s'
                        % (path, absent[0]))
    version = variables['about'].get('schema_version')
    if isinstance(version, np.ndarray) and version.size == 1 and version.dtype.kind in 'iuf' and np.isfinite(
            version).all():
        check_version(path, int(version.item()), SCHEMA_VERSION)
    try:
        about, store = dict(variables['about']), OrderedDict()
        for value, label in _leaves(variables['parameter'], variables['names']):
            name, _, shape = label.rpartition(' ') if ' ' in label else (label, '', '')
            value = np.ascontiguousarray(value.reshape([int(size) for size in shape.split('x') if size]))
            if name in store and store[name].tobytes() != value.tobytes():
                raise ValueError('two values of %s' % name)
            store[name] = value
        about['tasks'] = [int(task) for task in about['tasks'].ravel()]
        about.update((name, int(about[name].item()))
                     for name in ('trial', 'position', 'task', 'schema_version'))
        of_texts = _of_texts(about)
        about['state'] = json.loads(about['state'])
        if about.pop('checksum') != checksum(store):
            raise ValueError('its values are not those that were written')
        if about.pop('texts_checksum', of_texts) != of_texts:
            raise ValueError('its texts are not those that were written')
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as problem:
        raise UserError('%s is damaged or not a parameter file that --saveparam wrote (%s)'
                        % (path, problem)) from problem
    arrays = {name[len(OF_METHOD):]: store.pop(name) for name in list(store) if name.startswith(OF_METHOD)}
    return ParameterFile(store, about, arrays)


def _leaves(values, labels):
    """Yields (array, label) of each array that has a label."""
    if isinstance(labels, str):
        if labels:
            yield values, labels
    elif isinstance(labels, dict):
        for name in labels:
            for pair in _leaves(values[name], labels[name]):
                yield pair
    else:
        if len(values) != len(labels):
            raise ValueError('cells of different lengths')
        for value, label in zip(values, labels):
            for pair in _leaves(value, label):
                yield pair


def checksum(values):
    """SHA-256 over names and values; not over the file, which holds the time when it was written."""
    digest = hashlib.sha256()
    for name in sorted(values):
        digest.update(_label(name, values[name]).encode('utf-8'))
        digest.update(np.asarray(values[name], '<f4').tobytes())
    return digest.hexdigest()


def _of_texts(about):
    """SHA-256 over those of TEXTS that there are."""
    return hashlib.sha256('\n'.join(about.get(name, '') for name in TEXTS).encode('utf-8')).hexdigest()
