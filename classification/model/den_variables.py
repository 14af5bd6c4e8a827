"""DEN's variables: their names, their shapes, and the network that they make up."""
import numpy as np

from classification.model import den_blocks
from classification.model.den_blocks import Body, to_block
from utils.utils_nn import bias_value, truncated_normal

NEW = ('new_columns', 'new_rows', 'new_bias')           # parts of a layer while new units are trained


class Variables(object):
    """The head belongs to a task; the hidden layers are shared, and may be of any width.

    Args:
        net: utils_env_cl.Net.
        class_counts: task -> number of classes.
    """

    def __init__(self, net, class_counts):
        self.layers, self.channels, self.class_counts = den_blocks.layers_of(net), net.image_shape[
            2], class_counts
        self.head = len(self.layers) - 1        # its place

    def name(self, layer, part, task=None):
        """Of a layer's variable; a hidden layer belongs to no task."""
        owner = 'task%d' % task if layer == self.head else 'shared'
        return '%s/%s/den/%s' % (self.layers[layer].name, owner, part)

    def make(self, parameters, layer, part, task, shape, initial):
        """A layer's variable."""
        name = self.layers[layer].name
        if layer == self.head:
            return parameters.own(name, task, 'den', part, shape, initial)
        return parameters.shared(name, 'den', part, shape, initial)

    def outputs(self, task, hidden):
        """Units of each layer, the head's among them."""
        return list(hidden) + [self.class_counts[task]]

    def inputs(self, hidden):
        """Units that each layer reads."""
        return [self.channels] + list(hidden)

    def weights(self, parameters, task, width, head_width):
        """(weights, bias) variables of each layer, as wide as `width`;
        the head of a task reads `head_width` units."""
        weights = []
        for layer, sizes in enumerate(zip(self.inputs(width[:-1] + [head_width]), self.outputs(task, width))):
            weights.append((
                self.make(parameters, layer, 'kernel', task, self.layers[layer].shape(*sizes),
                          truncated_normal),
                self.make(parameters, layer, 'bias', task, sizes[1:], bias_value)))
        return weights

    def body(self, values, task, reshape=np.reshape, concatenate=np.concatenate):
        """(Body, head bias) of a task's network, with the units that are being added.

        Args:
            values: dict name -> array, or variable with tf.reshape and tf.concat.
        """
        blocks, biases = [], []
        for place, layer in enumerate(self.layers):
            kernel, bias, columns, rows, new_bias = [
                values.get(self.name(place, part, task)) for part in ('kernel', 'bias') + NEW]
            block = to_block(kernel, layer.positions, reshape)
            if columns is not None:
                block, bias = den_blocks.grow(block, columns, rows,
                                              concatenate), concatenate([bias, new_bias], 0)
            elif rows is not None:
                block = concatenate([block, rows], 1)
            blocks.append(block)
            biases.append(bias)
        return Body(blocks[:-1], biases[:-1], blocks[-1]), biases[-1]

    def blocks(self, values, task):
        """The blocks of a task's network, the head's among them."""
        body, _ = self.body(values, task)
        return body.blocks + [body.head]
