"""Mechanisms: how the weights that a task uses in a layer come to be.

A mechanism answers one question, `weights(task)`; who decides whether a layer is shared is a selection's
business. Each is declared above its class (declare.mechanism); its numbers stand in utils_env_cl.py.
"""
from collections import OrderedDict

import numpy as np

from classification.model.declare import mechanism
from utils import utils_env_cl as env
from utils.declarations import KERNEL, Field, Option, number, numbers, own_names, shared_names
from utils.lazy_tensorflow import tf
from utils.utils import UserError
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
        """A scalar to add to the task's loss while this layer is shared; it counts with the probability that
        the layer is shared. None: nothing to add."""
        return None

    def regulariser(self, task):
        """A scalar to add to the task's loss whenever the layer's shared variables exist. None: nothing to
        add."""
        return None


class Own(Mechanism):
    """A task-specific layer: kernel and bias belong to the task."""
    name = 'own'

    def weights(self, task):
        return (self.own(task, 'kernel', self.spec.shape, truncated_normal),
                self.own(task, 'bias', self.spec.shape[-1:], bias_value))


# What a task uses of HPS: its own layer, or the shared one again.
USED = tuple(zip(own_names('conv', 'own'), shared_names('conv', 'hps')))
OWN_LAYER = Field('conv_taskspecific_weights', own_names('conv', 'own'))


def _hps_files(selection):
    """Published names, by selection."""
    return {'darts': (Field('shared_conv', shared_names('conv', 'hps')), Field('TS_conv', USED)),
            'lasem': (Field('conv_shared_weights', shared_names('conv', 'hps')), OWN_LAYER),
            'bruteforce': (Field('conv_shared_weights', shared_names('conv', 'hps')), OWN_LAYER)}.get(
                selection, (Field('conv_trainable_weights', USED),))


@mechanism('HPS', 'hard-parameter sharing', paper='Caruana 1997', shared=('kernel', 'bias'), files=_hps_files)
class HardSharing(Mechanism):
    """HPS: one kernel and one bias for all tasks (Caruana 1997)."""
    def weights(self, task):
        return (self.shared('kernel', self.spec.shape, truncated_normal),
                self.shared('bias', self.spec.shape[-1:], bias_value))


def _factor_files(title, knowledge, factors):
    """The published names of TF and DF-CNN, as a function of the selection.

    Args:
        title: in the names of the published brute force.
        knowledge, factors: names in the parameter store; the last of the factors is the bias of the made
            kernel.
    """
    made, own = (KERNEL, factors[-1]), own_names('conv', 'own')
    searched = (Field('conv_KB', knowledge), Field('conv_TS', factors), Field('conv_trainable_weights', own))

    def files(selection):
        return {'lasem': searched,
                'darts': (Field('KB', knowledge), Field('TS', factors), Field('TS_conv', own)),
                'bruteforce': (Field(title + '_KB', knowledge), Field(title + '_TS', factors),
                               Field('conv_gen_weights', made), OWN_LAYER)}.get(
                    selection, searched + (Field('conv_generated_weights', made),))
    return files


def _smaller_head(data_type, family, depth, network):
    """The authors' release gives the TF family another head on one data set."""
    return network._replace(hidden=env.TF_HIDDEN.get((family, data_type), network.hidden))


@mechanism('TF', 'tensor factorization', paper='Bulat et al. 2020', network=_smaller_head,
           notes=lambda: ['on %s, models ending in TF have hidden layers of %s instead of %s, as published'
                          % (
               data_type, env.listed(hidden), env.listed(env.network_of(family, data_type, -1)[1].hidden))
               for (family, data_type), hidden in env.TF_HIDDEN.items()],
           files=_factor_files('TF', shared_names('conv', 'tf', 'core'),
                               own_names('conv', 'tf', 'mix_h mix_w mix_i mix_o bias')),
           options=(Option('auxiliary_loss_weight', lambda at: env.TF_AUXILIARY_WEIGHT[at.test_type % 5],
                           number(0), 'TF: factor of the orthogonality of a task\'s factors', stored=True),))
class TensorFactors(Mechanism):
    """TF: a shared core; each task mixes its four axes with square matrices of its own (Bulat et al. 2020).

    Options: auxiliary_loss_weight, the factor of the orthogonality term.
    """
    def _mixers(self, task):
        return [self.own(task, 'mix_' + axis, (size, size), glorot_uniform) for axis,
                size in zip('hwio', self.spec.shape)]

    def weights(self, task):
        core = self.shared('core', self.spec.shape, glorot_uniform)
        return (tucker_product(core, self._mixers(task)),
                self.own(task, 'bias', self.spec.shape[-1:], glorot_uniform))

    def extra_loss(self, task):
        return self.options['auxiliary_loss_weight'] * orthogonality(self._mixers(task))


def _has_knowledge(context):
    if not context.network.df_knowledge:
        raise UserError('%s is not defined for %d layers: its knowledge base has no sizes there'
                        % (context.name, context.depth))


def _deconvolution_info(net, options):
    """Published fields of `model_specific_info`."""
    return OrderedDict([
        ('cnn_KB_sizes', [size for layer in net.layers for size in layer.df_knowledge]),
        ('cnn_TS_sizes', [size for layer in net.layers for size in layer.df_tensor]),
        ('cnn_deconv_stride_sizes', [2] * (2 * len(net.layers)))])


@mechanism('DFCNN', 'deconvolutional factorization', architecture='dfcnn', models=('hybrid',),
           paper='Lee, Stokes & Eaton 2019', check=_has_knowledge, info=_deconvolution_info,
           files=_factor_files('DFCNN', shared_names('conv', 'dfcnn', 'knowledge'),
                               own_names('conv', 'dfcnn', 'filter deconv_bias mixer bias')),
           options=(Option('regularization_scale', lambda at: env.DFCNN_REGULARIZATION[at.test_type % 5],
                           numbers(2, 0),
                           'DF-CNN: factors of the L2 terms of the knowledge base and of a task\'s tensors',
                           stored=lambda scales: {'regularization_scale': [0., scales[0], 0., scales[1]]}),))
class Deconvolution(Mechanism):
    """DF-CNN: a shared knowledge base, deconvolved and mixed by the task (Lee, Stokes & Eaton 2019).

    Options: regularization_scale, (lambda_KB, lambda_TS).
    """
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
        return of_knowledge * tf.nn.l2_loss(knowledge) + of_tensors * tf.add_n(
            [tf.nn.l2_loss(v) for v in own])


def _apd_files(selection):
    """Published names; a search has task-specific layers beside."""
    fields = (Field('shared_conv', shared_names('conv', 'apd')),
              Field('conv_mask_weights', own_names('conv', 'apd', 'mask')),
              Field('conv_APD_weights', own_names('conv', 'apd', 'additive')))
    return fields if selection == 'apd' else fields + (OWN_LAYER,)


def _sparsity(context):
    """In mode paper above the jitter that RMSProp leaves."""
    if context.options.get('apd_mode') != 'paper':
        return env.APD_LAMBDA1
    return max(env.APD_LAMBDA1, env.APD_STEPS * context.training.lr)


def _mode_is_defined(context):
    if context.flags.get('apd_mode') == 'paper' and 'apd_mode' not in context.options:
        raise UserError('--apd_mode paper is not defined for %s, which searches for the layers to share; use '
                        'published_code, or --model_type APD' % context.name)


@mechanism('APD', 'additive parameter decomposition', models=('hybrid',), paper='Yoon et al., ICLR 2020',
           files=_apd_files, check=_mode_is_defined,
           options=(Option('lambda1', _sparsity, number(0),
                           'APD: factor of the task kernels\' absolute values', stored=True),
                    Option('lambda2', env.APD_LAMBDA2, number(0),
                           'APD: factor of the drift of what was learned before', stored=True)))
class AdditiveMasks(Mechanism):
    """APD as published beside LASEM: shared kernel under a task mask, plus a task kernel (Yoon et al., ICLR
    2020).

    Options: lambda1 (mean absolute value of the task kernel), lambda2 (drift of the shared kernel and bias
    from their values when the task began; a layer drawn in this task has none).
    """
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
                drift = tf.reduce_mean(0.5 * tf.square(variable
                                                       - tf.constant(previous, variable.dtype.base_dtype)))
                loss += 0.5 * self.options['lambda2'] * drift     # 0.5: mean over the kernel and the bias
        return loss


def without(store, *prefixes):
    """A copy of a parameter store without the names that start with one of `prefixes`."""
    return OrderedDict((name, value) for name, value in store.items() if not name.startswith(prefixes))


def size_of(store):
    """Number of values in a parameter store."""
    return int(sum(np.size(value) for value in store.values()))
