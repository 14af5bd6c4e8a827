"""Construction of networks: initial values, variables, convolution blocks, heads, loss."""
import copy
from collections import OrderedDict

import numpy as np

from utils.lazy_tensorflow import tf

# ---- Initial values: NumPy draws, equal on every runtime. Each takes (shape, RandomState). ----

DEVIATION = 0.05      # of freshly drawn weights


def truncated_normal(shape, state, deviation=DEVIATION):
    """Normal(0, deviation), redrawn beyond two standard deviations."""
    values = state.standard_normal(shape)
    outside = np.abs(values) > 2
    while outside.any():
        values[outside] = state.standard_normal(int(outside.sum()))
        outside = np.abs(values) > 2
    return deviation * values


def bias_value(shape, state):
    """The constant 0.2 of biases."""
    return np.full(shape, 0.2)


def zeros(shape, state):
    """Zeros."""
    return np.zeros(shape)


def glorot_uniform(shape, state):
    """Uniform(-a, a), a = sqrt(6 / (fan_in + fan_out)); a leading dimension is a receptive field (Glorot &
    Bengio 2010).

    A vector has fan_in = fan_out = its length, as in TensorFlow.
    """
    field = int(np.prod(shape[:-2]))
    fan_in, fan_out = (shape[0], shape[0]) if len(shape) == 1 else (field * shape[-2], field * shape[-1])
    limit = np.sqrt(6. / (fan_in + fan_out))
    return state.uniform(-limit, limit, shape)


# ---- Variables ----

class Parameters(object):
    """The variables of one graph, made from the parameter store.

    A name says who owns a variable and which mechanism made it: `conv2/shared/hps/kernel`,
    `conv2/task3/own/kernel`. A name that the store holds starts with the stored value; any other is drawn, as
    a function of its name.

    Args:
        store: dict name -> array, as earlier tasks left it.
        training: collection of the tasks whose own variables are trained in this graph.
        draw: function name -> RandomState.
        dtype: of all variables; default: tf.float32.
    """

    def __init__(self, store, training, draw, dtype=None):
        self.store, self.training, self.draw = store, frozenset(training), draw
        self.dtype = dtype or tf.float32
        self.variables = OrderedDict()
        self.start = OrderedDict()        # name -> array the variable starts with
        self._trained = []                # names

    def shared(self, layer, mechanism, part, shape, initial, trainable=True):
        """The variable that all tasks share."""
        return self._get('%s/shared/%s/%s' % (layer, mechanism, part), shape, initial, trainable)

    def own(self, layer, task, mechanism, part, shape, initial, trainable=None):
        """The variable of one task; constant while other tasks are trained, unless `trainable` says
        otherwise."""
        return self._get('%s/task%d/%s/%s' % (layer, task, mechanism, part), shape, initial,
                         task in self.training if trainable is None else trainable)

    def kept(self, layer, task, mechanism, part, shape, initial):
        """A value of one task that no gradient changes: a moving average, a mask."""
        return self._get('%s/task%d/%s/%s' % (layer, task, mechanism, part), shape, initial, trainable=False)

    def _get(self, name, shape, initial, trainable):
        if name not in self.variables:
            shape = tuple(int(size) for size in shape)
            value = self.store[name] if name in self.store else initial(shape, self.draw(name))
            assert np.shape(value) == shape, (name, np.shape(value), shape)
            self.start[name] = np.asarray(value, self.dtype.as_numpy_dtype)
            self.variables[name] = tf.Variable(tf.zeros(shape, self.dtype), trainable=trainable, name=name)
            self._trained += [name] * bool(trainable)
        return self.variables[name]

    @property
    def trained(self):
        """Variables that an update changes."""
        return [self.variables[name] for name in self._trained]

    def at(self, tensors):
        """The same parameters where tensors (dict name -> tensor) stand for some variables, all of which
        exist already."""
        other = copy.copy(self)
        other.variables = OrderedDict((name, tensors.get(name, variable)) for name,
                                      variable in self.variables.items())
        return other

    def start_values(self):
        """dict variable -> array, for `assign`."""
        return OrderedDict((self.variables[name], value) for name, value in self.start.items())


class FedParameters(Parameters):
    """Placeholders in the place of variables: for a network whose values are known elsewhere, so that
    `store` and `start` are empty."""

    def __init__(self):
        super(FedParameters, self).__init__({}, (), None)

    def _get(self, name, shape, initial, trainable):
        if name not in self.variables:
            self.variables[name] = tf.placeholder(self.dtype, shape, name)
        return self.variables[name]


def assign(session, values, initial=()):
    """Sets variables (dict variable -> array) without adding an op to the graph: their initialisers, fed.
    Those of `initial` that are no key get their initial values."""
    initialisers = [variable.initializer for variable in list(values) + list(initial)]
    if initialisers:
        session.run(list(OrderedDict.fromkeys(initialisers)),
                    {variable.initializer.inputs[1]: value for variable, value in values.items()})


# ---- Layers ----

def convolution(x, kernel, bias, padding):
    """x [n, h, w, in] * kernel [kh, kw, in, out] + bias [out], stride 1."""
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding=padding), bias)


def activation(weights, padding):
    """The ordinary layer as a function x -> relu(x * kernel + bias)."""
    kernel, bias = weights
    return lambda x: tf.nn.relu(convolution(x, kernel, bias, padding))


def max_pool(x, size, padding):
    """Max-pool of square windows, stride = size; size 1 leaves x as it is."""
    return x if size == 1 else tf.nn.max_pool(x, [1, size, size, 1], [1, size, size, 1], padding)


def skipped(net, x, start, end):
    """The input x of layer `start` as it is added to layer `end`: pooled like the layers between."""
    for passed in range(start, end):
        x = max_pool(x, net.layers[passed].pool, net.padding)
    return x


def _copies(x, times):
    return x if times == 1 else tf.tile(x, [times, 1, 1, 1])


def _block(net, layer, activate, seen, copies, gate=None):
    """One block. seen[i] = (input of layer i, how many choices are stacked in it), for i = 0..layer.

    A gate multiplies the pooled map. Where skip connections end it comes before them, and so before the
    pooling.
    """
    x, pool = activate(seen[layer][0]), net.layers[layer].pool
    skips = [start for start, end in net.skips if end == layer]
    if gate is not None:
        factor = gate(seen[layer][0])[:, None, None, :]
        if not skips:
            return max_pool(x, pool, net.padding) * factor
        x = x * factor
    for start in skips:
        added, stacked = seen[start]
        x = x + _copies(skipped(net, added, start, layer), copies // stacked)
    return max_pool(x, pool, net.padding)


def convolutional_part(net, images, branches, gates=None):
    """All convolution blocks, for every combination of choices in one pass.

    The activations of all combinations so far are stacked on the batch axis; a layer with two choices is
    applied once per choice to the whole stack, and the results are concatenated. The stack doubles, common
    prefixes are computed once, and combination c stands in rows c*n..(c+1)*n - 1 with c = sum_g choice_g *
    prod_{h<g} (choices of h): the first group of layers flips fastest.

    Args:
        net: utils_env_cl.Net.
        images: [n, height, width, channels].
        branches: per group of consecutive layers, the choices; each choice is one function (input map ->
            activated map) per layer of the group. A network without choices is one group with one choice.
        gates: for a network without choices, one function (input map of a layer -> factors [n, out channels])
            per layer.
    Returns:
        features [combinations * n, net.num_features].
    """
    stack, copies, seen = images, 1, []
    for choices in branches:
        ends, inputs = [], []
        for layers in choices:
            x, path = stack, list(seen)
            for activate in layers:
                path.append((x, copies))
                x = _block(net, len(path) - 1, activate, path, copies, gates and gates[len(path) - 1])
            ends.append(x)
            inputs.append(path[len(seen):])
        if len(choices) == 1:
            stack, seen = ends[0], seen + inputs[0]
            continue
        stack = tf.concat(ends, axis=0)
        seen = seen + [inputs[0][0]] + [(tf.concat([path[k][0] for path in inputs], axis=0),
                                         copies * len(choices))
                                        for k in range(1, len(choices[0]))]
        copies *= len(choices)
    return tf.reshape(stack, [-1, net.num_features])


def layer_maps(net, images, activations, gates=None):
    """What each convolution block gives, input side first: list of [n, height, width, channels].

    Args:
        activations: one function per layer (input map -> activated map); a network without choices.
        gates: see `convolutional_part`.
    """
    x, seen, maps = images, [], []
    for layer, activate in enumerate(activations):
        seen.append((x, 1))
        x = _block(net, layer, activate, seen, 1, gates and gates[layer])
        maps.append(x)
    return maps


def dropout(x, keep, seed):
    """Inverted dropout whose mask is a function of `seed` (int32 [2])."""
    if keep >= 1:
        return x
    kept = tf.random.stateless_uniform(tf.shape(x), seed=seed) < keep
    return tf.where(kept, x / keep, tf.zeros_like(x))


def head(features, net, num_classes, variable, added=None, outputs=None):
    """Hidden layers with ReLU, then a linear output [n, num_classes].

    Args:
        variable: function (layer name, part, shape, initial) -> variable; who owns the head is its business.
        added: function (layer, its units) -> what it adds before the activation.
        outputs: list that gets what each layer gives.
    """
    x, sizes = features, (net.num_features,) + net.hidden + (num_classes,)
    for layer, (inputs, num_outputs) in enumerate(zip(sizes, sizes[1:])):
        kernel = variable('fc%d' % layer, 'kernel', (inputs, num_outputs), truncated_normal)
        bias = variable('fc%d' % layer, 'bias', (num_outputs,), bias_value)
        x = tf.nn.bias_add(tf.matmul(x, kernel), bias)
        if added is not None:
            x += added(layer, num_outputs)
        if layer < len(net.hidden):
            x = tf.nn.relu(x)
        if outputs is not None:
            outputs.append(x)
    return x


# ---- Loss and update ----

def cross_entropy(logits, labels):
    """Softmax cross-entropy of each example, [n]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def rmsprop(learning_rate, name):
    """s <- 0.9 s + 0.1 g^2, v <- v - rate * g / sqrt(s + 1e-10), s starting at 1; no momentum."""
    return tf.train.RMSPropOptimizer(learning_rate, decay=0.9, momentum=0., epsilon=1e-10, name=name)


def apply(optimizer, loss, variables):
    """One step of an optimizer on those of `variables` that the loss depends on."""
    gradients = tf.gradients(loss, variables)
    return apply_gradients(optimizer, loss, [(g, v) for g, v in zip(gradients, variables) if g is not None])


def apply_gradients(optimizer, loss, pairs):
    """The update of an optimizer from pairs (gradient, variable) of a loss."""
    with tf.control_dependencies([loss]):      # whoever reads the loss gets its value before the update
        return optimizer.apply_gradients(pairs)


def minimize(loss, variables, learning_rate, name='RMSProp'):
    """One RMSProp step on those of `variables` that the loss depends on."""
    return apply(rmsprop(learning_rate, name), loss, variables)
