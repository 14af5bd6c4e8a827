"""What LASEM and DARTS have in common: every layer has a shared and a task-specific candidate, and one is
kept."""
from classification.model.mechanisms import without
from classification.model.method import Method
from utils import utils_nn as nn
from utils.lazy_tensorflow import tf


class PatternSearch(Method):
    """Learns, with a new task, which layers it should share; trains a known task with its stored pattern."""
    networks_stay = True

    def __init__(self, setting):
        super(PatternSearch, self).__init__(setting)
        self.searching = None       # the task whose pattern is being searched in the open graph

    def copies(self):
        return [2] * len(self.net.layers)

    def known(self, task):
        """Whether the task's pattern was chosen before."""
        return str(task) in self.state['patterns']

    def build(self, parameters, task, batch, phase=0):
        self.left = {}
        if self.known(task):
            self.searching = None
            self.loss, self.update = self.train_pattern(parameters, task, self.pattern_of(task), batch)
        else:
            self.searching = task
            self.build_search(parameters, task, batch)

    def build_search(self, parameters, task, batch):
        """Sets `loss`, `update`, and `shared_now`: bool tensor [layers], what would be chosen at this
        moment."""
        raise AssertionError('a search says how it is trained')

    def chosen_now(self, session):
        """The pattern that would be chosen at this moment, e.g. 'STTS'."""
        return ''.join('S' if shared else 'T' for shared in session.run(self.shared_now))

    def layer_outputs(self, parameters, task, images):
        if self.known(task):
            return super(PatternSearch, self).layer_outputs(parameters, task, images)
        activations = []
        for layer in range(len(self.net.layers)):
            candidates = [self.layer_weights(parameters, layer, task, shared) for shared in (True, False)]
            weights = tf.cond(self.shared_now[layer], lambda: [tf.identity(w) for w in candidates[0]],
                              lambda: [tf.identity(w) for w in candidates[1]])
            activations.append(nn.activation(weights, self.net.padding))
        return nn.layer_maps(self.net, images, activations)

    def end_task(self, task, before, values, graph):
        """Keeps the chosen candidate of each layer; a shared part that was not chosen is as it was before the
        task.

        A layer that no task shares yet leaves nothing behind and is drawn anew for the next task.
        """
        if task != self.searching:
            return values
        pattern, store = self.chosen_now(graph.session), values
        self.remember(task, pattern)
        for layer, letter in enumerate(pattern):
            if letter == 'S':
                store = without(store, 'conv%d/task%d/own/' % (layer, task))
            else:
                shared = 'conv%d/shared/' % layer
                store = without(store, 'conv%d/task%d/%s/' % (layer, task, self.setting.mechanism), shared)
                store.update((name, value) for name, value in before.items() if name.startswith(shared))
        return self.without_search_variables(store, task)

    def without_search_variables(self, store, task):
        """Drops what the search itself left in the store."""
        return store

