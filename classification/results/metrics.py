"""What a sequence of tasks is judged by, for one trial, and the statistics over trials.

Nearly everything is a function of R: R[i, j] is the test accuracy on task j after the task at position i was
learned, NaN before task j is learned. Columns go by data-set index, whatever the order. A task that the order
repeats has one column and counts at its first position; "the last task" is the one that was learned last.
"""
from collections import OrderedDict

import numpy as np

CHANCE_LEVEL = 0.01     # how often a network that guesses may count as one that has learned


def learned_at(R):
    """The position at which each task was first learned."""
    return np.argmax(~np.isnan(R), axis=0)


def accuracy_when_learned(R):
    """R[j, j]: test accuracy on each task right after it was first learned."""
    return R[learned_at(R), np.arange(R.shape[1])]


def final_accuracy(R):
    """Test accuracy on each task after the last position."""
    return R[-1]


def avg_incremental_accuracy(R):
    """Mean over the positions of the mean test accuracy on the tasks learned so far."""
    return np.mean(np.nanmean(R, axis=1))


def backward_transfer(R):
    """Mean change of a task's test accuracy from when it was learned to the end;
    NaN if no task came after another."""
    earlier = learned_at(R) < len(R) - 1
    return np.mean((R[-1] - accuracy_when_learned(R))[earlier]) if earlier.any() else np.nan


def forgetting(R):
    """Best test accuracy on each task before the last position, minus the one after it;
    NaN for the last task."""
    return np.fmax.reduce(R[:-1], axis=0, initial=np.nan) - R[-1]


def forgetting_ratio(R):
    """Share of each task's first test accuracy that is left at the end;
    NaN for the last task, and if it was 0."""
    first = accuracy_when_learned(R)
    defined = (learned_at(R) < len(R) - 1) & (first > 0)
    return np.divide(R[-1], first, out=np.full(len(first), np.nan), where=defined)


def catastrophic_forgetting_ratio(R, peak):
    """Share of each task's peak test accuracy that is left at the end; NaN for the last task, and if the peak
    was 0.

    Args:
        peak: [tasks]; test accuracy at the best validation epoch while each task was learned.
    """
    defined = (learned_at(R) < len(R) - 1) & (peak > 0)
    return np.divide(R[-1], peak, out=np.full(len(peak), np.nan), where=defined)


METRICS = OrderedDict((metric.__name__, metric) for metric in (
    final_accuracy, avg_incremental_accuracy, backward_transfer, forgetting, forgetting_ratio))


def confusion(labels, answers, classes):
    """[classes, classes]: how many images of each class (row) were given each class (column)."""
    cells = np.asarray(labels, np.int64) * classes + answers
    return np.bincount(cells, minlength=classes ** 2).reshape(classes, classes)


def at_chance(right, class_counts):
    """Whether a network's answers are not above chance: no better than always giving the most frequent class,
    by a one-sided binomial test; never where all answers are right.

    Args:
        right: number of right answers.
        class_counts: number of images of each class.
    """
    from scipy.special import bdtrc
    total, most = int(np.sum(class_counts)), int(np.max(class_counts))
    by_guessing = bdtrc(right - 1, total, most / total)     # the probability of as many right answers or more
    return bool(right < total and by_guessing > CHANCE_LEVEL)


def mean_and_std(values):
    """Mean and sample standard deviation over the trials (axis 0); one trial has no deviation: NaN."""
    values = np.asarray(values, dtype=np.float64)
    return values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else np.full_like(
        values[0], np.nan)


def mean_and_std_where_defined(values):
    """The same over the trials that have a value, for each entry; NaN for none, and no deviation for one."""
    values = np.ma.masked_invalid(np.asarray(values, dtype=np.float64))
    count = values.count(axis=0)
    mean = np.ma.filled(values.mean(axis=0), np.nan)
    squares = np.square(values - mean).sum(axis=0)
    return mean, np.sqrt(np.divide(np.ma.filled(squares, 0.), count - 1, out=np.full(np.shape(count), np.nan),
                                   where=np.asarray(count) > 1))


def mean_over_tasks(values):
    """Mean of [trials, tasks] over the tasks that have a value; NaN if none has."""
    return np.ma.masked_invalid(values).mean(axis=1).filled(np.nan)
