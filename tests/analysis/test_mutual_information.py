"""Matrix-based entropies: known values, bounds, limits; layers of real networks, against explicit
products."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from classification.analysis import mutual_information as mi
from classification.analysis.learned_network import LearnedNetwork, layer_values
from tests.support.tiny import learned, make_experiment, make_task, train
from utils import runtime
from utils import utils_env_cl as env
from utils.utils import random_state

ALPHAS = (0.05, 0.5, 1, 1.01, 2, 5)


def explicit(samples, width):
    """The kernel matrix of [n, d] samples, entry by entry; not divided by its trace."""
    number, size = samples.shape
    sigma = width * number ** (-1. / (4 + size))
    return np.array([[np.exp(-sum((a - b) ** 2 for a, b in zip(x, y)) / (2 * sigma ** 2)) for y in samples]
                     for x in samples])


def random_samples(number, size, seed=0):
    return np.random.RandomState(seed).normal(size=(number, size))


# ---- entropy ----

@pytest.mark.parametrize('alpha', ALPHAS)
def test_bounds_of_the_entropy(alpha):
    number = 16
    # all samples alike
    assert np.isclose(mi.entropy(np.full((number, number), 1. / number), alpha), 0., atol=1e-6)
    # all apart: log2 n
    assert np.isclose(mi.entropy(np.eye(number) / number, alpha), 4.)
    between = mi.entropy(mi.gram(random_samples(number, 2), 1.), alpha)
    assert 0 < between < 4
    # Two groups of alike samples are one bit, however large.
    groups = np.kron(np.eye(2), np.ones((8, 8))) / 16.
    assert np.isclose(mi.entropy(groups, alpha), 1., atol=1e-6)
    labels = np.equal.outer(np.arange(200) % 2, np.arange(2)).astype(np.float64)
    assert np.isclose(mi.entropy(mi.gram(labels, 0.1), alpha), 1., atol=1e-6)


def test_the_entropy_is_the_definition():
    matrix = mi.gram(random_samples(9, 3), 0.8)
    eigenvalues = np.linalg.eigvals(matrix).real
    for alpha in (0.7, 1.01, 3.):
        assert np.isclose(mi.entropy(matrix, alpha), np.log2(sum(eigenvalues ** alpha)) / (1 - alpha))
    # Known: eigenvalues 3/4 and 1/4 at alpha 2: -log2(10/16).
    assert np.isclose(mi.entropy(np.array([[0.5, 0.25], [0.25, 0.5]]), 2), np.log2(1.6))


def test_towards_one_it_becomes_von_neumanns():
    matrix = mi.gram(random_samples(20, 2), 0.5)
    eigenvalues = np.linalg.eigvalsh(matrix)
    limit = -sum(value * np.log2(value) for value in eigenvalues)
    assert np.isclose(mi.entropy(matrix, 1), limit)
    errors = [abs(mi.entropy(matrix, 1 + step) - limit) for step in (1e-2, 1e-3, 1e-4, -1e-4)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-3 and errors[3] < 1e-3
    assert mi.entropy(matrix, 0.9) > limit > mi.entropy(matrix, 1.1)       # it falls with alpha


# ---- Gram matrices ----

def test_the_gram_matrix():
    samples = random_samples(7, 3)
    kernel = explicit(samples, 0.9)
    np.testing.assert_allclose(mi.gram(samples, 0.9), kernel / np.trace(kernel), rtol=1e-10)
    shifted = mi.gram(samples.astype(np.float32) + 100, 0.9)               # distances only
    np.testing.assert_allclose(shifted, kernel / 7, rtol=1e-3)


def test_several_channels_are_the_hadamard_product_of_each():
    maps = np.random.RandomState(1).uniform(size=(6, 3, 2, 4))
    product = np.ones((6, 6))
    for channel in range(4):
        product *= explicit(maps[..., channel].reshape(6, -1), 0.7)        # d: positions of one channel
    np.testing.assert_allclose(mi.gram(maps, 0.7), product / np.trace(product), rtol=1e-9)


# ---- mutual information ----

@pytest.mark.parametrize('alpha', ALPHAS)
def test_known_mutual_information(alpha):
    number = 16
    one = mi.gram(np.repeat([0., 1e3], 8)[:, None], 1.)                    # two groups
    other = mi.gram(np.tile([0., 1e3], 8)[:, None], 1.)                    # two groups across them
    apart = mi.gram(1e3 * np.arange(float(number))[:, None], 1.)
    alike = np.full((number, number), 1. / number)
    # I(X;X) = S(X)
    assert np.isclose(mi.mutual_information(one, one, alpha), mi.entropy(one, alpha), atol=1e-6)
    assert np.isclose(mi.mutual_information(apart, apart, alpha), 4.)
    # independent
    assert np.isclose(mi.mutual_information(one, other, alpha), 0., atol=1e-6)
    # a function of it
    assert np.isclose(mi.mutual_information(one, apart, alpha), 1., atol=1e-6)
    # a constant
    assert np.isclose(mi.mutual_information(one, alike, alpha), 0., atol=1e-6)


def test_symmetric_and_within_bounds():
    one, other = mi.gram(random_samples(30, 4), 1.), mi.gram(random_samples(30, 2, seed=1), 0.5)
    found = mi.mutual_information(one, other, 1.01)
    assert np.isclose(found, mi.mutual_information(other, one, 1.01))
    joint = mi.entropy(mi.joint(one, other), 1.01)
    assert max(mi.entropy(one, 1.01), mi.entropy(other, 1.01)) <= joint <= np.log2(30)
    assert np.isclose(np.trace(mi.joint(one, other)), 1.)


def test_of_layers_is_made_of_its_parts():
    state = np.random.RandomState(2)
    images, labels, layer = state.uniform(size=(12, 3, 3, 2)), state.randint(0, 3, 12), state.uniform(
        size=(12, 2, 2, 3))
    with_images, with_labels = mi.of_layers(images, labels, [layer, images], 1.5, 0.8, 0.3)
    of_images, of_layer = mi.gram(images.reshape(12, -1), 0.8), mi.gram(layer, 0.8)
    of_labels = mi.gram(np.eye(3)[labels], 0.3)
    assert np.isclose(with_images[0], mi.mutual_information(of_images, of_layer, 1.5))
    assert np.isclose(with_labels[0], mi.mutual_information(of_layer, of_labels, 1.5))
    assert len(with_images) == len(with_labels) == 2


# ---- of networks ----

SETTINGS = {'alpha': 1.01, 'kernel_h': 2., 'kernel_h_backward': 0.5}


def convolution_blocks(net, weights, images):
    """relu(convolution + bias), max-pool, in NumPy, SAME padding: list of what each layer gives."""
    outputs, x = [], images.astype(np.float64)
    for layer, (kernel, bias) in zip(net.layers, weights):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), 'constant')
        x = sum(np.tensordot(padded[:, row:row + x.shape[1], column:column + x.shape[2]], kernel[row, column],
                             axes=1)
                for row in range(3) for column in range(3))
        x = np.maximum(x + bias, 0)
        if layer.pool == 2:
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max(axis=(2, 4))
        outputs.append(x)
    return outputs


def test_what_a_trial_records(tmp_path, monkeypatch):
    monkeypatch.setattr(mi, 'MAX_IMAGES', 11)
    experiment = make_experiment('Hybrid_HPS', (0, 1), 1)._replace(analyses={'mutual_info': SETTINGS})
    trial, record = train(experiment, tmp_path)
    for task in (0, 1):
        part = make_task(task).test
        rows = np.sort(random_state(5, 0, task, purpose='mutual information').permutation(part.size)[:11])
        images = part.images(rows) / 16. - 4
        weights = []
        for layer, letter in enumerate(trial.method.pattern_of(task)):
            prefix = 'conv%d/%s' % (layer, 'shared/hps/' if letter == 'S' else 'task%d/own/' % task)
            weights.append([trial.store[prefix + part_of] for part_of in ('kernel', 'bias')])
        layers = convolution_blocks(experiment.net, weights, images)
        expected = mi.of_layers(images, part.labels[rows], layers, 1.01, 2., 0.5)
        np.testing.assert_allclose(record.extra['mutual_info_input'][task], expected[0], atol=1e-4)
        np.testing.assert_allclose(record.extra['mutual_info_output'][task], expected[1], atol=1e-4)
    assert record.extra['mutual_info_input'].shape == (2, 2) and (record.extra['mutual_info_input'] > 0).all()


@pytest.mark.parametrize('model_type, pattern', [
    ('SNN', 'SS'), ('Hybrid_TF', 'TS'), ('DARTS_DFCNN', 'ST'), ('LASEM_APD', 'SS'), ('BruteForce_HPS', 'TS'),
    ('ProgNN', 'TT'), ('ChannelGate', 'SS'), ('DEN', 'SS'), ('APD', 'TS'), ('APD paper', 'SS')])
def test_layers_of_every_kind_of_method(model_type, pattern):
    """What the layers give leads, through the head, to the logits."""
    model_type, _, mode = model_type.partition(' ')
    method, store = learned(model_type, [pattern, pattern], **(dict(env.APD_PAPER, apd_mode=mode) if mode
                                                               else {}))
    images = np.random.RandomState(1).normal(size=(5, 4, 4, 1)).astype(np.float32)
    layers = list(layer_values(method, store, 1, images, 2, runtime.session_config(1)))
    assert [layer.shape for layer in layers] == [(5, 2, 2, 3), (5, 2, 2, 4)]
    head = ['fc0/%s/%%s' % ('shared/hps' if model_type == 'SNN' else 'task1/%s'
                            % ('den' if model_type == 'DEN' else 'own')) % part
            for part in ('kernel', 'bias')]
    expected = layers[-1].reshape(5, -1).dot(store[head[0]]) + store[head[1]]

    def build(parameters):
        return method.logits(parameters, 1, tf.constant(images))
    with LearnedNetwork(method, store, build, runtime.session_config(1)) as network:
        np.testing.assert_allclose(network.session.run(network.wanted), expected, atol=1e-5)
