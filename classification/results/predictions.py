"""Prediction files (`--save_predictions`): what each test image was taken for after each position.

Nothing here imports TensorFlow.
"""
import os
from collections import OrderedDict

import numpy as np

from classification.results import mat_file, mat_parts
from classification.results.ragged import packed, unpacked
from utils.utils import UserError, check_version, size_text, write_atomically

FOLDER = 'predictions'      # of the result folder
SCHEMA_VERSION = 1
FIELDS = ('rows', 'labels', 'predictions')
TEXTS = ('fingerprint', 'run_id', 'data_type')


def path_of(result_dir, name, folder_name):
    """Path of the file of an experiment: of the result file NAME.mat and the run folder of this name."""
    return os.path.join(result_dir, FOLDER, name, folder_name + '.mat')


def kept(answers, tests):
    """What a trial's record keeps: dict name -> array.

    Args:
        answers: dict (position, task) -> class given to each test image.
        tests: dict task -> its test Split.
    """
    arrays = {}
    for name, values in zip(FIELDS, ({task: test.image_rows for task, test in tests.items()},
                                     {task: test.labels for task, test in tests.items()}, answers)):
        arrays[name], arrays[name + '_parts'] = packed(values)
    return arrays


def variables(records, tasks, about):
    """The variables of a file.

    Args:
        records: TrialRecord of each trial.
        tasks: the distinct tasks, as the entry's fields have them.
        about: dict of TEXTS.
    """
    trials = [{name: unpacked(record.predictions[name], record.predictions[name + '_parts'], 1)
               for name in FIELDS} for record in records]
    return OrderedDict(
        [(name, about[name]) for name in TEXTS]
        + [('schema_version', SCHEMA_VERSION), ('trials', [record.trial for record in records]),
           ('tasks', list(tasks))]
        + [(name, [[trial[name][task] for task in tasks] for trial in trials]) for name in FIELDS[:2]]
        + [(FIELDS[2], [[[trial[FIELDS[2]].get((position, task), np.zeros(0, np.uint8)) for task in tasks]
                         for position in range(len(record.accuracy_matrix))]
                        for trial, record in zip(trials, records)])])


def write(path, made):
    """Writes a file, whole or not at all.

    Args:
        made: what `variables` gave.
    Raises:
        UserError: MATLAB could not read it.
        OSError: it cannot be written.
    """
    for name in FIELDS:
        size = len(mat_file.encoded({name: made[name]}))
        if size > mat_parts.MAX_BYTES:
            raise UserError(
                '%s is not written: its %s would take %s, and MATLAB reads at most %s; the trials keep them '
                'in their record.npz' % (path, name, size_text(size), size_text(mat_parts.MAX_BYTES)))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_atomically(path, mat_file.encoded(made))


def load_predictions(path):
    """What each test image was taken for after each position.

    Args:
        path: of the file; the field `predictions_file` of an experiment names it, as seen from the folder of
            the result file.
    Returns:
        a dict. trials [R], tasks [n]: their numbers. Lists by trial, then by the task's place in `tasks`, of
        arrays with a number for each test image: rows: its row among all images of the data set; labels: its
        class, from 0. predictions: by trial, then by position, then by the task's place: the class that it
        was taken for; an empty array where the task was not learned yet. fingerprint, run_id, data_type: of
        the experiment.
    Raises:
        UserError: the file is missing, damaged or another kind of file.
    """
    found = mat_file.read(path)
    missing = [name for name in TEXTS + ('schema_version', 'trials', 'tasks') + FIELDS if name not in found]
    if missing:
        raise UserError('%s is no file of predictions, which --save_predictions writes: it has no %s'
                        % (path, missing[0]))
    try:
        version, = map(int, _rows(found['schema_version']))
        loaded = {name: str(found[name]) for name in TEXTS}
        loaded.update((name, _rows(found[name]).astype(int)) for name in ('trials', 'tasks'))
        loaded.update((name, _rows(found[name])) for name in FIELDS)
    except (ValueError, TypeError, AttributeError, OverflowError) as problem:      # a field is odd
        raise UserError('%s is damaged: it is not what --save_predictions wrote (%s)'
                        % (path, problem)) from problem
    check_version(path, version, SCHEMA_VERSION)
    return loaded


def _rows(value):
    """The cells of a file as lists, its arrays as rows."""
    if isinstance(value, list):
        return [_rows(one) for one in value]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in 'biuf':
        raise ValueError('numbers are needed where it has others')
    return value.ravel()
