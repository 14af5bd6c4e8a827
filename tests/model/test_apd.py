"""APD: the losses as published; the paper's kernels, retroactive correction, sparsity and groups against
plain NumPy."""
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.gen_data import load_tasks
from classification.model import cnn_apd_model
from classification.model.cnn_apd_model import consolidate
from classification.results.trial_record import TEST
from classification.train import Trial
from classification.trial import checkpoint
from classification.trial.context import TrialContext
from classification.trial.count_parameters import count_of
from tests.support.commands import experiment_of
from tests.support.result_files import same
from tests.support.tiny import (
    CLASSES,
    NET,
    Rig,
    accuracies,
    draw,
    make_experiment,
    make_method,
    numpy_features,
    random_batch,
    train,
)
from utils import runtime
from utils.utils_nn import assign

PUBLISHED = dict(apd_mode='published_code', lambda1=0.3, lambda2=7.)
PAPER = dict(apd_mode='paper', lambda1=1e-3, lambda2=0.5, apd_tau_start='sigma', apd_train_past_masks=False,
             apd_consolidate_every=5, apd_consolidate_spread=1e-2)
PATTERN, SHARED = 'STS', (0, 2)
COUNTS = {0: 3, 1: 2, 2: 2, 3: 2}


def apd(options, **changed):
    return make_method('apd', 'apd', pattern=PATTERN, classes=COUNTS, **dict(options, **changed))


class LossRig(Rig):
    """A Rig in float64 that also gives what a method adds to the cross-entropy, and its gradients by
    variable."""

    def __init__(self, method, store, task, learned):
        self.task = task
        super(LossRig, self).__init__(method, store, task, learned, dtype=tf.float64)

    def built(self):
        self.added = sum(self.method.extra_losses(self.parameters, layer, self.task, 1., 0.5)
                         for layer in SHARED)
        gradients = tf.gradients(self.added, self.parameters.trained)
        self.gradients = {variable.op.name: gradient for variable,
                          gradient in zip(self.parameters.trained, gradients)
                          if gradient is not None}

    def run(self, *tensors, **batch):
        images, labels = batch.get('batch', random_batch(0))
        return self.session.run(list(tensors), {self.images: images, self.labels: labels, self.rate: 0.,
                                                self.seed: (1, 2)})

    def move(self, seed):
        """Gives every variable of APD another value."""
        state = np.random.RandomState(seed)
        assign(self.session, {variable: self.parameters.start[name] + 0.1
                              * state.normal(size=variable.shape.as_list())
                              for name, variable in sorted(self.parameters.variables.items())
                              if '/apd/' in name})


def cross_entropy(logits, labels):
    return np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels])


# ---- published_code ----

def test_published_losses_of_a_whole_network():
    store = {}
    for task in (0, 1):
        with LossRig(apd(PUBLISHED), store, task, [task]) as rig:
            for seed in (None, 1, 2):
                if seed:
                    rig.move(seed)
                values = rig.values()
                sparse = np.mean([np.abs(values['conv%d/task%d/apd/additive' % (layer, task)]).mean()
                                  for layer in SHARED])
                # of kernels and biases, from the last task's
                drifts = [np.mean(0.5 * (values[name] - store[name]) ** 2)
                          for name in values if '/shared/' in name and name in store]
                assert len(drifts) == (4 if task else 0) and any(drifts) == bool(task and seed)
                images, labels = random_batch(5)
                added, loss = rig.run(rig.added, rig.method.loss, batch=(images, labels))
                np.testing.assert_allclose(added, 0.3 * sparse + 7. * np.mean(drifts or [0.]), rtol=1e-9)
                np.testing.assert_allclose(loss, added + cross_entropy(rig.logits(task, images), labels),
                                           rtol=1e-9)
            store = values


# ---- paper: kernels and losses ----

def known(tasks, **changed):
    """(method that has learned these tasks, its store): every value of APD is random."""
    method = apd(PAPER, **changed)
    with tf.Graph().as_default():
        parameters = cnn_apd_model.nn.Parameters({}, tasks, draw, tf.float64)
        for task in tasks:
            method.remember(task, PATTERN)
            method.logits(parameters, task, tf.zeros((1,) + NET.image_shape, tf.float64))
    state = np.random.RandomState(0)
    return method, {name: value + (0.1 * state.normal(size=value.shape) if '/apd/' in name else 0)
                    for name, value in parameters.start.items()}


def theta(values, layer, task, group=0.):
    mask, additive = [values['conv%d/task%d/apd/%s' % (layer, task, part)] for part in ('mask', 'additive')]
    assert mask.shape == NET.layers[layer].shape[-1:]          # one value per output channel
    return values['conv%d/shared/apd/kernel' % layer] / (1 + np.exp(-mask)) + additive + group


def numpy_logits(values, task, images, group=0.):
    """`group`: of layer 0."""
    weights = [(theta(values, layer, task, group if layer == 0 else 0),
                values['conv%d/task%d/apd/bias' % (layer, task)])
               if layer in SHARED else tuple(values['conv%d/task%d/own/%s' % (layer, task, part)]
                                             for part in ('kernel', 'bias'))
               for layer in range(3)]
    x = numpy_features(NET, images, weights)
    head = [[values['fc%d/task%d/own/%s' % (fc, task, part)] for part in ('kernel', 'bias')]
            for fc in range(2)]
    return np.maximum(x.dot(head[0][0]) + head[0][1], 0).dot(head[1][0]) + head[1][1]


def test_evaluation_counts_small_entries_as_zero_and_training_does_not():
    method, store = known((0, 1, 2), lambda1=0.05)
    group = np.random.RandomState(1).normal(size=NET.layers[0].shape)
    method.state['groups']['0'] = {'1': 1, '2': 1}
    store['conv0/shared/apd/group1'] = group
    images, labels = random_batch(4)
    with LossRig(method, store, 1, [0, 1, 2]) as rig:
        for task in (0, 1, 2):
            cut = dict(store)
            for layer in SHARED:
                name = 'conv%d/task%d/apd/additive' % (layer, task)
                cut[name] = np.where(np.abs(store[name]) > 0.05, store[name], 0)
                assert 0.2 < np.mean(cut[name] == 0) < 0.8
            np.testing.assert_allclose(rig.logits(task, images),
                                       numpy_logits(cut, task, images, group if task else 0), atol=1e-10)
        loss, added = rig.run(method.loss, rig.added, batch=(images, labels))
        np.testing.assert_allclose(loss - added, cross_entropy(numpy_logits(store, 1, images, group), labels),
                                   rtol=1e-9)


# a new task; a known one, which may change
@pytest.mark.parametrize('task, past', [(2, (0, 1)), (1, (0,))])
def test_losses_of_the_paper_and_their_gradients(task, past):
    method, store = known((0, 1))
    with LossRig(method, store, task, [0, 1, 2]) as rig:
        started = rig.values()
        for seed in (None, 1):
            if seed:
                rig.move(seed)
            values, expected = rig.values(), 0
            added, gradients = rig.run(rig.added, rig.gradients)
            for layer in SHARED:
                additive = 'conv%d/task%%d/apd/additive' % layer
                expected += 1e-3 * sum(np.abs(values[additive % other]).sum() for other in past + (task,))
                np.testing.assert_allclose(gradients[additive % task],
                                           1e-3 * np.sign(values[additive % task]), rtol=1e-9)
                to_sigma = 0
                for other in past:
                    drift = theta(values, layer, other) - theta(started, layer, other)
                    expected += 0.5 * 0.5 * np.sum(drift ** 2)
                    expected_gradient = 1e-3 * np.sign(values[additive % other]) + 0.5 * drift
                    np.testing.assert_allclose(gradients[additive % other], expected_gradient, rtol=1e-9,
                                               atol=1e-12)
                    to_sigma += 0.5 * drift / (1 + np.exp(-values['conv%d/task%d/apd/mask' % (layer, other)]))
                np.testing.assert_allclose(gradients['conv%d/shared/apd/kernel' % layer], to_sigma, rtol=1e-9,
                                           atol=1e-12)
            np.testing.assert_allclose(added, expected, rtol=1e-9)


@pytest.mark.parametrize('start, masks', [('sigma', False), ('zeros', True)])
def test_what_a_new_task_starts_with_and_what_it_trains(start, masks):
    method, store = known((0,), apd_tau_start=start, apd_train_past_masks=masks)
    with Rig(method, store, 1, [0, 1]) as rig:
        started = rig.values()
        for seed in range(3):
            rig.step(*random_batch(seed))
        after = rig.values()
    changed = {name for name in started if not np.array_equal(started[name], after[name])}
    past = {'conv%d/task0/apd/%s' % (layer, part) for layer in SHARED for part in ['additive'] + ['mask']
            * masks}
    assert changed == past | {name for name in started if '/task0/' not in name}
    for layer in SHARED:
        sigma = started['conv%d/shared/apd/kernel' % layer]
        np.testing.assert_array_equal(started['conv%d/task1/apd/additive' % layer], sigma if start == 'sigma'
                                      else 0 * sigma)
        np.testing.assert_array_equal(started['conv%d/task1/apd/bias' % layer], np.float32(0.2))


def change_of_past_logits(monkeypatch, lambda2, drift):
    """Largest change of task 0's logits while task 1 is trained and sigma, itself not trained, drifts at each
    step."""
    monkeypatch.setattr(cnn_apd_model.SparseAdditive, 'sigma', lambda self: self.parameters.shared(
        self.layer, 'apd', 'kernel', self.spec.shape, cnn_apd_model.truncated_normal, trainable=False))
    method, store = known((0,), lambda1=0., lambda2=lambda2)
    with Rig(method, store, 1, [0, 1]) as rig:
        images, before = random_batch(9)[0], rig.logits(0, random_batch(9)[0])
        for step in range(60):
            rig.step(*random_batch(step), rate=5e-3)
            assign(rig.session, {variable: store[name] + drift * (step + 1) * np.sign(store[name])
                                 for name, variable in rig.parameters.variables.items()
                                 if '/shared/apd/' in name})
        return np.abs(rig.logits(0, images) - before).max()


def test_past_tasks_are_held_while_the_shared_kernel_moves(monkeypatch):
    held, free = [change_of_past_logits(monkeypatch, lambda2, 3e-3) for lambda2 in (100., 0.)]
    assert held < 0.2 * free


def test_nothing_of_a_past_task_changes_when_nothing_asks_for_it(monkeypatch):
    assert change_of_past_logits(monkeypatch, 0., 0.) == 0.


# ---- paper: sparsity and groups ----

def test_parameters_count_entries_that_are_not_zero():
    method, store = known((0, 1), lambda1=0.05)
    dense = sum(value.size for value in store.values())
    assert dense == method.num_parameters(store) == count_of('APD', NET, CLASSES, dict(PAPER), PATTERN)
    group = np.zeros(NET.layers[0].shape)
    group[0, 0, 0, :3] = 1.
    left = method.end_task(1, {}, dict(store, **{'conv0/shared/apd/group0': group}), None)
    zeros = 0
    for layer in SHARED:
        for task in (0, 1):
            name = 'conv%d/task%d/apd/additive' % (layer, task)
            np.testing.assert_array_equal(left[name], np.where(np.abs(store[name]) > 0.05, store[name], 0))
            zeros += np.sum(np.abs(store[name]) <= 0.05)
            assert method.extra((1, 0, 1))['apd_nonzeros'][task, layer] == np.count_nonzero(
                left[name]) > 0
    assert zeros > 0 and method.num_parameters(left) == dense - zeros + 3
    assert method.extra((1, 0, 1))['apd_nonzeros'].shape == (2, 3) and not method.extra((0,))['apd_nonzeros'][
        0, 1]


def kernels_in_two_families(seed=0):
    """[5, 3, 40]: tasks 0, 2, 3 and tasks 1, 4 are alike;
    half of the entries agree within a family, to 0.01."""
    state = np.random.RandomState(seed)
    family = state.normal(size=(2, 3, 40))[[0, 1, 0, 0, 1]]
    alike = np.arange(40) % 2 == 0
    return (family + np.where(alike, 0.006, 0.2) * state.uniform(-1, 1, family.shape)).astype(np.float32)


def test_groups_take_what_their_kernels_have_in_common():
    full = kernels_in_two_families()
    own, group_of, tensors = consolidate(full, 2, 0.01, np.random.RandomState(3))
    assert len({group_of[0], group_of[2], group_of[3]}) == len({group_of[1], group_of[4]}) == 1 and len(
        tensors) == 2
    for members in ([0, 2, 3], [1, 4]):
        low, high = full[members].min(0), full[members].max(0)
        same, tensor = high - low <= 0.01, tensors[group_of[members[0]]]
        assert 20 < same.sum() < 70
        np.testing.assert_array_equal(tensor, np.where(same, (low + high) / 2, 0))
        for member in members:
            np.testing.assert_array_equal(own[member], np.where(same, 0, full[member]))
            change = np.abs(own[member] + tensor - full[member])
            assert change.max() <= 0.005 + 1e-7 and (change[~same] == 0).all()
    again = consolidate(full, 2, 0.01, np.random.RandomState(3))
    assert again[1] == group_of and all((one == other).all() for one, other in zip(again[2], tensors))
    # Two groups of five kernels, one of them far away: it is alone.
    full[0] += 50
    own, group_of, _ = consolidate(full, 2, 0.01, np.random.RandomState(0))
    assert group_of[0] is None and group_of[1:] == [0] * 4
    np.testing.assert_array_equal(own[0], full[0])
    # Kernels that are all the same are one group.
    assert consolidate(np.ones((3, 4)), 2, 0.01, np.random.RandomState(0))[1] == [0, 0, 0]


class EndOfTask(object):
    """As much of the open graph as the end of a task needs."""
    parameters = SimpleNamespace(draw=draw)


def finish(method, task, store):
    """The store that a task hands on, its phases passed one after the other."""
    for phase in range(len(method.phases(task, 3))):
        store = method.end_phase(task, phase, {}, store, EndOfTask)
    return method.end_task(task, {}, store, EndOfTask)


def test_consolidation_at_the_end_of_every_few_tasks(monkeypatch):
    method, store = known((0, 1, 2, 3), lambda1=0., apd_consolidate_every=4, apd_consolidate_spread=0.15)
    method.state['patterns'] = {}
    asked = []
    monkeypatch.setattr(cnn_apd_model, 'consolidate', lambda full, count, spread, state: (
        asked.append((full, count)) or consolidate(full, count, spread, state)))

    def parts_of(tasks):
        return {name: value for name, value in store.items()
                if name.startswith(tuple('conv%d/task%d/' % (layer, task) for layer in range(3)
                                         for task in tasks))
                or '/shared/' in name}
    for task in (0, 1, 2):
        left = finish(method, task, parts_of(range(task + 1)))
        assert not asked and all((left[name] == value).all() for name,
                                 value in parts_of(range(task + 1)).items())
    after = finish(method, 3, store)
    assert [count for _, count in asked] == [2, 2]             # 2 * (4 tasks / 4)
    first = {layer: dict(method.state['groups'][str(layer)]) for layer in SHARED}

    def whole(values, layer, task):
        group = first[layer].get(str(task))
        return theta(values, layer, task, 0. if group is None
                     else values['conv%d/shared/apd/group%d' % (layer, group)])
    changes = [np.abs(whole(after, layer, task) - theta(store, layer, task)).max() for layer in SHARED
               for task in range(4)]
    assert 0.01 < max(changes) <= 0.075 + 1e-9
    finish(method, 3, after)
    assert len(asked) == 2                                     # not twice for the same tasks
    later = dict(after)
    for task in (4, 5, 6, 7):
        assert len(asked) == 2                                 # not yet
        later.update((name.replace('task0', 'task%d' % task), value) for name, value in store.items()
                     if '/task0/' in name)
        later = finish(method, task, later)
    assert [count for _, count in asked[2:]] == [4, 4]
    for layer, (full, _) in zip(SHARED, asked[2:]):
        # the whole kernels, group part included
        for task in range(4):
            np.testing.assert_allclose(full[task] - after['conv%d/task%d/apd/additive' % (layer, task)],
                                       whole(after, layer, task) - theta(after, layer, task), atol=1e-12)
    method = known((0, 1), apd_consolidate_every=0)[0]
    assert method.phases(2, 5) == [5]


def test_task_kernels_are_sparse_at_the_learning_rate_of_the_digits(tmp_path):
    options = ['--model_type', 'APD', '--transfer_config', 'all', '--num_tasks', '2', '--epochs_per_task',
               '12', '--eval_interval', '12']
    asked = experiment_of('--apd_mode', 'paper', *options)
    assert asked.options['lambda1'] == 4 * asked.training.lr == 4e-3
    assert experiment_of(*options).options['lambda1'] == 4e-4      # as published
    trial = Trial(asked, 0, load_tasks('DIGITS5', str(tmp_path), None, 0, 0, 'split', 2),
                  TrialContext(str(tmp_path), runtime.session_config(1)))
    left = trial.run().extra['apd_nonzeros'] / [np.prod(spec.shape) for spec in asked.net.layers]
    assert left[:, 1:3].max() <= 0.28, left
    assert trial.state.history.final[:2, TEST].min() > 0.9


def killed_before_grouped_kernels_are_evaluated(experiment, folder, monkeypatch):
    """(trial, record) of a trial that was killed there and taken up again."""
    save = checkpoint.save

    def save_and_die(path, meta, groups):
        save(path, meta, groups)
        if meta['phase'] == 1:
            raise KeyboardInterrupt
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, 'save', save_and_die)
        train(experiment, folder)
    return train(experiment, folder)


def test_a_trial_hands_on_sparse_kernels_grouped_after_the_last_task(handed_on, tmp_path, monkeypatch):
    for name in 'ab':
        (tmp_path / name).mkdir()
    experiment = make_experiment('APD', (0, 1, 2), 1, pattern='SS', **dict(
        PAPER, lambda1=0.02, lambda2=10., apd_consolidate_every=3, apd_consolidate_spread=0.05))
    trial, record = train(experiment, tmp_path / 'a')
    assert not any('/group' in name for name in handed_on[1][0])
    store, state = handed_on[2]
    assert any(name.startswith('conv0/shared/apd/group') for name in store) and state['consolidated'] == 3
    found = accuracies(experiment, store, state, (0, 1, 2))
    assert record.accuracy_matrix[-1].tolist() == [found[task][TEST] for task in (0, 1, 2)]
    tau = {name: value for name, value in store.items() if name.endswith('/additive')}
    assert len(tau) == 6 and all(np.abs(value[value != 0]).min() > 0.02 for value in tau.values()
                                 if value.any())
    nonzeros = [[np.count_nonzero(tau['conv%d/task%d/apd/additive' % (layer, task)]) for layer in (0, 1)]
                for task in (0, 1, 2)]
    np.testing.assert_array_equal(record.extra['apd_nonzeros'], nonzeros)
    sizes = [np.count_nonzero(value) if '/additive' in name or '/group' in name else value.size
             for name, value in store.items()]
    assert record.num_parameters == sum(sizes) < sum(value.size for value in store.values())
    resumed, other = killed_before_grouped_kernels_are_evaluated(experiment, tmp_path / 'b', monkeypatch)
    same(dict(trial.store), dict(resumed.store), 'parameters')
    np.testing.assert_array_equal(record.accuracy_matrix, other.accuracy_matrix)
