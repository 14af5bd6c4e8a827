"""splits.npz, and the tasks that are cut from given splits or from exchanged classes."""
import itertools
import os
from collections import Counter, OrderedDict

import numpy as np
import pytest

from classification import gen_data
from classification.data import readers, splits_file, task_lists
from classification.data.readers_officehome import OFFICEHOME, OFFICEHOME_PRODUCT
from classification.data.task_lists import OFFICEHOME_CLASSES
from classification.data.task_rows import SPLITS, Index, Request, with_shuffled_classes
from tests.support import data_files
from utils.utils import UserError


def loaded(folder, data_type='DIGITS5', **more):
    return gen_data.load_tasks(data_type, str(folder), say=lambda line: None, **more)


@pytest.fixture
def kept(tmp_path):
    """Path of the splits of trial 1 of DIGITS5, and the tasks."""
    path = str(tmp_path / 'splits.npz')
    return path, loaded(tmp_path, group=1, keep=path)


def arrays_of(path):
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def same_images(one, other):
    """Asserts that two lists of tasks have the same classes, images and labels, in the same order."""
    assert [task.classes for task in one] == [task.classes for task in other]
    for mine, others in zip(one, other):
        for split in SPLITS:
            a, b = getattr(mine, split), getattr(others, split)
            np.testing.assert_array_equal(a.labels, b.labels)
            np.testing.assert_array_equal(a.image_rows, b.image_rows)
            np.testing.assert_array_equal(a.seen(np.arange(3)), b.seen(np.arange(3)))


def composition(path):
    return gen_data.Composition(given=splits_file.load(path))


def test_the_file_says_what_the_tasks_are(kept):
    path, tasks = kept
    arrays = arrays_of(path)
    images, labels = readers.DIGITS.images(None, None), readers.DIGITS.labels(None)['all']
    assert [arrays[name].item() for name in (
        'format_version', 'data_type', 'seed', 'trial', 'num_tasks')] == [1, 'DIGITS5', 0, 1, 5]
    for number, task in enumerate(tasks):
        classes = arrays['task%d_classes' % number]
        assert classes.tolist() == [2 * number, 2 * number + 1]
        assert arrays['task%d_class_names' % number].tolist() == list(map(str, task.classes))
        for split in SPLITS:
            rows = arrays['task%d_%s_rows' % (number, split)]
            np.testing.assert_array_equal(images[rows], getattr(task, split).images())
            np.testing.assert_array_equal(classes[arrays['task%d_%s_labels' % (number, split)]], labels[rows])
            np.testing.assert_array_equal(arrays['task%d_%s_labels' % (number, split)],
                                          getattr(task, split).labels)


def test_given_back_it_gives_the_same_tasks_whatever_the_seed(kept, tmp_path):
    path, tasks = kept
    again = str(tmp_path / 'again.npz')
    same_images(tasks, loaded(tmp_path, seed=7, group=3, composition=composition(path), keep=again))
    assert splits_file.load(again).checksum() == splits_file.load(path).checksum()
    assert gen_data.task_sizes('DIGITS5', '', seed=7, num_tasks=2, composition=composition(path)) == [
        (task.index, 2) + tuple(getattr(task, split).size for split in SPLITS) for task in tasks[:2]]


@pytest.mark.parametrize('data_type, write', [('MNIST5', data_files.mnist), ('MNIST10', data_files.mnist),
                                              ('STL10_20t', data_files.stl10)])
def test_other_kinds_of_tasks_come_back_too(data_type, write, tmp_path):
    write(tmp_path)
    path = str(tmp_path / 'splits.npz')
    percent = {'MNIST5': 1, 'MNIST10': 90}.get(data_type)
    tasks = loaded(tmp_path, data_type, data_percent=percent, group=2, keep=path)
    same_images(tasks, loaded(tmp_path, data_type, seed=4, composition=composition(path)))
    arrays = arrays_of(path)
    if data_type == 'MNIST10':
        assert arrays['task3_classes'].tolist() == [splits_file.OTHERS, 3]
    if data_type == 'STL10_20t':
        assert {'noise', 'swap'} == {name.split('_')[-1] for name in arrays} & {'noise', 'swap'}
        assert any(task.train.noisy for task in tasks)


def test_a_class_against_all_others_may_be_given_where_classes_have_names(tmp_path):
    data_files.officehome(tmp_path)
    path = str(tmp_path / 'splits.npz')
    tasks = loaded(tmp_path, 'OfficeHome', num_tasks=1, keep=path)
    splits = splits_file.load(path)
    others = [splits.tasks[0]._replace(classes=(task_lists.REST,) + splits.tasks[0].classes[1:])]
    splits_file.save(path, splits._replace(tasks=others))
    with pytest.raises(UserError, match='its label 0 stands for any other class') as error:
        # row of a test image of the class that is listed second, given the label of all others
        wrong = {split: (rows, 0 * labels) for split, (rows, labels) in others[0].splits.items()}
        splits_file.checked(splits._replace(tasks=[others[0]._replace(splits=wrong)]), 'OfficeHome',
                            gen_data.index_of('OfficeHome', str(tmp_path)), False, 1)
    assert '\n' not in str(error.value)
    found, = loaded(tmp_path, 'OfficeHome', num_tasks=1, composition=composition(path))
    assert found.classes == (task_lists.REST,) + tasks[0].classes[1:]
    np.testing.assert_array_equal(found.train.labels, tasks[0].train.labels)


def test_the_checksum_is_of_the_content_and_not_of_its_packing(kept, tmp_path):
    path, _ = kept
    arrays, first = arrays_of(path), splits_file.load(path).checksum()
    packed = str(tmp_path / 'packed.npz')
    np.savez(packed, note=np.array('mine'), **{
        name: array.astype(np.int64) if array.dtype.kind == 'i' else array for name, array in arrays.items()
        if not name.endswith('class_names')})
    assert os.path.getsize(packed) != os.path.getsize(path)
    assert splits_file.load(packed).checksum() == first
    for name in ('task2_valid_rows', 'task0_train_labels', 'task4_classes', 'seed'):
        other = dict(arrays, **{name: arrays[name][::-1] if arrays[name].ndim else arrays[name] + 1})
        np.savez(packed, **other)
        assert splits_file.load(packed).checksum() != first, name


# ---- mistakes ----

def _set(name, change):
    def changed(arrays):
        arrays[name] = change(arrays[name].copy())
    return changed


def _first(value):
    def changed(array):
        array[0] = value
        return array
    return changed


def _training_image_tests(arrays):
    arrays['task0_test_rows'] = _first(arrays['task0_train_rows'][arrays['task0_train_labels'] == arrays[
        'task0_test_labels'][0]][0])(arrays['task0_test_rows'].copy())


def _training_image_validates(arrays):
    arrays['task1_valid_rows'] = _first(arrays['task1_train_rows'][0])(arrays['task1_valid_rows'].copy())


def _fewer_tasks(arrays):
    arrays['num_tasks'] = np.array(4)


BAD = OrderedDict([
    ('a data set that is another one', (_set('data_type', lambda _: np.array('MNIST5')),
                                        'splits of MNIST5, and DIGITS5 was asked for')),
    ('a row out of range', (_set('task1_train_rows', _first(1797)),
                            'task 1 has image 1797; the data set has the images 0 to 1796')),
    ('a negative row', (_set('task1_train_rows', _first(-1)), 'task 1 has image -1')),
    ('a label out of range', (_set('task2_test_labels', _first(2)),
                              'task 2 has the label 2 among its test images; it has 2 classes, so 0 to 1')),
    ('a negative label', (_set('task2_test_labels', _first(-1)), 'the label -1')),
    ('labels of other classes', (_set('task3_valid_labels', lambda labels: 1 - labels), 'is of class')),
    ('classes of other images', (_set('task3_classes', lambda classes: classes[::-1]),
                                 'and its label')),
    ('a class twice', (_set('task3_classes', lambda classes: classes[[0, 0]]),
                       'task 3 has a class twice: 6, 6')),
    ('a split without images', (lambda arrays: arrays.update(
        task4_valid_rows=np.zeros(0, int), task4_valid_labels=np.zeros(0, int)),
        'task 4 has no validation images')),
    ('rows without labels', (_set('task0_train_labels', lambda labels: labels[1:]),
                             'one label each is needed')),
    ('a training image that tests', (_training_image_tests, 'tests, and also trains or validates')),
    ('a training image that validates', (_training_image_validates, 'task 1 both trains and validates')),
    ('fewer tasks', (_fewer_tasks, 'holds 4 tasks, and 5 were asked for; add --num_tasks 4')),
    ('an array that is missing', (lambda arrays: arrays.pop('task2_test_rows'),
                                  'has no array task2_test_rows')),
    ('rows with fractions', (_set('task0_train_rows', lambda rows: rows.astype(float)),
                                  'float64 of shape (218,); a list of whole numbers is needed')),
    ('rows of two dimensions', (_set('task0_train_rows', lambda rows: rows[None]),
                                'a list of whole numbers')),
    ('images in another order', (_set('labels_checksum', lambda _: np.array('0' * 64)),
                                 'other images, or in another order')),
    ('noise where there is none', (lambda arrays: arrays.update(task0_noise=np.array([0., 0.1])),
                                   'noise or swapped channels, which DIGITS5 has not')),
    ('whole numbers of noise', (lambda arrays: arrays.update(task0_noise=np.array([0, 1])),
                                'noise or swapped channels, which DIGITS5 has not')),
    ('a newer version', (_set('format_version', lambda _: np.array(9)), 'written by newer code (version 9')),
    ('a trial that is no number', (_set('trial', lambda _: np.array('x')), 'one whole number is needed')),
    ('a class beyond all numbers', (_set('task3_classes', lambda classes: classes.astype(int) + 2 ** 40 + 1),
                                    'is of class')),
    ('a class without images', (_set('task3_classes', lambda classes: np.append(classes, 500)),
                                'task 3 has the class 500, of which DIGITS5 has no image')),
    ('a negative class', (_set('task3_classes', lambda classes: np.append(classes, -7)),
                          'has the class -7, of which')),
    ('objects', (lambda arrays: arrays.update(task0_train_rows=np.array([{}, {}])), 'cannot be read')),
])


@pytest.mark.parametrize('name', BAD)
def test_a_mistake_in_a_file_is_one_line(name, kept, tmp_path):
    arrays, (change, says) = arrays_of(kept[0]), BAD[name]
    change(arrays)
    path = str(tmp_path / 'changed.npz')
    np.savez(path, **arrays)
    with pytest.raises(UserError) as error:
        loaded(tmp_path, composition=composition(path))
    assert says in str(error.value) and '\n' not in str(error.value) and path in str(error.value)


@pytest.mark.parametrize('content', [b'', b'PK', None], ids=str)
def test_what_is_no_file_of_splits_is_one_line(content, kept, tmp_path):
    with open(kept[0], 'rb') as stream:
        (tmp_path / 'bad.npz').write_bytes(stream.read()[:-300] if content is None else content)
    with pytest.raises(UserError, match='cannot be read as the splits of a trial'):
        splits_file.load(str(tmp_path / 'bad.npz'))
    np.save(str(tmp_path / 'bad.npy'), np.arange(3))
    with pytest.raises(UserError, match='cannot be read as the splits'):
        splits_file.load(str(tmp_path / 'bad.npy'))


def test_the_files_of_a_folder(tmp_path):
    for name in ('trial0.npz', 'trial2.npz', 'trial03.npz', 'other.npz', 'trial1/splits.npz',
                 'trial10/splits.npz', 'trial4/record.npz'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    assert list(splits_file.files(str(tmp_path))) == [0, 1, 2, 10]
    (tmp_path / 'trial0').mkdir()
    (tmp_path / 'trial0' / 'splits.npz').write_bytes(b'')
    with pytest.raises(UserError, match='holds both .* and .*; move one of them away'):
        splits_file.files(str(tmp_path))


# ---- exchanged classes ----

SHUFFLED = gen_data.Composition(shuffled=True)


def tasks_of(name, seed=0, group=0):
    """The classes of each task, and those of a trial that exchanges them."""
    dataset = gen_data.DATASETS[name]
    return dataset.tasks, with_shuffled_classes(dataset, Request('', None, seed, group)).tasks


@pytest.mark.parametrize('name', ['DIGITS5', 'MNIST5', 'FASHION5', 'CIFAR10_5', 'CIFAR100_10', 'CIFAR100_20',
                                  'CIFAR100_40', 'OfficeHome', 'OfficeHome_Incremental'])
def test_classes_are_exchanged_one_for_one(name):
    before, after = tasks_of(name)
    pairs = {pair for old, new in zip(before, after) for pair in zip(old, new)}
    assert [len(row) for row in after] == [len(row) for row in before]
    # each class has one in its place, and each one stands in the place of one
    assert len(pairs) == len(dict(pairs)) == len({new for _, new in pairs}) and after != before
    assert {new for _, new in pairs} == {old for old, _ in pairs}
    assert all(type(number) is int for row in after for number in row)
    others = [tasks_of(name, seed, group)[1] for seed, group in itertools.product((0, 1), (0, 1))]
    assert others[0] == after and all(one != other for one, other in itertools.combinations(others, 2))


def test_the_domains_of_office_home_stay_apart_and_have_the_same_classes():
    after, number = tasks_of('OfficeHome')[1], len(OFFICEHOME_CLASSES)
    assert all(0 <= name < number for row in after[:5] for name in row)
    assert after[5:] == tuple(tuple(number + name for name in row) for row in after[:5])
    assert OFFICEHOME.classes_of_domain == OFFICEHOME_PRODUCT.classes_of_domain == number


def test_a_class_is_split_as_it_was_before_in_whichever_task_it_is():
    index, split_of = Index(readers.DIGITS.labels(None)), {}
    for composition in (gen_data.AS_DECLARED, SHUFFLED):
        for task in loaded('', composition=composition):
            for split in SPLITS:
                part = getattr(task, split)
                for label, number in enumerate(task.classes):
                    rows = frozenset(part.image_rows[part.labels == label].tolist())
                    assert rows <= set(index.rows('all', number).tolist())
                    assert split_of.setdefault((number, split), rows) == rows
    assert Counter(number for number, _ in split_of) == {number: 3 for number in range(10)}


def test_the_first_tasks_do_not_depend_on_how_many_there_are():
    five, two = [loaded('', num_tasks=tasks, composition=SHUFFLED) for tasks in (5, 2)]
    same_images(five[:2], two)
    assert [task.classes for task in five] != [task.classes for task in loaded('', group=1,
                                                                               composition=SHUFFLED)]


def test_pairs_stay_pairs(tmp_path):
    images, labels = data_files.mnist(tmp_path)
    tasks = loaded(tmp_path, 'MNIST5', data_percent=1, composition=SHUFFLED)
    assert sorted(number for task in tasks for number in task.classes) == list(range(10))
    assert tuple(task.classes for task in tasks) != task_lists.TEN_CLASSES_IN_PAIRS
    for task in tasks:
        np.testing.assert_array_equal(np.array(task.classes)[task.train.labels],
                                      labels[task.train.image_rows])
        np.testing.assert_array_equal(images[task.train.image_rows], task.train.images())

