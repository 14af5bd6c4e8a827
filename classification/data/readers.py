"""Readers of the original file formats: where the raw files are, the class of every image, the pixels as
uint8."""
import codecs
import gzip
import hashlib
import importlib.util
import io
import os
import pickle
import struct
from collections import OrderedDict

import numpy as np

from classification.data.source import Source, below
from utils.utils import UserError

MNIST_VALIDATION = 5000      # of 60,000 training images, the first ones; of a shorter file the same share
NEWEST_PICKLES = 5           # protocol
DEBIAN_FASHION = '/usr/share/datasets/fashion-mnist'


def unpacked(inside, archive, *others):
    """Folders of what an archive holds: as it is there, in one that an unpacker named after the archive,
    others."""
    return below(inside, *(['%s/%s' % (archive, inside), '%s.tar/%s' % (archive, inside)] + list(others)))


class IdxFiles(Source):
    """MNIST and Fashion-MNIST: four files of the IDX format, plain or gzip'd."""
    NAMES = tuple('%s-%s' % (split, kind) for split in ('train', 't10k')
                  for kind in ('images-idx3-ubyte', 'labels-idx1-ubyte'))

    def __init__(self, name, title, home, folders):
        super(IdxFiles, self).__init__(name, title, (28, 28, 1), 'the four files *-ubyte.gz', home, folders,
                                       self.NAMES, ('', '.gz'))

    def spellings(self, name):
        """The archives know their content as train-images.idx3-ubyte;
        some unpackers make a folder for each."""
        dotted = name.replace('-idx', '.idx')
        return name, dotted, os.path.join(name, name), os.path.join(name, dotted)

    def labels(self, data_dir):
        files = self.files(data_dir)
        train, test = [self.check_classes(files[name], self._array(files[name], 1), 0, 9)
                       for name in self.NAMES[1::2]]
        for name, classes in zip(self.NAMES[::2], (train, test)):
            if self._length(files[name]) != 16 + len(classes) * 28 * 28:
                self._images(files, name)       # says what is wrong with it
        first = min(MNIST_VALIDATION, len(train) // 12)
        return OrderedDict([('valid', train[:first]), ('train', train[first:]), ('test', test)])

    def decode(self, data_dir, say):
        files = self.files(data_dir)
        return np.concatenate([self._images(files, name) for name in self.NAMES[::2]])[..., np.newaxis]

    def _images(self, files, name):
        labels_name = self.NAMES[self.NAMES.index(name) + 1]
        array, count = self._array(files[name], 3), len(self._array(files[labels_name], 1))
        if array.shape != (count, 28, 28):
            raise self.broken(files[name], 'holds images of shape %s, expected %s (one for each label in %s)'
                              % (array.shape, (count, 28, 28), files[labels_name]))
        return array

    def _length(self, path):
        """Bytes of a file when decompressed, as far as can be told without reading it:
        gzip ends with that number."""
        try:
            with open(path, 'rb') as stream:
                size = stream.seek(0, os.SEEK_END)
                if not path.endswith('.gz') or size < 4:
                    return size
                stream.seek(-4, os.SEEK_END)
                return struct.unpack('<I', stream.read())[0]
        except OSError as error:
            raise self.broken(path, 'cannot be read (%s)' % error.strerror) from error

    def _array(self, path, dimensions):
        content = self.read(path)
        magic, header = bytes(bytearray([0, 0, 8, dimensions])), 4 + 4 * dimensions
        if content[:4] != magic or len(content) < header:
            raise self.broken(path, 'is no IDX file: it begins with %s, expected %s'
                              % (content[:4].hex() or 'nothing', magic.hex()))
        shape = struct.unpack('>%dI' % dimensions, content[4:header])
        expected = header + int(np.prod(shape, dtype=np.int64))
        if len(content) != expected:
            raise self.broken(path, 'has %d bytes, expected %d by its header' % (len(content), expected))
        return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


class _Type(object):
    """Stands for numpy.dtype in a pickle: a plain number's type, and none of the states that NumPy would
    believe."""

    def __init__(self, text, align=False, copy=False):
        self.text = text if isinstance(text, str) else text.decode('ascii')

    def __setstate__(self, state):
        order = state[1] if isinstance(state[1], str) else state[1].decode('ascii')
        found = np.dtype(order + self.text)
        if found.kind not in 'biufSU' or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError('it has an array of %s, which no data file needs' % self.text)
        self.found = found


class _Array(object):
    """Stands for numpy.ndarray in a pickle: bytes and a shape, made an array only when both fit each
    other."""
    found = None

    def __setstate__(self, state):
        version, shape, kind, fortran, content = state
        self.found = _numbers(content, kind).reshape(shape, order='F' if fortran else 'C')


def _numbers(content, kind):
    """The numbers in bytes of a pickle; `kind`: _Type."""
    if not isinstance(kind, _Type) or not isinstance(content, (bytes, bytearray)):
        raise pickle.UnpicklingError('it has an array without a type or without bytes')
    return np.frombuffer(content, kind.found)


def _array(content, kind, shape, order, axes=None):
    """What NumPy calls _frombuffer, for pickles of protocol 5; `axes`: the order of the dimensions in the
    bytes."""
    array = _Array()
    array.found = _numbers(content, kind).reshape(shape, order='F' if order == 'F' else 'C')
    if order == 'K' and axes is not None:
        array.found = array.found.transpose(axes)
    return array


def _number(kind, content):
    """One number of NumPy's."""
    number, = _numbers(content, kind).tolist()
    return number


def _no_bytes():
    """What Python 3 writes for no bytes in pickles of protocols 0 to 2."""
    return b''


def _encoded(text, encoding):
    if encoding not in ('latin1', b'latin1'):
        raise pickle.UnpicklingError('it asks for the encoding %s, which no data file needs' % encoding)
    return codecs.encode(text, 'latin1')


class _ArraysOnly(pickle._Unpickler):      # the one in C takes any memory that a damaged file asks for
    """A pickle can run any program; these files need nothing but arrays of numbers and byte strings.

    NumPy's own classes are kept away: they trust a pickle with addresses in memory.
    """
    ALLOWED = {
        ('_codecs', 'encode'): _encoded,
        ('numpy', 'ndarray'): _Array,
        ('numpy', 'dtype'): _Type,
        ('__builtin__', 'bytes'): _no_bytes,
        ('builtins', 'bytes'): _no_bytes,
    }
    for core in ('numpy.core.', 'numpy._core.'):        # the second since NumPy 2
        ALLOWED[core + 'multiarray', '_reconstruct'] = lambda kind, shape, text: _Array()
        ALLOWED[core + 'multiarray', 'scalar'] = _number
        ALLOWED[core + 'numeric', '_frombuffer'] = _array

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError('it asks for %s.%s, which no data file needs' % (module, name))
        return self.ALLOWED[module, name]

    def _build(self):
        if not isinstance(self.stack[-2], (_Type, _Array)):
            raise pickle.UnpicklingError('it changes a %s, which no data file needs'
                                         % type(self.stack[-2]).__name__)
        self.load_build()

    def _protocol(self):
        protocol = self.read(1)[0]
        if protocol > NEWEST_PICKLES:
            raise pickle.UnpicklingError('it is a pickle of protocol %d, newer than %d'
                                         % (protocol, NEWEST_PICKLES))

    def _bytearray(self):
        size, = struct.unpack('<Q', self.read(8))
        self.append(bytearray(self.read(size)))

    def _readonly_buffer(self):
        """What was read stays as it is."""

    dispatch = dict(pickle._Unpickler.dispatch)
    dispatch[pickle.BUILD[0]] = _build
    # Of protocol 5, which Pythons before 3.8 do not know.
    dispatch[pickle.PROTO[0]] = _protocol
    dispatch[0x96] = _bytearray
    dispatch[0x98] = _readonly_buffer


class CifarPickles(Source):
    """CIFAR-10 and CIFAR-100: python pickles of rows of 3072 bytes, red plane first."""

    def __init__(self, name, title, archive, folders, pools, key, classes):
        super(CifarPickles, self).__init__(name, title, (32, 32, 3), archive,
                                           'https://www.cs.toronto.edu/~kriz/cifar.html', folders,
                                           [name for names in pools.values() for name in names])
        self.pools, self.key, self.classes = pools, key, classes

    def labels(self, data_dir):
        files = self.files(data_dir)
        return OrderedDict((pool, np.concatenate([self._batch(files[name])[1] for name in names]))
                           for pool, names in self.pools.items())

    def decode(self, data_dir, say):
        rows = np.concatenate([self._batch(path)[0] for path in self.files(data_dir).values()])
        return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))

    def _batch(self, path):
        """(rows of bytes, classes) of one file."""
        raw = self.read(path)
        try:
            content = _ArraysOnly(io.BytesIO(raw), encoding='bytes').load()
            rows, labels = [content[key.encode('ascii')] if key.encode('ascii') in content else content[key]
                            for key in ('data', self.key)]
            rows, labels = [one.found if isinstance(one, _Array) else one for one in (rows, labels)]
            labels = np.array([int(label) for label in labels], np.int64)
        except Exception as error:      # a damaged pickle can raise anything
            raise self.broken(path, 'is no %s file, expected a pickle with data and %s (%s: %s)'
                              % (self.title, self.key, type(error).__name__, error)) from error
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape != (len(labels), 3072):
            raise self.broken(path, 'its data are %s for %d labels, expected that many rows of 3072 bytes'
                              % (getattr(rows, 'shape', type(rows).__name__), len(labels)))
        return rows, self.check_classes(path, labels, 0, self.classes - 1)


class Stl10Binaries(Source):
    """STL-10: bare bytes, column-major planes; classes count from 1."""
    POOLS = ('train', 'test')

    def __init__(self):
        super(Stl10Binaries, self).__init__('stl10', 'STL-10', (96, 96, 3), 'stl10_binary.tar.gz',
                                            'https://cs.stanford.edu/~acoates/stl10/',
                                            unpacked('stl10_binary', 'stl10_binary', 'STL-10/raw_data',
                                                     'STL-10/stl10_binary'),
                                            ['%s_%s.bin' % (pool, kind) for pool in self.POOLS
                                             for kind in 'Xy'])

    def labels(self, data_dir):
        files, labels = self.files(data_dir), OrderedDict()
        for pool in self.POOLS:
            path = files[pool + '_y.bin']
            labels[pool] = self.check_classes(path, np.frombuffer(self.read(path), np.uint8).astype(np.int32),
                                              1, 10)
            images = files[pool + '_X.bin']
            size, expected = os.path.getsize(images), len(labels[pool]) * int(np.prod(self.image_shape))
            if size != expected:
                raise self.broken(images, 'has %d bytes, expected %d (%d images, one for each label in %s)'
                                  % (size, expected, len(labels[pool]), path))
        return labels

    def decode(self, data_dir, say):
        files = self.files(data_dir)
        planes = [np.frombuffer(self.read(files[pool + '_X.bin']), np.uint8).reshape(-1, 3, 96, 96)
                  for pool in self.POOLS]
        images = np.empty((sum(map(len, planes)),) + self.image_shape, np.uint8)
        return np.concatenate([part.transpose(0, 3, 2, 1) for part in planes], out=images)


class SklearnDigits(Source):
    """The 8x8 digits that come with scikit-learn: values 0..16, nothing to download."""
    largest = 16

    def __init__(self):
        super(SklearnDigits, self).__init__('digits', 'DIGITS', (8, 8, 1), 'scikit-learn', 'PyPI', below())
        self.digits = None      # loaded when first used

    def find(self, data_dir):
        return None, OrderedDict()

    def folder(self, data_dir):
        return 'scikit-learn (bundled)'

    def labels(self, data_dir):
        return OrderedDict([('all', self._digits()[1])])

    def decode(self, data_dir, say):
        return self._digits()[0]

    def images(self, data_dir, say):
        return self.decode(data_dir, say)

    def checksum(self, data_dir):
        images, labels = self._digits()
        return hashlib.sha256(images[..., 0].tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()

    def _digits(self):
        """(images uint8 [n, 8, 8, 1], labels int32 [n])."""
        if self.digits is None:
            table = _table_of_digits()
            self.digits = table[:, :-1].astype(np.uint8).reshape(-1, 8, 8, 1), table[:, -1].astype(np.int32)
        return self.digits


def _table_of_digits():
    """[n, 65]: 64 pixels and a label. Importing scikit-learn takes longer than everything else before a run's
    first line, so its file is read where it has always been, and scikit-learn asked only if it is not
    there."""
    try:
        folder = os.path.dirname(importlib.util.find_spec('sklearn').origin)
        with gzip.open(os.path.join(folder, 'datasets', 'data', 'digits.csv.gz'), 'rt') as stream:
            return np.array([line.split(',') for line in stream], np.float32)
    except (AttributeError, OSError, ValueError):
        pass
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError('the digits come with scikit-learn, which cannot be imported (%s); '
                        'run: python3 -m pip install scikit-learn' % error) from error
    found = load_digits()
    return np.column_stack([found.data, found.target])


MNIST = IdxFiles('mnist', 'MNIST', 'http://yann.lecun.com/exdb/mnist/',
                 below('MNIST_data', 'MNIST/raw', 'mnist'))
FASHION = IdxFiles('fashion', 'Fashion-MNIST', 'https://github.com/zalandoresearch/fashion-mnist',
                   lambda data_dir: below('FASHION_data', 'FashionMNIST/raw', 'fashion')(data_dir)
                   + [DEBIAN_FASHION])
CIFAR10 = CifarPickles(
    'cifar10', 'CIFAR-10', 'cifar-10-python.tar.gz',
    unpacked('cifar-10-batches-py', 'cifar-10-python', 'CIFAR-10/cifar-10-batches-py'),
    OrderedDict([('train', ['data_batch_%d' % batch for batch in range(1, 6)]), ('test', ['test_batch'])]),
    'labels', 10)
CIFAR100 = CifarPickles(
    'cifar100', 'CIFAR-100', 'cifar-100-python.tar.gz',
    unpacked('cifar-100-python', 'cifar-100-python', 'CIFAR-100/cifar-100-python'),
    OrderedDict([('train', ['train']), ('test', ['test'])]), 'fine_labels', 100)
STL10 = Stl10Binaries()
DIGITS = SklearnDigits()
