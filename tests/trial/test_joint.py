"""Joint training: all tasks in one graph, one of them trained in each epoch."""
import numpy as np
import pytest

from classification.results.mat_file import entries
from classification.results.parameter_files import FINAL, load
from classification.trial.schedule import PublishedPatience
from tests.support.result_files import same_trial
from tests.support.tiny import make_experiment, make_joint, make_task, make_trial, train, train_with_stops
from utils import utils_env_cl as env
from utils.utils import random_state


@pytest.mark.parametrize('model_type', ['STL', 'SNN', 'Hybrid_HPS', 'Hybrid_TF', 'Hybrid_DFCNN', 'APD'])
def test_one_task_alone_is_trained_as_ever(model_type, tmp_path):
    for name in 'ab':
        (tmp_path / name).mkdir()
    joint = make_trial(make_joint(model_type, (0,)), tmp_path / 'a')
    record = joint.run()
    lifelong, other = train(make_experiment(model_type, (0,)), tmp_path / 'b')
    assert joint.store.keys() == lifelong.store.keys()
    assert all((joint.store[name] == value).all() for name, value in lifelong.store.items())
    np.testing.assert_array_equal(record.accuracy, other.accuracy)


@pytest.fixture(scope='module')
def watched(tmp_path_factory):
    """(values at the start and after each epoch, record) of hard-parameter sharing of the second layer on
    three tasks, four epochs each."""
    trial = make_trial(make_joint('Hybrid_HPS', epochs=4, pattern='TS'), tmp_path_factory.mktemp('joint'))
    seen, evaluate = [], trial.recorder.evaluate

    def watch(graph, *more):
        seen.append(graph.all_values())
        evaluate(graph, *more)
    trial.recorder.evaluate = watch
    return seen, trial.run()


def test_each_epoch_trains_the_task_that_was_drawn(watched):
    seen, record = watched
    drawn = [random_state(5, 0, epoch=epoch, purpose='task of an epoch').randint(3) for epoch in range(12)]
    assert record.extra['history_trained_task'].tolist() == drawn and set(drawn) == {0, 1, 2}
    for task, before, after in zip(drawn, seen, seen[1:]):
        changed = {name.split('/')[1] for name in before if (before[name] != after[name]).any()}
        assert changed == {'shared', 'task%d' % task}


def test_a_shared_variable_has_one_running_mean_of_squares(watched):
    slots = [name for name in watched[0][0] if name.startswith('conv1/shared/hps/kernel/')]
    # and the momentum, unused
    assert len([name for name in slots if not name.endswith('_1')]) == 1 and len(slots) == 2
    before, after = [values[slots[0]] for values in watched[0][:2]]
    assert (before == 1).all() and (after != before).any()


def test_histories_and_best_epoch(watched):
    _, record = watched
    assert record.accuracy.shape == (13, 3, 3) and not np.isnan(record.accuracy).any()
    valid, test = [record.accuracy[:, :, part].mean(axis=1) for part in (1, 2)]
    best = max(range(13), key=lambda row: (valid[row], -row))
    assert record.extra['best_epoch'] == best
    assert record.extra['best_validation_error'] == pytest.approx(valid[best])
    assert record.extra['test_error_at_best_epoch'] == pytest.approx(test[best])
    np.testing.assert_allclose(record.best_test, [test[max(range(row + 1), key=lambda r: (valid[r], -r))]
                                                  for row in range(13)])
    assert record.peak.tolist() == record.accuracy[best, :, 2].tolist()
    assert record.accuracy_matrix.tolist() == [record.accuracy[-1, :, 2].tolist()]


def test_accuracies_without_sharing_are_carried_forward_rightly(tmp_path):
    calm = make_trial(make_joint('STL'), tmp_path)
    calm.method.outputs_may_change = lambda task, phase=0: True            # evaluates everything
    (tmp_path / 'b').mkdir()
    everything, carried = calm.run(), make_trial(make_joint('STL'), tmp_path / 'b').run()
    np.testing.assert_array_equal(everything.accuracy, carried.accuracy)


@pytest.mark.parametrize('improved_at, least', [(0, 10), (6, 10), (7, 10.5), (20, 30)])
def test_published_patience(improved_at, least):
    training = env.Training(lr=1., lr_decay=0., patience=10, epochs=100)
    progress = PublishedPatience(training, 0, (0.5, 0.5, improved_at))
    assert [progress.exhausted(epoch) for epoch in (int(np.ceil(least)) - 1, int(np.ceil(least)))] == [
        False, True]


def test_apd_as_in_its_paper(tmp_path):
    options = dict(env.APD_PAPER, apd_mode='paper', lambda1=0.01)
    trial = make_trial(make_joint('APD', pattern='SS', **options), tmp_path)
    record = trial.run()
    kernels = [trial.store['conv0/task%d/apd/additive' % task] for task in range(3)]
    assert all(np.abs(kernel[kernel != 0]).min() > 0.01 for kernel in kernels)
    assert record.extra['apd_nonzeros'][:, 0].tolist() == [np.count_nonzero(kernel) for kernel in kernels]


def test_patience_ends_the_training(tmp_path):
    experiment = make_joint('Hybrid_HPS', epochs=20, lr=0., pattern='SS')
    record = make_trial(experiment._replace(training=experiment.training._replace(patience=3)),
                        tmp_path).run()
    assert len(record.accuracy) == 1 + 3                         # nothing improves


def test_stopped_after_every_epoch(tmp_path):
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    experiment = make_joint('Hybrid_TF', (0, 1))
    calm = make_trial(experiment, tmp_path / 'calm')
    record = calm.run()
    stopped, other, log = train_with_stops(experiment, tmp_path / 'stopped')
    same_trial(calm, record, stopped, other)
    assert sum('resumed at position 0, epoch' in line for line in log) == 4


def test_result_has_the_published_layout_of_joint_training(tmp_path, monkeypatch, capsys):
    import main
    monkeypatch.chdir(tmp_path)
    assert main.main(
        '--gpu -1 --data_type DIGITS5 --model_type HPS --num_tasks 2 --num_runs 2 --epochs_per_task 2 '
        '--threads 1 --save_mat_name joint.mat --quiet'.split()) == 0
    entry, = entries('Result/joint.mat')
    assert not {'best_test_error_each_task', 'test_error_at_last_epoch'} & set(entry)
    runs = np.ravel(entry['result_of_each_run'])
    for name, of in (('best_valid_error', 'best_validation_error'),
                     ('best_test_error', 'test_error_at_best_epoch')):
        values = [run[of].item() for run in runs]
        assert np.ravel(entry[name]).tolist() == values
        assert entry[name + '_mean'].item() == pytest.approx(np.mean(values))
        assert entry[name + '_stddev'].item() == pytest.approx(np.std(values, ddof=1))
    assert all('task_changed_epoch' not in run and run['history_trained_task'].size == run['num_epoch'].item()
               for run in runs)
    assert 'forgetting' not in capsys.readouterr().out


def test_analyses_of_joint_training(tmp_path, monkeypatch):
    """The batches of every task are augmented, all tasks are in the parameter file and have mutual
    information."""
    seen = []
    monkeypatch.setattr('classification.trial.task_graph.augmented', lambda images, state: seen.append(images)
                        or images)
    settings = {'data_augment': True, 'saveparam': True,
                'mutual_info': {'alpha': 1.01, 'kernel_h': 1., 'kernel_h_backward': 1.}}
    experiment = make_joint('Hybrid_HPS', (0, 1))._replace(analyses=settings)
    trial = make_trial(experiment, tmp_path, parameter_folder=str(tmp_path / 'params'))
    record = trial.run()
    assert len(seen) == 4 * (make_task(0).train.size // 4)
    file = load(str(tmp_path / 'params' / 'run0' / FINAL))
    assert file.about['tasks'] == [0, 1] and set(file.store) == set(trial.store)
    assert record.extra['mutual_info_input'].shape == (2, 2)
