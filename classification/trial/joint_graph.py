"""The graph of joint training: one for all tasks, of which each epoch trains one."""
from classification.trial.task_graph import TaskGraph
from utils import utils_nn as nn


class JointGraph(TaskGraph):
    """The training data of every task, and an update for each; their optimizer is one, so shared parameters have one
    running mean of squared gradients."""

    def trained_tasks(self):
        return [task.index for task in self.learned]

    def training(self, phase):
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
        for inputs in (self._data, self._fed):
            inputs.update({'training': inputs[name] for name in [self._name(task)] if name in inputs})
