"""DEN's structure in NumPy: the block view, tracing, growing, pruning, drift and splitting."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.model import den_blocks
from classification.model.den_blocks import Body
from tests.support.den import (
    CLASSES,
    HEAD_BIAS,
    IMAGES,
    LAYERS,
    NET,
    POSITIONS,
    WIDTHS,
    copy_of,
    logits,
    narrowed,
    random_body,
)
from utils import runtime
from utils.utils_env_cl import Network, build_net
from utils.utils_nn import DEVIATION, truncated_normal

NEW = [2, 2, 2]      # units added to each layer


# ---- the block view ----

def test_layers():
    assert [layer.name for layer in LAYERS] == ['conv0', 'conv1', 'fc0', 'fc1']
    assert tuple(layer.positions for layer in LAYERS) == POSITIONS
    assert [LAYERS[place].shape(7, 6) for place in range(4)] == [(3, 3, 7, 6), (3, 3, 7, 6), (28, 6), (7, 6)]
    uneven = den_blocks.layers_of(build_net(Network((5,), (3,), (3,), ()), (8, 7, 1)))      # no hidden layer
    assert [(layer.name, layer.positions, layer.kernel) for layer in uneven] == [('conv0', 25, 5), (
        'fc0', 9, 0)]


def test_a_block_is_a_view_of_the_weights_in_tensorflows_shape():
    state = np.random.RandomState(0)
    kernel, matrix = state.normal(size=(3, 3, 2, 5)), state.normal(size=(12, 5))
    block = den_blocks.to_block(kernel, 9)
    for row in range(3):
        for column in range(3):
            np.testing.assert_array_equal(block[3 * row + column], kernel[row, column])
    np.testing.assert_array_equal(den_blocks.from_block(block, 3), kernel)
    block = den_blocks.to_block(matrix, 4)
    assert block.shape == (4, 3, 5)
    for p in range(4):
        for c in range(3):
            np.testing.assert_array_equal(block[p, c], matrix[p * 3 + c])
    np.testing.assert_array_equal(den_blocks.from_block(block), matrix)


def test_positions_and_units_are_those_of_tensorflows_flatten():
    maps, matrix = np.random.RandomState(0).normal(size=(2, 2, 2, 3)), np.random.RandomState(1).normal(
        size=(12, 5))
    with tf.Graph().as_default(), tf.Session(config=runtime.session_config(1)) as session:
        flat = tf.reshape(tf.constant(maps), [2, -1])
        found, block = session.run([tf.matmul(flat, matrix),
                                    den_blocks.to_block(tf.constant(matrix), 4, tf.reshape)])
    np.testing.assert_array_equal(block, den_blocks.to_block(matrix, 4))
    np.testing.assert_allclose(found, sum(maps[:, p // 2, p % 2].dot(block[p]) for p in range(4)))


@pytest.mark.parametrize('positions, kernel', [(9, 3), (4, 0), (1, 0)])
def test_what_a_task_knew_is_found_again_after_growth(positions, kernel):
    state = np.random.RandomState(0)
    old, rows, columns = [state.normal(size=(positions,) + size) for size in ((3, 5), (2, 5), (5, 2))]
    weights = den_blocks.from_block(den_blocks.grow(old, columns, rows), kernel)
    grown = den_blocks.to_block(weights, positions)
    assert grown.shape == (positions, 5, 7)
    np.testing.assert_array_equal(den_blocks.prefix(grown, 3, 5), old)
    np.testing.assert_array_equal(grown[:, 3:, :5], rows)
    np.testing.assert_array_equal(grown[:, :, 5:], columns)
    if positions == 4:      # the first rows of the matrix are others: units of all positions interleave
        assert not np.array_equal(weights[:12, :5], den_blocks.from_block(old))


def test_small_edges_are_cut_as_a_whole():
    block = np.zeros((2, 2, 2), np.float32)
    block[:, 0, 0], block[:, 1, 0], block[:, 0, 1] = (1e-5, -2e-4), (5e-5, -9e-5), (1e-4, 0)
    cut = den_blocks.without_small_edges(block, 1e-4)
    # one entry is large: the small one stays too
    np.testing.assert_array_equal(cut[:, 0, 0], block[:, 0, 0])
    assert not cut[:, 1, 0].any()
    np.testing.assert_array_equal(cut[:, 0, 1], block[:, 0, 1])      # not below the limit
    assert den_blocks.present(cut).tolist() == [[True, True], [False, False]]
    assert den_blocks.density(cut) == 0.5 and den_blocks.density(block) == 0.75
    np.testing.assert_array_equal(den_blocks.without_small_edges(block, 0.), block)


# ---- tracing ----

def traced(edges, top):
    """Selected units of each hidden layer; edges: per layer, {(in, out): position of its only entry}."""
    blocks = [np.zeros((m, i, j)) for m, i, j in zip(POSITIONS, [2] + WIDTHS, WIDTHS)]
    for block, entries in zip(blocks, edges):
        for (i, j), p in entries.items():
            block[p, i, j] = -1e-3
    selected, _ = den_blocks.trace(blocks, np.isin(np.arange(5), top))
    return [np.flatnonzero(units).tolist() for units in selected]


def test_trace_through_fully_connected_boundary_and_convolution():
    edges = [{(0, 0): 0, (1, 2): 8}, {(0, 1): 4, (1, 1): 8, (2, 3): 7}, {(1, 0): 3, (3, 4): 2, (0, 2): 0}]
    # Unit 0 of the top reads unit 1 at position 3 only, which reads units 0 (centre tap) and 1 (last tap).
    assert traced(edges, [0]) == [[0, 1], [0, 1], [1], [0]]
    assert traced(edges, [4]) == [[0, 1], [2], [3], [4]]
    assert traced(edges, [0, 4]) == [[0, 1], [0, 1, 2], [1, 3], [0, 4]]


def test_a_layer_that_nothing_selected_reads_is_selected_with_all_below():
    edges = [{(0, 0): 0, (1, 2): 8}, {(0, 1): 4, (1, 1): 8, (2, 3): 7}, {(1, 0): 3, (3, 4): 2, (0, 2): 0}]
    assert traced(edges, [2]) == [[0, 1], [0, 1, 2], [0], [2]]
    assert traced(edges, [1]) == [[0, 1], [0, 1, 2], [0, 1, 2, 3], [1]]
    assert traced(edges, []) == [[0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]
    blocks = [np.zeros((m, i, j)) for m, i, j in zip(POSITIONS, [2] + WIDTHS, WIDTHS)]
    blocks[2][0, 1, 1] = 1
    for top, empty in (([1], 1), ([0, 1], 1), ([0], 2), ([], 3)):
        assert den_blocks.trace(blocks, np.isin(np.arange(5), top))[1] == empty


@pytest.mark.parametrize('positions', [1, 9])
@pytest.mark.parametrize('least', [0., 0.01, 0.09, 0.2])
def test_density_of_fresh_weights(positions, least):
    block = truncated_normal((positions, 200, 200), np.random.RandomState(0))
    assert abs(den_blocks.fresh_density(positions, least, DEVIATION)
               - den_blocks.density(den_blocks.without_small_edges(block, least))) < 0.005


def test_a_traced_network_cut_out_gives_the_logits_of_the_whole():
    body = random_body(0, presence=0.4)
    body.head[0, [1, 3, 4]] = 0
    selected, _ = den_blocks.trace(body.blocks, den_blocks.present(body.head).any(axis=1))
    assert all(0 < units.sum() < len(units) for units in selected[1:])
    cut = Body([block[:, below][:, :, units] for block, below,
                units in zip(body.blocks, selected, selected[1:])],
               [bias[units] for bias, units in zip(body.biases, selected[1:])], body.head[:, selected[-1]])
    np.testing.assert_allclose(logits(cut, HEAD_BIAS, IMAGES), logits(body, HEAD_BIAS, IMAGES), atol=1e-12)
    for layer in range(3):      # one unit less, and they differ
        fewer = copy_of(body)
        fewer.blocks[layer][:, :, np.flatnonzero(selected[layer + 1])[0]] = 0
        fewer.biases[layer][np.flatnonzero(selected[layer + 1])[0]] = 0
        assert np.abs(logits(fewer, HEAD_BIAS, IMAGES) - logits(body, HEAD_BIAS, IMAGES)).max() > 1e-3


# ---- pruning ----

WIDE = [old + new for old, new in zip(WIDTHS, NEW)]


def unchanged(body, pruned):
    np.testing.assert_allclose(logits(pruned, HEAD_BIAS, IMAGES), logits(body, HEAD_BIAS, IMAGES), atol=1e-12)


def test_nothing_that_works_is_pruned():
    body = random_body(0, WIDE)
    assert den_blocks.prune(body, WIDTHS).widths == WIDE
    for layer in range(3):      # one position of one edge is enough
        body.blocks[layer][:-1, :, -1] = 0
        (body.blocks + [body.head])[layer + 1][:-1, -2] = 0
    body.biases[0][-1] = body.biases[1][-1] = 0
    assert den_blocks.prune(body, WIDTHS).widths == WIDE


@pytest.mark.parametrize('layer', range(3))
def test_a_unit_without_input_is_pruned_if_it_has_no_bias_either(layer):
    body = random_body(1, WIDE)
    body.blocks[layer][:, :, -1] = 0
    assert den_blocks.prune(body, WIDTHS).widths == WIDE       # its bias makes it a constant that others read
    body.biases[layer][-1] = 0
    pruned = den_blocks.prune(body, WIDTHS)
    assert pruned.widths == [width - (place == layer) for place, width in enumerate(WIDE)]
    unchanged(body, pruned)


@pytest.mark.parametrize('layer', range(3))
def test_a_unit_that_nothing_reads_is_pruned_whatever_its_bias(layer):
    body = random_body(2, WIDE)
    (body.blocks + [body.head])[layer + 1][:, -2] = 0          # the first of the new ones
    pruned = den_blocks.prune(body, WIDTHS)
    assert pruned.widths == [width - (place == layer) for place, width in enumerate(WIDE)]
    # the other new one stayed
    np.testing.assert_array_equal(pruned.biases[layer][-1], body.biases[layer][-1])
    np.testing.assert_array_equal(pruned.blocks[layer][0, 0, -1], body.blocks[layer][0, 0, -1])
    unchanged(body, pruned)


def test_pruning_goes_on_until_nothing_changes():
    # From above: a top unit that no class reads; what only it reads; what only that reads.
    body = random_body(4, WIDE)
    body.head[:, -1] = 0
    body.blocks[2][:, -1, :-1] = 0
    body.blocks[1][:, -1, :-1] = 0
    pruned = den_blocks.prune(body, WIDTHS)
    assert pruned.widths == [width - 1 for width in WIDE]
    unchanged(body, pruned)
    # From below: a first unit that computes nothing; what reads only it and has no bias; and so on.
    body = random_body(5, WIDE)
    for layer in range(3):
        body.blocks[layer][:, :-1 if layer else None, -1] = 0
        body.biases[layer][-1] = 0
    pruned = den_blocks.prune(body, WIDTHS)
    assert pruned.widths == [width - 1 for width in WIDE]
    unchanged(body, pruned)


def test_old_units_are_never_pruned():
    body = random_body(6)
    body.blocks[0][...] = 0
    for bias in body.biases:
        bias[:] = 0
    body.head[...] = 0
    assert den_blocks.prune(body, WIDTHS).widths == WIDTHS


# ---- drift ----

def units_of(*columns):
    """A block with these incoming weights [m * in] of its units, m = in = 2."""
    return np.array(columns).T.reshape(2, 2, -1)


def test_drift_is_the_length_of_the_change_or_the_cosine():
    before = units_of([1, 0, 0, 0], [3, 4, 0, 0], [0, 0, 1, 1])
    now = units_of([1, 0, 0, 1], [3, 4, 0, 0], [0, 0, -2, 0])
    np.testing.assert_allclose(den_blocks.drift(now, before, 'l2'), [1, 0, np.sqrt(10)])
    np.testing.assert_allclose(den_blocks.drift(now, before, 'cosine'), [-np.sqrt(.5), -1, np.sqrt(.5)])


def test_cosine_of_nothing():
    before = units_of([0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0])
    now = units_of([0, 0, 0, 0], [0, 1e-3, 0, 0], [0, 0, 0, 0], [1e-13, 0, 0, 0])
    assert (den_blocks.drift(now, before, 'cosine') > -0.98).tolist() == [False, True, True, False]
    assert (den_blocks.drift(now, before, 'cosine') > -0.01).tolist() == [False, True, True, False]


@pytest.mark.parametrize('metric, limit', [('l2', 0.05), ('cosine', -0.98)])
def test_the_most_drifted_units_are_split(metric, limit):
    before = units_of([1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0])
    now = units_of([1, .5, 0, 0], [1, .01, 0, 0], [1, .9, 0, 0], [1, .7, 0, 0])
    distance = den_blocks.drift(now, before, metric)
    for cap, chosen in ((1, [2]), (2, [2, 3]), (None, [2, 3, 0]), (9, [2, 3, 0])):
        units, candidates = den_blocks.most_drifted(distance, limit, cap)
        assert (units.tolist(), candidates) == (chosen, 3)
    # ties: the lower
    assert den_blocks.most_drifted(np.array([1., 2., 2., 1.]), 0.5, 3)[0].tolist() == [1, 2, 0]
    assert den_blocks.most_drifted(distance, 9., 1)[1] == 0


# ---- splitting ----

@pytest.fixture
def drifted():
    """(body of a task that added units, its (blocks, biases) before the task, an old task's head)."""
    old = random_body(7)
    body = random_body(8, WIDE)
    state = np.random.RandomState(0)
    for block, before in zip(body.blocks, old.blocks):
        block[:, :before.shape[1], :before.shape[2]] = before * state.uniform(0.8, 1.3, before.shape)
    return body, old


def old_logits(body, old):
    """What a task of before computes: its units and its head."""
    return logits(narrowed(body, WIDTHS)._replace(head=old.head), HEAD_BIAS, IMAGES)


def split_by_hand(body, old, chosen):
    """The table of section 5.6, entry by entry."""
    inputs, blocks, biases = 2, [], []
    duplicates_below = {}
    for layer in range(4):
        block = body.blocks[layer] if layer < 3 else body.head
        units = list(chosen[layer]) if layer < 3 else []
        total = block.shape[2] + len(units)
        new = np.zeros((block.shape[0], inputs + len(duplicates_below), total))
        for j in range(total):
            source = j if j < block.shape[2] else units[j - block.shape[2]]
            restored = layer < 3 and j in units
            # a duplicate, born in this task, or a class
            follows = j >= (WIDTHS[layer] if layer < 3 else 0)
            for i in range(inputs):
                if restored:
                    if i < old.blocks[layer].shape[1]:
                        new[:, i, j] = old.blocks[layer][:, i, j]
                elif follows and i in duplicates_below:
                    new[:, duplicates_below[i], j] = block[:, i, source]
                else:
                    new[:, i, j] = block[:, i, source]
        blocks.append(new)
        if layer < 3:
            bias = [old.biases[layer][j] if j in units else body.biases[layer][j]
                    for j in range(block.shape[2])]
            biases.append(np.array(bias + [body.biases[layer][j] for j in units]))
        duplicates_below = {i: block.shape[2] + rank for rank, i in enumerate(units)}
        inputs = block.shape[2]
    return Body(blocks[:3], biases, blocks[3])


@pytest.mark.parametrize('chosen', [([1], [3, 0], [2]), ([], [1], []), ([2, 0], [], [4, 1, 0]),
                                    ([0, 1, 2], [0, 1, 2, 3], [])])
def test_split_follows_the_table(drifted, chosen):
    body, old = drifted
    untouched = copy_of(body), copy_of(old)
    found = den_blocks.split(body, (old.blocks, old.biases), [np.array(units, int) for units in chosen])
    expected = split_by_hand(body, old, chosen)
    for one, other in zip(found.blocks + found.biases + [found.head], expected.blocks + expected.biases
                          + [expected.head]):
        np.testing.assert_array_equal(one, other)
    assert found.widths == [width + len(units) for width, units in zip(WIDE, chosen)]
    for one, other in zip(untouched, (body, old)):        # the arrays that it was given stay
        for array, same in zip(one.blocks + one.biases + [one.head], other.blocks + other.biases
                               + [other.head]):
            np.testing.assert_array_equal(array, same)


def test_all_units_split_change_nothing_for_any_task(drifted):
    body, old = drifted
    split = den_blocks.split(body, (old.blocks, old.biases), [np.arange(width) for width in WIDTHS])
    before = old_logits(old, old)
    assert np.abs(old_logits(body, old) - before).max() > 0.01       # the task had changed them
    np.testing.assert_allclose(old_logits(split, old), before, rtol=1e-5)
    np.testing.assert_allclose(logits(split, HEAD_BIAS, IMAGES), logits(body, HEAD_BIAS, IMAGES), rtol=1e-5)


def test_no_unit_split_is_the_same_network(drifted):
    body, old = drifted
    same = den_blocks.split(body, (old.blocks, old.biases), [np.zeros(0, int)] * 3)
    for one, other in zip(same.blocks + same.biases + [same.head], body.blocks + body.biases + [body.head]):
        np.testing.assert_array_equal(one, other)


# ---- evaluation ----

def test_units_outside_a_tasks_prefix_are_not_read():
    body, state = random_body(9, WIDE), np.random.RandomState(0)
    before = logits(narrowed(body, WIDTHS), HEAD_BIAS, IMAGES)
    sizes = [2] + WIDTHS
    for block, inputs, outputs in zip(body.blocks, sizes, sizes[1:]):
        np.testing.assert_array_equal(den_blocks.prefix(block, inputs, outputs), block[:, :inputs, :outputs])
        noisy = block + state.normal(size=block.shape)
        noisy[:, :inputs, :outputs] = block[:, :inputs, :outputs]
        block[...] = noisy
    blocks = [den_blocks.prefix(block, *pair) for block, pair in zip(body.blocks, zip(sizes, sizes[1:]))]
    found = Body(blocks, [bias[:width] for bias, width in zip(body.biases, WIDTHS)], body.head[:, :5])
    np.testing.assert_array_equal(logits(found, HEAD_BIAS, IMAGES), before)


def test_cross_entropy():
    found = den_blocks.cross_entropy(np.array([[0., 0.], [1000., 0.], [0., np.log(3.)]], np.float32),
                                     np.array([0, 0, 1]))
    np.testing.assert_allclose(found, (np.log(2) + 0 + np.log(4 / 3.)) / 3, rtol=1e-6)
    assert CLASSES == random_body(0).head.shape[2] and NET.num_features == 16
