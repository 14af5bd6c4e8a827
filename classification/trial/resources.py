"""What a trial takes: parameters trained and kept, multiply-adds of a network, memory, seconds.

Multiply-adds are those of convolutions and matrix products, from the graph, for one image: what else a
network does is small beside them. What depends on parameters only, like the kernels that a mechanism makes,
is no part of an image's forward pass.
"""
import re
import sys

import numpy as np

from utils.lazy_tensorflow import tf
from utils.utils_nn import FedParameters

PRODUCTS = ('MatMul', 'BatchMatMul', 'BatchMatMulV2', 'BatchMatMulV3')
# which of inputs and result are the maps whose every position meets a window, and the kernel
CONVOLUTIONS = {'Conv2D': (2, 1), 'Conv2DBackpropInput': (2, 1), 'Conv2DBackpropFilter': (2, 3)}
# contractions that are not counted: a network that has one has an unknown number
OTHERS = ('Conv1D', 'Conv3D', 'DepthwiseConv2dNative', 'Einsum', 'SparseTensorDenseMatMul')
UPDATE = re.compile('(Resource)?(Sparse)?Apply')    # begins the types of operations that train a variable
VARIABLES = ('VarHandleOp', 'VariableV2', 'Variable')


def ops_behind(targets, given=()):
    """The operations that these operations or tensors need when the tensors `given` are known: a set."""
    found, waiting = set(), [getattr(target, 'op', target) for target in targets]
    known = {tensor.op for tensor in given}
    while waiting:
        op = waiting.pop()
        if op not in found and op not in known:
            found.add(op)
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return found


def trained_size(updates):
    """How many values the optimizers of these updates change: whole variables, also where a mask keeps a part
    of one as it is; NaN where what one changes is no variable of the graph."""
    variables = {op.inputs[0].op for op in ops_behind(updates) if UPDATE.match(op.type)}
    return sum(np.prod([size.size for size in op.get_attr('shape').dim]) if op.type in VARIABLES else np.nan
               for op in variables)


def multiply_adds_of(result, images):
    """Multiply-adds between a placeholder of images [1, ...] and a result that depends on it; NaN where an
    operation is of a kind that is not known."""
    needed, reached, waiting = ops_behind([result]), set(), [images.op]
    while waiting:
        op = waiting.pop()
        if op in needed and op not in reached:
            reached.add(op)
            waiting += [reader for tensor in op.outputs for reader in tensor.consumers()]
    return float(sum(map(multiply_adds_in, reached)))


def multiply_adds_in(op, batch=1):
    """Those of one operation; `batch` is what an unknown size stands for."""
    if op.type not in PRODUCTS and op.type not in CONVOLUTIONS:
        return np.nan if op.type in OTHERS else 0
    if any(tensor.shape.ndims is None for tensor in list(op.inputs) + op.outputs):
        return np.nan
    shapes = [shape_of(tensor, batch) for tensor in list(op.inputs) + [op.outputs[0]]]
    if op.type in PRODUCTS:
        turned = op.get_attr('transpose_a' if op.type == 'MatMul' else 'adj_x')
        sizes = shapes[2] + [shapes[0][-2 if turned else -1]]
    else:
        maps, kernel = CONVOLUTIONS[op.type]
        sizes = shapes[maps] + shapes[kernel][:3]
    return int(np.prod(sizes, dtype=np.int64))


def shape_of(tensor, batch=1):
    """A tensor's shape; `batch` is what an unknown size stands for."""
    return [batch if size is None else size for size in tensor.shape.as_list()]


def multiply_adds(method, tasks):
    """[tasks]: multiply-adds of the forward pass of one image in each task's network, as it is now."""
    with tf.Graph().as_default():
        parameters = FedParameters()
        images = tf.placeholder(tf.float32, (1,) + tuple(method.net.image_shape))
        return np.array([multiply_adds_of(method.logits(parameters, task, images), images) for task in tasks])


def peak_memory():
    """Bytes that this process has held in main memory at most; 0 where the system does not tell."""
    try:
        with open('/proc/self/status') as stream:       # getrusage counts what the parent process held
            return 1024 * int(re.search(r'VmHWM:\s*(\d+) kB', stream.read()).group(1))
    except (OSError, AttributeError):
        try:
            import resource
        except ImportError:
            return 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == 'darwin' else 1024 * peak
