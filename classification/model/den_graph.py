"""DEN in a graph: the network made of blocks, the shrinking of weights, one training step.

Shrinking is the proximal map of a sparsity penalty and follows the optimizer's step (Yoon et al. 2018,
sections 3.1, 3.2).
"""

from classification.model.den_blocks import from_block
from utils import utils_nn as nn
from utils.lazy_tensorflow import tf

SMALLEST = 1e-30      # keeps a division by the length of a zero vector finite


def layer_maps(net, layers, body, images):
    """What each convolution layer gives, after its pool: list of [n, height, width, channels]."""
    maps = [images]
    for spec, layer, block, bias in zip(net.layers, layers, body.blocks, body.biases):
        weights = from_block(block, layer.kernel, tf.reshape), bias
        maps.append(nn.max_pool(nn.activation(weights, net.padding)(maps[-1]), spec.pool, net.padding))
    return maps[1:]


def forward(net, layers, body, head_bias, images, keep=1., seed=None):
    """Logits [n, classes].

    Args:
        net: utils_env_cl.Net, for paddings and pools.
        layers: den_blocks.Layer of each hidden layer and the head.
        body: den_blocks.Body of tensors, of any width.
        images: [n, height, width, channels].
        keep, seed: of dropout on the flattened map.
    """
    return classify(net, body, head_bias, layer_maps(net, layers, body, images)[-1], keep, seed)


def classify(net, body, head_bias, maps, keep=1., seed=None):
    """Logits [n, classes] from what the last convolution layer gives; see `forward`."""
    blocks = body.blocks + [body.head]
    x = nn.dropout(tf.reshape(maps, [-1, maps.shape[1:].num_elements()]), keep, seed)
    for layer in range(len(net.layers), len(blocks)):
        bias = body.biases[layer] if layer < len(body.biases) else head_bias
        x = tf.nn.bias_add(tf.matmul(x, from_block(blocks[layer], 0, tf.reshape)), bias)
        x = tf.nn.relu(x) if layer < len(body.biases) else x
    return x


# ---- shrinking ----

def soft_threshold(weights, threshold):
    """Each entry moves to 0 by `threshold`, and stays there."""
    return tf.sign(weights) * tf.maximum(tf.abs(weights) - threshold, 0.)


def _shorter(block, threshold, axes):
    length = tf.sqrt(tf.reduce_sum(tf.square(block), axis=axes, keepdims=True))
    return block * tf.maximum(1. - threshold / tf.maximum(length, SMALLEST), 0.)


def shrink_edges(block, threshold):
    """The edges of a block [m, in, out] become shorter by threshold * sqrt(m):
    the paper's (2,1)-norm, of edges."""
    return _shorter(block, threshold * float(int(block.shape[0]) ** 0.5), [0])


def shrink_groups(block, threshold):
    """The incoming weights of each unit become shorter by `threshold`;
    to be done after the edges' shrinking."""
    return _shorter(block, threshold, [0, 1])


def shrink(block, threshold, by_edge):
    """Edges as a whole where they have several weights and `by_edge` is set, else entry by entry."""
    if by_edge and int(block.shape[0]) > 1:
        return shrink_edges(block, threshold)
    return soft_threshold(block, threshold)


def shrink_new_units(columns, bias, threshold, group_threshold, by_edge):
    """(columns, bias) of new units after both penalties, in the order that makes it the proximal map of their
    sum.

    Args:
        columns: [m, in, k], what they read.
        bias: [k]; of a unit without incoming weights it becomes 0.
    """
    columns = shrink_groups(shrink(columns, threshold, by_edge), group_threshold)
    reads = tf.reduce_any(tf.not_equal(columns, 0.), axis=[0, 1])
    return columns, tf.where(reads, bias, tf.zeros_like(bias))


# ---- one step ----

OPTIMIZERS = {'adam': lambda rate: tf.train.AdamOptimizer(rate, name='Adam'),
              'rmsprop': lambda rate: nn.rmsprop(rate, 'RMSProp')}


def training_step(loss, trained, optimizer, shrinking):
    """The optimizer's step, then the shrinking of what it gave: one chain, one assignment per variable.

    Args:
        trained: list of (variable, function gradient -> gradient, or None).
        shrinking: list of (variables, function of their values -> their new values).
    """
    gradients = tf.gradients(loss, [variable for variable, _ in trained])
    done = nn.apply_gradients(optimizer, loss, [(masked(gradient) if masked else gradient, variable)
                                                for gradient, (variable, masked) in zip(gradients, trained)])
    for variables, shrunk in shrinking:
        with tf.control_dependencies([done]):
            values = shrunk(*[variable.read_value() for variable in variables])
            done = tf.group(*[variable.assign(value) for variable, value in zip(variables, values)])
    return done
