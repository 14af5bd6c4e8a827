"""DEN: a network that retrains what a new task needs, grows where that is not enough, and splits units that drift.

Yoon, Yang, Lee & Hwang, "Lifelong Learning with Dynamically Expandable Networks", ICLR 2018, for convolutions and several
classes. All hidden layers are shared; old tasks are evaluated on the units they were learned with.
"""
from collections import OrderedDict

import numpy as np

from classification.model import den_blocks, den_graph, den_report
from classification.model.declare import method
from classification.model.den_blocks import Body, from_block, prefix, to_block
from classification.model.method import Method
from classification.model.published_trainer import best_epoch_fields
from utils import utils_env_cl as env
from utils import utils_nn as nn
from utils.declarations import Field, Option, number, numbers, one_of, or_none, own_names, shared_names, whole, yes_or_no
from utils.lazy_tensorflow import tf
from utils.utils_nn import bias_value, truncated_normal

HEAD, SUBNETWORK, EXPANSION, RETRAINING = range(4)      # the stages of a task; the first task has the last one only
NOTICEABLE = 0.01                                       # change by a clean-up of the classes' probabilities, 0 to 1
NEW = ('new_columns', 'new_rows', 'new_bias')           # parts of a layer while new units are trained


def stage_epochs(fractions, epochs):
    """Epochs of the stages: each ends at its cumulated share of the task's epochs, rounded half up."""
    ends = np.floor(np.round(np.cumsum(fractions) * epochs, 6) + 0.5)
    return np.diff(ends, prepend=0).astype(int).tolist()


def _option(name, check, help):
    return Option(name, env.DEN[name], check, 'DEN: ' + help, stored=True)


def _expansion(at):
    return env.DEN_EXPANSION.get(at.family, env.DEN['den_expansion'])


OPTIONS = (
    Option('den_expansion', _expansion, whole(1), 'DEN: units added to each hidden layer', stored=True),
    _option('den_stage_fractions', numbers(4, 0), 'share of a task\'s epochs: head, sub-network, expansion, split'),
    _option('den_drift_metric', one_of('l2', 'cosine'), 'length of a unit\'s change, or cosine of its weights'),
    _option('den_split', yes_or_no(), 'units that drifted are split'),
    _option('den_expand', one_of('loss', 'always', 'never'), 'when units are added'),
    _option('l1_lambda', number(0), 'shrinks weights by this much, see den_l1_mode'),
    _option('den_l1_mode', one_of('per_task', 'per_step', 'lr_scaled'),
            'in all steps of a task, in a step, or in a step times the learning rate'),
    _option('den_l1_cap', number(0), 'per_task: a step takes at most this times the learning rate'),
    _option('den_edge_group_l1', yes_or_no(), 'an edge of several weights shrinks as a whole'),
    _option('den_zero_eps', number(0), 'edges below it become 0 when a stage ends, see den_zero_mode'),
    _option('den_zero_mode', one_of('lr_scaled', 'absolute'), 'times the learning rate, or as it is'),
    _option('l2_lambda', number(0), 'of half the sum of squared weights'),
    _option('reg_lambda', number(0), 'of half the sum of squared changes since the previous task'),
    _option('den_reg_in_retraining', yes_or_no(), 'these count while the sub-network is retrained, too'),
    _option('gl_lambda', number(0), 'of the sum of the lengths of new units\' incoming weights'),
    _option('loss_threshold', number(), 'units are added above it'),
    _option('den_new_to_old_start', one_of('random', 'zeros'), 'weights with which old units read new ones'),
    _option('den_optimizer', one_of('adam', 'rmsprop'), 'the optimizer'),
    _option('den_dropout', yes_or_no(), 'dropout before the head'),
    Option('den_drift_threshold', lambda at: env.DEN_DRIFT_THRESHOLD[at.options['den_drift_metric']], numbers(2),
           'DEN: change above which (cosine: below which) a unit is split; convolutions, fully connected layers', stored=True),
    Option('den_split_cap', lambda at: at.options['den_expansion'], or_none(whole(0)),
           'DEN: most units split per layer and task; none: no limit', stored=True))
FILES = (Field('conv_trainable_weights', shared_names('conv', 'den')),
         Field('fc_weights', tuple(zip(own_names('fc', 'den'), shared_names('fc', 'den')))))


def _network(data_type, family, depth, network):
    """DEN's hidden layers are shared; the published code gives it other ones."""
    return network._replace(hidden=env.DEN_HIDDEN.get((family, depth), network.hidden))


def _notes():
    return ['on %s with %d layers, DEN has hidden layers of %s instead of %s, as published' % (
        family, depth, env.listed(hidden), env.listed(env.NETWORKS[family, depth].hidden))
        for (family, depth), hidden in env.DEN_HIDDEN.items()]


def _fields(size):
    tasks, hidden = size.tasks, len(size.layers) + len(size.hidden)
    return [('den_widths', (tasks, hidden), int), ('den_expanded', (tasks, hidden), int),
            ('den_split_candidates', (tasks, hidden), int), ('den_split', (tasks, hidden), int),
            ('den_stage_epochs', (tasks, 4), int), ('den_loss_before_expansion', (tasks,), float),
            ('den_selected_fraction', (tasks, hidden), float), ('den_edge_density', (tasks, 4, hidden + 1), float),
            ('den_fresh_density', (tasks, hidden + 1), float)]


def _lines(record, tasks):
    """After the table, per layer."""
    return ['trial %d, %s' % (record.trial, line) for line in den_report.lines(record.extra, tasks)]


@method('DEN', 'dynamically expandable network: it retrains, adds and splits units, all hidden layers shared', mechanism='hps',
        paper='Yoon et al., ICLR 2018', version=2, pattern='all', revisits=False, skips=False, stops_early=False,
        dropout='den_dropout', size_note=' before units are added', options=OPTIONS, network=_network, notes=_notes,
        files=lambda of_mechanism: FILES, fields=_fields, lines=_lines, trainer_fields=best_epoch_fields, published_leep=False)
class DEN(Method):
    """Stages of a task after the first: a sparse head is fitted; the units that it can reach over non-zero edges are
    retrained; if the loss stays high, units are added to every hidden layer and those that stay unused deleted; units
    that drifted are split, and the whole network is retrained.

    Options: the table DEN of utils_env_cl, den_drift_threshold, den_split_cap.

    `state`: width, units of each hidden layer now; tasks, in the order they were learned; widths, those after each task;
    birth, per layer and unit the ordinal of the task that added it; now and learned, what is measured of the running and
    of the learned tasks. `arrays`: previous/*, the hidden weights before the task; selected/*, which units are retrained.
    """

    def __init__(self, setting):
        super(DEN, self).__init__(setting)
        self.options, self.layers = setting.options, den_blocks.layers_of(self.net)
        width = [spec.out_channels for spec in self.net.layers] + list(self.net.hidden)
        self.state.update(width=width, tasks=[], widths=[], birth=[[] for _ in width], now={}, learned=[], nonzeros=0)
        self.running = self.stage = None      # the task and stage that the open graph trains
        self.shrunk = OrderedDict()           # name -> positions, of what it shrinks
        self.epochs, self.planned = 1, []     # of the running task, and of its phases

    # -- the loop's questions --

    def phases(self, task, epochs):
        self.epochs, self.planned = epochs, [epochs]
        if self.state['widths']:
            self.planned = stage_epochs(self.options['den_stage_fractions'], epochs)
            self.planned[EXPANSION] *= self.state['now'].get('expand', True)
        return self.planned

    def may_change(self, task, phase=0):
        return phase in (SUBNETWORK, RETRAINING)

    def constant_layers(self, task, phase=0):
        return 0

    def start_task(self, task, store, draw):
        hidden = tuple(layer.name + '/shared/' for layer in self.layers[:-1])
        self.arrays = {'previous/' + name: np.array(value) for name, value in store.items() if name.startswith(hidden)}
        self.state['now'] = {'density': {}, 'epochs': [0] * 4}
        return store

    def end_phase(self, task, phase, before, values, graph):
        self.state['now']['epochs'][self.stage] = self.planned[phase]
        if self.stage == HEAD:
            self._select(task, values)
        elif self.stage == SUBNETWORK:
            self._test_loss(task, graph)
        elif self.stage == EXPANSION:
            return self._restructured(task, values)
        return values

    def end_task(self, task, before, values, graph):
        self.remember(task)
        self.state['learned'].append(self.state['now'])
        self.running, self.state['now'], self.arrays = None, {}, {}
        self.state['nonzeros'] = int(sum(np.count_nonzero(value) for value in values.values()))
        self.say(den_report.line(self.extra(self.state['tasks']), len(self.state['tasks']) - 1, task))
        return values

    def remember(self, task, pattern=None):
        """Stamps the units that there are now with the task (section 3.3, time-stamped inference)."""
        self.state['tasks'].append(task)
        self.state['widths'].append(list(self.state['width']))
        for units, width in zip(self.state['birth'], self.state['width']):
            units.extend([len(self.state['tasks'])] * (width - len(units)))

    # -- names and shapes --

    def _name(self, layer, part, task):
        """Of a layer's variable; the head belongs to a task."""
        owner = 'task%d' % task if layer == len(self.layers) - 1 else 'shared'
        return '%s/%s/den/%s' % (self.layers[layer].name, owner, part)

    def _variable(self, parameters, layer, part, task, shape, initial):
        name = self.layers[layer].name
        if layer == len(self.layers) - 1:
            return parameters.own(name, task, 'den', part, shape, initial)
        return parameters.shared(name, 'den', part, shape, initial)

    def _outputs(self, task, hidden):
        """Units of each layer, the head's among them."""
        return list(hidden) + [self.setting.class_counts[task]]

    def _inputs(self, hidden):
        """Units that each layer reads."""
        return [self.net.image_shape[2]] + list(hidden)

    def _weights(self, parameters, task, head_width):
        """(weights, bias) variables of each layer as wide as it is now; the head of a task reads `head_width` units."""
        width = self.state['width']
        weights = []
        for layer, sizes in enumerate(zip(self._inputs(width[:-1] + [head_width]), self._outputs(task, width))):
            weights.append((
                self._variable(parameters, layer, 'kernel', task, self.layers[layer].shape(*sizes), truncated_normal),
                self._variable(parameters, layer, 'bias', task, sizes[1:], bias_value)))
        return weights

    def body(self, things, task, reshape=np.reshape, concatenate=np.concatenate):
        """(Body, head bias) of the running task's network, with the units that are being added.

        Args:
            things: dict name -> array, or variable with tf.reshape and tf.concat.
        """
        blocks, biases = [], []
        for place, layer in enumerate(self.layers):
            kernel, bias, columns, rows, new_bias = [
                things.get(self._name(place, part, task)) for part in ('kernel', 'bias') + NEW]
            block = to_block(kernel, layer.positions, reshape)
            if columns is not None:
                block, bias = den_blocks.grow(block, columns, rows, concatenate), concatenate([bias, new_bias], 0)
            elif rows is not None:
                block = concatenate([block, rows], 1)
            blocks.append(block)
            biases.append(bias)
        return Body(blocks[:-1], biases[:-1], blocks[-1]), biases[-1]

    def _previous(self, layer):
        """(block, bias) of a hidden layer before the task."""
        return (to_block(self.arrays['previous/' + self._name(layer, 'kernel', None)], self.layers[layer].positions),
                self.arrays['previous/' + self._name(layer, 'bias', None)])

    # -- graphs --

    def classify(self, parameters, task, maps):
        body, bias = self._body_of(parameters, task)
        return den_graph.classify(self.net, body, bias, maps)

    def layer_outputs(self, parameters, task, images):
        return den_graph.layer_maps(self.net, self.layers, self._body_of(parameters, task)[0], images)

    def _body_of(self, parameters, task):
        return self._running_body(parameters) if task == self.running else self._learned_body(parameters, task)

    def _running_body(self, parameters):
        return self.body(parameters.variables, self.running, tf.reshape, tf.concat)

    def _learned_body(self, parameters, task):
        """The units that a task was learned with."""
        hidden = self.state['widths'][self.state['tasks'].index(task)]
        weights = self._weights(parameters, task, hidden[-1])
        blocks = [prefix(to_block(kernel, layer.positions, tf.reshape), *sizes) for (kernel, _), layer, sizes in
                  zip(weights, self.layers, zip(self._inputs(hidden), self._outputs(task, hidden)))]
        biases = [bias[:width] for (_, bias), width in zip(weights, hidden)]
        return Body(blocks[:-1], biases, blocks[-1]), weights[-1][1]

    def build(self, parameters, task, batch, phase=0):
        self.running, self.stage, self.shrunk = task, phase if self.state['widths'] else RETRAINING, OrderedDict()
        weights = self._weights(parameters, task, self.state['width'][-1])
        self.update = self.loss = None
        if self.stage == EXPANSION and not self.state['now']['expand']:
            return                  # a stage without epochs
        self._rate, self._steps = batch.learning_rate, batch.steps * self.epochs
        self._trained, self._shrinking, self._penalty = [], [], 0.
        {HEAD: self._train_head, SUBNETWORK: self._train_subnetwork, EXPANSION: self._train_new_units,
         RETRAINING: self._train_all}[self.stage](parameters, weights)
        body, head_bias = self._running_body(parameters)
        logits = den_graph.forward(self.net, self.layers, body, head_bias, batch.images, self.setting.keep, batch.seed)
        self.loss = tf.reduce_mean(nn.cross_entropy(logits, batch.labels)) + self._penalty
        optimizer = den_graph.OPTIMIZERS[self.options['den_optimizer']](batch.learning_rate)
        self.update = den_graph.training_step(self.loss, self._trained, optimizer, self._shrinking)

    def _threshold(self):
        size = self.options['l1_lambda']
        of_task = tf.minimum(size / self._steps, self.options['den_l1_cap'] * self._rate)
        return {'per_task': of_task, 'per_step': size, 'lr_scaled': size * self._rate}[self.options['den_l1_mode']]

    def _penalize(self, option, tensor):
        """Adds half a sum of squares to the loss."""
        self._penalty += self.options[option] * tf.nn.l2_loss(tensor)

    def _train_weights(self, layer, weights):
        """Trains, penalizes and shrinks weights of a layer, in TensorFlow's shape or as a block."""
        positions, threshold = self.layers[layer].positions, self._threshold()
        shape = weights.shape.as_list()

        def shrunk(value):
            block = den_graph.shrink(to_block(value, positions, tf.reshape), threshold, self.options['den_edge_group_l1'])
            return [tf.reshape(block, shape)]
        self._trained.append((weights, None))
        self._penalize('l2_lambda', weights)
        self._shrinking.append(([weights], shrunk))
        self.shrunk[weights.op.name] = positions

    def _train_head(self, parameters, weights):
        """Stage A: all else is frozen."""
        kernel, bias = weights[-1]
        self._train_weights(len(self.layers) - 1, kernel)
        self._trained.append((bias, None))

    def _train_subnetwork(self, parameters, weights):
        """Stage B: gradients of what is not selected are 0; with fresh optimizer slots it stays bit for bit.

        Unselected units reach selected ones over edges that are 0 only, so this trains the cut-out network.
        """
        for layer, (kernel, bias) in enumerate(weights):
            reads = self.arrays['selected/%d' % layer]
            units = self.arrays.get('selected/%d' % (layer + 1), np.ones(int(bias.shape[0]), bool))
            mask = tf.constant(np.outer(reads, units)[None], kernel.dtype.base_dtype)
            positions, shape = self.layers[layer].positions, kernel.shape.as_list()

            def masked(value, mask=mask, positions=positions, shape=shape):
                return tf.reshape(to_block(value, positions, tf.reshape) * mask, shape)

            def masked_bias(value, units=units):
                return value * units.astype(np.float32)
            self._trained += [(kernel, masked), (bias, masked_bias)]
            self._penalize('l2_lambda', masked(kernel))
            if layer < len(self.layers) - 1 and self.options['den_reg_in_retraining']:
                block, old_bias = self._previous(layer)
                self._penalize('reg_lambda', masked(kernel - from_block(block, self.layers[layer].kernel)))
                self._penalize('reg_lambda', masked_bias(bias - old_bias))

    def _train_new_units(self, parameters, weights):
        """Stage C: weights between old units, and their biases, are constants."""
        k, width, top = self.options['den_expansion'], self.state['width'], len(self.layers) - 1
        start = {'random': truncated_normal, 'zeros': nn.zeros}[self.options['den_new_to_old_start']]
        for layer, (inputs, outputs) in enumerate(zip(self._inputs(width), self._outputs(self.running, width))):
            below, positions = 0 if layer == 0 else k, self.layers[layer].positions
            rows = self._variable(parameters, layer, 'new_rows', self.running, (positions, below, outputs),
                                  truncated_normal if layer == top else start)
            self._train_weights(layer, rows)
            if layer < top:
                self._train_columns(layer, *[
                    self._variable(parameters, layer, part, self.running, shape, initial) for part, shape, initial in (
                        ('new_columns', (positions, inputs + below, k), truncated_normal), ('new_bias', (k,), bias_value))])
        self._train_weights(top, weights[-1][0])
        self._trained.append((weights[-1][1], None))

    def _train_columns(self, layer, columns, bias):
        """The incoming weights of new units also shrink as a group, in the same assignment."""
        self._trained += [(columns, None), (bias, None)]
        self._penalize('l2_lambda', columns)
        threshold, group = self._threshold(), self._rate * self.options['gl_lambda']
        self._shrinking.append(([columns, bias], lambda *values: den_graph.shrink_new_units(
            *(values + (threshold, group, self.options['den_edge_group_l1'])))))
        self.shrunk[columns.op.name] = self.layers[layer].positions

    def _train_all(self, parameters, weights):
        """Stage D and the first task; weights between units of earlier tasks are held near their values."""
        for layer, (kernel, bias) in enumerate(weights):
            self._train_weights(layer, kernel)
            self._trained.append((bias, None))
            if layer < len(self.layers) - 1 and self.state['widths']:
                old, old_bias = self._previous(layer)
                block = to_block(kernel, self.layers[layer].positions, tf.reshape)
                self._penalize('reg_lambda', prefix(block, *old.shape[1:]) - old)
                self._penalize('reg_lambda', bias[:len(old_bias)] - old_bias)

    # -- between the stages --

    def end_epoch(self, graph, task, last):
        if last and self.stage != SUBNETWORK:
            self._clean_up(graph, task)
        return {}

    def _clean_up(self, graph, task):
        """The optimizer leaves weights jittering at the size of a step, so small edges are made exact zeros."""
        values, least = graph.values(), self._least(graph.learning_rate)
        cleaned = dict(values, **self.cleaned(values, least))
        cut, cut_after = self._cut(task, values), self._cut(task, cleaned)
        if cut:
            self.say('task %d: warning: the output does not depend on the image: all weights of %s that are read are 0'
                     % (task, cut))
        elif cut_after:
            self.say('task %d: warning: small weights were not made 0: no weight of %s that is read would be left'
                     % (task, cut_after))
            cleaned = values
        if any((cleaned[name] != values[name]).any() for name in cleaned):
            self._clean(task, graph, cleaned)
        blocks = self._blocks(task, cleaned)
        self.state['now']['density'][str(self.stage)] = [den_blocks.density(block) for block in blocks]
        self.state['now']['fresh'] = [den_blocks.fresh_density(len(block), least, nn.DEVIATION) for block in blocks]

    def _least(self, learning_rate):
        """The size below which edges become 0 when a stage ends."""
        return self.options['den_zero_eps'] * {'lr_scaled': learning_rate, 'absolute': 1.}[self.options['den_zero_mode']]

    def _blocks(self, task, values):
        body, _ = self.body(values, task)
        return body.blocks + [body.head]

    def _cut(self, task, values):
        """Name of the topmost layer whose units that are read have no edge, so that no image passes it; or None."""
        blocks = self._blocks(task, values)
        reached = den_blocks.reached(blocks, np.ones(blocks[-1].shape[2], bool))
        below = zip(self.layers[::-1], reached[-2::-1])
        return next((layer.name for layer, units in below if not units.any()), None)

    def _clean(self, task, graph, cleaned):
        """Sets the values, and warns if that changes what the network says, whether or not it was right."""
        def probabilities():
            return den_blocks.softmax(graph.probe('logits%d' % task, graph.task.train))
        before = probabilities()
        graph.set_values(cleaned)
        change = np.abs(probabilities() - before).sum(axis=1).mean() / 2
        if change >= NOTICEABLE:
            self.say('task %d: warning: making small weights 0 changed the probabilities of the classes by %.4f on average'
                     % (task, change))

    def cleaned(self, values, least):
        """dict name -> array: what the stage shrinks, without edges below `least` and biases of new units without edges."""
        cleaned = {name: den_blocks.without_small_edges(
            to_block(values[name], positions), least).reshape(values[name].shape)
            for name, positions in self.shrunk.items()}
        for name in [name for name in cleaned if name.endswith('new_columns')]:
            bias = name[:-len('new_columns')] + 'new_bias'
            cleaned[bias] = np.where(cleaned[name].any(axis=(0, 1)), values[bias], 0).astype(values[bias].dtype)
        return cleaned

    def _select(self, task, values):
        """After stage A: the units that the head reads, over all classes, and what they read."""
        body, _ = self.body(values, task)
        top = den_blocks.present(body.head).any(axis=1)
        selected, empty = den_blocks.trace([self._previous(layer)[0] for layer in range(len(body.blocks))], top)
        if empty == len(body.blocks):
            self.say('task %d: the sparse head is all zero; every unit is selected' % task)
        elif empty:
            self.say('task %d: no selected unit reads %s; every unit of it and below is selected'
                     % (task, self.layers[empty - 1].name))
        self.arrays.update(('selected/%d' % layer, units) for layer, units in enumerate(selected))
        self.state['now']['selected'] = [float(units.mean()) for units in selected[1:]]

    def _test_loss(self, task, graph):
        """After stage B: whether units are added; the loss is that of all training images, without penalties."""
        loss = den_blocks.cross_entropy(graph.probe('logits%d' % task, graph.task.train), graph.task.train.labels)
        wanted = {'loss': loss > self.options['loss_threshold'], 'always': True, 'never': False}[self.options['den_expand']]
        self.state['now'].update(loss=loss, expand=bool(wanted and self.planned[EXPANSION] > 0))

    def _restructured(self, task, values):
        """After stage C: useless new units are deleted, drifted ones split; the parameter store of stage D."""
        body, bias = self.body(values, task)
        old, now = self.state['widths'][-1], self.state['now']
        body = den_blocks.prune(body, old)
        now['expanded'] = [width - before for width, before in zip(body.widths, old)]
        previous = list(zip(*[self._previous(layer) for layer in range(len(body.blocks))]))
        chosen, now['candidates'] = self._drifted(body, previous)
        now['split'] = [len(units) for units in chosen]
        body = den_blocks.split(body, previous, chosen)
        self.state['width'] = body.widths
        store = OrderedDict((name, value) for name, value in values.items() if not name.endswith(NEW))
        for layer, (block, of_layer) in enumerate(zip(body.blocks + [body.head], body.biases + [bias])):
            store[self._name(layer, 'kernel', task)] = from_block(block, self.layers[layer].kernel)
            store[self._name(layer, 'bias', task)] = of_layer
        return store

    def _drifted(self, body, previous):
        """(units to split, number of candidates) per hidden layer."""
        if not self.options['den_split'] or not self.planned[RETRAINING]:
            return [np.zeros(0, int)] * len(body.blocks), [0] * len(body.blocks)
        metric, sign = self.options['den_drift_metric'], {'l2': 1., 'cosine': -1.}[self.options['den_drift_metric']]
        found = []
        for layer, block, old in zip(self.layers, body.blocks, previous[0]):
            limit = sign * self.options['den_drift_threshold'][0 if layer.kernel else 1]
            distance = den_blocks.drift(prefix(block, *old.shape[1:]), old, metric)
            found.append(den_blocks.most_drifted(distance, limit, self.options['den_split_cap']))
        return tuple(map(list, zip(*found)))

    # -- results --

    def extra(self, order):
        """Per task in the order learned (then stage, then layer); NaN where there is no such number."""
        learned, layers = self.state['learned'], len(self.layers) - 1

        def rows(name, missing, count=layers):
            return np.array([record.get(name, [missing] * count) for record in learned])
        density = [[record['density'].get(str(stage), [np.nan] * (layers + 1)) for stage in range(4)] for record in learned]
        return OrderedDict([
            ('den_widths', np.array(self.state['widths'])), ('den_expanded', rows('expanded', 0)),
            ('den_split_candidates', rows('candidates', 0)), ('den_split', rows('split', 0)),
            ('den_stage_epochs', rows('epochs', 0, 4)),
            ('den_loss_before_expansion', np.array([record.get('loss', np.nan) for record in learned])),
            ('den_selected_fraction', rows('selected', np.nan)), ('den_edge_density', np.array(density)),
            ('den_fresh_density', rows('fresh', np.nan, layers + 1)),
            ('den_nonzeros', np.array([self.state['nonzeros']]))])
