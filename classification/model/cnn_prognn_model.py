"""Progressive neural networks: a column per task, which reads the frozen columns of all earlier tasks.

Rusu et al., "Progressive Neural Networks", 2016, equation 2 and section 2 (adapters), for convolutions; sizes
and initial values as in the code published beside LASEM.
"""
import numpy as np

from classification.model.declare import HEAD, method
from classification.model.mechanisms import Own
from classification.model.method import Method
from utils import utils_nn as nn
from utils.declarations import Field, Option, number, own_names, yes_or_no
from utils.lazy_tensorflow import tf
from utils.utils_env_cl import PROGNN_SCALE
from utils.utils_nn import bias_value, truncated_normal

FILES = (Field('conv_trainable_weights', own_names('conv', 'own')),
         Field('conv_lateral_weights', own_names('conv', 'lateral{earlier}',
                                                 'alpha reduce reduce_bias expand')), HEAD)


@method('ProgNN', 'progressive network: a column per task, which reads the earlier ones', aliases=('Prog',),
        pattern='none', paper='Rusu et al. 2016', files=lambda of_mechanism: FILES,
        options=(Option('dim_reduction_scale',
                        lambda at: at.row(PROGNN_SCALE, 'scale of the dimension reduction'), number(0),
                        'ProgNN: scale of the dimension reduction (default: by --test_type)', stored=True),
                 Option('prognn_lateral_head', False, yes_or_no(),
                        'ProgNN: the layers of the head have lateral inputs too, as in its paper (default: '
                        'none, as in the authors\' release)', 'prognn_lateral_head', later=True)))
class ProgNN(Method):
    """Layer l > 0 of column t: relu(X * W + b + sum_c relu((alpha_c H_c) * V_c + v_c) * U_c), c the earlier
    columns.

    H_c is what layer l - 1 of column c gives, pooled; V_c reduces it to max(1, int(channels / (scale (t +
    1)))) channels with a 1x1 kernel. The image has no lateral input, and the head has none unless the option
    prognn_lateral_head is
    there: then each of its layers reads what the layer before it gives in the earlier columns, reduced in the
    same way (maps are flattened afterwards), without dropout. A task's own parameters are all it trains. When
    a task returns although later columns read its own, only what they do not read is trained: the last
    convolution with its lateral inputs, and the head; with lateral inputs of the head, its output layer only;
    so nothing is ever forgotten.

    Options: dim_reduction_scale, prognn_lateral_head.
    """

    def __init__(self, setting):
        super(ProgNN, self).__init__(setting)
        self.state['columns'] = []          # tasks in the order of their columns
        # images' name -> the columns' maps, in the graph of these parameters
        self._maps = self._maps_of = None
        self._heads = {}                    # (images' name, column) -> what each layer of its head gives

    def remember(self, task, pattern=None):
        """Gives a task its column."""
        if task not in self.state['columns']:
            self.state['columns'].append(task)

    def outputs_may_change(self, task, phase=0):
        return False

    @property
    def lateral_head(self):
        """Whether the layers of the head have lateral inputs too."""
        return bool(self.setting.options.get('prognn_lateral_head'))

    def reduced_channels(self, column, layer):
        """Channels of the lateral inputs of a layer in the column-th column, counted from 0."""
        return self._reduced(column, self.net.layers[layer].in_channels)

    def _reduced(self, column, channels):
        return max(1, int(channels / (self.setting.options['dim_reduction_scale'] * (column + 1))))

    def build(self, parameters, task, batch, phase=0):
        self.remember(task)
        maps = self._column_maps(parameters, batch.images, task)
        features = nn.dropout(tf.reshape(maps[-1], [-1, self.net.num_features]), self.setting.keep,
                              batch.seed)
        if self.lateral_head:
            column = self.state['columns'].index(task)
            logits = self._head(parameters, batch.images.name, column, features)[-1]
        else:
            logits = self.head(parameters, task, features)
        self.loss = tf.reduce_mean(nn.cross_entropy(logits, batch.labels))
        trained = parameters.trained
        if task != self.state['columns'][-1]:
            read = ['conv%d/' % layer for layer in range(len(self.net.layers) - 1)]
            if self.lateral_head:
                read = ['conv'] + ['fc%d/' % layer for layer in range(len(self.net.hidden))]
            trained = [variable for variable in trained if not variable.op.name.startswith(tuple(read))]
        self.update = nn.minimize(self.loss, trained, batch.learning_rate)

    def classify(self, parameters, task, maps):
        if not self.lateral_head:
            return super(ProgNN, self).classify(parameters, task, maps)
        column = self.state['columns'].index(task)
        seen, = [name for name, columns in self._maps.items()
                 if len(columns) > column and columns[column][-1] is maps]
        return self._head_outputs(parameters, seen, column)[-1]

    def layer_outputs(self, parameters, task, images):
        return self._column_maps(parameters, images, task)

    def frozen_maps(self, parameters, task, images):
        """What the earlier columns give to this one, but for their first layers: the largest maps, and the
        cheapest. The last column comes first, since it has the most lateral inputs of its own."""
        self._column_maps(parameters, images, task)
        earlier = list(enumerate(self._maps[images.name][:self.state['columns'].index(task)]))[::-1]
        if not self.lateral_head:
            return [tensor for _, maps in earlier for tensor in maps[1:-1]]
        return [tensor for column, maps in earlier
                for tensor in maps[1:] + self._head_outputs(parameters, images.name, column)[:-1]]

    def most_kept(self, images):
        maps = self.net.map_sizes
        of_column = sum(maps[1:]) + sum(self.net.hidden) if self.lateral_head else sum(maps[1:-1])
        return of_column * (len(images) - 1) * max(images)

    def _column_maps(self, parameters, images, task):
        """What each layer of a task's column gives; a column is built once per graph and images."""
        if self._maps_of is not parameters:
            self._maps, self._maps_of, self._heads = {}, parameters, {}
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
                lateral, expand = self._lateral(parameters, column, layer,
                                                [maps[layer - 1] for maps in earlier])
                read, kernel = tf.concat([read, lateral], axis=3), tf.concat([kernel, expand], axis=2)
            x = nn.convolution(read, kernel, bias, self.net.padding)
            for start, end in self.net.skips:
                if end == layer:
                    x += nn.skipped(self.net, inputs[start], start, end)
            inputs.append(nn.max_pool(tf.nn.relu(x), spec.pool, self.net.padding))
        return inputs[1:]

    def _lateral(self, parameters, column, layer, maps):
        """What a layer reads of the earlier columns' maps, [n, height, width, channels], and the kernel U
        that it is read with:
        all columns side by side, since sum_c x_c * U_c is one convolution of the x_c one behind the other."""
        spec, reduced = self.net.layers[layer], self.reduced_channels(column, layer)
        narrow, biases, expand = [], [], []
        for place, given in enumerate(maps):
            variable = self._lateral_variable(parameters, 'conv%d' % layer, column, place)
            narrowed, bias = self._narrowed(variable, given, reduced)
            narrow.append(narrowed)
            biases.append(bias)
            expand.append(variable('expand', (spec.kernel, spec.kernel, reduced, spec.out_channels)))
        lateral = tf.nn.relu(tf.nn.bias_add(tf.concat(narrow, axis=3), tf.concat(biases, axis=0)))
        return lateral, tf.concat(expand, axis=2)

    def _lateral_variable(self, parameters, layer, column, place):
        """Function (part, shape, initial) -> variable of the lateral input that a column has of the place-th
        one."""
        task, mechanism = self.state['columns'][column], 'lateral%d' % self.state['columns'][place]
        return lambda part, shape, initial=truncated_normal: parameters.own(
            layer, task, mechanism, part, shape, initial)

    def _narrowed(self, variable, given, reduced):
        """(maps [n, height, width, reduced] made of an earlier column's, the bias that belongs to them)."""
        # (alpha H) * V is H * (alpha V), which is the smaller product
        reduce = variable('alpha', (1,)) * variable('reduce', (1, 1, given.shape[-1], reduced))
        narrow = tf.nn.conv2d(given, reduce, strides=[1, 1, 1, 1], padding=self.net.padding)
        return narrow, variable('reduce_bias', (reduced,), bias_value)

    # ---- heads with lateral inputs ----

    def _head_outputs(self, parameters, seen, column):
        """What each layer of a column's head gives, the logits last, of the images of this name; no
        dropout."""
        if (seen, column) not in self._heads:
            features = tf.reshape(self._maps[seen][column][-1], [-1, self.net.num_features])
            self._heads[seen, column] = self._head(parameters, seen, column, features)
        return self._heads[seen, column]

    def _head(self, parameters, seen, column, features):
        """The same, made from these features of the column's own."""
        task, outputs = self.state['columns'][column], []

        def added(layer, size):
            return tf.add_n([self._head_lateral(parameters, seen, column, layer, place, size)
                             for place in range(column)])

        nn.head(features, self.net, self.setting.class_counts[task],
                lambda layer, part, shape, initial: parameters.own(layer, task, 'own', part, shape, initial),
                added if column else None, outputs)
        return outputs

    def _head_lateral(self, parameters, seen, column, layer, place, size):
        """[n, size]: what a layer of a column's head gets of the place-th column."""
        given = self._maps[seen][place][-1] if layer == 0 else (
            # a map of one position
            self._head_outputs(parameters, seen, place)[layer - 1][:, None, None, :])
        variable, reduced = (self._lateral_variable(parameters, 'fc%d' % layer, column, place),
                             self._reduced(column, given.shape.as_list()[-1]))
        narrow = tf.nn.relu(tf.nn.bias_add(*self._narrowed(variable, given, reduced)))
        flat = int(np.prod(narrow.shape.as_list()[1:]))
        return tf.matmul(tf.reshape(narrow, [-1, flat]), variable('expand', (flat, size)))
