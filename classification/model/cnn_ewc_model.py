"""Elastic weight consolidation: what mattered to earlier tasks is held near its old value.

Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017; with mode 'online',
one penalty centred on the latest optimum, as Huszar notes (PNAS 2018).
"""
from collections import OrderedDict

import numpy as np

from classification.model.cnn_baseline_model import FixedPattern
from classification.model.declare import method
from classification.model.published_trainer import best_epoch_fields
from utils import utils_env_cl as env
from utils import utils_nn as nn
from utils.declarations import Option, number, one_of, or_none, whole, yes_or_no
from utils.lazy_tensorflow import tf


def _note():
    return ['EWC: --test_type 0 to %d is the factor of its penalty: %s; 0 and 1 hardly hold anything' % (
        len(env.EWC_MULTIPLIER) - 1, ', '.join('%g' % factor for factor in env.EWC_MULTIPLIER))]


@method('EWC', 'elastic weight consolidation: all convolutions shared, held near earlier optima',
        pattern='all',
        paper='Kirkpatrick et al., PNAS 2017', notes=_note, trainer_fields=best_epoch_fields,
        published_leep=False, looks_ahead=True, values_beside=lambda parameters: 2 * parameters,
        options=(Option('fisher_multiplier', lambda at: at.row(env.EWC_MULTIPLIER, 'factor of the penalty'),
                        number(0), 'EWC: factor of the penalty (default: by --test_type)', stored=True),
                 Option('ewc_mode', env.EWC['ewc_mode'], one_of('separate', 'online'),
                        'EWC: a penalty per task, or one with decayed precision'),
                 Option('ewc_gamma', env.EWC['ewc_gamma'], number(0, 1),
                        'EWC, online: times the precision at each task'),
                 Option('ewc_shared_fc', env.EWC['ewc_shared_fc'], yes_or_no(),
                        'EWC: hidden fully connected layers are shared too'),
                 Option('ewc_fisher_labels', env.EWC['ewc_fisher_labels'], one_of('exact', 'sample', 'true'),
                        'EWC: labels of the Fisher information: expected, drawn from the model, or the '
                        'data\'s'),
                 Option('ewc_fisher_samples', env.EWC['ewc_fisher_samples'], or_none(whole(1)),
                        'EWC: training images that estimate it; none: all')))
class EWC(FixedPattern):
    """HPS with all convolutions shared, and lambda/2 sum_s sum_i F_s,i (w_i - w*_s,i)^2 in the loss of a
    task.

    F_s is the diagonal Fisher information of the shared weights at w*_s, the optimum of task s: the mean over
    its training images of the squared gradient of log p(y|x) of one image, y from the model. The sum over
    tasks is kept as A = sum_s F_s and C = sum_s F_s w*_s, which give the same gradient: A (w - C/A). A task
    that returns is not held by its own earlier optimum while it is trained.

    Options: fisher_multiplier (lambda), ewc_mode, ewc_gamma, ewc_shared_fc, ewc_fisher_labels,
    ewc_fisher_samples: see utils_env_cl.EWC.
    """
    single_images = True

    def __init__(self, setting):
        super(EWC, self).__init__(setting)
        self.state['folded'] = []           # tasks whose Fisher information is in the sums

    def head(self, parameters, task, features):
        def variable(layer, part, shape, initial):
            hidden = int(layer[len('fc'):]) < len(self.net.hidden)
            if hidden and self.setting.options['ewc_shared_fc']:
                return parameters.shared(layer, 'hps', part, shape, initial)
            return parameters.own(layer, task, 'own', part, shape, initial)
        return nn.head(features, self.net, self.setting.class_counts[task], variable)

    def network_arrays(self):
        return {}

    # ---- the penalty ----

    def pattern_loss(self, parameters, task, pattern, batch):
        loss = super(EWC, self).pattern_loss(parameters, task, pattern, batch)
        self.penalty = None
        if self._others(task):
            self.penalty = 0.5 * self.setting.options['fisher_multiplier'] * tf.add_n([
                tf.reduce_sum(precision * tf.square(parameters.variables[name] - centre))
                for name, (precision, centre) in self.anchors(task).items()])
            loss += self.penalty
        return loss

    def _others(self, task):
        """The tasks that hold the weights while `task` is trained."""
        separate = self.setting.options['ewc_mode'] == 'separate'
        return [other for other in self.state['folded'] if not separate or other != task]

    def anchors(self, task):
        """dict name -> (A, C / A) of the other tasks; where A is 0 nothing holds, and the centre is 0."""
        found = OrderedDict()
        for key in sorted(self.arrays):
            if key.startswith('A/'):
                name = key[len('A/'):]
                precision, weighted = self.arrays[key], self.arrays['C/' + name]
                if self.setting.options['ewc_mode'] == 'separate' and task in self.state['folded']:
                    own = self._part('F%d/%s' % (task, name), 'optimum%d/%s' % (task, name))
                    precision, weighted = np.maximum(precision - own[0], 0), weighted - own[1]
                centre = np.divide(weighted, precision, out=np.zeros_like(weighted), where=precision > 0)
                found[name] = precision.astype(np.float32), centre.astype(np.float32)
        return found

    # ---- the Fisher information ----

    def build(self, parameters, task, batch, phase=0):
        super(EWC, self).build(parameters, task, batch, phase)
        trunk = [name for name in parameters.variables if '/shared/' in name]
        logs = tf.nn.log_softmax(self.logits(parameters, task, batch.single.images))[0]
        weights = self._label_weights(logs, batch.single, self.setting.class_counts[task])
        squares = [0.] * len(trunk)
        for label in range(self.setting.class_counts[task]):
            gradients = tf.gradients(logs[label], [parameters.variables[name] for name in trunk])
            squares = [square + weights[label] * tf.square(gradient) for square,
                       gradient in zip(squares, gradients)]
        self._sums = OrderedDict((name, tf.Variable(tf.zeros(square.shape, tf.float64), trainable=False,
                                                    name='ewc/' + name))
                                 for name, square in zip(trunk, squares))
        self._add = tf.group(*[total.assign_add(tf.cast(square, tf.float64))
                               for total, square in zip(self._sums.values(), squares)])

    def _label_weights(self, logs, single, classes):
        """[classes]: the weight of each class in the Fisher information of one image."""
        how = self.setting.options['ewc_fisher_labels']
        # uniform in [0, 1), for mode 'sample'
        self._draw = tf.placeholder(logs.dtype, [], 'label_draw')
        if how == 'exact':
            return tf.stop_gradient(tf.exp(logs))
        drawn = tf.reduce_sum(tf.cast(tf.cumsum(tf.exp(logs))[:-1] < self._draw, tf.int32))
        return tf.one_hot(drawn if how == 'sample' else single.labels[0], classes, dtype=logs.dtype)

    def fisher(self, graph):
        """dict name -> float64 array: the diagonal Fisher information of the shared weights on the task's
        training data."""
        nn.assign(graph.session, {total: np.zeros(total.shape.as_list()) for total in self._sums.values()})
        size = graph.task.train.size
        count = min(size, self.setting.options['ewc_fisher_samples'] or size)
        draws = graph.parameters.draw('ewc/labels').uniform(size=size)
        graph.sweep(self._add, graph.parameters.draw('ewc/images').permutation(size)[:count],
                    lambda row: {self._draw: draws[row]})
        totals = graph.session.run(list(self._sums.values()))
        return OrderedDict((name, total / count) for name, total in zip(self._sums, totals))

    def end_task(self, task, before, values, graph):
        self.fold(task, self.fisher(graph), values)
        return values

    def fold(self, task, fisher, optimum):
        """Adds a task's Fisher information and optimum (dicts name -> array) to the sums, in place of its
        earlier ones."""
        separate = self.setting.options['ewc_mode'] == 'separate'
        for name, information in fisher.items():
            precision, weighted = [self.arrays.get(key + name, 0.) for key in ('A/', 'C/')]
            centre = optimum[name].astype(np.float64)
            if separate:
                own = ['F%d/%s' % (task, name), 'optimum%d/%s' % (task, name)]
                if task in self.state['folded']:
                    precision, weighted = [total - part for total,
                                           part in zip((precision, weighted), self._part(*own))]
                precision, weighted = precision + information, weighted + information * centre
                if self.setting.order.count(task) > 1:       # it will have to be taken out again
                    self.arrays.update(zip(own, (information, centre)))
            else:
                precision = self.setting.options['ewc_gamma'] * precision + information
                weighted = precision * centre
            self.arrays['A/' + name], self.arrays['C/' + name] = precision, weighted
        if task not in self.state['folded']:
            self.state['folded'].append(task)

    def _part(self, fisher, optimum):
        """What one task added to A and to C."""
        return self.arrays[fisher], self.arrays[fisher] * self.arrays[optimum]

    def extra(self, order):
        return {'ewc_state_size': np.array(sum(array.size for array in self.arrays.values()))}
