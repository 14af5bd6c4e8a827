"""What the start of a task costs does not grow with the tasks before it: graphs, networks built, session
calls prepared."""
import collections

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.gen_data import SPLITS
from classification.model.cnn_baseline_model import FixedPattern
from classification.results.trial_record import TEST
from classification.trial.task_graph import GraphSettings, TaskGraph
from tests.support.tiny import (
    BATCH,
    accuracies,
    learned,
    make_experiment,
    make_task,
    make_trial,
    quick_config,
    train,
)

ORDER = (0, 1, 2, 3)
Seen = collections.namedtuple('Seen', 'operations variables networks calls record')


def watched(folder, model_type, order=ORDER, **options):
    """What a trial did: operations and variables of each position's graph, how often each task's network was
    built, the different session calls of each position."""
    trial = make_trial(make_experiment(model_type, order, **options), folder)
    operations, variables, networks, calls, sessions = [], [], collections.Counter(), [], []
    graph_of, outputs, run = trial._graph, trial.method.layer_outputs, tf.Session.run

    def graph(task):
        calls.append(set())
        opened = graph_of(task)
        operations.append(len(opened.graph.get_operations()))
        variables.append(len(opened.variables))
        return opened

    def layer_outputs(parameters, task, images):
        networks[task] += 1
        return outputs(parameters, task, images)

    def spy(session, fetches, feed_dict=None, **more):
        listed = fetches if isinstance(fetches, list) else [fetches]
        sessions.append(session)        # kept, or another one might get its id
        if calls:
            calls[-1].add((id(session), frozenset(each.name for each in listed),
                           frozenset(each.name for each in feed_dict or ())))
        return run(session, fetches, feed_dict, **more)
    trial._graph, trial.method.layer_outputs = graph, layer_outputs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.Session, 'run', spy)
        record = trial.run()
    before = set()
    for position in calls:
        position -= before
        before |= position
    return Seen(operations, variables, networks, [len(position) for position in calls], record)


@pytest.fixture(scope='module', params=[
    ('Hybrid_HPS', dict(pattern='SS')), ('Hybrid_HPS', dict(pattern='TS')), ('STL', {}), ('LASEM_HPS', {})],
    ids=lambda param: str(param))
def seen(request, tmp_path_factory):
    model_type, options = request.param
    return model_type, options, watched(tmp_path_factory.mktemp('trial'), model_type, **options)


def test_the_graph_of_a_later_task_is_no_larger(seen):
    _, _, trial = seen
    assert len(set(trial.operations)) == len(set(trial.variables)) == 1


def test_a_network_that_is_not_evaluated_again_is_not_built_again(seen):
    """A task's network: once as it is learned, once for its multiply-adds, and once, while later tasks are
    learned, where they may change what it says."""
    model_type, _, trial = seen
    if model_type == 'STL':
        assert trial.networks == {task: 2 for task in ORDER}
    elif model_type == 'Hybrid_HPS':
        assert trial.networks == {0: 3, 1: 3, 2: 3, 3: 2}
    else:       # some patterns that LASEM chooses share nothing
        assert max(trial.networks.values()) <= 3


def test_a_later_task_prepares_no_more_session_calls(seen):
    """The network of an earlier task that may change is set up once, not at each later task."""
    model_type, _, trial = seen
    spread = np.ptp(trial.calls[1:])
    assert spread <= 2 if model_type == 'LASEM_HPS' else spread == 0


def test_a_task_that_is_trained_again_is_evaluated_by_its_new_network(tmp_path):
    """Its network at the second visit is that of the graph; afterwards one is built anew."""
    trial = watched(tmp_path, 'Hybrid_HPS', (0, 1, 0, 1, 2), pattern='SS')
    # twice as it is learned, its multiply-adds, and as an earlier one: 0 beside 1, 1 and 2; 1 beside 0 and 2
    assert trial.networks == {0: 2 + 1 + 2, 1: 2 + 1 + 2, 2: 1 + 1}


@pytest.mark.parametrize('change', [
    lambda patch: patch.setattr(FixedPattern, 'network_arrays', lambda self: {'read': np.zeros(1)}),
    lambda patch: patch.delattr(FixedPattern, 'networks_stay')], ids=['reads arrays', 'says nothing'])
def test_a_network_that_may_change_is_built_for_each_later_task(change, tmp_path, monkeypatch):
    """Because it reads arrays, which may have changed, or because its method says nothing of it."""
    change(monkeypatch)
    assert watched(tmp_path, 'Hybrid_HPS', pattern='SS').networks == {0: 5, 1: 4, 2: 3, 3: 2}


def test_variables_of_a_checkpoint_of_before_that_the_graph_has_not_are_passed_over():
    method, store = learned('Hybrid_HPS', ['SS', 'SS'])
    tasks = [make_task(task) for task in range(2)]
    with TaskGraph(method, store, tasks[1], tasks, None, GraphSettings(BATCH, 8, quick_config())) as graph:
        values = {name: value + 1 for name, value in graph.all_values().items()}
        graph.restore_all(dict(store, **values))
        assert not set(store) <= set(values)
        for name, value in graph.all_values().items():
            np.testing.assert_array_equal(value, values[name])


@pytest.mark.parametrize('model_type', ['Hybrid_HPS', 'LASEM_HPS'])
def test_networks_that_serve_longer_change_no_number(model_type, tmp_path, monkeypatch):
    found = []
    for stay in (True, False):
        experiment = make_experiment(model_type, (0, 1, 2, 0), 3)
        (tmp_path / str(stay)).mkdir()
        monkeypatch.setattr(type(make_trial(experiment, tmp_path / str(stay)).method), 'networks_stay', stay)
        found.append(train(experiment, tmp_path / str(stay))[1].accuracy)
    np.testing.assert_array_equal(*found)


def test_every_session_of_a_trial_is_closed(tmp_path, monkeypatch):
    """A session holds threads, and memory of a GPU."""
    opened, open_, close = [], tf.Session.__init__, tf.Session.close

    def spy(self, *more, **options):
        opened.append(self)
        open_(self, *more, **options)

    def closed(self):
        opened[:] = [session for session in opened if session is not self]
        close(self)
    monkeypatch.setattr(tf.Session, '__init__', spy)
    monkeypatch.setattr(tf.Session, 'close', closed)
    train(make_experiment('Hybrid_HPS', (0, 1, 0), 1, pattern='SS'), tmp_path)
    assert opened == []


def test_values_that_are_set_count_in_an_earlier_network(tmp_path):
    """Those of its own, which the graph lacks, and shared ones, which the graph trains."""
    method, store = learned('Hybrid_HPS', ['TS', 'TS'])
    tasks = [make_task(task) for task in range(2)]
    truth = [getattr(tasks[0], split).labels for split in SPLITS]
    head = {name: 0 * store[name] for name in ('fc0/task0/own/kernel', 'fc0/task0/own/bias')}
    with TaskGraph(method, store, tasks[1], tasks, None, GraphSettings(BATCH, 8, quick_config())) as graph:
        for chosen in (0, 1):
            head['fc0/task0/own/bias'] = np.eye(2, dtype=np.float32)[chosen]
            graph.set_values(head)
            np.testing.assert_allclose(graph.accuracy(tasks[0]), [np.mean(of == chosen) for of in truth])
        # without anything from the layers the bias decides, whatever the kernel is
        graph.set_values(dict(store, **{'fc0/task0/own/bias': head['fc0/task0/own/bias'],
                                        'conv1/shared/hps/kernel': 0 * store['conv1/shared/hps/kernel'],
                                        'conv1/shared/hps/bias': 0 * store['conv1/shared/hps/bias']}))
        np.testing.assert_allclose(graph.accuracy(tasks[0]), [np.mean(labels == 1) for labels in truth])


def test_a_network_that_gets_parameters_later_is_evaluated_with_them(tmp_path):
    """APD moves what kernels of several tasks have in common, here all of it, into a tensor of its own."""
    experiment = make_experiment('APD', (2, 1, 0), 4, pattern='SS', apd_mode='paper', apd_consolidate_every=3,
                                 apd_consolidate_spread=1e9, lambda1=1e-3)
    trial, record = train(experiment, tmp_path)
    assert trial.method.state['groups'] == {'0': {'1': 0, '0': 0}, '1': {'2': 0, '0': 0}}
    found = accuracies(experiment, trial.store, trial.method.state, (2, 1, 0))
    assert record.accuracy_matrix[2].tolist() == [found[task][TEST] for task in experiment.tasks]
    assert (record.accuracy_matrix[2] != record.accuracy[-1, list(experiment.tasks), TEST]).any()
