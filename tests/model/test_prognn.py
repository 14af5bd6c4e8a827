"""Progressive networks: lateral inputs, columns that stay as they are, sizes."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from scipy.signal import correlate

from classification.experiment.mat_info import info
from classification.trial import evaluation
from classification.trial.count_parameters import count, count_of
from tests.support.commands import experiment_of
from tests.support.result_files import same
from tests.support.tiny import NET, Rig, make_experiment, make_method, random_batch, train
from utils import utils_env_cl as env

CLASSES = {0: 3, 1: 2, 2: 2}
LATERAL_HEAD = {'prognn_lateral_head': True}


def columns(scale=1., net=NET, **options):
    return make_method('prognn', net=net, classes=CLASSES, dim_reduction_scale=scale, **options)


def learn(method, tasks, steps=2):
    """(store, rig of the last task); the caller closes the rig."""
    store, rig = {}, None
    for place, task in enumerate(tasks):
        if rig is not None:
            store = rig.values()
            rig.session.close()
        rig = Rig(method, store, task, sorted(set(tasks[:place + 1])))
        for step in range(steps):
            rig.step(*random_batch(step, CLASSES[task]), rate=0.05)
    return store, rig


def convolve(x, kernel):
    """x [n, h, w, in] * kernel [kh, kw, in, out], SAME, one correlation per pair of channels."""
    return np.stack([sum(correlate(x[:, :, :, i], kernel[None, :, :, i, o], 'same')
                         for i in range(x.shape[-1]))
                     for o in range(kernel.shape[-1])], axis=-1)


def pool(x, size):
    n, height, width, channels = x.shape
    return x.reshape(n, height // size, size, width // size, size, channels).max(axis=(2, 4))


def logits_of(values, images, task, skips=()):
    """Logits of a task by NumPy: columns 0..task, each layer from the columns before it."""
    def relu(x):
        return np.maximum(x, 0)
    maps = []
    for column in range(task + 1):
        inputs = [images]
        for layer, spec in enumerate(NET.layers):
            x = convolve(inputs[-1], values['conv%d/task%d/own/kernel' % (layer, column)]) \
                + values['conv%d/task%d/own/bias' % (layer, column)]
            for earlier in range(column if layer else 0):
                alpha, V, v, U = [values['conv%d/task%d/lateral%d/%s' % (layer, column, earlier, part)]
                                  for part in ('alpha', 'reduce', 'reduce_bias', 'expand')]
                x += convolve(relu(np.tensordot(alpha * maps[earlier][layer - 1], V[0, 0], 1) + v), U)
            x += sum(inputs[start] for start, end in skips if end == layer)
            inputs.append(pool(relu(x), spec.pool))
        maps.append(inputs[1:])
    return head_of(values, maps, task)[-1]


def head_of(values, maps, column):
    """What each layer of a column's head gives by NumPy, from the columns' maps;
    with lateral inputs where there are any."""
    outputs, x = [], maps[column][-1].reshape(len(maps[0][0]), -1)
    for layer in range(2):
        x = x.dot(values['fc%d/task%d/own/kernel' % (layer, column)]) + values['fc%d/task%d/own/bias' % (
            layer, column)]
        for earlier in range(column if 'fc0/task1/lateral0/alpha' in values else 0):
            alpha, V, v, U = [values['fc%d/task%d/lateral%d/%s' % (layer, column, earlier, part)]
                              for part in ('alpha', 'reduce', 'reduce_bias', 'expand')]
            read = head_of(values, maps, earlier)[0][:, None, None] if layer else maps[earlier][-1]
            x = x + np.maximum(np.tensordot(alpha * read, V[0, 0], 1) + v, 0).reshape(len(x), -1).dot(U)
        x = np.maximum(x, 0) if layer == 0 else x
        outputs.append(x)
    return outputs


@pytest.mark.parametrize('options', [{}, LATERAL_HEAD], ids=['as published', 'lateral head'])
def test_three_columns_equal_an_independent_computation(options):
    method, state = columns(**options), np.random.RandomState(0)
    _, rig = learn(method, (0, 1, 2))
    with rig:
        store = {name: value + ('lateral' in name) * state.normal(size=value.shape) for name,
                 value in rig.values().items()}
    with Rig(method, store, 2, [0, 1, 2]) as rig:       # its lateral inputs are negative too, and large
        images, values = random_batch(7)[0], rig.values()
        for task in CLASSES:
            np.testing.assert_allclose(rig.logits(task, images), logits_of(values, images, task), rtol=1e-4,
                                       atol=1e-4)


def test_a_skip_connection_is_added_before_the_activation():
    net = NET._replace(layers=NET.layers[:1] + (NET.layers[1]._replace(in_channels=4, out_channels=4,
                                                                       pool=1),)
                       + (NET.layers[2]._replace(in_channels=4),), skips=((1, 1),))
    method = columns(net=net)
    with Rig(method, {}, 0, [0]) as rig:
        images, values = random_batch(7)[0], rig.values()
        x = [np.maximum(convolve(images, values['conv0/task0/own/kernel']) + values['conv0/task0/own/bias'],
                        0)]
        x.append(np.maximum(convolve(x[0], values['conv1/task0/own/kernel']) + values['conv1/task0/own/bias']
                            + x[0], 0))
        with rig.graph.as_default():
            found = rig.session.run(method._maps[rig.eval_images.name][0][1], {rig.eval_images: images})
        np.testing.assert_allclose(found, x[1], atol=1e-5)


@pytest.mark.parametrize('options', [{}, LATERAL_HEAD], ids=['as published', 'lateral head'])
def test_earlier_columns_stay_bit_for_bit(options):
    before, rig = learn(columns(**options), (0, 1))
    with rig:
        after = rig.values()
        assert all((after[name] == value).all() for name, value in before.items())
        assert all(variable.op.name.split('/')[1] == 'task1' for variable in rig.parameters.trained)
        changed = [name for name in rig.parameters.start if (after[name] != rig.parameters.start[name]).any()]
        # laterals are trained too
        assert set(changed) == {variable.op.name for variable in rig.parameters.trained}


def test_a_task_that_returns_changes_nothing_that_others_read():
    before, rig = learn(columns(), (0, 1, 0))
    with rig:
        after = rig.values()
        assert {name for name in before if (after[name] != before[name]).any()} == {
            'conv2/task0/own/kernel', 'conv2/task0/own/bias'} | {
            'fc%d/task0/own/%s' % (layer, part) for layer in range(2) for part in ('kernel', 'bias')}


def test_a_task_that_returns_leaves_hidden_layers_that_later_heads_read():
    before, rig = learn(columns(**LATERAL_HEAD), (0, 1, 0))
    with rig:
        after = rig.values()
        assert {name for name in before if (after[name] != before[name]).any()} == {
            'fc1/task0/own/kernel', 'fc1/task0/own/bias'}


def test_lateral_inputs_of_the_head_are_an_option():
    options = ['--model_type', 'ProgNN', '--test_type', '1']
    plain, lateral = experiment_of(*options), experiment_of('--prognn_lateral_head', *options)
    assert plain.options == {'dim_reduction_scale': 2.} and lateral.options == dict(
        plain.options, **LATERAL_HEAD)
    assert info(lateral)['prognn_lateral_head'] is True and 'prognn_lateral_head' not in info(plain)
    # In column t each layer of the head reads, per earlier column, what is reduced to 1 / (2 (t + 1)) of its
    # channels.
    channels, (positions, hidden) = plain.net.layers[-1].out_channels, (4, 32)
    more = 0
    for column in (1, 2):
        for inputs, copies, size in ((channels, positions, hidden), (hidden, 1, 2)):
            reduced = inputs // (2 * (column + 1))
            more += column * (1 + inputs * reduced + reduced + copies * reduced * size)
    three = [each._replace(class_counts={0: 2, 1: 2, 2: 2}) for each in (plain, lateral)]
    assert count(three[1], 'TTTT') - count(three[0], 'TTTT') == more


def test_the_last_column_may_return_whole():
    before, rig = learn(columns(), (0, 1, 1))
    with rig:
        after = rig.values()
        assert {name.split('/')[1] for name in before if (after[name] != before[name]).any()} == {'task1'}
        assert (after['conv0/task1/own/kernel'] != before['conv0/task1/own/kernel']).any()


@pytest.mark.parametrize('scale', [1., 2.])
def test_channels_of_lateral_inputs(scale):
    method = columns(scale)
    assert [[method.reduced_channels(column, layer) for layer in (1, 2)] for column in range(1, 9)] == [
        [max(1, int(4 / (scale * (column + 1)))), max(1, int(5 / (scale * (column + 1))))]
        for column in range(1, 9)]
    assert method.reduced_channels(8, 1) == 1          # never none


def test_columns_are_built_once_per_graph():
    def convolutions(tasks):
        method = columns()
        with tf.Graph().as_default() as graph:
            from utils.utils_nn import Parameters
            parameters, images = Parameters({}, (), lambda name: np.random.RandomState(0)), tf.zeros(
                (1, 8, 8, 3))
            for task in CLASSES:
                method.remember(task)
            for task in tasks:
                method.logits(parameters, task, images)
            return sum(op.type == 'Conv2D' for op in graph.get_operations())
    # Each column has 3 of its own, and in layers 1 and 2 one that narrows each earlier column's maps.
    assert convolutions([2]) == convolutions([0, 1, 2]) == 9 + 2 * 3


def test_parameters_as_published():
    _, network = env.network_of('cifar100', 'CIFAR100_10', 4)
    net = env.build_net(network, (32, 32, 3))
    assert count_of('ProgNN', net, {task: 10 for task in range(3)}, {'dim_reduction_scale': 2.},
                    'TTTT') == 1025103


def test_maps_that_are_kept_change_nothing(tmp_path, monkeypatch):
    """What earlier columns give to the head is computed once;
    a trial without that room has the same numbers."""
    records = []
    for name, room in (('a', 2 ** 20), ('b', 0)):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(evaluation, 'ACTIVATION_BYTES', room)
        records.append(train(make_experiment('ProgNN', (0, 1, 0), dim_reduction_scale=1., **LATERAL_HEAD),
                             tmp_path / name))
    (kept, record), (fresh, other) = records
    np.testing.assert_array_equal(record.accuracy, other.accuracy)
    same(dict(kept.store), dict(fresh.store), 'parameters')
    assert kept.store['fc0/task1/lateral0/expand'].shape[1] == 2 and record.num_parameters == sum(
        value.size for value in kept.store.values())
    assert record.accuracy_matrix[1, 0] == record.accuracy_matrix[0, 0]
    assert record.accuracy_matrix[2, 1] == record.accuracy_matrix[1, 1]


def test_accuracies_of_earlier_tasks_are_carried_forward(tmp_path):
    trial, record = train(make_experiment('ProgNN', (0, 1, 0), dim_reduction_scale=1.), tmp_path)
    assert trial.method.state['columns'] == [0, 1]
    first = record.accuracy[record.task_changed_epoch[1] - 1, 0]
    assert (record.accuracy[record.task_changed_epoch[1]:record.task_changed_epoch[2], 0] == first).all()
    assert record.accuracy_matrix[1, 0] == record.accuracy_matrix[0, 0]
    assert (record.accuracy_matrix[2, 1] == record.accuracy_matrix[1, 1]).all()


