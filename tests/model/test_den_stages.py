"""DEN: what one step of each stage trains, penalizes and shrinks, against NumPy; what happens between the
stages."""
import copy

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.gen_data import Split, Task
from classification.model import den_graph
from classification.model.cnn_den_model import stage_epochs
from classification.model.den_blocks import Body, from_block, to_block
from classification.model.den_stages import EXPANSION, HEAD, RETRAINING, SUBNETWORK, Head, Subnetwork
from classification.model.method import Batch
from tests.support import den
from tests.support.den import (
    CHANNELS,
    HEAD_BIAS,
    IMAGES,
    LAYERS,
    POSITIONS,
    K,
    blocks_of,
    groups_shrunk,
    make_task,
    method_of,
    random_body,
    shrunk,
    soft,
)
from utils import runtime
from utils import utils_env_cl as env
from utils.utils_nn import Parameters, assign

# ---- tables ----

def test_epochs_of_the_stages():
    fractions = env.DEN['den_stage_fractions']
    assert stage_epochs(fractions, 2000) == [300, 700, 500, 500]
    assert stage_epochs(fractions, 50) == [8, 17, 13, 12]       # 7.5 and 37.5 are rounded up
    assert stage_epochs(fractions, 1) == [0, 1, 0, 0]
    # a skipped stage's epochs are not spent elsewhere
    assert stage_epochs((0.15, 0, 0.25, 0), 8) == [1, 0, 2, 0]
    for epochs in range(1, 130):
        assert sum(stage_epochs(fractions, epochs)) == epochs and min(stage_epochs(fractions, epochs)) >= 0


# ---- one step of each stage against NumPy ----

THRESHOLD, GROUP, RATE, L2, REG = 0.02, 1.2, 0.1, 0.3, 0.7
SELECTED = [np.array(units, bool) for units in ([1, 1], [0, 1, 1], [1, 1, 0, 1], [1, 0, 1, 1, 0])]
LABELS = np.array([0, 1, 2, 2, 1, 0], np.int32)


def stored(body, head_bias, task):
    """dict name -> array, as the parameter store names it."""
    names = ['%s/%s/den/' % (layer.name, 'shared' if place < 3 else 'task%d' % task) for place,
             layer in enumerate(LAYERS)]
    values = {name + 'kernel': from_block(block, layer.kernel)
              for name, block, layer in zip(names, body.blocks + [body.head], LAYERS)}
    values.update((name + 'bias', bias) for name, bias in zip(names, body.biases + [head_bias]))
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


class Stage(object):
    """One step of a stage with plain gradient descent; task 1 runs after task 2 was learned with WIDTHS
    units.

    Attributes:
        loss: before the step. old, new, gradients: dict name -> array. previous: Body.
    """

    def __init__(self, phase, learned=True, **changes):
        self.method = method_of(l1_lambda=THRESHOLD, gl_lambda=GROUP, l2_lambda=L2, reg_lambda=REG, **changes)
        self.previous, current = random_body(0, dtype=np.float32), random_body(1, dtype=np.float32)
        store = stored(self.previous, HEAD_BIAS, 2)
        if learned:
            self.method.remember(2)
            self.method.start_task(1, store, None)
        if phase == RETRAINING and learned:
            current = random_body(1, [4, 6, 6], dtype=np.float32)
            self.method.state['width'] = [4, 6, 6]
        self.method.state['now']['expand'] = True
        self.method.phases(1, 3)
        self.method.arrays.update(('selected/%d' % layer, units) for layer, units in enumerate(SELECTED))
        store.update(stored(current, HEAD_BIAS, 1))
        with tf.Graph().as_default() as graph:
            parameters = Parameters(store, [1], lambda name: np.random.RandomState(len(name)))
            images, labels = tf.constant(IMAGES, tf.float32), tf.constant(LABELS)
            self.method.build(parameters, 1, Batch(images, labels, tf.constant(RATE), tf.constant([1, 2]), 6,
                                                   4), phase)
            variables = parameters.variables
            logits = self.method.logits(parameters, 1, images)
            gradients = tf.gradients(self.method.loss, list(variables.values()))
            initialise = tf.global_variables_initializer()
            with tf.Session(graph=graph, config=runtime.session_config(1)) as session:
                session.run(initialise)
                assign(session, parameters.start_values())
                known = [gradient for gradient in gradients if gradient is not None]
                self.logits, self.loss, found, self.old = session.run([logits, self.method.loss, known,
                                                                       dict(variables)])
                self.gradients = dict(zip([name for name, gradient in zip(variables, gradients)
                                           if gradient is not None], found))
                session.run(self.method.update)
                self.new = session.run(dict(variables))

    def changed(self):
        """Names of what the step changed."""
        return {name for name in self.old if not np.array_equal(self.old[name], self.new[name])}

    def descended(self, name):
        return self.old[name] - np.float32(RATE) * self.gradients[name]

    def check(self, name, positions=None, by_edge=True):
        """Asserts that a variable is what descent and, for weights, shrinking give."""
        expected = self.descended(name)
        if positions:
            expected = shrunk(to_block(expected, positions), THRESHOLD, by_edge).reshape(expected.shape)
        np.testing.assert_allclose(self.new[name], expected, atol=2e-6, err_msg=name)


@pytest.fixture(autouse=True)
def descent(monkeypatch, request):
    """Plain gradient descent in place of Adam, where a test asks for it."""
    if request.node.get_closest_marker('descent'):
        monkeypatch.setitem(den_graph.OPTIMIZERS, 'adam', tf.train.GradientDescentOptimizer)


def mean_loss(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return -np.mean(np.log(np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True))[
        np.arange(6), LABELS])


def half_squares(*arrays):
    return 0.5 * sum((np.asarray(array, np.float64) ** 2).sum() for array in arrays)


def logits_of(blocks, biases):
    return den.logits(Body(blocks[:3], biases[:3], blocks[3]), biases[3], IMAGES)


def names(values, *parts):
    return {name for name in values if name.endswith(parts)}


@pytest.mark.descent
@pytest.mark.parametrize('by_edge', [True, False])
def test_the_first_task_trains_and_shrinks_everything(by_edge):
    stage = Stage(0, learned=False, den_edge_group_l1=by_edge)
    blocks, biases = blocks_of(stage.old, 1)
    np.testing.assert_allclose(stage.logits, logits_of(blocks, biases), atol=1e-5)
    np.testing.assert_allclose(stage.loss, mean_loss(logits_of(blocks, biases)) + L2 * half_squares(*blocks),
                               rtol=1e-5)
    assert stage.changed() == set(stage.old)
    for place, (layer, positions) in enumerate(zip(LAYERS, POSITIONS)):
        owner = 'shared' if place < 3 else 'task1'
        stage.check('%s/%s/den/kernel' % (layer.name, owner), positions, by_edge)
        stage.check('%s/%s/den/bias' % (layer.name, owner))


@pytest.mark.descent
def test_stage_a_trains_the_head_only():
    stage = Stage(HEAD)
    blocks, biases = blocks_of(stage.old, 1)
    np.testing.assert_allclose(stage.loss, mean_loss(logits_of(blocks, biases)) + L2
                               * half_squares(blocks[3]), rtol=1e-5)
    assert stage.changed() == {'fc1/task1/den/kernel', 'fc1/task1/den/bias'}
    stage.check('fc1/task1/den/kernel', 1)
    stage.check('fc1/task1/den/bias')
    assert (stage.new['fc1/task1/den/kernel'] == 0).any()


@pytest.mark.descent
@pytest.mark.parametrize('reg', [True, False])
def test_stage_b_trains_what_is_selected_without_shrinking(reg):
    stage = Stage(SUBNETWORK, den_reg_in_retraining=reg)
    blocks, biases = blocks_of(stage.old, 1)
    masks = [np.outer(below, above)[None] for below,
             above in zip(SELECTED, SELECTED[1:] + [np.ones(3, bool)])]
    penalty = L2 * half_squares(*[block * mask for block, mask in zip(blocks, masks)])
    if reg:
        penalty += REG * half_squares(*[(block - old) * mask for block, old,
                                        mask in zip(blocks, stage.previous.blocks, masks)])
        penalty += REG * half_squares(*[(bias - old)[units] for bias, old, units in zip(
            biases, stage.previous.biases, SELECTED[1:])])
    np.testing.assert_allclose(stage.loss, mean_loss(logits_of(blocks, biases)) + penalty, rtol=1e-5)
    new, new_biases = blocks_of(stage.new, 1)
    for place, (layer, mask) in enumerate(zip(LAYERS, masks)):
        name = '%s/%s/den/' % (layer.name, 'shared' if place < 3 else 'task1')
        mask = np.broadcast_to(mask, new[place].shape)
        np.testing.assert_array_equal(new[place][~mask], blocks[place][~mask])
        expected = to_block(stage.descended(name + 'kernel'), POSITIONS[place])
        np.testing.assert_allclose(new[place][mask], expected[mask], atol=2e-6)
        assert (new[place][mask] != blocks[place][mask]).mean() > 0.9
        units = SELECTED[place + 1] if place < 3 else np.ones(3, bool)
        np.testing.assert_array_equal(new_biases[place][~units], biases[place][~units])
        np.testing.assert_allclose(new_biases[place][units], stage.descended(name + 'bias')[units], atol=2e-6)
    assert not {name for name in stage.changed() if 'task2' in name}


@pytest.mark.descent
def test_stage_c_trains_new_units_and_the_head():
    stage = Stage(EXPANSION)
    old = stage.old
    blocks, biases = blocks_of(old, 1)
    rows = [old['%s/%s/den/new_rows' % (layer.name, 'shared' if place < 3 else 'task1')] for place,
            layer in enumerate(LAYERS)]
    columns, new_biases = [[old['%s/shared/den/%s' % (layer.name, part)] for layer in LAYERS[:3]]
                           for part in ('new_columns', 'new_bias')]
    assert [array.shape for array in columns] == [(9, CHANNELS, K), (9, 3 + K, K), (4, 4 + K, K)]
    assert [array.shape for array in rows] == [(9, 0, 3), (9, K, 4), (4, K, 5), (1, K, 3)]
    assert all((bias == np.float32(0.2)).all() for bias in new_biases)
    assert all(0.02 < array.std() < 0.06 and np.abs(array).max() <= 0.1 for array in columns + rows
               if array.size > 30)
    wide = [np.concatenate([np.concatenate([block, row], axis=1)] + [column] * (place < 3), axis=2)
            for place, (block, row, column) in enumerate(zip(blocks, rows, columns + [None]))]
    whole = logits_of(wide, [np.concatenate(pair) for pair in zip(biases, new_biases)] + biases[3:])
    np.testing.assert_allclose(stage.logits, whole, atol=1e-5)
    np.testing.assert_allclose(stage.loss, mean_loss(whole) + L2 * half_squares(blocks[3], *(rows + columns)),
                               rtol=1e-5)

    kept = {name for name in names(old, 'kernel', 'bias') if 'shared' in name and 'new' not in name}
    assert not stage.changed() & (kept | names(old, 'fc1/task2/den/kernel', 'fc1/task2/den/bias'))
    for place, (layer, positions) in enumerate(zip(LAYERS, POSITIONS)):
        name = '%s/%s/den/' % (layer.name, 'shared' if place < 3 else 'task1')
        if place:
            stage.check(name + 'new_rows', positions)
        if place < 3:
            after = groups_shrunk(shrunk(stage.descended(name + 'new_columns'), THRESHOLD),
                                  stage.descended(name + 'new_bias'), RATE * GROUP)
            np.testing.assert_allclose(stage.new[name + 'new_columns'], after[0], atol=2e-6)
            np.testing.assert_allclose(stage.new[name + 'new_bias'], after[1], atol=2e-6)
    stage.check('fc1/task1/den/kernel', 1)
    stage.check('fc1/task1/den/bias')
    dead = [not stage.new['%s/shared/den/new_columns' % layer.name].any() for layer in LAYERS[:3]]
    assert any(dead) and not all(dead)          # both happen here


@pytest.mark.descent
def test_stage_d_trains_everything_near_what_it_was():
    stage = Stage(RETRAINING)
    blocks, biases = blocks_of(stage.old, 1)
    penalty = L2 * half_squares(*blocks)
    for block, bias, old, old_bias in zip(blocks, biases, stage.previous.blocks, stage.previous.biases):
        inputs, units = old.shape[1:]
        penalty += REG * half_squares(block[:, :inputs, :units] - old, bias[:units] - old_bias)
    np.testing.assert_allclose(stage.loss, mean_loss(logits_of(blocks, biases)) + penalty, rtol=1e-5)
    assert stage.changed() == {name for name in stage.old if 'task2' not in name}
    for place, (layer, positions) in enumerate(zip(LAYERS, POSITIONS)):
        name = '%s/%s/den/' % (layer.name, 'shared' if place < 3 else 'task1')
        stage.check(name + 'kernel', positions)
        stage.check(name + 'bias')


@pytest.mark.descent
def test_the_threshold_may_follow_the_learning_rate():
    stage = Stage(HEAD, den_l1_mode='lr_scaled')
    kernel = 'fc1/task1/den/kernel'
    np.testing.assert_allclose(stage.new[kernel], soft(stage.descended(kernel), THRESHOLD * RATE), atol=2e-6)


@pytest.mark.descent
def test_the_threshold_may_be_for_all_steps_of_a_task():
    kernel = 'fc1/task1/den/kernel'
    for cap, threshold in ((1., THRESHOLD / 12), (0.01, 0.01 * RATE)):       # 3 epochs of 4 steps
        stage = Stage(HEAD, den_l1_mode='per_task', den_l1_cap=cap)
        np.testing.assert_allclose(stage.new[kernel], soft(stage.descended(kernel), threshold), atol=1e-6)


def test_new_units_may_start_unread_by_old_ones():
    stage = Stage(EXPANSION, den_new_to_old_start='zeros')
    assert not any(stage.old['%s/shared/den/new_rows' % layer.name].any() for layer in LAYERS[:3])
    assert stage.old['fc1/task1/den/new_rows'].all()


# ---- between the stages ----

def test_every_class_counts_in_the_selection_and_edges_are_those_before_the_task():
    method = method_of()
    body = random_body(0)
    for block in body.blocks:
        block[...] = 0
    body.blocks[0][8, 1, 2] = body.blocks[1][7, 2, 3] = body.blocks[2][2, 3, 4] = 1e-3
    store = stored(body, HEAD_BIAS, 2)
    method.remember(2)
    method.start_task(1, store, None)
    values = dict(store, **stored(random_body(1)._replace(head=np.zeros((1, 5, 3))), HEAD_BIAS, 1))
    values['fc1/task1/den/kernel'][4, 2] = -1e-3          # the last class only
    Head(method, 1).end(values, None)
    assert [np.flatnonzero(method.arrays['selected/%d' % layer]).tolist()
            for layer in range(4)] == [[0, 1], [2], [3], [4]]
    np.testing.assert_allclose(method.state['now']['selected'], [1 / 3., 1 / 4., 1 / 5.])


def test_weights_before_the_task_are_copies():
    method, store = method_of(), stored(random_body(0), HEAD_BIAS, 2)
    before = copy.deepcopy(store)
    method.remember(2)
    method.start_task(1, store, None)
    for value in store.values():
        value += 1
    assert set(method.arrays) == {'previous/' + name for name in store if 'shared' in name}
    for name, value in method.arrays.items():
        np.testing.assert_array_equal(value, before[name[len('previous/'):]])


@pytest.mark.parametrize('expand, threshold, found', [
    ('loss', 0.01, True), ('loss', 1e9, False), ('always', 1e9, True), ('never', 0.01, False)])
def test_units_are_added_if_the_loss_is_high(expand, threshold, found):
    class Graph(object):        # five training images of two classes
        task = Task(1, 2, classes=(), valid=None, test=None, train=Split(
            np.array([0, 1, 1, 0, 1], np.int32), None, None, None, None, None))
        rows = np.array([[9., 0], [0, 9], [0, 9], [9, 0], [1, 0]])

        def probe(self, name, part):
            assert name == 'logits1' and part is self.task.train
            return self.rows
    method = method_of(den_expand=expand, loss_threshold=threshold)
    method.remember(2)
    method.phases(1, 20)
    Subnetwork(method, 1).end({}, Graph())
    np.testing.assert_allclose(method.state['now']['loss'], (np.log1p(np.exp(1)) + 4 * np.log1p(np.exp(-9)))
                               / 5)
    assert method.state['now']['expand'] is found
    assert method.phases(1, 20) == [3, 7, 5 if found else 0, 5]
    method.options['den_stage_fractions'] = (0.5, 0.5, 0, 0)     # no epochs: no units
    method.phases(1, 20)
    Subnetwork(method, 1).end({}, Graph())
    assert not method.state['now']['expand']


def test_clean_up_takes_the_bias_of_units_that_read_nothing():
    stage = Stage(EXPANSION)
    values = dict(stage.old)
    values['fc0/shared/den/new_columns'] = np.array(values['fc0/shared/den/new_columns'])
    values['fc0/shared/den/new_columns'][:, :, 1] = 9e-5
    cleaned = stage.method.stage.cleaned(values, 1e-4)
    assert not cleaned['fc0/shared/den/new_columns'][:, :, 1].any()
    assert cleaned['fc0/shared/den/new_bias'].tolist() == [np.float32(0.2), 0]
    assert cleaned['conv1/shared/den/new_bias'].tolist() == [np.float32(0.2)] * 2
    assert set(cleaned) == names(values, 'new_columns', 'new_rows', 'new_bias', 'fc1/task1/den/kernel')


class CleanUp(object):
    """A clean-up that makes what is smaller than 0.1 zero.

    Attributes:
        said: lines. set: dict name -> array: what the graph was given; None: nothing.
    """
    task, learning_rate = make_task(1), 0.05

    def __init__(self, stage, values, *logits):
        self.logits, self.given, self.said, self.set = iter(logits), dict(stage.old, **values), [], None
        stage.method.options.update(den_zero_mode='lr_scaled', den_zero_eps=2.)
        stage.method.log = self.said.append
        stage.method.end_epoch(self, 1, True)

    def values(self):
        return dict(self.given)

    def set_values(self, values):
        self.set = values

    def probe(self, name, part):
        return next(self.logits)


def test_a_clean_up_that_changes_the_output_is_logged_whatever_is_right():
    stage, logits = Stage(HEAD), np.tile([5., 0, 0], (63, 1))
    found = CleanUp(stage, {}, logits, logits + 1)
    assert {name for name in found.set if (found.set[name] != stage.old[name]).any()} == {
        'fc1/task1/den/kernel'}
    assert found.said == []
    line, = CleanUp(stage, {}, logits, np.tile([2., 0, 0], (63, 1))).said      # the same class has the most
    change = 1 / (1 + 2 * np.exp(-5)) - 1 / (1 + 2 * np.exp(-2))
    assert 'task 1: warning: making small weights 0 changed' in line and 'by %.4f on average' % change in line


@pytest.mark.parametrize('name', ['conv0/shared/den/kernel', 'conv1/shared/den/kernel',
                                  'fc0/shared/den/kernel', 'fc1/task1/den/kernel'])
def test_a_clean_up_that_would_cut_the_image_off_is_skipped_and_logged(name):
    stage = Stage(RETRAINING)
    found = CleanUp(stage, {name: np.clip(stage.old[name], -.09, .09)})
    line, = found.said
    assert 'were not made 0' in line and ' %s ' % name.split('/')[0] in line
    assert found.set is None and (np.array(stage.method.state['now']['density']['3']) > 0).all()


def test_a_clean_up_that_would_leave_no_way_through_two_layers_is_skipped_too():
    stage = Stage(RETRAINING)
    below, above = np.array(stage.old['conv1/shared/den/kernel']), np.array(
        stage.old['fc0/shared/den/kernel'])
    below[..., 1:] = above.reshape(4, 6, 6)[:, :1] = 0.05        # conv1's first unit, which fc0 does not read
    found = CleanUp(stage, {'conv1/shared/den/kernel': below, 'fc0/shared/den/kernel': above})
    assert found.set is None and 'conv1' in found.said[0]


def test_a_network_that_was_cut_off_before_the_clean_up_is_logged():
    stage = Stage(RETRAINING)
    logits = np.zeros((63, 3))                            # no answer changes
    name = 'conv1/shared/den/kernel'
    found = CleanUp(stage, {name: np.zeros_like(stage.old[name])}, logits, logits)
    line, = found.said
    assert 'does not depend on the image' in line and 'conv1' in line and found.set is not None


@pytest.mark.parametrize('mode, least', [('lr_scaled', 0.1), ('absolute', 2.)])
def test_the_clean_up_follows_the_learning_rate(mode, least):
    stage = Stage(HEAD)
    stage.method.options.update(den_zero_mode=mode, den_zero_eps=2.)
    np.testing.assert_allclose(stage.method.stage.least(0.05), least)


def test_a_layer_that_nothing_reads_is_selected_and_logged():
    method, said = method_of(), []
    method.log = said.append
    body = random_body(0, dtype=np.float32)
    body.blocks[1][...] = 0
    method.remember(2)
    method.start_task(1, stored(body, HEAD_BIAS, 2), None)
    head = np.zeros((1, 5, 3))
    head[0, 2] = 1
    Head(method, 1).end(stored(body._replace(head=head), HEAD_BIAS, 1), None)
    line, = said
    assert 'no selected unit reads conv0' in line
    assert [int(method.arrays['selected/%d' % layer].sum()) for layer in range(4)] == [2, 3, 4, 1]
