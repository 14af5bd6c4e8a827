"""A result file as the published code writes it: HPS, --test_type 10, 3 tasks, 2 trials of 2 epochs per task.

`DUMP` is what such a file was seen to hold: a line per field, its class and its shape. `dump` and `same` compare.
"""
import numpy as np
from scipy.io import loadmat, savemat

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
    """The published code puts the function itself into the file; SciPy makes a struct without fields of it."""
    return inputs


def published_summary():
    """The Python value that the published code hands to savemat, without its cell."""
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
            'image_dimension': [32, 32, 3], 'skip_connect': [], 'highway_connect': 0, 'hidden_activation': relu,
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
    """Writes NAME.mat as the published code does."""
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


def same(one, other):
    """Equal in value, type and shape, through dicts and lists; NaN equals NaN."""
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, str):
        return one == other
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
