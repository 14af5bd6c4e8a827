"""ChannelGate: all tasks share all filters, and each task's gates say, image by image, which of them count.

Abati et al., "Conditional Channel Gated Networks for Task-Aware Continual Learning", CVPR 2020, in two modes:
as in the code published with LASEM, and as the paper says (its task classifier and its replay are left out:
here the task is known).
"""
import numpy as np

from classification.model.cnn_baseline_model import FixedPattern
from classification.model.declare import HEAD, method
from classification.model.mechanisms import without
from utils import utils_nn as nn
from utils.declarations import Field, Option, number, one_of, own_names, shared_names, whole
from utils.lazy_tensorflow import tf
from utils.utils_env_cl import CHANNEL_GATE
from utils.utils_nn import assign, bias_value, truncated_normal, zeros

GATE = 'gate'                               # the gates' part of a variable's name
MOVING = ('moving_mean', 'moving_variance')      # of the gates' batch normalisation; kept, not trained
# 1: the kernel counts when the task is evaluated; kept, not trained
RELEVANCE = 'relevance'
KEPT = tuple('/%s/%s' % (GATE, part) for part in MOVING + (RELEVANCE,))
NORM_DECAY, NORM_EPSILON = 0.9, 1e-5        # the defaults of the framework that the paper's authors use


def ones(shape, state):
    """Ones."""
    return np.ones(shape)


class ChannelGate(FixedPattern):
    """As published: a softmax over a layer's channels, from the whole map that the layer sees; nothing is
    protected.

    Options: gating_module_size, hidden units of a gate; gating_temperature of the softmax;
    sparsity_loss_weight.
    """

    def gate(self, parameters, task, layer, x):
        """Factors [n, out channels] in [0, 1] of a layer in evaluation.

        Args:
            x: the layer's input map [n, height, width, in channels].
        """
        flat = tf.reshape(x, [-1, int(np.prod(x.shape.as_list()[1:]))])
        hidden = tf.nn.relu(self.dense(parameters, task, layer, 'hidden_', flat,
                                       self.setting.options['gating_module_size']))
        logits = self.dense(parameters, task, layer, '', hidden, self.net.layers[layer].out_channels)
        return tf.nn.softmax(logits / self.setting.options['gating_temperature'])

    def values_beside_network(self):
        hidden, inputs = self.setting.options['gating_module_size'], [int(np.prod(self.net.image_shape))]
        inputs += self.net.map_sizes
        return sum(hidden * (size + 1 + layer.out_channels) + layer.out_channels
                   for size, layer in zip(inputs, self.net.layers))

    def training_gate(self, parameters, task, layer, x, seed):
        """The same in training.

        Args:
            seed: int32 [2], what everything random is a function of.
        """
        return self.gate(parameters, task, layer, x)

    def sparsity_weight(self):
        """Factor of the mean over layers of the mean factor; of softmax gates that mean is a constant."""
        return self.setting.options['sparsity_loss_weight']

    def step(self, parameters, loss, learning_rate):
        """The op of one training step."""
        return nn.minimize(loss, parameters.trained, learning_rate)

    # ---- what both modes have in common ----

    def dense(self, parameters, task, layer, prefix, x, size, initial_bias=bias_value):
        """One linear layer of a gate: [n, inputs] -> [n, size]."""
        kernel, bias = [parameters.own('conv%d' % layer, task, GATE, prefix + part, shape, initial)
                        for part, shape, initial in (('kernel', (x.shape[1], size), truncated_normal),
                                                     ('bias', (size,), initial_bias))]
        return tf.nn.bias_add(tf.matmul(x, kernel), bias)

    def network(self, parameters, task, images, gate, seed=None):
        """(logits [n, classes], factors of each layer).

        Args:
            gate: function (layer, its input map) -> factors.
            seed: of dropout; None: none.
        """
        factors = []

        def gate_of(layer):
            def found(x):
                factors.append(gate(layer, x))
                return factors[-1]
            return found

        features = nn.convolutional_part(self.net, images,
                                         [[self.activations(parameters, task, self.pattern)]],
                                         [gate_of(layer) for layer in range(len(self.net.layers))])
        if seed is not None:
            features = nn.dropout(features, self.setting.keep, seed)
        return self.head(parameters, task, features), factors

    def build(self, parameters, task, batch, phase=0):
        logits, factors = self.network(
            parameters, task, batch.images,
            lambda layer, x: self.training_gate(parameters, task, layer, x, batch.seed), batch.seed)
        self.sparsity = tf.add_n([tf.reduce_mean(tf.abs(factor)) for factor in factors]) / len(factors)
        self.loss = tf.reduce_mean(nn.cross_entropy(logits,
                                                    batch.labels)) + self.sparsity_weight() * self.sparsity
        self.update = self.step(parameters, self.loss, batch.learning_rate)

    def layer_outputs(self, parameters, task, images):
        gates = [lambda x, layer=layer: self.gate(parameters, task, layer, x)
                 for layer in range(len(self.net.layers))]
        return nn.layer_maps(self.net, images, self.activations(parameters, task, self.pattern), gates)


class ProtectingChannelGate(ChannelGate):
    """As in the paper: binary gates, and the kernels that a task needs are frozen for all later tasks.

    A gate averages its input map over positions, then: linear, batch norm, ReLU, linear. In training noise
    decides with it, and gradients pass as through a sigmoid (sections 3.1 and 3.2). After a task the kernels
    that fire on its validation data are relevant (3.2): only they count when the task is evaluated, so that
    nothing learned later can reach it.

    Options: channel_gate_hidden, _bias, _temperature, _sparsity, _sparsity_start, _relevance; see
    utils_env_cl.CHANNEL_GATE.
    """

    def __init__(self, setting):
        super(ProtectingChannelGate, self).__init__(setting)
        self.epochs = 0            # that the running task is given

    # ---- gates ----

    def open_logit(self, parameters, task, layer, x, training):
        """[n, out channels]: a gate is open where this, and in training the noise, is above 0."""
        size = self.setting.options['channel_gate_hidden']
        name, pooled = 'conv%d' % layer, tf.reduce_mean(x, [1, 2])
        hidden = self.dense(parameters, task, layer, 'hidden_', pooled, size)
        moving = [parameters.kept(name, task, GATE, part, (size,), initial) for part,
                  initial in zip(MOVING, (zeros, ones))]
        statistics = moving
        if training:
            statistics = tf.nn.moments(hidden, [0])
            self.averages += [average.assign(NORM_DECAY * average + (1 - NORM_DECAY) * value)
                              for average, value in zip(moving, statistics)]
        offset, scale = [parameters.own(name, task, GATE, part, (size,), initial)
                         for part, initial in (('offset', zeros), ('scale', ones))]
        hidden = tf.nn.batch_normalization(hidden, statistics[0], statistics[1], offset, scale, NORM_EPSILON)
        return self.dense(parameters, task, layer, '', tf.nn.relu(hidden),
                          self.net.layers[layer].out_channels,
                          lambda shape, state: np.full(shape, self.setting.options['channel_gate_bias']))

    def values_beside_network(self):
        return 0

    def fires(self, parameters, task, layer, x):
        """[n, out channels] of 0 or 1: what the gates say in evaluation, relevant or not."""
        logit = self.open_logit(parameters, task, layer, x, training=False)
        return tf.cast(logit > 0, logit.dtype)

    def gate(self, parameters, task, layer, x):
        return self.fires(parameters, task, layer, x) * self.relevance(parameters, task, layer)

    def relevance(self, parameters, task, layer):
        """[out channels] of 0 or 1; all 1 until the task is learned."""
        return parameters.kept('conv%d' % layer, task, GATE, RELEVANCE,
                               (self.net.layers[layer].out_channels,), ones)

    def training_gate(self, parameters, task, layer, x, seed):
        logit = self.open_logit(parameters, task, layer, x, training=True)
        uniform = tf.random.stateless_uniform(tf.shape(logit), seed=seed + [0, layer + 1], minval=1e-7,
                                              dtype=logit.dtype)
        noisy = logit + tf.log(uniform) - tf.log(1. - uniform)
        passed = tf.sigmoid(noisy / self.setting.options['channel_gate_temperature'])
        # Exactly 0 or 1: where the gate is open `passed` is at least 0.5, and 1 - passed is not rounded.
        return passed + tf.stop_gradient(tf.cast(noisy > 0, logit.dtype) - passed)

    # ---- training ----

    def phases(self, task, epochs):
        self.epochs = epochs
        return super(ProtectingChannelGate, self).phases(task, epochs)

    def build(self, parameters, task, batch, phase=0):
        self.averages = []
        self.begun, self.weight = [tf.Variable(tf.zeros([], parameters.dtype), trainable=False,
                                               name='channel_gate/' + name)
                                   for name in ('epochs_begun', 'sparsity_weight')]
        super(ProtectingChannelGate, self).build(parameters, task, batch, phase)

    def sparsity_weight(self):
        return self.weight

    def start_epoch(self, graph, task):
        begun, options = graph.session.run(self.begun), self.setting.options
        acts = begun >= options['channel_gate_sparsity_start'] * self.epochs
        assign(graph.session, {self.begun: begun + 1, self.weight: options['channel_gate_sparsity'] if acts
                               else 0.})

    def step(self, parameters, loss, learning_rate):
        """An update after which the frozen kernels are what they were, whatever the optimizer did."""
        protected = [(variable, np.broadcast_to(frozen, variable.shape.as_list()))
                     for layer, frozen in enumerate(self.frozen()) if frozen.any()
                     for variable in self.layer_weights(parameters, layer, None, True)]
        before = [variable.read_value() for variable, _ in protected]
        with tf.control_dependencies(before):
            update = super(ProtectingChannelGate, self).step(parameters, loss, learning_rate)
        with tf.control_dependencies([update]):
            put_back = [variable.assign(tf.where(tf.constant(frozen), old, variable.read_value()))
                        for (variable, frozen), old in zip(protected, before)]
        return tf.group(update, *(put_back + self.averages))

    # ---- between tasks ----

    def frozen(self):
        """Per layer bool [out channels]: the kernels that some learned task needs."""
        return [self.arrays.get('frozen%d' % layer, np.zeros(spec.out_channels, bool))
                for layer, spec in enumerate(self.net.layers)]

    def start_task(self, task, store, draw):
        """Kernels that no task needs start anew;
        a known task is evaluated without a mask until it has a new one."""
        store = without(store, *[self.relevance_name(task, layer) for layer in range(len(self.net.layers))])
        for layer, frozen in enumerate(self.frozen()):
            for part, initial in (('kernel', truncated_normal), ('bias', bias_value)):
                name = 'conv%d/shared/hps/%s' % (layer, part)
                if name in store:
                    drawn = initial(store[name].shape, draw(name)).astype(store[name].dtype)
                    store[name] = np.where(frozen, store[name], drawn)
        return store

    def probes(self, parameters, task, images):
        fired = self.network(parameters, task, images, lambda layer,
                             x: self.fires(parameters, task, layer, x))[1]
        return {'fires': tf.concat(fired, axis=1)}

    def network_arrays(self):
        return {}

    def relevance_name(self, task, layer):
        """Name of a task's mask in the store."""
        return 'conv%d/task%d/%s/%s' % (layer, task, GATE, RELEVANCE)

    def relevant(self, task, graph):
        """dict name -> mask: which kernels fire on the task's validation data with the graph's parameters."""
        frequency = graph.probe('fires', graph.task.valid).mean(axis=0)
        masks = np.split((frequency > self.setting.options['channel_gate_relevance']).astype(np.float32),
                         np.cumsum([spec.out_channels for spec in self.net.layers])[:-1])
        return {self.relevance_name(task, layer): mask for layer, mask in enumerate(masks)}

    def end_epoch(self, graph, task, last):
        if last:
            graph.set_values(self.relevant(task, graph))
        return {}

    def end_task(self, task, before, values, graph):
        """Freezes what the task needs; found again, as early stopping may have gone back to other
        parameters."""
        masks, full = self.relevant(task, graph), []
        for layer, frozen in enumerate(self.frozen()):
            self.arrays['frozen%d' % layer] = frozen | (masks[self.relevance_name(task, layer)] > 0)
            if self.arrays['frozen%d' % layer].all() and not frozen.all():
                full.append(str(layer))
        if full:
            self.say(
                'after task %d no kernel is free in layer %s: tasks that are learned later train none there '
                '(wider layers, fewer open gates or a higher channel_gate_relevance leave room)'
                % (task, ', '.join(full)))
        free = [[1. - frozen.mean() for frozen in self.frozen()]]
        self.arrays['free'] = np.concatenate([self.arrays['free'],
                                              free]) if 'free' in self.arrays else np.array(free)
        return dict(values, **masks)

    def outputs_may_change(self, task, phase=0):
        return False

    def num_parameters(self, store):
        return super(ProtectingChannelGate, self).num_parameters(
            {name: value for name, value in store.items() if not name.endswith(KEPT)})

    def state_bytes(self, store):
        return super(ProtectingChannelGate, self).state_bytes(store) + sum(
            value.nbytes for name, value in store.items() if name.endswith(KEPT))

    def extra(self, order):
        """channel_gate_free [positions, layers]: share of kernels that no task needs, after each position."""
        return {'channel_gate_free': self.arrays['free']}


def _option(name, check, help):
    """An option of one of the modes."""
    mode = next(mode for mode in CHANNEL_GATE if name in CHANNEL_GATE[mode])
    return Option(name, CHANNEL_GATE[mode][name], check, 'ChannelGate, %s: %s' % (mode, help), stored=True,
                  when=lambda options: options['channel_gate_mode'] == mode)


FILES = (Field('shared_conv', shared_names('conv', 'hps')),
         Field('gates_weights', own_names('conv', GATE, 'hidden_kernel hidden_bias kernel bias')), HEAD)


@method('ChannelGate', 'shared layers whose channels each task gates by a small network', key='channel_gate',
        pattern='all',
        aliases=('Channel_gate',), architecture='channel_gated_cnn', paper='Abati et al., CVPR 2020',
        files=lambda of_mechanism: FILES, mode_versions=('channel_gate_mode', {'paper': 2}), options=(
            Option('channel_gate_mode', 'published_code', one_of('published_code', 'paper'),
                   'ChannelGate: as in the authors\' release of LASEM, or as its own paper says',
                   'channel_gate_mode'),
            _option('sparsity_loss_weight', number(0), 'factor of the mean of the gates'),
            _option('gating_module_size', whole(1), 'hidden units of a gate'),
            _option('gating_temperature', number(1e-6), 'of the softmax'),
            _option('channel_gate_hidden', whole(1), 'hidden units of a gate'),
            _option('channel_gate_bias', number(), 'that gates start with'),
            _option('channel_gate_temperature', number(1e-6), 'of the sigmoid that gradients see'),
            _option('channel_gate_sparsity', number(0), 'weight of the share of open gates'),
            _option('channel_gate_sparsity_start', number(0, 1),
                    'share of a task\'s epochs before that weight acts'),
            _option('channel_gate_relevance', number(0, 1),
                    'a kernel that fires on a larger share of the images is relevant')))
def channel_gate(setting):
    """The method in the mode that its options say."""
    return {'published_code': ChannelGate, 'paper': ProtectingChannelGate}[setting.options[
        'channel_gate_mode']](setting)
