"""Evaluation: against answers counted one image at a time; maps that are kept change no number; epochs passed
over."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.gen_data import SPLITS, Split
from classification.results.summary import run_struct
from classification.results.texts import history_csv
from classification.trial import evaluation
from classification.trial.task_graph import GraphSettings, TaskGraph
from tests.support.tiny import BATCH, SIZES, learned, make_experiment, make_task, train
from utils import runtime
from utils.utils_env_cl import Net

SKIPS = ((1, 2), (3, 3))


def other_scale(task):
    """The task with parts that are scaled each in its own way."""
    return task._replace(valid=task.valid._replace(offset=task.valid.offset + 1),
                         test=task.test._replace(scale=task.test.scale * 2))


def opened(patterns, running=None, batch=8, model_type='Hybrid_HPS', augments=False, **settings):
    """A graph that trains the last task and evaluates all."""
    method, store = learned(model_type, patterns, **settings)
    tasks = [other_scale(make_task(task)) for task in range(len(patterns))]
    return TaskGraph(method, store, tasks[-1 if running is None else running], tasks, None,
                     GraphSettings(BATCH, batch, runtime.session_config(1), augments))


def plural(graph, task):
    """[3]: what `accuracy` must be, from the logits of images that are fed one by one."""
    with graph.graph.as_default():
        shares = []
        for part in (task.train, task.valid, task.test):
            answers = [graph.probe('logits%d' % task.index, one_of(part, row))[0].argmax()
                       for row in range(part.size)]
            shares.append(np.mean(answers == part.labels))
    return np.array(shares)


def one_of(part, row):
    return part._replace(labels=part.labels[[row]], rows=part.rows[[row]])


# ends of parts inside, at the end of and outside a batch
@pytest.mark.parametrize('batch', [1, 8, 70, 1000])
def test_accuracy_is_the_share_of_correct_answers(batch):
    with opened(['TS', 'SS'], batch=batch) as graph:
        for task in graph.learned:
            expected = plural(graph, task)
            assert 0 < expected.max() and len(set(expected)) > 1
            for _ in range(2):      # the second time from kept maps
                np.testing.assert_allclose(graph.accuracy(task), expected, atol=1e-12)


def images_read(graph, monkeypatch, task):
    """How many images of a task one evaluation reads."""
    read, images = [], Split.images

    def spy(self, rows):
        read.append(len(rows))
        return images(self, rows)
    monkeypatch.setattr(Split, 'images', spy)
    graph.accuracy(task)
    monkeypatch.undo()
    return sum(read)


@pytest.mark.parametrize('pattern, room, kept', [
    ('TS', 2 ** 30, True), ('SS', 2 ** 30, False), ('ST', 2 ** 30, False),
    ('TS', 4 * sum(SIZES.values()) * 2 * 2 * 3, True), ('TS', 4 * sum(SIZES.values()) * 2 * 2 * 3 - 1,
                                                        False)])
def test_maps_that_cannot_change_are_computed_once_within_the_budget(pattern, room, kept, monkeypatch):
    monkeypatch.setattr(evaluation, 'ACTIVATION_BYTES', room)
    with opened([pattern, 'SS']) as graph:
        first, running = graph.learned
        size = sum(SIZES.values())
        assert [images_read(graph, patch, first) for patch in (monkeypatch, monkeypatch)] == [
            size, 0 if kept else size]
        assert [images_read(graph, monkeypatch, running) for _ in range(2)] == [size] * 2


def test_kept_maps_are_those_of_the_parameters_as_they_are_now(monkeypatch):
    """After training steps the accuracies equal those of a graph that keeps nothing, bit for bit in the
    logits."""
    found = []
    for room in (2 ** 30, 0):
        monkeypatch.setattr(evaluation, 'ACTIVATION_BYTES', room)
        with opened(['TS', 'SS']) as graph:
            for epoch in range(4):
                accuracies = [graph.accuracy(task) for task in graph.learned]
                for step in range(15):
                    graph.step({'training': np.arange(4 * step, 4 * step + 4)}, 0.05, (epoch, step))
            found.append(accuracies)
            assert bool(graph._evaluation._kept) == bool(room)
    np.testing.assert_array_equal(*found)
    assert len(np.unique(found[0])) > 3


def test_tasks_that_are_trained_keep_nothing():
    with opened(['TS', 'TS'], running=0) as graph:      # task 0 returns after task 1
        for task in graph.learned:
            graph.accuracy(task)
        assert list(graph._evaluation._kept) == [1]


# ---- the columns of progressive networks ----

MAPS = 4 * sum(SIZES.values()) * 2 * 2 * 4       # bytes of a second layer's maps


def third_task(room, spoilt, monkeypatch, augments=False):
    """What five steps leave of the third task's parameters, and its accuracies, if the second layers of these
    earlier columns are set to 0 after the first evaluation."""
    monkeypatch.setattr(evaluation, 'ACTIVATION_BYTES', room)
    with opened(['TTT'] * 3, model_type='ProgNN', augments=augments, depth=3) as graph:
        first, values = graph.accuracy(graph.task), graph.values()
        assert (first == plural(graph, graph.task)).all()
        graph.set_values({'conv1/task%d/own/%s' % (column, part): 0
                          * values['conv1/task%d/own/%s' % (column, part)]
                          for column in spoilt for part in ('kernel', 'bias')})
        for step in range(5):
            graph.step({'training': np.arange(4 * step, 4 * step + 4)}, 0.05, (0, step),
                       augmentation=np.random.RandomState(step) if augments else None)
        values = graph.values()
        own = np.concatenate([values[name].ravel() for name in sorted(values) if '/task2/' in name])
        return np.concatenate([own, graph.accuracy(graph.task)])


@pytest.fixture(scope='module')
def nothing_kept():
    """What `third_task` gives where there is no room, and no column is spoilt."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return third_task(0, [], monkeypatch)


@pytest.mark.parametrize('room, column, read', [(2 * MAPS, 0, False), (2 * MAPS, 1, False),
                                                (2 * MAPS - 1, 0, True),
                                                (2 * MAPS - 1, 1, False), (MAPS - 1, 1, True)])
def test_maps_of_earlier_columns_are_computed_once_within_the_budget(room, column, read, nothing_kept,
                                                                     monkeypatch):
    """A column whose maps are kept can be spoilt; the last one is kept first."""
    difference = np.abs(third_task(room, [column], monkeypatch) - nothing_kept).max()
    assert difference > 1e-3 if read else difference < 1e-6


def test_maps_of_augmented_images_are_computed_in_each_step(monkeypatch):
    calm = third_task(2 ** 30, [], monkeypatch, augments=True)
    assert np.abs(third_task(2 ** 30, [0], monkeypatch, augments=True) - calm).max() > 1e-3


def test_a_trial_of_columns_records_the_same_with_and_without_kept_maps(tmp_path, monkeypatch):
    found = []
    for room in (2 ** 30, 0):
        monkeypatch.setattr(evaluation, 'ACTIVATION_BYTES', room)
        (tmp_path / str(room)).mkdir()
        found.append(train(make_experiment('ProgNN', (0, 1, 2), 3, depth=3, early_stopping=2),
                           tmp_path / str(room)))
    (trial, record), (other, expected) = found
    np.testing.assert_array_equal(record.accuracy, expected.accuracy)
    for name, value in other.store.items():
        np.testing.assert_allclose(trial.store[name], value, atol=1e-6, err_msg=name)


@pytest.mark.parametrize('layers, expected', [(0, 0), (1, 1), (2, 1), (3, 3), (4, 4)])
def test_a_cut_is_where_no_skip_connection_passes(layers, expected):
    """The input of layer 1 is needed in layer 2; the input of layer 3 is what lies behind three layers."""
    assert Net((8, 8, 1), (None,) * 5, (), 'SAME', SKIPS).uncrossed(layers) == expected


def test_probes_keep_the_order_of_images():
    with opened(['SS']) as graph:
        whole = graph.probe('logits0', graph.task.train)
        assert whole.shape == (63, 2)
        np.testing.assert_allclose(whole[17], graph.probe('logits0', one_of(graph.task.train, 17))[0],
                                   atol=1e-5)


# ---- epochs passed over ----

@pytest.fixture(scope='module')
def every(tmp_path_factory):
    """(experiment whose tasks are evaluated in every epoch, its record)."""
    experiment = make_experiment('Hybrid_HPS', (0, 1, 2), 5, pattern='SS')
    return experiment, train(experiment, tmp_path_factory.mktemp('every'))[1]


@pytest.mark.parametrize('interval, due', [(2, [2, 4, 5]), (3, [3, 5]), (9, [5])])
def test_earlier_tasks_are_evaluated_every_few_epochs_and_at_the_end(interval, due, every, tmp_path):
    experiment, every = every
    some = train(experiment._replace(eval_interval=interval), tmp_path)[1]
    for position in (1, 2):
        for epoch in range(1, 6):
            row = 5 * position + epoch
            expected = every.accuracy[row].copy()
            if epoch not in due:
                expected[:position] = np.nan
            np.testing.assert_array_equal(some.accuracy[row], expected)
    np.testing.assert_array_equal(some.accuracy[:6], every.accuracy[:6])
    np.testing.assert_array_equal(some.accuracy_matrix, every.accuracy_matrix)
    np.testing.assert_array_equal(some.best_test, every.best_test)


def test_epochs_passed_over_in_the_results(tmp_path):
    (tmp_path / 'every').mkdir(), (tmp_path / 'some').mkdir()
    experiment = make_experiment('Hybrid_HPS', (0, 1), 3, pattern='SS')
    every = train(experiment, tmp_path / 'every')[1].accuracy
    record = train(experiment._replace(eval_interval=2), tmp_path / 'some')[1]
    history = run_struct(record, (0, 1))['history_test_error']
    test = list(SPLITS).index('test')
    before = [every[3, 0, test], every[5, 0, test], every[6, 0, test]]
    # epoch 1 repeats the value of the task's end
    np.testing.assert_array_equal(history[4:, 0], before)
    np.testing.assert_array_equal(history[4:, 1], every[4:, 1, test])
    np.testing.assert_allclose(history[4:, 2], (np.array(before) + every[4:, 1, test]) / 2, rtol=1e-12)
    lines = [line.split(',') for line in history_csv(record, (0, 1)).split('\n')[1:-1]]
    of = {(int(epoch), int(task)): value for _, epoch, task, split, value in lines if split == 'test'}
    assert of[4, 0] == 'NaN' and float(of[5, 0]) == every[5, 0, test] and (1, 1) not in of
    assert sum(value == 'NaN' for value in of.values()) == 1


def test_early_stopping_evaluates_all_at_the_end(tmp_path):
    record = train(make_experiment('Hybrid_HPS', (0, 1), 12, early_stopping=1)._replace(eval_interval=50),
                   tmp_path)[1]
    assert len(record.accuracy) < 25 and not np.isnan(record.accuracy[-1]).any()


def test_no_op_is_added_by_evaluating():
    with opened(['TS', 'SS']) as graph:
        before = len(graph.graph.get_operations())
        for _ in range(2):
            graph.accuracy(graph.learned[0])
        assert len(graph.graph.get_operations()) == before
        with pytest.raises(RuntimeError), graph.graph.as_default():
            tf.constant(1)
