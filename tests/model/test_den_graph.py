"""DEN's shrinking and its training step against closed forms."""
import numpy as np
import tensorflow.compat.v1 as tf

from classification.model import den_graph
from tests.support.den import edges_shrunk, groups_shrunk, soft
from utils import runtime
from utils.utils_nn import assign


def evaluated(build):
    """What tensors are that `build` makes."""
    with tf.Graph().as_default(), tf.Session(config=runtime.session_config(1)) as session:
        return session.run(build())


def test_shrinking_in_closed_form():
    block = np.random.RandomState(0).uniform(-1, 1, (4, 3, 2)).astype(np.float32)
    block[:, 0, 0] *= 0.1
    block[:, 1, 0] = 0
    flat = block[:1]
    found = evaluated(lambda: [den_graph.shrink(x, 0.2, by_edge) for x in (block, flat)
                               for by_edge in (True, False)])
    expected = [edges_shrunk(block, 0.2), soft(block, 0.2), soft(flat, 0.2), soft(flat, 0.2)]
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not found[0][:, 0, 0].any() and (found[0][:, 0, 1] != 0).all() and not np.isnan(found[0]).any()
    unchanged, = evaluated(lambda: [den_graph.shrink(tf.constant(block), 0., True)])
    np.testing.assert_array_equal(unchanged, block)


def test_new_units_shrink_edge_by_edge_then_as_groups():
    state = np.random.RandomState(1)
    columns, bias = state.uniform(-1, 1, (4, 3, 3)).astype(np.float32), np.array([.5, .6, .7], np.float32)
    columns[:, :, 1] *= 0.2
    found, of_bias = evaluated(lambda: den_graph.shrink_new_units(tf.constant(columns), tf.constant(bias),
                                                                  0.1, 0.5, True))
    expected = groups_shrunk(edges_shrunk(columns, 0.1), bias, 0.5)
    np.testing.assert_allclose(found, expected[0], atol=1e-6)
    np.testing.assert_array_equal(of_bias, expected[1])
    assert of_bias.tolist() == [np.float32(.5), 0, np.float32(.7)]
    # The other order gives something else, so the order is tested.
    assert np.abs(edges_shrunk(groups_shrunk(columns, bias, 0.5)[0], 0.1) - expected[0]).max() > 0.01


def test_a_step_is_the_optimizers_then_the_shrinking_every_time():
    state = np.random.RandomState(2)
    columns, bias, slope = [state.uniform(-1, 1, size).astype(np.float32)
                            for size in ((4, 3, 2), (2,), (4, 3, 2))]
    with tf.Graph().as_default(), tf.Session(config=runtime.session_config(1)) as session:
        variables = [tf.Variable(tf.zeros(value.shape)) for value in (columns, bias)]
        loss = tf.reduce_sum(variables[0] * slope) + 2 * tf.reduce_sum(variables[1])
        update = den_graph.training_step(loss, [(variables[0], None), (variables[1], None)],
                                         tf.train.GradientDescentOptimizer(0.5),
                                         [(variables,
                                           lambda *both: den_graph.shrink_new_units(
                                               *(both + (.1, .5, True))))])
        found = []
        for _ in range(50):
            assign(session, dict(zip(variables, (columns, bias))))
            session.run(update)
            found.append(np.concatenate([value.ravel() for value in session.run(variables)]))
    expected = groups_shrunk(edges_shrunk(columns - 0.5 * slope, 0.1), bias - 1, 0.5)
    np.testing.assert_allclose(found[0], np.concatenate([expected[0].ravel(), expected[1]]), atol=1e-6)
    for values in found[1:]:
        np.testing.assert_array_equal(values, found[0])
