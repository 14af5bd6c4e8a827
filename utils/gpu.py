"""The GPU of a trial: what it is, and whether TensorFlow computes on it as on the CPU.

TensorFlow 1.14 gives wrong numbers, and no error, on cards that are newer than its CUDA.
"""
import os
import re
from collections import OrderedDict

import numpy as np

from utils import runtime
from utils.runtime import tf
from utils.utils import UserError, random_state

TOLERANCE = 0.01        # of the largest value; rounding stays far below
# Full float32 instead of TensorFloat-32's 10 bits, and the same bits each time: kernels that sum in a fixed
# order. Neither slows networks of this size. TensorFlow reads them when it first computes.
EXACT = OrderedDict([('NVIDIA_TF32_OVERRIDE', '0'), ('TF_DETERMINISTIC_OPS', '1'),
                     ('TF_CUDNN_DETERMINISTIC', '1')])
DRIVER = '/proc/driver/nvidia/version'


def find(config):
    """Opens the GPU of this process, before anything is computed.

    Args:
        config: ConfigProto of the sessions to come.
    Returns:
        what `facts` tells of it; None where this TensorFlow sees no GPU that it can use.
    Raises:
        UserError: it cannot be opened, for instance since other programs hold its memory.
    """
    given = dict(os.environ)
    os.environ.update((name, given.get(name, value)) for name, value in EXACT.items())
    try:
        cards = runtime.usable_gpus(config)
    except RuntimeError as error:
        raise UserError('the GPU cannot be used: %s; nvidia-smi tells which programs hold its memory'
                        % str(error).strip().split('\n')[0]) from error
    if cards:
        return facts(cards[0])
    for name in EXACT:                  # on the CPU they would change the order of sums
        if name not in given:
            del os.environ[name]
    return None


def facts(description):
    """OrderedDict for config.json: name, compute capability, versions of driver, CUDA and cuDNN; what is
    known of them.

    Args:
        description: of `runtime.usable_gpus`.
    """
    known = OrderedDict()
    for name, pattern in (('name', r'name: ([^,]+)'), ('compute_capability',
                                                       r'compute capability: ([\d.]+)')):
        found = re.search(pattern, description)
        if found:
            known[name] = found.group(1)
    try:
        with open(DRIVER) as stream:
            found = re.search(r'Kernel Module\D* ([\d.]+)', stream.readline())
        if found:
            known['driver'] = found.group(1)
    except OSError:
        pass        # another system, or a container that hides it
    known.update(runtime.cuda_versions())
    return known


def check(config, known):
    """Compares a convolution and its gradients on the GPU with the same on the CPU.

    Args:
        config: ConfigProto of the trial's session.
        known: what `facts` gave, for the message.
    Raises:
        UserError: they differ, or the GPU cannot compute them.
    """
    try:
        on_gpu = convolution('/gpu:0', config)
    except tf.errors.OpError as error:
        raise _refused(known, 'fails to compute a convolution (%s)' % str(error.message).strip().split('\n')[
            0]) from error
    on_cpu = convolution('/cpu:0', config)
    for name, expected in on_cpu.items():
        error = np.abs(on_gpu[name] - expected).max() / np.abs(expected).max()
        if not error <= TOLERANCE:      # NaN is refused too
            raise _refused(known, 'computes %s wrongly: off by %.2g of its largest value' % (name, error))


def _refused(known, what):
    return UserError(
        'the GPU %s (compute capability %s) %s under TensorFlow %s, CUDA %s; use a TensorFlow made for this '
        'card, or --gpu -1 for the CPU' % (known.get('name', '0'),
                                                        known.get('compute_capability', 'unknown'), what,
                                                        tf.VERSION, known.get('cuda', 'unknown')))


def convolution(device, config):
    """OrderedDict name -> array: a 3x3 convolution of random images and the gradients of a weighted sum of
    it."""
    state = random_state(0, purpose='GPU check')
    given = [state.normal(size=shape).astype(np.float32) for shape in
             ((8, 32, 32, 16), (3, 3, 16, 32), (8, 32, 32, 32))]
    strict = tf.ConfigProto()
    strict.CopyFrom(config)
    strict.allow_soft_placement = False         # else it might be compared with itself
    with tf.Graph().as_default(), tf.device(device):
        # nothing to fold
        images, kernel, weights = [tf.placeholder(tf.float32, array.shape) for array in given]
        output = tf.nn.conv2d(images, kernel, strides=[1, 1, 1, 1], padding='SAME')
        gradients = tf.gradients(output, [images, kernel], weights)
        with tf.Session(config=strict) as session:
            values = session.run([output] + gradients, dict(zip((images, kernel, weights), given)))
    return OrderedDict(zip(('a convolution', 'the gradient of its images', 'the gradient of its kernel'),
                           values))
