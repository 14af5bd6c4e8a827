"""Checkpoints: everything a trial needs to go on, in one checked file."""
import contextlib
import hashlib
import io
import json
import os
import re

import numpy as np

from utils.utils import check_version

VERSION = 2       # raised where older code would misread a checkpoint, not for what is added to one
_MAGIC, _MAGIC_OF_ANY = b'lasem-checkpoint-%d\n', re.compile(br'lasem-checkpoint-(\d+)\n')
_BEFORE, _UNFINISHED, _DAMAGED = '.previous', '.new', '.damaged'      # what else stands beside a checkpoint


def path_in(folder):
    """Path of the checkpoint of a trial, in its folder."""
    return os.path.join(folder, 'checkpoint')


def exists(path):
    """Whether there is one, be it the one before: a save that was killed leaves nothing else."""
    return os.path.exists(path) or os.path.exists(path + _BEFORE)


def save(path, meta, groups):
    """Writes a checkpoint, whole or not at all, and keeps the one before it as PATH.previous.

    What has the same name and value in several groups (what a task does not train) is written once.

    Args:
        meta: JSON-able.
        groups: dict group -> dict name -> array.
    """
    buffer = io.BytesIO()
    distinct, names = [], {}      # names: 'group:name' -> place in distinct
    for group, values in sorted(groups.items()):
        for name, value in values.items():
            value = np.asarray(value)
            assert value.dtype != object
            same = (names.get('%s:%s' % (other, name)) for other in groups)
            index = next((index for index in same if index is not None and _equal(distinct[index], value)),
                         len(distinct))
            if index == len(distinct):
                distinct.append(value)
            names['%s:%s' % (group, name)] = index
    np.savez(buffer, **{'meta': np.frombuffer(json.dumps(meta).encode('utf-8'), dtype=np.uint8)},
             **{'a%d' % index: value for index, value in enumerate(distinct)},
             **{'names': np.frombuffer(json.dumps(names).encode('utf-8'), dtype=np.uint8)})
    payload = buffer.getbuffer()
    try:
        # the same name: killed saves leave one file at most
        with open(path + _UNFINISHED, 'wb') as stream:
            stream.write(_MAGIC % VERSION + _digest(payload) + b'\n')
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:        # a full disk: what was written only fills it
        with contextlib.suppress(OSError):
            os.remove(path + _UNFINISHED)
        raise OSError(error.errno, error.strerror, path) from error
    if os.path.exists(path):
        os.replace(path, path + _BEFORE)
    os.replace(path + _UNFINISHED, path)


def _equal(one, other):
    """Whether two arrays are the same bit for bit."""
    if one is other:
        return True
    return (one.dtype, one.shape) == (other.dtype, other.shape) and np.array_equal(
        *[np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (one, other)])


def _digest(payload):
    return hashlib.sha256(payload).hexdigest().encode('ascii')


def load(path, say):
    """The newest good checkpoint at PATH: (meta, groups), or None if there is none.

    A damaged one is put aside with one line (`say`), so that the next save does not keep it in place of a
    good one.

    Raises:
        UserError: it is of a newer version.
    """
    found = [candidate for candidate in (path, path + _BEFORE) if os.path.exists(candidate)]
    for candidate in found:
        with open(candidate, 'rb') as stream:
            content = stream.read()
        magic = _MAGIC_OF_ANY.match(content)
        if magic:
            check_version(candidate, int(magic.group(1)), VERSION)
            header = magic.end() + 65
            payload = memoryview(content)[header:]
            if content[magic.end():header] == _digest(payload) + b'\n':
                return _unpack(payload)
        os.replace(candidate, path + _DAMAGED)
        say('checkpoint %s is damaged; %s' % (candidate, 'the trial starts anew' if candidate == found[-1]
                                              else 'the one before it is used'))
    return None


def _unpack(payload):
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        meta = json.loads(arrays['meta'].tobytes().decode('utf-8'))
        names = json.loads(arrays['names'].tobytes().decode('utf-8'))
        if isinstance(names, list):      # version 1 has an array for each name
            names = {name: index for index, name in enumerate(names)}
        distinct, groups = {}, {}
        for name in sorted(names):
            group, _, key = name.partition(':')
            index = names[name]
            if index not in distinct:
                distinct[index] = arrays['a%d' % index]
            groups.setdefault(group, {})[key] = distinct[index]
    return meta, groups


def remove(path, but_the_last=False):
    """Deletes a checkpoint that is no longer needed, and what stands beside it, or only that."""
    for candidate in (() if but_the_last else (path,)) + tuple(
            path + ending for ending in (_BEFORE, _UNFINISHED, _DAMAGED)):
        if os.path.exists(candidate):
            os.remove(candidate)
