"""Which tasks a trial learns when: one after the other, or all together. One loop (train.py) serves both."""
from collections import OrderedDict

import numpy as np

from classification.analysis import trial_analyses
from classification.results.trial_record import TEST, VALID
from classification.trial.joint_graph import JointGraph
from classification.trial.patience import PublishedPatience, TaskProgress
from classification.trial.task_graph import TaskGraph
from utils.utils import random_state


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
        kind = PublishedPatience if trial_analyses.trains_by_published_patience(self.experiment) else TaskProgress
        return kind(self.experiment.training, self.experiment.early_stopping, *state)

    def start_epoch(self, graph, task, epoch):
        """The task that this epoch trains.

        Args:
            epoch: of the whole trial.
        """
        return task

    def histories(self, trained):
        """Rows of histories after an epoch that trained this task: dict name -> array."""
        return {}

    def peaks(self, row):
        """Test accuracies at a best validation epoch, by task, where they are known before the tasks are learned."""
        return {}

    def fields(self, accuracy):
        """Fields of the run's struct that follow from the accuracies [rows, tasks, 3]: dict name -> array."""
        return {}

    def label(self, task, state):
        """What was learned, for the log."""
        return 'task %d (position %d): ' % (task, state.position)


class Joint(Lifelong):
    """All tasks at one position, each epoch trains one of them, drawn at random; patience looks at the mean over them."""
    graph_type = JointGraph

    def __init__(self, experiment, number):
        super(Joint, self).__init__(experiment, number)
        self.positions = experiment.task_order[:1]

    def tasks_at(self, position):
        """All."""
        return self.experiment.tasks

    def learned_with(self, task):
        """All."""
        return self.experiment.tasks

    def phases(self, task, method):
        """One, as long as learning each task."""
        return [self.experiment.training.epochs * len(self.experiment.tasks)]

    def new_progress(self, *state):
        """With the published rule."""
        return PublishedPatience(self.experiment.training, 0, *state)

    def start_epoch(self, graph, task, epoch):
        """Draws the task."""
        draws = random_state(self.experiment.seed, self.number, epoch=epoch, purpose='task of an epoch')
        drawn = self.experiment.tasks[draws.randint(len(self.experiment.tasks))]
        graph.take(drawn)
        return drawn

    def histories(self, trained):
        """Which task it was."""
        return {'history_trained_task': np.array(trained)}

    def peaks(self, row):
        """Of all tasks, at the best epoch of their mean."""
        return {task: row[task, TEST] for task in self.experiment.tasks}

    def fields(self, accuracy):
        """The means at the best epoch."""
        means = accuracy[:, list(self.experiment.tasks)].mean(axis=1)
        best = int(np.argmax(means[:, VALID]))
        return OrderedDict([('best_validation_error', means[best, VALID]), ('test_error_at_best_epoch', means[best, TEST]),
                            ('best_epoch', np.array(best))])

    def label(self, task, state):
        """All tasks."""
        return '%d tasks together in %d epochs: mean ' % (len(self.experiment.tasks), state.epoch)


SCHEDULES = {'lifelong': Lifelong, 'joint': Joint}
