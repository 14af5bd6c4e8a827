"""Metrics of a sequence of tasks against matrices worked out by hand."""
import numpy as np
import pytest

from classification.results import metrics

NAN = np.nan

TWO_TASKS = np.array([[0.8, NAN],
                      [0.6, 0.9]])
THREE_TASKS = np.array([[0.5, NAN, NAN],
                        [0.7, 0.4, NAN],
                        [0.4, 0.5, 0.9]])
# Order 0, 1, 0, 2: task 0 is learned at positions 0 and 2 and counts at position 0.
REPEATED = np.array([[0.5, NAN, NAN],
                     [0.3, 0.8, NAN],
                     [0.9, 0.6, NAN],
                     [0.6, 0.4, 0.7]])
# Order 0, 1, 0: the last position learns no new task, so nothing is undefined.
ENDS_WITH_OLD_TASK = np.array([[0.5, NAN],
                               [0.3, 0.8],
                               [0.6, 0.4]])
ONE_TASK = np.array([[0.7]])

BY_HAND = [
    # matrix, final_accuracy, avg_incremental_accuracy, backward_transfer, forgetting, forgetting_ratio
    (TWO_TASKS, [0.6, 0.9], (0.8 + 0.75) / 2, -0.2, [0.2, NAN], [0.75, NAN]),
    (THREE_TASKS, [0.4, 0.5, 0.9], (0.5 + 0.55 + 0.6) / 3, (-0.1 + 0.1) / 2, [0.3, -0.1, NAN],
     [0.8, 1.25, NAN]),
    (REPEATED, [0.6, 0.4, 0.7], (0.5 + 0.55 + 0.75 + 1.7 / 3) / 4, (0.1 - 0.4) / 2, [0.3, 0.4, NAN],
     [1.2, 0.5, NAN]),
    (ENDS_WITH_OLD_TASK, [0.6, 0.4], (0.5 + 0.55 + 0.5) / 3, (0.1 - 0.4) / 2, [-0.1, 0.4], [1.2, 0.5]),
    (ONE_TASK, [0.7], 0.7, NAN, [NAN], [NAN]),
]
BY_HAND_IDS = ['two tasks', 'three tasks', 'a repeated task', 'an old task last', 'one task']


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('by_hand', BY_HAND, ids=BY_HAND_IDS)
def test_metrics_are_what_a_hand_computes(by_hand):
    R, expected = by_hand[0], by_hand[1:]
    assert len(expected) == len(metrics.METRICS)
    for (name, metric), value in zip(metrics.METRICS.items(), expected):
        np.testing.assert_allclose(metric(R), value, atol=1e-12, err_msg=name)


@pytest.mark.filterwarnings('error')
def test_a_ratio_to_an_accuracy_of_zero_is_undefined():
    assert np.isnan(metrics.forgetting_ratio(np.array([[0.0, NAN], [0.5, 0.5]]))).all()


def test_the_deviation_over_trials_is_the_sample_deviation():
    mean, std = metrics.mean_and_std([[1.0, NAN], [2.0, NAN], [6.0, NAN]])
    np.testing.assert_allclose(mean, [3.0, NAN])
    np.testing.assert_allclose(std, [np.sqrt((4 + 1 + 9) / 2), NAN])


@pytest.mark.filterwarnings('error')
def test_one_trial_has_no_deviation():
    mean, std = metrics.mean_and_std([[0.7, NAN]])
    np.testing.assert_array_equal([mean, std], [[0.7, NAN], [NAN, NAN]])
    assert np.isnan(metrics.mean_and_std([0.7])[1]) and np.shape(metrics.mean_and_std([0.7])[1]) == ()


@pytest.mark.filterwarnings('error')
def test_the_mean_over_tasks_leaves_out_undefined_ones():
    np.testing.assert_allclose(metrics.mean_over_tasks(np.array([[0.2, 0.4, NAN], [NAN] * 3])), [0.3, NAN])


@pytest.mark.filterwarnings('error')
def test_what_is_left_of_the_peak():
    """THREE_TASKS ends with 0.4 and 0.5 on the tasks before the last one."""
    ratio = metrics.catastrophic_forgetting_ratio
    np.testing.assert_allclose(ratio(THREE_TASKS, np.array([0.5, 0.8, 0.9])), [0.8, 0.625, NAN])
    np.testing.assert_allclose(ratio(TWO_TASKS, np.array([0.0, 0.9])), [NAN, NAN])
    np.testing.assert_allclose(ratio(REPEATED, np.array([0.75, 0.8, 0.7])), [0.8, 0.5, NAN])
