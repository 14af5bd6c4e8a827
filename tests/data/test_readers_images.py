"""Own images: what a folder, a CSV or an .npz file means, from files to tasks, and every mistake in one
line."""
import argparse
import contextlib
import gzip
import io
import json
import os
import re
import shutil
import struct

import cv2
import numpy as np
import pytest

import main
from classification import gen_data
from classification.data import data_cache, photographs, readers_images
from classification.data.image_layouts import natural, read
from classification.experiment import own_images
from classification.experiment.resolve import resolve
from classification.report.groups import _by_checksums
from tests.support.own_images import PER_CLASS, classes_in, picture, write
from utils.locks import Lock
from utils.utils import UserError


def call(*options):
    """(exit status, stdout, stderr) of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main.main(list(options))
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()


def refused(*options):
    """The one line of error."""
    status, out, err = call(*options)
    assert status == 2 and err.count('\n') == 1 and err.startswith('error: '), (status, out, err)
    return err


def own(path, *options):
    """Options of a command line on own images."""
    return ('--data_type', 'Images', '--images', str(path), '--data_dir', 'D', '--model_type', 'HPS',
            '--lifelong', '--batch_size', '2') + options


def experiment(path, *options, **more):
    """The Experiment, and what was said; `base`: options instead of those for own images."""
    said = []
    return resolve(main.parser().parse_args(list(more.get('base') or own(path, *options))), said.append), said


def tasks_of(path, *options, **more):
    """The tasks that the options mean."""
    made = experiment(path, *options)[0]
    return gen_data.load_tasks('Images', 'D', seed=made.seed, group=more.get('group', 0),
                               normalize=made.normalize,
                               say=more.get('say', lambda line: None), expected=made.checksums)


def names_of(tasks):
    return [task.classes for task in tasks]


def sizes_of(tasks):
    return [tuple(getattr(task, split).size for split in gen_data.SPLITS) for task in tasks]


@pytest.fixture(autouse=True)
def table(monkeypatch):
    """The table of data sets is afterwards what it was."""
    monkeypatch.setitem(gen_data.DATASETS, 'Images', gen_data.DATASETS['Images'])


# ---- layouts ----

def test_names_are_in_natural_order():
    assert sorted(['class10', 'Class2', 'class1', 'b', 'a10b2', 'a10b10', 'a2', '007', '7'], key=natural) == [
        '007', '7', 'a2', 'a10b2', 'a10b10', 'b', 'class1', 'Class2', 'class10']
    assert natural('9' * 9999) > natural('8')


def test_classes_are_cut_into_tasks_in_natural_order(folder):
    path = classes_in(folder / 'p', ['c10', 'c2', 'c1', 'c3', 'c20'])
    made, said = experiment(path)
    assert dict(made.class_counts) == {0: 2,
                                       1: 3} and 'class c20, the only one left over, joins task 1' in said
    assert names_of(tasks_of(path)) == [('c1', 'c2'), ('c3', 'c10', 'c20')]
    assert sizes_of(tasks_of(path)) == [(14, 2, 6), (21, 3, 9)]
    assert names_of(tasks_of(path, '--classes_per_task', '3')) == [('c1', 'c2', 'c3'), ('c10', 'c20')]
    assert names_of(tasks_of(path, '--num_tasks', '1')) == [('c1', 'c2')]


def test_images_two_folders_deep_mean_tasks_unless_classes_are_asked_for(folder):
    classes_in(folder / 'p' / 't10', ['cat', 'dog', 'eel'])
    path = os.path.dirname(classes_in(folder / 'p' / 't9', ['dog', 'ant'], seed=1))
    assert names_of(tasks_of(path)) == [('ant', 'dog'), ('cat', 'dog', 'eel')]
    made, said = experiment(path, '--classes_per_task', '3')
    assert made.data_options['images_layout'] == 'tasks' and 'classes_per_task' not in made.data_options
    assert '--classes_per_task is ignored: the files say the tasks' in said
    deeper = tasks_of(path, '--images_layout', 'classes')
    assert names_of(deeper) == [('t9', 't10')] and sizes_of(deeper) == [(14 + 21, 2 + 3, 7 + 10)]


@pytest.mark.parametrize('valid', [None, 'val', 'Valid'])
@pytest.mark.parametrize('above', [(), ('t1',)])
def test_folders_of_splits_stand_above(valid, above, folder):
    for place, (split, count) in enumerate([('train', 14), ('test', 3)] + ([(valid, 4)] if valid else [])):
        classes_in(folder.joinpath('p', split, *above), ['a', 'b'], count, seed=place)
    tasks = tasks_of(folder / 'p')
    assert names_of(tasks) == [('a', 'b')] and sizes_of(tasks) == [(28, 8, 6) if valid else (24, 4, 6)]
    other = tasks_of(folder / 'p', '--split', '49,49,2')
    assert sizes_of(other) == [(28, 8, 6) if valid else (14, 14, 6)]
    given = {split: sorted(picture((place, label, number)).tobytes() for label in range(2)
                           for number in range(count))
             for place, (split, count) in enumerate([('train', 14), ('test', 3)])}
    assert sorted(image.tobytes() for image in tasks[0].test.images()) == given['test']
    learned = [image.tobytes() for image in np.concatenate([tasks[0].train.images()] + (
        [] if valid else [tasks[0].valid.images()]))]
    assert sorted(learned) == given['train']


def test_a_class_may_be_called_train(folder):
    assert names_of(tasks_of(classes_in(folder / 'p', ['train', 'ship']))) == [('ship', 'train')]


def csv(folder, rows, header='task,class,file,split'):
    path = folder / 'list.csv'
    path.write_text('\n'.join([header] + rows) + '\n', encoding='utf-8')
    return str(path)


def test_a_csv_says_tasks_and_splits_and_its_order_stays(folder):
    rows = []
    for number in range(20):
        write(folder / 'pictures' / ('%d.png' % number), picture(number))
        rows.append('t%d,%s,pictures/%d.png,%s' % (number // 10, 'ab'[number % 2], number,
                                                   ('train', 'train', 'train', 'val',
                                                    'test')[number % 10 // 2]))
    tasks = tasks_of(csv(folder, rows[::-1]))
    assert names_of(tasks) == [('a', 'b')] * 2 and sizes_of(tasks) == [(6, 2, 2)] * 2
    for index, task in enumerate(tasks):
        expected = [10 * index + number for number in (5, 4, 3, 2, 1, 0)]
        np.testing.assert_array_equal(task.train.images(), [picture(number) for number in expected])
        assert task.train.labels.tolist() == [number % 2 for number in expected]
    drawn = tasks_of(csv(folder, [row.rsplit(',', 1)[0] for row in rows], 'task,class,file'))
    assert sizes_of(drawn) == [(6, 2, 2)] * 2      # five of a class: 3, 1, 1


def test_a_csv_of_fashion_mnist_is_fashion_mnist(folder):
    """The same images, labels, order, network and training values; so the same histories."""
    place = folder / 'D' / 'FASHION_data'
    place.mkdir(parents=True)
    for name, count in (('train', 720), ('t10k', 200)):
        labels = np.arange(count) % 10
        images = np.random.RandomState(count).randint(0, 256, (count, 28, 28))
        for kind, array in (('images-idx3', images), ('labels-idx1', labels)):
            with gzip.open(str(place / ('%s-%s-ubyte.gz' % (name, kind))), 'wb') as stream:
                stream.write(struct.pack('>BBBB%dI' % array.ndim, 0, 0, 8, array.ndim, *array.shape)
                             + array.astype(np.uint8).tobytes())
    base = own('x')[4:-2]
    original = experiment(None, base=('--data_type', 'FASHION5', '--data_percent', '1') + base)[0]
    originals = gen_data.load_tasks('FASHION5', 'D', 1, say=lambda line: None)
    rows = []
    for task in originals:
        for split in gen_data.SPLITS:
            part = getattr(task, split)
            for number, (label, image) in enumerate(zip(part.labels, part.images())):
                file = '%d/%s%d.png' % (task.index, split, number)
                write(folder / file, image)
                rows.append('task%d,%d: class %s,%s,%s' % (task.index, label, task.classes[label], file,
                                                           split))
    made = experiment(None, base=('--data_type', 'Images', '--images', csv(folder, rows)) + base)[0]
    assert (made.net, made.training, made.class_counts, made.evaluation_batch, made.keep) == (
        original.net, original.training, original.class_counts, original.evaluation_batch, original.keep)
    tasks = gen_data.load_tasks('Images', 'D', group=0, say=lambda line: None)
    for task, other in zip(tasks, originals):
        for split in gen_data.SPLITS:
            part, expected = getattr(task, split), getattr(other, split)
            np.testing.assert_array_equal(part.labels, expected.labels)
            np.testing.assert_array_equal(part.seen(), expected.seen())


def test_the_order_of_a_csv_between_tasks_changes_nothing(folder):
    """Two tables that differ in how the rows of their tasks alternate are the same data, also in the
    cache."""
    rows = [(task, name, write('p/%s%s%d.png' % (task, name, number), picture((task, name, number))))
            for number in range(PER_CLASS) for task in (0, 1) for name in (0, 1)]
    rows = [(task, name, path[2:]) for task, name, path in rows]
    found = []
    for number, some in enumerate((rows, sorted(rows, key=lambda row: row[0]))):
        path = csv(folder / 'p', [','.join(map(str, row)) for row in some], 'task,class,file')
        found.append((experiment(path)[0].checksums, [task.train.images() for task in tasks_of(path)]))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


# ---- tasks that come later ----

def test_new_tasks_come_last_and_earlier_ones_keep_their_places(folder):
    for name in 'bcad':
        classes_in(os.path.join('tasks', name), ['y', 'x'])
    classes_in(os.path.join('tasks', 'a'), ['x'], PER_CLASS + 3)
    listing = read('tasks')
    assert [name for name, _ in listing.tasks] == ['a', 'b', 'c', 'd']
    later = listing.continuing([['c', ['x', 'y']], ['b', ['x', 'y']]])
    assert later.tasks == tuple((name, ('x', 'y')) for name in 'cbad')
    assert [os.path.relpath(later.images[row].source, 'tasks')[0] for row in (0, -1)] == ['c', 'd']
    assert [image.source.split(os.sep)[-3] for image in later.images] == ['cbad'[task] for task in later.task]
    assert [image.name for image in later.images] == ['xy'[label] for label in later.label]
    for tasks in ([['e', ['x', 'y']]], [['c', ['x', 'z']]], [['c', ['x']]]):
        assert listing.continuing(tasks) is None


@pytest.mark.parametrize('before, tasks', [
    (['c', 'd', 'e', 'f'], ['cd', 'ef', 'ab']), (['b', 'e'], ['be', 'ac', 'df']),
    (['a', 'c', 'e'], ['ace', 'bd', 'f']), (['a', 'b', 'c', 'd', 'e', 'f'], ['ab', 'cd', 'ef']),
    (['a', 'b', 'g'], None), (['a', 'b', 'c', 'd', 'e'], None)])
def test_classes_that_come_later_are_cut_by_themselves(before, tasks, folder):
    """A single new class cannot join a task that was learned."""
    listing = read(classes_in('classes', 'abcdef'))
    starts = range(0, len(before) - 1, 2)
    earlier = [['', before[start:start + 2 if start + 4 <= len(before) else None]] for start in starts]
    later = listing.continuing(earlier)
    if tasks == ['ace', 'bd', 'f']:
        tasks = ['ace', 'bdf']
    assert (later and [''.join(classes) for _, classes in later.tasks]) == tasks
    notes = [note for note in (later.notes if later else ()) if 'left over' in note]
    assert notes == ['class %s, the only one left over, joins task %d' % (task[-1], number)
                     for number, task in enumerate(tasks or ()) if len(task) == 3]


def as_before(listing, begun, given=(), images='classes'):
    """(later listing, given options of a later command, lines) beside experiments that were begun:
    pairs (tasks, data options)."""
    said, flags = [], argparse.Namespace(images=images)
    configs = {'folder %d' % number: {'tasks': tasks, 'settings': {'images': os.path.abspath('classes')},
                                      'experiment': {'data_type': 'Images', 'data_options': options}}
               for number, (tasks, options) in enumerate(begun)}
    return own_images._as_before(listing, dict(given), flags, configs, said.append) + (said,)


def test_what_the_longest_experiment_before_chose_is_kept(folder):
    listing = read(classes_in('classes', 'abcdef'), 'auto', 2)
    one, two, other = [['', ['c', 'd']]], [['', ['e', 'f']], ['', ['a', 'b']]], [['', ['a', 'z']]]
    chosen = {'image_size': 16, 'image_channels': 3, 'network': 'DIGITS5', 'images_layout': 'classes',
              'split': [60, 10, 30]}
    plain = dict(chosen, image_size=8)
    for begun in ([(one, plain), (two, chosen)], [(two, chosen), (one, plain)]):
        later, options, said = as_before(listing, begun, {'images_layout': 'auto', 'split': (60, 10, 30)})
        assert [''.join(classes) for _, classes in later.tasks] == ['ef', 'ab', 'cd'] and said == []
        assert options == {'image_size': 16, 'image_channels': 3, 'network': 'DIGITS5',
                           'images_layout': 'auto', 'split': (60, 10, 30)}
    # other options mean another experiment, and other images nothing
    for given in ({'image_size': 32}, {'split': (50, 20, 30)}):
        later, options, said = as_before(listing, [(two, chosen)], given)
        assert later is listing and (options, said) == (given, [])
    assert as_before(listing, [(other, chosen)])[2] == [
        'folder 0 is not continued: its tasks no longer have the classes that they had']
    assert as_before(listing, [(other, chosen)], images='elsewhere')[1:] == ({}, [])


def arrays(tasks=False, valid=False, kind=np.uint8, shape=(8, 8)):
    found, splits = {}, [('train', 24), ('test', 8)] + ([('valid', 4)] if valid else [])
    for seed, (split, count) in enumerate(splits):
        pixels = np.random.RandomState(seed).randint(0, 256, (count,) + shape)
        found['x_' + split] = (pixels / 255.).astype(kind) if kind != np.uint8 else pixels.astype(np.uint8)
        found['y_' + split] = np.arange(count) % 4 + 7
        if tasks:
            found['task_' + split] = np.arange(count) % 4 // 2
    return found


@pytest.mark.parametrize('valid', [False, True])
@pytest.mark.parametrize('tasks', [False, True])
@pytest.mark.parametrize('kind, shape, channels', [
    (np.uint8, (8, 8), 1), (np.float32, (8, 8, 1), 1), (np.float64, (8, 8, 3), 3), (np.uint8, (8, 8, 3), 3)])
def test_an_npz_file(kind, shape, channels, tasks, valid, folder):
    found = arrays(tasks, valid, kind, shape)
    np.savez_compressed(str(folder / 'x.npz'), **found)
    made, _ = experiment('x.npz')
    assert made.net.image_shape == (8, 8, channels)
    tasks = tasks_of('x.npz')
    assert names_of(tasks) == [('7', '8'), ('9', '10')]
    assert sizes_of(tasks) == [(12, 2, 4) if valid else (10, 2, 4)] * 2
    rows = np.flatnonzero(found['y_test'] < 9)
    test = found['x_test'][rows].reshape((-1, 8, 8, channels))
    np.testing.assert_array_equal(tasks[0].test.images(), test if kind == np.uint8 else np.rint(test * 255))
    assert tasks[0].test.labels.tolist() == (found['y_test'][rows] - 7).tolist()


# ---- pixels ----

@pytest.mark.parametrize('ending', ['png', 'bmp', 'tiff', 'webp', 'TIF', 'PNG'])
def test_formats_that_lose_nothing(ending, folder):
    path = classes_in(folder / 'p', ['a', 'b'], channels=3)
    for name in os.listdir(os.path.join(path, 'b')):
        os.remove(os.path.join(path, 'b', name))
    for number in range(PER_CLASS):
        write(os.path.join(path, 'b', '%d.%s' % (number, ending)), picture((0, 1, number), channels=3))
    task, = tasks_of(path)
    assert {image.tobytes() for image in task.train.pixels} == {picture((0, label, number),
                                                                        channels=3).tobytes()
                                                                for label in range(2)
                                                                for number in range(PER_CLASS)}


@pytest.mark.parametrize('height, width, size, network', [
    (9, 30, 8, 'DIGITS5'), (28, 40, 28, 'FASHION5'), (40, 33, 32, 'CIFAR100_10'), (60, 60, 64, 'CIFAR100_10'),
    (100, 97, 96, 'STL10_15t'), (200, 300, 128, 'OfficeHome')])
def test_size_network_and_training_follow_the_images(height, width, size, network, folder):
    path = classes_in(folder / 'p', ['a', 'b'], 4, height=height, width=width)
    write(os.path.join(path, 'a', '0.png'), picture(0, 2, 2, 3))        # one colour image makes all colour
    made, _ = experiment(path)
    row = gen_data.DATASETS[network]
    assert made.net.image_shape == (size, size, 3) and made.data_options['network'] == network
    assert made.training == gen_data.env.TRAINING[row.family]._replace(batch_size=2)
    assert [layer.out_channels for layer in made.net.layers] == list(gen_data.env.network_of(
        row.family, network, -1)[1].channels)


def test_size_channels_and_network_can_be_said(folder):
    path = classes_in(folder / 'p', ['a', 'b'], channels=3)
    made, _ = experiment(path, '--image_size', '20', '--image_channels', '1', '--network', 'cifar100_20',
                         '--num_clayers', '6')
    assert made.net.image_shape == (20, 20, 1) and len(made.net.layers) == 6
    assert made.training == gen_data.env.TRAINING['cifar100']._replace(batch_size=2)
    grey = tasks_of(path, '--image_channels', '1')[0].train.images()
    assert grey.shape[1:] == (8, 8, 1)
    assert '--num_clayers 6 is not defined for Images; choose one of: 4' in refused(
        *own(path, '--num_clayers', '6'))


def test_scaling(folder):
    path = classes_in(folder / 'p', ['a', 'b'], channels=3)
    unit = tasks_of(path)[0]
    np.testing.assert_allclose(unit.test.seen(), unit.test.images() / 255., rtol=1e-6)
    standard = tasks_of(path, '--scaling', 'standard')[0]
    np.testing.assert_allclose(standard.train.seen().mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(standard.train.seen().std(axis=(0, 1, 2)), 1, atol=1e-5)
    assert (standard.train.scale == standard.test.scale).all() and (standard.train.offset
                                                                    == standard.valid.offset).all()
    assert experiment(path, '--scaling', 'standard', '--normalize',
                      'train')[1][-1] == '--normalize is ignored: --scaling says it'


def test_photographs_are_turned_as_their_camera_says(folder):
    image = np.zeros((40, 20, 3), np.uint8)
    image[:20] = 250, 0, 0                      # the upper half is red
    content = cv2.imencode('.jpg', image[..., ::-1])[1].tobytes()
    # to be turned clockwise
    exif = b'Exif\0\0MM\0*\0\0\0\x08' + struct.pack('>HHHIHHI', 1, 0x112, 3, 1, 6, 0, 0)
    path = classes_in(folder / 'p', ['a', 'b'], channels=3)
    damaged(folder / 'p' / 'a' / '0.jpg', content[:2] + b'\xff\xe1' + struct.pack('>H', 2 + len(exif)) + exif
            + content[2:])
    os.remove(os.path.join(path, 'a', '0.png'))
    turned = tasks_of(path)[0].train.pixels[0]
    assert turned[:, 5:, 0].min() > 200 and turned[:, :3, 0].max() < 50


def test_shrinking_takes_means_of_whole_blocks():
    image = picture(0, 12, 8, 3)
    small = photographs.shrunk(np.kron(image, np.ones((10, 10, 1), np.uint8)), 8)
    assert (small == image).all() and photographs.shrunk(image, 5) is image


def test_grey_weighs_the_colours_as_television_does(folder):
    images = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]], np.uint8)
    images = np.tile(images[:, None, None], (6, 8, 8, 1))
    labels = np.tile([0, 0, 1, 1], 6)
    np.savez(str(folder / 'p.npz'), x_train=images, y_train=labels, x_test=images, y_test=labels)
    grey = tasks_of('p.npz', '--image_channels', '1')[0].test.images()
    assert sorted(set(grey.ravel().tolist())) == [29, 76, 124, 150]      # 0.114, 0.299, 0.587 of 255


def test_a_large_photograph_is_its_mean(folder):
    image = np.kron(picture(0, 8, 8, 3), np.ones((60, 90, 1), np.uint8))
    path = classes_in(folder / 'p', ['a', 'b'], channels=3)
    write(os.path.join(path, 'a', '0.png'), image)
    large = tasks_of(path)[0].train.pixels[0]
    assert np.abs(large.astype(int).mean(axis=(0, 1))
                  - image.mean(axis=(0, 1))).max() < 2 and large.std() > 30


# ---- splits ----

def test_a_trial_draws_its_splits_from_seed_and_number(folder):
    path = classes_in(folder / 'p', ['a', 'b'])
    first, again, group, seed = [tasks_of(path, '--seed', seed, group=group)[0] for seed, group in (
        ('0', 0), ('0', 0), ('0', 1), ('1', 0))]
    for split in gen_data.SPLITS:
        rows = [getattr(task, split).rows.tolist() for task in (first, again, group, seed)]
        assert rows[0] == rows[1]
    assert sorted(first.train.rows) != sorted(group.train.rows) and sorted(first.train.rows) != sorted(
        seed.train.rows)
    used = np.concatenate([getattr(first, split).rows for split in gen_data.SPLITS])
    assert len(set(used.tolist())) == len(used)


def test_more_tasks_begin_with_the_same_tasks(folder):
    path = classes_in(folder / 'p', list('abcdef'))
    for short, whole in zip(tasks_of(path, '--num_tasks', '2'), tasks_of(path)):
        np.testing.assert_array_equal(short.train.images(), whole.train.images())
        np.testing.assert_array_equal(short.test.images(), whole.test.images())
    short, whole = [experiment(path, *more)[0].checksums for more in (('--num_tasks', '2'), ())]
    assert short['tasks'] == whole['tasks'][:2] and len(whole['tasks']) == 3


@pytest.mark.parametrize('count, split, sizes', [
    (3, '60,10,30', (1, 1, 1)), (5, '60,10,30', (3, 1, 1)), (9, '60,10,30', (5, 1, 2)),
    (20, '60,10,30', (12, 2, 6)),
    (10, '98,1,1', (8, 1, 1)), (10, '10,10,10', (1, 1, 1)), (10, '20,40,40', (2, 4, 4))])
def test_shares_of_a_class(count, split, sizes, folder):
    path = classes_in(folder / 'p', ['a', 'b'], count)
    assert sizes_of(tasks_of(path, '--split', split)) == [tuple(2 * size for size in sizes)]


def test_equal_pictures_in_two_splits_are_counted(folder):
    path = folder / 'p'
    classes_in(path / 'train', ['a', 'b'])
    classes_in(path / 'test', ['a', 'b'], 3, seed=1)
    said = []
    tasks_of(path, '--split', '80,15,5', say=said.append)
    assert not [line for line in said if 'warning' in line]
    for number in range(2):
        shutil.copy(str(path / 'train' / 'a' / ('%d.png' % number)),
                    str(path / 'test' / 'b' / ('copy%d.png' % number)))
    tasks_of(path, say=said.append)
    assert 'warning: 2 pictures are in two splits, pixel by pixel; accuracies on them say little' in said


# ---- cache ----

def test_images_are_decoded_once_in_blocks_and_remembered(folder, monkeypatch):
    path = classes_in(folder / 'p', ['a', 'b'])
    monkeypatch.setattr(readers_images, 'BLOCK_BYTES', 5 * 64)
    first, decoded = tasks_of(path)[0], []
    original = readers_images.OwnImages._decoded
    monkeypatch.setattr(readers_images.OwnImages, '_decoded', lambda self, path, mode: decoded.append(path)
                        or original(
        self, path, mode))
    again = tasks_of(path)[0]
    assert decoded == [] and isinstance(again.train.pixels, np.memmap)
    np.testing.assert_array_equal(first.train.images(), again.train.images())
    write(folder / 'p' / 'a' / '0.png', picture(77))
    assert not np.array_equal(tasks_of(path)[0].train.pixels, again.train.pixels) and decoded
    np.testing.assert_array_equal(tasks_of(path, '--image_size', '9')[0].train.images().shape[1:], (9, 9, 1))


def test_a_cache_written_in_blocks_is_the_same_file(tmp_path):
    images = picture(0, 6, 4)[..., np.newaxis]
    for name, decode in (('whole', lambda: images), ('blocks', lambda: iter([images[:4], images[4:]]))):
        data_cache.cached(str(tmp_path / name), 'x', 'key', images.shape, decode, lambda line: None)
    whole, blocks = [(tmp_path / name / 'cache') for name in ('whole', 'blocks')]
    file, = [name.name for name in whole.iterdir() if name.suffix == '.npy']
    assert (whole / file).read_bytes() == (blocks / file).read_bytes()
    file, = [name for name in whole.iterdir() if name.suffix == '.npy']
    assert (np.load(str(file)) == images).all()


def test_blocks_beside_a_newer_cache_are_put_together(tmp_path, monkeypatch):
    images, said = picture(0, 6, 4)[..., np.newaxis], []

    def decoded():
        return data_cache.cached(str(tmp_path), 'x', 'key', images.shape,
                                 lambda: iter([images[:4], images[4:]]), said.append)
    monkeypatch.setattr(data_cache, 'VERSION', data_cache.VERSION + 1)
    decoded()
    monkeypatch.undo()
    assert (decoded() == images).all() and len(said) == 1 and 'newer code' in said[0]


def test_a_process_that_lost_the_lock_meanwhile_leaves_the_others_file(tmp_path, monkeypatch):
    images, still = picture(0, 6, 4)[..., np.newaxis], [True]
    monkeypatch.setattr(Lock, 'still_mine', lambda lock: still[0])
    path, = [str(file) for file in made_cache(tmp_path, images).iterdir() if file.suffix == '.npy']
    with open(path, 'wb') as stream:
        stream.write(b'of the other process')

    def blocks():
        yield images[:4]
        still[0] = False
        yield images[4:]
    found = data_cache.cached(str(tmp_path), 'x', 'key', images.shape, blocks, lambda line: None)
    with open(path, 'rb') as stream:
        assert (found == images).all() and stream.read() == b'of the other process'


def made_cache(folder, images):
    """Path of the folder in which these images were cached."""
    data_cache.cached(str(folder), 'x', 'key', images.shape, lambda: images, lambda line: None)
    return folder / 'cache'


def test_blocks_without_a_cache_are_put_together(tmp_path):
    (tmp_path / 'cache').write_text('in the way')
    images, said = picture(0, 6, 4)[..., np.newaxis], []
    found = data_cache.cached(str(tmp_path), 'x', 'key', images.shape, lambda: iter([images[:4], images[4:]]),
                              said.append)
    assert (found == images).all() and len(said) == 1


def test_data_that_change_meanwhile_are_refused(folder):
    path = classes_in(folder / 'p', ['a', 'b'])
    made, _ = experiment(path)
    write(folder / 'p' / 'a' / '0.png', picture(99))
    with pytest.raises(UserError) as error:
        gen_data.load_tasks('Images', 'D', say=lambda line: None, expected=made.checksums)
    assert 'are not those that this experiment began with' in str(error.value)


# ---- mistakes ----

def damaged(path, content):
    os.makedirs(os.path.dirname(str(path)), exist_ok=True)
    with open(str(path), 'wb') as stream:
        stream.write(content)


def _prepared(kind, folder):
    """A folder with a mistake; returns the path of --images."""
    path = folder / 'p'
    if kind in ('no such', 'another file'):
        damaged(folder / 'x.txt', b'')
        return folder / {'no such': 'nowhere', 'another file': 'x.txt'}[kind]
    if kind == 'empty folder':
        path.mkdir()
        return path
    classes_in(path, ['a'] if kind == 'one class' else ['a', 'b'], 2 if kind == 'too few' else PER_CLASS)
    if kind == 'empty class':
        (path / 'c').mkdir()
    elif kind == 'two spellings':
        classes_in(path, ['My cat', 'my_cat'], seed=1)
    elif kind == 'no image':
        damaged(path / 'b' / '3.jpg', b'\xff\xd8 no picture')
    elif kind == 'cut off':
        damaged(path / 'b' / '3.jpg', cv2.imencode('.jpg', picture(3, 40, 40, 3))[1].tobytes()[:-20])
    elif kind == 'beside':
        write(path / 'x.png', picture(0))
    else:
        return _prepared_deeper(kind, folder)
    return path


def _prepared_deeper(kind, folder):
    """Likewise, where more folders lie above or beside those of `_prepared`."""
    path = folder / ('p' if kind == 'mixed depths' else 'q')
    if kind == 'mixed depths':
        classes_in(path / 'c', ['x', 'y'])
    elif kind == 'three deep':
        shutil.copytree(str(folder / 'p'), str(path / 'r' / 's'))
    elif kind == 'one class of a task':
        shutil.copytree(str(folder / 'p'), str(path / 't'))
        classes_in(path / 'u', ['a'])
    elif kind in ('class without test', 'folder beside splits', 'val and valid'):
        for name in ('train', 'test') + {'folder beside splits': ('more',),
                                         'val and valid': ('val', 'valid')}.get(kind, ()):
            shutil.copytree(str(folder / 'p'), str(path / name))
        if kind == 'class without test':
            shutil.rmtree(str(path / 'test' / 'b'))
    else:
        path = folder / 'p'
    return path


@pytest.mark.parametrize('kind, says', [
    ('no such', 'there is no such file or folder'), ('another file',
                                                     'a folder, a .csv or an .npz file is needed'),
    ('empty folder', 'no image in it (.jpg, '), ('one class', 'a is the only class; a task needs at least 2'),
    ('one class of a task', 'task u: a is the only class'),
    ('too few', 'class a has 2 images for train, valid, test; at least 3 are needed'),
    ('empty class', os.path.join('p', 'c') + ': no image in it'),
    ('two spellings', 'classes My cat and my_cat look like one class under two spellings'),
    ('no image', '3.jpg: is damaged or no image'), ('cut off', '3.jpg: is damaged or no image'),
    ('beside', 'images lie beside the folders of classes'),
    ('mixed depths', 'images lie 1 and 2 folders deep'),
    ('three deep', 'images lie 3 folders deep; CLASS/FILE or TASK/CLASS/FILE is needed'),
    ('class without test', 'class b has no test image'), ('folder beside splits',
                                                          'there must be no other folder'),
    ('val and valid', 'one of val and valid')])
def test_a_mistake_in_folders_is_one_line(kind, says, folder):
    path = _prepared(kind, folder)
    assert says in refused(*own(path, '--classes_per_task', '4'))
    assert not (folder / 'Result').exists()


@pytest.mark.parametrize('rows, header, says', [
    (['t,a,0.png'], 'task,class,path', 'line 1: the header task,class,file is needed'),
    (['t,a,0.png', 't,b,1.png', 't,b'], 'task,class,file', 'line 4: 2 fields, expected 3'),
    (['t,a,0.png', 't,,1.png'], 'task,class,file', 'line 3: no class'),
    (['t,a,0.png', 't,b,x.png'], 'task,class,file', 'line 3: there is no file'),
    (['t,a,0.png', 't,b,0.png', 't,a,0.png'], 'task,class,file', 'line 4: t,a,0.png is there already'),
    (['t,a,0.png,train', 't,b,1.png,tset'], 'task,class,file,split', 'line 3: split tset is not known'),
    (['t,a,0.png,train', 'u,b,./0.png,test'], 'task,class,file,split',
     './0.png is in two splits, train and test'),
    (['t,a,0.png,train', 't,b,1.png,train'], 'task,class,file,split', 'no image of split test'),
    (['t,a,0.png,train', 't,b,1.png,test'], 'task,class,file,split', 'class a of task t has no test image'),
    (['t,a,0.png', 'u,b,1.png'], 'task,class,file', 'task t: a is the only class'),
    ([], 'task,class,file', 'no image in it')])
def test_a_mistake_in_a_csv_is_one_line(rows, header, says, folder):
    for number in range(2):
        write(folder / ('%d.png' % number), picture(number))
    assert says in refused(*own(csv(folder, rows, header)))


@pytest.mark.parametrize('change, says', [
    (lambda found: found.pop('y_test'), 'the arrays y_test are missing'),
    (lambda found: found.update(more=np.zeros(3)), 'the arrays more are not known'),
    (lambda found: found.update(task_train=np.zeros(24, int)), 'the arrays task_test are missing'),
    (lambda found: found.update(y_test=np.zeros(3, int)), 'y_test is int64 of shape [3]'),
    (lambda found: found.update(y_test=np.zeros(8)), 'whole numbers or texts of shape [8]'),
    (lambda found: found.update(x_test=found['x_test'].astype(int)), 'x_test is int64'),
    (lambda found: found.update(x_test=found['x_test'] / 2.), 'x_test has values outside [0, 1]'),
    (lambda found: found.update(x_test=found['x_test'] * np.nan), 'x_test has values outside [0, 1]'),
    (lambda found: found.update(x_test=np.zeros((8, 64), np.uint8)), 'of shape [8, 64]'),
    (lambda found: found.update(x_test=np.array([None] * 8)), 'x_test is object'),
    (lambda found: found.update(y_test=np.array([None] * 8)), 'no .npz file that can be read')])
def test_a_mistake_in_an_npz_file_is_one_line(change, says, folder):
    found = arrays()
    change(found)
    np.savez(str(folder / 'x.npz'), **found)
    assert says in refused(*own('x.npz'))


def test_names_that_are_different_stay_apart(folder):
    found = dict(arrays(), y_train=np.arange(24) % 2 * 2 - 1, y_test=np.arange(8) % 2 * 2 - 1)
    np.savez(str(folder / 'x.npz'), **found)
    assert names_of(tasks_of('x.npz')) == [('1', '-1')]
    assert names_of(tasks_of(classes_in(folder / 'p', ['1-2', '12', 'MyCat', 'my cat']), '--classes_per_task',
                             '4')) == [
        ('1-2', '12', 'my cat', 'MyCat')]


@pytest.mark.parametrize('name, other', [('Cat', 'cat'), ('cat ', 'cat'), ('caf\u00e9', 'cafe\u0301'),
                                         ('a-b', 'a_b')])
def test_one_class_under_two_spellings_in_one_task(name, other, folder):
    path = classes_in(folder / 'p' / 't', [name, other, 'dog'])
    assert 'look like one class under two spellings' in refused(*own(os.path.dirname(path)))
    shutil.move(os.path.join(path, other), str(folder / 'p' / 'u' / other))
    classes_in(folder / 'p' / 'u', ['dog'])
    assert len(tasks_of(os.path.dirname(path))) == 2       # in two tasks they are two classes


def test_a_damaged_npz_file_is_one_line(folder):
    np.savez_compressed(str(folder / 'x.npz'), **arrays())
    content = (folder / 'x.npz').read_bytes()
    for part in (content[:-100], b'no zip', b'', content[:300] + b'\0' * 40 + content[340:]):
        (folder / 'x.npz').write_bytes(part)
        assert 'x.npz' in refused(*own('x.npz'))


@pytest.mark.parametrize('options, says', [
    (('--split', '60,10'), '--split 60,10: three whole percentages'),
    (('--split', '60,30,20'), 'together at most 100'),
    (('--split', '70,0,30'), '--split 70,0,30'), (('--split', 'half'), 'invalid percentages value'),
    (('--classes_per_task', '1'), '--classes_per_task 1: a whole number of at least 2'),
    (('--image_size', '0'), '--image_size 0: a whole number between 1 and 1024'),
    (('--image_channels', '2'), '--image_channels 2'),
    (('--network', 'CIFAR'), '--network CIFAR is not known (did you mean CIFAR'),
    (('--network', 'Images'), '--network Images is not'),
    (('--scaling', 'both'), "invalid choice: 'both'"), (('--images_layout', 'deep'),
                                                        "invalid choice: 'deep'"),
    (('--num_tasks', '2'), '--num_tasks 2: Images has 1 to 1 tasks'),
    (('--num_tasks', '-1'), '--num_tasks -1'),
    (('--images', ''), '--images: a path is needed'), (('--batch_size', '40'),
                                                       'fewer than one batch of 40; take a smaller --batch'),
    (('--batch_size', '0'), '--batch_size 0: at least 1 and at most 2^63 - 1'), (('--learning_rate', '0'),
                                                            '--learning_rate 0: a finite number above 0'),
    (('--lr_decay', '-1'), '--lr_decay -1'), (('--learning_rate', 'nan'), '--learning_rate nan'),
    (('--data_type', 'DIGITS5'), 'it is for --data_type Images, and DIGITS5 was asked for')])
def test_a_mistake_in_the_flags_is_one_line(options, says, folder):
    assert says in refused(*own(classes_in(folder / 'p', ['a', 'b']), *options))


def test_images_need_a_path(folder):
    assert '--data_type Images needs --images PATH' in refused('--data_type', 'Images')


def test_other_files_are_told_and_hidden_ones_are_not(folder):
    path = classes_in(folder / 'p', ['a', 'b'])
    damaged(folder / 'p' / 'a' / 'notes.txt', b'')
    damaged(folder / 'p' / 'a' / '._0.png', b'')
    (folder / 'p' / '.hidden').mkdir()
    os.symlink(path, os.path.join(path, 'b', 'loop'))
    said = experiment(path)[1]
    assert [line for line in said if 'not read' in line] == [
        '1 file not read, as their names do not end in .jpg, .jpeg, .png, .bmp, .tif, .tiff, .webp: %s'
        % os.path.join('a', 'notes.txt')]


# ---- experiments ----

@pytest.mark.parametrize('options', [
    '--classes_per_task 3', '--split 50,20,30', '--image_size 9', '--image_channels 3', '--network FASHION5',
    '--scaling standard', '--learning_rate 0.5', '--lr_decay 0.5', '--batch_size 3'])
def test_what_changes_the_numbers_changes_the_fingerprint(options, folder):
    path = classes_in(folder / 'p', list('abcdef'))
    assert experiment(path)[0].fingerprint() != experiment(path, *options.split())[0].fingerprint()


def test_the_fingerprint_knows_the_images_and_not_their_place(folder):
    path = classes_in(folder / 'p', list('abcd'))
    shutil.copytree(path, str(folder / 'elsewhere'))
    made = experiment(path)[0]
    assert experiment(folder / 'elsewhere')[0].fingerprint() == made.fingerprint()
    assert experiment(path, '--split', '60,10,30', '--images_layout',
                      'classes')[0].fingerprint() == made.fingerprint()
    assert type(made).from_json(made.to_json()) == made
    os.rename(os.path.join(path, 'a'), os.path.join(path, 'ab'))
    assert experiment(path)[0].fingerprint() != made.fingerprint()


@pytest.mark.parametrize('options, changed', [
    ('', {}), ('--learning_rate 0.5', {'lr': 0.5}), ('--lr_decay 0', {'lr_decay': 0.}),
    ('--batch_size 7', {'batch_size': 7})])
def test_training_values_of_other_data_sets_can_be_said(options, changed, folder):
    base = ('--data_type', 'DIGITS5', '--model_type', 'HPS', '--lifelong') + tuple(options.split())
    made, said = experiment(None, base=base)
    assert made.training == gen_data.env.TRAINING['digits5']._replace(
        **changed) and made.data_options == {} and said == []
    assert set(made.checksums) == {'raw', 'design'} and 'data_options' not in json.loads(made.to_json())
    said = experiment(None, base=base + ('--image_size', '9', '--split', '50,25,25'))[1]
    assert said == ['--split is ignored: it is for --data_type Images',
                    '--image_size is ignored: it is for --data_type Images']


def test_a_dry_run_shows_tasks_classes_sizes_network_and_memory(folder):
    path = classes_in(folder / 'p', ['cat', 'dog', 'eel', 'fox'])
    status, out, err = call(*own(path, '--dry_run'))
    assert status == 0, err
    for line in ('  0     2        14        2           6\n', 'task 1: eel, fox\n',
                 'images_layout: classes\n', 'network: DIGITS5\n',
                 'data: own images from %s\n' % os.path.realpath(path),
                 '  0      3x3     1 -> 16   1     8x8     yes\n',
                 'memory: 48 images of 8x8x1, 3.07 kB in the cache'):
        assert line in out, out
    assert not (folder / 'Result').exists()


def test_reports_compare_the_same_splits_only():
    class Entry(object):
        def __init__(self, **options):
            self.config = {'experiment': {'checksums': {'raw': 'x'}, 'normalize': 'split',
                                          'data_options': options}}
    one, other, same = Entry(split=[60, 10, 30]), Entry(split=[50, 20, 30]), Entry(split=[60, 10, 30],
                                                                                   network='DIGITS5')
    assert _by_checksums([one, other, same]) == [[one, same], [other]]


def test_a_run_trains_in_processes_that_find_the_images(folder):
    """Its trials are processes of their own, which read config.json;
    the bar of decoding leaves nothing in the output."""
    classes_in(folder / 'p', ['a', 'b', 'c', 'd'])
    for label, name in enumerate('abcd'):      # so different that one epoch learns it
        for number in range(PER_CLASS):
            write(folder / 'p' / name / ('%d.png' % number),
                  (picture((label, number)) // 8 + 220 * (label % 2)).astype(np.uint8))
    options = own('p', '--epochs_per_task', '2', '--num_runs', '2', '--jobs', '2', '--threads', '1',
                  '--save_mat_name', 'x.mat')
    status, out, err = call(*options)
    assert status == 0 and err == '', (out, err)
    run, = (folder / 'Result' / 'x').iterdir()
    config = json.loads((run / 'config.json').read_text())
    assert config['settings']['images'] == str(folder / 'p') and config['finished']
    assert config['experiment']['data_options'] == {
        'classes_per_task': 2, 'image_channels': 1, 'image_size': 8, 'images_layout': 'classes',
        'network': 'DIGITS5', 'scaling': 'unit', 'split': [60, 10, 30]}
    origin = config['origin_of_trial']['0'][0]
    assert origin['data_folder'] == str(folder / 'p')
    assert 'classification.data.readers_images' in origin['source_modules']
    assert out.count('own images: decoding 48 images, once') == 1 and re.search('over 2 trials', out)
    assert 'nothing to train' in call(*options)[1]

