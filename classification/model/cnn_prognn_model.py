"""Progressive neural networks: a column per task, which reads the frozen columns of all earlier tasks.

Rusu et al., "Progressive Neural Networks", 2016, equation 2 and section 2 (adapters), for convolutions; sizes and
initial values as in the code published beside LASEM.
"""
import tensorflow.compat.v1 as tf

from classification.model.mechanisms import Own
from classification.model.method import Method
from utils import utils_nn as nn
from utils.utils_nn import bias_value, truncated_normal


class ProgNN(Method):
    """Layer l > 0 of column t: relu(X * W + b + sum_c relu((alpha_c H_c) * V_c + v_c) * U_c), c the earlier columns.

    H_c is what layer l - 1 of column c gives, pooled; V_c reduces it to max(1, int(channels / (scale (t + 1)))) channels
    with a 1x1 kernel. The image and the head have no lateral input. A task's own parameters are all it trains. When a
    task returns although later columns read its own, only what they do not read is trained: the last convolution with
    its lateral inputs, and the head; so nothing is ever forgotten.

    Options: dim_reduction_scale.
    """

    def __init__(self, setting):
        super(ProgNN, self).__init__(setting)
        self.state['columns'] = []          # tasks in the order of their columns
        self._maps = self._maps_of = None   # images' name -> the columns' maps, in the graph of these parameters

    def remember(self, task, pattern=None):
        """Gives a task its column."""
        if task not in self.state['columns']:
            self.state['columns'].append(task)

    def may_change(self, task, phase=0):
        return False

    def reduced_channels(self, column, layer):
        """Channels of the lateral inputs of a layer in the column-th column, counted from 0."""
        return max(1, int(self.net.layers[layer].in_channels / (self.setting.options['dim_reduction_scale'] * (column + 1))))

    def build(self, parameters, task, batch, phase=0):
        self.remember(task)
        maps = self._column_maps(parameters, batch.images, task)
        features = nn.dropout(tf.reshape(maps[-1], [-1, self.net.num_features]), self.setting.keep, batch.seed)
        self.loss = tf.reduce_mean(nn.cross_entropy(self.head(parameters, task, features), batch.labels))
        trained = parameters.trained
        if task != self.state['columns'][-1]:
            read = tuple('conv%d/' % layer for layer in range(len(self.net.layers) - 1))
            trained = [variable for variable in trained if not variable.op.name.startswith(read)]
        self.update = nn.minimize(self.loss, trained, batch.learning_rate)

    def layer_outputs(self, parameters, task, images):
        return self._column_maps(parameters, images, task)

    def constant_maps(self, parameters, task, images):
        """What the earlier columns give to this one, but for their first layers: the largest maps, and the cheapest. The last
        column comes first, since it has the most lateral inputs of its own."""
        self._column_maps(parameters, images, task)
        earlier = self._maps[images.name][:self.state['columns'].index(task)]
        return [tensor for maps in reversed(earlier) for tensor in maps[1:-1]]

    def _column_maps(self, parameters, images, task):
        """What each layer of a task's column gives; a column is built once per graph and images."""
        if self._maps_of is not parameters:
            self._maps, self._maps_of = {}, parameters
        maps = self._maps.setdefault(images.name, [])
        for column in range(len(maps), self.state['columns'].index(task) + 1):
            maps.append(self._column(parameters, column, images, list(maps)))
        return maps[self.state['columns'].index(task)]

    def _column(self, parameters, column, images, earlier):
        task, inputs = self.state['columns'][column], [images]
        for layer, spec in enumerate(self.net.layers):
            kernel, bias = Own(spec, 'conv%d' % layer, parameters).weights(task)
            read = inputs[-1]
            if layer > 0 and earlier:
                lateral, expand = self._lateral(parameters, column, layer, [maps[layer - 1] for maps in earlier])
                read, kernel = tf.concat([read, lateral], axis=3), tf.concat([kernel, expand], axis=2)
            x = nn.convolution(read, kernel, bias, self.net.padding)
            for start, end in self.net.skips:
                if end == layer:
                    x += nn.skipped(self.net, inputs[start], start, end)
            inputs.append(nn.max_pool(tf.nn.relu(x), spec.pool, self.net.padding))
        return inputs[1:]

    def _lateral(self, parameters, column, layer, maps):
        """What a layer reads of the earlier columns' maps, [n, height, width, channels], and the kernel U that it is read with:
        all columns side by side, since sum_c x_c * U_c is one convolution of the x_c one behind the other."""
        task, spec, reduced = self.state['columns'][column], self.net.layers[layer], self.reduced_channels(column, layer)
        narrow, biases, expand = [], [], []
        for place, given in enumerate(maps):
            def variable(part, shape, initial=truncated_normal):
                return parameters.own('conv%d' % layer, task, 'lateral%d' % self.state['columns'][place], part, shape, initial)
            # (alpha H) * V is H * (alpha V), which is the smaller product
            reduce = variable('alpha', (1,)) * variable('reduce', (1, 1, spec.in_channels, reduced))
            narrow.append(tf.nn.conv2d(given, reduce, strides=[1, 1, 1, 1], padding=self.net.padding))
            biases.append(variable('reduce_bias', (reduced,), bias_value))
            expand.append(variable('expand', (spec.kernel, spec.kernel, reduced, spec.out_channels)))
        lateral = tf.nn.relu(tf.nn.bias_add(tf.concat(narrow, axis=3), tf.concat(biases, axis=0)))
        return lateral, tf.concat(expand, axis=2)
