"""DARTS: both orders of the update against numbers computed from the objective itself."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.model import cnn_darts_model
from classification.model.declare import MECHANISMS, Declared
from classification.model.mechanisms import HardSharing, Mechanism
from classification.model.method import Batch
from tests.support.tiny import BATCH, Rig, make_method, random_batch
from utils.utils_nn import Parameters, assign, bias_value, truncated_normal

OPTIONS = {'hps': {}, 'tf': dict(auxiliary_loss_weight=0.1), 'dfcnn': dict(regularization_scale=(1e-2, 1e-3)),
           'apd': dict(lambda1=0.1, lambda2=100.)}
TRAIN, VALID = random_batch(1), random_batch(2)
RATE = 0.05


def darts(mechanism='hps', order=1, data='train', keep=1.):
    return make_method('darts', mechanism, keep, darts_approx_order=order, darts_selection_data=data,
                       **OPTIONS.get(mechanism, {}))


class Bilevel(object):
    """A DARTS graph in float64 whose training and selection losses can be taken at any weights and
    selections."""

    def __init__(self, mechanism, order):
        self.method, self.graph = darts(mechanism, order, 'valid'), tf.Graph()
        with self.graph.as_default():
            self.parameters = Parameters({}, [1], _spread, tf.float64)
            self.seed, self.rate = tf.constant([1, 2]), tf.constant(RATE, tf.float64)
            valid = self._batch(VALID)
            batch = self._batch(TRAIN)._replace(selection=valid)
            self.method.build(self.parameters, 1, batch)
            self.gradients = self.method.selection_gradients
            self.losses = [self.method.mixed_loss(self.parameters, 1, part) for part in (batch, valid)]
            self.selections = [v for n, v in self.parameters.variables.items() if n.endswith('/selection')]
            self.weights = [v for v in self.parameters.trained if v not in self.selections]
            self.training_gradients = [tf.convert_to_tensor(g)
                                       for g in tf.gradients(self.losses[0], self.weights)]
            initialise = tf.global_variables_initializer()
        self.session = tf.Session(graph=self.graph)
        self.session.run(initialise)
        assign(self.session, self.parameters.start_values())
        self.start = self.session.run(self.weights)

    def _batch(self, data):
        return Batch(tf.constant(data[0], tf.float64), tf.constant(data[1], tf.int32), self.rate, self.seed,
                     BATCH)

    def objective(self, selections):
        """Selection loss after one step of the weights on the training loss:
        what the second order differentiates."""
        assign(self.session, dict(zip(self.selections, selections)))
        assign(self.session, dict(zip(self.weights, self.start)))
        gradients = self.session.run(self.training_gradients)
        assign(self.session, dict(zip(self.weights, [w - RATE * g for w, g in zip(self.start, gradients)])))
        loss = self.session.run(self.losses[1])
        assign(self.session, dict(zip(self.weights, self.start)))
        return loss

    def numeric_gradient(self, function, at, step=1e-5):
        found = [np.zeros(2) for _ in at]
        for layer in range(len(at)):
            for place in range(2):
                sides = []
                for sign in (1, -1):
                    moved = [value.copy() for value in at]
                    moved[layer][place] += sign * step
                    sides.append(function(moved))
                found[layer][place] = (sides[0] - sides[1]) / (2 * step)
        return np.array(found)


def _spread(name):
    """Initial values large enough for the second derivative to show."""
    state = np.random.RandomState(len(name) * 7 + sum(map(ord, name)) % 1000)
    return type('State', (), {'standard_normal': lambda self,
                              shape: 6 * np.clip(state.standard_normal(shape), -.3, .3),
                              'uniform': lambda self, low, high, shape: 1.5
                              * state.uniform(low, high, shape)})()


SELECTIONS = [np.array([0.3, -0.2]), np.array([-0.5, 0.1]), np.array([0.2, 0.6])]


# without and with losses and variables of a task's own
@pytest.mark.parametrize('mechanism', ['hps', 'dfcnn'])
def test_second_order_differentiates_the_bilevel_objective(mechanism, monkeypatch):
    assert cnn_darts_model.DIFFERENCE == 0.01
    monkeypatch.setattr(cnn_darts_model, 'DIFFERENCE', 1e-6)        # so small a network bends within 0.01
    rig = Bilevel(mechanism, 2)
    expected = rig.numeric_gradient(rig.objective, SELECTIONS)
    assign(rig.session, dict(zip(rig.selections, SELECTIONS)))
    computed = np.array(rig.session.run(rig.gradients))
    first_order = rig.numeric_gradient(lambda s: _loss_at(rig, 1, s, ahead=True), SELECTIONS)
    assert np.abs(first_order - expected).max() > 1e-7
    np.testing.assert_allclose(computed, expected, atol=1e-3 * np.abs(first_order - expected).max())


class Demanding(Mechanism):
    """Uses everything that parameters offer, with arguments by name too."""
    name = 'demanding'

    def weights(self, task):
        given, shape, bias = self.parameters, self.spec.shape, self.spec.shape[-1:]
        kernel = given.shared(self.layer, self.name, part='kernel', shape=shape, initial=truncated_normal,
                              trainable=True)
        fixed = given.shared(self.layer, self.name, 'fixed', shape, truncated_normal, trainable=False)
        scale = given.own(self.layer, task, self.name, 'scale', bias, initial=bias_value, trainable=True)
        constant = given.own(self.layer, task=task, mechanism=self.name, part='constant', shape=bias,
                             initial=bias_value, trainable=False)
        mask = given.kept(self.layer, task, self.name, 'mask', bias, initial=bias_value)
        rows = tf.gather(given.own(self.layer, task, self.name, 'rows', (4,) + bias, truncated_normal),
                         [1, 2])
        return kernel * scale + fixed * mask, tf.cast(constant, given.dtype) + tf.reduce_sum(rows, axis=0)

    def extra_loss(self, task):
        given, kernel = self.parameters, '%s/shared/%s/kernel' % (self.layer, self.name)
        assert task in given.training and kernel not in given.store and given.draw(kernel) is not None
        assert kernel in given.start and len(given.start_values()) == len(given.start)
        return 0.01 * tf.add_n([tf.nn.l2_loss(v) for v in given.trained]) + tf.nn.l2_loss(given.variables[
            kernel])


def test_the_second_order_is_right_for_whatever_a_mechanism_asks_of_parameters(monkeypatch):
    monkeypatch.setitem(MECHANISMS, 'demanding', Declared('demanding', 'Demanding', Demanding, ''))
    test_second_order_differentiates_the_bilevel_objective('demanding', monkeypatch)


class Idle(HardSharing):
    """Makes a variable that it does not use."""
    def weights(self, task):
        self.own(task, 'idle', (2,), bias_value)
        return super(Idle, self).weights(task)


def test_a_weight_that_the_loss_does_not_depend_on_stays_as_it_is(monkeypatch):
    monkeypatch.setitem(MECHANISMS, 'idle', Declared('idle', 'Idle', Idle, ''))
    with Rig(darts('idle', 2), {}, 0, [0]) as rig:
        before = rig.values()
        rig.step(*random_batch())
        after = rig.values()
    assert {name for name in after if (after[name] == before[name]).all()} == {
        'conv%d/task0/hps/idle' % layer for layer in range(3)}


def _loss_at(rig, which, selections, ahead):
    """A loss with the weights held: one step ahead from SELECTIONS, or where they are."""
    if ahead:
        assign(rig.session, dict(zip(rig.selections, SELECTIONS)))
        gradients = rig.session.run(rig.training_gradients)
        assign(rig.session, dict(zip(rig.weights, [w - RATE * g for w, g in zip(rig.start, gradients)])))
    assign(rig.session, dict(zip(rig.selections, selections)))
    loss = rig.session.run(rig.losses[which])
    assign(rig.session, dict(zip(rig.weights, rig.start)))
    return loss


# without and with losses and variables of a task's own
@pytest.mark.parametrize('mechanism', ['hps', 'dfcnn'])
def test_first_order_is_the_derivative_of_the_selection_loss(mechanism):
    rig = Bilevel(mechanism, 1)
    expected = rig.numeric_gradient(lambda s: _loss_at(rig, 1, s, ahead=False), SELECTIONS)
    assign(rig.session, dict(zip(rig.selections, SELECTIONS)))
    np.testing.assert_allclose(rig.session.run(rig.gradients), expected, rtol=1e-4, atol=1e-8)


def test_weights_are_updated_after_the_selection_and_with_it():
    images, labels = random_batch(0, 3)
    with Rig(darts(), {}, 0, [0], dtype=tf.float64) as rig:
        start = rig.values()
        loss = rig.step(images, labels, rate=0.5, fetch=rig.method.loss)
        selected = {name: value for name, value in rig.values().items() if name.endswith('/selection')}
    assert all(np.abs(value).max() > 0 for value in selected.values())
    # the loss at the new selection, not at the old one
    for selection, expected in ((selected, True), ({}, False)):
        with Rig(darts(), dict(start, **selection), 0, [0], dtype=tf.float64) as rig:
            at = rig.session.run(rig.method.loss, {rig.images: images, rig.labels: labels, rig.rate: 0.,
                                                   rig.seed: (1, 2)})
        assert np.isclose(at, loss, rtol=1e-12, atol=0) == expected


def test_discretised_network_is_evaluated_and_kept():
    method = darts()
    with Rig(method, {}, 0, [0]) as rig:
        selections = {'conv0': [0., 0.], 'conv1': [-1., 1.], 'conv2': [2., 1.]}       # tie: task-specific
        assign(rig.session, {rig.parameters.variables['%s/task0/darts/selection' % layer]: value
                             for layer, value in selections.items()})
        images = random_batch(3)[0]
        row = method.end_epoch(rig, 0, False)['history_DARTS_arch_select']
        fixed = make_method('hybrid', 'hps', pattern='TST')
        with Rig(fixed, rig.values(), 0, [0]) as other:
            np.testing.assert_allclose(rig.logits(0, images), other.logits(0, images), atol=1e-6)
        store = method.end_task(0, {}, rig.values(), rig)
    np.testing.assert_allclose(row, [0, 0, -1, 1, 2, 1])
    assert row.dtype == np.float32 and method.pattern_of(0) == 'TST'
    assert sorted(name for name in store if name.startswith('conv')) == [
        'conv0/task0/own/bias', 'conv0/task0/own/kernel', 'conv1/shared/hps/bias', 'conv1/shared/hps/kernel',
        'conv2/task0/own/bias', 'conv2/task0/own/kernel']
    np.testing.assert_array_equal(method.extra([0])['conv_sharing'], [[0, 1, 0]])
    assert method.extra([0])['conv_sharing'].dtype == np.int64


def test_one_dropout_mask_for_a_whole_step():
    method = darts(order=2, keep=0.5)
    with Rig(method, {}, 0, [0]) as rig:
        masks = [op for op in rig.graph.get_operations() if 'StatelessRandomUniform' in op.type]
        seeds = {rig.session.run(op.inputs[1], {rig.seed: (5, 6), rig.images: TRAIN[0], rig.labels: TRAIN[1],
                                                rig.rate: 0.1}).tobytes() for op in masks}
    assert len(masks) >= 4 and len(seeds) == 1


def test_selection_data():
    assert darts(data='valid').validation_batches and not darts(data='train').validation_batches
