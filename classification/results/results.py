"""From the record of a finished trial to what people read: the result structure, a table, CSV text.

The names in the result structure are the published ones, "error" included, which is an accuracy in [0, 1].
"""
import io
import json
import zipfile
from typing import Dict, NamedTuple, Optional

import numpy as np

from classification.results import origin
from classification.results.mat_file import as_stored
from classification.results.metrics import METRICS, learned_at, mean_and_std, mean_over_tasks
from utils.utils import UserError, check_version, counted, write_atomically

SPLITS = ('train', 'valid', 'test')
VALID, TEST = SPLITS.index('valid'), SPLITS.index('test')
LEEP_SCORES = ('LEEP_score_trainset', 'LEEP_score_validset', 'LEEP_score_testset')


class TrialRecord(NamedTuple):
    """Everything a finished trial leaves behind."""
    trial: int                       # counts from 0; also its data group
    accuracy: np.ndarray             # [rows, tasks, SPLITS]; row 0: untrained, then one per epoch; NaN: not learned yet,
                                     # or not evaluated in this epoch
    best_test: np.ndarray            # [rows]; test accuracy of the running task at its best validation epoch so far
    task_changed_epoch: np.ndarray   # [positions]; the first row of each position, 1 for the first
    accuracy_matrix: np.ndarray      # [positions, distinct tasks]; R of metrics.py
    peak: np.ndarray                 # [distinct tasks]; test accuracy at the best validation epoch of learning it
    time_per_task: np.ndarray        # [positions]; seconds
    training_time: float             # seconds
    num_parameters: int
    extra: Dict[str, np.ndarray]     # the method's own fields of the run's struct
    # What records of before lack; a new field goes to the end and has a default, which stands for them:
    at_chance: Optional[np.ndarray] = None      # [distinct tasks], logical; None: not known for all of them
    origin: Optional[str] = None     # JSON: what made the numbers; a list of dicts; see origin.py


VERSION = FIRST_VERSION = 1       # of files of records; raised where older code would misread one, not for an added field


def save_record(path, record):
    """Writes a record as .npz, whole or not at all."""
    arrays = {name: np.asarray(value) for name, value in record._asdict().items() if name != 'extra' and value is not None}
    arrays.update(('extra.' + name, np.asarray(value)) for name, value in record.extra.items())
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
        fields = {name: arrays[name] for name in TrialRecord._fields if name != 'extra' and version <= VERSION and
                  (name in arrays or name not in TrialRecord._field_defaults)}
    except Exception as problem:    # NumPy has another class of error for every kind of damage
        raise UserError('%s cannot be read as the record of a finished trial (%s); delete it and run the same command '
                        'again to train this trial once more' % (path, problem))
    check_version(path, version, VERSION)
    fields = {name: value if value.ndim else value.item() for name, value in fields.items()}
    extra = {name[len('extra.'):]: value for name, value in arrays.items() if name.startswith('extra.')}
    return TrialRecord(extra=extra, **fields)


def no_fields(record, task_order):
    """Most methods have no fields of their own trainer."""
    return {}


def run_struct(record, task_order, leep=False, lifelong=True, trainer_fields=no_fields):
    """One trial as `result_of_each_run` holds it.

    With `leep` the LEEP scores are fields also where none were computed, zero then, as the published trainer has it.
    Where tasks are trained together (not `lifelong`) no epoch changes the task.
    `trainer_fields`: function (record, task order) -> further fields, of a method that the published code trains otherwise.
    """
    train, valid, test = (_history(record.accuracy[:, :, split]) for split in range(len(SPLITS)))
    extra = dict(record.extra)
    scores = [(name, extra.pop(name)) for name in LEEP_SCORES if name in extra]
    if leep and not scores:
        scores = [(name, np.zeros((len(task_order), record.accuracy.shape[1]))) for name in LEEP_SCORES]
    return as_stored(dict([
        ('training_time', float(record.training_time)),
        ('num_epoch', len(record.accuracy) - 1),
        ('history_train_error', train),
        ('history_validation_error', valid),
        ('history_test_error', test),
        ('history_best_test_error', np.asarray(record.best_test, dtype=np.float64)),
    ] + list(extra.items()) + ([
        ('task_changed_epoch', np.asarray(record.task_changed_epoch, dtype=np.int64)),
    ] if lifelong else []) + list(trainer_fields(record, task_order).items()) + scores))


def _last_known(accuracy):
    """Accuracies [rows, ...] with that of the last evaluation where there was none; NaN before the first."""
    rows = np.arange(len(accuracy)).reshape((-1,) + (1,) * (accuracy.ndim - 1))
    return np.take_along_axis(accuracy, np.maximum.accumulate(np.where(np.isnan(accuracy), 0, rows)), axis=0)


def _history(accuracy):
    """[rows, tasks + 1]: 0.0 for tasks not learned yet; last, the mean over the tasks learned so far."""
    accuracy = _last_known(accuracy)
    learned = ~np.isnan(accuracy)
    filled = np.where(learned, accuracy, 0.0).astype(np.float64)
    mean = filled.sum(axis=1) / np.maximum(learned.sum(axis=1), 1)
    return np.column_stack([filled, mean])


def summary(experiment_info, records, task_order, more=None, leep=False, lifelong=True, trainer_fields=no_fields):
    """One experiment as `training_summary` holds it.

    Args:
        experiment_info: field -> value of `model_specific_info`, in its order.
        records: the finished trials.
        task_order: data-set indices of the tasks.
        more: field -> value of what belongs to the experiment itself, copied: seed, fingerprint, run_id, ...
        leep, trainer_fields: see `run_struct`.
        lifelong: one task was trained after the other; False: all together, which the published layout tells apart.
    """
    records = sorted(records, key=lambda record: record.trial)
    info = dict(experiment_info, number_of_trainable_parameters=records[-1].num_parameters)
    if 'conv_sharing' in info:
        info['conv_sharing'] = np.array(info['conv_sharing'], dtype=np.bool_)
    training_time = np.array([record.training_time for record in records], dtype=np.float64)

    fields = dict(model_specific_info=info, task_order=list(task_order),
                  result_of_each_run=[run_struct(record, task_order, leep, lifelong, trainer_fields) for record in records])
    _add_published(fields, 'training_time', training_time, std='stddev')
    fields['train_valid_data_group'] = [record.trial for record in records]
    if lifelong:
        best = np.array([record.best_test[last_rows(record.task_changed_epoch, len(record.best_test))]
                         for record in records], dtype=np.float64)
        last = np.array([_history(record.accuracy[-1:, :, TEST])[0, :-1] for record in records])
        for name, values in [('best_test_error_each_task', best), ('test_error_at_last_epoch', last)]:
            _add_published(fields, name, values, of=values.mean(axis=1))
    else:
        for name, of in [('best_valid_error', 'best_validation_error'), ('best_test_error', 'test_error_at_best_epoch')]:
            _add_published(fields, name, [float(record.extra[of]) for record in records], std='stddev')

    matrices = [np.asarray(record.accuracy_matrix, dtype=np.float64) for record in records]
    _add_statistics(fields, 'accuracy_matrix', matrices)
    _add_statistics(fields, 'peak_accuracy', [record.peak for record in records])
    if all(record.at_chance is not None for record in records):
        fields['at_chance'] = np.array([record.at_chance for record in records], dtype=np.bool_)
    for name, metric in METRICS.items():
        _add_statistics(fields, name, [metric(R) for R in matrices])
    _add_statistics(fields, 'time_per_task', [record.time_per_task for record in records])
    if any(record.origin for record in records):
        fields['origin'] = [origin.as_fields(stretches_of(record)) for record in records]
    assert not set(fields) & set(more or {}), 'an entry given by the caller hides a result'
    return as_stored(dict(fields, **(more or {})))


def stretches_of(record):
    """The origins of a trial, of each stretch of its training; unknown where an older version left the record."""
    return json.loads(record.origin) if record.origin else [origin.UNKNOWN]


def _add_statistics(fields, name, values):
    """Adds the trials' values, their mean and their sample standard deviation, NaN for one trial."""
    fields[name] = np.array(values, dtype=np.float64)
    fields[name + '_mean'], fields[name + '_std'] = mean_and_std(fields[name])


def _add_published(fields, name, values, of=None, std='std'):
    """The same as the published code has it: statistics of one number per trial (`of`), and 0 for one trial."""
    fields[name] = np.array(values, dtype=np.float64)
    mean, deviation = mean_and_std(fields[name] if of is None else of)
    fields[name + '_mean'], fields[name + '_' + std] = mean, deviation if len(fields[name]) > 1 else 0.


def last_rows(task_changed_epoch, num_rows):
    """Row of histories of `num_rows` rows at which each position of the task order ends."""
    return np.append(np.asarray(task_changed_epoch[1:]) - 1, num_rows - 1)


def distinct(task_order):
    """The tasks in order of first appearance."""
    return list(dict.fromkeys(task_order))


def table(summary, task_order):
    """A result as a text table: per task, then on average.

    Args:
        summary: what `summary` returned, or an entry of a file.
        task_order: data-set index of the task at each position that was learned.
    """
    trials, task_order = summary['training_time'].size, np.ravel(task_order).tolist()
    tasks = distinct(task_order)
    columns = [('peak test accuracy', summary['peak_accuracy'], '%.4f'),
               ('final test accuracy', summary['final_accuracy'], '%.4f')]
    if 'best_test_error_each_task' in summary:      # one task after the other
        seconds = [summary['time_per_task'][:, np.equal(task_order, task)].sum(axis=1) for task in tasks]
        columns += [('forgetting', summary['forgetting'], '%.4f'),
                    ('training time (s)', np.stack(seconds, axis=1), '%.1f')]
    rows = [['task'] + [title for title, _, _ in columns]]
    rows += [[str(task)] + [_over_trials(values[:, place], digits) for _, values, digits in columns]
             for place, task in enumerate(tasks)]
    rows += [['mean'] + [_over_trials(mean_over_tasks(values), digits) for _, values, digits in columns]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    whole = [('average incremental test accuracy', 'avg_incremental_accuracy', '%.4f'),
             ('backward transfer of test accuracy', 'backward_transfer', '%.4f')]
    if 'best_test_error_each_task' not in summary:
        whole = [('mean test accuracy, best epoch', 'best_test_error', '%.4f')]
    whole.append(('training time of a trial (s)', 'training_time', '%.1f'))
    spread = 'mean (std) over %s, std: sample standard deviation' if trials > 1 else '%s'
    lines.insert(0, spread % counted(trials, 'trial'))
    lines += ['%-36s%s' % (title, _over_trials(summary[name].ravel(), digits)) for title, name, digits in whole]
    if 'at_chance' in summary and summary['at_chance'].any():
        numbers = np.ravel(summary['train_valid_data_group'])
        lines.append('at chance: ' + tasks_at_chance(summary['at_chance'], numbers, tasks))
    return '\n'.join(lines)


def tasks_at_chance(at_chance, trials, tasks):
    """'2 of 15 tasks over all trials ended with ... (trial 1: tasks 0, 2)'.

    Args:
        at_chance: [trials, tasks], logical.
        trials, tasks: their numbers.
    """
    of_trials = ['trial %d: %s %s' % (trial, 'task' if row.sum() == 1 else 'tasks',
                                      ', '.join(str(task) for task, dead in zip(tasks, row) if dead))
                 for trial, row in zip(trials, at_chance.astype(bool)) if row.any()]
    return '%d of %s over all trials ended with a training accuracy not above that of always answering the most ' \
           'frequent class (%s)' % (at_chance.sum(), counted(at_chance.size, 'task'), '; '.join(of_trials))


def _over_trials(values, digits):
    """'0.1970 (0.0014)': mean and sample standard deviation; of one trial the value; '-' where undefined."""
    mean, std = mean_and_std(values)
    if np.isnan(mean):
        return '-'
    return digits % mean + ('' if np.isnan(std) else ' (%s)' % (digits % std))


def accuracy_matrix_csv(record):
    """R of metrics.py as CSV; row: after learning a position of the order; column: task first learned at a position."""
    R = record.accuracy_matrix
    lines = ['after_position,' + ','.join('task_of_position_%d' % position for position in learned_at(R))]
    lines += ['%d,%s' % (position, ','.join(_number(value) for value in row)) for position, row in enumerate(R)]
    return '\n'.join(lines) + '\n'


def history_csv(record, task_order):
    """Every accuracy of a trial as CSV in long form; epoch 0 precedes training; NaN: learned, not evaluated this epoch."""
    position = np.searchsorted(record.task_changed_epoch, np.arange(len(record.accuracy)), side='right') - 1
    trained = np.asarray(task_order)[np.maximum(position, 0)]
    if 'history_trained_task' in record.extra:      # all tasks are at one position
        trained = np.append(record.extra['history_trained_task'][:1], record.extra['history_trained_task'])
    lines = ['task_trained,epoch,task_evaluated,split,accuracy']
    for epoch, task, split in np.argwhere(~np.isnan(_last_known(record.accuracy))):
        lines.append('%d,%d,%d,%s,%s' % (trained[epoch], epoch, task, SPLITS[split],
                                         _number(record.accuracy[epoch, task, split])))
    return '\n'.join(lines) + '\n'


def _number(value):
    return 'NaN' if np.isnan(value) else repr(float(value))
