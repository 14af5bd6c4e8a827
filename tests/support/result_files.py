"""Result files: as the authors' release writes them, with made numbers for the report, of earlier versions;
what is the same.

`DUMP` is what a file of the authors' release (HPS, --test_type 10, 3 tasks, 2 trials of 2 epochs per task)
was seen to hold:
a line per field, its class and its shape. `dump` and `equal` compare.
"""
import json
import os
from collections import OrderedDict

import numpy as np
from scipy.io import loadmat, savemat

from classification.model.registry import MODELS
from classification.results.mat_file import append_entry
from classification.results.summary import summary
from classification.results.trial_record import TrialRecord
from utils.tensorflow_version import tensorflow_version
from utils.utils_env_cl import patterns_of

DUMP = """
training_summary: cell 1x1
  {0}: struct 1x1
    .model_specific_info: struct 1x1
      .architecture: <U14 1
      .learning_rate: float64 1x1
      .improvement_threshold: float64 1x1
      .early_stopping_para: float64 1x2
      .padding_type: <U4 1
      .max_pooling: bool 1x1
      .dropout: bool 1x1
      .image_dimension: int64 1x3
      .skip_connect: float64 0x0
      .highway_connect: int64 1x1
      .hidden_activation: struct 1x1
      .batch_size: int64 1x1
      .hidden_layer: int64 1x1
      .kernel_sizes: int64 1x8
      .stride_sizes: int64 1x8
      .channel_sizes: int64 1x4
      .pooling_size: int64 1x8
      .conv_sharing: bool 1x4
      .number_of_trainable_parameters: int64 1x1
    .task_order: int64 1x3
    .result_of_each_run: cell 1x2
      {0}: struct 1x1
        .training_time: float64 1x1
        .num_epoch: int64 1x1
        .history_train_error: float64 7x4
        .history_validation_error: float64 7x4
        .history_test_error: float64 7x4
        .history_best_test_error: float64 1x7
        .task_changed_epoch: int64 1x3
        .LEEP_score_trainset: float64 3x3
        .LEEP_score_validset: float64 3x3
        .LEEP_score_testset: float64 3x3
      {1}: struct 1x1
        .training_time: float64 1x1
        .num_epoch: int64 1x1
        .history_train_error: float64 7x4
        .history_validation_error: float64 7x4
        .history_test_error: float64 7x4
        .history_best_test_error: float64 1x7
        .task_changed_epoch: int64 1x3
        .LEEP_score_trainset: float64 3x3
        .LEEP_score_validset: float64 3x3
        .LEEP_score_testset: float64 3x3
    .training_time: float64 1x2
    .training_time_mean: float64 1x1
    .training_time_stddev: float64 1x1
    .train_valid_data_group: int64 1x2
    .best_test_error_each_task: float64 2x3
    .best_test_error_each_task_mean: float64 1x1
    .best_test_error_each_task_std: float64 1x1
    .test_error_at_last_epoch: float64 2x3
    .test_error_at_last_epoch_mean: float64 1x1
    .test_error_at_last_epoch_std: float64 1x1
"""


def relu(inputs):
    """The authors' release puts the function itself into the file;
    SciPy makes a struct without fields of it."""
    return inputs


def published_summary():
    """The Python value that the authors' release hands to savemat, without its cell."""
    draws = np.random.RandomState(0)
    runs = np.zeros((2,), dtype=object)
    for trial, seconds in enumerate([8.2999, 8.951]):
        runs[trial] = {
            'training_time': seconds, 'num_epoch': 6,
            'history_train_error': draws.rand(7, 4), 'history_validation_error': draws.rand(7, 4),
            'history_test_error': draws.rand(7, 4), 'history_best_test_error': list(draws.rand(7)),
            'task_changed_epoch': [1, 3, 5], 'LEEP_score_trainset': np.zeros((3, 3)),
            'LEEP_score_validset': np.zeros((3, 3)), 'LEEP_score_testset': np.zeros((3, 3))}
    return {
        'model_specific_info': {
            'architecture': 'hybrid_hps_cnn', 'learning_rate': 0.0001, 'improvement_threshold': 1.002,
            'early_stopping_para': [2, 1.5], 'padding_type': 'SAME', 'max_pooling': True, 'dropout': True,
            'image_dimension': [32, 32, 3], 'skip_connect': [], 'highway_connect': 0,
            'hidden_activation': relu,
            'batch_size': 10, 'hidden_layer': [64], 'kernel_sizes': [3] * 8, 'stride_sizes': [1] * 8,
            'channel_sizes': [32, 32, 64, 64], 'pooling_size': [1, 1, 2, 2, 1, 1, 2, 2],
            'conv_sharing': [False, False, True, True], 'number_of_trainable_parameters': 874430},
        'task_order': [0, 1, 2], 'result_of_each_run': runs,
        'training_time': [8.2999, 8.951], 'training_time_mean': 8.6255, 'training_time_stddev': 0.4604,
        'train_valid_data_group': [0, 1],
        'best_test_error_each_task': np.array([[0.1, 0.1, 0.197], [0.1, 0.1, 0.197]]),
        'best_test_error_each_task_mean': 0.1323, 'best_test_error_each_task_std': 0.0,
        'test_error_at_last_epoch': np.array([[0.1, 0.1, 0.195], [0.1, 0.1, 0.196]]),
        'test_error_at_last_epoch_mean': 0.1318, 'test_error_at_last_epoch_std': 0.0002}


def write_published(path):
    """Writes NAME.mat as the authors' release does."""
    cell = np.zeros((1,), dtype=object)
    cell[0] = published_summary()
    savemat(str(path), {'training_summary': cell})


def dump(path, name='training_summary'):
    """The structure of a variable in the form of `DUMP`."""
    value = loadmat(str(path), struct_as_record=False, mat_dtype=True)[name]
    return '\n' + '\n'.join(_lines(name, value, '')) + '\n'


def _lines(label, value, indent):
    if value.dtype == object and value.size and hasattr(value.flat[0], '_fieldnames'):
        lines = ['%s%s: struct %s' % (indent, label, _shape(value))]
        for field in value.flat[0]._fieldnames:
            lines += _lines('.' + field, getattr(value.flat[0], field), indent + '  ')
        return lines
    if value.dtype == object and all(one is None for one in value.flat):
        return ['%s%s: struct %s' % (indent, label, _shape(value))]
    if value.dtype == object:
        lines = ['%s%s: cell %s' % (indent, label, _shape(value))]
        for place, one in enumerate(value.flat):
            lines += _lines('{%d}' % place, one, indent + '  ')
        return lines
    kind = value.dtype.str if value.dtype.kind == 'U' else value.dtype.name
    return ['%s%s: %s %s' % (indent, label, kind, _shape(value))]


def _shape(value):
    return 'x'.join(map(str, value.shape))


def equal(one, other):
    """Equal in value, type and shape, through dicts and lists; NaN equals NaN."""
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(
            map(equal, one.values(), other.values()))
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, str):
        return one == other
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def parameter_of(path):
    """dict field -> array of a parameter file."""
    struct = loadmat(str(path), struct_as_record=True, mat_dtype=True)['parameter']
    assert struct.shape == (1, 1)
    return {name: struct[0, 0][name] for name in struct.dtype.names}


# ---- made numbers ----

LAYERS = 4


def info(model='Hybrid_HPS', pattern=None, **more):
    """`model_specific_info` of a model type."""
    fields = OrderedDict([
        ('architecture', MODELS[model].architecture), ('learning_rate', 1e-3),
        ('early_stopping_para', [2., 1.5]),
        ('image_dimension', [8, 8, 1]), ('channel_sizes', [16, 16, 32, 32])])
    if pattern:
        fields['conv_sharing'] = [letter == 'S' for letter in pattern]
    fields.update(more)
    return fields


def record(R, peak=None, trial=0, order=None, epochs=4, seconds=10., parameters=1000, extra=None,
           own_order=False):
    """A trial with this accuracy matrix; each task's accuracy rises to it over the epochs of its position.

    With `own_order` the record says the order.
    """
    R = np.array(R, dtype=np.float64)
    order = list(range(len(R))) if order is None else list(order)
    tasks, rows = sorted(set(order)), 1 + len(order) * epochs
    accuracy = np.full((rows, max(tasks) + 1, 3), np.nan)
    for place, task in enumerate(tasks):
        before = 0.5
        for position in range(order.index(task), len(order)):
            start, now = 1 + position * epochs, R[position, place]
            accuracy[start:start + epochs, task] = np.linspace(before, now, epochs + 1)[1:, None]
            before = now
    accuracy[0, order[0]] = 0.5
    learned = [R[order.index(task), place] for place, task in enumerate(tasks)]
    peak = np.array(learned if peak is None else peak, dtype=np.float64)
    best = np.concatenate([[0.5]] + [np.full(epochs, peak[tasks.index(task)]) for task in order])
    return TrialRecord(trial, accuracy, best, np.arange(1, rows, epochs), R, peak,
                       np.full(len(order), seconds / len(order)), seconds, parameters, extra or {},
                       task_order=np.array(order) if own_order else None)


def drawn(model, tasks=3, trial=0, order=None, epochs=4, level=0.9, own_order=False):
    """A trial of drawn numbers, with the fields that the model's own trials have."""
    draws = np.random.RandomState(1000 * trial + len(model))
    order = list(range(tasks)) if order is None else list(order)
    positions = len(order)
    R = np.full((positions, tasks), np.nan)
    for place in range(tasks):
        first = order.index(sorted(set(order))[place])
        R[first:, place] = np.clip(level + 0.05 * draws.randn()
                                   - np.cumsum(0.03 * draws.rand(positions - first)), 0, 1)
    rows, extra = positions * epochs, OrderedDict()
    if model.startswith('LASEM'):
        weight = np.cumsum(draws.rand(rows, 2 ** LAYERS), axis=0)
        extra['history_net_prior'] = extra['history_net_prior_in_epoch'] = (
            weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    if model.startswith('DARTS'):
        extra['history_DARTS_arch_select'] = draws.randn(rows, 2 * LAYERS).astype(np.float32)
    if model.startswith(('LASEM', 'DARTS')):
        extra['conv_sharing'] = draws.rand(tasks, LAYERS) > 0.5
    if model == 'DEN':
        extra['den_widths'] = 16 + np.cumsum(draws.randint(0, 4, (tasks, LAYERS + 1)), axis=0)
    return record(R, None, trial, order, epochs, 10. + draws.rand(), 1000 + 10 * tasks, extra, own_order)


def write(path, model, records, order=None, pattern=None, config=False, **more):
    """Appends an experiment to a result file; with `config` also its config.json."""
    order = list(range(len(records[0].accuracy_matrix))) if order is None else list(order)
    facts = dict([('data_type', 'DIGITS5'), ('data_percent', -1), ('seed', 0),
                  ('command', 'main.py --model_type ' + model),
                  ('versions', {'numpy': '1.16.6'}),
                  ('fingerprint', ('%-64s' % (model + (pattern or ''))).replace(' ', '0')),
                  ('run_id', model + (pattern or ''))], **more)
    append_entry(str(path), summary(info(model, pattern), records, order, facts))
    if config:
        folder = os.path.join(os.path.splitext(str(path))[0], '%s-%s' % (model, facts['fingerprint'][:8]))
        os.makedirs(folder)
        with open(os.path.join(folder, 'config.json'), 'w') as stream:
            json.dump({'experiment': {'model_type': model, 'checksums': {'raw': 'c0ffee', 'design': None},
                                      'normalize': 'split'},
                       'fingerprint': facts['fingerprint'],
                       'versions': {'numpy': '1.16.6', 'tensorflow': '1.14.0'},
                       'command': facts['command'], 'git_commit': 'abc', 'host': {'name': 'here'}}, stream)
    return str(path)


def patterns():
    """Those of the made LASEM trials."""
    return patterns_of((1,) * LAYERS)


# Columns: tasks 0, 1, 2. Learned in the order 1, 2, 0, and 2, 0, 1.
NAN = np.nan
FIRST = [[NAN, 0.8, NAN], [NAN, 0.6, 0.9], [0.7, 0.5, 0.95]]
SECOND = [[NAN, NAN, 0.6], [0.9, NAN, 0.4], [0.7, 0.8, 0.5]]
ORDERS = [(1, 2, 0), (2, 0, 1)]


def permuted_trials():
    """Two trials with an order each."""
    return [record(R, trial=trial, order=order, own_order=True, seconds=30. * (trial + 1))
            for trial, (R, order) in enumerate(zip((FIRST, SECOND), ORDERS))]


# ---- of earlier versions: tests/earlier ----

GENERATION = 'tf%s' % tensorflow_version().split('.')[0]
EARLIER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'earlier', GENERATION)
COMMON = '--data_type DIGITS5 --lifelong --num_tasks 2 --threads 1'.split()
FINISHED = COMMON + ('--model_type HPS --transfer_config all --epochs_per_task 2 '
                     '--save_mat_name finished.mat').split()
BEGUN = COMMON + '--model_type LASEM_HPS --epochs_per_task 8 --save_mat_name begun.mat'.split()


# ---- whether two runs gave the same numbers, bit for bit ----

# what these names begin is not compared
TIMES = ('training_time', 'time_per_task', 'started', 'training_seconds', 'evaluation_seconds', 'peak_memory',
         'jobs')


def same(one, other, place):
    """Asserts that two records, results or stores are equal bit for bit, times aside."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert set(one) == set(other), place
        for key in one:
            if not key.startswith(TIMES):
                same(one[key], other[key], '%s %s' % (place, key))
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for index, pair in enumerate(zip(one, other)):
            same(pair[0], pair[1], '%s %d' % (place, index))
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), place
        assert one.tobytes() == other.tobytes(), '%s: %s is not %s' % (place, one, other)
    else:
        assert one == other, place


def same_entry(one, other):
    """Asserts that two entries of result files, which are of two runs, hold the same numbers."""
    for name in ('run_id', 'command'):
        assert one.pop(name) and other.pop(name)
    same(one, other, 'entry')


def same_result(run, calm):
    """Asserts that the result files of two runs hold the same numbers, and that these say something."""
    one = run.entry()
    same_entry(dict(one), calm.entry())
    # something was learned
    assert len(np.unique(one['result_of_each_run'][0]['history_train_error'].round(3))) > 5


def same_trial(trial, record, other_trial, other_record):
    """Asserts that two trials recorded and left behind the same."""
    same(record._asdict(), other_record._asdict(), 'record')
    same(dict(trial.store), dict(other_trial.store), 'store')
    same(trial.method.state, other_trial.method.state, 'state')
    same(dict(trial.method.arrays), dict(other_trial.method.arrays), 'arrays')
