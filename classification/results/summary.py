"""From the records of finished trials to the result structure of the .mat file.

The names in the result structure are the published ones, "error" included, which is an accuracy in [0, 1].
"""
import json
from collections import OrderedDict

import numpy as np

from classification.results import origin
from classification.results.mat_file import as_stored
from classification.results.metrics import METRICS, mean_and_std, mean_and_std_where_defined
from classification.results.ragged import unpacked
from classification.results.trial_record import BY_POSITION, OF_TRIAL, SPLITS, TEST
from utils.utils import tasks_in

LEEP_SCORES = ('LEEP_score_trainset', 'LEEP_score_validset', 'LEEP_score_testset')
# Of a trial [positions, tasks]; of an entry its last row, for each trial.
WITHOUT_IDENTITY = OrderedDict([('accuracy_without_task_identity', 'final_accuracy_no_identity'),
                                ('right_task_chosen', 'final_right_task_chosen')])


def no_fields(record, task_order):
    """Most methods have no fields of their own trainer."""
    return {}


def run_struct(record, task_order, leep=False, lifelong=True, trainer_fields=no_fields):
    """One trial as `result_of_each_run` holds it.

    With `leep` the LEEP scores are fields also where none were computed, zero then, as the published trainer
    has it. Where tasks are trained together (not `lifelong`) no epoch changes the task.
    `trainer_fields`: function (record, task order) -> further fields, of a method that the authors' release
    trains otherwise.
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
    ] + list(_of_epochs(record).items()) + list(extra.items()) + ([
        ('task_changed_epoch', np.asarray(record.task_changed_epoch, dtype=np.int64)),
    ] if lifelong else []) + list(confusion_fields(record, tasks_in(task_order)).items())
        + list(trainer_fields(record, task_order).items()) + scores))


def _of_epochs(record):
    """What an epoch minimised, and its learning rate; nothing where an older version left the record."""
    if record.loss is None:
        return {}
    return OrderedDict([('history_loss', np.asarray(record.loss, np.float64)),
                        ('history_learning_rate', np.asarray(record.learning_rate, np.float64))])


def confusion_fields(record, tasks):
    """Confusion matrices and right answers by class on the test split: cells {position}{task}.

    Empty where a task is not learned yet, or where that is not known: an older version of this program
    learned the position. Nothing where none is known.
    """
    if record.confusion is None or not record.confusion.size:
        return {}
    matrices = unpacked(record.confusion, record.confusion_parts, 2)
    rows = [[matrices.get((position, task), np.zeros((0, 0), record.confusion.dtype)) for task in tasks]
            for position in range(len(record.accuracy_matrix))]
    return OrderedDict([('confusion', rows),
                        ('correct_by_class', [[np.diag(matrix) for matrix in row] for row in rows])])


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


def summary(experiment_info, records, task_order, more=None, leep=False, lifelong=True,
            trainer_fields=no_fields):
    """One experiment as `training_summary` holds it.

    Args:
        experiment_info: field -> value of `model_specific_info`, in its order.
        records: the finished trials.
        task_order: data-set indices of the tasks, where a trial's record has no order of its own.
        more: field -> value of what belongs to the experiment itself, copied: seed, fingerprint, run_id, ...
        leep, trainer_fields: see `run_struct`.
        lifelong: one task was trained after the other; False: all together, which the published layout tells
            apart.
    """
    records = sorted(records, key=lambda record: record.trial)
    info = dict(experiment_info, number_of_trainable_parameters=records[-1].num_parameters)
    if 'conv_sharing' in info:
        info['conv_sharing'] = np.array(info['conv_sharing'], dtype=np.bool_)
    training_time = np.array([record.training_time for record in records], dtype=np.float64)

    orders = [list(task_order) if record.task_order is None else record.task_order.tolist()
              for record in records]
    differ = any(order != orders[0] for order in orders)
    fields = dict(model_specific_info=info, task_order=orders if differ else orders[0],
                  result_of_each_run=[run_struct(record, order, leep, lifelong, trainer_fields)
                                      for record, order in zip(records, orders)])
    _add_published(fields, 'training_time', training_time, std='stddev')
    fields['train_valid_data_group'] = [record.trial for record in records]
    if lifelong:
        best = np.array([record.best_test[last_rows(record.task_changed_epoch, len(record.best_test))]
                         for record in records], dtype=np.float64)
        last = np.array([_history(record.accuracy[-1:, :, TEST])[0, :-1] for record in records])
        for name, values in [('best_test_error_each_task', best), ('test_error_at_last_epoch', last)]:
            _add_published(fields, name, values, of=values.mean(axis=1))
    else:
        for name, of in [('best_valid_error', 'best_validation_error'),
                         ('best_test_error', 'test_error_at_best_epoch')]:
            _add_published(fields, name, [float(record.extra[of]) for record in records], std='stddev')

    matrices = [np.asarray(record.accuracy_matrix, dtype=np.float64) for record in records]
    _add_statistics(fields, 'accuracy_matrix', matrices, differ)
    _add_statistics(fields, 'peak_accuracy', [record.peak for record in records], differ)
    _add_what_is_known(fields, records, differ)
    for name, metric in METRICS.items():
        _add_statistics(fields, name, [metric(R) for R in matrices], differ)
    _add_statistics(fields, 'time_per_task', [record.time_per_task for record in records], differ)
    if any(record.origin for record in records):
        fields['origin'] = [origin.as_fields(stretches_of(record)) for record in records]
    assert not set(fields) & set(more or {}), 'an entry given by the caller hides a result'
    return as_stored(dict(fields, **(more or {})))


def _add_what_is_known(fields, records, differ):
    """Adds what records of before lack, or what was not asked for, where all trials have it."""
    if all(record.at_chance is not None for record in records):
        fields['at_chance'] = np.array([record.at_chance for record in records], dtype=np.bool_)
    if all(record.final_valid is not None for record in records):
        _add_statistics(fields, 'final_validation_accuracy', [record.final_valid for record in records],
                        differ)
    for name, of_entry in WITHOUT_IDENTITY.items():
        if all(name in record.extra for record in records):
            _add_statistics(fields, of_entry, [record.extra[name][-1] for record in records], differ)
    if all(record.resources is not None for record in records):
        for name in BY_POSITION + ('multiply_adds',):
            _add_statistics(fields, name, [record.resources[name] for record in records], differ)
        for name in OF_TRIAL:
            if all(name in record.resources for record in records):
                fields[name] = np.array([record.resources[name] for record in records], np.float64)


def stretches_of(record):
    """The origins of a trial, of each stretch of its training;
    unknown where an older version left the record."""
    return json.loads(record.origin) if record.origin else [origin.UNKNOWN]


def _add_statistics(fields, name, values, orders_differ):
    """Adds the trials' values, their mean and their sample standard deviation, NaN for one trial.

    Where the orders of trials differ, an entry is undefined in some trials only, and they are left out of it.
    """
    fields[name] = np.array(values, dtype=np.float64)
    statistics = mean_and_std_where_defined if orders_differ else mean_and_std
    fields[name + '_mean'], fields[name + '_std'] = statistics(fields[name])


def _add_published(fields, name, values, of=None, std='std'):
    """The same as the authors' release has it:
    statistics of one number per trial (`of`), and 0 for one trial."""
    fields[name] = np.array(values, dtype=np.float64)
    mean, deviation = mean_and_std(fields[name] if of is None else of)
    fields[name + '_mean'], fields[name + '_' + std] = mean, deviation if len(fields[name]) > 1 else 0.


def last_rows(task_changed_epoch, num_rows):
    """Row of histories of `num_rows` rows at which each position of the task order ends."""
    return np.append(np.asarray(task_changed_epoch[1:]) - 1, num_rows - 1)


def orders_of_trials(task_order, trials):
    """[[position]]: the order of tasks of each trial, from a field `task_order`: one for all, or one for
    each."""
    orders = np.atleast_2d(task_order)
    return (orders if len(orders) == trials else np.reshape(orders, (1, -1)).repeat(trials, axis=0)).tolist()


def orders_differ(task_order):
    """Whether a field `task_order` has an order for each trial."""
    return min(np.atleast_2d(task_order).shape) > 1


def in_words(order):
    """'3 1 0 2'."""
    return ' '.join(map(str, order))


def distinct(values):
    """Each value once, in order of first appearance."""
    return list(dict.fromkeys(values))
