"""A learned network without its training: what its layers give for images, which kernels its factors make."""
import numpy as np

from utils.lazy_tensorflow import tf
from utils.utils_nn import Parameters, assign


def _nothing_to_draw(name):
    raise AssertionError('%s is not in the parameter store' % name)


class LearnedNetwork(object):
    """A graph and session in which a method's networks compute with the values of a parameter store.

    Args:
        method: a Method that has learned the tasks.
        store: its parameter store, dict name -> array.
        build: function of utils_nn.Parameters that builds what is wanted and returns it.
        config: tf.ConfigProto.
    """

    def __init__(self, method, store, build, config):
        with tf.Graph().as_default() as graph:
            parameters = Parameters(store, (), _nothing_to_draw)
            self.wanted = build(parameters)
            initialise = tf.global_variables_initializer()
        graph.finalize()
        self.session = tf.Session(graph=graph, config=config)
        self.session.run(initialise)
        assign(self.session, parameters.start_values())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.session.close()


def layer_values(method, store, task, images, batch, config):
    """Yields what each convolution layer of a learned task's network gives for images: float32 [n, h, w,
    channels].

    Args:
        images: float32 [n, height, width, channels], as the network sees them.
        batch: images per session call.
    """
    def build(parameters):
        fed = tf.placeholder(tf.float32, (None,) + images.shape[1:])
        return fed, method.layer_outputs(parameters, task, fed)
    with LearnedNetwork(method, store, build, config) as network:
        fed, layers = network.wanted
        for layer in layers:
            yield np.concatenate([network.session.run(layer, {fed: images[start:start + batch]})
                                  for start in range(0, len(images), batch)])


def made_kernels(method, store, tasks, config):
    """dict (task, layer) -> kernel [height, width, in, out] of the layers that learned tasks share, as they
    use them."""
    def build(parameters):
        return {(task, layer): tf.identity(method.layer_weights(parameters, layer, task, True)[0])
                for task in tasks for layer, letter in enumerate(method.pattern_of(task)) if letter == 'S'}
    with LearnedNetwork(method, store, build, config) as network:
        return network.session.run(network.wanted) if network.wanted else {}
