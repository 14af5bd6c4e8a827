"""From the record of a finished trial to what people read: the result structure, a table, CSV text.

The names in the result structure are the published ones, "error" included, which is an accuracy in [0, 1].
"""
import io
import zipfile
from typing import Dict, NamedTuple, Optional

import numpy as np

from utils.utils import UserError, check_version, write_atomically

SPLITS = ('train', 'valid', 'test')
TRAIN, VALID, TEST = range(len(SPLITS))
# What a trial took, [positions] each; beside them multiply_adds [distinct tasks], and OF_TRIAL.
BY_POSITION = ('trainable_parameters', 'kept_parameters', 'state_bytes', 'training_seconds',
               'evaluation_seconds')
OF_TRIAL = ('peak_memory', 'jobs', 'threads')       # jobs: so many trials trained at a time; NaN: it changed


class TrialRecord(NamedTuple):
    """Everything a finished trial leaves behind."""
    trial: int                       # counts from 0; also its data group
    # [rows, tasks, SPLITS]; row 0: untrained, then one per epoch; NaN: not learned yet,
    accuracy: np.ndarray
                                     # or not evaluated in this epoch
    # [rows]; test accuracy of the running task at its best validation epoch so far
    best_test: np.ndarray
    task_changed_epoch: np.ndarray   # [positions]; the first row of each position, 1 for the first
    # Of distinct tasks, here and below: by data-set index
    accuracy_matrix: np.ndarray      # [positions, distinct tasks]; R of metrics.py
    # [distinct tasks]; test accuracy at the best validation epoch of learning it
    peak: np.ndarray
    time_per_task: np.ndarray        # [positions]; seconds
    training_time: float             # seconds
    num_parameters: int
    extra: Dict[str, np.ndarray]     # the method's own fields of the run's struct
    # What records of before lack; a new field goes to the end and has a default, which stands for them:
    at_chance: Optional[np.ndarray] = None      # [distinct tasks], logical; None: not known for all of them
    origin: Optional[str] = None     # JSON: what made the numbers; a list of dicts; see origin.py
    task_order: Optional[np.ndarray] = None     # [positions]; None: the experiment's, which all trials have
    # [distinct tasks]; validation accuracy with the parameters that the last position handed on
    final_valid: Optional[np.ndarray] = None
    loss: Optional[np.ndarray] = None           # [epochs]: mean of what the steps minimised; NaN: not known
    learning_rate: Optional[np.ndarray] = None  # [epochs]
    # Packed as in ragged.py: of (position, task) how many test images of each class were given each class
    confusion: Optional[np.ndarray] = None
    confusion_parts: Optional[np.ndarray] = None
    predictions: Optional[Dict[str, np.ndarray]] = None      # as predictions.kept gives them
    # BY_POSITION, multiply_adds, peak_memory, jobs, threads; NaN: not known
    resources: Optional[Dict[str, np.ndarray]] = None


DICTS = ('extra', 'predictions', 'resources')     # fields that are one; stored as 'extra.NAME', ...
# of files of records; raised where older code would misread one, not for an added field
VERSION = FIRST_VERSION = 1


def save_record(path, record):
    """Writes a record as .npz, whole or not at all."""
    arrays = {name: np.asarray(value) for name, value in record._asdict().items()
              if name not in DICTS and value is not None}
    for field in DICTS:
        arrays.update(('%s.%s' % (field, name), np.asarray(value))
                      for name, value in (getattr(record, field) or {}).items())
    arrays['version'] = np.array(VERSION)
    assert not any(array.dtype.hasobject for array in arrays.values()), 'objects would need pickle'
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_atomically(path, content.getvalue(), alone=True)


def load_record(path):
    """Reads what `save_record` wrote; a field that a version of before lacks has its default.

    Raises:
        UserError: the file is damaged, or of a newer version.
    """
    try:
        with zipfile.ZipFile(path) as stored:      # np.load speaks on stderr of one that is cut off
            arrays = {name[:-len('.npy')]: np.lib.format.read_array(stored.open(name), allow_pickle=False)
                      for name in stored.namelist()}
        version = int(arrays.get('version', FIRST_VERSION))
        fields = {name: arrays[name] for name in TrialRecord._fields
                  if name not in DICTS and version <= VERSION
                  and (name in arrays or name not in TrialRecord._field_defaults)}
    except Exception as problem:    # NumPy has another class of error for every kind of damage
        raise UserError(
            '%s cannot be read as the record of a finished trial (%s); delete it and run the same command '
            'again to train this trial once more' % (path, problem)) from problem
    check_version(path, version, VERSION)
    fields = {name: value if value.ndim else value.item() for name, value in fields.items()}
    extra, predictions, resources = [{name[len(field) + 1:]: value for name, value in arrays.items()
                           if name.startswith(field + '.')} for field in DICTS]
    return TrialRecord(extra=extra, predictions=predictions or None, resources=resources or None, **fields)


