"""Records of trials, and what is made of them: the published structure, the table, the CSV text."""
import re
from collections import OrderedDict

import numpy as np
import pytest

from classification.results.mat_file import append_entry, as_stored, entries, write_temp
from classification.results.summary import run_struct, summary
from classification.results.texts import accuracy_matrix_csv, history_csv, table
from classification.results.trial_record import TrialRecord, load_record, save_record
from tests.support.result_files import DUMP, dump, equal, write_published
from utils.utils import UserError

NAN = np.nan

INFO = OrderedDict([
    ('architecture', 'hybrid_hps_cnn'), ('learning_rate', 1e-4), ('improvement_threshold', 1.002),
    ('early_stopping_para', [2, 1.5]), ('padding_type', 'SAME'), ('max_pooling', True), ('dropout', True),
    ('image_dimension', (32, 32, 3)), ('skip_connect', []), ('highway_connect', 0),
    ('hidden_activation', 'relu'),
    ('batch_size', 10), ('hidden_layer', [64]), ('kernel_sizes', [3] * 8), ('stride_sizes', [1] * 8),
    ('channel_sizes', [32, 32, 64, 64]), ('pooling_size', [1, 1, 2, 2] * 2), ('conv_sharing', [0, 0, 1, 1])])
MORE = OrderedDict([
    ('chosen_config', ['--SS', '--SS']), ('seed', 0), ('data_type', 'cifar100_10'), ('data_percent', None),
    ('command', 'main.py --lifelong'), ('versions', {'numpy': '1.16.6'}), ('schema_version', 1),
    ('fingerprint', '0' * 64), ('run_id', 'a')])

PUBLISHED = DUMP.replace('.hidden_activation: struct 1x1', '.hidden_activation: <U4 1')     # its name, now
NEW_FIELDS = """\
    .accuracy_matrix: float64 2x3x3
    .accuracy_matrix_mean: float64 3x3
    .accuracy_matrix_std: float64 3x3
    .peak_accuracy: float64 2x3
    .peak_accuracy_mean: float64 1x3
    .peak_accuracy_std: float64 1x3
    .final_accuracy: float64 2x3
    .final_accuracy_mean: float64 1x3
    .final_accuracy_std: float64 1x3
    .avg_incremental_accuracy: float64 1x2
    .avg_incremental_accuracy_mean: float64 1x1
    .avg_incremental_accuracy_std: float64 1x1
    .backward_transfer: float64 1x2
    .backward_transfer_mean: float64 1x1
    .backward_transfer_std: float64 1x1
    .forgetting: float64 2x3
    .forgetting_mean: float64 1x3
    .forgetting_std: float64 1x3
    .forgetting_ratio: float64 2x3
    .forgetting_ratio_mean: float64 1x3
    .forgetting_ratio_std: float64 1x3
    .time_per_task: float64 2x3
    .time_per_task_mean: float64 1x3
    .time_per_task_std: float64 1x3
    .chosen_config: cell 1x2
      {0}: <U4 1
      {1}: <U4 1
    .seed: int64 1x1
    .data_type: <U11 1
    .data_percent: float64 0x0
    .command: <U18 1
    .versions: struct 1x1
      .numpy: <U6 1
    .schema_version: int64 1x1
    .fingerprint: <U64 1
    .run_id: <U1 1
"""


def of_one_trial(text):
    """The listing of a struct with two trials as it is with the first alone."""
    text = re.sub(r'( *)\{1\}: struct 1x1\n(?:\1 .*\n)*', '', text)
    for two, one in (('cell 1x2', 'cell 1x1'), ('float64 1x2', 'float64 1x1'), ('int64 1x2', 'int64 1x1'),
                     ('float64 2x3', 'float64 1x3')):
        text = text.replace(two, one)
    return text


# A temp_NAME.mat has the entry itself in place of a cell; behind the model's information, of one trial:
TEMP_AFTER_INFO = of_one_trial(re.sub('(?m)^  ', '', DUMP[DUMP.index('    .task_order'):]))
LASEM_RUN = """
training_summary_temp: struct 1x1
  .training_time: float64 1x1
  .num_epoch: int64 1x1
  .history_train_error: float64 5x3
  .history_validation_error: float64 5x3
  .history_test_error: float64 5x3
  .history_best_test_error: float64 1x5
  .history_net_prior_in_epoch: float32 4x16
  .history_net_prior: float32 4x16
  .conv_sharing: bool 2x4
  .task_changed_epoch: int64 1x2
"""


def record(trial=0, order=(0, 1, 2), epochs=2, tasks=None, **fields):
    """A finished trial with drawn accuracies; as in a real one, a task has none before its first position."""
    draws, distinct = np.random.RandomState(trial), sorted(set(order))
    rows = 1 + len(order) * epochs
    accuracy = draws.rand(rows, tasks or len(distinct), 3)
    for task in range(accuracy.shape[1]):
        accuracy[:order.index(task) * epochs + 1 if task in order else rows, task] = NAN
    accuracy[0, order[0]] = draws.rand(3)
    ends = [epochs * (position + 1) for position in range(len(order))]
    return TrialRecord(
        trial=trial, accuracy=accuracy, best_test=draws.rand(rows),
        task_changed_epoch=np.arange(1, rows, epochs),
        accuracy_matrix=accuracy[ends][:, distinct, 2], peak=draws.rand(len(distinct)),
        time_per_task=draws.rand(len(order)), training_time=8.5 + trial, num_parameters=1000 + trial,
        extra={})._replace(**fields)


def holds(text, lines):
    """Whether a dump has these lines in this order; a result may have other fields between them."""
    rest = iter(text.strip().split('\n'))
    missing = [line for line in lines.strip().split('\n') if line not in rest]
    assert not missing, '%s in\n%s' % (missing[0], text)
    return True


def by_hand(trial=0):
    """Two tasks, one epoch each; the order is 1, 0.
    In trial 1 task 0 ends 0.2 higher and task 1 0.1 lower."""
    test = np.array([[NAN, 0.1], [NAN, 0.8], [0.5 + 0.2 * trial, 0.6 - 0.1 * trial]])
    return TrialRecord(
        trial=trial, accuracy=np.stack([test / 4, test / 2, test], axis=2),
        best_test=np.array([0.1, 0.8, test[2, 0]]),
        task_changed_epoch=np.array([1, 2]), accuracy_matrix=test[1:], peak=np.array([test[2, 0], 0.8]),
        time_per_task=np.array([2.0, 3.0 + trial]), training_time=6.0 + trial, num_parameters=100, extra={})


def test_a_record_is_read_back_as_it_was(tmp_path):
    path = str(tmp_path / 'trial.npz')
    extra = {'history_net_prior': np.ones((2, 4), np.float32), 'conv_sharing': np.array([[True, False]])}
    written = record(trial=3, extra=extra)
    save_record(path, written)
    read = load_record(path)
    assert (read.trial, read.training_time, read.num_parameters) == (3, 11.5, 1003)
    assert [type(value) for value in (read.trial, read.training_time, read.num_parameters)] == [
        int, float, int]
    for name in ('accuracy', 'best_test', 'task_changed_epoch', 'accuracy_matrix', 'peak', 'time_per_task',
                 'extra'):
        assert equal(getattr(read, name), getattr(written, name)), name


@pytest.mark.parametrize('damage', [lambda content: content[:-1], lambda content: content[:100],
                                    lambda content: b'', lambda content: content.replace(b'peak', b'beak')])
def test_a_damaged_record_is_named(damage, tmp_path):
    path = tmp_path / 'trial.npz'
    save_record(str(path), record())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=str(path)) as error:
        load_record(str(path))
    assert '\n' not in str(error.value)


def test_a_record_that_could_not_be_read_back_is_not_written(tmp_path):
    with pytest.raises(AssertionError):
        save_record(str(tmp_path / 'trial.npz'), record(extra={'method': np.array([None])}))
    assert not list(tmp_path.iterdir())


def test_the_structure_is_the_published_one_and_the_new_fields(tmp_path):
    path = str(tmp_path / 'x.mat')
    append_entry(path, summary(INFO, [record(0), record(1)], (0, 1, 2), MORE, leep=True))
    assert holds(dump(path), PUBLISHED + NEW_FIELDS)


def test_the_temporary_file_has_the_published_structure_too(tmp_path):
    path = str(tmp_path / 'temp_x.mat')
    write_temp(path, summary(INFO, [record(0)], (0, 1, 2), leep=True))
    head, info = 'training_summary_temp: struct 1x1\n', PUBLISHED.split('\n', 3)[3].split('    .task_order')[
        0]
    expected = head + '\n'.join(line[2:] for line in info.split('\n')) + TEMP_AFTER_INFO
    assert holds(dump(path, 'training_summary_temp'), expected)


def test_what_a_method_records_stands_in_the_run_as_published(tmp_path):
    path = str(tmp_path / 'temp_x.mat')
    extra = OrderedDict([('history_net_prior_in_epoch', np.ones((4, 16), np.float32)),
                         ('history_net_prior', np.ones((4, 16), np.float32)),
                         ('conv_sharing', np.ones((2, 4), np.bool_))])
    write_temp(path, run_struct(record(order=(0, 1), extra=extra), (0, 1)))
    assert holds(dump(path, 'training_summary_temp'), LASEM_RUN)


def test_computed_leep_scores_take_the_place_of_the_zeros():
    scores = OrderedDict(('LEEP_score_%sset' % split, np.full((2, 2), -0.5))
                         for split in ('train', 'valid', 'test'))
    run = run_struct(record(order=(0, 1), extra=scores), (0, 1), leep=True)
    assert equal({name: run[name] for name in scores}, scores)


def test_numbers_worked_out_by_hand():
    made = summary(INFO, [by_hand(1), by_hand(0)], (1, 0))
    run = made['result_of_each_run'][0]
    np.testing.assert_allclose(run['history_test_error'], [[0, 0.1, 0.1], [0, 0.8, 0.8], [0.5, 0.6, 0.55]])
    np.testing.assert_allclose(run['history_validation_error'], run['history_test_error'] / 2)
    np.testing.assert_allclose(run['history_train_error'], run['history_test_error'] / 4)
    expected = {
        'task_order': [[1, 0]], 'train_valid_data_group': [[0, 1]],
        'training_time': [[6, 7]], 'training_time_mean': 6.5, 'training_time_stddev': np.sqrt(0.5),
        'best_test_error_each_task': [[0.8, 0.5], [0.8, 0.7]], 'best_test_error_each_task_mean': 0.7,
        'best_test_error_each_task_std': 0.1 * np.sqrt(0.5),
        'test_error_at_last_epoch': [[0.5, 0.6], [0.7, 0.5]], 'test_error_at_last_epoch_mean': 0.575,
        'test_error_at_last_epoch_std': 0.05 * np.sqrt(0.5),
        'accuracy_matrix': [[[NAN, 0.8], [0.5, 0.6]], [[NAN, 0.8], [0.7, 0.5]]],
        'accuracy_matrix_mean': [[NAN, 0.8], [0.6, 0.55]],
        'peak_accuracy': [[0.5, 0.8], [0.7, 0.8]], 'peak_accuracy_mean': [[0.6, 0.8]],
        'final_accuracy': [[0.5, 0.6], [0.7, 0.5]], 'final_accuracy_std': np.sqrt(0.5)
        * np.array([[0.2, 0.1]]),
        'avg_incremental_accuracy': [[0.675, 0.7]], 'avg_incremental_accuracy_mean': 0.6875,
        'backward_transfer': [[-0.2, -0.3]], 'backward_transfer_std': 0.1 * np.sqrt(0.5),
        'forgetting': [[NAN, 0.2], [NAN, 0.3]], 'forgetting_mean': [[NAN, 0.25]],
        'forgetting_ratio': [[NAN, 0.75], [NAN, 0.625]],
        'time_per_task': [[2, 3], [2, 4]], 'time_per_task_mean': [[2, 3.5]]}
    for name, value in expected.items():
        np.testing.assert_allclose(made[name], np.array(value, ndmin=2), atol=1e-12, err_msg=name)


def test_each_position_reports_the_best_of_its_own_rows():
    """Trials may differ in length, where early stopping ends a task."""
    best = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    late = record(0, best_test=best)
    early = record(1, accuracy=late.accuracy[:6], best_test=best[:6], task_changed_epoch=np.array([1, 2, 5]))
    made = summary(INFO, [late, early], (0, 1, 2))
    np.testing.assert_array_equal(made['best_test_error_each_task'], [[0.3, 0.5, 0.7], [0.2, 0.5, 0.6]])
    assert [run['num_epoch'].item() for run in made['result_of_each_run']] == [6, 5]


@pytest.mark.parametrize('trials', [1, 2, 5])
@pytest.mark.parametrize('order', [(0,), (0, 1, 2), (2, 0, 1), (0, 1, 0, 1, 2)], ids=str)
def test_shapes_follow_trials_and_tasks_and_files_return_what_was_made(trials, order, tmp_path):
    path = str(tmp_path / 'x.mat')
    made = summary(INFO, [record(trial, order) for trial in range(trials)], order, MORE, leep=True)
    K, n = len(order), len(set(order))
    shapes = {'task_order': (1, K), 'training_time': (1, trials), 'train_valid_data_group': (1, trials),
              'best_test_error_each_task': (trials, K), 'test_error_at_last_epoch': (trials, n),
              'accuracy_matrix': (trials, K, n), 'peak_accuracy': (trials, n), 'final_accuracy': (trials, n),
              'avg_incremental_accuracy': (1, trials), 'forgetting': (trials, n),
              'time_per_task': (trials, K),
              'test_error_at_last_epoch_mean': (1, 1), 'final_accuracy_mean': (1, n),
              'accuracy_matrix_std': (K, n)}
    assert {name: made[name].shape for name in shapes} == shapes
    for run in made['result_of_each_run']:
        assert (run['history_test_error'].shape, run['LEEP_score_testset'].shape) == ((2 * K + 1, n + 1), (
            K, n))
    assert len(made['result_of_each_run']) == trials
    append_entry(path, made)
    assert equal(entries(path), [made])


PUBLISHED_DEVIATIONS = ['training_time_stddev', 'best_test_error_each_task_std',
                        'test_error_at_last_epoch_std', 'best_valid_error_stddev', 'best_test_error_stddev']


@pytest.mark.parametrize('lifelong', [True, False])
def test_one_trial_has_no_deviation_but_the_published_zero(lifelong):
    extra = {} if lifelong else {'best_validation_error': 0.6, 'test_error_at_best_epoch': 0.5}
    made = summary(INFO, [by_hand()._replace(extra=extra)], (1, 0), lifelong=lifelong)
    deviations = {name: value for name, value in made.items() if name.endswith(('_std', '_stddev'))}
    published = {name: deviations.pop(name) for name in PUBLISHED_DEVIATIONS if name in deviations}
    assert len(published) == 3 and all(value.tolist() == [[0.]] for value in published.values())
    assert len(deviations) == 8 and all(value.size and np.isnan(value).all() for value in deviations.values())


def test_tasks_of_the_data_that_are_never_learned_are_zero():
    """As in the STL analysis, which learns one task of many."""
    made = summary(INFO, [record(order=(1,), tasks=3)], (1,))
    np.testing.assert_array_equal(made['result_of_each_run'][0]['history_test_error'][:, [0, 2]], 0)
    np.testing.assert_array_equal(made['test_error_at_last_epoch'][:, [0, 2]], 0)
    assert made['final_accuracy'].shape == (1, 1)


def test_a_missing_trial_shifts_no_other():
    made = summary(INFO, [record(6), record(2), record(0)], (0, 1, 2))
    np.testing.assert_array_equal(made['train_valid_data_group'], [[0, 2, 6]])
    np.testing.assert_array_equal(made['training_time'], [[8.5, 10.5, 14.5]])
    assert made['model_specific_info']['number_of_trainable_parameters'].item() == 1006


def test_a_result_cannot_be_hidden_by_what_the_caller_adds():
    with pytest.raises(AssertionError):
        summary(INFO, [record()], (0, 1, 2), {'forgetting': 0})


def test_our_entry_joins_a_published_one(tmp_path):
    path = str(tmp_path / 'x.mat')
    write_published(path)
    append_entry(path, summary(INFO, [record(0), record(1)], (0, 1, 2), MORE, leep=True))
    ours = (PUBLISHED + NEW_FIELDS).split('\n', 2)[2].replace('{0}', '{1}', 1)
    assert holds(dump(path), DUMP.replace('cell 1x1', 'cell 1x2', 1) + ours)


def test_the_table_says_what_its_numbers_are(tmp_path):
    made = summary(INFO, [by_hand(0), by_hand(1)], (1, 0))
    text = """\
mean (std) over 2 trials, std: sample standard deviation
rows: tasks by data-set index; learned in the order 1 0
task  peak test accuracy  final test accuracy  forgetting       training time (s)
0     0.6000 (0.1414)     0.6000 (0.1414)      -                3.5 (0.7)
1     0.8000 (0.0000)     0.5500 (0.0707)      0.2500 (0.0707)  2.0 (0.0)
mean  0.7000 (0.0707)     0.5750 (0.0354)      0.2500 (0.0707)  2.8 (0.4)
average incremental test accuracy   0.6875 (0.0177)
backward transfer of test accuracy  -0.2500 (0.0707)
training time of a trial (s)        6.5 (0.7)"""
    assert table(made, (1, 0)) == text
    append_entry(str(tmp_path / 'x.mat'), made)
    entry, = entries(str(tmp_path / 'x.mat'))
    assert table(entry, entry['task_order']) == text


@pytest.mark.filterwarnings('error')
def test_the_table_of_one_trial_and_one_task_has_no_deviations():
    one = record(order=(0,), training_time=1.5, time_per_task=np.array([1.25]), peak=np.array([0.75]),
                 accuracy_matrix=np.array([[0.5]]))
    assert table(summary(INFO, [one], (0,)), (0,)) == """\
1 trial
task  peak test accuracy  final test accuracy  forgetting  training time (s)
0     0.7500              0.5000               -           1.2
mean  0.7500              0.5000               -           1.2
average incremental test accuracy   0.5000
backward transfer of test accuracy  -
training time of a trial (s)        1.5"""


def test_a_repeated_task_is_one_row_with_all_its_time():
    repeated = record(order=(1, 0, 1), time_per_task=np.array([1.0, 20.0, 300.0]))
    rows = table(summary(INFO, [repeated], (1, 0, 1)), (1, 0, 1)).split('\n')[3:5]
    assert [(row.split()[0], row.split()[-1]) for row in rows] == [('0', '20.0'), ('1', '301.0')]


def test_the_accuracy_matrix_as_csv():
    assert accuracy_matrix_csv(by_hand()) == """\
after_position,task_of_position_1,task_of_position_0
0,NaN,0.8
1,0.5,0.6
"""


def test_the_history_as_csv_in_long_form():
    lines = history_csv(by_hand(), (1, 0)).split('\n')
    assert lines[:8] == ['task_trained,epoch,task_evaluated,split,accuracy',
                         '1,0,1,train,0.025', '1,0,1,valid,0.05', '1,0,1,test,0.1',
                         '1,1,1,train,0.2', '1,1,1,valid,0.4', '1,1,1,test,0.8', '0,2,0,train,0.125']
    assert len(lines) == 1 + 3 + 3 + 6 + 1 and lines[-2:] == ['0,2,1,test,0.6', '']


def test_hyper_parameters_that_are_not_numbers_become_cells():
    info = dict(INFO, layer_group_config=[[1, 2], [3]])
    assert equal(summary(info, [record()], (0, 1, 2))['model_specific_info']['layer_group_config'],
                [as_stored([1, 2]), as_stored([3])])
