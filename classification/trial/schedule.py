"""Which tasks a trial learns when, and for how long: one after the other, or all together. One loop serves
both."""
from collections import OrderedDict

import numpy as np

from classification.analysis import trial_analyses
from classification.results.trial_record import TEST, VALID
from classification.trial.task_graph import JointGraph, TaskGraph
from utils.utils import random_state


def learning_rate(training, epoch):
    """That of an epoch, which counts from 0 over the whole trial."""
    return training.lr / (1. + epoch * training.lr_decay)


class TaskProgress(object):
    """Validation bookkeeping of the task being learned."""

    def __init__(self, training, early_stopping, state=(-1., 0., 0)):
        self.training, self.early_stopping = training, early_stopping
        self.best_valid, self.best_test, self.improved_at = state

    def add(self, epoch, valid, test):
        """Notes the accuracies after `epoch` epochs of this task;
        returns whether this is the best epoch so far."""
        if valid <= self.best_valid:
            return False
        if valid > self.training.improvement * self.best_valid:
            self.improved_at = epoch
        self.best_valid, self.best_test = valid, test
        return True

    def exhausted(self, epoch):
        """Whether early stopping ends the task:
        no real improvement within the patience, which grows with the best."""
        patience = max(self.early_stopping, self.training.patience_multiplier * self.improved_at)
        return bool(self.early_stopping) and epoch - self.improved_at >= patience

    def state(self):
        """JSON-able, for a checkpoint."""
        return self.best_valid, self.best_test, self.improved_at


class PublishedPatience(TaskProgress):
    """The published rule: train until the patience, or the multiplier times the epoch of the last real
    improvement."""

    def exhausted(self, epoch):
        return epoch >= max(self.training.patience, self.training.patience_multiplier * self.improved_at)


class Lifelong(object):
    """One task after the other; a task may return.

    Attributes:
        graph_type: of the graph in which a position is learned.
        positions: the task that is learned at each position.
    """
    graph_type = TaskGraph

    def __init__(self, experiment, number):
        self.experiment, self.number = experiment, number
        self.positions = experiment.task_order

    def tasks_at(self, position):
        """The tasks that are evaluated at a position, in order of first appearance."""
        return list(OrderedDict.fromkeys(self.experiment.task_order[:position + 1]))

    def learned_with(self, task):
        """The tasks that are learned when this one is."""
        return [task]

    def phases(self, task, method):
        """Epochs of each phase of learning a task."""
        return method.phases(task, self.experiment.training.epochs)

    def new_progress(self, *state):
        """TaskProgress: the validation bookkeeping, with the rule of patience."""
        kind = PublishedPatience if trial_analyses.trains_by_published_patience(
            self.experiment) else TaskProgress
        return kind(self.experiment.training, self.experiment.early_stopping, *state)

    def start_epoch(self, graph, task, state):
        """The task that this epoch trains."""
        return task

    def peaks(self, row):
        """Test accuracies at a best validation epoch, by task, where they are known before the tasks are
        learned."""
        return {}

    def fields(self, accuracy):
        """Fields of the run's struct that follow from the accuracies [rows, tasks, 3]: dict name -> array."""
        return {}

    def label(self, task, state):
        """What was learned, for the log."""
        return 'task %d (position %d): ' % (task, state.position)


class Joint(Lifelong):
    """All tasks at one position, each epoch trains one of them, drawn at random;
    patience looks at the mean over them."""
    graph_type = JointGraph

    def __init__(self, experiment, number):
        super(Joint, self).__init__(experiment, number)
        self.positions = experiment.task_order[:1]

    def tasks_at(self, position):
        return self.experiment.tasks

    def learned_with(self, task):
        return self.experiment.tasks

    def phases(self, task, method):
        return [self.experiment.training.epochs * len(self.experiment.tasks)]

    def new_progress(self, *state):
        return PublishedPatience(self.experiment.training, 0, *state)

    def start_epoch(self, graph, task, state):
        draws = random_state(self.experiment.seed, self.number, epoch=state.global_epoch,
                             purpose='task of an epoch')
        drawn = self.experiment.tasks[draws.randint(len(self.experiment.tasks))]
        graph.take(drawn)
        state.history.add_method_rows({'history_trained_task': np.array(drawn)})
        return drawn

    def peaks(self, row):
        return {task: row[task, TEST] for task in self.experiment.tasks}

    def fields(self, accuracy):
        means = accuracy[:, list(self.experiment.tasks)].mean(axis=1)
        best = int(np.argmax(means[:, VALID]))
        return OrderedDict([('best_validation_error', means[best, VALID]),
                            ('test_error_at_best_epoch', means[best, TEST]), ('best_epoch', np.array(best))])

    def label(self, task, state):
        return '%d tasks together in %d epochs: mean ' % (len(self.experiment.tasks), state.epoch)


SCHEDULES = {'lifelong': Lifelong, 'joint': Joint}
