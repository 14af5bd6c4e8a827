"""Brute-force search: every pattern is trained, the best on validation data is kept."""
import numpy as np

from classification.model.cnn_lasem_model import few_patterns
from classification.model.declare import selection
from classification.model.method import Method, shared_layers
from classification.model.phases import Alternatives
from utils.utils import tasks_in
from utils.utils_env_cl import patterns_of


def _fields(size):
    return [('search_validation_accuracy', (size.tasks, 2 ** len(size.layers)), float)]


@selection('BruteForce', 'every pattern trained, the best on validation data kept', check=few_patterns,
           fields=_fields)
class BruteForce(Method):
    """The first task shares every layer; each later task tries all patterns from the same start, in LASEM's
    order."""
    policy = Alternatives
    networks_stay = True

    def __init__(self, setting):
        super(BruteForce, self).__init__(setting)
        self.patterns = patterns_of((1,) * len(setting.net.layers))
        self.state['scores'] = {}           # task -> validation accuracy of each pattern
        self.training = (None, None)        # task and pattern of the open graph

    def _tried(self, task):
        if str(task) in self.state['patterns']:
            return [self.state['patterns'][str(task)]]
        return self.patterns if self.state['patterns'] else self.patterns[:1]

    def phases(self, task, epochs):
        return [epochs] * len(self._tried(task))

    def planned_epochs(self, order, epochs):
        searched = len(set(order)) - 1
        return epochs * (len(order) + searched * (len(self.patterns) - 1))

    def build(self, parameters, task, batch, phase=0):
        self.training = (task, self._tried(task)[phase])
        self.loss, self.update = self.train_pattern(parameters, task, self.training[1], batch)

    def pattern_of(self, task):
        if task == self.training[0]:
            return self.training[1]
        return super(BruteForce, self).pattern_of(task)

    def choose(self, task, scores):
        """Keeps the pattern with the best validation accuracy; see phases.Alternatives."""
        tried, best = self._tried(task), int(np.argmax(scores))
        self.state['scores'].setdefault(str(task), list(scores))
        self.remember(task, tried[best])
        self.training = (None, None)

    def extra(self, order):
        tasks = tasks_in(order)
        scores = np.full((len(tasks), len(self.patterns)), np.nan)
        for row, task in enumerate(tasks):
            found = self.state['scores'][str(task)]
            scores[row, :len(found)] = found
        return {'conv_sharing': shared_layers(self, tasks), 'search_validation_accuracy': scores}
