"""Counts parameters without training."""
import numpy as np

from classification.model.method import Setting
from classification.model.registry import MODELS, make_method
from utils.lazy_tensorflow import tf
from utils.utils_nn import Parameters


class _Sizes(Parameters):
    """Parameters without values: a large network is counted without being drawn."""

    def _get(self, name, shape, initial, trainable):
        if name not in self.variables:
            self.variables[name] = tf.placeholder(self.dtype, shape)
        return self.variables[name]

    def kept(self, layer, task, mechanism, part, shape, initial):
        """Not a parameter, so not counted."""
        return tf.placeholder(self.dtype, shape)


def count_of(model_type, net, class_counts, options, pattern):
    """Parameters kept after the last task if every task shares the layers of `pattern`;
    shared ones count once."""
    method = make_method(model_type, Setting(net, class_counts, MODELS[model_type].mechanism,
                                             dict(options, pattern=pattern)))
    with tf.Graph().as_default():
        parameters = _Sizes({}, (), None)
        images = tf.placeholder(tf.float32, (None,) + net.image_shape)
        for task in class_counts:
            method.remember(task, pattern)
            method.logits(parameters, task, images)
    return sum(int(np.prod(variable.shape.as_list())) for variable in parameters.variables.values())


def count(experiment, pattern):
    """`count_of` an experiment."""
    return count_of(experiment.model_type, experiment.net, experiment.class_counts, experiment.options,
                    pattern)
