"""A trial that goes on where a shorter experiment's trial ended gives what it would have given from the
start."""
import json

import numpy as np
import pytest

from classification.experiment import continuing
from classification.trial import checkpoint
from classification.trial.state import History, continue_from
from tests.support.result_files import same_trial
from tests.support.tiny import make_experiment, make_joint, make_trial, train, train_with_stops

# One for each way in which a method keeps something from task to task.
METHODS = ['Hybrid_TF', 'SNN', 'LASEM_HPS', 'LASEMG_DFCNN', 'DARTS_APD', 'BruteForce_HPS', 'EWC', 'DEN',
           'ProgNN', 'ChannelGate']
OPTIONS = {'ChannelGate': {'channel_gate_mode': 'paper'}, 'DARTS_APD': {'apd_mode': 'paper'}}


def ended(shorter, folder):
    """Path of the checkpoint that a trial of an experiment leaves after its last task."""
    folder.mkdir()
    train(shorter, folder)
    return checkpoint.path_in(str(folder))


def continued(path, shorter, longer, folder):
    """What `train_with_stops` gives of a trial that goes on from there."""
    folder.mkdir()
    assert continue_from(path, shorter, longer, checkpoint.path_in(str(folder)), print)
    return train_with_stops(longer, folder)


@pytest.mark.parametrize('model_type', METHODS)
def test_a_trial_goes_on_as_if_it_had_had_all_tasks(model_type, tmp_path):
    shorter, longer = [make_experiment(model_type, order, epochs=1, **OPTIONS.get(model_type, {}))
                       for order in ((0, 1), (0, 1, 2))]
    assert continuing.reason_against(longer, fields(shorter)) is None
    path = ended(shorter, tmp_path / 'shorter')
    trial, record, log = continued(path, shorter, longer, tmp_path / 'longer')
    (tmp_path / 'at_once').mkdir()
    same_trial(trial, record, *train(longer, tmp_path / 'at_once'))
    resumed = [line for line in log if 'resumed at' in line]
    assert 'position 2, epoch 0' in resumed[0]                  # neither of the first tasks is learned again
    assert np.isfinite(record.accuracy[-1]).all()


def test_tasks_that_return_and_leep_scores(tmp_path):
    shorter, longer = [make_experiment('Hybrid_HPS', order, epochs=1)._replace(analyses={'leep': True})
                       for order in ((1, 0, 1), (1, 0, 1, 2, 0))]
    path = ended(shorter, tmp_path / 'shorter')
    trial, record, _ = continued(path, shorter, longer, tmp_path / 'longer')
    (tmp_path / 'at_once').mkdir()
    same_trial(trial, record, *train(longer, tmp_path / 'at_once'))


def test_what_is_no_end_state(tmp_path):
    shorter, longer = [make_experiment('Hybrid_HPS', order, epochs=1) for order in ((0, 1), (0, 1, 2))]
    path, new_path = ended(shorter, tmp_path / 'shorter'), str(tmp_path / 'new')
    assert not continue_from(path, shorter._replace(seed=6), longer, new_path, print)   # another experiment's
    assert not continue_from(str(tmp_path / 'none'), shorter, longer, new_path, print)
    meta, groups = checkpoint.load(path, print)
    checkpoint.save(path, dict(meta, position=1), groups)                               # inside
    assert not continue_from(path, shorter, longer, new_path, print)
    assert not (tmp_path / 'new').exists()
    assert make_trial(longer, tmp_path).state.position == 0


def test_a_history_takes_the_shapes_of_a_longer_experiment():
    history = History(2, 2)
    history.accuracies = [np.arange(6.).reshape(2, 3), np.arange(6., 12).reshape(2, 3)]
    history.accuracy_matrix, history.final = [np.array([.5, np.nan])], np.ones((2, 3))
    history.leep[:] = 7
    history.extend(4, 3, [1, 3], [0, 1, 3])
    for row, start in zip(history.accuracies, (0, 6)):
        np.testing.assert_array_equal(row[:2], np.arange(start, start + 6.).reshape(2, 3))
        assert row.shape == (4, 3) and np.isnan(row[2:]).all()
    np.testing.assert_array_equal(history.accuracy_matrix, [[np.nan, .5, np.nan]])
    np.testing.assert_array_equal(history.final[:2], 1)
    assert history.leep.shape == (3, 3, 4) and history.leep[:, :2, :2].min() == 7
    assert history.leep.sum() == 7 * 3 * 2 * 2


# ---- which experiment continues which ----

def fields(experiment):
    """As config.json has them."""
    return json.loads(experiment.to_json())


def verdict(longer, shorter):
    """None: it is none of the same kind; '': it is continued; else why not."""
    if not continuing.is_shorter(longer, fields(shorter)):
        return None
    return continuing.reason_against(longer, fields(shorter)) or ''


def test_what_continues_what():
    make = make_experiment
    longer = make('EWC', (0, 1, 2))
    assert verdict(longer, make('EWC', (0, 1))) == verdict(longer, make('EWC', (0,))) == ''
    for other in (make('EWC', (0, 1, 2)), make('EWC', (0, 1), seed=6), make('EWC', (0, 1), epochs=3),
                  make('Hybrid_HPS', (0, 1)), make('EWC', (0, 1), fisher_multiplier=3.)):
        assert verdict(longer, other) is None
    assert verdict(make('EWC', (0, 1)), longer) is None
    assert 'order of tasks, 1 0, is no beginning of 0 1 2' in verdict(longer, make('EWC', (1, 0)))
    assert 'task 1 returns' in verdict(make('EWC', (0, 1, 2, 1)), make('EWC', (0, 1)))
    assert 'task 0 returns' in verdict(make('EWC', (0, 1, 2, 1, 0)), make('EWC', (0, 1)))
    assert verdict(make('EWC', (0, 1, 0, 2, 0)), make('EWC', (0, 1, 0))) == ''      # it has returned before
    assert verdict(make('EWC', (0, 1, 2, 2)), make('EWC', (0, 1))) == ''
    assert verdict(make('Hybrid_HPS', (0, 1, 2, 1)), make('Hybrid_HPS', (0, 1))) == ''


def test_joint_training_and_the_stl_analysis_are_not_continued():
    assert 'joint' in verdict(make_joint('Hybrid_HPS', (0, 1, 2)), make_joint('Hybrid_HPS', (0, 1)))
    analysis = {'stl_analysis': {'task': 0, 'ratio': 0.5}}
    alone = make_experiment('STL', (0,))._replace(analyses=analysis)
    shorter, longer = [alone._replace(
        training=alone.training._replace(epochs=2 * tasks), class_counts={task: 2 for task in range(tasks)})
                       for tasks in (2, 3)]
    assert 'STL analysis' in verdict(longer, shorter)


def test_images_of_earlier_tasks():
    shorter, longer = [make_experiment('Hybrid_HPS', range(tasks))._replace(
        checksums={'raw': 'of %d' % tasks, 'design': None, 'tasks': ['a', 'b', 'c'][:tasks]})
        for tasks in (2, 3)]
    assert verdict(longer, shorter) == ''
    changed = longer._replace(checksums=dict(longer.checksums, tasks=['a', 'x', 'c']))
    assert 'task 1' in verdict(changed, shorter)
    # of other data sets one checksum is that of all tasks
    assert verdict(longer._replace(checksums={'raw': 'y', 'design': None}),
                   shorter._replace(checksums={'raw': 'x', 'design': None})) is None
    assert verdict(longer._replace(checksums=dict(longer.checksums, design='y')), shorter) is None
    classes = longer._replace(class_counts={0: 3, 1: 2, 2: 2})
    assert 'task 0' in verdict(classes, shorter)


def test_the_first_task_that_changed_is_named():
    shorter, longer = [make_experiment('Hybrid_HPS', (0, 1))._replace(
        task_order=tuple(range(tasks)), class_counts={task: 2 for task in range(tasks)})
        for tasks in (11, 12)]
    for changed, says in (((), ''), ((10,), 'task 10 are'), ((2, 10), 'task 2 are')):
        counts = {task: 3 if task in changed else 2 for task in range(12)}
        assert says in verdict(longer._replace(class_counts=counts), shorter)
