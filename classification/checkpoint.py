"""Checkpoints: everything a trial needs to go on, in one checked file."""
import hashlib
import io
import json
import os

import numpy as np

from utils.utils import write_atomically

_MAGIC = b'lasem-checkpoint-1\n'


def save(path, meta, groups):
    """Writes a checkpoint atomically and keeps the one before it as PATH.previous.

    Args:
        meta: JSON-able.
        groups: dict group -> dict name -> array.
    """
    buffer = io.BytesIO()
    arrays = {'%s:%s' % (group, name): value for group, values in groups.items() for name, value in values.items()}
    assert all(np.asarray(value).dtype != object for value in arrays.values())
    np.savez(buffer, **{'meta': np.frombuffer(json.dumps(meta).encode('utf-8'), dtype=np.uint8)},
             **{'a%d' % index: arrays[name] for index, name in enumerate(sorted(arrays))},
             **{'names': np.frombuffer(json.dumps(sorted(arrays)).encode('utf-8'), dtype=np.uint8)})
    payload = buffer.getvalue()
    if os.path.exists(path):
        os.replace(path, path + '.previous')
    write_atomically(path, _MAGIC + hashlib.sha256(payload).hexdigest().encode('ascii') + b'\n' + payload)


def load(path, say):
    """The newest good checkpoint at PATH: (meta, groups), or None if there is none.

    A damaged one is passed over with one line (`say`), for the one before it.
    """
    for candidate in (path, path + '.previous'):
        if not os.path.exists(candidate):
            continue
        with open(candidate, 'rb') as stream:
            content = stream.read()
        payload = content[len(_MAGIC) + 65:]
        if content[:len(_MAGIC)] != _MAGIC or \
                content[len(_MAGIC):len(_MAGIC) + 64] != hashlib.sha256(payload).hexdigest().encode('ascii'):
            say('checkpoint %s is damaged; the one before it is used' % candidate)
            continue
        return _unpack(payload)
    return None


def _unpack(payload):
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        meta = json.loads(arrays['meta'].tobytes().decode('utf-8'))
        names = json.loads(arrays['names'].tobytes().decode('utf-8'))
        groups = {}
        for index, name in enumerate(names):
            group, _, key = name.partition(':')
            groups.setdefault(group, {})[key] = arrays['a%d' % index]
    return meta, groups


def remove(path):
    """Deletes a checkpoint that is no longer needed."""
    for candidate in (path, path + '.previous'):
        if os.path.exists(candidate):
            os.remove(candidate)
