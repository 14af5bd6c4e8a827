"""What people read of results: a table, CSV text."""

import numpy as np

from classification.results.metrics import (
    learned_at,
    mean_and_std,
    mean_and_std_where_defined,
    mean_over_tasks,
)
from classification.results.summary import (
    WITHOUT_IDENTITY,
    _last_known,
    distinct,
    in_words,
    orders_differ,
    orders_of_trials,
)
from classification.results.trial_record import SPLITS
from utils.utils import plural, tasks_in


def problem(lifelong, without_identity):
    """Which problem is solved.

    Args:
        lifelong: one task is trained after the other; False: all together.
        without_identity: whether it is also evaluated without telling the task of a test image.
    """
    return '%s: the task of a test image is known%s' % (
        'task-incremental' if lifelong else 'multi-task', '; also evaluated without it' * without_identity)


def table(summary, task_order):
    """A result as a text table: per task, then on average.

    Args:
        summary: what `summary` returned, or an entry of a file.
        task_order: data-set index of the task at each position that was learned; [trials, positions] where
            trials differ.
    """
    trials = summary['training_time'].size
    orders = orders_of_trials(task_order, trials)
    tasks, differ = tasks_in(orders[0]), orders_differ(task_order)
    columns = [('peak test accuracy', summary['peak_accuracy'], '%.4f'),
               ('final test accuracy', summary['final_accuracy'], '%.4f')]
    if 'best_test_error_each_task' in summary:      # one task after the other
        seconds = [np.where(np.equal(orders, task), summary['time_per_task'], 0.).sum(axis=1)
                   for task in tasks]
        columns += [('forgetting', summary['forgetting'], '%.4f'),
                    ('training time (s)', np.stack(seconds, axis=1), '%.1f')]
    columns += [(title, summary[name], '%.4f') for title, name in zip(
        ('final, task not known', 'right task chosen'), WITHOUT_IDENTITY.values()) if name in summary]
    rows = [['task'] + [title for title, _, _ in columns]]
    rows += [[str(task)] + [_over_trials(values[:, place], digits, differ) for _, values, digits in columns]
             for place, task in enumerate(tasks)]
    rows += [['mean'] + [_over_trials(mean_over_tasks(values), digits) for _, values, digits in columns]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    whole = [('average incremental test accuracy', 'avg_incremental_accuracy', '%.4f'),
             ('backward transfer of test accuracy', 'backward_transfer', '%.4f')]
    if 'best_test_error_each_task' not in summary:
        whole = [('mean test accuracy, best epoch', 'best_test_error', '%.4f')]
    whole.append(('training time of a trial (s)', 'training_time', '%.1f'))
    resources = []
    if 'kept_parameters' in summary:
        resources = [('  of which training steps', summary['training_seconds'].sum(axis=1), '%.1f'),
                     ('  of which evaluation', summary['evaluation_seconds'].sum(axis=1), '%.1f'),
                     ('parameters after the last task', summary['kept_parameters'][:, -1], '%.0f'),
                     ('multiply-adds of an image', summary['multiply_adds'].mean(axis=1), '%.0f'),
                     ('peak memory of a trial (MB)', summary['peak_memory'].ravel() / 1e6, '%.0f')]
    spread = 'mean (std) over %s, std: sample standard deviation' if trials > 1 else '%s'
    lines.insert(0, spread % plural(trials, 'trial'))
    lines[1:1] = _orders(orders, np.ravel(summary['train_valid_data_group']), differ)
    lines += ['%-36s%s' % (title, _over_trials(summary[name].ravel(), digits)) for title, name,
              digits in whole]
    lines += ['%-36s%s' % (title, _over_trials(values, digits)) for title, values, digits in resources]
    if 'at_chance' in summary and summary['at_chance'].any():
        numbers = np.ravel(summary['train_valid_data_group'])
        lines.append('at chance: ' + tasks_at_chance(summary['at_chance'], numbers, tasks))
    return '\n'.join(lines)


def _orders(orders, numbers, differ):
    """Lines about orders that a reader of the table would not expect."""
    if differ:
        return ['rows: tasks by data-set index; each trial has an order of its own:'] + [
            '  trial %d: %s' % (number, in_words(order)) for number, order in zip(numbers, orders)]
    order = orders[0]
    return [] if distinct(order) == sorted(set(order)) else [
        'rows: tasks by data-set index; learned in the order %s' % in_words(order)]


def tasks_at_chance(at_chance, trials, tasks):
    """'2 of 15 tasks over all trials ended with ... (trial 1: tasks 0, 2)'.

    Args:
        at_chance: [trials, tasks], logical.
        trials, tasks: their numbers.
    """
    of_trials = ['trial %d: %s %s' % (trial, 'task' if row.sum() == 1 else 'tasks',
                                      ', '.join(str(task) for task, dead in zip(tasks, row) if dead))
                 for trial, row in zip(trials, at_chance.astype(bool)) if row.any()]
    return ('%d of %s over all trials ended with a training accuracy not above that of always answering '
            'the most frequent class (%s)'
            % (at_chance.sum(), plural(at_chance.size, 'task'), '; '.join(of_trials)))


def _over_trials(values, digits, where_defined=False):
    """'0.1970 (0.0014)': mean and sample standard deviation; of one trial the value; '-' where undefined.

    With `where_defined` over the trials that have a value.
    """
    mean, std = (mean_and_std_where_defined if where_defined else mean_and_std)(values)
    if np.isnan(mean):
        return '-'
    return digits % mean + ('' if np.isnan(std) else ' (%s)' % (digits % std))


def accuracy_matrix_csv(record):
    """R of metrics.py as CSV; row: after learning a position of the order; column: task first learned at a
    position."""
    R = record.accuracy_matrix
    lines = ['after_position,' + ','.join('task_of_position_%d' % position for position in learned_at(R))]
    lines += ['%d,%s' % (position, ','.join(_number(value) for value in row)) for position,
              row in enumerate(R)]
    return '\n'.join(lines) + '\n'


def history_csv(record, task_order):
    """Every accuracy of a trial as CSV in long form; epoch 0 precedes training; NaN: learned, not evaluated
    this epoch."""
    trained = _trained_tasks(record, task_order)
    lines = ['task_trained,epoch,task_evaluated,split,accuracy']
    for epoch, task, split in np.argwhere(~np.isnan(_last_known(record.accuracy))):
        lines.append('%d,%d,%d,%s,%s' % (trained[epoch], epoch, task, SPLITS[split],
                                         _number(record.accuracy[epoch, task, split])))
    return '\n'.join(lines) + '\n'


def epochs_csv(record, task_order):
    """What each epoch of a trial trained, at which learning rate, and the mean of the losses that its steps
    minimised; NaN: an earlier version of this program trained the epoch."""
    rows = zip(_trained_tasks(record, task_order)[1:], record.learning_rate, record.loss)
    return '\n'.join(['task_trained,epoch,learning_rate,loss'] + [
        '%d,%d,%s,%s' % (task, epoch, _number(rate), _number(loss))
        for epoch, (task, rate, loss) in enumerate(rows, 1)]) + '\n'


def _trained_tasks(record, task_order):
    """The task that was trained before each row of the histories; before the first row the one that comes."""
    if 'history_trained_task' in record.extra:      # all tasks are at one position
        return np.append(record.extra['history_trained_task'][:1], record.extra['history_trained_task'])
    position = np.searchsorted(record.task_changed_epoch, np.arange(len(record.accuracy)), side='right') - 1
    return np.asarray(task_order)[np.maximum(position, 0)]


def _number(value):
    return 'NaN' if np.isnan(value) else repr(float(value))
