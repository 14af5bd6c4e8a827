"""The data sets as they come out: sizes, classes, labels, groups, what the network sees."""
import functools
import os
import subprocess
import sys
from collections import Counter, OrderedDict

import numpy as np
import pytest

from classification import gen_data
from classification.data import readers, task_lists
from classification.data.readers_officehome import OFFICEHOME, OFFICEHOME_PRODUCT, OfficeHomeFolders
from classification.data.stl10_designs import NoisyImages
from classification.experiment.experiment import numeric_versions
from classification.gen_data import (
    DATASETS,
    SPLITS,
    Index,
    Request,
    check_request,
    checksums,
    has_small_classes,
    load_tasks,
    sixty_ten_thirty,
    task_sizes,
)
from classification.model.registry import MODELS
from tests.support import data_files
from tests.support.commands import ROOT
from utils.utils import UserError, random_state, sha256_of

# The table of the specification; a row for each percentage, a column for MNIST5, MNIST10, CIFAR10_*,
# CIFAR100_*.
SIZES = """
1   100,20,1800      100,10,2000      -               -
2   -                -                160,40,2000     80,20,1000
3   300,60,1800      300,30,2000      -               -
4   -                -                340,60,2000     170,30,1000
5   500,100,1800     500,50,2000      -               -
6   -                -                500,100,2000    250,50,1000
7   700,140,1800     700,70,2000      -               -
8   -                -                660,140,2000    330,70,1000
9   900,180,1800     900,90,2000      -               -
10  1000,200,1800    1000,100,2000    840,160,2000    410,90,1000
20  -                -                -               830,170,1000
25  -                -                -               1040,210,1000
30  3000,600,1800    3000,300,2000    2500,500,2000   1250,250,1000
40  -                -                -               1670,330,1000
50  5000,1000,1800   5000,500,2000    4160,840,2000   2080,420,1000
60  -                -                -               2500,500,1000
70  7000,1000,1800   7000,700,2000    5840,1160,2000  2920,580,1000
75  -                -                -               3120,630,1000
80  -                -                -               3330,670,1000
90  9000,1000,1800   9000,900,2000    7500,1500,2000  3750,750,1000
100 10000,1000,1800  10000,1000,2000  8330,1670,2000  4170,830,1000
"""
COLUMN = {'MNIST5': 1, 'MNIST10': 2, 'FASHION5': 1, 'FASHION10': 2, 'CIFAR10_5': 3, 'CIFAR10_10': 3,
          'CIFAR100_10': 4, 'CIFAR100_20': 4, 'CIFAR100_40': 4}
# own images have a test file of their own
NAMES = [name for name, dataset in DATASETS.items() if dataset.tasks]
TABLE = [row.split() for row in SIZES.strip().splitlines()]
MNIST_COUNTS = {
    'valid': (479, 563, 488, 493, 535, 434, 501, 550, 462, 495),
    'train': (5444, 6179, 5470, 5638, 5307, 4987, 5417, 5715, 5389, 5454),
    'test': (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)}
# Small enough for the fixtures that not every image is used, where the data set has percentages.
PERCENT = {'MNIST5': 1, 'MNIST10': 90, 'FASHION5': 1, 'FASHION10': 90, 'CIFAR10_10': 90}


def quiet(line):
    """Nobody listens."""


def load(name, folder, percent=None, **more):
    return load_tasks(name, str(folder), percent, say=more.pop('say', quiet), **more)


@functools.lru_cache(maxsize=None)
def loaded(name, folder, group=0):
    """A group of the fixture, for tests that only look at it."""
    return load(name, folder, PERCENT.get(name), group=group)


def numbers(part):
    """Which of the data set's images a part holds."""
    return part.pixels.rows if isinstance(part.pixels, NoisyImages) else part.rows


def parts(task):
    return [(name, getattr(task, name)) for name in SPLITS]


@pytest.fixture(scope='module', autouse=True)
def quick_photographs():
    """Decoding is test_readers.py's business; here a photograph is a colour, one for each file."""
    def colour(path):
        with open(path, 'rb') as stream:
            return np.full((128, 128, 3), list(bytearray.fromhex(sha256_of(stream)[:6])), np.uint8)
    original = OfficeHomeFolders.decode
    OfficeHomeFolders.decode = lambda self, data_dir, say: np.stack(
        list(map(colour, self.files(data_dir).values())))
    yield
    OfficeHomeFolders.decode = original


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """All data sets; `raw[source]` is (images, classes) as they were written."""
    place = tmp_path_factory.mktemp('data')
    for source, write in ((readers.MNIST, data_files.mnist), (readers.FASHION, data_files.fashion),
                          (readers.CIFAR10, data_files.cifar10), (readers.CIFAR100, data_files.cifar100),
                          (readers.STL10, data_files.stl10)):
        RAW[source] = write(place)
    data_files.officehome(place)
    photographs = OFFICEHOME.decode(str(place), quiet)
    RAW[OFFICEHOME] = photographs, np.repeat(np.arange(130), 10)
    RAW[OFFICEHOME_PRODUCT] = photographs[:650], np.repeat(np.arange(65), 10)
    digits = readers.DIGITS.decode(None, quiet), readers.DIGITS.labels(None)['all']
    RAW[readers.DIGITS] = digits
    return str(place)


RAW = {}


def official(monkeypatch, source, counts):
    """Gives a source the number of images of the official files, as labels; nothing is read."""
    labels = OrderedDict((pool, np.repeat(np.arange(len(numbers)), numbers)) for pool,
                         numbers in counts.items())
    monkeypatch.setattr(source, 'labels', lambda data_dir: labels)


def official_everywhere(monkeypatch):
    official(monkeypatch, readers.MNIST, MNIST_COUNTS)
    official(monkeypatch, readers.FASHION, MNIST_COUNTS)
    official(monkeypatch, readers.CIFAR10, {'train': [5000] * 10, 'test': [1000] * 10})
    official(monkeypatch, readers.CIFAR100, {'train': [500] * 100, 'test': [100] * 100})
    official(monkeypatch, readers.STL10, {'train': [500] * 10, 'test': [800] * 10})


# ---- tables ----

@pytest.mark.parametrize('name', sorted(COLUMN))
def test_size_tables_are_the_published_ones(name):
    published = {int(row[0]): tuple(map(int, row[COLUMN[name]].split(',')))
                 for row in TABLE if row[COLUMN[name]] != '-'}
    assert DATASETS[name].sizes == published


def test_data_sets_are_these():
    rows = [(name, row.family, row.num_tasks, row.image_shape, row.sizes is None) for name,
            row in DATASETS.items()]
    assert rows == [
        ('MNIST5', 'mnist5', 5, (28, 28, 1), False), ('MNIST10', 'mnist10', 10, (28, 28, 1), False),
        ('FASHION5', 'fashion', 5, (28, 28, 1), False), ('FASHION10', 'fashion', 10, (28, 28, 1), False),
        ('CIFAR10_5', 'cifar10_5', 5, (32, 32, 3), False), ('CIFAR10_10', 'cifar10_10', 10, (32, 32, 3),
                                                            False),
        ('CIFAR100_10', 'cifar100', 10, (32, 32, 3), False), ('CIFAR100_20', 'cifar100', 20, (32, 32, 3),
                                                              False),
        ('CIFAR100_40', 'cifar100', 40, (32, 32, 3), False), ('OfficeHome', 'officehome', 10, (128, 128, 3),
                                                              True),
        ('OfficeHome_Incremental', 'officehome', 6, (128, 128, 3), True),
        ('STL10_15t', 'stl10', 15, (96, 96, 3), True), ('STL10_20t', 'stl10', 20, (96, 96, 3), True),
        ('DIGITS5', 'digits5', 5, (8, 8, 1), True), ('Images', None, 0, (None, None, None), True)]


@pytest.mark.parametrize('tasks, times', [
    (task_lists.CIFAR100_TEN_TASKS, 1), (task_lists.CIFAR100_TWENTY_TASKS, 2),
    (task_lists.CIFAR100_FORTY_TASKS, 4)])
def test_every_class_of_cifar100_is_in_as_many_tasks(tasks, times):
    assert Counter(number for row in tasks for number in row) == {number: times for number in range(100)}
    assert {len(set(row)) for row in tasks} == {10}


def test_class_lists_of_cifar100_are_related_as_published():
    ten, twenty, forty = (task_lists.CIFAR100_TEN_TASKS, task_lists.CIFAR100_TWENTY_TASKS,
                          task_lists.CIFAR100_FORTY_TASKS)
    assert twenty[::2] == tuple(ten[row] for row in (0, 5, 1, 6, 2, 7, 3, 8, 9, 4))
    assert forty[:20] == twenty
    common = [len(set(first) & set(second)) for first, second in zip(forty, forty[1:])]
    assert common == [5] * 19 + [0] + [5] * 19
    assert ten[9] == (87, 71, 38, 75, 99, 98, 93, 80, 96, 89) and forty[39] == (4, 22, 54, 15, 0, 98, 97, 80,
                                                                                90, 89)


def test_class_lists_of_officehome():
    assert sorted(number for row in task_lists.OFFICEHOME_TASKS for number in row) == list(range(130))
    assert [task_lists.OFFICEHOME_CLASSES[number] for number in (0, 13, 64)] == ['Alarm_Clock', 'Couch',
                                                                                 'Webcam']
    assert task_lists.OFFICEHOME_TASKS[5] == tuple(65 + number for number in task_lists.OFFICEHOME_TASKS[0])
    assert [len(row) for row in task_lists.OFFICEHOME_INCREMENTAL_TASKS] == [3, 4, 5, 6, 7, 8]
    assert task_lists.OFFICEHOME_INCREMENTAL_TASKS[5] == (13, 58, 41, 11, 6, 38, 3, 62)


# ---- sizes with the official numbers of images ----

@pytest.mark.parametrize('name, percent, expected', [
    ('MNIST5', 1, [(100, 20, 1800)] * 5),
    ('MNIST5', 90, [(9000, valid, 1800) for valid in (1000, 981, 969, 1000, 957)]),
    ('MNIST5', 100, [(10000, valid, 1800) for valid in (1000, 981, 969, 1000, 957)]),
    ('MNIST10', 1, [(100, 10, 2000)] * 10),
    ('MNIST10', 100, [(10000, 1000, 2000)] * 10),
    ('FASHION10', 30, [(3000, 300, 2000)] * 10),
    ('CIFAR10_5', 2, [(160, 40, 2000)] * 5),
    ('CIFAR10_5', 100, [(8330, 1666, 2000)] * 5),
    ('CIFAR10_10', 2, [(160, 40, 2000)] * 10),
    ('CIFAR10_10', 100, [(8330, 1670, 2000)] * 10),
    ('CIFAR100_10', 4, [(170, 30, 1000)] * 10),
    ('CIFAR100_10', None, [(4160, 830, 1000)] * 10),
    ('CIFAR100_40', 10, [(410, 90, 1000)] * 40),
    ('STL10_15t', None, [(125, 125, 4000)] * 15),
    ('STL10_20t', None, [(318, 57, 2400)] * 20)])
def test_sizes_with_the_official_files(name, percent, expected, monkeypatch, tmp_path):
    official_everywhere(monkeypatch)
    classes = {'CIFAR100_10': 10, 'CIFAR100_40': 10, 'STL10_15t': 5, 'STL10_20t': 3}.get(name, 2)
    assert task_sizes(name, str(tmp_path), percent) == [
        (task, classes) + sizes for task, sizes in enumerate(expected)]
    assert not os.listdir(str(tmp_path))


@pytest.mark.parametrize('name, percent, part, positives', [
    ('MNIST5', 10, 'test', [900, 900, 908, 900, 900]),
    ('MNIST10', 10, 'test', [980, 1000, 1000, 1000, 982, 892, 958, 1000, 974, 1000]),
    ('MNIST10', 10, 'train', [500] * 5 + [498] + [500] * 4),
    ('CIFAR10_10', 2, 'valid', [16] * 10), ('CIFAR10_10', 2, 'train', [80] * 10),
    ('CIFAR10_5', 100, 'train', [4165] * 5), ('CIFAR10_5', 100, 'valid', [833] * 5)])
def test_positive_images_have_label_1_and_are_half_where_there_are_enough(name, percent, part, positives,
                                                                          monkeypatch):
    official_everywhere(monkeypatch)
    place = list(SPLITS).index(part)
    shape = sum(len(pool) for pool in DATASETS[name].source.labels('').values()), 1, 1, 1
    monkeypatch.setattr(DATASETS[name].source, 'images', lambda data_dir, say: np.zeros(shape, np.uint8))
    tasks = load(name, '', percent)
    assert [int(getattr(task, part).labels.sum()) for task in tasks] == positives
    assert [getattr(task, part).size for task in tasks] == [DATASETS[name].sizes[percent][place]] * len(
        tasks) \
        or (name, percent, part) == ('CIFAR10_5', 100, 'valid')


@pytest.mark.skipif(not os.path.isdir(readers.DEBIAN_FASHION),
                    reason="Debian's dataset-fashion-mnist is not installed")
def test_the_official_fashion_files(tmp_path):
    tasks = load('FASHION5', tmp_path, 10)
    assert [(task.train.size, task.valid.size, task.test.size) for task in tasks] == [(1000, 200, 1800)] * 5
    assert tasks[0].test.images().shape == (1800, 28, 28, 1)
    assert numbers(tasks[0].valid).max() < 5000 <= numbers(tasks[0].train).min() < 60000 <= numbers(
        tasks[0].test).min()


# ---- any data set ----

@pytest.mark.parametrize('name', NAMES)
def test_images_and_labels_are_those_of_the_files(name, folder):
    images, truth = RAW[DATASETS[name].source]
    tasks = loaded(name, folder)
    assert [task.index for task in tasks] == list(range(DATASETS[name].num_tasks))
    for task in tasks[::3]:
        assert task.num_classes == len(task.classes)
        for _, part in parts(task):
            assert part.labels.dtype == np.int32 and part.scale.dtype == part.offset.dtype == np.float32
            pixels = part.images()
            assert pixels.dtype == np.uint8 and pixels.shape == (part.size,) + DATASETS[name].image_shape
            assert pixels.flags.c_contiguous
            if not isinstance(part.pixels, NoisyImages):
                expected = images[part.rows]
                np.testing.assert_array_equal(pixels, expected if part.swap is None
                                              else expected[..., part.swap])
            for label, number in set(zip(part.labels, truth[numbers(part)])):
                wanted = task.classes[label]
                if wanted == task_lists.REST:
                    assert number != task.classes[1 - label]
                else:
                    assert DATASETS[name].source.name_of(number) == wanted
            assert len(set(numbers(part))) == part.size
        assert set(task.train.labels) == set(task.test.labels) == set(range(task.num_classes))


@pytest.mark.parametrize('name', NAMES)
def test_no_image_trains_and_validates_or_tests_in_any_task_of_a_group(name, folder):
    used = {part: set() for part in SPLITS}
    for task in loaded(name, folder, 1):
        for part in SPLITS:
            used[part] |= set(numbers(getattr(task, part)))
    assert not used['train'] & used['valid'] and not used['train'] & used['test'] and not used[
        'valid'] & used['test']


@pytest.mark.parametrize('name', NAMES)
def test_groups_differ_in_their_training_images_only(name, folder):
    groups = [loaded(name, folder, group) for group in range(2)]
    chosen = [[frozenset(numbers(task.train)) for task in tasks] for tasks in groups]
    for task in range(DATASETS[name].num_tasks):
        assert chosen[0][task] != chosen[1][task]
    for task, other in zip(groups[0], groups[1]):
        same = set(numbers(task.test)) == set(numbers(other.test))
        assert same != (DATASETS[name].family == 'officehome')
        if same:
            np.testing.assert_array_equal(task.test.images(), other.test.images())
            np.testing.assert_array_equal(task.test.labels, other.test.labels)
        assert task.classes == other.classes


@pytest.mark.parametrize('name', NAMES)
def test_a_seed_gives_its_data_again_and_another_seed_other_data(name, folder):
    def train(**more):
        return [(tuple(numbers(task.train)), task.train.images().tobytes(), task.train.labels.tobytes())
                for task in load(name, folder, PERCENT.get(name), num_tasks=2, **more)]
    first, again, other = train(seed=3), train(seed=3), train(seed=4)
    assert first == again and first[0] != other[0] and first[1] != other[1]


@pytest.mark.parametrize('name', NAMES)
def test_fewer_tasks_are_the_first_ones(name, folder):
    everything, first = loaded(name, folder), load(name, folder, PERCENT.get(name), num_tasks=2)
    assert len(first) == 2
    for task, other in zip(first, everything):
        np.testing.assert_array_equal(numbers(task.train), numbers(other.train))
        np.testing.assert_array_equal(task.valid.labels, other.valid.labels)


@pytest.mark.parametrize('name', NAMES)
def test_sizes_are_known_without_decoding(name, folder, monkeypatch):
    sizes = [(task.index, task.num_classes, task.train.size, task.valid.size, task.test.size)
             for task in loaded(name, folder)]
    if name != 'DIGITS5':
        monkeypatch.setattr(type(DATASETS[name].source), 'decode', None)
        monkeypatch.setattr(type(DATASETS[name].source), 'images', None)
    assert task_sizes(name, folder, PERCENT.get(name)) == sizes


def test_a_selection_of_images(folder):
    part = load('CIFAR100_10', folder)[0].train
    np.testing.assert_array_equal(part.images(np.array([3, 1])), part.images()[[3, 1]])
    assert part.images(np.arange(1)).shape == (1, 32, 32, 3)


# ---- each data set's own rules ----

def test_tasks_that_share_a_class_share_its_images(folder):
    tasks = load('CIFAR100_20', folder)
    first, second = [set(numbers(task.train)[task.train.labels == task.classes.index(54)])
                     for task in tasks[:2]]
    assert first == second and len(first) == 20


def test_one_against_the_rest_is_balanced_and_thinned_once_for_all_tasks(folder):
    images, truth = RAW[readers.CIFAR10]
    tasks = load('CIFAR10_10', folder, 50)
    assert {(task.train.size, int(task.train.labels.sum())) for task in tasks} == {(250, 25)}
    used = {number for task in tasks for number in numbers(task.train)}
    assert Counter(truth[sorted(used)]) == {number: 25 for number in range(10)}


def test_one_percent_of_mnist10_is_one_percent(monkeypatch):
    official(monkeypatch, readers.MNIST, MNIST_COUNTS)
    monkeypatch.setattr(readers.MNIST, 'images', lambda data_dir, say: np.zeros((70000, 1, 1, 1), np.uint8))
    used = {number for task in load('MNIST10', '', 1) for number in numbers(task.train)}
    assert len(used) <= sum(count // 100 for count in MNIST_COUNTS['train']) < 600


def test_mnist_validates_on_its_first_images_only(folder):
    for task in load('MNIST5', folder):
        assert set(numbers(task.valid)) <= set(range(50)) and set(numbers(task.train)) <= set(range(50, 600))


def test_officehome_is_parted_60_10_30_and_later_tasks_keep_the_parts(folder):
    tasks = load('OfficeHome_Incremental', folder)
    for task in tasks:
        assert (task.train.size, task.valid.size, task.test.size) == (6 * task.num_classes, task.num_classes,
                                                                     3 * task.num_classes)
    assert set(numbers(tasks[0].train)) < set(numbers(tasks[5].train))
    assert tasks[5].classes[:4] == ('Couch', 'Table', 'Paper_Clip', 'Clipboards')


def test_the_later_tasks_of_officehome_are_photographs_of_the_same_classes(folder):
    tasks = load('OfficeHome', folder)
    assert tasks[0].classes == tasks[5].classes and tasks[0].classes[0] == 'TV'
    assert max(numbers(tasks[0].train)) < 650 <= min(numbers(tasks[5].train))


def test_digits_keep_their_seventeen_values_and_one_test_set_for_every_seed(folder):
    tasks, others = load('DIGITS5', folder), load('DIGITS5', folder, seed=9, group=3)
    assert [(task.train.size, task.valid.size, task.test.size) for task in tasks] == [
        (218, 35, 107), (218, 35, 107), (219, 36, 108), (218, 35, 107), (213, 35, 106)]
    assert [task.classes for task in tasks] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert set(np.unique(tasks[0].train.images())) == set(range(17))
    for task, other in zip(tasks, others):
        assert set(numbers(task.test)) == set(numbers(other.test))
        assert set(numbers(task.train)) != set(numbers(other.train))


@pytest.mark.parametrize('name, scale, offset', [
    ('MNIST5', 1 / 255., 0), ('FASHION5', 1 / 255., 0), ('OfficeHome_Incremental', 1 / 255., 0),
    ('STL10_20t', 1 / 255., -.5), ('DIGITS5', 1 / 16., 0)])
def test_scaling(name, scale, offset, folder):
    for _, part in parts(load(name, folder)[0]):
        channels = DATASETS[name].image_shape[-1]
        np.testing.assert_array_equal(part.scale, np.full(channels, scale, np.float32))
        np.testing.assert_array_equal(part.offset, np.full(channels, offset, np.float32))


def seen(part):
    return part.images() * part.scale + part.offset


@pytest.mark.parametrize('name', ['CIFAR10_5', 'CIFAR100_10'])
def test_each_part_of_cifar_is_standardised_by_itself(name, folder):
    for _, part in parts(load(name, folder)[1]):
        plain = part.images().astype(np.float64) / 255
        plain = (plain - plain.mean(axis=(0, 1, 2))) / plain.std(axis=(0, 1, 2))
        assert seen(part).dtype == np.float32
        np.testing.assert_allclose(seen(part), plain, rtol=0, atol=1e-5)


def test_or_all_parts_with_the_training_parts_statistics(folder):
    task = load('CIFAR100_10', folder, normalize='train')[1]
    train = task.train.images().astype(np.float64) / 255
    for _, part in parts(task):
        plain = (part.images() / 255. - train.mean(axis=(0, 1, 2))) / train.std(axis=(0, 1, 2))
        np.testing.assert_allclose(seen(part), plain, rtol=0, atol=1e-5)
    assert not np.allclose(seen(task.test).mean(), 0, atol=1e-6)


def test_the_divisor_of_standardisation_has_a_least_value():
    scale, offset = gen_data._standardisation(np.full((2, 32, 32, 3), 51, np.uint8))
    np.testing.assert_allclose(scale, 2048 ** .5 / 255, rtol=1e-6)
    np.testing.assert_allclose(51 * scale + offset, 0, atol=1e-5)


def test_noise_is_a_function_of_seed_task_and_image(folder):
    images, _ = RAW[readers.STL10]
    groups = [load('STL10_20t', folder, seed=1, group=group) for group in range(2)]
    with_noise = [task.index for task in groups[0] if isinstance(task.train.pixels, NoisyImages)
                  and task.train.pixels.noise[1] > 0]
    task, other = [tasks[with_noise[-1]] for tasks in groups]
    assert task.index > 0
    mean, deviation = task.train.pixels.noise
    for part in (task.train, task.valid, task.test):
        row = numbers(part)[1]
        draw = random_state(1, task=task.index, step=int(row), purpose='stl10 noise')
        plain = np.clip(images[row] / 255. - .5 + draw.normal(mean, deviation, (96, 96, 3)), -.5, .5)
        plain = np.rint((plain + .5) * 255)
        np.testing.assert_array_equal(part.images()[1], plain if part.swap is None else plain[..., part.swap])
    np.testing.assert_array_equal(task.test.images(), other.test.images())
    np.testing.assert_array_equal(task.test.images(np.array([2])), task.test.images()[2:3])


def test_every_kind_of_change_occurs_and_changes_the_images(folder):
    images, _ = RAW[readers.STL10]
    swaps, noises = set(), set()
    for task in load('STL10_20t', folder):
        plain = images[numbers(task.train)]
        changed = isinstance(task.train.pixels, NoisyImages)
        noises.add(task.train.pixels.noise if changed else None)
        swaps.add(task.train.swap)
        if changed or task.train.swap:
            assert not np.array_equal(task.train.images(), plain)
        else:
            np.testing.assert_array_equal(task.train.images(), plain)
    assert len(swaps) > 3 and len(noises) > 3


def test_the_design_in_use_is_said_in_one_line_and_written_once(tmp_path):
    data_files.stl10(tmp_path)
    lines = []
    load('STL10_15t', tmp_path, seed=5, group=1, say=lines.append)
    place = os.path.join(str(tmp_path), 'STL-10', 'stl10_p10_v50_t15_c5_seed5_s1.csv')
    assert lines == ['STL-10 design: drawn from seed 5, kept in %s' % place]
    assert len(os.listdir(os.path.dirname(place))) == 5
    load('STL10_15t', tmp_path, seed=5, group=1, say=lines.append)
    assert lines[1:] == ['STL-10 design: read from %s' % place]


def test_a_group_without_a_file_is_drawn_on_the_tasks_of_the_others(folder):
    first, seventh = load('STL10_15t', folder), load('STL10_15t', folder, group=7)
    assert [task.classes for task in first] == [task.classes for task in seventh]
    assert set(numbers(first[0].train)) != set(numbers(seventh[0].train))


# ---- requests ----

@pytest.mark.parametrize('name, percent', [('CIFAR100_10', 3), ('MNIST5', 2), ('CIFAR10_5', 0),
                                           ('FASHION10', 101)])
def test_a_percentage_without_a_row_names_the_rows(name, percent, folder):
    for call in (lambda: check_request(name, percent, folder), lambda: load(name, folder, percent),
                 lambda: task_sizes(name, folder, percent)):
        with pytest.raises(UserError) as error:
            call()
        assert str(error.value) == '--data_percent %d: %s has no such row; choose one of %s' % (
            percent, name, ', '.join(map(str, sorted(DATASETS[name].sizes))))


def test_an_unknown_name(folder):
    with pytest.raises(UserError, match='--data_type CIFAR100 is not known'):
        check_request('CIFAR100', None, folder)


@pytest.mark.parametrize('name', NAMES)
def test_a_good_request_is_silent_and_percent_is_ignored_without_a_table(name, folder):
    check_request(name, None, folder)
    check_request(name.lower(), None, folder)
    if DATASETS[name].sizes is None:
        check_request(name, 17, folder)


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'DIGITS5'])
def test_missing_files_are_found_before_anything_is_loaded(name, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, 'DEBIAN_FASHION', str(tmp_path / 'none'))
    for call in (check_request, lambda *request: checksums(name, str(tmp_path), 0)):
        with pytest.raises(UserError) as error:
            call(name, None, str(tmp_path))
        for word in (str(tmp_path), 'is missing; get ', 'http', 'Data/README.md',
                     DATASETS[name].source.title):
            assert word in str(error.value)
    assert not os.listdir(str(tmp_path))


def test_fewer_images_than_asked_for_are_said_in_one_line(folder):
    lines = []
    load('CIFAR100_10', folder, 4, say=lines.append)
    assert lines == ['CIFAR100_10 at 4 %: fewer images exist than asked for, all are used: '
                     '40 of 1000 test images in each task']
    del lines[:]
    load('MNIST5', folder, 1, num_tasks=3, say=lines.append)
    assert len(lines) == 1 and ' to ' in lines[0] and 'of 20 validation images in each task' in lines[0]


def test_nothing_is_said_when_nothing_is_short(folder, monkeypatch):
    lines = []
    monkeypatch.setitem(DATASETS, 'CIFAR100_10', DATASETS['CIFAR100_10']._replace(sizes={100: (200, 40, 40)}))
    load('CIFAR100_10', folder, say=lines.append)
    assert lines == []


def test_no_validation_image_at_all_is_an_error(tmp_path):
    data_files.cifar10(tmp_path, per_class_train=5)
    for call in (lambda: load('CIFAR10_5', tmp_path), lambda: task_sizes('CIFAR10_5', str(tmp_path))):
        with pytest.raises(UserError,
                           match='CIFAR10_5, task 0: no validation image of class 1; take a larger'):
            call()


@pytest.mark.parametrize('count, sizes', [(3, (1, 1, 1)), (4, (2, 1, 1)), (5, (3, 1, 1)), (9, (5, 1, 2)),
                                          (10, (6, 1, 3)), (19, (11, 1, 5))])
def test_each_part_of_a_small_class_of_officehome_has_an_image(count, sizes):
    index = Index(OrderedDict([('all', np.array([0] * count + [1] * 50))]))
    parts = sixty_ten_thirty(index, 0, Request('Data', None, 0, 0))
    assert tuple(len(parts[part]) for part in ('train', 'valid', 'test')) == sizes
    assert len(set(np.concatenate(list(parts.values())).tolist())) == sum(sizes)


def officehome_of(monkeypatch, *counts):
    """OfficeHome_Incremental has as many products of its first classes as this, and of all others 20."""
    classes = [number for task in task_lists.OFFICEHOME_INCREMENTAL_TASKS for number in task]
    few = dict(zip(classes, counts))
    labels = np.repeat(np.arange(65), [few.get(number, 20) for number in range(65)])
    monkeypatch.setattr(OfficeHomeFolders, 'labels', lambda self, data_dir: OrderedDict([('all', labels)]))
    return task_lists.OFFICEHOME_CLASSES[classes[len(counts) - 1]]


@pytest.mark.parametrize('count, images', [(1, '1 image'), (2, '2 images')])
def test_a_class_of_officehome_that_is_too_small_is_named(count, images, monkeypatch):
    name = officehome_of(monkeypatch, 20, count)
    with pytest.raises(UserError,
                       match='OfficeHome_Incremental, task 0: class %s has %s, at least 3 are needed, one '
                             'each'
                             % (name, images)):
        task_sizes('OfficeHome_Incremental', 'Data')


def test_an_experiment_with_small_classes_is_another_one(monkeypatch):
    for counts, small in (((20, 10), False), ((20, 9), True)):
        officehome_of(monkeypatch, *counts)
        assert has_small_classes('OfficeHome_Incremental', 'Data') is small
    assert not has_small_classes('DIGITS5', 'Data')
    model = MODELS['STL']
    assert [numeric_versions(model, {}, small) for small in (False, True)] == [{}, {'small classes': 2}]


def test_a_missing_class_is_an_error(folder, monkeypatch):
    labels = OrderedDict((pool, np.where(classes == 7, 6, classes))
                         for pool, classes in readers.MNIST.labels(folder).items())
    monkeypatch.setattr(readers.MNIST, 'labels', lambda data_dir: labels)
    with pytest.raises(UserError, match='MNIST5, task 3: no training image of class 7'):
        task_sizes('MNIST5', folder)


# ---- identity ----

def test_checksums_know_the_raw_files_and_the_design(tmp_path):
    data_files.stl10(tmp_path)
    place = str(tmp_path)
    drawn = checksums('STL10_15t', place, 0)
    assert not os.path.exists(os.path.join(place, 'STL-10'))
    load('STL10_15t', place)
    assert checksums('STL10_15t', place, 0) == drawn
    assert checksums('STL10_15t', place, 1)['design'] != drawn['design'] != checksums('STL10_20t', place, 0)[
        'design']
    path = os.path.join(place, 'STL-10', 'stl10_p10_v50_t15_c5_s3.csv')
    with open(path, newline='') as stream:
        text = stream.read()
    head, tail = text.split('TrainIndices\r\n', 1)
    rows = tail.split('\r\n')
    with open(path, 'w', newline='') as stream:
        stream.write(head + 'TrainIndices\r\n' + '\r\n'.join([rows[1], rows[0]] + rows[2:]))
    assert checksums('STL10_15t', place, 0)['design'] != drawn['design']
    with open(os.path.join(place, 'stl10_binary', 'test_X.bin'), 'r+b') as stream:
        stream.write(b'\x00\xff')
    assert checksums('STL10_15t', place, 0)['raw'] != drawn['raw']


@pytest.mark.parametrize('name', NAMES)
def test_checksums_of_every_data_set(name, folder):
    first = checksums(name, folder, 0)
    assert len(first['raw']) == 64
    assert len(first['design']) == 64 if name.startswith('STL10') else first['design'] is None
    assert checksums(name, folder, 0) == first


def test_importing_this_module_imports_nothing_heavy():
    code = 'import sys, classification.gen_data; print([name for name in sys.modules if name in %r])' % (
        ['tensorflow', 'sklearn', 'skimage', 'cv2', 'scipy'],)
    assert subprocess.check_output([sys.executable, '-c', code], cwd=ROOT).decode().strip() == '[]'
