"""Results of trials that learn their tasks in different orders, against numbers worked out by hand."""
import numpy as np
import pytest
from scipy.io import loadmat

from classification.results import choice, metrics
from classification.results.mat_file import append_entry, entries
from classification.results.read_results import load_results
from classification.results.read_results import test_curves as curves_of
from classification.results.summary import orders_of_trials, summary
from classification.results.texts import table
from classification.results.trial_record import VALID
from tests.support.result_files import FIRST, ORDERS, SECOND, drawn, info, permuted_trials, record, write
from utils.utils import UserError

NAN = np.nan
# Order 2, 1, 2, 0, 1: the last position learns no new task.
RETURNING = [[NAN, NAN, 0.5], [NAN, 0.8, 0.3], [NAN, 0.6, 0.9], [0.7, 0.4, 0.6], [0.5, 0.9, 0.4]]


BY_HAND = [     # R, incremental, backward transfer, forgetting, ratio, positions
    (FIRST, (0.8 + 0.75 + 2.15 / 3) / 3, (-0.3 + 0.05) / 2, [NAN, 0.3, -0.05], [NAN, 0.5 / 0.8, 0.95 / 0.9],
     [2, 0, 1]),
    (SECOND, (0.6 + 0.65 + 2. / 3) / 3, (-0.2 - 0.1) / 2, [0.2, NAN, 0.1], [0.7 / 0.9, NAN, 0.5 / 0.6],
     [1, 2, 0]),
    (RETURNING, (0.5 + 0.55 + 0.75 + 1.7 / 3 + 1.8 / 3) / 5, (-0.2 + 0.1 - 0.1) / 3, [0.2, -0.1, 0.5],
     [0.5 / 0.7, 0.9 / 0.8, 0.8], [3, 1, 0])]


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('R, incremental, transfer, forgetting, ratio, learned', BY_HAND,
                         ids=['1 2 0', '2 0 1', '2 1 2 0 1'])
def test_metrics_of_permuted_orders(R, incremental, transfer, forgetting, ratio, learned):
    R = np.array(R)
    assert metrics.learned_at(R).tolist() == learned
    np.testing.assert_allclose(metrics.avg_incremental_accuracy(R), incremental)
    np.testing.assert_allclose(metrics.backward_transfer(R), transfer)
    np.testing.assert_allclose(metrics.forgetting(R), forgetting, atol=1e-12)
    np.testing.assert_allclose(metrics.forgetting_ratio(R), ratio)
    np.testing.assert_allclose(metrics.catastrophic_forgetting_ratio(R, metrics.accuracy_when_learned(R)),
                               ratio)


@pytest.mark.filterwarnings('error')
def test_statistics_leave_out_what_is_undefined():
    mean, std = metrics.mean_and_std_where_defined([[1., NAN, NAN], [2., 3., NAN], [6., 5., NAN]])
    np.testing.assert_allclose(mean, [3., 4., NAN])
    np.testing.assert_allclose(std, [np.sqrt(7.), np.sqrt(2.), NAN])
    mean, std = metrics.mean_and_std_where_defined([1., NAN])
    assert mean == 1. and np.isnan(std)


def test_fields_of_trials_with_different_orders():
    made = summary(info(), permuted_trials(), (0, 1, 2))
    expected = {
        'task_order': ORDERS, 'accuracy_matrix': [FIRST, SECOND],
        'accuracy_matrix_mean': [[NAN, 0.8, 0.6], [0.9, 0.6, 0.65], [0.7, 0.65, 0.725]],
        'final_accuracy': [[0.7, 0.5, 0.95], [0.7, 0.8, 0.5]], 'final_accuracy_mean': [[0.7, 0.65, 0.725]],
        'forgetting': [[NAN, 0.3, -0.05], [0.2, NAN, 0.1]], 'forgetting_mean': [[0.2, 0.3, 0.025]],
        'forgetting_std': [[NAN, NAN, 0.15 / np.sqrt(2)]],
        'peak_accuracy': [[0.7, 0.8, 0.9], [0.9, 0.8, 0.6]],
        # by position
        'best_test_error_each_task': [[0.8, 0.9, 0.7], [0.6, 0.9, 0.8]],
        'time_per_task': [[10., 10., 10.], [20., 20., 20.]]}
    for name, value in expected.items():
        np.testing.assert_allclose(made[name], value, atol=1e-12, err_msg=name)


def test_the_table_goes_by_task_and_says_so():
    made = summary(info(), permuted_trials(), (0, 1, 2))
    lines = table(made, made['task_order']).split('\n')
    assert lines[1:4] == ['rows: tasks by data-set index; each trial has an order of its own:',
                          '  trial 0: 1 2 0', '  trial 1: 2 0 1']
    assert [line.split()[0] for line in lines[5:9]] == ['0', '1', '2', 'mean']
    assert '0.2000' in lines[5] and '0.3000' in lines[6] and '0.0250 (0.1061)' in lines[7]


def test_the_time_of_a_task_that_returns_is_counted_trial_by_trial():
    R = [[NAN, 0.8], [0.5, 0.8], [0.5, 0.8]]
    trials = [record(R, order=(1, 0, 1), own_order=True)._replace(time_per_task=np.array([1., 20., 300.])),
              record([row[::-1] for row in R], trial=1, order=(0, 1, 0), own_order=True)._replace(
                  time_per_task=np.array([3., 40., 500.]))]
    made = summary(info(), trials, (0, 1))
    rows = [line for line in table(made, made['task_order']).split('\n') if line[:2] in ('0 ', '1 ')]
    assert [row.split()[-2] for row in rows] == ['261.5', '170.5']        # (20 + 503) / 2, (301 + 40) / 2


@pytest.mark.parametrize('trials', [1, 2, 5])
def test_shapes_with_an_order_for_each_trial(trials, tmp_path):
    orders = [(1, 2, 0), (2, 0, 1), (0, 1, 2), (1, 0, 2), (1, 2, 0)][:trials]
    path = write(tmp_path / 'x.mat', 'LASEM_HPS', [
        drawn('LASEM_HPS', trial=number, order=order, own_order=True) for number, order in enumerate(orders)],
        (0, 1, 2), task_order_rule='shuffled')
    stored = loadmat(path, struct_as_record=False)['training_summary'][0, 0][0, 0]
    assert stored.task_order.shape == (trials, 3) and stored.task_order.dtype == np.int64
    for name, shape in (('accuracy_matrix', (trials, 3, 3)), ('final_accuracy', (trials, 3)),
                        ('forgetting', (trials, 3)), ('time_per_task', (trials, 3))):
        assert getattr(stored, name).shape == shape, name
    result, = load_results(path)
    assert orders_of_trials(result['task_order'], trials) == [list(order) for order in orders]
    assert result['accuracy_matrix'].shape == (trials, 3, 3)
    for run, R, order in zip(result['result_of_each_run'], result['accuracy_matrix'], orders):
        curves = curves_of(run, order)
        np.testing.assert_allclose(curves[[4, 8, 12]], R)
        assert np.isfinite(curves[0]).tolist() == [task == order[0] for task in range(3)]


def test_validation_accuracies_that_choose_go_by_task():
    trial = record([[NAN, NAN, 0.6], [NAN, 0.8, 0.5], [0.6, 0.8, 0.5], [0.6, 0.7, 0.9]],
                   order=(3, 1, 0, 3), epochs=2)
    # better epochs: of tasks 3 and 1 while they were learned, of task 3 when it returned, which does not
    # count
    for row, task, accuracy in ((1, 3, 0.95), (3, 1, 0.85), (7, 3, 1.)):
        trial.accuracy[row, task, VALID] = accuracy
    entry = summary(info(), [trial], (3, 1, 0, 3))
    final, peak = [choice.accuracies(entry, measure, [0]) for measure in choice.MEASURES]
    assert final.handed_on is None
    np.testing.assert_allclose(final.last_epoch + peak.handed_on,
                               [(0.6 + 0.7 + 0.9) / 3, (0.95 + 0.85 + 0.6) / 3])


def test_validation_accuracies_that_choose_go_by_each_trials_order():
    trials = permuted_trials()
    for trial, task in zip(trials, (1, 2)):
        trial.accuracy[1, task, VALID] = 1.         # of its first task
    entry = summary(info(), trials, (0, 1, 2))
    final, peak = [choice.accuracies(entry, measure, [1, 0]) for measure in choice.MEASURES]
    np.testing.assert_allclose(final.last_epoch, [np.nansum(trial[-1]) / 3 for trial in (SECOND, FIRST)])
    # where one trial does not know what it handed on, the entry does not
    mixed = [trials[0]._replace(final_valid=np.ones(3)), trials[1]]
    assert choice.HANDED_ON not in summary(info(), mixed, (0, 1, 2))
    # SECOND: tasks 2, 0, 1; FIRST: tasks 1, 2, 0
    np.testing.assert_allclose(peak.handed_on, [(1. + 0.9 + 0.8) / 3, (1. + 0.9 + 0.7) / 3])


def test_the_peak_of_tasks_that_are_learned_together_is_one_number():
    trial = record([[.9]], extra={'best_validation_error': .85, 'test_error_at_best_epoch': .8})
    entry = summary(info(), [trial], (0,), lifelong=False)
    assert choice.accuracies(entry, choice.PEAK, [0]) == ([.85], [.85])


@pytest.mark.parametrize('order, named', [((0, 1), False), ((0, 1, 0), False), ((1, 0), True)])
def test_the_table_names_an_order_that_one_would_not_expect(order, named):
    R = [[.9 if task in order[:place + 1] else NAN for task in (0, 1)] for place in range(len(order))]
    made = summary(info(), [record(R, order=order)], order)
    assert ('learned in the order' in table(made, order)) == named


@pytest.mark.parametrize('orders', [ORDERS + [(0, 1, 2)], [(1, 2, 0), (2, 1, 1)]])
def test_orders_that_do_not_fit_the_trials_are_damage(orders, tmp_path):
    path = write(tmp_path / 'x.mat', 'STL', permuted_trials(), (0, 1, 2), task_order_rule='shuffled')
    append_entry(path, dict(entries(path)[0], task_order=np.array(orders)), replace=True)
    with pytest.raises(UserError, match='task_order does not fit the trials'):
        load_results(path)


def test_trials_with_the_same_drawn_order_have_one_row(tmp_path):
    path = write(tmp_path / 'x.mat', 'STL', [record(FIRST, trial=trial, order=(1, 2, 0), own_order=True)
                                             for trial in range(2)], (0, 1, 2))
    result, = load_results(path)
    assert result['task_order'].tolist() == [1, 2, 0]


def test_what_a_file_lacks_is_computed_by_each_trials_order(tmp_path):
    from scipy.io import savemat
    path = str(tmp_path / 'x.mat')
    made = summary(info(), permuted_trials(), (0, 1, 2))
    kept = {name: value for name, value in made.items() if name in (
        'model_specific_info', 'task_order', 'result_of_each_run', 'best_test_error_each_task')}
    cell, runs = np.zeros((1, 1), object), np.zeros((1, 2), object)
    runs[0, :] = kept['result_of_each_run']
    cell[0, 0] = dict(kept, result_of_each_run=runs)
    savemat(path, {'training_summary': cell})
    result, = load_results(path)
    np.testing.assert_allclose(result['accuracy_matrix'], [FIRST, SECOND])
    np.testing.assert_allclose(result['peak_accuracy'], made['peak_accuracy'])
