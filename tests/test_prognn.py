"""Progressive networks: lateral inputs, columns that stay as they are, sizes."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from scipy.signal import correlate

from classification.parameters import count_of
from tests.small import NET, Rig, make_method, random_batch
from tests.trials import make_experiment, train
from utils import utils_env_cl as env

CLASSES = {0: 3, 1: 2, 2: 2}


def columns(scale=1., net=NET):
    return make_method('prognn', net=net, classes=CLASSES, dim_reduction_scale=scale)


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
    return np.stack([sum(correlate(x[:, :, :, i], kernel[None, :, :, i, o], 'same') for i in range(x.shape[-1]))
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
    x = maps[-1][-1].reshape(len(images), -1)
    for layer in range(2):
        x = x.dot(values['fc%d/task%d/own/kernel' % (layer, task)]) + values['fc%d/task%d/own/bias' % (layer, task)]
        x = relu(x) if layer == 0 else x
    return x


def test_three_columns_equal_an_independent_computation():
    method, state = columns(), np.random.RandomState(0)
    _, rig = learn(method, (0, 1, 2))
    with rig:
        store = {name: value + ('lateral' in name) * state.normal(size=value.shape) for name, value in rig.values().items()}
    with Rig(method, store, 2, [0, 1, 2]) as rig:       # its lateral inputs are negative too, and large
        images, values = random_batch(7)[0], rig.values()
        for task in CLASSES:
            np.testing.assert_allclose(rig.logits(task, images), logits_of(values, images, task), rtol=1e-4, atol=1e-4)


def test_a_skip_connection_is_added_before_the_activation():
    net = NET._replace(layers=NET.layers[:1] + (NET.layers[1]._replace(in_channels=4, out_channels=4, pool=1),)
                       + (NET.layers[2]._replace(in_channels=4),), skips=((1, 1),))
    method = columns(net=net)
    with Rig(method, {}, 0, [0]) as rig:
        images, values = random_batch(7)[0], rig.values()
        x = [np.maximum(convolve(images, values['conv0/task0/own/kernel']) + values['conv0/task0/own/bias'], 0)]
        x.append(np.maximum(convolve(x[0], values['conv1/task0/own/kernel']) + values['conv1/task0/own/bias'] + x[0], 0))
        with rig.graph.as_default():
            found = rig.session.run(method._maps[rig.eval_images.name][0][1], {rig.eval_images: images})
        np.testing.assert_allclose(found, x[1], atol=1e-5)


def test_earlier_columns_stay_bit_for_bit():
    before, rig = learn(columns(), (0, 1))
    with rig:
        after = rig.values()
        assert all((after[name] == value).all() for name, value in before.items())
        assert all(variable.op.name.split('/')[1] == 'task1' for variable in rig.parameters.trained)
        changed = [name for name in rig.parameters.start if (after[name] != rig.parameters.start[name]).any()]
        assert set(changed) == {variable.op.name for variable in rig.parameters.trained}      # laterals are trained too


def test_a_task_that_returns_changes_nothing_that_others_read():
    before, rig = learn(columns(), (0, 1, 0))
    with rig:
        after = rig.values()
        assert {name for name in before if (after[name] != before[name]).any()} == {
            'conv2/task0/own/kernel', 'conv2/task0/own/bias'} | {
            'fc%d/task0/own/%s' % (layer, part) for layer in range(2) for part in ('kernel', 'bias')}


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
        [max(1, int(4 / (scale * (column + 1)))), max(1, int(5 / (scale * (column + 1))))] for column in range(1, 9)]
    assert method.reduced_channels(8, 1) == 1          # never none


def test_columns_are_built_once_per_graph():
    def convolutions(tasks):
        method = columns()
        with tf.Graph().as_default() as graph:
            from utils.utils_nn import Parameters
            parameters, images = Parameters({}, (), lambda name: np.random.RandomState(0)), tf.zeros((1, 8, 8, 3))
            for task in CLASSES:
                method.remember(task)
            for task in tasks:
                method.logits(parameters, task, images)
            return sum(op.type == 'Conv2D' for op in graph.get_operations())
    # Each column has 3 of its own, and in layers 1 and 2 one that narrows each earlier column's maps.
    assert convolutions([2]) == convolutions([0, 1, 2]) == 9 + 2 * 3


def test_parameters_as_published():
    _, network = env.network_of('cifar100', 'CIFAR100_10', 4, 'hps')
    net = env.build_net(network, (32, 32, 3))
    assert count_of('ProgNN', net, {task: 10 for task in range(3)}, {'dim_reduction_scale': 2.}, 'TTTT') == 1025103


def test_accuracies_of_earlier_tasks_are_carried_forward(tmp_path):
    trial, record = train(make_experiment('ProgNN', (0, 1, 0), dim_reduction_scale=1.), tmp_path)
    assert trial.method.state['columns'] == [0, 1]
    first = record.accuracy[record.task_changed_epoch[1] - 1, 0]
    assert (record.accuracy[record.task_changed_epoch[1]:record.task_changed_epoch[2], 0] == first).all()
    assert record.accuracy_matrix[1, 0] == record.accuracy_matrix[0, 0]
    assert (record.accuracy_matrix[2, 1] == record.accuracy_matrix[1, 1]).all()


