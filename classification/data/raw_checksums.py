"""Checksums of raw files. A known one is used again only if nothing that the system tells of it has changed.

They are kept for each host below DATA_DIR/cache, and handed by a run to the trials on its host.
"""
import contextlib
import hashlib
import json
import os
import platform
import re
import stat
import time

from utils.utils import UserError, read_dict, sha256_of, write_atomically

VERSION = 2                      # of the files of checksums; those without one trusted size and time
# a file that changed less than this before its hashing ended may change unseen
SETTLED_NS = 2 * 10 ** 9
TRIES = 3                        # to read a file that nobody changes meanwhile
HANDED = 'checksums.json'        # in a run folder

KNOWN = {}       # to this process: (path, stamp) -> (SHA-256, whether it may be handed on)
_new = {}        # file of checksums -> its new entries, not written yet


def stamp_of(state):
    """What changes with a file: device, inode, size, times of change in nanoseconds."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


class OneVersion(object):
    """What one reading of a data set has found:
    its files, and the stamp of each that was opened or hashed."""

    def __init__(self):
        self.found, self.stamps = {}, {}

    def check(self, path, stamp):
        """A UserError if the file was another one before."""
        if self.stamps.setdefault(os.path.abspath(path), stamp) != stamp:
            raise changing(path)


def changing(path):
    """The error for a file that changes while it is read."""
    return UserError('%s was changed while it was being read; run the same command again when nothing writes '
                     'to it any more' % path)


def checksum(data_dir, name, files, version=None):
    """SHA-256 over the content of files, each read only if no checksum of it as it is now is known.

    It is remembered on disk by `remember`, once the files have been found to be good.

    Args:
        data_dir: folder of the data sets.
        name: of the data set's source.
        files: dict role -> path; the role, not the path, counts.
        version: OneVersion that the files must belong to.
    Raises:
        UserError: a file cannot be read, or changes meanwhile.
    """
    memory = _memory(data_dir, name)
    stored, new = _stored(memory), {}
    total = hashlib.sha256()
    for role, path in files.items():
        place = os.path.relpath(path, data_dir)
        try:
            stamp, digest, settled = _digest(path, stored.get(place))
            entry = list(stamp) + [digest]
            if settled and stored.get(place) != entry and not _read_only(path):
                new[place] = entry
        except OSError as error:
            raise UserError('%s cannot be read: %s' % (path, error.strerror)) from error
        if version is not None:
            version.check(path, stamp)
        total.update(os.fsencode('%s %s\n' % (role, digest)))      # names are bytes, whatever the language
    _new.setdefault(memory, {}).update(new)
    return total.hexdigest()


def _digest(path, stored):
    """(stamp, SHA-256, whether it may be handed on) of a file; `stored`: its entry on disk, or None."""
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):      # a named pipe would be waited for for ever
        raise UserError('%s cannot be read: it is no regular file' % path)
    stamp = stamp_of(state)
    place = os.path.abspath(path)
    if not KNOWN.get((place, stamp), ('', False))[1]:      # unsettled: it may have been changed since, unseen
        if stored is not None and tuple(stored[:-1]) == stamp and not _read_only(path):
            KNOWN[place, stamp] = stored[-1], True
        else:
            stamp, digest, settled = _hashed(path)
            KNOWN[place, stamp] = digest, settled
    return (stamp,) + KNOWN[place, stamp]


def _hashed(path):
    """The same, of a file that is read."""
    for _ in range(TRIES):
        with open(path, 'rb') as stream:
            stamp, digest = stamp_of(os.fstat(stream.fileno())), sha256_of(stream)
            ended = time.time() * 10 ** 9
            if stamp == stamp_of(os.fstat(stream.fileno())) == stamp_of(os.stat(path)):
                return stamp, digest, max(stamp[3:]) < ended - SETTLED_NS
    raise changing(path)


def _read_only(path):
    """Whether the file system is mounted so: it is written from elsewhere, by rules of its own."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


# ---- on disk ----

def remember(data_dir, name):
    """Writes the checksums that were computed since, for other processes, if that is possible."""
    memory = _memory(data_dir, name)
    new = _new.pop(memory, {})
    if new and not _is_newer(memory):
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(memory), exist_ok=True)
            write_atomically(memory, _text(dict(_stored(memory), **new)))
            os.remove(os.path.join(data_dir, 'cache', 'checksums-%s.json' % name))      # of before


def hand_over(run_folder):
    """Leaves what this process knows to the trials of a run, if that is possible."""
    known = {place: list(stamp) + [digest] for (place, stamp), (digest, settled) in KNOWN.items() if settled}
    with contextlib.suppress(OSError):
        write_atomically(os.path.join(run_folder, HANDED), _text(known), alone=True)


def take(run_folder):
    """Takes over what `hand_over` left, if it was on this host."""
    for place, entry in _stored(os.path.join(run_folder, HANDED)).items():
        KNOWN.setdefault((place, tuple(entry[:-1])), (entry[-1], True))


def _memory(data_dir, name):
    host = re.sub('[^A-Za-z0-9.-]', '_', platform.node())
    return os.path.join(data_dir, 'cache', 'checksums-%s@%s.json' % (name, host))


def _text(entries):
    return json.dumps({'version': VERSION, 'host': platform.node(), 'files': entries})


def _is_newer(path):
    """Whether a file of checksums is of a newer version, whose code still wants it."""
    version = read_dict(path).get('version')
    return isinstance(version, int) and version > VERSION


def _stored(path):
    """dict path of a raw file -> its stamp and checksum, as a list; empty if of another version or host."""
    content = read_dict(path)
    files = content.get('files')
    ours = (content.get('version'), content.get('host')) == (VERSION, platform.node())
    if not ours or not isinstance(files, dict):
        return {}
    return {place: entry for place, entry in files.items()
            if isinstance(entry, list) and len(entry) == 6 and isinstance(entry[-1], str)}
