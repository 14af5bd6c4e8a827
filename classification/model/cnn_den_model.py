"""DEN: a network that retrains what a new task needs, grows where that is not enough, and splits units that
drift.

Yoon, Yang, Lee & Hwang, "Lifelong Learning with Dynamically Expandable Networks", ICLR 2018, for convolutions
and several classes. All hidden layers are shared; old tasks are evaluated on the units they were learned
with.
"""
from collections import OrderedDict

import numpy as np

from classification.model import den_graph, den_report
from classification.model.declare import method
from classification.model.den_blocks import Body, prefix, to_block
from classification.model.den_stages import EXPANSION, STAGES, Retraining
from classification.model.den_variables import Variables
from classification.model.method import Method
from classification.model.published_trainer import best_epoch_fields
from utils import utils_env_cl as env
from utils.declarations import (
    Field,
    Option,
    number,
    numbers,
    one_of,
    or_none,
    own_names,
    shared_names,
    whole,
    yes_or_no,
)
from utils.lazy_tensorflow import tf
from utils.utils import tasks_in


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
    _option('den_stage_fractions', numbers(4, 0),
            'share of a task\'s epochs: head, sub-network, expansion, split'),
    _option('den_drift_metric', one_of('l2', 'cosine'),
            'length of a unit\'s change, or cosine of its weights'),
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
    Option('den_drift_threshold', lambda at: env.DEN_DRIFT_THRESHOLD[at.options['den_drift_metric']],
           numbers(2),
           'DEN: change above which (cosine: below which) a unit is split; convolutions, fully connected '
           'layers', stored=True),
    Option('den_split_cap', lambda at: at.options['den_expansion'], or_none(whole(0)),
           'DEN: most units split per layer and task; none: no limit', stored=True))
FILES = (Field('conv_trainable_weights', shared_names('conv', 'den')),
         Field('fc_weights', tuple(zip(own_names('fc', 'den'), shared_names('fc', 'den')))))


def _network(data_type, family, depth, network):
    """DEN's hidden layers are shared; the authors' release gives it other ones."""
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
            ('den_selected_fraction', (tasks, hidden), float),
            ('den_edge_density', (tasks, 4, hidden + 1), float),
            ('den_fresh_density', (tasks, hidden + 1), float), ('den_nonzeros', (1,), int)]


def _lines(record, tasks):
    """After the table, per layer."""
    return ['trial %d, %s' % (record.trial, line) for line in den_report.lines(record.extra, tasks)]


@method('DEN', 'dynamically expandable network: it retrains, adds and splits units, all hidden layers shared',
        mechanism='hps',
        paper='Yoon et al., ICLR 2018', version=2, pattern='all', revisits=False, skips=False,
        stops_early=False,
        dropout='den_dropout', size_note=' before units are added', options=OPTIONS, network=_network,
        notes=_notes,
        files=lambda of_mechanism: FILES, fields=_fields, lines=_lines, trainer_fields=best_epoch_fields,
        published_leep=False)
class DEN(Method):
    """Stages of a task after the first: a sparse head is fitted; the units that it can reach over non-zero
    edges are retrained; if the loss stays high, units are added to every hidden layer and those that stay
    unused deleted; units that drifted are split, and the whole network is retrained.

    Options: the table DEN of utils_env_cl, den_drift_threshold, den_split_cap.

    `state`: width, units of each hidden layer now; tasks, in the order they were learned; widths, those after
    each task; birth, per layer and unit the ordinal of the task that added it; now and learned, what is
    measured of the running and of the learned tasks. `arrays`: previous/*, the hidden weights before the
    task; selected/*, which units are retrained.
    """

    def __init__(self, setting):
        super(DEN, self).__init__(setting)
        self.options, self.variables = setting.options, Variables(self.net, setting.class_counts)
        width = [spec.out_channels for spec in self.net.layers] + list(self.net.hidden)
        self.state.update(width=width, tasks=[], widths=[], birth=[[] for _ in width], now={}, learned=[],
                          nonzeros=0)
        self.stage = None                     # the Stage that the open graph trains
        self.epochs, self.planned = 1, []     # of the running task, and of its phases

    # -- the loop's questions --

    def phases(self, task, epochs):
        self.epochs, self.planned = epochs, [epochs]
        if self.state['widths']:
            self.planned = stage_epochs(self.options['den_stage_fractions'], epochs)
            self.planned[EXPANSION] *= self.state['now'].get('expand', True)
        return self.planned

    def outputs_may_change(self, task, phase=0):
        return STAGES[phase].changes_learned_tasks

    def frozen_layers(self, task, phase=0):
        return 0

    def most_kept(self, images):
        return 0

    def start_task(self, task, store, draw):
        hidden = tuple(layer.name + '/shared/' for layer in self.variables.layers[:-1])
        self.arrays = {'previous/' + name: np.array(value) for name, value in store.items()
                       if name.startswith(hidden)}
        self.state['now'] = {'density': {}, 'epochs': [0] * 4}
        return store

    def build(self, parameters, task, batch, phase=0):
        self.stage = (STAGES[phase] if self.state['widths'] else Retraining)(self, task)
        weights = self.variables.weights(parameters, task, self.state['width'], self.state['width'][-1])
        self.loss, self.update = self.stage.build(parameters, weights, batch)

    def end_epoch(self, graph, task, last):
        if last:
            self.stage.clean_up(graph)
        return {}

    def end_phase(self, task, phase, before, values, graph):
        self.state['now']['epochs'][self.stage.number] = self.planned[phase]
        return self.stage.end(values, graph)

    def end_task(self, task, before, values, graph):
        self.remember(task)
        self.state['learned'].append(self.state['now'])
        self.stage, self.state['now'], self.arrays = None, {}, {}
        self.state['nonzeros'] = int(sum(np.count_nonzero(value) for value in values.values()))
        tasks = self.state['tasks']
        self.log(den_report.line(self.extra(tasks), tasks_in(tasks).index(task), task))
        return values

    def remember(self, task, pattern=None):
        """Stamps the units that there are now with the task (section 3.3, time-stamped inference)."""
        self.state['tasks'].append(task)
        self.state['widths'].append(list(self.state['width']))
        for units, width in zip(self.state['birth'], self.state['width']):
            units.extend([len(self.state['tasks'])] * (width - len(units)))

    def previous(self, layer):
        """(block, bias) of a hidden layer before the task."""
        kernel, bias = [self.arrays['previous/' + self.variables.name(layer, part)]
                        for part in ('kernel', 'bias')]
        return to_block(kernel, self.variables.layers[layer].positions), bias

    # -- evaluation --

    def classify(self, parameters, task, maps):
        body, bias = self._body_of(parameters, task)
        return den_graph.classify(self.net, body, bias, maps)

    def layer_outputs(self, parameters, task, images):
        return den_graph.layer_maps(self.net, self.variables.layers, self._body_of(parameters, task)[0],
                                    images)

    def _body_of(self, parameters, task):
        """(Body, head bias) of the running task as it is now, or of a learned one:
        the units that it was learned with."""
        variables = self.variables
        if self.stage is not None and task == self.stage.task:
            return variables.body(parameters.variables, task, tf.reshape, tf.concat)
        hidden = self.state['widths'][self.state['tasks'].index(task)]
        weights = variables.weights(parameters, task, self.state['width'], hidden[-1])
        blocks = [prefix(to_block(kernel, layer.positions, tf.reshape), *sizes) for (kernel, _), layer,
                  sizes in
                  zip(weights, variables.layers, zip(variables.inputs(hidden),
                                                     variables.outputs(task, hidden)))]
        biases = [bias[:width] for (_, bias), width in zip(weights, hidden)]
        return Body(blocks[:-1], biases, blocks[-1]), weights[-1][1]

    # -- results --

    def extra(self, order):
        """Per task (then stage, then layer); NaN where there is no such number."""
        rows_of = [self.state['tasks'].index(task) for task in tasks_in(order)]
        learned, layers = [self.state['learned'][row] for row in rows_of], self.variables.head

        def rows(name, missing, count=layers):
            return np.array([record.get(name, [missing] * count) for record in learned])
        density = [[record['density'].get(str(stage), [np.nan] * (layers + 1)) for stage in range(4)]
                   for record in learned]
        return OrderedDict([
            ('den_widths', np.array([self.state['widths'][row] for row in rows_of])),
            ('den_expanded', rows('expanded', 0)),
            ('den_split_candidates', rows('candidates', 0)), ('den_split', rows('split', 0)),
            ('den_stage_epochs', rows('epochs', 0, 4)),
            ('den_loss_before_expansion', np.array([record.get('loss', np.nan) for record in learned])),
            ('den_selected_fraction', rows('selected', np.nan)), ('den_edge_density', np.array(density)),
            ('den_fresh_density', rows('fresh', np.nan, layers + 1)),
            ('den_nonzeros', np.array([self.state['nonzeros']]))])
