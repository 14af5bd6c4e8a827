"""What a network's step is measured against: its bare convolutions and matrix products, PyTorch."""
import numpy as np

from classification.trial.resources import CONVOLUTIONS, PRODUCTS, multiply_adds_in, ops_behind, shape_of
from utils import runtime
from utils.lazy_tensorflow import tf
from utils.utils_nn import assign


def bare_operations(targets, given=()):
    """The convolutions and matrix products that `targets` (ops or tensors) need when the tensors `given` are
    known, in the order they were built."""
    return sorted((op for op in ops_behind(targets, given) if op.type in PRODUCTS or op.type in CONVOLUTIONS),
                  key=lambda op: op._id)


class Bare(object):
    """The same operations on the same shapes, and nothing else: each waits for the one before it, a number of
    each result is fetched.

    Args:
        operations: from `bare_operations`.
        batch: what an unknown size stands for.
        threads: CPU threads.
    """

    def __init__(self, operations, batch, threads):
        self.operations, self.flops, variables, numbers = len(operations), 0, {}, []
        with tf.Graph().as_default() as graph:
            for op in operations:
                shape = shape_of(op.outputs[0], batch)
                inputs = [_input(tensor, place, shape, batch, variables) for place,
                          tensor in enumerate(op.inputs)]
                with tf.control_dependencies(numbers[-1:]):
                    result = graph.create_op(op.type, inputs, [op.outputs[0].dtype],
                                             attrs=dict(op.node_def.attr)).outputs[0]
                    numbers.append(tf.reshape(result, [-1])[0])
                self.flops += 2. * multiply_adds_in(op, batch)
            self.total, initialise = tf.add_n(numbers), tf.global_variables_initializer()
        self.session = tf.Session(graph=graph, config=runtime.session_config(threads))
        self.session.run(initialise)
        state = np.random.RandomState(0)
        for variable in variables.values():
            assign(self.session, {variable: state.uniform(-0.1, 0.1, variable.shape.as_list())})

    def run(self):
        """All of them once."""
        return self.session.run(self.total)


def _input(tensor, place, result, batch, variables):
    """A variable of the input's shape, one for each shape and place;
    a shape is an operation's own result's."""
    if not tensor.dtype.base_dtype.is_floating:
        return tf.constant(result, tensor.dtype.base_dtype)
    key = (place,) + tuple(shape_of(tensor, batch))
    if key not in variables:
        variables[key] = tf.Variable(tf.zeros(key[1:]))
    return variables[key].read_value()


class Torch(object):
    """The common network with fixed kernels in PyTorch: a step with dropout and RMSProp, and an evaluation.

    Raises:
        ImportError: it is not installed.
    """

    def __init__(self, net, classes, batch, threads):
        import torch
        self.torch, self.batch = torch, batch
        torch.set_num_threads(threads)
        modules = []
        for layer in net.layers:
            modules += [torch.nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel,
                                        padding=layer.kernel // 2),
                        torch.nn.ReLU()]
            modules += [torch.nn.MaxPool2d(layer.pool)] * (layer.pool > 1)
        modules += [torch.nn.Flatten(), torch.nn.Dropout(0.5)]
        sizes = (net.num_features,) + net.hidden
        for inputs, outputs in zip(sizes, sizes[1:]):
            modules += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        self.network = torch.nn.Sequential(*(modules + [torch.nn.Linear(sizes[-1], classes)]))
        self.optimizer = torch.optim.RMSprop(self.network.parameters(), lr=1e-4, alpha=0.9, eps=1e-10)
        height, width, channels = net.image_shape
        self.images = torch.rand(batch, channels, height, width)
        self.labels = torch.arange(batch) % classes

    def step(self):
        """One training step."""
        self.network.train()
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.cross_entropy(self.network(self.images), self.labels)
        loss.backward()
        self.optimizer.step()

    def evaluate(self):
        """The answers to one batch."""
        self.network.eval()
        with self.torch.no_grad():
            return self.network(self.images).argmax(dim=1)
