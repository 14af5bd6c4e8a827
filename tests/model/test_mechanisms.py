"""Mechanisms: kernels against NumPy, who owns what, extra losses, numbers of parameters."""
import itertools

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.model.registry import MECHANISMS, MODELS
from classification.trial.count_parameters import count_of
from tests.support.tiny import Rig, draw, make_method, random_batch
from utils import utils_env_cl as env
from utils.utils_nn import Parameters, assign

SPEC = env.ConvSpec(kernel=3, in_channels=2, out_channels=4, df_knowledge=(2, 3), df_tensor=(3, 5))
OPTIONS = {'tf': dict(auxiliary_loss_weight=0.1), 'dfcnn': dict(regularization_scale=(1e-2, 1e-3)),
           'apd': dict(lambda1=0.3, lambda2=7.)}


class Layer(object):
    """One layer of a mechanism in a session, float64."""

    def __init__(self, name, store=None, training=(0, 1)):
        self.parameters = Parameters(store or {}, training, draw, tf.float64)
        self.layer = MECHANISMS[name].make(SPEC, 'conv0', self.parameters, dict(
            {option.name: option.fixed_default for option in MECHANISMS[name].options},
            **OPTIONS.get(name, {})))

    def run(self, *tensors):
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            assign(session, self.parameters.start_values())
            values = dict(zip(self.parameters.variables,
                              session.run(list(self.parameters.variables.values()))))
            return [values] + session.run(list(tensors))


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default():
        yield


@pytest.mark.parametrize('name', sorted(MECHANISMS))
def test_a_task_cannot_reach_what_another_task_owns(name):
    layer = Layer(name).layer
    layer.weights(task=0)
    owned_by_0 = [v for v in tf.trainable_variables() if '/task0/' in v.name]
    shared = [v for v in tf.trainable_variables() if '/shared/' in v.name]
    assert shared and (owned_by_0 or name == 'hps')
    assert tf.gradients(layer.weights(task=1)[0], owned_by_0) == [None] * len(owned_by_0)
    assert all(g is not None for g in tf.gradients(list(layer.weights(task=1)), shared))


@pytest.mark.parametrize('name', sorted(MECHANISMS))
def test_what_another_task_owns_is_not_trained(name):
    rig = Layer(name, training=[1])
    rig.layer.weights(task=0), rig.layer.weights(task=1)
    trained = {v.op.name for v in rig.parameters.trained}
    assert not any('/task0/' in variable for variable in trained)
    assert any('/shared/' in variable for variable in trained)


def test_tensor_factors_are_a_tucker_product():
    rig = Layer('tf')
    values, kernel, bias = rig.run(*rig.layer.weights(0))
    core, factors = values['conv0/shared/tf/core'], [values['conv0/task0/tf/mix_' + axis] for axis in 'hwio']
    expected = np.zeros(SPEC.shape)
    for place in itertools.product(*map(range, SPEC.shape)):
        for source in itertools.product(*map(range, SPEC.shape)):
            expected[place] += core[source] * np.prod([factors[m][source[m], place[m]] for m in range(4)])
    np.testing.assert_allclose(kernel, expected, atol=1e-12)
    np.testing.assert_allclose(bias, values['conv0/task0/tf/bias'])


def test_orthogonality_is_a_norm_of_each_factor_and_can_be_zero():
    rig = Layer('tf')
    loss = rig.layer.extra_loss(0)
    values, computed = rig.run(loss)
    expected = sum(np.linalg.norm(u.T.dot(u) - np.eye(len(u))) for u in
                   [values['conv0/task0/tf/mix_' + axis] for axis in 'hwio'])
    np.testing.assert_allclose(computed, 0.1 * expected, rtol=1e-12)
    rig = Layer('tf', {'conv0/task9/tf/mix_%s' % axis: np.eye(size) for axis,
                       size in zip('hwio', SPEC.shape)}, [9])
    gradients = tf.gradients(rig.layer.extra_loss(9), rig.parameters.trained)
    assert all(np.isfinite(g).all() for g in rig.run(*gradients)[1:])


def test_deconvolution_as_the_sum_it_stands_for():
    rig = Layer('dfcnn')
    values, kernel = rig.run(rig.layer.weights(0)[0])
    own = {part: values['conv0/task0/dfcnn/' + part] for part in ('filter', 'deconv_bias', 'mixer')}
    base, size, window = values['conv0/shared/dfcnn/knowledge'], SPEC.kernel, SPEC.df_tensor[0]
    offset = (window - 1) // 2
    spread = np.zeros((size, size, SPEC.df_tensor[1])) + own['deconv_bias'][0, 0, 0]
    for i, j, p, q in itertools.product(range(size), range(size), range(2), range(2)):
        a, b = i - 2 * p + offset, j - 2 * q + offset
        if 0 <= a < window and 0 <= b < window:
            spread[i, j] += own['filter'][a, b].dot(base[0, p, q])
    np.testing.assert_allclose(kernel, np.einsum('ijo,orq->ijrq', spread, own['mixer']), atol=1e-12)


def test_regulariser_of_deconvolution_counts_each_term_once():
    rig = Layer('dfcnn')
    values, loss = rig.run(rig.layer.regulariser(0))
    tensors = [values['conv0/task0/dfcnn/' + part] for part in ('filter', 'deconv_bias', 'mixer')]
    expected = 0.5 * (1e-2 * np.sum(values['conv0/shared/dfcnn/knowledge'] ** 2) + 1e-3
                      * sum(np.sum(t ** 2) for t in tensors))
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_additive_masks_and_their_losses():
    state = np.random.RandomState(0)
    previous = {'conv0/shared/apd/kernel': state.normal(size=SPEC.shape),
                'conv0/shared/apd/bias': state.normal(size=4)}
    rig = Layer('apd', previous)
    kernel, loss = rig.layer.weights(0)[0], rig.layer.extra_loss(0)
    shared = [rig.parameters.variables[name] for name in sorted(previous)]
    values, kernel, loss_at_start, drift = rig.run(kernel, loss, *tf.gradients(loss, shared[1:]))
    mask, additive = values['conv0/task0/apd/mask'], values['conv0/task0/apd/additive']
    np.testing.assert_allclose(kernel, previous['conv0/shared/apd/kernel'] / (1 + np.exp(-mask)) + additive,
                               atol=1e-12)
    np.testing.assert_allclose(loss_at_start, 0.3 * np.abs(additive).mean(), rtol=1e-12)
    assert not drift.any()
    with tf.Session() as session:       # away from the start, the drift counts
        session.run(tf.global_variables_initializer())
        assign(session, rig.parameters.start_values())
        assign(session, {variable: previous[variable.op.name] + 0.5 for variable in shared})
        moved = session.run(loss)
    np.testing.assert_allclose(moved - loss_at_start, 7. * 0.5 * (0.125 + 0.125), rtol=1e-9)


@pytest.mark.parametrize('name', ['tf', 'dfcnn', 'apd'])
def test_earlier_tasks_drift_with_the_shared_base_and_keep_their_own(name):
    method = make_method('hybrid', name, pattern='STS', **OPTIONS[name])
    with Rig(method, {}, 0, [0]) as rig:
        rig.step(*random_batch(0, 3))
        store = rig.values()
    with Rig(method, store, 1, [0, 1]) as rig:
        images = random_batch(7)[0]
        before = rig.logits(0, images)
        for seed in range(3):
            rig.step(*random_batch(seed))
        after = rig.values()
        assert np.abs(rig.logits(0, images) - before).max() > 1e-6
    for variable, value in store.items():
        if '/task0/' in variable:
            np.testing.assert_array_equal(after[variable], value)
        elif variable.startswith('conv') and '/shared/' in variable:
            assert not np.array_equal(after[variable], value)


@pytest.mark.parametrize('model, pattern, tasks, expected', [
    ('STL', 'TTTT', 1, 328426), ('STL', 'TTTT', 3, 3 * 328426), ('Hybrid_HPS', 'TTSS', 3, 874430),
    ('Hybrid_TF', 'SSST', 3, 953019), ('Hybrid_DFCNN', 'TSTS', 3, 1980918), ('APD', 'SSSS', 3, 1246398),
    ('SNN', 'SSSS', 3, 328426), ('LASEM_HPS', 'TTTT', 3, 985278)])
def test_numbers_of_parameters_of_the_published_sizes(model, pattern, tasks, expected):
    _, network = env.network_of('cifar100', 'CIFAR100_10', 4)
    options = dict({'groups': (1,) * 4, 'apd_mode': 'published_code'},
                   **OPTIONS.get(MODELS[model].mechanism, {}))
    assert count_of(model, env.build_net(network, (32, 32, 3)), {task: 10 for task in range(tasks)}, options,
                    pattern) == expected
