"""Writes small data sets in the original file formats: what a user who downloaded them has, with fewer
images.

Every image is a pattern of its class under noise, so a network can learn it. Each function takes the data
folder. At the end an HTTP server on this machine that misbehaves as it is told, and data sets packed as their
authors do.
"""
import gzip
import hashlib
import http.server
import io
import os
import pickle
import re
import socketserver
import struct
import tarfile
import threading
import zipfile

import numpy as np

from classification.data.download import Remote
from classification.data.task_lists import CIFAR100_TEN_TASKS, OFFICEHOME_CLASSES, OFFICEHOME_TASKS


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
    parts = [_cifar_batch(os.path.join(str(folder), *(layout.split('/') + [name])),
                          _mixed(100, count, seed + place), b'fine_labels', seed + place)
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
    return struct.pack('>BBBB%dI' % array.ndim, 0, 0, 8, array.ndim,
                       *array.shape) + array.astype(np.uint8).tobytes()


def mnist(folder, per_class_train=60, per_class_test=12, seed=0, layout='MNIST_data', compressed=True,
          style=0):
    """MNIST; returns (images, labels), training before test.
    The first twelfth of the training images validates."""
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

def officehome(folder, per_class=10, seed=0, layout='OfficeHomeDataset_10072016',
               domains=('Product', 'Real World'), size=16):
    """Office-Home: all 65 classes of each domain, small JPEGs;
    `per_class` is one number, or one for each class."""
    import cv2
    for place, domain in enumerate(domains):
        labels = np.repeat(np.arange(len(OFFICEHOME_CLASSES)), per_class)
        images = pictures(labels, size, size + 4, 3, seed + place, style=2)
        numbers = np.arange(len(labels)) - np.searchsorted(labels, labels)      # within the class
        for number, label, image in zip(numbers, labels, images):
            path = os.path.join(str(folder), layout, domain, OFFICEHOME_CLASSES[label], '%05d.jpg'
                                % (number + 1))
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


# ---- all of them ----

def few_images(folder):
    """As few images as two tasks can do with:
    a batch for training, one for validation, one of each class for tests."""
    cifar = np.full(100, 3)                            # per class: 2 train, none validates
    cifar[[tasks[0] for tasks in CIFAR100_TEN_TASKS]] = 6        # 5 train, 1 validates
    cifar100(folder, cifar, 1)
    product = np.full(65, 1)
    for classes in OFFICEHOME_TASKS[:2]:
        product[list(classes)] = 4                     # 2 train, none validates, 1 tests
        product[classes[0]] = 10                       # 6, 1, 3
    officehome(folder, product, domains=('Product',))
    officehome(folder, 1, domains=('Real World',))
    stl10(folder, per_class_train=20, per_class_test=1)         # a task takes a quarter of them


# ---- a server ----

class Server(object):
    """Serves `files`, a dict path -> bytes. What was asked is in `asked`: (path, value of the header Range).

    Attributes that a test may change:
        breaks: path -> list of numbers of bytes after which the next answers break off.
        ranges: whether it knows Range; 'wrong': it sends another range than was asked for.
        status: path -> what it answers instead.
        headers: what it sends besides.
        length: whether it says how long a file is.
        gate: threading.Event it waits for before it sends a file's second half.
    """

    def __init__(self):
        self.files, self.asked, self.sent = {}, [], 0
        self.breaks, self.ranges, self.status, self.headers, self.length, self.gate = (
            {}, True, {}, {}, True, None)
        self.server = _Threads(('127.0.0.1', 0), type('Handler', (_Handler,), {'told': self}))
        self.url = 'http://127.0.0.1:%d' % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs=dict(poll_interval=0.01),
                         daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class _Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.0'

    def do_GET(self):
        told, wanted = self.told, self.headers.get('Range')
        told.asked.append((self.path, wanted))
        if self.path in told.status or self.path not in told.files:
            self.send_error(told.status.get(self.path, 404))
            return
        content, status, start = told.files[self.path], 200, 0
        if wanted and told.ranges:
            status, start = 206, int(re.match(r'bytes=(\d+)-$', wanted).group(1))
            if told.ranges == 'wrong':
                start += 1
            if start >= len(content):
                self.send_response(416)
                self.send_header('Content-Range', 'bytes */%d' % len(content))
                self.end_headers()
                return
        self.send_response(status)
        if status == 206:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(content) - 1, len(content)))
        if told.length:
            self.send_header('Content-Length', str(len(content) - start))
        for name, value in told.headers.items():
            self.send_header(name, value)
        self.end_headers()
        rest = content[start:]
        if told.breaks.get(self.path):
            rest = rest[:told.breaks[self.path].pop(0)]
        half = len(rest) // 2
        try:
            for part in (rest[:half], rest[half:]):
                self.wfile.write(part)
                self.wfile.flush()
                told.sent += len(part)
                if told.gate:
                    told.gate.wait(30)
        except OSError:
            pass       # who asked has gone

    def log_message(self, *words):
        """Keeps still."""


def content_of(path):
    with open(str(path), 'rb') as stream:
        return stream.read()


def packed(folder):
    """A folder as the bytes of a .tar.gz."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w:gz', compresslevel=1) as archive:
        archive.add(str(folder), os.path.basename(str(folder)))
    return stream.getvalue()


def zipped(folder):
    """A folder as the bytes of a .zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        for place, _, names in os.walk(str(folder)):
            for name in names:
                path = os.path.join(place, name)
                archive.write(path, os.path.relpath(path, os.path.dirname(str(folder))))
    return stream.getvalue()


def remote(path, content, *bases, **more):
    """A row of the table of downloads for this content."""
    return Remote(path, 'md5:' + hashlib.md5(content).hexdigest(),
                  tuple('%s/%s' % (base, path) for base in bases), **dict(dict(megabytes=5), **more))
