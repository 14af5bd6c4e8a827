"""The stages of learning a task with DEN: what each trains, penalizes and shrinks, and what becomes of it at
its end.

A stage is an object of the graph that trains it. It reads and writes the `state` and `arrays` of its DEN.
"""
from collections import OrderedDict

import numpy as np

from classification.model import den_blocks, den_graph
from classification.model.den_blocks import from_block, prefix, to_block
from classification.model.den_variables import NEW
from utils import utils_nn as nn
from utils.lazy_tensorflow import tf
from utils.utils_nn import bias_value, truncated_normal

# the stages of a task; the first task has the last one only
HEAD, SUBNETWORK, EXPANSION, RETRAINING = range(4)
# change by a clean-up of the classes' probabilities, 0 to 1
NOTICEABLE = 0.01


def l1_threshold(options, rate, steps):
    """What L1 takes from each weight in a step.

    Args:
        rate: the learning rate, a tensor.
        steps: of the whole task.
    """
    size = options['l1_lambda']
    of_task = tf.minimum(size / steps, options['den_l1_cap'] * rate)
    return {'per_task': of_task, 'per_step': size, 'lr_scaled': size * rate}[options['den_l1_mode']]


class Stage(object):
    """One stage of learning a task.

    Attributes:
        number: HEAD, ..., under which the checkpoint keeps what is measured of it.
        changes_learned_tasks: whether it may change the accuracy of a task that was learned before.
        trained, shrinking: of its training step, as den_graph.training_step takes them; penalty: what its
            loss has in addition.
        shrunk: name -> positions, of what it shrinks.
    """
    number, changes_learned_tasks = None, False

    def __init__(self, den, task):
        self.den, self.task, self.options, self.variables = den, task, den.options, den.variables
        self.layers, self.head = den.variables.layers, den.variables.head
        self.trained, self.shrinking, self.penalty, self.shrunk = [], [], 0., OrderedDict()

    def build(self, parameters, weights, batch):
        """(loss, op of one training step).

        Args:
            weights: (weights, bias) variables of each layer.
            batch: method.Batch.
        """
        self.rate = batch.learning_rate
        self.threshold = l1_threshold(self.options, self.rate, batch.steps * self.den.epochs)
        self.train(parameters, weights)
        body, bias = self.variables.body(parameters.variables, self.task, tf.reshape, tf.concat)
        logits = den_graph.forward(self.den.net, self.layers, body, bias, batch.images, self.den.setting.keep,
                                   batch.seed)
        loss = tf.reduce_mean(nn.cross_entropy(logits, batch.labels)) + self.penalty
        optimizer = den_graph.OPTIMIZERS[self.options['den_optimizer']](self.rate)
        return loss, den_graph.training_step(loss, self.trained, optimizer, self.shrinking)

    def train(self, parameters, weights):
        """Says what is trained, penalized and shrunk."""
        raise AssertionError('a stage says what it trains')

    def end(self, values, graph):
        """The parameter store with which the next stage begins."""
        return values

    # -- what a training step is made of --

    def penalize(self, option, tensor):
        """Adds half a sum of squares to the loss."""
        self.penalty += self.options[option] * tf.nn.l2_loss(tensor)

    def train_weights(self, layer, weights):
        """Trains, penalizes and shrinks weights of a layer, in TensorFlow's shape or as a block."""
        positions, shape = self.layers[layer].positions, weights.shape.as_list()

        def shrunk(value):
            block = to_block(value, positions, tf.reshape)
            return [tf.reshape(den_graph.shrink(block, self.threshold, self.options['den_edge_group_l1']),
                               shape)]
        self.trained.append((weights, None))
        self.penalize('l2_lambda', weights)
        self.shrinking.append(([weights], shrunk))
        self.shrunk[weights.op.name] = positions

    # -- small edges become 0 at its end --

    def clean_up(self, graph):
        """The optimizer leaves weights jittering at the size of a step, so small edges are made exact
        zeros."""
        values, least = graph.values(), self.least(graph.learning_rate)
        cleaned = dict(values, **self.cleaned(values, least))
        cut, cut_after = self._cut(values), self._cut(cleaned)
        if cut:
            self.den.log(
                'task %d: warning: the output does not depend on the image: all weights of %s that are read '
                'are 0'
                % (self.task, cut))
        elif cut_after:
            self.den.log(
                'task %d: warning: small weights were not made 0: no weight of %s that is read would be left'
                % (self.task, cut_after))
            cleaned = values
        if any((cleaned[name] != values[name]).any() for name in cleaned):
            self._set(graph, cleaned)
        blocks, now = self.variables.blocks(cleaned, self.task), self.den.state['now']
        now['density'][str(self.number)] = [den_blocks.density(block) for block in blocks]
        now['fresh'] = [den_blocks.fresh_density(len(block), least, nn.DEVIATION) for block in blocks]

    def least(self, learning_rate):
        """The size below which edges become 0."""
        return self.options['den_zero_eps'] * {'lr_scaled': learning_rate,
                                               'absolute': 1.}[self.options['den_zero_mode']]

    def cleaned(self, values, least):
        """dict name -> array: what the stage shrinks, without edges below `least` and biases of new units
        without edges."""
        cleaned = {name: den_blocks.without_small_edges(
            to_block(values[name], positions), least).reshape(values[name].shape)
            for name, positions in self.shrunk.items()}
        for name in [name for name in cleaned if name.endswith('new_columns')]:
            bias = name[:-len('new_columns')] + 'new_bias'
            cleaned[bias] = np.where(cleaned[name].any(axis=(0, 1)), values[bias],
                                     0).astype(values[bias].dtype)
        return cleaned

    def _cut(self, values):
        """Name of the topmost layer whose units that are read have no edge, so that no image passes it; or
        None."""
        blocks = self.variables.blocks(values, self.task)
        reached = den_blocks.reached(blocks, np.ones(blocks[-1].shape[2], bool))
        below = zip(self.layers[::-1], reached[-2::-1])
        return next((layer.name for layer, units in below if not units.any()), None)

    def _set(self, graph, cleaned):
        """Sets the values, and warns if that changes what the network says, whether or not it was right."""
        def probabilities():
            return den_blocks.softmax(graph.probe('logits%d' % self.task, graph.task.train))
        before = probabilities()
        graph.set_values(cleaned)
        change = np.abs(probabilities() - before).sum(axis=1).mean() / 2
        if change >= NOTICEABLE:
            self.den.log(
                'task %d: warning: making small weights 0 changed the probabilities of the classes by %.4f '
                'on average'
                % (self.task, change))


class Head(Stage):
    """Stage A: a sparse head is fitted, all else is frozen; it selects units."""
    number = HEAD

    def train(self, parameters, weights):
        kernel, bias = weights[-1]
        self.train_weights(self.head, kernel)
        self.trained.append((bias, None))

    def end(self, values, graph):
        """Selects the units that the head reads, over all classes, and what they read."""
        top = den_blocks.present(self.variables.blocks(values, self.task)[-1]).any(axis=1)
        selected, empty = den_blocks.trace([self.den.previous(layer)[0] for layer in range(self.head)], top)
        if empty == self.head:
            self.den.log('task %d: the sparse head is all zero; every unit is selected' % self.task)
        elif empty:
            self.den.log('task %d: no selected unit reads %s; every unit of it and below is selected'
                         % (self.task, self.layers[empty - 1].name))
        self.den.arrays.update(('selected/%d' % layer, units) for layer, units in enumerate(selected))
        self.den.state['now']['selected'] = [float(units.mean()) for units in selected[1:]]
        return values


class Subnetwork(Stage):
    """Stage B: gradients of what is not selected are 0; with fresh optimizer slots it stays bit for bit.

    Unselected units reach selected ones over edges that are 0 only, so this trains the cut-out network.
    """
    number, changes_learned_tasks = SUBNETWORK, True

    def train(self, parameters, weights):
        for layer, (kernel, bias) in enumerate(weights):
            reads = self.den.arrays['selected/%d' % layer]
            units = self.den.arrays.get('selected/%d' % (layer + 1), np.ones(int(bias.shape[0]), bool))
            mask = tf.constant(np.outer(reads, units)[None], kernel.dtype.base_dtype)
            positions, shape = self.layers[layer].positions, kernel.shape.as_list()

            def masked(value, mask=mask, positions=positions, shape=shape):
                return tf.reshape(to_block(value, positions, tf.reshape) * mask, shape)

            def masked_bias(value, units=units):
                return value * units.astype(np.float32)
            self.trained += [(kernel, masked), (bias, masked_bias)]
            self.penalize('l2_lambda', masked(kernel))
            if layer < self.head and self.options['den_reg_in_retraining']:
                block, old_bias = self.den.previous(layer)
                self.penalize('reg_lambda', masked(kernel - from_block(block, self.layers[layer].kernel)))
                self.penalize('reg_lambda', masked_bias(bias - old_bias))

    def clean_up(self, graph):
        """It shrinks nothing."""

    def end(self, values, graph):
        """Decides whether units are added; the loss is that of all training images, without penalties."""
        part, epochs = graph.task.train, self.den.planned[EXPANSION]
        loss = den_blocks.cross_entropy(graph.probe('logits%d' % self.task, part), part.labels)
        wanted = {'loss': loss > self.options['loss_threshold'], 'always': True,
                  'never': False}[self.options['den_expand']]
        self.den.state['now'].update(loss=loss, expand=bool(wanted and epochs > 0))
        return values


class Expansion(Stage):
    """Stage C: new units and the head; weights between old units, and their biases, are constants."""
    number = EXPANSION

    def build(self, parameters, weights, batch):
        if not self.den.state['now']['expand']:
            return None, None       # a stage without epochs
        return super(Expansion, self).build(parameters, weights, batch)

    def train(self, parameters, weights):
        k, width = self.options['den_expansion'], self.den.state['width']
        start = {'random': truncated_normal, 'zeros': nn.zeros}[self.options['den_new_to_old_start']]
        sizes = zip(self.variables.inputs(width), self.variables.outputs(self.task, width))
        for layer, (inputs, outputs) in enumerate(sizes):
            below, positions = 0 if layer == 0 else k, self.layers[layer].positions
            rows = self.variables.make(parameters, layer, 'new_rows', self.task, (positions, below, outputs),
                                       truncated_normal if layer == self.head else start)
            self.train_weights(layer, rows)
            if layer < self.head:
                self._train_columns(layer, *[
                    self.variables.make(parameters, layer, part, self.task, shape, initial) for part, shape,
                    initial in (
                        ('new_columns', (positions, inputs + below, k), truncated_normal),
                        ('new_bias', (k,), bias_value))])
        self.train_weights(self.head, weights[-1][0])
        self.trained.append((weights[-1][1], None))

    def _train_columns(self, layer, columns, bias):
        """The incoming weights of new units also shrink as a group, in the same assignment."""
        self.trained += [(columns, None), (bias, None)]
        self.penalize('l2_lambda', columns)
        group, by_edge = self.rate * self.options['gl_lambda'], self.options['den_edge_group_l1']
        self.shrinking.append(([columns, bias], lambda *values: den_graph.shrink_new_units(
            *(values + (self.threshold, group, by_edge)))))
        self.shrunk[columns.op.name] = self.layers[layer].positions

    def end(self, values, graph):
        """Deletes useless new units and splits drifted ones."""
        body, bias = self.variables.body(values, self.task)
        old, now = self.den.state['widths'][-1], self.den.state['now']
        body = den_blocks.prune(body, old)
        now['expanded'] = [width - before for width, before in zip(body.widths, old)]
        previous = list(zip(*[self.den.previous(layer) for layer in range(self.head)]))
        chosen, now['candidates'] = self._drifted(body, previous)
        now['split'] = [len(units) for units in chosen]
        body = den_blocks.split(body, previous, chosen)
        self.den.state['width'] = body.widths
        store = OrderedDict((name, value) for name, value in values.items() if not name.endswith(NEW))
        for layer, (block, of_layer) in enumerate(zip(body.blocks + [body.head], body.biases + [bias])):
            store[self.variables.name(layer, 'kernel', self.task)] = from_block(block, self.layers[
                layer].kernel)
            store[self.variables.name(layer, 'bias', self.task)] = of_layer
        return store

    def _drifted(self, body, previous):
        """(units to split, number of candidates) per hidden layer."""
        if not self.options['den_split'] or not self.den.planned[RETRAINING]:
            return [np.zeros(0, int)] * len(body.blocks), [0] * len(body.blocks)
        metric, sign = self.options['den_drift_metric'], {'l2': 1.,
                                                          'cosine': -1.}[self.options['den_drift_metric']]
        drifted = []
        for layer, block, old in zip(self.layers, body.blocks, previous[0]):
            limit = sign * self.options['den_drift_threshold'][0 if layer.kernel else 1]
            distance = den_blocks.drift(prefix(block, *old.shape[1:]), old, metric)
            drifted.append(den_blocks.most_drifted(distance, limit, self.options['den_split_cap']))
        return tuple(map(list, zip(*drifted)))


class Retraining(Stage):
    """Stage D and the first task: everything;
    weights between units of earlier tasks are held near their values."""
    number, changes_learned_tasks = RETRAINING, True

    def train(self, parameters, weights):
        for layer, (kernel, bias) in enumerate(weights):
            self.train_weights(layer, kernel)
            self.trained.append((bias, None))
            if layer < self.head and self.den.state['widths']:
                old, old_bias = self.den.previous(layer)
                block = to_block(kernel, self.layers[layer].positions, tf.reshape)
                self.penalize('reg_lambda', prefix(block, *old.shape[1:]) - old)
                self.penalize('reg_lambda', bias[:len(old_bias)] - old_bias)


STAGES = (Head, Subnetwork, Expansion, Retraining)
