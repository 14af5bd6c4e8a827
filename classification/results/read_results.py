"""Result files as plain Python: numbers, texts, lists, dicts and NumPy arrays.

Reads the files of this project, those of the authors' release, whose missing fields are computed where the
histories tell them, and the temp_NAME.mat of a run that goes on. Nothing here imports TensorFlow.
"""
import glob
import os

import numpy as np

from classification.results import mat_file
from classification.results.metrics import METRICS
from classification.results.summary import WITHOUT_IDENTITY, last_rows, orders_of_trials
from classification.results.trial_record import BY_POSITION, OF_TRIAL
from utils.utils import UserError, read_dict, tasks_in

# By level, the fields that are a row or a table of numbers also where they have one element; the others
# become numbers.
_ROWS = {
    'experiment': ('training_time', 'train_valid_data_group', 'avg_incremental_accuracy',
                   'backward_transfer',
                   'best_valid_error', 'best_test_error', 'peak_accuracy_mean', 'peak_accuracy_std',
                   'final_accuracy_mean',
                   'final_accuracy_std', 'forgetting_mean', 'forgetting_std', 'forgetting_ratio_mean',
                   'forgetting_ratio_std', 'time_per_task_mean', 'time_per_task_std',
                   'final_validation_accuracy_mean', 'final_validation_accuracy_std') + OF_TRIAL
    + tuple(name + kind for name in tuple(WITHOUT_IDENTITY.values()) + BY_POSITION + ('multiply_adds',)
            for kind in ('_mean', '_std')),
    'model_specific_info': ('early_stopping_para', 'image_dimension', 'hidden_layer', 'kernel_sizes',
                            'stride_sizes',
                            'channel_sizes', 'pooling_size', 'conv_sharing', 'regularization_scale',
                            'cnn_KB_sizes', 'cnn_TS_sizes', 'cnn_deconv_stride_sizes', 'layer_group_config'),
    'result_of_each_run': ('history_best_test_error', 'task_changed_epoch', 'history_trained_task',
                           'history_loss', 'history_learning_rate', 'den_loss_before_expansion'),
}
_TABLES = {
    'experiment': ('task_order', 'best_test_error_each_task', 'test_error_at_last_epoch', 'accuracy_matrix',
                   'accuracy_matrix_mean',
                   'accuracy_matrix_std', 'peak_accuracy', 'final_accuracy', 'forgetting', 'forgetting_ratio',
                   'time_per_task', 'at_chance', 'final_validation_accuracy', 'multiply_adds') + BY_POSITION
    + tuple(WITHOUT_IDENTITY.values()),
    'model_specific_info': ('skip_connect',),
    'result_of_each_run': ('history_train_error', 'history_validation_error', 'history_test_error',
                           'conv_sharing',
                           'LEEP_score_trainset', 'LEEP_score_validset', 'LEEP_score_testset',
                           'history_net_prior',
                           'history_net_prior_in_epoch', 'history_DARTS_arch_select',
                           'search_validation_accuracy',
                           'mutual_info_input', 'mutual_info_output', 'apd_nonzeros', 'channel_gate_free',
                           'den_widths',
                           'den_expanded', 'den_split_candidates', 'den_split', 'den_stage_epochs',
                           'den_selected_fraction', 'den_edge_density', 'den_fresh_density')
    + tuple(WITHOUT_IDENTITY),
}
# What is a text, and what is one number, wherever it is there.
_TEXTS = {'experiment': ('data_type', 'fingerprint', 'run_id', 'command', 'task_order_rule',
                         'composition_rule', 'splits_checksum', 'predictions_file'),
          'model_specific_info': ('architecture',), 'result_of_each_run': ()}
_NUMBERS = {'experiment': ('seed', 'data_percent'),
            'model_specific_info': ('number_of_trainable_parameters',),
            'result_of_each_run': ('training_time', 'num_epoch')}
LARGEST = 2 ** 53       # whole number that a double holds exactly
NEEDED = ('model_specific_info', 'task_order', 'result_of_each_run')


def load_results(path):
    """Every experiment of a result file, oldest first.

    Args:
        path: NAME.mat, or the temp_NAME.mat of an experiment that is not finished.
    Returns:
        a list of dicts, field -> value, with the file's names. A single number is an int, float or bool, a
        text a str; what has one number per trial, task or layer is an array, also where there is one. Of R
        trials, K positions in the order of tasks, n different tasks and E epochs, these are the most asked
        for:

        task_order [K]: the data set's numbers of the tasks; [R, K] where trials learn them in different
            orders.
        accuracy_matrix [R, K, n], in [0, 1]: test accuracy after position i; NaN before a task is learned.
            Tasks here and below go by the data set's numbers.
        peak_accuracy, final_accuracy, forgetting, forgetting_ratio [R, n]; avg_incremental_accuracy and
            backward_transfer [R]: as in `classification.results.metrics`.
        at_chance [R, n]: whether the network was no better than chance on the task's training images when
            the task was first learned; not in files of earlier versions.
        final_accuracy_no_identity, final_right_task_chosen [R, n]: with --without_task_identity, of test
            images whose task is not told, after the last position. Each run has
            accuracy_without_task_identity and right_task_chosen [K, n], NaN before a task is learned.
        training_time [R]: seconds. train_valid_data_group [R]: the trials' numbers.
        model_specific_info: dict. result_of_each_run: list of R dicts, with history_test_error
            [1 + E, 1 + tasks] and the like: row 0 precedes training, 0.0 stands for a task that is not
            learned yet, the last column is the mean over those learned. `test_curves` gives the same without
            placeholders. confusion[i][a]: test images of the a-th task by true class (row) and answer
            (column) after position i; empty where the task is not learned yet, or that is not known.

        Beside the file's own: `unfinished` (it is a temp_NAME.mat) and `computed_fields`, the names of those
        that an older file lacks and that its histories told.
    Raises:
        UserError: the file is missing, damaged, or no result file; one line.
    """
    variables = mat_file.read(path)
    unfinished = 'training_summary_temp' in variables
    entries = variables.get('training_summary_temp' if unfinished else 'training_summary')
    entries = [entries] if isinstance(entries, dict) else entries      # a struct instead of a cell of one
    if not (isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)):
        raise UserError('%s is not a result file: it has no cell training_summary of structs' % path)
    results = []
    for number, entry in enumerate(entries, 1):
        try:
            results.append(_experiment(entry, unfinished))
        # a field is odd
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as problem:
            raise UserError(
                '%s: experiment %d is not one that this project or the authors\' release wrote (%s)'
                % (path, number, str(problem).split('\n')[0])) from problem
    return results


def load_config(path, fingerprint):
    """What config.json beside a result file says about an experiment: dict; {} where there is none that can
    be read.

    Args:
        path: of the result file.
        fingerprint: the experiment's; None: unknown.
    """
    folder, name = os.path.split(os.path.splitext(path)[0])
    name = name[len('temp_'):] if name.startswith('temp_') else name
    for found in glob.glob(os.path.join(glob.escape(os.path.join(folder, name)),
                                        '*-%s' % str(fingerprint)[:8], 'config.json')):
        config = read_dict(found)
        if config.get('fingerprint') == fingerprint:
            return config
    return {}


def test_curves(run, task_order):
    """Test accuracy of each task after every epoch of a trial.

    Args:
        run: an element of `result_of_each_run`.
        task_order: [K], of this trial.
    Returns:
        [1 + E, n]; row 0 precedes training; NaN before a task's first epoch (but for row 0 of the first).
    Raises:
        ValueError: the histories do not fit the order of tasks.
    """
    history, order = run['history_test_error'], np.ravel(task_order).tolist()
    tasks = tasks_in(order)
    if history.ndim != 2 or history.shape[1] <= max(tasks):
        raise ValueError('history_test_error has no column for task %d' % max(tasks))
    curves = history[:, tasks].astype(np.float64)
    if 'task_changed_epoch' in run:
        starts = _starts(run, order)
        for place, task in enumerate(tasks):
            first = starts[order.index(task)]
            curves[1 if task == order[0] else 0:first, place] = np.nan
    return curves


def _starts(run, task_order):
    starts = _whole(run['task_changed_epoch'], 'task_changed_epoch')
    lengths = np.diff(np.append(starts, len(run['history_test_error'])))
    if len(starts) != len(task_order) or starts[0] < 1 or not (lengths > 0).all():
        raise ValueError('task_changed_epoch does not fit the histories')
    return starts


def _experiment(entry, unfinished):
    missing = [name for name in NEEDED if name not in entry]
    if missing:
        raise ValueError('it has no %s' % ', '.join(missing))
    result = _plain(entry, 'experiment')
    result['model_specific_info'] = _plain(entry['model_specific_info'], 'model_specific_info')
    runs = entry['result_of_each_run']
    result['result_of_each_run'] = [_plain(run, 'result_of_each_run')
                                    for run in ([runs] if isinstance(runs, dict) else runs)]
    result['task_order'] = _order(result['task_order'], len(result['result_of_each_run']))
    info = result['model_specific_info']
    info.update((name, _whole(info[name], name)) for name in ('conv_sharing', 'layer_group_config')
                if name in info)
    if not result['task_order'].size or not result['result_of_each_run']:
        raise ValueError('it has no task or no trial')
    result['train_valid_data_group'] = _whole(
        result.get('train_valid_data_group', np.arange(len(result['result_of_each_run']))),
        'train_valid_data_group')
    result.update(unfinished=unfinished, computed_fields=[])
    _complete(result)
    _check_shapes(result)
    return result


def _plain(struct, level):
    """A struct as `mat_file` gives it, with numbers and rows for arrays of two dimensions."""
    for names, fits, kind in (
            (_ROWS[level] + _TABLES[level], _has_numbers, 'numbers'),
            (_TEXTS[level], lambda value: isinstance(value, str), 'a text'),
            (_NUMBERS[level], lambda value: _has_numbers(value) and value.size < 2, 'a number')):
        odd = [name for name in names if name in struct and not fits(struct[name])]
        if odd:
            raise ValueError('%s is not %s' % (odd[0], kind))
    return {name: value if isinstance(value, (dict, list, str)) else
            value.ravel() if name in _ROWS[level] else
            value if name in _TABLES[level] or value.size != 1 and min(value.shape) != 1 else
            value.item() if value.size == 1 else value.ravel()
            for name, value in struct.items()}


def _whole(values, name):
    """A row of whole numbers from 0 on, as such."""
    values = np.ravel(values).astype(np.float64)
    if not np.isfinite(values).all() or not ((values >= 0) & (values < LARGEST) & (values == np.floor(
            values))).all():
        raise ValueError('%s is not whole numbers from 0 on' % name)
    return values.astype(int)


def _order(values, trials):
    """[K], or [R, K]; all trials have the same tasks."""
    order = _whole(values, 'task_order')
    if min(np.shape(values)) < 2:
        return order
    order = np.reshape(order, np.shape(values))
    if len(order) != trials or len({tuple(tasks_in(row)) for row in order.tolist()}) > 1:
        raise ValueError('task_order does not fit the trials')
    return order


def _has_numbers(value):
    return isinstance(value, np.ndarray) and value.dtype.kind in 'biuf'


def _complete(result):
    """Adds what files of the authors' release lack and the histories tell."""
    runs = result['result_of_each_run']
    orders = orders_of_trials(result['task_order'], len(runs))
    if 'training_time' not in result and all('training_time' in run for run in runs):
        result['training_time'] = np.array([run['training_time'] for run in runs], dtype=np.float64)
    if 'accuracy_matrix' in result or not all('history_test_error' in run and 'task_changed_epoch' in run
                                              for run in runs):
        return
    matrices = [test_curves(run, order)[last_rows(_starts(run, order), len(run['history_test_error']))]
                for run, order in zip(runs, orders)]
    computed = [('accuracy_matrix', matrices)]
    computed += [(name, [metric(R) for R in matrices]) for name, metric in METRICS.items()]
    if 'best_test_error_each_task' in result:
        first = [[order.index(task) for task in tasks_in(order)] for order in orders]
        computed.append(('peak_accuracy', np.take_along_axis(result['best_test_error_each_task'],
                                                             np.array(first), axis=1)))
    for name, values in computed:
        if name not in result:
            result[name] = np.array(values, dtype=np.float64)
            result['computed_fields'].append(name)


def _check_shapes(result):
    trials, tasks = len(result['result_of_each_run']), len(set(result['task_order'].ravel().tolist()))
    positions = result['task_order'].shape[-1] if 'best_valid_error' not in result else 1
    if 'accuracy_matrix' in result:     # MATLAB drops dimensions of one element at the end
        R = result['accuracy_matrix']
        if R.size != trials * positions * tasks:
            raise ValueError('accuracy_matrix is %s instead of %dx%dx%d'
                             % ('x'.join(map(str, R.shape)), trials, positions, tasks))
        result['accuracy_matrix'] = R.reshape((trials, positions, tasks))
    shapes = dict.fromkeys(('train_valid_data_group', 'training_time', 'avg_incremental_accuracy',
                            'backward_transfer') + OF_TRIAL, (trials,))
    shapes.update(dict.fromkeys(BY_POSITION, (trials, positions)))
    shapes.update(dict.fromkeys(('peak_accuracy', 'final_accuracy', 'forgetting', 'at_chance',
                                 'multiply_adds', 'final_validation_accuracy')
                                + tuple(WITHOUT_IDENTITY.values()), (trials, tasks)))
    for name, shape in shapes.items():
        if name in result and result[name].shape != shape:
            raise ValueError('%s is %s instead of %s' % (name, 'x'.join(map(str, result[name].shape)),
                                                         'x'.join(map(str, shape))))
