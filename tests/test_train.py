"""The loop of a trial: batches, learning rates, what is evaluated and what is only repeated, when a trial fails."""
import numpy as np
import pytest

from classification import checkpoint
from classification.model.method import Setting
from classification.model.registry import make_method
from classification.task_graph import PARTS, TaskGraph
from classification.train import TEST, VALID, TaskProgress, TrialFailed
from tests.trials import BATCH, NET, SIZES, make_experiment, make_task, make_trial, train
from utils import runtime
from utils.utils import stateless_seed
from utils.utils_env_cl import Training

STEPS = SIZES['train'] // BATCH


# ---- batches, learning rates, dropout ----

@pytest.fixture
def steps(monkeypatch):
    """List of (rows by name, learning rate, dropout seed) of each training step."""
    seen, step = [], TaskGraph.step

    def spy(self, rows, learning_rate, seed, fetch_loss=False):
        seen.append(({name: np.array(numbers) for name, numbers in rows.items()}, learning_rate, tuple(seed)))
        return step(self, rows, learning_rate, seed, fetch_loss)
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
    assert len(epochs) == 6                                       # 15 whole batches of 4; three of 63 images are left over
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


def test_trials_differ_and_repeat(tmp_path, steps):
    experiment, orders = make_experiment('Hybrid_HPS', (0,), epochs=1), []
    for number, seed in ((0, 5), (0, 5), (1, 5), (0, 6)):
        trial = make_trial(experiment._replace(seed=seed), tmp_path / str(len(orders)))
        (tmp_path / str(len(orders))).mkdir()
        trial.number = number
        trial.run()
        orders.append(tuple(order_of(by_epoch(steps)[-1])) + steps[-1][2])
    assert orders[0] == orders[1] and len(set(orders)) == 3


def test_validation_batches_cycle_in_an_order_of_their_own(steps, tmp_path):
    train(make_experiment('DARTS_HPS', (0,), darts_selection_data='valid'), tmp_path)
    first, second = [order_of(epoch, 'validation') for epoch in by_epoch(steps)]
    for order in (first, second):
        assert len(order) == STEPS * BATCH
        assert sorted(order[:13]) == list(range(13)) and (order == np.resize(order[:13], len(order))).all()
    assert (first != second).any()


def test_every_pattern_of_a_search_starts_alike(steps, tmp_path):
    train(make_experiment('BruteForce_HPS', (0, 1, 0), epochs=1), tmp_path)
    epochs = [(tuple(order_of(epoch)), tuple((rate, seed) for _, rate, seed in epoch)) for epoch in by_epoch(steps)]
    assert len(epochs) == 1 + 4 + 1
    assert len(set(epochs[1:5])) == 1
    assert [epoch[1][0][0] for epoch in epochs] == [0.01] + [0.01 / 1.1] * 4 + [0.01 / 1.2]


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


@pytest.fixture
def handed_on(monkeypatch):
    """List of (parameter store, state of the method) that each position handed on."""
    seen, save = [], checkpoint.save

    def spy(path, meta, groups):
        if meta['position'] == len(seen) + 1 and not meta['inside']:
            seen.append((dict(groups['store']), meta['state']))
        save(path, meta, groups)
    monkeypatch.setattr(checkpoint, 'save', spy)
    return seen


def accuracies(experiment, store, state, tasks):
    """Evaluates a parameter store; nothing may be missing in it."""
    def nothing_to_draw(name):
        raise AssertionError('%s is not in the store' % name)

    method = make_method(experiment.model_type, Setting(
        NET, experiment.class_counts, experiment.model.mechanism, dict(experiment.options, pattern=experiment.pattern)))
    method.state = state
    tasks = [make_task(task) for task in tasks]
    with TaskGraph(method, store, tasks[-1], tasks, nothing_to_draw, BATCH, 5, runtime.session_config(1)) as graph:
        return {task.index: graph.accuracy(task) for task in tasks}


def test_tasks_that_cannot_change_are_not_evaluated_again(evaluated, tmp_path):
    record = train(make_experiment('STL', (0, 1, 0)), tmp_path)[1]
    assert evaluated == [0, 0, 0, 1, 1, 0, 0]       # untrained, then each epoch of the running task
    rows = record.accuracy
    assert (rows[3:5, 0] == rows[2, 0]).all() and (rows[5:, 1] == rows[4, 1]).all()
    assert np.isnan(rows[:3, 1]).all() and len(np.unique(rows[:, 0], axis=0)) > 2
    np.testing.assert_array_equal(record.accuracy_matrix, [
        [rows[2, 0, TEST], np.nan], rows[4, :, TEST], rows[6, :, TEST]])


def test_tasks_that_share_are_evaluated_after_each_epoch(evaluated, tmp_path):
    train(make_experiment('Hybrid_HPS'), tmp_path)
    assert evaluated == [0, 0, 0, 0, 1, 0, 1]


@pytest.mark.parametrize('model_type, options', [
    ('STL', {}), ('LASEM_HPS', {}), ('DARTS_HPS', {}), ('BruteForce_HPS', {}), ('Hybrid_HPS', {})])
@pytest.mark.parametrize('early_stopping', [0, 1])
def test_accuracies_are_those_of_the_parameters_handed_on(model_type, options, early_stopping, handed_on, tmp_path):
    experiment = make_experiment(model_type, (0, 1), 3, early_stopping, **options)
    trial, record = train(experiment, tmp_path)
    assert len(handed_on) == 2
    for position, (store, state) in enumerate(handed_on):
        found = accuracies(experiment, store, state, range(position + 1))
        for task in found:
            assert record.accuracy_matrix[position, task] == found[task][TEST], (position, task)
        if early_stopping:       # the best epoch's parameters are handed on, with all that belongs to them
            assert found[position][TEST] == record.peak[position]
        if position == 0 and not trial.method.may_change(0):
            for row in record.accuracy[record.task_changed_epoch[1]:]:
                np.testing.assert_array_equal(row[0], found[0])
    assert sum(value.size for value in handed_on[-1][0].values()) == record.num_parameters


@pytest.mark.parametrize('model_type', ['LASEM_HPS', 'LASEM_TF', 'DARTS_HPS', 'LASEM_fixed_HPS'])
def test_a_shared_part_that_was_not_chosen_is_rolled_back(model_type, handed_on, tmp_path):
    options = dict(favoured='ST') if 'fixed' in model_type else {}
    experiment = make_experiment(model_type, (0, 1, 2), 1, **options)
    train(experiment, tmp_path)
    rolled_back = kept = 0
    for (before, _), (after, state), task in zip([({}, None)] + handed_on, handed_on, range(3)):
        for layer, letter in enumerate(state['patterns'][str(task)]):
            shared, earlier = [{name: value for name, value in store.items() if name.startswith('conv%d/shared/' % layer)}
                               for store in (after, before)]
            if letter == 'T':
                assert set(shared) == set(earlier)
                for name in shared:
                    np.testing.assert_array_equal(shared[name], earlier[name])
                rolled_back += len(shared)
            else:
                assert shared and any(not np.array_equal(value, earlier.get(name)) for name, value in shared.items())
                kept += 1
    if 'fixed' in model_type:
        assert (kept, rolled_back) == (3, 0)
    print('%s: %d layers shared, %d shared variables rolled back' % (model_type, kept, rolled_back))


# ---- early stopping ----

def test_patience_grows_with_the_best_epoch():
    progress = TaskProgress(Training(lr=1., lr_decay=0., patience=9, epochs=99), 2)
    valid = [0.5, 0.501, 0.6, 0.6, 0.61, 0.61, 0.61, 0.61, 0.61, 0.61, 0.61]
    best = [progress.add(epoch, value, epoch / 100.) for epoch, value in enumerate(valid)]
    assert best == [True, True, True, False, True] + [False] * 6
    assert progress.improved_at == 4 and progress.best_test == 0.04
    assert [progress.exhausted(epoch) for epoch in (8, 9, 10, 11)] == [False, False, True, True]      # 4 + 1.5 * 4
    progress.early_stopping = 7
    assert [progress.exhausted(epoch) for epoch in (10, 11)] == [False, True]
    progress.early_stopping = 0
    assert not progress.exhausted(1000)


def test_early_stopping_ends_a_task_and_hands_on_its_best_epoch(handed_on, tmp_path):
    record = train(make_experiment('Hybrid_HPS', (0, 1), 12, early_stopping=1), tmp_path)[1]
    ends = np.append(record.task_changed_epoch[1:], len(record.accuracy)) - 1
    assert ends[-1] < 24
    for position, (start, end) in enumerate(zip((0, record.task_changed_epoch[1]), ends)):
        valid = record.accuracy[start:end + 1, position, VALID]
        assert record.accuracy_matrix[position, position] == record.accuracy[start + np.argmax(valid), position, TEST]


# ---- failure ----

def test_a_loss_that_is_no_number_fails_the_trial(tmp_path):
    with pytest.raises(TrialFailed) as failed:
        train(make_experiment('Hybrid_HPS', lr=1e30), tmp_path)
    assert str(failed.value) == 'the loss of task 0 became nan in epoch 1'


def test_parts_of_a_row_of_accuracies():
    assert (PARTS[VALID], PARTS[TEST]) == ('valid', 'test')
