"""Decoded images, kept below DATA_DIR/cache so that they are made once."""
import contextlib
import hashlib
import os
import struct
import zlib

import numpy as np

from utils.locks import Held, Lock

# raised where older code would misread a file; one that names no version is of the first
VERSION = 1
# behind the images: the mark, version, checksum
_MARK, _TRAILER = b'lasem-images', struct.Struct('<12sII')
LOCK_SECONDS = 600      # while another process decodes the same images


def cached(data_dir, name, key, shape, decode, say):
    """The images that `decode()` gives, from a memory-mapped file if it was made before.

    Args:
        data_dir: folder of the data sets.
        name: of the data set's source.
        key: text that names everything the images depend on.
        shape: of the images; they are uint8.
        decode: function without arguments: the images, or what yields them in blocks that need not fit into
            memory together.
        say: function of one line for the user.
    """
    folder = os.path.join(data_dir, 'cache')
    path = os.path.join(folder, '%s-%s.npy' % (name, hashlib.sha256(key.encode('utf-8')).hexdigest()[:16]))
    version = _version(path)
    if version > VERSION:
        say('%s was written by newer code (version %d of such files; this code reads up to version %d): the '
            'images are decoded anew each time' % (path, version, VERSION))
        return _whole(shape, decode())
    images = _opened(path, shape)
    if images is not None:
        return images
    with _lock(path, say) as (lock, refusal):
        images = None if refusal else _opened(path, shape)      # another process may have made it meanwhile
        if images is not None:
            return images
        images = decode()
        blocks = None if isinstance(images, np.ndarray) else images
        assert blocks or images.shape == tuple(shape) and images.dtype == np.uint8
        # this process was stopped, another one writes the file
        if not blocks and not refusal and not lock.still_mine():
            return images
        refusal = refusal or _write(path, shape, blocks or [images], lock.still_mine)
    if refusal:
        say('%s cannot be written (%s): the images are decoded anew each time' % (folder, refusal))
    mapped = None if refusal else _opened(path, shape)
    if mapped is not None:
        return mapped
    return _whole(shape, decode()) if blocks else images


def _whole(shape, decoded):
    """One array of what `decode` gave."""
    if isinstance(decoded, np.ndarray):
        return decoded
    images, row = np.empty(shape, np.uint8), 0
    for block in decoded:
        images[row:row + len(block)] = block
        row += len(block)
    return images


def _version(path):
    """Of a cache file, whether it is damaged or not; VERSION if there is none."""
    with contextlib.suppress(OSError), open(path, 'rb') as stream:
        stream.seek(max(0, os.path.getsize(path) - _TRAILER.size))
        content = stream.read()
        if content.startswith(_MARK) and len(content) == _TRAILER.size:
            return _TRAILER.unpack(content)[1]
    return VERSION


def _opened(path, shape):
    """The array in a cache file; None if there is none or it is damaged."""
    try:
        images = np.load(path, mmap_mode='r', allow_pickle=False)
        with open(path, 'rb') as stream:
            stream.seek(-4, os.SEEK_END)
            check = struct.unpack('<I', stream.read())[0]
        good = images.dtype == np.uint8 and images.shape == tuple(shape) and zlib.crc32(images) == check
    except Exception:      # whatever is wrong with the file, it is made anew
        return None
    return images if good else None


@contextlib.contextmanager
def _lock(path, say):
    """Holds the lock of a cache file: (Lock, None), or (None, the reason) if that is impossible."""
    lock = Lock(path + '.lock')
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lock.acquire(LOCK_SECONDS, lambda holder, seconds: say('%s decodes the same images; waiting for it'
                                                               % holder))
    except Held as holder:
        yield None, '%s has held its lock for %d s' % (holder, LOCK_SECONDS)
        return
    except OSError as error:
        yield None, error.strerror
        return
    try:
        with lock:
            yield lock, None
    except Exception:      # damaged images leave nothing behind
        for remove, what in ((os.remove, path + '.lock'), (os.rmdir, os.path.dirname(path))):
            with contextlib.suppress(OSError):
                remove(what)
        raise


def _write(path, shape, blocks, still_mine):
    """Writes a cache file, version and checksum of the pixels behind them; returns why not, if that fails."""
    # the same for all: who writes holds the lock, and takes what a killed one left
    temporary = path + '.tmp'
    checksum = 0
    try:
        with open(temporary, 'wb') as stream:
            np.lib.format.write_array_header_1_0(stream, {'descr': '|u1', 'fortran_order': False,
                                                          'shape': tuple(shape)})
            for block in blocks:
                block = np.ascontiguousarray(block)
                checksum = zlib.crc32(block, checksum)
                stream.write(block.data)
            stream.write(_TRAILER.pack(_MARK, VERSION, checksum))
            stream.flush()
            os.fsync(stream.fileno())
        if still_mine():
            os.replace(temporary, path)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
