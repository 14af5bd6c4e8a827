"""A data set on disk: in which folder its raw files are, what is missing there, what belongs together."""
import contextlib
import difflib
import gzip
import hashlib
import os
import zlib
from collections import OrderedDict

import numpy as np

from classification.data import data_cache, raw_checksums
from utils.utils import UserError, printable_line

GUIDE = 'Data/README.md'
# in a .gz, whose few bytes can mean more than memory holds; MNIST: 28 * 28 * 60,000
MAX_BYTES = 2 ** 27
SHOWN = 4                    # names in a message
ALIKE = 0.6                  # of difflib: a file name that may be another spelling of the expected one

_contents = {}               # (path, stamp) -> SHA-256 of what is in a file, decompressed


class Incomplete(UserError):
    """Files are not there; a download would bring them."""


class Source(object):
    """A data set on disk. Its images are one array; pools ('train', 'test', ...) follow each other in it.

    Args:
        name: of its cache.
        title: for people.
        image_shape: height, width, channels.
        archive, home: what to download, and from where.
        folders: data_dir -> list of the folders that are looked in for the raw files.
        names, endings: of the raw files; each name with any of the endings.
    """
    to_get, to_renew = 'add --download', 'delete that file and add --download'       # beside doing it by hand
    fetched = True           # whether the raw files can come from somewhere else, and not from the user alone
    grows = False            # whether tasks may be added to it, whose checksums `task_checksums` tells apart
    # of each domain, where class numbers run through the classes of several; None: there is one
    classes_of_domain = None
    largest = 255            # value of the brightest pixel; 255 in a file of an image means it
    # function (bytes of an image file, shape) -> uint8 image as those of this data set are prepared; of a
    # damaged file None. None: as own images, by photographs.picture
    picture = None
    version = None           # a raw_checksums.OneVersion while everything read must belong together

    def __init__(self, name, title, image_shape, archive, home, folders, names=(), endings=('',)):
        self.name, self.title, self.image_shape = name, title, image_shape
        self.archive, self.home = archive, home
        self.folders, self.names, self.endings = folders, tuple(names), endings

    def files(self, data_dir):
        """OrderedDict role -> path of the raw files; a UserError names those that are missing."""
        return self._found(data_dir)[1]

    def folder(self, data_dir):
        """Real path of the folder that the raw files are read from, as text."""
        return printable_line(os.path.realpath(self._found(data_dir)[0]))

    def _found(self, data_dir):
        if self.version is None:
            return self.find(data_dir)
        if data_dir not in self.version.found:
            self.version.found[data_dir] = self.find(data_dir)
        return self.version.found[data_dir]

    @contextlib.contextmanager
    def one_version(self):
        """Labels, checksum and images that are read inside belong together;
        a UserError names what changes."""
        outer, self.version = self.version, self.version or raw_checksums.OneVersion()
        try:
            yield
        finally:
            self.version = outer

    def place_of(self, parts):
        """Where a file of the archive belongs, below the first of `folders`, or None;
        `parts`: of its path."""
        inside = os.path.basename(self.folders('')[0])
        return parts[-1] if parts[:-1] == [inside] and parts[-1] in self.names else None

    def labels(self, data_dir):
        """OrderedDict pool -> class number of each of its images; reads no more than that needs."""
        raise NotImplementedError

    def decode(self, data_dir, say):
        """uint8 [images of all pools, height, width, channels]."""
        raise NotImplementedError

    def checksum(self, data_dir):
        """SHA-256 of the raw data."""
        return raw_checksums.checksum(data_dir, self.name, self.files(data_dir), self.version)

    def named_tasks(self):
        """Name and classes of each task, where they are the user's own and a longer experiment keeps their
        order; else None."""
        return None

    def task_checksums(self, data_dir):
        """List of the SHA-256 of each task, where the data set knows them apart; else None."""
        return None

    def recipe(self):
        """What else determines the decoded images, as text."""
        return 'uint8'

    def images(self, data_dir, say):
        """What `decode` gives, from the cache if possible."""
        with self.one_version():
            count = sum(len(pool) for pool in self.labels(data_dir).values())
            images = data_cache.cached(data_dir, self.name,
                                       '%s %s' % (self.checksum(data_dir), self.recipe()),
                                       (count,) + self.image_shape, lambda: self.decode(data_dir, say), say)
        raw_checksums.remember(data_dir, self.name)
        return images

    def look_at(self, images, rows_of_splits, say):
        """Says what the user should know of the images; `rows_of_splits`: of training, validation, test."""

    def described(self):
        """Lines of --dry_run about tasks and images, beside their numbers."""
        return []

    def name_of(self, number):
        """Name or number of a class."""
        return number

    # ---- which folder, which files ----

    def spellings(self, name):
        """Paths below the folder that a raw file may have, without the endings."""
        return (name,)

    def find(self, data_dir):
        """(folder, OrderedDict role -> path) of the first folder that holds any of the raw files.

        Raises:
            Incomplete: it does not hold all of them, or there is none.
            UserError: copies of one file differ.
        """
        folders = self.folders(data_dir)
        for folder in folders:
            copies = OrderedDict((name, self._copies(folder, name)) for name in self.names)
            absent = [name for name in self.names if not copies[name]]
            if not absent:
                return folder, OrderedDict((name, self._one_of(paths)) for name, paths in copies.items())
            present = [os.path.relpath(path, folder).split(os.sep)[0]
                       for paths in copies.values() for path in paths]
            alike = _others(folder, absent, [], ALIKE)
            if present or any(os.path.isfile(os.path.join(folder, name)) for name in alike):
                raise self.incomplete(folder, absent, present)
        raise self.missing([os.path.join(folders[0], self.names[0])], folders[0])

    def _copies(self, folder, name):
        """The files in a folder that may be this one."""
        paths = [os.path.join(folder, spelling + ending)
                 for spelling in self.spellings(name) for ending in self.endings]
        return [path for path in paths if os.path.isfile(path)]

    def _one_of(self, paths):
        """The first of several copies, which must have the same content."""
        for other in paths[1:]:
            if self._content(other) != self._content(paths[0]):
                raise UserError('%s: %s and %s differ in content; move the wrong one away'
                                % (self.title, paths[0], other))
        return paths[0]

    def _content(self, path):
        """SHA-256 of what is in a file."""
        key = os.path.abspath(path), raw_checksums.stamp_of(os.stat(path))
        if key not in _contents:
            _contents[key] = hashlib.sha256(self.read(path)).hexdigest()
        return _contents[key]

    # ---- errors ----

    def missing(self, paths, where, instead=''):
        """The error for files that are not there."""
        names = [paths[0]] + [os.path.basename(path) for path in paths[1:]]
        return Incomplete(
            '%s: %s %s missing%s; get %s from %s and put its files into %s (%s tells how), or %s'
            % (self.title, _listed(names), 'is' if len(names) == 1 else 'are', instead,
                             self.archive, self.home, where, GUIDE, self.to_get))

    def incomplete(self, folder, absent, present):
        """The error for a folder that holds a part of the files.

        Args:
            absent: names of the files that are not there.
            present: names of those that are there, as they are there.
        """
        found = _listed(_others(folder, absent, present)) or (
            'only ' + _listed(present) if present else 'nothing')
        paths = [os.path.join(folder, name) for name in absent]
        return self.missing(paths, folder, '; found instead: ' + found)

    def broken(self, path, what):
        """The error for a file that is not what it should be; `what` says what came and what was expected."""
        return UserError('%s: %s; get %s anew from %s (%s tells how), or %s' % (
            path, what, self.archive, self.home, GUIDE, self.to_renew))

    # ---- content ----

    def read(self, path):
        """A file's bytes, decompressed if its name ends in .gz."""
        try:
            with open(path, 'rb') as stream:
                self._check(path, stream)
                if path.endswith('.gz'):
                    with gzip.GzipFile(fileobj=stream) as unpacked:
                        content = unpacked.read(MAX_BYTES + 1)
                else:
                    content = stream.read()
                self._check(path, stream)
        except (EOFError, zlib.error, OSError) as error:
            raise self.broken(path, 'cannot be read, or is damaged (%s)' % error) from error
        if path.endswith('.gz') and len(content) > MAX_BYTES:
            raise self.broken(path, 'holds more than %d bytes, and no file of these data does' % MAX_BYTES)
        return content

    def _check(self, path, stream):
        if self.version is not None:
            self.version.check(path, raw_checksums.stamp_of(os.fstat(stream.fileno())))

    def check_classes(self, path, labels, least, most):
        """Labels as int32; an error if one of them is no class."""
        labels = np.asarray(labels)
        wrong = np.flatnonzero((labels < least) | (labels > most))
        if len(wrong):
            raise self.broken(path, 'image %d has the label %s, expected %d to %d'
                              % (wrong[0], labels[wrong[0]], least, most))
        return (labels - least).astype(np.int32)


def _others(folder, absent, present, alike=0.):
    """What else is in a folder, the most similar to an absent file first; `alike`: how similar, from 0 to
    1."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    others = [name for name in names if name not in present and not name.startswith('.')]
    found = [name for one in absent for name in difflib.get_close_matches(one, others, SHOWN + 1, alike)]
    return [name + ('' if os.path.isfile(os.path.join(folder, name)) else ' (no file)')
            for name in OrderedDict.fromkeys(found)]


def _listed(names):
    """'a, b and 3 more'."""
    return ', '.join(names[:SHOWN]) + (' and %d more' % (len(names) - SHOWN) if len(names) > SHOWN else '')


def below(*folders):
    """data_dir -> list of these folders in it."""
    return lambda data_dir: [os.path.join(data_dir, *folder.split('/')) for folder in folders]
