"""What a trial takes: multiply-adds and parameters against counts in NumPy, seconds, memory, files."""
import io
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tensorflow.compat.v1 as tf

from classification.experiment import sizes
from classification.model.method import Setting
from classification.model.registry import make_method
from classification.results.mat_file import entries
from classification.results.read_results import load_results
from classification.results.summary import summary
from classification.results.texts import table
from classification.results.trial_record import BY_POSITION, load_record, save_record
from classification.train import Interrupted
from classification.trial import checkpoint, resources
from classification.trial.state import History
from tests.support import result_files
from tests.support.tiny import make_experiment, make_joint, make_trial, train
from utils import utils_env_cl as env

FULL = {'trainable_parameters': [70., 71.], 'kept_parameters': [60., 80.], 'state_bytes': [0., 16.],
        'training_seconds': [2., 3.], 'evaluation_seconds': [0.5, 0.25], 'multiply_adds': [100., 300.],
        'peak_memory': 2e6}


def dense(widths):
    """Multiply-adds of matrix products from a width to the next."""
    return sum(one * other for one, other in zip(widths, widths[1:]))


def positions_of(net):
    """Positions of each convolution's result."""
    found, side = [], net.image_shape[0]
    for layer in net.layers:
        side = side if net.padding == 'SAME' else side - layer.kernel + 1
        found.append(side * side)
        side = -(-side // layer.pool) if net.padding == 'SAME' else side // layer.pool
    return found


def convolutions(net):
    """Multiply-adds of each convolution."""
    return [size * layer.kernel ** 2 * layer.in_channels * layer.out_channels
            for size, layer in zip(positions_of(net), net.layers)]


def plain(net, classes=2):
    """Multiply-adds of the network by itself."""
    return sum(convolutions(net)) + dense([net.num_features] + list(net.hidden) + [classes])


def progressive(net, column, scale):
    """Those of ProgNN's column, counted from 0, with what it reads of the earlier ones."""
    total, places = plain(net), positions_of(net)
    for one in range(column + 1):
        for layer, spec in enumerate(net.layers[:len(net.layers) if one == column else -1]):
            if one < column:
                total += convolutions(net)[layer]
            if layer > 0:
                side = places[layer]        # SAME: a convolution sees as many positions as it gives
                reduced = max(1, int(spec.in_channels / (scale * (one + 1))))
                total += one * side * reduced * (spec.in_channels + spec.kernel ** 2 * spec.out_channels)
    return total


def gates(net, hidden):
    """Those of ChannelGate's gates, which see whole maps."""
    return sum(size * layer.in_channels * hidden + hidden * layer.out_channels
               for size, layer in zip(positions_of(net), net.layers))


# ---- multiply-adds ----

@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
def test_of_a_small_network_by_hand(padding):
    net = env.build_net(env.Network(kernels=(3,), channels=(2,), pools=(2,), hidden=(5,),
                                    df_knowledge=((1, 1),), df_tensor=((1, 1),)), (4, 4, 1), padding)
    expected = 16 * 9 * 1 * 2 + 8 * 5 + 5 * 3 if padding == 'SAME' else 4 * 9 * 1 * 2 + 2 * 5 + 5 * 3
    assert plain(net, 3) == expected
    method = make_method('STL', Setting(net, {0: 3}, 'hps', {'pattern': 'T'}))
    assert resources.multiply_adds(method, [0]).tolist() == [expected]


@pytest.mark.parametrize('model_type', ['STL', 'Hybrid_TF', 'Hybrid_DFCNN', 'LASEM_DFCNN', 'DARTS_TF', 'EWC',
                                        'BruteForce_HPS', 'APD', 'ProgNN', 'ChannelGate', 'DEN'])
def test_of_each_method_as_counted_in_numpy(model_type, tmp_path):
    experiment = make_experiment(model_type, (0, 1), 1, depth=3 if model_type == 'ProgNN' else 2)
    net, options = experiment.net, experiment.options
    trial, record = train(experiment, tmp_path)
    expected = [plain(net)] * 2
    if model_type == 'ProgNN':
        expected = [progressive(net, column, options['dim_reduction_scale']) for column in range(2)]
    elif model_type == 'ChannelGate':
        expected = [plain(net) + gates(net, options['gating_module_size'])] * 2
    elif model_type == 'DEN':
        expected = [_of_widths(net, widths) for widths in record.extra['den_widths']]
    assert record.resources['multiply_adds'].tolist() == expected


def _of_widths(net, widths):
    """Of a network with so many units in its hidden layers, all of which a task reads."""
    layers, before, total = len(net.layers), net.image_shape[2], 0
    for size, layer, width in zip(positions_of(net), net.layers, widths):
        total += size * layer.kernel ** 2 * before * width
        before = width
    return total + dense([net.num_features // net.layers[-1].out_channels * before] + list(widths[layers:])
                         + [2])


def test_what_is_not_counted_is_not_known():
    with tf.Graph().as_default():
        images = tf.placeholder(tf.float32, (1, 4, 4, 2))
        made = tf.matmul(tf.placeholder(tf.float32, (18, 3)), tf.ones((3, 5)))       # kernels of parameters
        maps = tf.nn.conv2d(images, tf.reshape(made, (3, 3, 2, 5)), strides=[1] * 4, padding='SAME')
        assert resources.multiply_adds_of(maps, images) == 16 * 9 * 2 * 5
        back = tf.nn.conv2d_transpose(maps, tf.ones((3, 3, 7, 5)), (1, 4, 4, 7), [1] * 4)
        assert resources.multiply_adds_of(back, images) == 16 * 9 * (2 * 5 + 5 * 7)
        assert np.isnan(resources.multiply_adds_of(tf.nn.depthwise_conv2d(
            maps, tf.ones((3, 3, 5, 1)), [1] * 4, 'SAME'), images))


def test_a_product_of_unknown_rank_is_not_known():
    with tf.Graph().as_default():
        images = tf.placeholder(tf.float32, (1, 8))
        made = tf.placeholder_with_default(tf.matmul(images, tf.ones((8, 4))), None)
        assert np.isnan(resources.multiply_adds_of(tf.matmul(made, tf.ones((4, 2))), images))


def test_each_gradient_of_a_convolution_takes_what_the_convolution_takes():
    with tf.Graph().as_default():
        images, kernel = tf.placeholder(tf.float32, (1, 6, 6, 2)), tf.placeholder(tf.float32, (3, 3, 2, 5))
        maps = tf.nn.conv2d(images, kernel, strides=[1] * 4, padding='VALID')
        for tensor in [maps] + tf.gradients(maps, [images, kernel]):
            assert resources.multiply_adds_in(tensor.op) == 16 * 9 * 2 * 5, tensor


def test_products_of_matrices_that_are_turned_or_stacked():
    with tf.Graph().as_default():
        images, stack = tf.placeholder(tf.float32, (7, 2)), tf.placeholder(tf.float32, (3, 7, 2))
        for given, other, turned, expected in (
                (images, (7, 5), {'transpose_a': True}, 2 * 7 * 5),
                (images, (5, 2), {'transpose_b': True}, 7 * 2 * 5),
                (stack, (3, 2, 5), {}, 3 * 7 * 2 * 5),
                (stack, (3, 7, 5), {'adjoint_a': True}, 3 * 2 * 7 * 5)):
            product = tf.matmul(given, tf.ones(other), **turned)
            assert resources.multiply_adds_of(product, given) == expected


# ---- parameters ----

def size_of(values, begins=''):
    return sum(value.size for name, value in values.items() if begins in name)


def test_parameters_of_each_position(tmp_path):
    """Of a search all that it tries is trained, and what was chosen is kept."""
    trial, record = train(make_experiment('LASEM_HPS', (0, 1), 1), tmp_path)
    found, net = record.resources, trial.experiment.net
    own = size_of({name: value for name, value in trial.store.items()
                   if 'task1/' in name and name.startswith('fc')})
    layers = sum(layer.kernel ** 2 * layer.in_channels * layer.out_channels + layer.out_channels
                 for layer in net.layers)
    assert found['trainable_parameters'].tolist() == [own + 2 * layers] * 2
    assert found['kept_parameters'][1] == size_of(trial.store) == record.num_parameters
    assert found['kept_parameters'][0] == size_of({name: value for name, value in trial.store.items()
                                                   if 'task1/' not in name})


def test_of_several_phases_the_largest_counts():
    history = History(1, 1)
    history.start_task()
    for size in (5, 7, 6):
        history.trained(size)
    assert history.trainable_parameters == [7.]
    history.trained(np.nan)
    assert np.isnan(history.trainable_parameters[0])


def test_what_is_no_variable_has_no_known_size(monkeypatch):
    with tf.Graph().as_default():
        update = tf.train.GradientDescentOptimizer(.1).minimize(tf.nn.l2_loss(tf.Variable(tf.zeros((2, 3)))))
        assert resources.trained_size([update]) == 6
        monkeypatch.setattr(resources, 'VARIABLES', ('of another kind',))
        assert np.isnan(resources.trained_size([update]))


@pytest.mark.parametrize('resource_variables', [False, True])
def test_a_variable_that_is_read_row_by_row_is_trained_whole(resource_variables):
    with tf.Graph().as_default():
        table = tf.get_variable('table', (6, 4), use_resource=resource_variables)
        other = tf.get_variable('other', (3,), use_resource=resource_variables)
        loss = tf.reduce_sum(tf.gather(table, [0, 2])) * tf.reduce_sum(other)
        optimizer = tf.train.RMSPropOptimizer(0.1)
        assert resources.trained_size([optimizer.minimize(loss, var_list=[table])]) == 24
        assert resources.trained_size([optimizer.minimize(loss), optimizer.minimize(loss)]) == 27


@pytest.mark.parametrize('model_type, of_second', [
    ('STL', lambda store: size_of(store, 'task1/')),
    ('Hybrid_HPS', lambda store: size_of(store, 'task1/') + size_of(store, 'shared/')),
    ('EWC', lambda store: size_of(store, 'task1/') + size_of(store, 'shared/')),
    ('ProgNN', lambda store: size_of(store, 'task1/'))])
def test_what_learning_a_task_trains(model_type, of_second, tmp_path):
    trial, record = train(make_experiment(model_type, (0, 1), 1), tmp_path)
    assert record.resources['trainable_parameters'][1] == of_second(trial.store)


def test_joint_training_has_one_position(tmp_path):
    trial, record = train(make_joint('Hybrid_HPS', epochs=1), tmp_path)
    assert {name: len(record.resources[name]) for name in BY_POSITION} == dict.fromkeys(BY_POSITION, 1)
    assert record.resources['trainable_parameters'].tolist() == [size_of(trial.store)]
    assert record.resources['multiply_adds'].tolist() == [plain(trial.experiment.net)] * 3


def test_state_beside_the_parameters(tmp_path):
    """EWC keeps A and C of each shared value, 8 bytes each."""
    (tmp_path / 'one').mkdir()
    trial, record = train(make_experiment('EWC', (0, 1), 1), tmp_path / 'one')
    assert record.resources['state_bytes'].tolist() == [16 * size_of(trial.store, '/shared/')] * 2
    (tmp_path / 'other').mkdir()
    trial, record = train(make_experiment('ChannelGate', (0, 1), 1, channel_gate_mode='paper'),
                          tmp_path / 'other')
    beside = size_of(trial.store) - record.num_parameters
    assert beside > 0 and record.resources['kept_parameters'][1] == record.num_parameters
    assert record.resources['state_bytes'][1] == 4 * beside + sum(
        array.nbytes for array in trial.method.arrays.values())


# ---- seconds and memory ----

def test_seconds_add_up_over_a_stop(tmp_path):
    experiment = make_experiment('Hybrid_HPS', (0, 1), 2)
    with pytest.raises(Interrupted):
        make_trial(experiment, tmp_path, stopping=lambda: True).run()
    meta, groups = checkpoint.load(checkpoint.path_in(str(tmp_path)), pytest.fail)
    before, history = meta['peak_memory'], groups['history']
    assert history['training_seconds'][0] > 0 and history['trainable_parameters'].tolist() == [0.]
    groups['history'].update(training_seconds=np.array([1000.]), evaluation_seconds=np.array([500.]))
    checkpoint.save(checkpoint.path_in(str(tmp_path)), dict(meta, peak_memory=2 ** 50), groups)
    record = make_trial(experiment, tmp_path).run()
    found = record.resources
    assert 1000 < found['training_seconds'][0] < 1900 and 0 < found['training_seconds'][1] < 900
    assert 500 < found['evaluation_seconds'][0] < 1400 and 0 < found['evaluation_seconds'][1]
    assert found['evaluation_seconds'][1] + found['training_seconds'][1] < record.time_per_task[1]
    assert found['peak_memory'] == 2 ** 50 and 10 ** 7 < before < 2 ** 45


def test_a_checkpoint_of_before_leaves_unknown_what_it_lacks(tmp_path):
    experiment = make_experiment('Hybrid_HPS', (0, 1), 1)
    calls = []
    with pytest.raises(Interrupted):        # after the epoch of the second task
        make_trial(experiment, tmp_path, stopping=lambda: calls.append(0) or len(calls) > 1).run()
    path = checkpoint.path_in(str(tmp_path))
    meta, groups = checkpoint.load(path, pytest.fail)
    for name in BY_POSITION:
        del groups['history'][name]
    del meta['peak_memory']
    checkpoint.save(path, meta, groups)
    found = make_trial(experiment, tmp_path).run().resources
    assert all(np.isnan(found[name]).all() for name in BY_POSITION)
    assert np.isfinite(found['multiply_adds']).all() and found['peak_memory'] > 0


@pytest.mark.parametrize('before, expected', [
    ({'jobs': 2, 'threads': 1}, (2, 1)), ({'jobs': 1, 'threads': 1}, (np.nan, 1)),
    ({'jobs': 1, 'threads': 4}, (np.nan, np.nan)), (None, (np.nan, np.nan))])
def test_how_a_trial_shared_the_machine_is_not_known_where_it_changed(before, expected, tmp_path):
    """Its seconds are of both; None: a checkpoint of an earlier version, which does not say it."""
    experiment = make_experiment('Hybrid_HPS', (0, 1), 1)
    with pytest.raises(Interrupted):
        make_trial(experiment, tmp_path, stopping=lambda: True, share=before or {}).run()
    if before is None:
        path = checkpoint.path_in(str(tmp_path))
        meta, groups = checkpoint.load(path, pytest.fail)
        del meta['shares']
        checkpoint.save(path, meta, groups)
    found = make_trial(experiment, tmp_path, share={'jobs': 2, 'threads': 1}).run().resources
    np.testing.assert_array_equal([found['jobs'], found['threads']], expected)


def test_memory_is_counted_in_bytes(monkeypatch):
    held = psutil.Process().memory_info().rss
    assert 0.95 * held < resources.peak_memory() < psutil.virtual_memory().total
    monkeypatch.setattr(resources, 'open', lambda path: io.StringIO(
        u'VmPeak:\t 9000 kB\nVmHWM:\t    3000 kB\nVmRSS:\t    2000 kB\n'), raising=False)
    assert resources.peak_memory() == 3000 * 1024


def test_memory_where_no_proc_tells_it(monkeypatch):
    """macOS counts bytes, other systems kilobytes."""
    def missing(path):
        raise FileNotFoundError(path)
    monkeypatch.setattr(resources, 'open', missing, raising=False)
    monkeypatch.setattr('resource.getrusage', lambda who: SimpleNamespace(ru_maxrss=3000))
    for platform, expected in (('linux', 3000 * 1024), ('darwin', 3000)):
        monkeypatch.setattr(resources.sys, 'platform', platform)
        assert resources.peak_memory() == expected


# ---- files ----

def with_resources(**more):
    return result_files.record([[0.5, np.nan], [0.25, 0.75]], **more)._replace(
        resources={name: np.array(value) for name, value in FULL.items()})


def test_a_record_keeps_them(tmp_path):
    path = str(tmp_path / 'record.npz')
    save_record(path, with_resources())
    back = load_record(path).resources
    assert {name: value.tolist() for name, value in back.items()} == FULL


@pytest.mark.parametrize('trials', [1, 2, 5])
def test_the_fields_of_the_entry(trials, tmp_path):
    path = result_files.write(tmp_path / 'x.mat', 'STL',
                              [with_resources(trial=trial) for trial in range(trials)])
    stored, = entries(path)
    loaded, = load_results(path)
    for name in BY_POSITION + ('multiply_adds',):
        assert stored[name].tolist() == loaded[name].tolist() == [FULL[name]] * trials
        assert loaded[name + '_mean'].tolist() == FULL[name] and loaded[name + '_std'].shape == (2,)
    assert (stored['peak_memory'].tolist() == [[2e6] * trials]
            and loaded['peak_memory'].tolist() == [2e6] * trials)


def test_the_table_at_the_end():
    records = [with_resources(), with_resources(trial=1)]
    records[0].resources['peak_memory'] = np.array(2e9)
    records[1].resources.update(kept_parameters=np.array([60., 90.]), peak_memory=np.array(4e9))
    lines = table(summary(result_files.info('STL'), records, (0, 1)), (0, 1)).split('\n')
    assert [line.split('  ')[-1].strip() for line in lines[-5:]] == [
        '5.0 (0.0)', '0.8 (0.0)', '85 (7)', '200 (0)', '3000 (1414)']
    assert [line[:36].strip() for line in lines[-5:]] == [
        'of which training steps', 'of which evaluation', 'parameters after the last task',
        'multiply-adds of an image', 'peak memory of a trial (MB)']


def test_an_entry_with_a_trial_of_before_has_none(tmp_path):
    path = result_files.write(tmp_path / 'x.mat', 'STL', [
        with_resources(), result_files.record([[0.5, np.nan], [0.25, 0.75]], trial=1)])
    stored, = entries(path)
    assert not set(FULL) & set(stored)


def test_how_many_trained_at_a_time_is_known_of_all_trials_or_of_none(tmp_path):
    records = [with_resources(), with_resources(trial=1)]
    records[0].resources['jobs'] = np.array(2)
    stored, = entries(result_files.write(tmp_path / 'x.mat', 'STL', records))
    assert 'jobs' not in stored and stored['peak_memory'].tolist() == [[2e6, 2e6]]


def test_they_count_in_the_estimate_of_an_entry():
    experiment = make_experiment('STL')
    record = sizes._record(experiment, 0, 4)
    assert sorted(record.resources) == sorted(list(FULL) + ['jobs', 'threads'])     # which the process adds
    assert record.resources['kept_parameters'].shape == record.resources['multiply_adds'].shape == (2,)
