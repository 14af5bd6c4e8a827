"""Elastic weight consolidation: the Fisher information, and what it holds."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.gen_data import Split, Task, load_tasks
from classification.model.cnn_ewc_model import EWC
from classification.model.method import Setting
from classification.train import Trial
from classification.trial.context import TrialContext
from classification.trial.task_graph import GraphSettings, TaskGraph
from tests.support.commands import TABLES, experiment_of, listed_commands
from tests.support.result_files import same
from tests.support.tiny import draw, make_experiment, make_net, train
from utils import runtime
from utils import utils_env_cl as env

CLASSES = {0: 3, 1: 2, 2: 2}
OPTIONS = dict(env.EWC, fisher_multiplier=10., pattern='SS')
TRUNK = ['conv%d/shared/hps/%s' % (layer, part) for layer in range(2) for part in ('kernel', 'bias')]


def make_task(index, size=12):
    state = np.random.RandomState(index)
    pixels = state.randint(0, 100, (size, 4, 4, 1)).astype(np.uint8)
    part = Split(np.arange(size, dtype=np.int32) % CLASSES[index], np.full(1, 1 / 16., np.float32),
                np.full(1, -3., np.float32), pixels, np.arange(size), None)
    return Task(index, CLASSES[index], classes=(), train=part, valid=part, test=part)


class Watched(EWC):
    """EWC that also shows the penalty's gradient."""

    def build(self, parameters, task, batch, phase=0):
        super(Watched, self).build(parameters, task, batch, phase)
        if self.penalty is not None:
            self.penalty_gradients = tf.gradients(self.penalty,
                                                  [parameters.variables[name] for name in TRUNK])


def make_method(kind=Watched, order=(0, 1, 2), hidden=(), **options):
    return kind(Setting(make_net()._replace(hidden=hidden), CLASSES, 'hps', dict(OPTIONS, **options), 0.5,
                        order))


def open_graph(method, store, task):
    graph = TaskGraph(method, store, make_task(task), [make_task(task)], draw,
                      GraphSettings(4, 8, runtime.session_config(1)))
    method.start_phase(graph, task, 0)
    return graph


def learn(method, store, task, steps=3, rate=0.02):
    """(store as the task hands it on, its Fisher information)."""
    with open_graph(method, store, task) as graph:
        for step in range(steps):
            graph.step({'training': np.arange(4 * step, 4 * step + 4) % 12}, rate, (task, step))
        values = dict(store, **graph.values())
        fisher = method.fisher(graph)
        return method.end_task(task, store, values, graph), fisher


@pytest.fixture(scope='module')
def two_tasks():
    """(method, its store, [Fisher of task 0, of task 1], [store after 0, after 1])."""
    method, store, fishers, stores = make_method(), {}, [], []
    for task in (0, 1):
        store, fisher = learn(method, store, task)
        fishers.append(fisher)
        stores.append(store)
    return method, store, fishers, stores


# ---- the Fisher information ----

class Linear(EWC):
    """Softmax regression whose only weights are shared."""

    def layer_outputs(self, parameters, task, images):
        return [images]

    def classify(self, parameters, task, maps):
        kernel = parameters.shared('conv0', 'hps', 'kernel', (16, 3), lambda shape,
                                   state: state.normal(size=shape))
        return tf.matmul(tf.reshape(maps, [-1, 16]), kernel)

    def pattern_loss(self, parameters, task, pattern, batch):
        return tf.reduce_mean(self.logits(parameters, task, batch.images))


def test_fisher_of_softmax_regression():
    method, part = make_method(Linear), make_task(0).train
    with open_graph(method, {}, 0) as graph:
        found = method.fisher(graph)['conv0/shared/hps/kernel']
        kernel = graph.values()['conv0/shared/hps/kernel']
    x = part.pixels.reshape(12, 16) / 16. - 3
    p = np.exp(x.dot(kernel))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.einsum('ni,nc->ic', x ** 2, p * (1 - p)) / 12, rtol=1e-4)


def test_fisher_with_the_true_labels_and_with_drawn_ones():
    part, found = make_task(0).train, {}
    x = part.pixels.reshape(12, 16) / 16. - 3
    for how in ('true', 'sample'):
        method = make_method(Linear, ewc_fisher_labels=how)
        with open_graph(method, {}, 0) as graph:
            found[how], kernel = method.fisher(graph)['conv0/shared/hps/kernel'], graph.values()[
                'conv0/shared/hps/kernel']
    p = np.exp(x.dot(kernel))
    p /= p.sum(axis=1, keepdims=True)

    def with_labels(labels):
        return np.einsum('ni,nc->ic', x ** 2, (np.eye(3)[labels] - p) ** 2) / 12
    np.testing.assert_allclose(found['true'], with_labels(part.labels), rtol=1e-4)
    labels = [int((np.cumsum(row)[:-1] < uniform).sum()) for row,
              uniform in zip(p, draw('ewc/labels').uniform(size=12))]
    np.testing.assert_allclose(found['sample'], with_labels(np.array(labels)), rtol=1e-4)


def test_a_subset_of_the_images():
    method = make_method(Linear, ewc_fisher_samples=5)
    with open_graph(method, {}, 0) as graph:
        found, kernel = method.fisher(graph)['conv0/shared/hps/kernel'], graph.values()[
            'conv0/shared/hps/kernel']
    x = (make_task(0).train.pixels.reshape(12, 16) / 16. - 3)[draw('ewc/images').permutation(12)[:5]]
    p = np.exp(x.dot(kernel))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.einsum('ni,nc->ic', x ** 2, p * (1 - p)) / 5, rtol=1e-4)


def test_fisher_is_not_the_square_of_a_mean_gradient_and_knows_no_order_of_images(two_tasks):
    _, store, fishers, _ = two_tasks
    assert sorted(fishers[0]) == sorted(TRUNK)
    for name in TRUNK:
        assert fishers[0][name].shape == store[name].shape and (fishers[0][name] >= 0).all() and fishers[0][
            name].any()

    class Backwards(EWC):
        def build(self, parameters, task, batch, phase=0):
            super(Backwards, self).build(parameters, task, batch, phase)
            logs = tf.nn.log_softmax(self.logits(parameters, task, batch.images))
            mean = tf.gradients(tf.reduce_mean(tf.reduce_sum(tf.stop_gradient(tf.exp(logs)) * logs, axis=1)),
                                [parameters.variables[name] for name in TRUNK])
            self.squared_mean = [tf.square(gradient) for gradient in mean]

    method = make_method(Backwards)
    with open_graph(method, store, 0) as graph:
        forwards, swept = method.fisher(graph), graph.sweep
        graph.sweep = lambda op, rows, feed: swept(op, rows[::-1], feed)
        for name, information in method.fisher(graph).items():
            np.testing.assert_allclose(information, forwards[name], rtol=1e-10)
        wrong = graph.session.run(method.squared_mean, {graph._data['training'][3]: np.arange(4)})
        assert all((square < 0.01 * forwards[name].max()).all() for square, name in zip(wrong, TRUNK))


def test_fisher_is_zero_behind_a_dead_unit_and_the_pass_changes_nothing(two_tasks):
    method, store = make_method(), two_tasks[1]
    bias = store['conv0/shared/hps/bias'].copy()
    bias[1] = -1000.
    with open_graph(method, dict(store, **{'conv0/shared/hps/bias': bias}), 1) as graph:
        before = graph.all_values()
        fisher = method.fisher(graph)
        after = graph.all_values()
    assert not fisher['conv0/shared/hps/kernel'][..., 1].any() and not fisher['conv0/shared/hps/bias'][1]
    assert not fisher['conv1/shared/hps/kernel'][:, :,
                                                 1].any() and fisher['conv1/shared/hps/kernel'][:, :, 0].any()
    different = {name for name in before if (before[name] != after[name]).any()}
    assert different and all(name.startswith('ewc/') for name in different)


# ---- the penalty ----

def test_penalty_begins_at_zero_and_the_first_task_has_none():
    method = make_method()
    store, _ = learn(method, {}, 0)
    with open_graph(method, store, 1) as graph:
        assert graph.session.run(method.penalty) == 0
        assert all((gradient == 0).all() for gradient in graph.session.run(method.penalty_gradients))
    first = make_method()
    open_graph(first, {}, 0).session.close()
    assert first.penalty is None


@pytest.mark.parametrize('mode, gamma', [('separate', 1.), ('online', 1.), ('online', 0.5)])
def test_penalty_is_that_of_all_tasks(two_tasks, mode, gamma):
    _, _, fishers, stores = two_tasks
    method, state = make_method(ewc_mode=mode, ewc_gamma=gamma), np.random.RandomState(1)
    fishers = [{name: 1e3 * value for name, value in fisher.items()} for fisher in fishers]
    stores = [stores[0], {name: value + 0.1 * state.normal(size=value.shape) for name,
                          value in stores[1].items()}]
    for task in (0, 1):
        method.fold(task, fishers[task], stores[task])
    found, explicit = [], []
    for _ in range(2):
        point = {name: stores[1][name] + 0.1 * state.normal(size=stores[1][name].shape) for name in TRUNK}
        with open_graph(method, dict(stores[1], **point), 2) as graph:
            value, gradients = graph.session.run([method.penalty, method.penalty_gradients])
        total = 0.
        for name, gradient in zip(TRUNK, gradients):
            terms = [(fishers[task][name], point[name] - stores[task][name]) for task in (0, 1)]
            if mode == 'online':
                terms = [(gamma * fishers[0][name] + fishers[1][name], point[name] - stores[1][name])]
            total += sum(0.5 * 10. * (information * shift ** 2).sum() for information, shift in terms)
            wanted = sum(10. * information * shift for information, shift in terms)
            np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
        found.append(value)
        explicit.append(total)
    constant = explicit[0] - found[0]
    assert explicit[1] - found[1] == pytest.approx(constant, rel=1e-3, abs=1e-3)
    assert constant > 0.1 if mode == 'separate' else constant == pytest.approx(0, abs=1e-3)


def test_a_task_that_returns_is_held_by_the_others_only(two_tasks):
    _, _, fishers, stores = two_tasks
    method = make_method(order=(0, 1, 0))
    for task in (0, 1):
        method.fold(task, fishers[task], stores[task])
    kept = {name: value.copy() for name, value in method.arrays.items()}
    for name, (precision, centre) in method.anchors(0).items():
        np.testing.assert_allclose(precision, fishers[1][name], atol=1e-12)
        np.testing.assert_allclose(centre, np.where(precision > 0, stores[1][name], 0), rtol=1e-4, atol=1e-6)
    assert all((method.arrays[name] == value).all() for name, value in kept.items())
    again = {name: 2 * value for name, value in fishers[0].items()}
    method.fold(0, again, stores[1])             # its new information takes the place of the old
    for name in TRUNK:
        np.testing.assert_allclose(method.arrays['A/' + name], again[name] + fishers[1][name])
        np.testing.assert_allclose(method.arrays['C/' + name], stores[1][name]
                                   * (again[name] + fishers[1][name]), rtol=1e-5)


def test_information_of_a_task_stays_and_is_its_own(two_tasks):
    _, store, fishers, _ = two_tasks
    method = make_method(order=(0, 1, 0))
    store, fisher = learn(method, {}, 0)
    kept = {name: value.copy() for name, value in method.arrays.items()
            if name.startswith(('F0/', 'optimum0/'))}
    assert kept and all((kept['F0/' + name] == fisher[name]).all() for name in TRUNK)
    store, other = learn(method, store, 1)
    assert all((method.arrays[name] == value).all() for name, value in kept.items())
    assert all(not np.allclose(other[name], fisher[name], rtol=0.01) for name in TRUNK)


def test_memory_does_not_grow_with_tasks_that_do_not_return(two_tasks):
    method, store, _, _ = two_tasks
    assert method.extra((0, 1))['ewc_state_size'] == 2 * sum(store[name].size for name in TRUNK)


# ---- what follows ----

@pytest.mark.parametrize('shared_fc', [False, True])
def test_who_owns_the_head(shared_fc):
    method = make_method(hidden=(5,), ewc_shared_fc=shared_fc)
    before, _ = learn(method, {}, 0)
    after, _ = learn(method, before, 1)
    hidden = 'fc0/shared/hps/kernel' if shared_fc else 'fc0/task0/own/kernel'
    assert before[hidden].shape == (16, 5) and before['fc1/task0/own/kernel'].shape == (5, 3)
    assert after['fc1/task1/own/kernel'].shape == (5, 2)
    assert ('A/fc0/shared/hps/kernel' in method.arrays) == shared_fc
    owned = [name for name in before if '/task0/' in name]
    assert owned and all((after[name] == before[name]).all() for name in owned)


def test_without_a_factor_it_is_hard_parameter_sharing(tmp_path):
    for name in 'ab':
        (tmp_path / name).mkdir()
    ewc, record = train(make_experiment('EWC', (0, 1, 0), **dict(env.EWC, fisher_multiplier=0.)),
                        tmp_path / 'a')
    hps, other = train(make_experiment('Hybrid_HPS', (0, 1, 0), pattern='SS'), tmp_path / 'b')
    assert ewc.store.keys() == hps.store.keys()
    assert all((ewc.store[name] == value).all() for name, value in hps.store.items())
    np.testing.assert_array_equal(record.accuracy, other.accuracy)
    assert record.num_parameters == other.num_parameters


def test_the_larger_the_factor_the_less_moves(tmp_path):
    def trained(order, factor):
        folder = tmp_path / ('%g %d' % (factor, len(order)))
        folder.mkdir()
        return train(make_experiment('EWC', order, 3, **dict(env.EWC, fisher_multiplier=factor)), folder)

    alone, other = [trained((0,), factor)[0] for factor in (1e-3, 1e7)]
    same(dict(alone.store), dict(other.store), 'the first task knows no penalty')
    distances, accuracies = [], []
    for factor in (1e-3, 1e3, 1e7):
        trial, record = trained((0, 1), factor)
        distances.append(sum((alone.method.arrays['A/' + name]
                              * (trial.store[name] - alone.store[name]) ** 2).sum()
                             for name in alone.store if '/shared/' in name))
        accuracies.append(record.accuracy_matrix[:, 0])
    assert all(later <= earlier * 1.0001 for earlier, later in zip(distances, distances[1:]))
    assert distances[-1] < 0.1 * distances[0]
    assert abs(accuracies[-1][1] - accuracies[-1][0]) < 0.01


def test_the_row_of_the_scripts_holds_an_earlier_task(tmp_path):
    rows = {options[options.index('--test_type') + 1] for script in TABLES + ['quick_look']
            for options in listed_commands(script)
            if 'EWC' in options}
    row, = rows
    tasks, lost = load_tasks('DIGITS5', str(tmp_path), None, 0, 4, 'split', 3), {}
    for name in sorted({'1', row}):
        (tmp_path / name).mkdir()
        experiment = experiment_of('--model_type', 'EWC', '--test_type', name, '--num_tasks', '3',
                                   '--epochs_per_task', '12',
                                   '--eval_interval', '12')._replace(task_order=(1, 2))
        matrix = Trial(experiment, 4, tasks, TrialContext(str(tmp_path / name),
                                                          runtime.session_config(1))).run().accuracy_matrix
        lost[name] = matrix[0, 0] - matrix[1, 0]
    assert lost[row] < 0.5 * lost['1'], lost
