"""Damaged, missing and odd data files, below Data of the current folder."""
import gzip
import os
import pickle
import struct
import zlib

import numpy as np

from classification.data.readers_officehome import OFFICEHOME_PRODUCT
from classification.data.task_lists import OFFICEHOME_CLASSES, OFFICEHOME_INCREMENTAL_TASKS
from classification.gen_data import load_tasks
from tests.bad_input.pickles import ODD, PICKLES
from tests.bad_input.trial import Entry, edit, replace
from tests.support import data_files

OFFICE = 'OfficeHomeDataset_10072016'
CLOCKS = OFFICE + '/Product/Alarm_Clock'
SMALL = OFFICEHOME_CLASSES[OFFICEHOME_INCREMENTAL_TASKS[0][0]]


def mnist(folder):
    data_files.mnist(folder, 24, 2)


def plain_mnist(folder):
    data_files.mnist(folder, 24, 2, compressed=False)


def cifar10(folder):
    data_files.cifar10(folder, 60, 2)


def cifar100(folder):
    data_files.cifar100(folder, 12, 1)


def stl10(folder):
    data_files.stl10(folder, 20, 1)


def products(folder):
    """Office-Home's products; the three classes of Office-Home Incremental's first task have ten
    photographs."""
    per_class = np.full(65, 1)
    per_class[list(OFFICEHOME_INCREMENTAL_TASKS[0])] = 10
    data_files.officehome(folder, per_class, domains=('Product',))


OPTIONS = {mnist: ['--data_type', 'MNIST5', '--data_percent', '1'],
           plain_mnist: ['--data_type', 'MNIST5', '--data_percent', '1'],
           cifar10: ['--data_type', 'CIFAR10_5', '--data_percent', '4'],
           cifar100: ['--data_type', 'CIFAR100_10', '--data_percent', '4'],
           stl10: ['--data_type', 'STL10_20t'],
           products: ['--data_type', 'OfficeHome_Incremental', '--num_tasks', '1']}


def _images(number=2, size=28):
    return data_files.idx(np.zeros((number, size, size)))


def _bomb(megabytes):
    """gzip of zeros, a thousandth of the size."""
    return gzip.compress(bytes(1 << 20)) * megabytes


def _header(*words):
    return gzip.compress(struct.pack('>%dI' % len(words), *words))


def _without(label, instead):
    """Changes the labels of an IDX file."""
    def change(content):
        raw = gzip.decompress(content)
        return gzip.compress(raw[:8] + raw[8:].replace(bytes([label]), bytes([instead])))
    return change


TRAIN, LABELS = 'MNIST_data/train-images-idx3-ubyte.gz', 'MNIST_data/train-labels-idx1-ubyte.gz'
TEST, TEST_LABELS = 'MNIST_data/t10k-images-idx3-ubyte.gz', 'MNIST_data/t10k-labels-idx1-ubyte.gz'
CIFAR, CIFAR_TEST = 'cifar-100-python/train', 'cifar-100-python/test'

# name, what writes the data, path, change of its content, words; the path is always among the words
DAMAGED = [
    ('idx images cut off', mnist, TRAIN, lambda content: content[:-50], ['damaged']),
    ('idx images of 0 bytes', mnist, TRAIN, lambda content: b'', ['no IDX file: it begins with nothing']),
    ('idx images, no gzip', mnist, TRAIN, lambda content: b'<html>404</html>', ['damaged']),
    ('idx images, gzip checksum', mnist, TRAIN, lambda content: content[:-8] + b'\0\0\0\0' + content[-4:],
     ['damaged']),
    ('idx images, bits in the middle of gzip', mnist, TRAIN,
     lambda content: content[:5000] + b'\xaa' * 100 + content[5100:], ['damaged']),
    ('idx images are labels', mnist, TEST, lambda content: gzip.compress(data_files.idx(np.zeros(20))),
     ['00000801']),
    ('idx images of floats', mnist, TEST, lambda content: _header(0x0d03, 20, 28, 28), ['00000d03']),
    ('idx header cut off', mnist, TEST, lambda content: _header(0x0803, 20), ['no IDX file']),
    ('idx header of more than there is', mnist, TEST, lambda content: _header(0x0803, 2 ** 31, 28, 28),
     ['expected']),
    ('idx header of 2^96 bytes', mnist, TEST, lambda content: _header(0x0803, 2 ** 32 - 1, 2 ** 32 - 1,
                                                                      2 ** 32 - 1), ['expected']),
    ('idx header of no image', mnist, TEST, lambda content: _header(0x0803, 0, 28, 28),
     ['holds images of shape (0, 28, 28)']),
    ('idx images fewer than labels', mnist, TEST, lambda content: gzip.compress(_images(19)),
     ['(19, 28, 28), expected (20, 28, 28)']),
    ('idx images of another size', mnist, TEST, lambda content: gzip.compress(_images(20, 32)),
     ['(20, 32, 32)']),
    ('idx images, bytes behind the end', mnist, TEST,
     lambda content: gzip.compress(gzip.decompress(content) + b'!'), ['expected']),
    ('idx images that unpack to 1 GB', mnist, TEST, lambda content: _bomb(1000), ['holds more than']),
    ('idx labels cut off', mnist, LABELS, lambda content: content[:-12], ['damaged']),
    ('idx labels out of range', mnist, LABELS, _without(3, 10), ['has the label 10, expected 0 to 9']),
    ('idx labels, little-endian', mnist, LABELS,
     lambda content: gzip.compress(struct.pack('<2I', 0x0801, 240) + bytes(240)), ['01080000']),
    ('idx labels of none', mnist, LABELS, lambda content: gzip.compress(data_files.idx(np.zeros(0))), []),
    ('idx plain, gzip under its name', plain_mnist, TRAIN[:-3], gzip.compress, ['1f8b']),
    ('idx plain, cut off', plain_mnist, TRAIN[:-3], lambda content: content[:-1], ['expected']),
    ('cifar pickle cut off', cifar100, CIFAR, lambda content: content[:-1000], ['is no CIFAR-100 file']),
    ('cifar pickle of 0 bytes', cifar100, CIFAR, lambda content: b'', ['is no CIFAR-100 file']),
    ('cifar pickle is the archive', cifar100, CIFAR, gzip.compress, ['is no CIFAR-100 file']),
    ('cifar pickle is text', cifar100, CIFAR_TEST, lambda content: b'hello\nworld\n',
     ['is no CIFAR-100 file']),
    ('cifar pickle of a list', cifar100, CIFAR_TEST, lambda content: pickle.dumps([1], 2),
     ['is no CIFAR-100 file']),
    ('cifar pickle without labels', cifar100, CIFAR_TEST, lambda content: pickle.dumps({'data': 1}, 2),
     ['fine_labels']),
    ('cifar-100 pickle of CIFAR-10', cifar100, CIFAR,
     lambda content: content.replace(b'fine_labels', b'fin3_labels'), ['fine_labels']),
    ('cifar label out of range', cifar100, CIFAR, lambda content: content.replace(b'K\x63', b'K\x64'),
     ['has the label 100, expected 0 to 99']),
    ('cifar labels are texts', cifar100, CIFAR_TEST, lambda content: pickle.dumps(
        {'data': np.zeros((1, 3072), np.uint8), 'fine_labels': ['cat']}, 2), ['is no CIFAR-100 file']),
    ('cifar labels are not finite', cifar100, CIFAR_TEST, lambda content: pickle.dumps(
        {'data': np.zeros((1, 3072), np.uint8), 'fine_labels': [float('nan')]}, 2), ['is no CIFAR-100 file']),
    ('cifar labels beyond 64 bits', cifar100, CIFAR_TEST, lambda content: pickle.dumps(
        {'data': np.zeros((1, 3072), np.uint8), 'fine_labels': [2 ** 80]}, 2), ['OverflowError']),
    ('cifar rows of floats', cifar100, CIFAR_TEST, lambda content: pickle.dumps(
        {'data': np.zeros((1, 3072)), 'fine_labels': [1]}, 2), ['rows of 3072 bytes']),
    ('cifar rows of objects', cifar100, CIFAR_TEST, lambda content: pickle.dumps(
        {'data': np.array([None]), 'fine_labels': [1]}, 2), ['has an array of O8']),
    ('cifar array whose bytes do not fit', cifar100, CIFAR_TEST, lambda content: pickle.dumps(
        {'data': np.zeros((1, 3072), np.uint8), 'fine_labels': [1]}, 2).replace(b'M\x00\x0c', b'M\xff\xff'),
     ['is no CIFAR-100 file']),
    ('cifar pickle that asks for 64 GB', cifar100, CIFAR_TEST,
     lambda content: b'\x80\x02]r\xff\xff\xff\xff0.', ['is no CIFAR-100 file']),
    ('cifar-10 batch cut off', cifar10, 'cifar-10-batches-py/data_batch_4', lambda content: content[:99],
     ['is no CIFAR-10 file']),
    ('cifar-10 label of CIFAR-100', cifar10, 'cifar-10-batches-py/test_batch',
     lambda content: content.replace(b'K\x09', b'K\x2a'), ['has the label 42, expected 0 to 9']),
    ('stl images cut off', stl10, 'stl10_binary/train_X.bin', lambda content: content[:-1],
     ['expected 5529600']),
    ('stl images of 0 bytes', stl10, 'stl10_binary/test_X.bin', lambda content: b'', ['has 0 bytes']),
    ('stl images twice', stl10, 'stl10_binary/test_X.bin', lambda content: content * 2, ['expected 276480']),
    ('stl labels out of range', stl10, 'stl10_binary/train_y.bin', lambda content: b'\x0b' + content[1:],
     ['has the label 11, expected 1 to 10']),
    ('stl label 0', stl10, 'stl10_binary/test_y.bin', lambda content: content[:-1] + b'\0',
     ['has the label 0']),
    ('stl design of rubbish', stl10, 'STL-10/stl10_p25_v15_t20_c3_s0.csv', lambda content: b'\0\xff' * 50,
     ['is no CSV text']),
    ('stl design, wrong row', stl10, 'STL-10/stl10_p25_v15_t20_c3_s1.csv',
     lambda content: b'Task,0\r\nClasses,1,1,2\r\n', ['row 2']),
    ('stl design, endless numbers', stl10, 'STL-10/stl10_p25_v15_t20_c3_s2.csv', lambda content: b'Task,'
     + b'9' * 5000, ['row 1']),
    ('stl design cut off', stl10, 'STL-10/stl10_p25_v15_t20_c3_s4.csv',
     lambda content: b'Task,0\r\nClasses,1,2,3\r\nTrainInd', ['row 3']),
    ('photograph of 0 bytes', products, CLOCKS + '/00001.jpg', lambda content: b'',
     ['damaged or no image (0 bytes)']),
    ('photograph is text', products, CLOCKS + '/00001.jpg', lambda content: b'<html>404</html>',
     ['damaged or no image']),
    ('photograph cut off', products, CLOCKS + '/00001.jpg', lambda content: content[:len(content) // 2],
     ['damaged or no image']),
    ('photograph cut off behind a thumbnail', products, CLOCKS + '/00001.jpg', lambda content: (
        content[:2] + b'\xff\xe1' + struct.pack('>H', len(content) + 2) + content + content[2:])[:-100],
     ['damaged or no image']),
    ('photograph cut off, with an end', products, CLOCKS + '/00001.jpg', lambda content: content[:-100]
     + b'\xff\xd9', ['damaged or no image']),
    ('photograph cut off, with another behind it', products, CLOCKS + '/00001.jpg',
     lambda content: content[:-100] + content, ['damaged or no image']),
    ('photograph without its header', products, CLOCKS + '/00001.jpg', lambda content: content[200:],
     ['damaged or no image']),
]


def _png(width, height, depth=8, color=2, rows=b''):
    def chunk(name, content):
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(
            name + content) & 0xffffffff)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>2I5B', width, height, depth, color, 0, 0,
                                                             0)) + chunk(
        b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def _encoded(ending, image):
    import cv2
    return cv2.imencode(ending, image)[1].tobytes()


def _tiff_cut_off():
    return _encoded('.tif', np.random.RandomState(0).randint(0, 256, (50, 60, 3)).astype(np.uint8))[:5000]


def _bmp(width, height):
    content = _encoded('.bmp', np.zeros((5, 5, 3), np.uint8))
    return content[:18] + struct.pack('<2i', width, height) + content[26:]


WHOLE = [      # files beside the good ones: name, path, content, words
    ('photograph of no size', '/a.png', lambda: _png(0, 0), ['damaged or no image']),
    ('photograph of no height', '/a.bmp', lambda: _bmp(5, 0), ['damaged or no image']),
    ('photograph of 2^60 pixels', '/a.bmp', lambda: _bmp(2 ** 30, 2 ** 30), ['damaged or no image']),
    ('photograph of 10^10 pixels', '/a.png', lambda: _png(100000, 100000), ['damaged or no image']),
    ('PNG cut off', '/a.png', lambda: _encoded('.png', np.zeros((50, 60, 3), np.uint8))[:-30],
     ['damaged or no image']),
    ('TIFF cut off', '/a.tif', _tiff_cut_off, ['damaged or no image']),
    ('WebP cut off', '/a.webp', lambda: _encoded('.webp',
                                                 np.random.RandomState(0).randint(0, 256, (50, 60, 3)).astype(
        np.uint8))[:2000], ['damaged or no image']),
]

FINE = [       # the same, that work: what, name, content
    ('alpha', 'alpha%d.png', lambda: _encoded('.png', np.full((9, 9, 4), 7, np.uint8))),
    ('gray JPEG', 'gray%d.jpg', lambda: _encoded('.jpg', np.full((30, 20), 7, np.uint8))),
    ('gray PNG of 1 bit', 'gray%d.png', lambda: _png(8, 1, 1, 0, b'\0\xaa')),
    ('16 bits', 'deep%d.png', lambda: _encoded('.png', np.full((9, 9, 3), 7000, np.uint16))),
    ('one pixel', 'dot%d.png', lambda: _png(1, 1, rows=b'\0abc')),
    ('1 x 3000', 'line%d.png', lambda: _encoded('.png', np.zeros((3000, 1, 3), np.uint8))),
    ('PNG named .jpg', 'named%d.jpg', lambda: _encoded('.png', np.zeros((9, 9, 3), np.uint8))),
    ('bytes behind a JPEG', 'behind%d.jpg', lambda: _encoded('.jpg', np.zeros((9, 9, 3), np.uint8))
     + b'\xff\xda\0\0'),
    ('non-ASCII name', u'\u00e4\u4e2d%d.JPG', lambda: _encoded('.jpg', np.zeros((9, 9, 3), np.uint8))),
    ('name that is no UTF-8', '\udcff%d.jpg', lambda: _encoded('.jpg', np.zeros((9, 9, 3), np.uint8))),
    ('0 bytes not named as an image', 'Thumbs%d.db', lambda: b''),
    ('hidden file', '._%d.jpg', lambda: b'\0\5'),
]


def _run(write, data_dir='Data'):
    return OPTIONS[write] + ['--model_type', 'STL', '--lifelong', '--num_runs', '1', '--data_dir', data_dir]


def _damaged(name, write, path, change, words):
    def make(folder, materials):
        data = materials.copy(write, folder / 'Data')
        if not (data / path).exists():
            (data / path).parent.mkdir(exist_ok=True)
            (data / path).write_bytes(b'')
        edit(data / path, change)
        return _run(write)
    return Entry('data files', name, make, (path.split('/')[-1],) + tuple(words) if words else ())


def _beside(name, path, content, words):
    def make(folder, materials):
        replace(str(materials.copy(products, folder / 'Data') / CLOCKS) + path, content())
        return _run(products)
    return Entry('data files', name, make, (path,) + tuple(words))


def _all_fine(folder, materials):
    """All at once: decoding takes its time."""
    data = materials.copy(products, folder / 'Data')
    for number, (_, path, content) in enumerate(FINE):
        replace(data / CLOCKS / (path % number), content())
    return _run(products)


def _loads(folder, outcome):
    """Whether the images are there as every trial finds them."""
    task, = load_tasks('OfficeHome_Incremental', str(folder / 'Data'), num_tasks=1, say=lambda line: None)
    images = task.train.images()
    return images.dtype == np.uint8 and images.shape == (18, 128, 128, 3)


def _all_loads(folder, outcome):
    """As many alarm clocks as there are files that are photographs, each of three channels."""
    paths = list(OFFICEHOME_PRODUCT.files(str(folder / 'Data')).values())
    images = OFFICEHOME_PRODUCT.images(str(folder / 'Data'), lambda line: None)
    clocks = {os.path.basename(path): image for path, image in zip(paths, images) if 'Alarm_Clock' in path}
    gray = [image for name, image in clocks.items() if name.startswith('gray')]
    return len(clocks) == 1 + len(FINE) - 2 and len(gray) == 2 and all(
        (image == image[..., :1]).all() and image.any() for image in gray) and _loads(folder, outcome)


def _changed(name, write, change, words, works='', data_dir='Data'):
    """Data that `change(folder of the data)` makes bad."""
    def make(folder, materials):
        change(materials.copy(write, folder / data_dir))
        return _run(write, data_dir)
    return Entry('data files', name, make, tuple(words), works)


def _link(path, to):
    def change(data):
        if (data / path).is_dir():
            for one in (data / path).iterdir():
                one.unlink()
            (data / path).rmdir()
        elif (data / path).exists():
            (data / path).unlink()
        os.symlink(to, str(data / path))
    return change


def _no_clocks(data):
    for one in (data / CLOCKS).iterdir():
        one.unlink()


def _few(left):
    """All but a few photographs of a class of the first task are gone."""
    def change(data):
        for one in sorted((data / OFFICE / 'Product' / SMALL).iterdir())[left:]:
            one.unlink()
    return change


def _pipe(data):
    os.mkfifo(str(data / CLOCKS / '0.jpg'))


def _folder(data):
    (data / CLOCKS / '0.jpg').mkdir()


def _folder_for_file(data):
    (data / TRAIN).unlink()
    (data / TRAIN).mkdir()


def _relabelled(source, label):
    """Nothing is left of a class: each of its labels becomes another."""
    def change(data):
        if source is mnist:
            edit(data / LABELS, _without(label, label + 1))
        elif source is stl10:
            edit(data / 'stl10_binary' / 'test_y.bin',
                 lambda content: content.replace(bytes([label]), bytes([label % 10 + 1])))
        else:
            edit(data / CIFAR, lambda content: content.replace(b'K' + bytes([label]),
                                                               b'K' + bytes([label + 1])))
    return change


def _all_but(label, left):
    """All but a few images of a class get another label."""
    def change(data):
        def labels(content):
            raw = bytearray(gzip.decompress(content))
            places = [place for place in range(8 + 20, len(raw)) if raw[place] == label]
            for place in places[left:]:
                raw[place] = label + 1
            return gzip.compress(bytes(raw))
        edit(data / LABELS, labels)
    return change


def _nothing(data):
    pass


def _empty_stl(data):
    for name in ('train_X', 'train_y'):
        replace(data / 'stl10_binary' / (name + '.bin'), b'')


def _file_for_data(folder, materials):
    (folder / 'Data').write_bytes(b'')
    return _run(mnist)


def _loop_for_data(folder, materials):
    os.symlink('Data', str(folder / 'Data'))
    return _run(products)


CHANGED = [
    ('links in a circle for idx labels', mnist, _link(LABELS, 'train-labels-idx1-ubyte.gz'),
     ['train-labels-idx1-ubyte is missing']),
    ('a link to nothing for a CIFAR file', cifar100, _link(CIFAR, 'nowhere'),
     ['cifar-100-python/train is missing']),
    ('a folder for an idx file', mnist, _folder_for_file, ['train-images-idx3-ubyte is missing']),
    ('links in a circle for a class', products, _link(CLOCKS, 'Alarm_Clock'), ['Alarm_Clock is missing']),
    ('links in a circle for a photograph', products, _link(CLOCKS + '/00001.jpg', '00001.jpg'),
     ['Alarm_Clock/00001.jpg']),
    ('a link to nothing for a photograph', products, _link(CLOCKS + '/00001.jpg', 'nowhere'),
     ['Alarm_Clock/00001.jpg']),
    ('a pipe for a photograph', products, _pipe, ['Alarm_Clock/0.jpg', 'no regular file']),
    ('a folder for a photograph', products, _folder, ['Alarm_Clock/0.jpg', 'no regular file']),
    ('a class without photographs', products, _no_clocks, ['Alarm_Clock: no image in it']),
    ('a class of 1 photograph', products, _few(1), ['class %s has 1 image, at least 3 are needed' % SMALL]),
    ('a class of 2 photographs', products, _few(2), ['class %s has 2 images, at least 3 are needed' % SMALL]),
    ('no image of a class, MNIST', mnist, _relabelled(mnist, 7), ['no training image of class 7']),
    ('no image of a class, CIFAR-100', cifar100, _relabelled(cifar100, 30),
     ['no training image of class 30']),
    ('no test image of a class, STL-10', stl10, _relabelled(stl10, 4), ['no test image of class 3']),
    ('no training image, STL-10', stl10, _empty_stl, ['no training image of class']),
]

OTHERS = [
    Entry('data files', 'a file for the folder', _file_for_data, ('Data/MNIST_data/', 'is missing')),
    Entry('data files', 'links in a circle for the folder', _loop_for_data, ('Data/' + OFFICE, 'is missing')),
    _changed('a class of 7 photographs', products, _few(7), (), 'one in each split'),
    _changed('a class with 1 image, MNIST', mnist, _all_but(7, 1), (), 'trained on it'),
    _changed('non-ASCII folder', mnist, _nothing, (), 'read', u'D\u00e4t\u00e4 \u4e2d'),
    _changed('folder that is no UTF-8', cifar100, _nothing, (), 'read', 'D\udcff'),
    _changed('a link for the class folder', products, lambda data: (
        (data / CLOCKS).rename(data / 'elsewhere'), os.symlink('../../../Data/elsewhere',
                                                               str(data / CLOCKS)))[0], (), 'read'),
]

ENTRIES = [_damaged(*row) for row in DAMAGED] + [_beside(*row) for row in WHOLE]
ENTRIES += [Entry('data files', ', '.join(row[0] for row in FINE), _all_fine, (), 'the photographs, as RGB',
                  _all_loads)]
ENTRIES += [_changed(*row) for row in CHANGED] + OTHERS
ENTRIES += [_damaged('malicious pickle: ' + name, cifar100, CIFAR, lambda content, made=made: made, words)
            for name, made, words in PICKLES + ODD]
