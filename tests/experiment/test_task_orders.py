"""--task_order: which order it means, what it refuses, what the experiment's identity holds of it."""
import json

import pytest

from classification.experiment import sizes
from classification.experiment.experiment import SAME_SHUFFLED, SHUFFLED, Experiment
from tests.support.commands import DIGITS, experiment_of, is_refused, run_and_listen
from tests.support.tiny import make_experiment

SHUFFLE = ['--task_order', 'shuffled']


def test_an_explicit_order_is_the_order():
    experiment = experiment_of('--task_order', '3,1,0,2')
    assert experiment.task_order == (3, 1, 0, 2) and experiment.order_rule == ''
    assert experiment.tasks == (0, 1, 2, 3) and len(experiment.class_counts) == 5
    assert experiment.of_trial(1) is experiment


def test_equal_orders_are_the_same_experiment_however_they_are_said():
    assert experiment_of('--task_order', '0,1,2,3,4') == experiment_of()
    assert experiment_of('--task_order', '0,1,0,1,2,3,4').fingerprint() == experiment_of(
        '--task_order_type', '1').fingerprint()
    options = [['--task_order', '4,3,2,1,0'], ['--task_order', '4,3'], SHUFFLE, SHUFFLE + ['--same_order'],
               SHUFFLE + ['--num_tasks', '4'], []]
    assert len({experiment_of(*one).fingerprint() for one in options}) == len(options)


def test_each_trial_draws_its_order_from_the_seed():
    orders = [experiment_of(*SHUFFLE).of_trial(trial).task_order for trial in range(6)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders) and len(set(orders)) > 3
    assert all(type(task) is int for task in orders[0])
    assert orders == [experiment_of(*SHUFFLE).of_trial(trial).task_order for trial in range(6)]
    assert orders != [experiment_of('--seed', '1', *SHUFFLE).of_trial(trial).task_order for trial in range(6)]
    # methods are compared on the same orders
    assert orders[1] == experiment_of('--model_type', 'LASEM_HPS', *SHUFFLE).of_trial(1).task_order


def test_with_same_order_the_trials_have_one():
    one, other = [[experiment_of('--same_order', '--seed', seed, *SHUFFLE).of_trial(trial).task_order
                   for trial in range(4)] for seed in ('0', '3')]
    assert len(set(one)) == len(set(other)) == 1 and one[0] != other[0]


@pytest.mark.parametrize('rule', [SHUFFLED, SAME_SHUFFLED])
def test_a_trial_has_the_identity_of_its_experiment(rule):
    experiment = make_experiment('STL', (0, 1, 2))._replace(order_rule=rule)
    of_trial = experiment.of_trial(2)
    assert of_trial.fingerprint() == experiment.fingerprint() and of_trial.of_trial(2) == of_trial
    assert Experiment.from_json(experiment.to_json()) == experiment
    assert json.loads(experiment.to_json())['task_order'] == [0, 1, 2]
    assert 'order_rule' not in json.loads(experiment._replace(order_rule='').to_json())


MISTAKES = [
    (['--task_order', '0,5'], '--task_order 0,5: there is no task 5; the tasks are 0 to 4'),
    (['--task_order', '0,2', '--num_tasks', '2'], 'there is no task 2; the tasks are 0 to 1'),
    (['--task_order', '-1,2'], 'there is no task -1'),
    (['--task_order', '0,one'], 'numbers of tasks like 3,1,0,2 are needed, or shuffled'),
    (['--task_order', '0,,1'], 'numbers of tasks'), (['--task_order', ''], 'numbers of tasks'),
    (['--task_order', '1,0', '--task_order_type', '1'], 'leave one of them away'),
    (['--task_order', '0', '--model_type', 'STL', '--stl_analysis', '--stl_task_to_learn', '0'],
     '--stl_analysis, which learns one task'),
    (['--task_order', '0,1,0', '--model_type', 'DEN'], 'DEN learns each task once'),
    (['--same_order'], '--same_order is about orders that are drawn'),
    (['--same_order', '--task_order', '1,0'], '--same_order is about orders that are drawn'),
]


@pytest.mark.parametrize('options, says', MISTAKES, ids=[' '.join(options) for options, _ in MISTAKES])
def test_a_mistake_is_one_line(options, says):
    is_refused(DIGITS + options, says)


def test_tasks_together_have_no_order():
    is_refused([word for word in DIGITS if word != '--lifelong'] + SHUFFLE, 'add --lifelong')


def test_a_dry_run_says_the_order():
    for options, said in ((['--task_order', '3,1'], 'order of tasks: 3 1\n'),
                          (SHUFFLE + ['--same_order'], 'order of tasks (shuffled, same in all trials): '),
                          (SHUFFLE, 'order of tasks: shuffled, each trial has its own\n  trial 0  ')):
        status, out, _ = run_and_listen(DIGITS + ['--dry_run', '--num_runs', '2'] + options)
        assert status == 0 and said in out
    assert '  trial 1  ' in out and '  trial 2  ' not in out


def test_the_size_of_an_entry_counts_an_order_for_each_trial():
    one, other = [sizes.entry_bytes(experiment_of(*options), 1000) for options in (SHUFFLE, [])]
    assert 0.9 * 1000 * 8 * 5 <= one - other < 1000 * 8 * 5 + 1000
