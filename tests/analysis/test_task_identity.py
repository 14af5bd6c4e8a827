"""Test images whose task nobody tells: the choice by hand, what trials of every kind record of it, and who is
refused."""
from collections import OrderedDict

import numpy as np
import pytest

from classification.analysis import task_identity
from classification.analysis.classifier import Classifier
from classification.analysis.task_identity import confidence, most_confident, shares
from classification.experiment import sizes
from classification.experiment.mat_info import info
from classification.gen_data import Split, Task
from classification.model.registry import MODELS, method_of
from classification.results import parameter_files
from classification.results.summary import WITHOUT_IDENTITY
from classification.trial.checkpoint import path_in
from classification.trial.state import continue_from
from tests.support import data_files
from tests.support.commands import experiment_of, is_refused
from tests.support.own_images import classes_in
from tests.support.result_files import same_trial
from tests.support.tiny import (
    make_experiment,
    make_task,
    make_trial,
    quick_config,
    train,
    train_with_stops,
)
from utils.lazy_tensorflow import tf

NAN = np.nan

# ---- by hand ----

def test_the_most_confident_head_answers():
    """Each head's probabilities are of its own classes only."""
    two = [[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.6, 0.4]]
    three = [[0.2, 0.7, 0.1], [0.2, 0.2, 0.6], [0.1, 0.3, 0.6], [0.4, 0.4, 0.2]]
    more = [np.log(two) + 3, np.log(three)]         # what is added to all logits of a head changes nothing
    for logits, places in ((more, [0, 1, 0, 0]), (more[::-1], [1, 0, 1, 1])):
        heads, classes = most_confident(logits)
        assert heads.tolist() == places and classes.tolist() == [0, 2, 1, 0]
    assert [found.tolist() for found in most_confident([np.log(three)])] == [[0] * 4, [1, 2, 2, 0]]


def test_of_equal_ones_the_first_head_and_the_first_class_answer():
    two, three = np.array([[0., 2.], [5., 5.]]), np.array([[-1e4, 7., 5.], [1., -1e4, 1.]])
    assert [found.tolist() for found in most_confident([two, three])] == [[0, 0], [1, 0]]
    assert [found.tolist() for found in most_confident([three, two])] == [[0, 0], [1, 0]]


def test_confidence_is_the_log_probability_of_the_best_class():
    logits = np.random.RandomState(0).normal(0, 3, (20, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(confidence(logits), np.log(probabilities.max(axis=1)), rtol=1e-12)
    before = logits.copy()
    confidence(logits)
    assert (logits == before).all()


def test_probabilities_that_round_to_one_stay_apart():
    surer, sure = np.float32([[80., 0., 0.]]), np.float32([[60., 0.]])
    assert confidence(surer) > confidence(sure) and np.exp(confidence(sure)) == 1
    assert most_confident([sure, surer])[0].tolist() == [1]


class OnePixel(object):
    """A method of which each task's network gives the pixel that it sees as the logit of its class 1; class 0
    has 0."""

    class net(object):
        image_shape = (1, 1, 1)

    @staticmethod
    def logits(parameters, task, images):
        seen = tf.reshape(images, [-1, 1])
        return tf.concat([tf.zeros_like(seen)] + [seen] * (1 + task), axis=1)


def one_pixel_task(index, pixels, labels, scale, offset):
    """A task whose training images are scaled in a way that no test image is."""
    parts = [Split(np.array(labels, np.int32), np.float32([by]), np.float32([offset]),
                   np.reshape(np.array(pixels, np.uint8), (-1, 1, 1, 1)), np.arange(len(pixels)), None)
             for by in (99., 99., scale)]
    return Task(index, 2 + index, *parts, classes=tuple(range(index, 2 + 2 * index)))


@pytest.mark.parametrize('batch', [1, 3, 100])
def test_shares_by_hand(batch):
    """Network 0 sees x - 4, network 1 y = x / 2 - 3, whichever task an image is of.

    The best of the two classes of network 0 has probability 1 / (1 + e^-|x - 4|); of the three of network 1,
    1 / (1 + 2 e^y) where y is below 0, else at most 1 / 2. So network 1 answers x = 4, with class 0: 2 e^-1
    is less than 1. Network 0 answers the others: e^-4 is less than 2 e^-3 (x = 0), e^-2 than 2 e^-2 (x = 2),
    e^-1 than 2 e^-1.5 (x = 3); with class 1 where x is above 4.
    """
    first = one_pixel_task(0, [0, 2, 4, 9, 200], [0, 1, 0, 1, 0], 1., -4.)
    second = one_pixel_task(1, [4, 4, 3, 100], [0, 1, 0, 0], 0.5, -3.)
    found = shares(OnePixel, {}, [first, second], batch, quick_config())
    np.testing.assert_allclose(found, [[2 / 5., 4 / 5.], [1 / 4., 2 / 4.]], rtol=1e-12)
    alone = shares(OnePixel, {}, [first], batch, quick_config())
    np.testing.assert_allclose(alone, [[3 / 5., 1.]], rtol=1e-12)     # 0, 4 (equal: the first class), 9


# ---- of trials ----

def asked(model_type, order=(0, 1), epochs=1, **options):
    return make_experiment(model_type, order, epochs, **options)._replace(
        analyses={'without_task_identity': True})


def of_record(record):
    return [record.extra[name] for name in WITHOUT_IDENTITY]


def recomputed(experiment, path):
    """[2, tasks]: both shares by what a parameter file's network of each task answers alone, in loops."""
    file, networks = parameter_files.load(path), OrderedDict()
    for task in OrderedDict.fromkeys(experiment.task_order):
        method, seen = method_of(experiment), make_task(task).test
        method.state, method.arrays = file.about['state'], dict(file.arrays)
        images = {'swap': None, 'scale': seen.scale, 'offset': seen.offset}
        networks[task] = Classifier(method, file.store, task, images, 255, quick_config())
    found = []
    for task in experiment.tasks:
        split, counts = make_task(task).test, np.zeros(2)
        answers = [(learned, network(split.images())) for learned, network in networks.items()]
        for image, label in enumerate(split.labels):
            best = max(answers,     # the first of equal ones
                       key=lambda pair: pair[1]['probabilities'][image].max())
            counts += [best[0] == task and best[1]['class'][image] == label, best[0] == task]
        found.append(counts / split.size)
    for network in networks.values():
        network.session.close()
    return np.transpose(found)


CASES = sorted(MODELS) + ['APD paper', 'ChannelGate paper', 'ProgNN lateral']
OPTIONS = {'APD paper': {'apd_mode': 'paper', 'apd_consolidate_every': 2},
           'ChannelGate paper': {'channel_gate_mode': 'paper'},
           'ProgNN lateral': {'prognn_lateral_head': True}}
OPTIONS.update((name, {'depth': 2}) for name in MODELS if name.startswith('LASEM_fixed'))


@pytest.mark.parametrize('case', CASES)
def test_every_method_is_evaluated_with_what_it_hands_on(case, tmp_path):
    experiment = asked(case.split()[0], (1, 0), **dict({'depth': 1}, **OPTIONS.get(case, {})))
    record = make_trial(experiment, tmp_path, parameter_folder=str(tmp_path)).run()
    accuracy, right = of_record(record)
    np.testing.assert_allclose([accuracy[1], right[1]], recomputed(
        experiment, str(tmp_path / 'run0' / parameter_files.FINAL)), rtol=1e-12)
    np.testing.assert_array_equal(right[0], [NAN, 1])
    np.testing.assert_array_equal(accuracy[0], record.accuracy_matrix[0])      # of one learned task
    assert (accuracy[1] <= right[1]).all() and (accuracy[1] <= record.accuracy_matrix[1]).all()
    if case == 'SNN':           # its only head is equally sure of itself as every task's
        assert right[1].tolist() == [0, 1] and accuracy[1, 1] == record.accuracy_matrix[1, 1]


def test_no_other_number_moves(tmp_path):
    with_it = asked('LASEM_HPS', (0, 1, 0), depth=1)
    without = with_it._replace(analyses={})
    found = []
    for number, experiment in enumerate((with_it, without)):
        (tmp_path / str(number)).mkdir()
        found.append(train(experiment, tmp_path / str(number)))
    (trial, record), (other, expected) = found
    estimated = sizes._record(with_it, 0, len(record.accuracy) - 1).extra      # of the entry's size
    assert all(estimated[name].shape == record.extra[name].shape for name in WITHOUT_IDENTITY)
    assert all(record.extra.pop(name).shape == (3, 2) for name in WITHOUT_IDENTITY)
    same_trial(trial, record, other, expected)


def test_without_the_flag_nothing_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(task_identity, 'shares', lambda *more: pytest.fail('it is evaluated'))
    trial, record = train(make_experiment('STL', epochs=1), tmp_path)
    assert not set(WITHOUT_IDENTITY) & set(record.extra) and trial.state.history.without_task_identity == []


@pytest.mark.parametrize('model_type, epochs', [('BruteForce_HPS', 1), ('LASEM_HPS', 2)])
def test_a_stopped_trial_records_the_same(model_type, epochs, tmp_path):
    experiment = asked(model_type, (0, 1), epochs, depth=1)
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    calm = train(experiment, tmp_path / 'calm')
    trial, record, log = train_with_stops(experiment, tmp_path / 'stopped')
    assert [line for line in log if 'position 1' in line and 'resumed' in line]
    same_trial(trial, record, *calm)


def test_a_longer_experiment_takes_the_rows_over(tmp_path):
    shorter, longer = [asked('Hybrid_HPS', order) for order in ((1, 0), (1, 0, 2))]
    for name in ('shorter', 'longer', 'at_once'):
        (tmp_path / name).mkdir()
    train(shorter, tmp_path / 'shorter')
    assert continue_from(path_in(str(tmp_path / 'shorter')), shorter, longer,
                         path_in(str(tmp_path / 'longer')), pytest.fail)
    trial, record, _ = train_with_stops(longer, tmp_path / 'longer')
    same_trial(trial, record, *train(longer, tmp_path / 'at_once'))
    accuracy, right = of_record(record)
    learned = [[False, True, False], [True, True, False], [True, True, True]]
    for values in (accuracy, right, record.accuracy_matrix):
        assert (~np.isnan(values)).tolist() == learned


# ---- the flag ----

def test_the_flag_is_part_of_the_experiment_only_where_it_is_given():
    without, with_it = experiment_of(), experiment_of('--without_task_identity')
    assert 'identity' not in without.to_json() and 'without_task_identity' not in info(without)
    assert with_it._replace(analyses={}) == without and with_it.fingerprint() != without.fingerprint()
    assert info(with_it)['without_task_identity'] is True


SHARED = [      # data, options, what the line says
    (data_files.mnist, '--data_type MNIST10 --data_percent 100',
     'MNIST10 has the class rest in task 0 and in task 1'),
    (data_files.cifar100, '--data_type CIFAR100_20 --data_percent 4', 'CIFAR100_20 has the class '),
    (data_files.stl10, '--data_type STL10_15t', 'STL10_15t has the class '),
    (data_files.officehome, '--data_type OfficeHome', 'OfficeHome has the class TV in task 0 and in task 5'),
]


@pytest.mark.parametrize('make, options, says', SHARED)
def test_tasks_with_a_common_class_are_refused(make, options, says, tmp_path):
    make(tmp_path)
    words = options.split() + ['--data_dir', str(tmp_path), '--model_type', 'STL', '--lifelong']
    is_refused(words + ['--without_task_identity'], '--without_task_identity: ' + says)
    if 'OfficeHome' in words:
        assert experiment_of(*words, '--without_task_identity', '--num_tasks', '5').analyses


def test_own_images_are_told_apart_by_the_names_of_their_classes(tmp_path):
    for task, names in (('a', ['cat', 'dog']), ('b', ['emu', 'fox']), ('c', ['dog', 'hen'])):
        classes_in(tmp_path / task, names)
    words = ['--data_type', 'Images', '--images', str(tmp_path), '--model_type', 'STL', '--lifelong',
             '--batch_size', '4', '--without_task_identity', '--quiet']
    is_refused(words, 'Images has the class dog in task 0 and in task 2')
    assert experiment_of(*words, '--task_order', '0,1').analyses == {'without_task_identity': True}
