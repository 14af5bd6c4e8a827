"""DARTS: a softmax mixture of the shared and the task-specific candidate of each layer (Liu, Simonyan & Yang
2019)."""
from collections import OrderedDict

import numpy as np

from classification.model.declare import HEAD, selection
from classification.model.mechanisms import without
from classification.model.search import PatternSearch
from utils import utils_nn as nn
from utils.declarations import Field, Option, one_of
from utils.lazy_tensorflow import tf

SELECTION = 'darts'
LEFT = 'conv{layer}/made/selection'        # in parameter files: how a search ended
DIFFERENCE = 0.01       # length of the step of the finite difference, over all weights


def _fields(size):
    return [('history_DARTS_arch_select', (size.epochs, 2 * len(size.layers)), np.float32),
            ('conv_sharing', (size.tasks, len(size.layers)), np.int64)]


@selection('DARTS', 'DARTS: a mixture of both candidates per layer', paper='Liu, Simonyan & Yang, ICLR 2019',
           fields=_fields,
           files=lambda of_mechanism: (Field('DARTS_selection_param', (LEFT,)),) + of_mechanism + (HEAD,),
           options=(Option('darts_approx_order', 1, one_of(1, 2),
                           'DARTS: order of the update of the selection', 'darts_approx_order', stored=True),
                    Option('darts_selection_data', 'train', one_of('train', 'valid'),
                           'DARTS: split that the selection learns from; authors\' release: train, paper: '
                           'valid',
                           'darts_selection_data')))
class Darts(PatternSearch):
    """Each step updates the selection, then the weights, with an RMSProp each.

    Options: darts_approx_order 1 or 2; darts_selection_data 'train' (the training batch) or 'valid'.
    """

    @property
    def validation_batches(self):
        """Whether a step needs validation images."""
        return self.setting.options['darts_selection_data'] == 'valid'

    def build_search(self, parameters, task, batch):
        self._selections = [parameters.own('conv%d' % layer, task, SELECTION, 'selection', (2,), nn.zeros)
                            for layer in range(len(self.net.layers))]       # [task-specific, shared]
        of_layers = tf.stack(self._selections)
        self.shared_now = of_layers[:, 1] > of_layers[:, 0]
        self.mixed_loss(parameters, task, batch)        # makes every variable
        chosen = set(variable.op.name for variable in self._selections)
        weights = [variable for variable in parameters.trained if variable.op.name not in chosen]
        gradients = self._first_order if self.setting.options[
            'darts_approx_order'] == 1 else self._second_order
        self.selection_gradients = gradients(parameters, task, batch, weights)
        optimizer = nn.rmsprop(batch.learning_rate, 'RMSProp_selection')
        with tf.control_dependencies([
                optimizer.apply_gradients(zip(self.selection_gradients, self._selections))]):
            # reads the selection after its update
            self.loss = self.mixed_loss(parameters, task, batch)
            self.update = nn.minimize(self.loss, weights, batch.learning_rate)

    def mixed_logits(self, parameters, task, images, seed=None):
        """Logits of the mixture; with dropout if a seed is given."""
        activations = []
        for layer, weights in enumerate(self._selections):
            mixture = tf.unstack(tf.nn.softmax(weights))
            candidates = [nn.activation(self.layer_weights(parameters, layer, task, shared), self.net.padding)
                          for shared in (False, True)]
            activations.append(lambda x, mixture=mixture, candidates=candidates:
                               mixture[0] * candidates[0](x) + mixture[1] * candidates[1](x))
        features = nn.convolutional_part(self.net, images, [[activations]])
        return self.head(parameters, task, features if seed is None
                         else nn.dropout(features, self.setting.keep, seed))

    def mixed_loss(self, parameters, task, batch):
        """Cross-entropy of the mixture on a batch, and the mechanism's losses weighted with the shared
        part."""
        logits = self.mixed_logits(parameters, task, batch.images, batch.seed)
        loss = tf.reduce_mean(nn.cross_entropy(logits, batch.labels))
        for layer, weights in enumerate(self._selections):
            shared = tf.nn.softmax(weights)[1]
            loss += self.extra_losses(parameters, layer, task, shared, shared / len(self._selections))
        return loss

    def _first_order(self, parameters, task, batch, weights):
        return tf.gradients(self.mixed_loss(parameters, task, batch.selection or batch), self._selections)

    def _second_order(self, parameters, task, batch, weights):
        """The DARTS paper's eq. 7 and 8: one step of the weights ahead, the second derivative by finite
        differences."""
        rate, names = batch.learning_rate, {variable: name for name, variable in parameters.variables.items()}
        gradients = tf.gradients(self.mixed_loss(parameters, task, batch), weights)
        used = OrderedDict((names[w], (w, tf.convert_to_tensor(g))) for w, g in zip(weights, gradients)
                           if g is not None)

        def loss_at(tensors, part):
            return self.mixed_loss(parameters.at(dict(zip(used, tensors))), task, part)

        ahead = [tf.stop_gradient(w - rate * g) for w, g in used.values()]
        loss_ahead = loss_at(ahead, batch.selection or batch)
        direct = tf.gradients(loss_ahead, self._selections)
        direction = [tf.stop_gradient(tf.convert_to_tensor(d)) for d in tf.gradients(loss_ahead, ahead)]
        size = DIFFERENCE / tf.global_norm(direction)
        sides = [tf.gradients(loss_at([w + sign * size * d for (w, _), d in zip(used.values(), direction)],
                                      batch),
                              self._selections) for sign in (1., -1.)]
        return [g - rate * (plus - minus) / (2. * size) for g, plus, minus in zip(direct, *sides)]

    def without_search_variables(self, store, task):
        prefixes = ['conv%d/task%d/%s/' % (layer, task, SELECTION) for layer in range(len(self.net.layers))]
        self.left = {LEFT.format(layer=layer): store[prefix + 'selection'] for layer,
                     prefix in enumerate(prefixes)}
        return without(store, *prefixes)

    def end_epoch(self, graph, task, last):
        if task != self.searching:
            return {'history_DARTS_arch_select': np.zeros(2 * len(self.net.layers), np.float32)}
        return {'history_DARTS_arch_select': np.concatenate(graph.session.run(self._selections)).astype(
            np.float32)}

    def extra(self, order):
        return {name: value.astype(np.int64) for name, value in super(Darts, self).extra(order).items()}
