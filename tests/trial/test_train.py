"""The loop of a trial: batches, learning rates, what is evaluated and what is only repeated, when a trial
fails."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.results.trial_record import TEST, VALID
from classification.train import TrialFailed
from classification.trial import checkpoint
from classification.trial.schedule import TaskProgress
from classification.trial.task_graph import TaskGraph
from tests.support.tiny import BATCH, SIZES, accuracies, make_experiment, make_trial, train
from utils.utils import stateless_seed
from utils.utils_env_cl import Training
from utils.utils_nn import assign

STEPS = SIZES['train'] // BATCH


# ---- batches, learning rates, dropout ----

@pytest.fixture
def steps(monkeypatch):
    """List of (rows by name, learning rate, dropout seed) of each training step."""
    seen, step = [], TaskGraph.step

    def spy(self, rows, learning_rate, seed, *more, **options):
        seen.append(({name: np.array(numbers) for name, numbers in rows.items()}, learning_rate, tuple(seed)))
        return step(self, rows, learning_rate, seed, *more, **options)
    monkeypatch.setattr(TaskGraph, 'step', spy)
    return seen


def by_epoch(steps):
    assert len(steps) % STEPS == 0
    return [steps[start:start + STEPS] for start in range(0, len(steps), STEPS)]


def order_of(epoch, name='training'):
    return np.concatenate([rows[name] for rows, _, _ in epoch])


def test_batches_and_learning_rates(steps, tmp_path):
    experiment = make_experiment('Hybrid_HPS', (0, 1, 0))
    train(experiment, tmp_path)
    epochs = by_epoch(steps)
    # 15 whole batches of 4; three of 63 images are left over
    assert len(epochs) == 6
    for epoch in epochs:
        assert all(len(rows['training']) == BATCH for rows, _, _ in epoch)
        assert len(set(order_of(epoch))) == STEPS * BATCH         # no image twice
        assert 0 <= order_of(epoch).min() and order_of(epoch).max() < SIZES['train']
    assert len({tuple(order_of(epoch)) for epoch in epochs}) == 6
    assert len({tuple(sorted(order_of(epoch))) for epoch in epochs}) > 1     # others are left over each time
    # The count of epochs goes on from task to task.
    assert [rate for _, rate, _ in steps] == [0.01 / (1 + 0.1 * (step // STEPS)) for step in range(6 * STEPS)]
    assert [seed for _, _, seed in steps] == [
        tuple(stateless_seed(5, 0, (0, 1, 0)[step // STEPS // 2], step // STEPS, step % STEPS, 'dropout'))
        for step in range(6 * STEPS)]
    assert len({seed for _, _, seed in steps}) == 6 * STEPS       # no mask twice


def test_trials_and_seeds_differ(tmp_path, steps):
    experiment = make_experiment('Hybrid_HPS', (0,), epochs=1)
    for number, seed in ((0, 5), (1, 5), (0, 6)):
        trial = make_trial(experiment._replace(seed=seed), tmp_path)
        trial.number = number
        trial.run()
        checkpoint.remove(str(tmp_path / 'checkpoint'))
    epochs = by_epoch(steps)
    assert len({tuple(order_of(epoch)) for epoch in epochs}) == len({epoch[0][2] for epoch in epochs}) == 3


def test_validation_batches_cycle_in_an_order_of_their_own(steps, tmp_path):
    train(make_experiment('DARTS_HPS', (0,), darts_selection_data='valid'), tmp_path)
    first, second = [order_of(epoch, 'validation') for epoch in by_epoch(steps)]
    for order in (first, second):
        assert len(order) == STEPS * BATCH
        assert sorted(order[:13]) == list(range(13)) and (order == np.resize(order[:13], len(order))).all()
    assert (first != second).any()


def test_every_pattern_of_a_search_starts_alike(steps, tmp_path):
    trial = train(make_experiment('BruteForce_HPS', (0, 1), epochs=1), tmp_path)[0]
    epochs = [(tuple(order_of(epoch)), tuple((rate, seed) for _, rate, seed in epoch))
              for epoch in by_epoch(steps)]
    assert len(epochs) == 1 + 4
    assert len(set(epochs[1:])) == 1
    assert [epoch[1][0][0] for epoch in epochs] == [0.01] + [0.01 / 1.1] * 4
    assert trial.state.global_epoch == 2          # a task counts once, however many patterns it tried


# ---- evaluation ----

@pytest.fixture
def evaluated(monkeypatch):
    """List of the tasks that were evaluated, one entry each time."""
    seen, accuracy = [], TaskGraph.accuracy

    def spy(self, task):
        seen.append(task.index)
        return accuracy(self, task)
    monkeypatch.setattr(TaskGraph, 'accuracy', spy)
    return seen


def test_tasks_that_cannot_change_are_not_evaluated_again(evaluated, tmp_path):
    record = train(make_experiment('STL', (0, 1, 0)), tmp_path)[1]
    assert evaluated == [0, 0, 0, 1, 1, 0, 0]       # untrained, then each epoch of the running task
    rows = record.accuracy
    assert (rows[3:5, 0] == rows[2, 0]).all() and (rows[5:, 1] == rows[4, 1]).all()
    assert np.isnan(rows[:3, 1]).all() and len(np.unique(rows[:, 0], axis=0)) > 2
    np.testing.assert_array_equal(record.accuracy_matrix, [
        [rows[2, 0, TEST], np.nan], rows[4, :, TEST], rows[6, :, TEST]])


@pytest.mark.parametrize('model_type', ['Hybrid_HPS', 'LASEM_fixed_APD', 'BruteForce_HPS'])
def test_accuracies_are_those_of_the_parameters_handed_on(model_type, handed_on, tmp_path):
    options = dict(favoured='ST') if 'fixed' in model_type else {}
    experiment = make_experiment(model_type, (0, 1), 1, **options)
    record = train(experiment, tmp_path)[1]
    assert len(handed_on) == 2
    for position, (store, state) in enumerate(handed_on):
        found = accuracies(experiment, store, state, range(position + 1))
        assert record.accuracy_matrix[position].tolist()[:position + 1] == [found[task][TEST]
                                                                            for task in sorted(found)]
    assert record.final_valid.tolist() == [found[task][VALID] for task in (0, 1)]
    assert sum(value.size for value in handed_on[-1][0].values()) == record.num_parameters


def shared_part(store, layer):
    return {name: value for name, value in store.items() if name.startswith('conv%d/shared/' % layer)}


@pytest.mark.parametrize('model_type, choices', [
    ('LASEM_HPS', ['SS', 'TS', 'ST']), ('LASEM_DFCNN', ['ST', 'TT']), ('DARTS_HPS', ['SS', 'TS'])])
def test_a_shared_part_that_was_not_chosen_is_rolled_back(model_type, choices, handed_on, tmp_path,
                                                          monkeypatch):
    experiment = make_experiment(model_type, range(len(choices)), 1)
    trial = make_trial(experiment, tmp_path)
    monkeypatch.setattr(trial.method, 'chosen_now', lambda session: choices[trial.state.position])
    record = trial.run()
    for position, choice in enumerate(choices):
        before, after = handed_on[position - 1][0] if position else {}, handed_on[position][0]
        for layer, letter in enumerate(choice):
            now, then = shared_part(after, layer), shared_part(before, layer)
            if letter == 'T':
                assert set(now) == set(then)
                for name in now:
                    np.testing.assert_array_equal(now[name], then[name])
            else:
                assert now and not any(np.array_equal(value, then.get(name)) for name, value in now.items())
    found = accuracies(experiment, handed_on[-1][0], handed_on[-1][1], range(len(choices)))
    assert record.accuracy_matrix[-1].tolist() == [found[task][TEST] for task in sorted(found)]
    assert record.final_valid.tolist() == [found[task][VALID] for task in sorted(found)]


def test_the_accuracy_matrix_is_that_after_roll_back(tmp_path, monkeypatch):
    trial = make_trial(make_experiment('LASEM_HPS', (0, 1), 2, lr=0.03, depth=1, seed=0), tmp_path)
    end_epoch = trial.method.end_epoch

    # the second task spoils what it shares with the first, which it then does not choose
    def disturb(graph, task, last):
        if trial.state.position == 1:
            shared = [variable for variable in graph.session.graph.get_collection(
                tf.GraphKeys.GLOBAL_VARIABLES)
                      if variable.op.name.startswith('conv0/shared/') and 'RMSProp' not in variable.op.name]
            assert len(shared) == 2
            assign(graph.session, {variable: -graph.session.run(variable) for variable in shared})
        return end_epoch(graph, task, last)
    monkeypatch.setattr(trial.method, 'end_epoch', disturb)
    record = trial.run()
    assert record.extra['conv_sharing'].tolist() == [[True], [False]]
    assert record.accuracy[-1, 0, TEST] != record.accuracy_matrix[0, 0]      # the history shows it disturbed
    assert record.accuracy_matrix[1, 0] == record.accuracy_matrix[0, 0]
    assert record.accuracy[-1, 0, VALID] != record.final_valid[0] == record.accuracy[2, 0, VALID]


# ---- early stopping ----

def test_patience_grows_with_the_best_epoch():
    progress = TaskProgress(Training(lr=1., lr_decay=0., patience=9, epochs=99), 2)
    valid = [0.5, 0.501, 0.6, 0.6, 0.61, 0.61, 0.61, 0.61, 0.61, 0.61, 0.61]
    best = [progress.add(epoch, value, epoch / 100.) for epoch, value in enumerate(valid)]
    assert best == [True, True, True, False, True] + [False] * 6
    assert progress.improved_at == 4 and progress.best_test == 0.04
    # 4 + 1.5 * 4
    assert [progress.exhausted(epoch) for epoch in (8, 9, 10, 11)] == [False, False, True, True]
    progress.early_stopping = 7
    assert [progress.exhausted(epoch) for epoch in (10, 11)] == [False, True]
    progress.early_stopping = 0
    assert not progress.exhausted(1000)


def test_early_stopping_ends_a_task(tmp_path):
    record = train(make_experiment('Hybrid_HPS', (0, 1), 12, early_stopping=1), tmp_path)[1]
    ends = np.append(record.task_changed_epoch[1:], len(record.accuracy)) - 1
    assert ends[-1] < 24
    for position, (start, end) in enumerate(zip((0, record.task_changed_epoch[1]), ends)):
        valid = record.accuracy[start:end + 1, position, VALID]
        assert record.accuracy_matrix[position, position] == record.peak[position]
        assert record.peak[position] == record.accuracy[start + np.argmax(valid), position, TEST]


@pytest.fixture
def first_epoch_is_best(monkeypatch):
    """The validation accuracies are taken as if a task's first epoch were its best."""
    add = TaskProgress.add
    monkeypatch.setattr(TaskProgress, 'add', lambda self, epoch, valid,
                        test: add(self, epoch, float(epoch == 1), test))


def test_early_stopping_hands_on_the_best_epoch(first_epoch_is_best, handed_on, tmp_path):
    experiment = make_experiment('STL', (0, 1), 2, early_stopping=9)
    record = train(experiment, tmp_path)[1]
    best, last = record.accuracy[1:3, 0]
    assert (best != last).any()
    np.testing.assert_array_equal(accuracies(experiment, *handed_on[0], tasks=[0])[0], best)
    assert record.accuracy_matrix[0, 0] == record.peak[0] == best[TEST]
    # of an independent task, carried forward
    np.testing.assert_array_equal(record.accuracy[3:, 0], [best, best])


def test_early_stopping_hands_on_the_best_epochs_choice(first_epoch_is_best, handed_on, tmp_path,
                                                        monkeypatch):
    trial = make_trial(make_experiment('LASEM_HPS', (0,), 2, early_stopping=9), tmp_path)
    start_epoch = trial.method.start_epoch

    # as if the first epoch spoke for TS (pattern 1), the second for ST (pattern 2)
    def favour(graph, task):
        start_epoch(graph, task)
        assign(graph.session, {trial.method.total: 1e6 * np.eye(4)[1 + trial.state.epoch]})
    monkeypatch.setattr(trial.method, 'start_epoch', favour)
    record = trial.run()
    assert [np.argmax(prior) for prior in record.extra['history_net_prior']] == [1, 2]
    assert record.extra['conv_sharing'].tolist() == [[False, True]]
    assert record.accuracy_matrix[0, 0] == record.peak[0] == record.accuracy[1, 0, TEST]


# ---- time ----

def test_a_clock_that_is_set_back_costs_no_checkpoint_and_no_time(falling_clock, tmp_path, monkeypatch):
    kept, save = [], checkpoint.save
    monkeypatch.setattr(checkpoint, 'save', lambda path, meta,
                        groups: kept.append((meta['inside'], meta['epoch'])) or
                        save(path, meta, groups))
    # it saves whenever it may
    _, record = train(make_experiment('SNN', (0, 1), epochs=3, depth=1), tmp_path)
    assert [epoch for inside, epoch in kept if inside] == [1, 2, 1, 2]
    assert record.training_time > 0 and (record.time_per_task > 0).all()
    assert record.time_per_task.sum() <= record.training_time < 600


# ---- failure ----

def test_a_loss_that_is_no_number_fails_the_trial(tmp_path):
    with pytest.raises(TrialFailed) as failed:
        train(make_experiment('Hybrid_HPS', lr=1e30), tmp_path)
    assert str(failed.value) == 'the loss of task 0 became nan in epoch 1'
