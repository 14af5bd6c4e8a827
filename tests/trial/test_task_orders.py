"""Trials that learn their tasks in other orders than the data set's: what is recorded stands where the task's
index says."""
import csv
import os
import signal

import numpy as np
import pytest

from classification.experiment import sizes
from classification.experiment.experiment import SHUFFLED
from classification.model.registry import MODELS
from classification.results.read_results import load_results
from classification.results.trial_record import load_record, save_record
from tests.support import command_line
from tests.support.commands import QUICK, Run, waited_for
from tests.support.result_files import same_entry, same_trial
from tests.support.tiny import make_experiment, make_trial, says_the_accuracies, train, train_with_stops

ORDER = (2, 0, 1)


def learned_by(order):
    """bool [positions, tasks]: whether a task was learned at a position or before."""
    return np.array([[task in order[:position + 1] for task in sorted(set(order))]
                     for position in range(len(order))])


@pytest.mark.parametrize('model_type', sorted(MODELS))
def test_every_method_learns_a_permutation(model_type, tmp_path):
    trial, record = train(make_experiment(model_type, (1, 0), epochs=1), tmp_path)
    assert (~np.isnan(record.accuracy_matrix) == learned_by((1, 0))).all() and record.task_order is None
    # a column of the histories begins at its task's position
    assert np.isnan(record.accuracy[:2, 0]).all() and np.isfinite(record.accuracy[2, 0]).all()
    assert np.isfinite(record.accuracy[:, 1]).all()
    says_the_accuracies(record, [0, 1])
    assert len(record.loss) == len(record.accuracy) - 1 and np.isfinite(record.loss).all()
    if 'conv_sharing' in record.extra:
        assert sizes.chosen_patterns(record) == [trial.method.pattern_of(task) for task in range(2)]


def test_what_den_did_stands_at_the_task(tmp_path):
    log = []
    experiment = make_experiment('DEN', ORDER, epochs=2, den_expand='always')
    record = make_trial(experiment, tmp_path, log.append).run()
    widths = record.extra['den_widths']
    assert np.isnan(record.extra['den_loss_before_expansion']).tolist() == [False, False, True]
    assert (widths[2] <= widths[0]).all() and (widths[0] <= widths[1]).all()
    for task in range(3):
        line, = [line for line in log if 'task %d: ' % task in line and 'units per layer' in line]
        assert line.endswith('units per layer %s' % '/'.join(map(str, widths[task])))


def test_a_subset_and_a_returning_task(tmp_path):
    order = (3, 1, 3)
    experiment = make_experiment('LASEM_HPS', order, epochs=1)._replace(class_counts={n: 2 for n in range(4)})
    record = train(experiment, tmp_path)[1]
    assert record.accuracy_matrix.shape == (3, 2) and record.peak.shape == record.final_valid.shape == (2,)
    assert record.extra['conv_sharing'].shape == (2, 2) and record.time_per_task.shape == (3,)
    assert (~np.isnan(record.accuracy_matrix) == learned_by(order)).all()
    assert np.isnan(record.accuracy[:, [0, 2]]).all()
    entry = sizes.entry_of(experiment, [record], {})
    assert entry['task_order'].tolist() == [[3, 1, 3]] and entry['accuracy_matrix'].shape == (1, 3, 2)


def drawn(model_type='Hybrid_HPS'):
    """An experiment whose trial 0 has another order than the data set's."""
    seeds = (make_experiment(model_type, (0, 1, 2), seed=seed)._replace(order_rule=SHUFFLED)
             for seed in range(20))
    return next(one for one in seeds if one.of_trial(0).task_order == ORDER)


def made(folder):
    folder.mkdir()
    return folder


def test_a_drawn_order_gives_the_numbers_of_the_explicit_one(tmp_path):
    experiment = drawn()
    record = train(experiment, made(tmp_path / 'drawn'))[1]
    explicit = train(experiment._replace(task_order=ORDER, order_rule=''), made(tmp_path / 'explicit'))[1]
    assert record.task_order.tolist() == list(ORDER)
    np.testing.assert_array_equal(record.accuracy, explicit.accuracy)
    np.testing.assert_array_equal(record.accuracy_matrix, explicit.accuracy_matrix)


def test_a_trial_with_a_drawn_order_is_resumed(tmp_path):
    calm = train(drawn(), made(tmp_path / 'calm'))
    trial, record, log = train_with_stops(drawn(), made(tmp_path / 'stopped'))
    assert sum('resumed at' in line for line in log) > 3 and any('order of tasks: 2 0 1' in line
                                                                 for line in log)
    same_trial(trial, record, *calm)
    save_record(str(tmp_path / 'record.npz'), record)
    assert load_record(str(tmp_path / 'record.npz')).task_order.tolist() == list(ORDER)


OPTIONS = QUICK + ['--model_type', 'LASEM_HPS', '--num_tasks', '3', '--epochs_per_task', '2',
                   '--num_runs', '2', '--task_order', 'shuffled', '--seed', '4']


def test_shuffled_trials_side_by_side_and_what_their_entry_says(tmp_path):
    one = Run(tmp_path / 'one', OPTIONS, program=('-m', 'tests.support.command_line',
                                                  command_line.ONE_PROCESS)).start()
    side = Run(tmp_path / 'side', OPTIONS + ['--jobs', '2']).start()
    assert one.wait() == 0, one.said
    waited_for(lambda: side.parent.poll() is not None or any('learned task' in line for line in side.log()))
    side.parent.send_signal(signal.SIGTERM)
    side.wait()
    assert side.start().wait() == 0, side.said
    result, = load_results(str(tmp_path / 'one' / 'found.mat'))
    same_entry(one.entry(), side.entry())
    orders = result['task_order'].tolist()
    assert orders[0] != orders[1] and result['task_order_rule'] == 'shuffled'
    for number, order in enumerate(orders):
        check_trial(one, number, order, result)


def check_trial(run, number, order, result):
    """Asserts that fields per task say what the log and the CSV files of a trial say."""
    log = [line for line in run.log() if 'trial %d: learned task' % number in line]
    assert [int(line.split('learned task ')[1].split()[0]) for line in log] == order
    R = result['accuracy_matrix'][number]
    for position, (line, task) in enumerate(zip(log, order)):
        assert 'test accuracy %.4f' % R[position, task] in line
        assert line.endswith('%.4f' % result['peak_accuracy'][number, task])
        assert np.isnan(R[:position, task]).all() and not np.isnan(R[position:, task]).any()
    assert np.flatnonzero(np.isnan(result['forgetting'][number])).tolist() == [order[-1]]
    folder = os.path.join(str(run.folder_of_run), 'trial%d' % number)
    with open(os.path.join(folder, 'history.csv')) as stream:
        rows = list(csv.DictReader(stream))
    trained = [rows[0]['task_trained']] + [row['task_trained'] for row in rows]
    assert [int(task) for task in dict.fromkeys(trained)] == order
    history = result['result_of_each_run'][number]['history_test_error']
    for row in rows:
        if row['split'] == 'test':
            assert history[int(row['epoch']), int(row['task_evaluated'])] == float(row['accuracy'])
    said = [line for line in run.said.splitlines() if line.startswith('  trial %d: ' % number)]
    assert said[0].split(': ')[1] == ' '.join(map(str, order))
    shared = result['result_of_each_run'][number]['conv_sharing']
    assert '  '.join('task %d %s' % (task, ''.join('TS'[int(letter)] for letter in row))
                     for task, row in enumerate(shared)) in said[1]
