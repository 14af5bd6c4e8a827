"""Readers of the original formats: right pixels in the right place, one line for every file that is wrong."""
import gzip
import importlib.util
import os
import pickle
import platform
import shutil
import struct
import sys

import numpy as np
import pytest

from classification.data import data_cache, jpeg, raw_checksums, readers
from classification.data.readers_officehome import OFFICEHOME, OFFICEHOME_PRODUCT
from tests.support import data_files
from utils.locks import Lock
from utils.utils import UserError, silent_libraries

SMALL = {readers.MNIST: lambda folder, **more: data_files.mnist(folder, 12, 1, **more),
         readers.FASHION: lambda folder, **more: data_files.fashion(folder, 12, 1, **more),
         readers.CIFAR10: lambda folder, **more: data_files.cifar10(folder, 6, 1, **more),
         readers.CIFAR100: lambda folder, **more: data_files.cifar100(folder, 2, 1, **more),
         readers.STL10: lambda folder, **more: data_files.stl10(folder, 2, 1, **more)}
IDS = [source.name for source in SMALL]


def quiet(line):
    """Nobody listens."""


def images_and_labels(source, folder):
    labels = source.labels(str(folder))
    return source.images(str(folder), quiet), np.concatenate(list(labels.values())), labels


def refused(source, folder):
    """The one line about the source's files, wherever it comes from."""
    with pytest.raises(UserError) as error:
        images_and_labels(source, folder)
    assert '\n' not in str(error.value)
    return str(error.value)


def edit(path, change):
    """Replaces a file's content by change(content)."""
    with open(str(path), 'rb') as stream:
        content = stream.read()
    with open(str(path), 'wb') as stream:
        stream.write(change(content))


# ---- what is read ----

@pytest.mark.parametrize('source, layout', [
    (readers.MNIST, 'MNIST_data'), (readers.MNIST, 'MNIST/raw'), (readers.MNIST, 'mnist'),
    (readers.FASHION, 'FASHION_data'), (readers.FASHION, 'FashionMNIST/raw'), (readers.FASHION, 'fashion'),
    (readers.CIFAR10, 'cifar-10-batches-py'), (readers.CIFAR10, 'CIFAR-10/cifar-10-batches-py'),
    (readers.CIFAR100, 'cifar-100-python'), (readers.CIFAR100, 'CIFAR-100/cifar-100-python'),
    (readers.STL10, 'stl10_binary'), (readers.STL10, 'STL-10/raw_data'),
    (readers.STL10, 'STL-10/stl10_binary')])
def test_every_layout_gives_the_images_as_they_were_written(source, layout, tmp_path):
    images, labels = SMALL[source](tmp_path, layout=layout)
    read, classes, pools = images_and_labels(source, tmp_path)
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(classes, labels)
    assert read.dtype == np.uint8 and all(pool.dtype == np.int32 for pool in pools.values())
    np.testing.assert_array_equal(source.decode(str(tmp_path), quiet), images)


def test_pools_follow_each_other(tmp_path):
    for source, write in SMALL.items():
        write(tmp_path)
    assert [(pool, len(labels)) for pool, labels in readers.MNIST.labels(str(tmp_path)).items()] == [
        ('valid', 10), ('train', 110), ('test', 10)]
    for source, train, test in ((readers.CIFAR10, 60, 10), (readers.CIFAR100, 200, 100),
                                (readers.STL10, 20, 10)):
        assert [(pool, len(labels)) for pool, labels in source.labels(str(tmp_path)).items()] == [
            ('train', train), ('test', test)]


def test_the_official_mnist_validates_on_5000_images(tmp_path):
    data_files.mnist(tmp_path, compressed=False)
    images, labels = [tmp_path / 'MNIST_data' / ('train-%s-ubyte' % kind)
                      for kind in ('images-idx3', 'labels-idx1')]
    for count in (60000, 72000):
        labels.write_bytes(data_files.idx(np.zeros(count, np.uint8)))
        os.truncate(str(images), 16 + count * 28 * 28)      # nobody reads them
        assert [len(pool) for pool in readers.MNIST.labels(str(tmp_path)).values()] == [
            5000, count - 5000, 120]


def test_idx_files_need_not_be_compressed(tmp_path):
    images, labels = data_files.mnist(tmp_path, 12, 1, compressed=False)
    read, classes, _ = images_and_labels(readers.MNIST, tmp_path)
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(classes, labels)


def test_fashion_is_found_where_debian_puts_it(tmp_path, monkeypatch):
    images, _ = data_files.fashion(tmp_path, 12, 1, layout='system')
    monkeypatch.setattr(readers, 'DEBIAN_FASHION', str(tmp_path / 'system'))
    (tmp_path / 'Data').mkdir()
    np.testing.assert_array_equal(images_and_labels(readers.FASHION, tmp_path / 'Data')[0], images)
    mine, _ = data_files.fashion(tmp_path / 'Data', 12, 1, seed=1)
    np.testing.assert_array_equal(images_and_labels(readers.FASHION, tmp_path / 'Data')[0], mine)


def test_cifar_planes_are_red_green_blue_in_rows(tmp_path):
    row = np.zeros((1, 3072), np.uint8)
    row[0, 1024 + 32 * 5 + 7] = 200       # green, fifth row, seventh column
    folder = tmp_path / 'cifar-100-python'
    for name in ('train', 'test'):
        data_files.write_python2_pickle(str(folder / name), {b'data': row, b'fine_labels': [99]})
    image = readers.CIFAR100.decode(str(tmp_path), quiet)[0]
    assert image[5, 7].tolist() == [0, 200, 0] and image.sum() == 200


def test_stl10_planes_are_red_green_blue_in_columns(tmp_path):
    folder = tmp_path / 'stl10_binary'
    folder.mkdir()
    for name in ('train', 'test'):
        planes = bytearray(27648)
        planes[2 * 9216 + 96 * 7 + 5] = 200       # blue, seventh column, fifth row
        (folder / (name + '_X.bin')).write_bytes(bytes(planes))
        (folder / (name + '_y.bin')).write_bytes(b'\x0a')
    image = readers.STL10.decode(str(tmp_path), quiet)[0]
    assert image[5, 7].tolist() == [0, 0, 200] and image.sum() == 200
    assert readers.STL10.labels(str(tmp_path))['test'].tolist() == [9]


def test_cifar_may_be_pickled_by_python_3(tmp_path):
    images, _ = data_files.cifar100(tmp_path, 2, 1)
    for protocol in (2, 4):
        for name in ('train', 'test'):
            path = tmp_path / 'cifar-100-python' / name
            edit(path, lambda content: pickle.dumps(pickle.loads(content, encoding='bytes'), protocol))
        np.testing.assert_array_equal(readers.CIFAR100.decode(str(tmp_path), quiet), images)


CORES = 'numpy.core', 'numpy._core'      # before NumPy 2, and since


def text(word):
    """A short text in a pickle of protocol 4 or 5."""
    return b'\x8c' + bytes([len(word)]) + word.encode('ascii')


def of_protocol_5(images, labels, core, readonly=False):
    """What Python 3.8 or newer writes, without frames: arrays in a bytearray, labels as NumPy's numbers."""
    def name(module, attribute):
        return text(module) + text(attribute) + b'\x93'

    def kind(word, order):
        return name('numpy', 'dtype') + text(word) + b'\x89\x88\x87R(K\x03' + text(
            order) + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'

    rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), 3072)
    content = b'\x96' + struct.pack('<Q', rows.size) + rows.tobytes() + b'\x98' * readonly
    data = name(core + '.numeric', '_frombuffer') + b'(' + content + kind('u1', '|') + b'M' + struct.pack(
        '<H', len(rows)) + b'M\x00\x0c\x86' + text('C') + b'tR'
    numbers = [name(core + '.multiarray', 'scalar') + kind('i8', '<') + b'C\x08' + struct.pack('<q', label)
               + b'\x86R' for label in labels]
    return b'\x80\x05}(' + text('data') + data + text('fine_labels') + b'](' + b''.join(numbers) + b'eu.'


@pytest.mark.parametrize('core', CORES)
@pytest.mark.parametrize('readonly', [False, True])
def test_cifar_may_be_pickled_by_python_3_8_and_newer(core, readonly, tmp_path):
    images, labels = data_files.cifar100(tmp_path, 2, 1)
    for name, rows in (('train', slice(0, 200)), ('test', slice(200, 300))):
        edit(tmp_path / 'cifar-100-python' / name, lambda content: of_protocol_5(images[rows], labels[rows],
                                                                                 core, readonly))
    read, classes, _ = images_and_labels(readers.CIFAR100, tmp_path)
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(classes, labels)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('change', [
    lambda rows, labels: (rows, labels.astype(np.int64)), lambda rows,
    labels: (rows, [np.int16(label) for label in labels]),
    lambda rows, labels: (np.asfortranarray(rows), tuple(labels.tolist())),
    lambda rows, labels: (np.repeat(rows, 2, axis=1)[:, ::2], labels.tolist())],
                         ids=['array', 'numbers', 'fortran', 'view'])
def test_cifar_may_be_pickled_by_this_python_with_any_protocol(protocol, change, tmp_path):
    images, labels = data_files.cifar10(tmp_path, 6, 1)
    for name in readers.CIFAR10.names:
        path = tmp_path / 'cifar-10-batches-py' / name
        content = pickle.loads(path.read_bytes(), encoding='bytes')
        rows, own = change(content[b'data'], np.array(content[b'labels']))
        path.write_bytes(pickle.dumps({'data': rows, 'labels': own, 'batch_label': b'',
                                       'filenames': np.array(['a', 'b'])}, protocol))
    read, classes, _ = images_and_labels(readers.CIFAR10, tmp_path)
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(classes, labels)


@pytest.mark.parametrize('found', [True, False])
def test_the_digits_are_scikit_learns(found, monkeypatch):
    """Whether its file is where it has always been or must be asked for."""
    from sklearn import datasets
    digits, asked = datasets.load_digits(), []
    monkeypatch.setattr(datasets, 'load_digits', lambda: asked.append(1) or digits)
    monkeypatch.setattr(readers.DIGITS, 'digits', None)
    if not found:
        monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    images = readers.DIGITS.images(None, quiet)
    assert bool(asked) != found
    assert images.shape == (1797, 8, 8, 1) and images.dtype == np.uint8 and images.max() == 16
    np.testing.assert_array_equal(images[..., 0], digits.images)
    np.testing.assert_array_equal(readers.DIGITS.labels(None)['all'], digits.target)


# ---- what is refused ----

@pytest.mark.parametrize('source', SMALL, ids=IDS)
def test_each_missing_file_is_named_and_where_to_get_it(source, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, 'DEBIAN_FASHION', str(tmp_path / 'none'))
    SMALL[source](tmp_path)
    for path in source.files(str(tmp_path)).values():
        os.rename(path, path + '.away')
        line = refused(source, tmp_path)
        assert line.startswith(
            '%s: %s is missing; found instead: %s.away; get %s from %s and put its files into %s (Data' % (
            source.title, path.replace('.gz', ''), os.path.basename(path), source.archive, source.home,
            os.path.dirname(path)))
        os.rename(path + '.away', path)
    source.images(str(tmp_path), quiet)


@pytest.mark.parametrize('name', readers.IdxFiles.NAMES)
@pytest.mark.parametrize('change, expected', [
    (lambda content: content[:len(content) // 2], 'cannot be read, or is damaged'),
    (lambda content: b'nothing like it', 'cannot be read, or is damaged'),
    (lambda content: b'', 'is no IDX file: it begins with nothing'),
    (lambda content: gzip.compress(b'\0\0\x0d' + gzip.decompress(content)[3:]),
     'no IDX file: it begins with 00000d0'),
    (lambda content: gzip.compress(gzip.decompress(content)[:6]), 'is no IDX file'),
    (lambda content: gzip.compress(gzip.decompress(content)[:-1]), 'bytes, expected '),
    (lambda content: gzip.compress(gzip.decompress(content) + b'x'), 'bytes, expected ')])
def test_a_damaged_idx_file_is_named(name, change, expected, tmp_path):
    data_files.mnist(tmp_path, 12, 1)
    path = tmp_path / 'MNIST_data' / (name + '.gz')
    edit(path, change)
    line = refused(readers.MNIST, tmp_path)
    assert line.startswith('%s: ' % path) and expected in line
    assert 'get the four files *-ubyte.gz anew from http' in line and 'Data/README.md' in line


def test_idx_files_that_do_not_fit_each_other_are_named(tmp_path):
    data_files.mnist(tmp_path, 12, 1)
    path = tmp_path / 'MNIST_data' / 't10k-images-idx3-ubyte.gz'
    path.write_bytes(gzip.compress(data_files.idx(np.zeros((9, 28, 28)))))
    line = refused(readers.MNIST, tmp_path)
    assert line.startswith('%s: holds images of shape (9, 28, 28), expected (10, 28, 28)' % path)
    path.write_bytes(gzip.compress(data_files.idx(np.zeros((10, 28, 27)))))
    assert 'shape (10, 28, 27), expected (10, 28, 28)' in refused(readers.MNIST, tmp_path)


@pytest.mark.parametrize('compressed', [True, False])
@pytest.mark.parametrize('change', [lambda content: content[:len(content) // 2], lambda content: content[:-1],
                                    lambda content: b'<html>Not found</html>', lambda content: b''])
def test_damaged_idx_images_are_found_while_only_labels_are_read(change, compressed, tmp_path):
    data_files.mnist(tmp_path, 12, 1, compressed=compressed)
    path = tmp_path / 'MNIST_data' / ('train-images-idx3-ubyte' + ('.gz' if compressed else ''))
    edit(path, change)
    with pytest.raises(UserError) as error:
        readers.MNIST.labels(str(tmp_path))
    assert str(error.value).startswith('%s: ' % path) and 'get the four files *-ubyte.gz anew' in str(
        error.value)


def test_a_label_that_is_no_class_is_named(tmp_path):
    data_files.mnist(tmp_path, 12, 1, compressed=False)
    path = tmp_path / 'MNIST_data' / 'train-labels-idx1-ubyte'
    edit(path, lambda content: content[:11] + b'\x0a' + content[12:])
    assert refused(readers.MNIST, tmp_path).startswith('%s: image 3 has the label 10, expected 0 to 9;'
                                                       % path)
    data_files.stl10(tmp_path, 2, 1)
    path = tmp_path / 'stl10_binary' / 'test_y.bin'
    edit(path, lambda content: content[:4] + b'\0' + content[5:])
    assert refused(readers.STL10, tmp_path).startswith('%s: image 4 has the label 0, expected 1 to 10;'
                                                       % path)
    data_files.write_python2_pickle(str(tmp_path / 'cifar-100-python' / 'train'), {
        b'data': np.zeros((1, 3072), np.uint8), b'fine_labels': [100]})
    data_files.cifar100(tmp_path / 'other', 2, 1)
    shutil.copy(str(tmp_path / 'other' / 'cifar-100-python' / 'test'), str(tmp_path / 'cifar-100-python'))
    assert 'image 0 has the label 100, expected 0 to 99' in refused(readers.CIFAR100, tmp_path)


@pytest.mark.parametrize('name, size', [('train_X.bin', 20 * 27648 - 1), ('test_X.bin', 10 * 27648 + 1),
                                        ('train_y.bin', 19), ('test_y.bin', 11)])
def test_stl10_files_that_do_not_fit_each_other_are_named(name, size, tmp_path):
    data_files.stl10(tmp_path, 2, 1)
    edit(tmp_path / 'stl10_binary' / name, lambda content: (content + b'\x01')[:size])
    line = refused(readers.STL10, tmp_path)
    for word in (name, name[:-5] + 'X.bin: has ', ' bytes, expected ', 'stl10_binary.tar.gz anew from http'):
        assert word in line


class Trap(object):
    """Runs a command when it is unpickled without care."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize('protocol', [0, 2, pickle.HIGHEST_PROTOCOL])
def test_a_pickle_that_runs_a_program_is_refused(protocol, tmp_path):
    data_files.cifar10(tmp_path, 6, 1)
    path = tmp_path / 'cifar-10-batches-py' / 'data_batch_3'
    trap = pickle.dumps({b'data': Trap(tmp_path / 'sprung'), b'labels': [1]}, protocol)
    path.write_bytes(trap)
    line = refused(readers.CIFAR10, tmp_path)
    assert line.startswith('%s: is no CIFAR-10 file, expected a pickle with data and labels' % path)
    assert 'mkdir, which no data file needs' in line and 'get cifar-10-python.tar.gz anew from http' in line
    assert not (tmp_path / 'sprung').exists()
    pickle.loads(trap)
    assert (tmp_path / 'sprung').exists()


@pytest.mark.parametrize('change, expected', [
    (lambda content: content[:len(content) // 2],
     'no CIFAR-100 file, expected a pickle with data and fine_labels ('),
    (lambda content: b'', 'EOFError'),
    (lambda content: b'hello world', 'is no CIFAR-100 file'),
    (lambda content: pickle.dumps([1, 2], 2), 'is no CIFAR-100 file'),
    (lambda content: pickle.dumps({'data': np.zeros((2, 3072), np.uint8), 'labels': [1, 2]}, 2),
     'fine_labels'),
    (lambda content: pickle.dumps({'data': np.zeros((2, 3072)), 'fine_labels': [1, 2]}, 2),
     'rows of 3072 bytes'),
    (lambda content: pickle.dumps({'data': np.zeros((2, 3071), np.uint8), 'fine_labels': [1, 2]}, 2),
     '(2, 3071)'),
    (lambda content: pickle.dumps({'data': np.zeros((2, 3072), np.uint8), 'fine_labels': [1]}, 2),
     '(2, 3072) for 1'),
    (lambda content: pickle.dumps({'data': [1], 'fine_labels': [1]}, 2), 'are list for 1 labels'),
    (lambda content: pickle.dumps({'data': np.zeros((1, 3072), np.uint8), 'fine_labels': ['x']}, 2),
     'ValueError')])
def test_a_damaged_cifar_file_is_named(change, expected, tmp_path):
    data_files.cifar100(tmp_path, 2, 1)
    path = tmp_path / 'cifar-100-python' / 'test'
    edit(path, change)
    line = refused(readers.CIFAR100, tmp_path)
    assert line.startswith('%s: ' % path) and expected in line
    assert ('get cifar-100-python.tar.gz anew from https://www.cs.toronto.edu/~kriz/cifar.html '
            '(Data/README.md') in line


# ---- Office-Home ----

@pytest.fixture(scope='module')
def officehome(tmp_path_factory):
    """Products only, one photograph each."""
    folder = tmp_path_factory.mktemp('officehome')
    data_files.officehome(folder, per_class=1, domains=('Product',))
    return folder


def photograph(folder, image, name='00001.jpg', flags=()):
    """Writes one image (blue first) as the only alarm clock; returns its path."""
    import cv2
    place = os.path.join(str(folder), 'OfficeHomeDataset_10072016', 'Product', 'Alarm_Clock')
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    with open(os.path.join(place, name), 'wb') as stream:
        stream.write(cv2.imencode(os.path.splitext(name)[1], image, list(flags))[1].tobytes())
    return os.path.join(place, name)


def test_photographs_are_decoded_with_red_first(officehome, tmp_path):
    path = photograph(tmp_path, np.full((40, 20, 3), (10, 100, 200), np.uint8), '1.png')
    image = OFFICEHOME._decode_one(path)
    assert image.dtype == np.uint8 and image.shape == (128, 128, 3)
    assert np.unique(image.reshape(-1, 3), axis=0).tolist() == [[200, 100, 10]]


def test_grey_photographs_get_three_channels_and_alpha_is_dropped(tmp_path):
    grey = OFFICEHOME._decode_one(photograph(tmp_path, np.full((30, 30), 77, np.uint8), 'grey.jpg'))
    assert np.abs(grey.astype(int) - 77).max() <= 1 and grey.shape == (128, 128, 3)
    alpha = np.full((30, 30, 4), (1, 2, 3, 0), np.uint8)
    assert np.unique(OFFICEHOME._decode_one(photograph(tmp_path, alpha, 'a.png')).reshape(-1, 3),
                     axis=0).tolist() == [
        [3, 2, 1]]


def test_photographs_are_resized_without_aliasing_and_with_straight_lines(tmp_path):
    noise = np.random.RandomState(0).randint(0, 2, (1024, 1024)) * 255
    image = OFFICEHOME._decode_one(photograph(tmp_path, noise.astype(np.uint8), 'noise.png'))
    assert image.std() < 15        # 64 if only the nearest pixels counted
    ramp = np.tile(np.arange(256), (64, 1)).astype(np.uint8)
    image = OFFICEHOME._decode_one(photograph(tmp_path, ramp, 'ramp.png')).astype(float)
    np.testing.assert_allclose(image[:, 2:-2, 0], np.tile(np.arange(2, 126) * 2 + .5, (128, 1)), atol=1)


def test_the_orientation_mark_of_a_camera_is_ignored(tmp_path):
    half = np.zeros((64, 64, 3), np.uint8)
    half[:32] = 255
    path = photograph(tmp_path, half)
    upside_down = b'\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0'
    edit(path, lambda content: content[:2] + upside_down + content[2:])
    image = OFFICEHOME._decode_one(path)
    assert image[:50].min() > 200 and image[78:].max() < 50


@pytest.mark.parametrize('archive', ['OfficeHomeDataset_10072016', 'OfficeHomeDataset'])
@pytest.mark.parametrize('spelling', ['Real World', 'RealWorld', 'Real_World'])
def test_spellings_of_the_folders(archive, spelling, officehome, tmp_path):
    for domain in ('Product', spelling):
        shutil.copytree(str(officehome / 'OfficeHomeDataset_10072016' / 'Product'),
                        str(tmp_path / archive / domain))
    files = OFFICEHOME.files(str(tmp_path))
    assert len(files) == 130 and list(files)[-1] == 'RealWorld/Webcam/00001.jpg'
    assert OFFICEHOME.labels(str(tmp_path))['all'].tolist() == list(range(130))
    assert [OFFICEHOME.name_of(number) for number in (0, 64, 65)] == ['Alarm_Clock', 'Webcam', 'Alarm_Clock']


def test_any_image_file_counts_in_sorted_order_and_nothing_else(officehome, tmp_path):
    shutil.copytree(str(officehome / 'OfficeHomeDataset_10072016'),
                    str(tmp_path / 'OfficeHomeDataset_10072016'))
    place = tmp_path / 'OfficeHomeDataset_10072016' / 'Product' / 'Bed'
    for name in ('b.PNG', 'a.jpeg', 'Thumbs.db', '.hidden.jpg', 'readme.txt'):
        (place / name).write_bytes(b'')
    names = [os.path.basename(path) for path in OFFICEHOME_PRODUCT.files(str(tmp_path)).values()
             if 'Bed' in path]
    assert names == ['00001.jpg', 'a.jpeg', 'b.PNG']
    assert OFFICEHOME_PRODUCT.labels(str(tmp_path))['all'].tolist().count(3) == 3


def test_a_whole_domain_is_decoded_in_the_order_of_its_files(officehome):
    images, labels, _ = images_and_labels(OFFICEHOME_PRODUCT, officehome)
    assert images.shape == (65, 128, 128, 3) and labels.tolist() == list(range(65))
    paths = list(OFFICEHOME_PRODUCT.files(str(officehome)).values())
    for row in (0, 30, 64):
        np.testing.assert_array_equal(images[row], OFFICEHOME_PRODUCT._decode_one(paths[row]))
    assert len({image.tobytes() for image in images}) == 65


@pytest.mark.parametrize('change', [
    lambda content: b'', lambda content: b'no image at all', lambda content: content[:len(content) // 2],
    lambda content: content[:-2]], ids=['empty', 'text', 'half', 'no end'])
def test_a_photograph_that_cannot_be_read_is_named(change, officehome, tmp_path):
    shutil.copytree(str(officehome / 'OfficeHomeDataset_10072016'),
                    str(tmp_path / 'OfficeHomeDataset_10072016'))
    path = tmp_path / 'OfficeHomeDataset_10072016' / 'Product' / 'Sink' / '00001.jpg'
    edit(path, change)
    line = refused(OFFICEHOME_PRODUCT, tmp_path)
    assert line.startswith('%s: is damaged or no image (' % path)
    assert 'get OfficeHomeDataset_10072016.zip anew from ' in line


@pytest.fixture(scope='module', params=['plain', 'progressive', 'restarts', 'grey'])
def jpeg_file(request):
    """The bytes of a JPEG, and of another one that is small."""
    import cv2
    draws = np.random.RandomState(1)
    small = draws.randint(0, 256, (9, 9, 3)).astype(np.uint8)
    image = cv2.resize(small, (103, 57), interpolation=cv2.INTER_CUBIC) + draws.randint(
        0, 8, (57, 103, 3)).astype(np.uint8)
    options = {'progressive': [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
               'restarts': [cv2.IMWRITE_JPEG_RST_INTERVAL, 3]}
    image = image[..., 0] if request.param == 'grey' else image
    return [cv2.imencode('.jpg', one, options.get(request.param, []))[1].tobytes() for one in (image, small)]


def decoded(content):
    import cv2
    with silent_libraries():
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def with_thumbnail(content, thumbnail):
    return content[:2] + b'\xff\xe1' + struct.pack('>H', len(thumbnail)
                                                   + 8) + b'Exif\0\0' + thumbnail + content[2:]


def test_a_whole_jpeg_is_read_whatever_else_its_file_carries(jpeg_file):
    content, small = jpeg_file
    expected = decoded(content)
    for other in (content, with_thumbnail(content, small), content + small, content + small[:len(small) // 2],
                  content + b'\xff\xda' + bytes(99), content + b'\xff\xd8\xff\xda', content + b'\0' * 999,
                  content[:2] + b'\xff\xff' + content[2:],
                  content[:2] + b'\xff\xfe\0\6\xff\xd9\xff\xda' + content[2:]):
        np.testing.assert_array_equal(jpeg.whole(other, decoded), expected)


def test_image_data_that_are_cut_off_are_damage(jpeg_file):
    content, small = jpeg_file
    for file in (content, with_thumbnail(content, small)):
        for length in list(range(3, len(file), 301)) + [len(file) - 3, len(file) - 2, len(file) - 1]:
            inside = file.rfind(b'\xff\xda') + 12 < length < len(file) - 3
            for behind in [b''] + [small, b'\xff\xda\xff\xd9', b'\xff\xd9'] * inside:
                assert jpeg.whole(file[:length] + behind, decoded) is None, (length, behind)


def test_missing_domains_classes_and_images_are_named(officehome, tmp_path):
    line = refused(OFFICEHOME, tmp_path)
    assert '%s is missing' % (tmp_path / 'OfficeHomeDataset_10072016' / 'Product') in line
    shutil.copytree(str(officehome / 'OfficeHomeDataset_10072016'),
                    str(tmp_path / 'OfficeHomeDataset_10072016'))
    assert '%s is missing' % (tmp_path / 'OfficeHomeDataset_10072016' / 'Real World') in refused(
        OFFICEHOME, tmp_path)
    place = tmp_path / 'OfficeHomeDataset_10072016' / 'Product' / 'TV'
    (place / '00001.jpg').unlink()
    assert refused(OFFICEHOME_PRODUCT, tmp_path).startswith('%s: no image in it (.jpg, ' % place)
    place.rmdir()
    line = refused(OFFICEHOME_PRODUCT, tmp_path)
    assert '%s is missing; found instead: only Alarm_Clock, Backpack, ' % place in line
    assert ' and 60 more; get OfficeHomeDataset_10072016.zip from ' in line


@pytest.mark.parametrize('package, cure', [('cv2', 'opencv-python-headless   or: apt-get install libgl1'),
                                           ('skimage.transform', 'pip install scikit-image')])
def test_a_package_that_cannot_be_imported_is_said_with_its_cure(package, cure, officehome, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert cure in refused(OFFICEHOME_PRODUCT, officehome)


def test_scikit_learn_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    monkeypatch.setattr(readers.DIGITS, 'digits', None)
    with pytest.raises(UserError, match='pip install scikit-learn'):
        readers.DIGITS.labels(None)


# ---- caches ----

def cache_file(folder):
    found = [name for name in os.listdir(os.path.join(str(folder), 'cache')) if name.endswith('.npy')]
    assert len(found) == 1
    return os.path.join(str(folder), 'cache', found[0])


def flipped(content, place):
    """The content with one bit changed."""
    return content[:place] + bytes(bytearray([content[place] ^ 1])) + content[place + 1:]


def never(*arguments):
    raise AssertionError('it is in the cache')


@pytest.mark.parametrize('source', SMALL, ids=IDS)
def test_images_are_decoded_once(source, tmp_path, monkeypatch):
    images, _ = SMALL[source](tmp_path)
    assert isinstance(source.images(str(tmp_path), quiet), np.memmap)
    monkeypatch.setattr(source, 'decode', never)
    np.testing.assert_array_equal(source.images(str(tmp_path), quiet), images)
    assert os.path.basename(cache_file(tmp_path)).startswith(source.name + '-')
    assert len(os.path.basename(cache_file(tmp_path))) == len(source.name + '-.npy') + 16


@pytest.mark.parametrize('damage', [
    lambda content: content[:-5], lambda content: content[:100], lambda content: b'',
    lambda content: b'\x80' + content[1:], lambda content: flipped(content, 5000),
    lambda content: flipped(content, len(content) - 1), lambda content: content.replace(b'|u1', b'|i1')],
    ids=['short', 'stump', 'empty', 'no header', 'bit', 'sum', 'type'])
def test_a_damaged_cache_is_made_anew(damage, tmp_path):
    images, _ = data_files.mnist(tmp_path, 12, 1)
    readers.MNIST.images(str(tmp_path), quiet)
    path = cache_file(tmp_path)
    with open(path, 'rb') as stream:
        whole = stream.read()
    edit(path, damage)
    np.testing.assert_array_equal(readers.MNIST.images(str(tmp_path), quiet), images)
    with open(path, 'rb') as stream:
        assert stream.read() == whole


def test_other_raw_files_have_another_cache(tmp_path):
    data_files.mnist(tmp_path, 12, 1)
    readers.MNIST.images(str(tmp_path), quiet)
    images, _ = data_files.mnist(tmp_path, 12, 1, seed=5)
    np.testing.assert_array_equal(readers.MNIST.images(str(tmp_path), quiet), images)


def test_another_version_of_the_resizing_package_has_another_cache(officehome, monkeypatch):
    import skimage
    before = OFFICEHOME_PRODUCT.recipe()
    monkeypatch.setattr(skimage, '__version__', '99.1')
    assert OFFICEHOME_PRODUCT.recipe() != before


def test_a_folder_that_cannot_be_written_works_without_cache(tmp_path):
    images, _ = data_files.mnist(tmp_path, 12, 1)
    # a file where the folder should be: not even root can write below it
    (tmp_path / 'cache').write_bytes(b'')
    lines = []
    for _ in range(2):
        np.testing.assert_array_equal(readers.MNIST.images(str(tmp_path), lines.append), images)
    assert len(lines) == 2
    assert lines[0].startswith('%s cannot be written ('
                               % (tmp_path / 'cache')) and 'decoded anew each time' in lines[0]


def test_a_full_disk_works_without_cache(tmp_path, monkeypatch):
    images, _ = data_files.mnist(tmp_path, 12, 1)

    def full(*arguments, **more):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(data_cache.np.lib.format, 'write_array_header_1_0', full)
    lines = []
    np.testing.assert_array_equal(readers.MNIST.images(str(tmp_path), lines.append), images)
    assert lines == ['%s cannot be written (No space left on device): the images are decoded anew each time'
                     % (tmp_path / 'cache')]
    assert not [name for name in os.listdir(str(tmp_path / 'cache')) if name.endswith(('.npy', '.tmp'))]


def test_a_cache_that_another_process_holds_for_long_is_not_waited_for_without_end(tmp_path, monkeypatch):
    images, _ = data_files.mnist(tmp_path, 12, 1)
    readers.MNIST.images(str(tmp_path), quiet)
    cache, = (tmp_path / 'cache').glob('*.npy')
    cache.unlink()
    monkeypatch.setattr(data_cache, 'LOCK_SECONDS', 0.1)
    lines = []
    with Lock(str(cache) + '.lock').acquire(0):
        np.testing.assert_array_equal(readers.MNIST.images(str(tmp_path), lines.append), images)
    assert lines == [
        '%s cannot be written (process %d on %s has held its lock for 0 s): the images are decoded anew '
        'each time'
        % (cache.parent, os.getpid(), platform.node())]


def test_the_checksum_does_not_depend_on_the_folder(tmp_path):
    data_files.stl10(tmp_path / 'a', 2, 1)
    data_files.stl10(tmp_path / 'b', 2, 1, layout='STL-10/raw_data')
    assert readers.STL10.checksum(str(tmp_path / 'a')) == readers.STL10.checksum(str(tmp_path / 'b'))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match='absent cannot be read: No such file'):
        raw_checksums.checksum(str(tmp_path), 'x', {'role': str(tmp_path / 'absent')})
