"""Writes small data sets in the original file formats: what a user who downloaded them has, with fewer images.

Every image is a pattern of its class under noise, so a network can learn it. Each function takes the data folder.
"""
import gzip
import os
import pickle
import struct

import numpy as np

from classification.data.task_lists import OFFICEHOME_CLASSES


def pictures(labels, height, width, channels, seed, style=0):
    """uint8 [len(labels), height, width, channels]."""
    labels = np.asarray(labels)
    patterns = np.random.RandomState(1000 + style).randint(40, 216, (labels.max() + 1, 4, 4, channels))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    clean = patterns[labels][:, rows][:, :, columns]
    noise = np.random.RandomState(seed).randint(-30, 31, clean.shape)
    return np.clip(clean + noise, 0, 255).astype(np.uint8)


def _mixed(classes, per_class, seed):
    return np.random.RandomState(seed).permutation(np.repeat(np.arange(classes), per_class))


# ---- CIFAR ----

class _Python2(pickle._Pickler):
    """Pickles as Python 2 did, in which the originals were made: every text is a string of bytes."""
    dispatch = dict(pickle._Pickler.dispatch)

    def _save(self, text):
        content = text.encode('ascii') if isinstance(text, str) else text
        if len(content) < 256:
            self.write(pickle.SHORT_BINSTRING + struct.pack('<B', len(content)) + content)
        else:
            self.write(pickle.BINSTRING + struct.pack('<i', len(content)) + content)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = _save


def write_python2_pickle(path, content):
    """`content` as Python 2 and NumPy 1 would have pickled it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as stream:
        _Python2(stream, 2).dump(content)
    with open(path, 'rb') as stream:
        pickled = stream.read().replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')
    with open(path, 'wb') as stream:
        stream.write(pickled)


def _cifar_batch(path, labels, key, seed):
    images = pictures(labels, 32, 32, 3, seed)
    write_python2_pickle(path, {
        b'data': np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(labels), 3072),
        key: labels.tolist(), b'batch_label': b'a small batch'})
    return images, labels


def cifar100(folder, per_class_train=24, per_class_test=4, seed=0, layout='cifar-100-python'):
    """CIFAR-100; returns (images, fine labels), training before test."""
    parts = [_cifar_batch(os.path.join(str(folder), *(layout.split('/') + [name])), _mixed(100, count, seed + place),
                          b'fine_labels', seed + place)
             for place, (name, count) in enumerate([('train', per_class_train), ('test', per_class_test)])]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts))


def cifar10(folder, per_class_train=60, per_class_test=12, seed=0, layout='cifar-10-batches-py'):
    """CIFAR-10 in five training batches; returns (images, labels), training before test."""
    place = os.path.join(str(folder), *layout.split('/'))
    batches = np.array_split(_mixed(10, per_class_train, seed), 5) + [_mixed(10, per_class_test, seed + 1)]
    names = ['data_batch_%d' % batch for batch in range(1, 6)] + ['test_batch']
    parts = [_cifar_batch(os.path.join(place, name), labels, b'labels', seed + 10 * number)
             for number, (name, labels) in enumerate(zip(names, batches))]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts))


# ---- MNIST, Fashion-MNIST ----

def idx(array):
    """The bytes of an IDX file."""
    return struct.pack('>BBBB%dI' % array.ndim, 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def mnist(folder, per_class_train=60, per_class_test=12, seed=0, layout='MNIST_data', compressed=True, style=0):
    """MNIST; returns (images, labels), training before test. The first twelfth of the training images validates."""
    place, parts = os.path.join(str(folder), *layout.split('/')), []
    os.makedirs(place, exist_ok=True)
    for name, count, salt in (('train', per_class_train, 0), ('t10k', per_class_test, 1)):
        labels = _mixed(10, count, seed + salt)
        images = pictures(labels, 28, 28, 1, seed + salt, style)
        for kind, array in (('images-idx3', images[..., 0]), ('labels-idx1', labels)):
            path = os.path.join(place, '%s-%s-ubyte%s' % (name, kind, '.gz' if compressed else ''))
            with (gzip.open if compressed else open)(path, 'wb') as stream:
                stream.write(idx(array))
        parts.append((images, labels))
    return tuple(np.concatenate(arrays) for arrays in zip(*parts))


def fashion(folder, per_class_train=60, per_class_test=12, seed=0, layout='FASHION_data', compressed=True):
    """Fashion-MNIST, likewise."""
    return mnist(folder, per_class_train, per_class_test, seed, layout, compressed, style=1)


# ---- Office-Home ----

def officehome(folder, per_class=10, seed=0, layout='OfficeHomeDataset_10072016', domains=('Product', 'Real World'),
               size=16):
    """Office-Home: all 65 classes of each domain, small JPEGs; `per_class` is one number, or one for each class."""
    import cv2
    for place, domain in enumerate(domains):
        labels = np.repeat(np.arange(len(OFFICEHOME_CLASSES)), per_class)
        images = pictures(labels, size, size + 4, 3, seed + place, style=2)
        numbers = np.arange(len(labels)) - np.searchsorted(labels, labels)      # within the class
        for number, label, image in zip(numbers, labels, images):
            path = os.path.join(str(folder), layout, domain, OFFICEHOME_CLASSES[label], '%05d.jpg' % (number + 1))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'wb') as stream:
                stream.write(cv2.imencode('.jpg', image[..., ::-1])[1].tobytes())


# ---- STL-10 ----

def stl10(folder, per_class_train=20, per_class_test=3, seed=0, layout='stl10_binary'):
    """STL-10; returns (images, classes from 0), training before test."""
    place, parts = os.path.join(str(folder), *layout.split('/')), []
    os.makedirs(place, exist_ok=True)
    for name, count, salt in (('train', per_class_train, 0), ('test', per_class_test, 1)):
        labels = _mixed(10, count, seed + salt)
        images = pictures(labels, 96, 96, 3, seed + salt, style=3)
        for kind, content in (('X', images.transpose(0, 3, 2, 1)), ('y', (labels + 1).astype(np.uint8))):
            with open(os.path.join(place, '%s_%s.bin' % (name, kind)), 'wb') as stream:
                stream.write(content.tobytes())
        parts.append((images, labels))
    return tuple(np.concatenate(arrays) for arrays in zip(*parts))
