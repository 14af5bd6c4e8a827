"""splits.npz: which classes and images each task of a trial has, as plain arrays; written for each trial, and
given back with --splits.

Names of the arrays: docs/results.md. Rows are places among all images of the data set, docs/data.md.
"""
import hashlib
import io
import os
import re
import zipfile
from collections import OrderedDict
from typing import Any, List, NamedTuple, Optional

import numpy as np

from classification.data.task_lists import REST
from classification.data.task_rows import SPLITS, TaskRows
from utils.utils import UserError, check_version, write_atomically

FILE = 'splits.npz'          # in the folder of a trial
VERSION = 1                  # raised where older code would misread a file, not for what is added to one
OTHERS = -1                  # stands for REST among the classes of a task
_GIVEN = re.compile(r'trial(0|[1-9]\d*)(\.npz)?')


class Splits(NamedTuple):
    """The tasks of one trial."""
    data_type: str
    seed: int                          # of the noise in the images, where there is any
    trial: int
    tasks: List[TaskRows]
    names: Optional[List[Any]] = None  # of the classes of each task
    data_checksum: str = ''            # of the raw files; '': not known
    labels_checksum: str = ''          # of the classes of all images, in their order; '': not known
    path: str = FILE                   # for messages

    def checksum(self):
        """SHA-256 of what the numbers of a training depend on; how the file is packed does not count."""
        digest = hashlib.sha256()
        for name, array in _arrays(self).items():
            digest.update(('%s %s\n' % (name, array.shape)).encode('utf-8'))
            digest.update(array.astype(float if name.endswith('_noise') else np.int64).tobytes()
                          if array.dtype.kind in 'iuf' else str(array).encode('utf-8'))
        return digest.hexdigest()


def _arrays(splits):
    """OrderedDict name -> array of what training depends on."""
    arrays = OrderedDict([('data_type', np.array(splits.data_type)), ('seed', np.array(splits.seed)),
                          ('num_tasks', np.array(len(splits.tasks)))])
    for task, cut in enumerate(splits.tasks):
        start = 'task%d_' % task
        arrays[start + 'classes'] = np.array([OTHERS if number == REST else number for number in cut.classes],
                                             np.int32)
        for split in SPLITS:
            rows, labels = cut.splits[split]
            arrays['%s%s_rows' % (start, split)] = np.asarray(rows, np.int32)
            arrays['%s%s_labels' % (start, split)] = np.asarray(labels, np.int32)
        if cut.noise is not None:
            arrays[start + 'noise'] = np.array(cut.noise, float)
        if cut.swap is not None:
            arrays[start + 'swap'] = np.array(cut.swap, np.int32)
    return arrays


def save(path, splits):
    """Writes the splits of a trial, whole or not at all."""
    arrays = _arrays(splits)
    arrays.update((('format_version', np.array(VERSION)), ('trial', np.array(splits.trial)),
                   ('data_checksum', np.array(splits.data_checksum)),
                   ('labels_checksum', np.array(splits.labels_checksum))))
    for task, names in enumerate(splits.names or ()):
        arrays['task%d_class_names' % task] = np.array(list(map(str, names)))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_atomically(path, content.getvalue(), alone=True)


# ---- reading ----

def load(path):
    """Splits of a file that `save`, or somebody else, wrote.

    Raises:
        UserError: it cannot be read, is of a newer version, or contradicts itself.
    """
    return parsed(path, content_of(path))


def content_of(path):
    """The bytes of a file."""
    try:
        with open(path, 'rb') as stream:
            return stream.read()
    except OSError as error:
        raise UserError('%s cannot be read: %s' % (path, error.strerror)) from error


def parsed(path, content):
    """As `load`, of the bytes of the file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as stored:
            arrays = {name[:-len('.npy')]: np.lib.format.read_array(stored.open(name), allow_pickle=False)
                      for name in stored.namelist() if name.endswith('.npy')}
        version = int(arrays['format_version'])
    except Exception as problem:    # NumPy has another class of error for every kind of damage
        raise UserError('%s cannot be read as the splits of a trial (%s); a %s that a trial wrote is needed'
                        % (path, problem, FILE)) from problem
    check_version(path, version, VERSION)
    splits = Splits(str(_value(path, arrays, 'data_type', 'U')), int(_value(path, arrays, 'seed', 'iu')),
                    int(_value(path, arrays, 'trial', 'iu')) if 'trial' in arrays else 0, [], path=path,
                    **{name: str(arrays[name]) for name in ('data_checksum', 'labels_checksum')
                       if name in arrays})
    for task in range(int(_value(path, arrays, 'num_tasks', 'iu'))):
        splits.tasks.append(_task(path, arrays, task))
    _check_test_images(splits)
    return splits


def _value(path, arrays, name, kinds, dimensions=0):
    """An array of a file, of one of these kinds of NumPy."""
    if name not in arrays:
        raise UserError('%s has no array %s' % (path, name))
    array = arrays[name]
    if array.dtype.kind not in kinds or array.ndim != dimensions:
        number = 'number' if 'f' in kinds else 'whole number'
        raise UserError('%s: %s is %s of shape %s; %s is needed' % (
            path, name, array.dtype, array.shape, 'a list of %ss' % number if dimensions else
            'a text' if 'U' in kinds else 'one ' + number))
    return array


def _task(path, arrays, task):
    """TaskRows of a file."""
    start, splits = 'task%d_' % task, OrderedDict()
    classes = tuple(REST if number == OTHERS else number
                    for number in _value(path, arrays, start + 'classes', 'iu', 1).astype(np.int32).tolist())
    if len(set(classes)) < len(classes):
        raise UserError('%s: task %d has a class twice: %s' % (path, task, ', '.join(map(str, classes))))
    for split, title in SPLITS.items():
        rows, labels = [_value(path, arrays, '%s%s_%s' % (start, split, kind), 'iu', 1)
                        for kind in ('rows', 'labels')]
        if not len(rows):
            raise UserError('%s: task %d has no %s images' % (path, task, title))
        if len(rows) != len(labels):
            raise UserError('%s: task %d has %d rows and %d labels of %s images; one label each is needed'
                            % (path, task, len(rows), len(labels), title))
        wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(wrong):
            raise UserError('%s: task %d has the label %d among its %s images; it has %d classes, so 0 to %d '
                            'are possible' % (path, task, labels[wrong[0]], title, len(classes),
                                              len(classes) - 1))
        splits[split] = rows.astype(np.intp), labels.astype(np.int32)
    both = np.intersect1d(splits['train'][0], splits['valid'][0])
    if len(both):
        raise UserError('%s: task %d both trains and validates with image %d' % (path, task, both[0]))
    return TaskRows(classes, splits, *[
        tuple(_value(path, arrays, start + name, kinds, 1).tolist()) if start + name in arrays else None
        for name, kinds in (('noise', 'iuf'), ('swap', 'iu'))])


def _check_test_images(splits):
    """A UserError where a test image of one task trains or validates any."""
    tests, others = [np.unique(np.concatenate([np.zeros(0, np.intp)] + [
        task.splits[split][0] for task in splits.tasks for split in names]))
        for names in (('test',), ('train', 'valid'))]
    both = np.intersect1d(tests, others)
    if len(both):
        raise UserError('%s: image %d tests, and also trains or validates' % (splits.path, both[0]))


# ---- against the data ----

def checked(splits, data_type, index, designed, num_tasks):
    """The first tasks of splits, as list of TaskRows.

    Args:
        index: task_rows.Index of the data set.
        designed: whether tasks of the data set may have noise and swapped channels.
    Raises:
        UserError: they do not fit the data set.
    """
    path = splits.path
    if splits.data_type != data_type:
        raise UserError('%s: these are splits of %s, and %s was asked for' % (path, splits.data_type,
                                                                             data_type))
    if splits.labels_checksum not in ('', index.checksum()):
        raise UserError('%s: the files of %s here hold other images, or in another order, than those that '
                        'the splits are of' % (path, data_type))
    if len(splits.tasks) < num_tasks:
        raise UserError('%s holds %d tasks, and %d were asked for; add --num_tasks %d'
                        % (path, len(splits.tasks), num_tasks, len(splits.tasks)))
    classes = np.concatenate(list(index.labels.values()))
    known = set(np.unique(classes).tolist()) | {REST}
    for task, cut in enumerate(splits.tasks[:num_tasks]):
        unknown = [number for number in cut.classes if number not in known]
        if unknown:
            raise UserError('%s: task %d has the class %d, of which %s has no image'
                            % (path, task, unknown[0], data_type))
        for rows, labels in cut.splits.values():
            _check_rows(path, task, cut, rows, labels, classes)
        if not designed and (cut.noise or cut.swap):
            raise UserError('%s: task %d has noise or swapped channels, which %s has not'
                            % (path, task, data_type))
        if cut.swap and sorted(cut.swap) != [0, 1, 2] or cut.noise and not (
                len(cut.noise) == 2 and np.isfinite(cut.noise).all() and cut.noise[1] >= 0):
            raise UserError('%s: task %d: swap needs 0, 1, 2 in some order, noise a mean and a standard '
                            'deviation' % (path, task))
    return splits.tasks[:num_tasks]


def _check_rows(path, task, cut, rows, labels, classes):
    """A UserError for a row that is none of the data set, or whose image is of another class."""
    if rows.min() < 0 or rows.max() >= len(classes):
        raise UserError('%s: task %d has image %d; the data set has the images 0 to %d' % (
            path, task, rows.min() if rows.min() < 0 else rows.max(), len(classes) - 1))
    numbers = np.array([OTHERS if number == REST else number for number in cut.classes])
    found, wanted = classes[rows], numbers[labels]
    wrong = np.flatnonzero(np.where(wanted == OTHERS, np.isin(found, numbers), found != wanted))
    if len(wrong):
        row = wrong[0]
        raise UserError('%s: task %d: image %d is of class %d, and its label %d stands for %s' % (
            path, task, rows[row], found[row], labels[row],
            'any other class' if wanted[row] == OTHERS else 'class %d' % wanted[row]))


# ---- folders ----

def files(folder):
    """OrderedDict number of a trial -> its file in a folder: trialN/splits.npz, as a run folder has them, or
    trialN.npz.

    Raises:
        UserError: there is none, or there are two of one trial.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError('%s cannot be read: %s' % (folder, error.strerror)) from error
    found = {}
    for name in names:
        match, path = _GIVEN.fullmatch(name), os.path.join(folder, name)
        path = path if match and match.group(2) else os.path.join(path, FILE)
        if match and os.path.isfile(path):
            if int(match.group(1)) in found:
                raise UserError('%s holds both %s and %s; move one of them away' % (
                    folder, os.path.relpath(found[int(match.group(1))], folder),
                    os.path.relpath(path, folder)))
            found[int(match.group(1))] = path
    if not found:
        raise UserError('%s holds no splits of trials; trial0/%s or trial0.npz and so on are needed'
                        % (folder, FILE))
    return OrderedDict(sorted(found.items()))


def checksum_of_all(checksums):
    """SHA-256 of the splits of several trials; `checksums`: dict number -> SHA-256."""
    return hashlib.sha256(''.join('%d %s\n' % pair for pair in sorted(
        (int(number), checksum) for number, checksum in checksums.items())).encode('ascii')).hexdigest()
