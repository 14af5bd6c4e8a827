"""ChannelGate in both modes: layers and gates against plain NumPy, what is frozen, what is never
forgotten."""
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.model import cnn_channel_gate_model
from classification.results.trial_record import TEST
from classification.trial.count_parameters import count_of
from classification.trial.schedule import TaskProgress
from classification.trial.task_graph import GraphSettings, TaskGraph
from tests.support.tiny import (
    BATCH,
    NET,
    NETWORK,
    Rig,
    accuracies,
    draw,
    make_experiment,
    make_method,
    make_net,
    make_task,
    make_trial,
    numpy_convolution,
    numpy_pool,
    quick_config,
    random_batch,
    train,
)
from utils import utils_env_cl as env
from utils import utils_nn as nn
from utils.utils import random_state

PUBLISHED = dict(channel_gate_mode='published_code', gating_module_size=5, gating_temperature=0.1,
                 sparsity_loss_weight=100.)
PAPER = dict(channel_gate_mode='paper', channel_gate_hidden=5, channel_gate_bias=0.2,
             channel_gate_temperature=2 / 3.,
             channel_gate_sparsity=0.5, channel_gate_sparsity_start=0., channel_gate_relevance=0.)
NETS = {'VALID': env.build_net(NETWORK, (11, 11, 3), 'VALID'),
        'skips': env.build_net(NETWORK._replace(channels=(4, 4, 4), pools=(1, 2, 2)), (8, 8, 3),
                               skips=((1, 2), (2, 2)))}


def gates(options, net=NET, keep=1., classes=None, **changed):
    return make_method('channel_gate', keep=keep, net=net, classes=classes, pattern='S' * len(net.layers),
                       **dict(options, **changed))


class GateRig(Rig):
    """A Rig that also gives the factors of each layer, in training and in evaluation, and the sparsity's
    gradients."""

    def built(self):
        method = self.method
        self.sparsity_gradients = {variable.op.name: gradient for variable, gradient in zip(
            self.parameters.trained, tf.gradients(method.sparsity, self.parameters.trained))
                                   if gradient is not None}
        self.factors = [method.network(self.parameters, 0, images, gate)[1] for images, gate in (
            (self.images, lambda layer, x: method.training_gate(self.parameters, 0, layer, x, self.seed)),
            (self.eval_images, lambda layer, x: method.gate(self.parameters, 0, layer, x)))]

    def run(self, tensors, images, labels=(0, 1, 0, 1), seed=(1, 2)):
        return self.session.run(tensors, {self.images: images, self.labels: labels, self.rate: 0.,
                                          self.seed: seed, self.eval_images: images})


# ---- NumPy ----

def linear(values, layer, task, prefix, x):
    return x.dot(values['conv%d/task%d/gate/%skernel' % (layer, task, prefix)]) + values[
        'conv%d/task%d/gate/%sbias' % (layer, task, prefix)]


def published_gate(values, layer, task, x):
    """Factors and their logits."""
    logits = linear(values, layer, task, '', np.maximum(linear(values, layer, task, 'hidden_',
                                                               x.reshape(len(x), -1)), 0))
    powers = np.exp((logits - logits.max(1, keepdims=True)) / 0.1)
    return powers / powers.sum(1, keepdims=True)


def paper_logit(values, layer, task, x, training=False):
    part = {name: values['conv%d/task%d/gate/%s' % (layer, task, name)]
            for name in ('moving_mean', 'moving_variance', 'scale', 'offset')}
    hidden = linear(values, layer, task, 'hidden_', x.mean(axis=(1, 2)))
    mean, variance = (hidden.mean(0), hidden.var(0)) if training else (part['moving_mean'],
                                                                       part['moving_variance'])
    hidden = (hidden - mean) / np.sqrt(variance + 1e-5) * part['scale'] + part['offset']
    return linear(values, layer, task, '', np.maximum(hidden, 0))


def paper_gate(values, layer, task, x):
    return (paper_logit(values, layer, task, x) > 0) * values['conv%d/task%d/gate/relevance' % (layer, task)]


def fires(values, layer, task, x):
    return 1. * (paper_logit(values, layer, task, x) > 0)


def random_gates(net, task, averages=True):
    """dict name -> value of paper gates that differ from image to image."""
    state, values, hidden = np.random.RandomState(task), {}, PAPER['channel_gate_hidden']
    for layer, spec in enumerate(net.layers):
        shapes = dict(hidden_kernel=(spec.in_channels, hidden), hidden_bias=(hidden,), offset=(hidden,),
                      scale=(hidden,), kernel=(hidden, spec.out_channels), bias=(spec.out_channels,))
        parts = {part: state.normal(size=shape) for part, shape in shapes.items()}
        if averages:
            parts.update(moving_mean=0.1 * state.normal(size=hidden),
                         moving_variance=state.uniform(0.01, 0.1, hidden))
        values.update(('conv%d/task%d/gate/%s' % (layer, task, part), value) for part, value in parts.items())
    return values


def numpy_network(net, values, task, images, gate):
    """(logits, factors of each layer, input map of each layer)."""
    x, inputs, factors = images, [], []
    for layer, spec in enumerate(net.layers):
        inputs.append(x)
        factors.append(gate(values, layer, task, x))
        kernel, bias = [values['conv%d/shared/hps/%s' % (layer, part)] for part in ('kernel', 'bias')]
        y = np.maximum(numpy_convolution(x, kernel, bias, net.padding), 0)
        skips = [start for start, end in net.skips if end == layer]
        if not skips:
            x = numpy_pool(y, spec.pool, net.padding) * factors[-1][:, None, None, :]
            continue
        y = y * factors[-1][:, None, None, :]
        for start in skips:
            skipped = inputs[start]
            for passed in range(start, layer):
                skipped = numpy_pool(skipped, net.layers[passed].pool, net.padding)
            y = y + skipped
        x = numpy_pool(y, spec.pool, net.padding)
    x, fc = x.reshape(len(x), -1), 0
    while 'fc%d/task%d/own/kernel' % (fc, task) in values:
        x = (np.maximum(x, 0) if fc else x).dot(values['fc%d/task%d/own/kernel' % (fc, task)]) + values[
            'fc%d/task%d/own/bias' % (fc, task)]
        fc += 1
    return x, factors, inputs


def cross_entropy(logits, labels):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return -np.mean(np.log((powers / powers.sum(1, keepdims=True))[np.arange(len(labels)), labels]))


# ---- both modes ----

@pytest.mark.parametrize('options, gate', [(PUBLISHED, published_gate), (PAPER, paper_gate)],
                         ids=['published_code', 'paper'])
@pytest.mark.parametrize('name', sorted(NETS))
def test_the_network_is_the_numpy_network(name, options, gate):
    net = NETS[name]
    with Rig(gates(options, net), {}, 0, [0], dtype=tf.float64) as rig:
        images = random_batch(3, shape=net.image_shape)[0]
        values = rig.values()
        if options is PAPER:         # at their start, these gates are all open
            values.update(random_gates(net, 0))
            values['conv1/task0/gate/relevance'] = 1. * (np.arange(net.layers[1].out_channels) % 3 > 0)
            nn.assign(rig.session, {rig.parameters.variables[key]: value for key, value in values.items()})
        logits, factors, _ = numpy_network(net, values, 0, images, gate)
        np.testing.assert_allclose(rig.logits(0, images), logits, atol=1e-10)
        assert all(len(np.unique(factor.round(6))) > 1 for factor in factors)       # the gates say something


@pytest.mark.parametrize('data_type, gates_alone, trunk', [
    ('CIFAR100_10', {'published_code': 15516864, 'paper': 5552}, 65568),
    ('OfficeHome', {'published_code': 62031680, 'paper': 23600}, 1613312)])
def test_numbers_of_parameters(data_type, gates_alone, trunk):
    shape, family = {'C': ((32, 32, 3), 'cifar100'), 'O': ((128, 128, 3), 'officehome')}[data_type[0]]
    net = env.build_net(env.network_of(family, data_type, 4)[1], shape)
    independent = count_of('STL', net, {0: 10}, {}, 'TTTT')
    for mode, gates_of_task in gates_alone.items():
        options = dict(env.CHANNEL_GATE[mode], channel_gate_mode=mode)
        assert count_of('ChannelGate', net, {task: 10 for task in range(3)}, options, 'SSSS') == (
            trunk + 3 * (gates_of_task + independent - trunk))


def test_a_gate_may_come_before_or_after_pooling():
    state = np.random.RandomState(0)
    images, softmax = state.normal(size=(4, 8, 8, 3)), state.dirichlet(np.full(5, 0.1), 4)
    weights = [(state.normal(size=spec.shape), state.normal(size=spec.out_channels)) for spec in NET.layers]
    with tf.Graph().as_default(), tf.Session() as session:
        for factor in (softmax, (softmax > 0.1) * 1.):
            plain = [nn.activation(pair, 'SAME') for pair in weights]
            before = [plain[0], lambda x: nn.activation(weights[1], 'SAME')(x) * factor[:, None, None, :],
                      plain[2]]
            gated = [lambda x, spec=spec: tf.ones([4, spec.out_channels], tf.float64) for spec in NET.layers]
            gated[1] = lambda x: tf.constant(factor)
            one, other = session.run([nn.convolutional_part(NET, tf.constant(images), [[plain]], gated),
                                      nn.convolutional_part(NET, tf.constant(images), [[before]])])
            np.testing.assert_array_equal(one, other)
            assert one.any()


# ---- published_code ----

def test_softmax_gates_and_their_sparsity_loss():
    method = gates(PUBLISHED)
    with GateRig(method, {}, 0, [0]) as rig:
        images, labels = random_batch(0, 3)
        training, evaluated = rig.run(rig.factors, images)
        for one, other in zip(training, evaluated):
            np.testing.assert_array_equal(one, other)        # no noise: the same in training and evaluation
            np.testing.assert_allclose(one.sum(1), 1., rtol=1e-6)
        sparsity, loss = rig.run([method.sparsity, method.loss], images, labels)
        np.testing.assert_allclose(sparsity, np.mean([1 / 4., 1 / 5., 1 / 6.]), rtol=1e-6)
        np.testing.assert_allclose(loss, cross_entropy(rig.logits(0, images), labels) + 100 * sparsity,
                                   rtol=1e-6)
        gradients = rig.run(rig.sparsity_gradients, images)
        assert len(gradients) == 3 * 4 + 2 * 2 and max(np.abs(gradient).max()
                                                       for gradient in gradients.values()) < 1e-6


def test_published_gates_are_the_tasks_own_and_nothing_else_is():
    with Rig(gates(PUBLISHED), {}, 0, [0]) as rig:
        rig.step(*random_batch(0, 3))
        store = rig.values()
    with Rig(gates(PUBLISHED), store, 1, [0, 1]) as rig:
        images = random_batch(9)[0]
        before = rig.logits(0, images)
        for seed in range(3):
            rig.step(*random_batch(seed), rate=1.)
        after = rig.values()
        assert np.abs(rig.logits(0, images) - before).max() > 1e-6      # forgotten
    own = {name for name in store if '/task0/' in name}
    assert len(own) == 3 * 4 + 2 * 2 and len(store) - len(own) == 3 * 2
    for name, value in store.items():
        assert np.array_equal(after[name], value) == (name in own), name


# ---- paper: gates ----

def test_binary_gates_decide_with_noise_in_training_and_without_in_evaluation(monkeypatch):
    draws, uniform = [], tf.random.stateless_uniform

    def spy(shape, seed, **more):
        draws.append(seed)
        return uniform(shape, seed, **more)
    monkeypatch.setattr(tf.random, 'stateless_uniform', spy)
    method = gates(PAPER, keep=0.5)
    with GateRig(method, random_gates(NET, 0), 0, [0]) as rig:
        images, values = random_batch(5)[0], rig.values()
        seeds = [(3, seed) for seed in range(400)]
        training = [rig.run(rig.factors[0], images, seed=seed) for seed in seeds]
        evaluated = rig.run(rig.factors[1], images)
        assert {value for factors in training + [evaluated] for factor in factors
                for value in np.unique(factor)} == {0., 1.}
        again = rig.run(rig.factors[0], images, seed=seeds[7])
        assert all((one == other).all() for one, other in zip(again, training[7]))
        # The first layer's input does not depend on gates, so its gates are open with the probability
        # sigmoid(logit).
        chance = 1 / (1 + np.exp(-paper_logit(values, 0, 0, images, training=True)))
        found = np.mean([factors[0] for factors in training], axis=0)
        assert np.abs(found - chance).max() < 4 * 0.5 / np.sqrt(len(seeds))
        # Each layer draws from a seed of its own, and dropout from another.
        assert len(draws) == 2 * 3 + 1
        assert len({tuple(seed) for seed in rig.run(draws[:4], images)}) == 4


def test_moving_averages_follow_the_batches_of_the_task_only():
    method = gates(PAPER)
    with Rig(method, {}, 0, [0]) as rig:
        images, labels = random_batch(0, 3)
        hidden = linear(rig.values(), 0, 0, 'hidden_', images.mean(axis=(1, 2)))
        rig.step(images, labels)
        store = rig.values()
        np.testing.assert_allclose(store['conv0/task0/gate/moving_mean'], 0.1 * hidden.mean(0), rtol=1e-4,
                                   atol=1e-8)
        np.testing.assert_allclose(store['conv0/task0/gate/moving_variance'], 0.9 + 0.1 * hidden.var(0),
                                   rtol=1e-5)
    with Rig(method, store, 1, [0, 1]) as rig:
        rig.step(*random_batch(1))
        after = rig.values()
    for name in store:
        assert '/task0/' not in name or np.array_equal(after[name], store[name]), name
    assert not np.array_equal(after['conv2/task1/gate/moving_mean'], np.zeros(5))


def test_gradients_pass_as_through_a_sigmoid(monkeypatch):
    monkeypatch.setattr(tf.random, 'stateless_uniform',
                        lambda shape, seed, minval, dtype: tf.fill(shape, tf.constant(0.6, dtype)))
    method = gates(PAPER)
    with GateRig(method, {}, 0, [0], dtype=tf.float64) as rig:
        images, values = random_batch(0, 3)[0], rig.values()
        sparsity, gradients = rig.run([method.sparsity, rig.sparsity_gradients], images)

        def gate(values, layer, task, x):
            return 1. * (paper_logit(values, layer, task, x, training=True) + np.log(0.6 / 0.4) > 0)

        _, factors, inputs = numpy_network(NET, values, 0, images, gate)
        noisy = paper_logit(values, 2, 0, inputs[2], training=True) + np.log(0.6 / 0.4)
        passed = 1 / (1 + np.exp(-noisy / (2 / 3.)))
        np.testing.assert_allclose(sparsity, np.mean([factor.mean() for factor in factors]), rtol=1e-9)
        np.testing.assert_allclose(gradients['conv2/task0/gate/bias'],
                                   (passed * (1 - passed) / (2 / 3.)).sum(0) / (3 * passed.size), rtol=1e-9)
        assert all(gradients['conv%d/task0/gate/bias' % layer].all() for layer in range(3))


def test_a_large_sparsity_weight_closes_the_gates():
    method = gates(PAPER, channel_gate_sparsity=100.)
    with GateRig(method, random_gates(NET, 0), 0, [0]) as rig:
        method.phases(0, 1)
        method.start_epoch(rig, 0)
        open_share = []
        for seed in range(61):
            if seed % 60 == 0:
                open_share.append(np.mean([factor.mean()
                                           for factor in rig.run(rig.factors[1], random_batch(8)[0])]))
            rig.step(*random_batch(seed % 7, 3), rate=0.05, seed=(0, seed))
    assert open_share[0] > 0.3 and open_share[1] < 0.05


def test_the_sparsity_loss_starts_after_its_share_of_the_epochs():
    method = gates(PAPER, channel_gate_sparsity_start=0.3)
    assert method.phases(0, 5) == [5]
    with GateRig(method, {}, 0, [0]) as rig:
        images, labels = random_batch(0, 3)
        weights = []
        for _ in range(5):
            method.start_epoch(rig, 0)
            factors, sparsity, loss = rig.run([rig.factors[0], method.sparsity, method.loss], images, labels)
            np.testing.assert_allclose(sparsity, np.mean([factor.mean() for factor in factors]), rtol=1e-6)
            weights.append(loss)
        np.testing.assert_allclose(np.subtract(weights, weights[0]), sparsity * np.array([0, 0, .5, .5, .5]),
                                   atol=1e-6)


# ---- paper: what is frozen, what is never forgotten ----

def images_of(part):
    return part.images() * part.scale + part.offset


def noise():
    """Images that no task looks like."""
    part = make_task(0).test
    return part._replace(pixels=np.random.RandomState(3).randint(0, 256, part.pixels.shape).astype(np.uint8))


SPLITS = [make_task(0).test, noise()]


def learn(method, store, learned, index):
    """Some steps on a task, with the calls of the loop; what was so before, at the start and at the end."""
    at = SimpleNamespace(index=index, learned=[task for task in learned if task != index] + [index],
                         before=store, frozen_before=method.frozen())
    tasks = [make_task(task) for task in at.learned]
    if index not in learned:
        store = dict(store, **random_gates(make_net(), index, averages=False))
    at.started = method.start_task(index, store, draw)
    with TaskGraph(method, at.started, tasks[-1], tasks,
                   lambda name: random_state(0, task=index, purpose=name),
                   GraphSettings(BATCH, 9, quick_config())) as graph:
        mask = method.relevance_name(index, 1)
        # while a task is trained, a known one too, it is evaluated without a mask
        assert graph.values()[mask].all()
        method.phases(index, 1)
        method.start_phase(graph, index, 0)
        method.start_epoch(graph, index)
        for step in range(8):
            graph.step({'training': np.arange(4 * step, 4 * step + 4)}, 0.05, (index, step))
        method.end_epoch(graph, index, True)
        values = dict(at.started, **graph.values())
        at.store = method.end_task(index, {}, values, graph)
        # the last epoch's row counts with the mask
        np.testing.assert_array_equal(values[mask], at.store[mask])
        graph.set_values(at.store)
        at.logits = {task: [graph.probe('logits%d' % task, part) for part in SPLITS] for task in at.learned}
    at.masks = [at.store[method.relevance_name(index, layer)] > 0 for layer in range(2)]
    at.frozen, at.free = method.frozen(), method.extra(())['channel_gate_free']
    return at


THRESHOLD = 0.4


@pytest.fixture(scope='module')
def life():
    """What `learn` gave at each position of an order that returns to the first task."""
    method = gates(PAPER, make_net(), classes={0: 2, 1: 2, 2: 2}, keep=0.5, channel_gate_relevance=THRESHOLD)
    positions, store, learned = [], {}, []
    for index in (0, 1, 0, 2):
        positions.append(learn(method, store, learned, index))
        store, learned = positions[-1].store, positions[-1].learned
    return positions


def fired(store, task, part):
    """Per layer [images, channels]: the gates that are open, relevant or not."""
    return numpy_network(make_net(), store, task, images_of(part), fires)[1]


def test_relevant_kernels_fire_on_validation_data(life):
    found = []
    for at in life:
        for mask, factor in zip(at.masks, fired(at.store, at.index, make_task(at.index).valid)):
            np.testing.assert_array_equal(mask, factor.mean(0) > THRESHOLD)
            found.extend(mask)
    assert any(found) and not all(found)


def test_learned_tasks_are_never_forgotten(life):
    for position, at in enumerate(life):
        unseen = [(factor.any(0) & ~mask).any() for mask,
                  factor in zip(at.masks, fired(at.store, at.index, SPLITS[1]))]
        assert position or any(unseen)       # the noise fires kernels that validation data did not
        for later in life[position + 1:]:
            if later.index == at.index:
                break
            for one, other in zip(at.logits[at.index], later.logits[at.index]):
                np.testing.assert_array_equal(one, other)
    assert np.ptp(life[0].logits[0][1], axis=0).all()


def test_frozen_kernels_stay_and_free_ones_start_anew(life):
    for position, at in enumerate(life):
        assert at.free.tolist() == [[1 - frozen.mean() for frozen in past.frozen]
                                    for past in life[:position + 1]]
        for layer, frozen in enumerate(at.frozen_before):
            np.testing.assert_array_equal(at.frozen[layer], frozen | at.masks[layer])
            for part, initial in (('kernel', nn.truncated_normal),
                                  ('bias', nn.bias_value)) if position else ():
                name = 'conv%d/shared/hps/%s' % (layer, part)
                before, started, after = at.before[name], at.started[name], at.store[name]
                np.testing.assert_array_equal(started,
                                              np.where(frozen, before,
                                                       initial(before.shape, draw(name)).astype('f')))
                np.testing.assert_array_equal(after[..., frozen], before[..., frozen])
    assert 0 < np.concatenate(life[1].frozen_before).sum() < 7          # some were frozen, some free
    # a known task has a new mask
    assert any((one != other).any() for one, other in zip(life[0].masks, life[2].masks))


def test_the_update_is_masked_whatever_the_optimizer_does(monkeypatch):
    monkeypatch.setattr(cnn_channel_gate_model.nn, 'minimize', lambda loss, variables,
                        learning_rate: tf.group(
        *[variable.assign_add(tf.ones_like(variable)) for variable in variables]))
    method, frozen = gates(PAPER), [np.arange(spec.out_channels) % 2 == 0 for spec in NET.layers]
    method.arrays = {'frozen%d' % layer: columns for layer, columns in enumerate(frozen)}
    with Rig(method, {}, 0, [0]) as rig:
        before = rig.values()
        rig.step(*random_batch(0, 3))
        after = rig.values()
    for layer, columns in enumerate(frozen):
        for part in ('kernel', 'bias'):
            name = 'conv%d/shared/hps/%s' % (layer, part)
            np.testing.assert_array_equal(after[name], np.where(columns, before[name], before[name] + 1))


def test_a_task_that_finds_everything_frozen_still_trains_what_it_owns():
    method = gates(PAPER)
    with Rig(method, {}, 0, [0]) as rig:
        store = rig.values()
    method.arrays = {'frozen%d' % layer: np.ones(spec.out_channels, bool) for layer,
                     spec in enumerate(NET.layers)}
    store = method.start_task(1, dict(store, **random_gates(NET, 1)), draw)
    with Rig(method, store, 1, [0, 1]) as rig:
        before = rig.values()
        for seed in range(20):
            rig.step(*random_batch(seed), seed=(seed, 1))
        after = rig.values()
    for name, value in before.items():
        # batch norm takes it out again
        changed = '/task1/' in name and not name.endswith(('/relevance', '/hidden_bias'))
        assert np.allclose(after[name], value, rtol=1e-6, atol=0) != changed, name
        assert changed or '/task1/' in name or np.array_equal(after[name], value), name


@pytest.mark.parametrize('early_stopping', [0, 9])
def test_a_trial_freezes_with_the_parameters_that_it_hands_on(early_stopping, handed_on, tmp_path,
                                                              monkeypatch):
    if early_stopping:       # the validation accuracies are taken as if a task's first epoch were its best
        add = TaskProgress.add
        monkeypatch.setattr(TaskProgress, 'add', lambda self, epoch, valid,
                            test: add(self, epoch, float(epoch == 1), test))
    options = dict(PAPER, channel_gate_relevance=0.5, channel_gate_bias=0.)
    experiment = make_experiment('ChannelGate', (0, 1), 2, early_stopping, lr=0.05, **options)
    trial, record = train(experiment, tmp_path)
    assert any((value == 0).any() for name, value in handed_on[0][0].items() if name.endswith('/relevance'))
    for task, (store, _) in enumerate(handed_on):
        for layer, factor in enumerate(fired(store, task, make_task(task).valid)):
            np.testing.assert_array_equal(store['conv%d/task%d/gate/relevance' % (layer, task)],
                                          factor.mean(0) > 0.5)
    found = accuracies(experiment, *handed_on[1], tasks=(0, 1))
    assert record.accuracy_matrix[1].tolist() == [found[0][TEST], found[1][TEST]]
    assert early_stopping or (record.accuracy[-1] == np.array([found[0], found[1]])).all()
    assert (record.accuracy[3:, 0] == record.accuracy[-1, 0]).all()
    assert record.accuracy_matrix[0, 0] == record.accuracy_matrix[1, 0]
    assert record.extra['channel_gate_free'].shape == (2, 2)
    assert record.num_parameters == count_of('ChannelGate', experiment.net, experiment.class_counts,
                                             experiment.options, 'SS')


def test_a_layer_without_free_kernels_is_said_once_on_screen_and_in_the_log(tmp_path):
    experiment, log, screen = make_experiment('ChannelGate', (0, 1), 1,
                                              **dict(PAPER, channel_gate_bias=9.)), [], []
    record = make_trial(experiment, tmp_path, log.append, send=lambda **said: screen.append(said)).run()
    # the gates start open, so that every kernel fires
    assert (record.extra['channel_gate_free'] == 0).all()
    line, = [line for line in log if 'free' in line]
    assert line.startswith('trial 0: after task 0 no kernel is free in layer 0, 1: tasks that are learned '
                           'later train none there')
    assert [said['note'] for said in screen if 'free' in said.get('note', '')] == [line]


def test_the_line_names_the_layers_that_have_just_run_out(monkeypatch):
    method, said = gates(PAPER, make_net()), []
    method.say = said.append
    for task, relevant in enumerate([[1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 1]]):
        monkeypatch.setattr(method, 'relevant', lambda task, graph: {
            method.relevance_name(task, 0): np.array(relevant),
            method.relevance_name(task, 1): np.array([1, 1, 1, task > 2])})
        method.end_task(task, {}, {}, None)
    assert [line.split(':')[0] for line in said] == ['after task %d no kernel is free in layer %d' % pair
                                                     for pair in ((2, 0), (3, 1))]
