"""Mechanisms: how the weights that a task uses in a layer come to be.

A mechanism answers one question, `weights(task)`; who decides whether a layer is shared is a selection's business.
"""
from collections import OrderedDict

import numpy as np
import tensorflow.compat.v1 as tf

from utils.utils_nn import bias_value, glorot_uniform, truncated_normal
from utils.utils_tensor_factorization import deconvolved_kernel, orthogonality, tucker_product


class Mechanism(object):
    """The weights of one layer.

    Args:
        spec: utils_env_cl.ConvSpec.
        layer: its name, e.g. 'conv2'.
        parameters: utils_nn.Parameters.
        options: dict of the mechanism's hyper-parameters.
    """
    name = None
    averaged = False      # extra_loss is a mean over the shared layers, not a sum

    def __init__(self, spec, layer, parameters, options=None):
        self.spec, self.layer, self.parameters, self.options = spec, layer, parameters, options or {}

    def shared(self, part, shape, initial):
        """A variable common to all tasks."""
        return self.parameters.shared(self.layer, self.name, part, shape, initial)

    def own(self, task, part, shape, initial):
        """A variable of one task."""
        return self.parameters.own(self.layer, task, self.name, part, shape, initial)

    def weights(self, task):
        """(kernel [height, width, in, out], bias [out]) of a task."""
        raise AssertionError('a mechanism says how its weights come to be')

    def extra_loss(self, task):
        """A scalar to add to the task's loss while this layer is shared; it counts with the probability that the
        layer is shared. None: nothing to add."""
        return None

    def regulariser(self, task):
        """A scalar to add to the task's loss whenever the layer's shared variables exist. None: nothing to add."""
        return None


class Own(Mechanism):
    """A task-specific layer: kernel and bias belong to the task."""
    name = 'own'

    def weights(self, task):
        return (self.own(task, 'kernel', self.spec.shape, truncated_normal),
                self.own(task, 'bias', self.spec.shape[-1:], bias_value))


class HardSharing(Mechanism):
    """HPS: one kernel and one bias for all tasks (Caruana 1997)."""
    name = 'hps'

    def weights(self, task):
        return (self.shared('kernel', self.spec.shape, truncated_normal),
                self.shared('bias', self.spec.shape[-1:], bias_value))


class TensorFactors(Mechanism):
    """TF: a shared core; each task mixes its four axes with square matrices of its own (Bulat et al. 2020).

    Options: auxiliary_loss_weight, the factor of the orthogonality term.
    """
    name = 'tf'

    def _mixers(self, task):
        return [self.own(task, 'mix_' + axis, (size, size), glorot_uniform) for axis, size in zip('hwio', self.spec.shape)]

    def weights(self, task):
        core = self.shared('core', self.spec.shape, glorot_uniform)
        return (tucker_product(core, self._mixers(task)), self.own(task, 'bias', self.spec.shape[-1:], glorot_uniform))

    def extra_loss(self, task):
        return self.options['auxiliary_loss_weight'] * orthogonality(self._mixers(task))


class Deconvolution(Mechanism):
    """DF-CNN: a shared knowledge base, deconvolved and mixed by the task (Lee, Stokes & Eaton 2019).

    Options: regularization_scale, (lambda_KB, lambda_TS).
    """
    name = 'dfcnn'

    def _variables(self, task):
        (base, depth), (window, channels) = self.spec.df_knowledge, self.spec.df_tensor
        knowledge = self.shared('knowledge', (1, base, base, depth), glorot_uniform)
        return knowledge, [
            self.own(task, 'filter', (window, window, channels, depth), glorot_uniform),
            self.own(task, 'deconv_bias', (1, 1, 1, channels), glorot_uniform),
            self.own(task, 'mixer', (channels,) + self.spec.shape[2:], glorot_uniform)]

    def weights(self, task):
        knowledge, (filters, deconv_bias, mixer) = self._variables(task)
        return (deconvolved_kernel(knowledge, filters, deconv_bias, mixer, self.spec.kernel),
                self.own(task, 'bias', self.spec.shape[-1:], glorot_uniform))

    def regulariser(self, task):
        knowledge, own = self._variables(task)
        of_knowledge, of_tensors = self.options['regularization_scale']
        return of_knowledge * tf.nn.l2_loss(knowledge) + of_tensors * tf.add_n([tf.nn.l2_loss(v) for v in own])


class AdditiveMasks(Mechanism):
    """APD as published beside LASEM: shared kernel under a task mask, plus a task kernel (Yoon et al., ICLR 2020).

    Options: lambda1 (mean absolute value of the task kernel), lambda2 (drift of the shared kernel and bias from their
    values when the task began; a layer drawn in this task has none).
    """
    name = 'apd'
    averaged = True

    def _own(self, task):
        return [self.own(task, part, self.spec.shape, truncated_normal) for part in ('mask', 'additive')]

    def _shared(self):
        return [self.shared('kernel', self.spec.shape, truncated_normal),
                self.shared('bias', self.spec.shape[-1:], bias_value)]

    def weights(self, task):
        (kernel, bias), (mask, additive) = self._shared(), self._own(task)
        return kernel * tf.sigmoid(mask) + additive, bias

    def extra_loss(self, task):
        loss = self.options['lambda1'] * tf.reduce_mean(tf.abs(self._own(task)[1]))
        for part, variable in zip(('kernel', 'bias'), self._shared()):
            previous = self.parameters.store.get('%s/shared/%s/%s' % (self.layer, self.name, part))
            if previous is not None:
                drift = tf.reduce_mean(0.5 * tf.square(variable - tf.constant(previous, variable.dtype.base_dtype)))
                loss += 0.5 * self.options['lambda2'] * drift     # 0.5: mean over the kernel and the bias
        return loss


MECHANISMS = {'hps': HardSharing, 'tf': TensorFactors, 'dfcnn': Deconvolution, 'apd': AdditiveMasks}


def without(store, *prefixes):
    """A copy of a parameter store without the names that start with one of `prefixes`."""
    return OrderedDict((name, value) for name, value in store.items() if not name.startswith(prefixes))


def size_of(store):
    """Number of values in a parameter store."""
    return int(sum(np.size(value) for value in store.values()))
