"""Joint (multi-task) training: one graph for all tasks, each epoch trains one of them, drawn at random."""
from collections import OrderedDict

import numpy as np

from classification.train import TEST, VALID, PublishedPatience, Trial
from classification.trial.task_graph import TaskGraph
from utils import utils_nn as nn
from utils.utils import random_state


class JointGraph(TaskGraph):
    """The training data of every task, and an update for each; their optimizer is one, so shared parameters have one
    running mean of squared gradients."""

    def _trained_tasks(self):
        return [task.index for task in self.learned]

    def _training(self, phase):
        optimizer, self._updates = nn.rmsprop(self._learning_rate, 'RMSProp'), {}
        for task in self.learned:
            batch = self._inputs(task.train, self._name(task.index), self._augments)
            loss = self.method.pattern_loss(self.parameters, task.index, self.method.pattern_of(task.index), batch)
            self._updates[task.index] = nn.apply(optimizer, loss, self.parameters.trained), loss
        return self._updates[self.task.index]

    @staticmethod
    def _name(task):
        return 'training%d' % task

    def take(self, task):
        """From now on `step` trains this task."""
        self._update, self._loss = self._updates[task]
        for found in (self._data, self._fed):
            found.update({'training': found[name] for name in [self._name(task)] if name in found})


class JointTrial(Trial):
    """One trial of joint training. Everything is learned at one position; patience looks at the mean over the tasks."""
    graph_type = JointGraph

    def _positions(self):
        return self.experiment.task_order[:1]

    def _tasks_at(self, position):
        return self.experiment.tasks

    def _learned_now(self, task):
        return self.experiment.tasks

    def _phases(self, task):
        return [self.experiment.training.epochs * len(self.experiment.tasks)]

    def new_progress(self, *state):
        return PublishedPatience(self.experiment.training, 0, *state)

    def _train_epoch(self, graph, task):
        draws = random_state(self.experiment.seed, self.number, epoch=self.global_epoch, purpose='task of an epoch')
        self.drawn = self.experiment.tasks[draws.randint(len(self.experiment.tasks))]
        graph.take(self.drawn)
        super(JointTrial, self)._train_epoch(graph, self.drawn)
        self.history.add_extra({'history_trained_task': np.array(self.drawn)})

    def _evaluate(self, graph, task, epochs):
        row = np.full((self.history.num_tasks, 3), np.nan)
        for learned in graph.learned:
            changed = not self.history.rows or learned.index == self.drawn or self.method.may_change(learned.index)
            row[learned.index] = graph.accuracy(learned) if changed else self.history.rows[-1][learned.index]
        self.history.rows.append(row)
        if self.progress.add(self.epoch, *self._means()):
            self.history.peak = {index: row[index, TEST] for index in self.experiment.tasks}
        self.history.best_test.append(self.progress.best_test)

    def _means(self):
        """(validation, test) accuracy, mean over the tasks."""
        return self.history.rows[-1][list(self.experiment.tasks)].mean(axis=0)[[VALID, TEST]].tolist()

    def _shown(self, task):
        return dict(zip(('task', 'valid', 'test'), [None] + self._means()))

    def _say_learned(self, task, final):
        self.say('trial %d: learned %d tasks together in %d epochs: mean test accuracy %.4f, at the best validation epoch %.4f'
                 % (self.number, len(self.experiment.tasks), self.epoch, self._means()[1], self.progress.best_test))

    def _record(self):
        record = super(JointTrial, self)._record()
        means = record.accuracy[:, list(self.experiment.tasks)].mean(axis=1)
        best = int(np.argmax(means[:, VALID]))
        return record._replace(extra=OrderedDict(
            list(record.extra.items()) + [('best_validation_error', means[best, VALID]),
                                          ('test_error_at_best_epoch', means[best, TEST]), ('best_epoch', np.array(best))]))
