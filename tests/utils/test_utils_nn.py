"""Layers, initial values and the optimizer against plain NumPy."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tests.support.tiny import Rig, make_method, numpy_features, random_batch
from utils import utils_env_cl as env
from utils import utils_nn as nn


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default():
        yield


def run(tensor):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensor)


@pytest.mark.parametrize('padding, skips', [('SAME', ()), ('VALID', ()), ('SAME', ((0, 1),)),
                                            ('SAME', ((1, 1), (0, 2)))])
@pytest.mark.parametrize('shape, kernels, pools', [((8, 8), (3, 3, 2), (1, 2, 1)),
                                                   ((17, 18), (5, 3, 1), (3, 1, 2))])
def test_convolutional_part(padding, skips, shape, kernels, pools):
    state = np.random.RandomState(0)
    network = env.Network(kernels=kernels, channels=(4, 4, 4), pools=pools, hidden=(5,))
    net = env.build_net(network, shape + (4,), padding, skips)
    images = state.normal(size=(3,) + shape + (4,))
    weights = [(state.normal(size=layer.shape), state.normal(size=4)) for layer in net.layers]
    features = nn.convolutional_part(net, tf.constant(images),
                                     [[[nn.activation(w, padding) for w in weights]]])
    expected = numpy_features(net, images, weights)
    assert expected.shape[1] == net.num_features
    np.testing.assert_allclose(run(features), expected, atol=1e-9)


def test_stacked_choices_are_all_combinations_in_order():
    state = np.random.RandomState(1)
    net = env.build_net(env.Network((3, 3, 3), (4, 4, 4), (2, 1, 1), (5,)), (6, 6, 4), 'SAME',
                        ((0, 2), (1, 2)))
    images = state.normal(size=(2, 6, 6, 4))
    weights = [[(state.normal(size=layer.shape), state.normal(size=4)) for _ in range(2)]
               for layer in net.layers]
    branches = [[[nn.activation(weights[layer][choice], 'SAME')] for choice in range(2)]
                for layer in range(3)]
    features = run(nn.convolutional_part(net, tf.constant(images), branches)).reshape(8, 2, -1)
    for combination in range(8):
        chosen = [weights[layer][combination >> layer & 1] for layer in range(3)]
        np.testing.assert_allclose(features[combination], numpy_features(net, images, chosen), atol=1e-9)


def test_head_and_cross_entropy():
    state, made = np.random.RandomState(2), {}
    net = env.build_net(env.Network((3,), (2,), (1,), (6, 5)), (4, 4, 1))

    def variable(layer, part, shape, initial):
        made[layer, part] = initial(shape, state)
        return tf.constant(made[layer, part])

    features, labels = state.normal(size=(3, net.num_features)), np.array([0, 2, 1])
    logits = nn.head(tf.constant(features), net, 3, variable)
    x = features
    for layer in range(3):
        x = x.dot(made['fc%d' % layer, 'kernel']) + made['fc%d' % layer, 'bias']
        x = np.maximum(x, 0) if layer < 2 else x
    np.testing.assert_allclose(run(logits), x, atol=1e-12)
    log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(run(nn.cross_entropy(logits, tf.constant(labels))),
                               -log_p[np.arange(3), labels], atol=1e-9)


def test_rmsprop_as_in_the_specification():
    variable, gradient, rates = tf.Variable([1., -2.]), np.array([0.5, -3.]), (0.1, 0.05)
    rate = tf.placeholder(tf.float32, [])
    update = nn.rmsprop(rate, 'RMSProp').apply_gradients([(tf.constant(gradient, tf.float32), variable)])
    expected, square = np.array([1., -2.]), np.ones(2)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for eta in rates:
            session.run(update, {rate: eta})
            square = 0.9 * square + 0.1 * gradient ** 2
            expected = expected - eta * gradient / np.sqrt(square + 1e-10)
        np.testing.assert_allclose(session.run(variable), expected, rtol=1e-6)


def test_initial_values():
    state = np.random.RandomState(3)
    normal = nn.truncated_normal((200, 300), state)
    assert np.abs(normal).max() <= 0.1 and abs(normal.std() - 0.05 * 0.8796) < 3e-4 and abs(
        normal.mean()) < 5e-4
    assert (nn.bias_value((4,), state) == 0.2).all()
    for shape, limit in (((3, 3, 4, 8), np.sqrt(6. / (36 + 72))), ((64, 64), np.sqrt(3. / 64)),
                         ((32,), np.sqrt(3. / 32)),
                         ((1, 2, 2, 24), np.sqrt(6. / (4 + 48))), ((1, 1, 1, 48), np.sqrt(6. / 49)),
                         ((48, 32, 16), np.sqrt(6. / (48 * 32 + 48 * 16)))):
        values = nn.glorot_uniform(shape, state)
        assert values.shape == shape and 0.8 * limit < np.abs(values).max() <= limit


def test_dropout_is_a_function_of_its_seed_and_keeps_the_mean():
    x = tf.ones([100, 100])
    first, again, other = [run(nn.dropout(x, 0.7, tf.constant(seed, tf.int32)))
                           for seed in ((1, 2), (1, 2), (1, 3))]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert set(np.unique(first)) == {0., np.float32(1 / 0.7)} and abs(first.mean() - 1) < 0.03


def test_a_stored_value_wins_over_a_drawn_one_and_only_the_current_task_is_trained():
    parameters = nn.Parameters({'a/shared/x/k': np.array([7.])}, [3], lambda name: np.random.RandomState(0))
    assert parameters.shared('a', 'x', 'k', (1,), nn.zeros) is parameters.shared('a', 'x', 'k', (1,),
                                                                                 nn.zeros)
    parameters.own('a', 3, 'x', 'k', (2,), nn.bias_value), parameters.own('a', 2, 'x', 'k', (2,),
                                                                          nn.bias_value)
    assert {v.op.name for v in parameters.trained} == {'a/shared/x/k', 'a/task3/x/k'}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        nn.assign(session, parameters.start_values())
        values = dict(zip(parameters.variables, session.run(list(parameters.variables.values()))))
    assert values['a/shared/x/k'] == [7.] and (values['a/task2/x/k'] == np.float32(0.2)).all()


def test_sharing_everything_and_nothing():
    """STL: an earlier task's network does not move; SNN: the output layer moves too."""
    for selection, pattern, moves in (('hybrid', 'TTT', False), ('single_network', 'SSS', True)):
        method = make_method(selection, classes={0: 2, 1: 2}, pattern=pattern)
        with Rig(method, {}, 0, [0]) as rig:
            rig.step(*random_batch(0))
            store = rig.values()
        assert method.outputs_may_change(0) == moves
        with Rig(method, store, 1, [0, 1]) as rig:
            images = random_batch(5)[0]
            before = rig.logits(0, images)
            rig.step(*random_batch(1))
            assert (np.abs(rig.logits(0, images) - before).max() > 0) == moves
            if moves:
                np.testing.assert_array_equal(rig.logits(0, images), rig.logits(1, images))


def test_shrinking_layers_are_refused_before_training():
    from utils.utils import UserError
    with pytest.raises(UserError, match='layer 1 shrinks images of 8x8 to nothing'):
        env.build_net(env.Network((5, 5), (2, 2), (2, 1), (3,)), (8, 8, 1), 'VALID')
