"""Fetches a data set's original files to where its reader looks for them, checked against the published
checksums.

`python3 -m classification.download NAME`, or `main.py --download`; nothing else in this project downloads
anything. Everything is prepared in DATA_DIR/downloads/; only whole, checked files are moved to where a reader
would take them.
"""
import argparse
import contextlib
import os
import re
import shutil
from typing import NamedTuple, Optional, Tuple

from classification.data import http_download, readers, unpack
from classification.data.source import Incomplete
from utils.locks import DAY, Held, Lock
from utils.paths import path_argument
from utils.utils import UserError

# environment variable: base URLs that are tried first, separated by blanks or commas
MIRRORS = 'LASEM_MIRROR'
ATTEMPTS = 5                   # at one URL, as long as each gets further than the one before it
UNFINISHED = '.part'           # ending of a file that has not come whole
NEW = 'new'                    # folder of what is to be moved to the reader's place
MEGABYTE = 1000000


class Remote(NamedTuple):
    """One file of a data set, as its authors publish it."""
    path: str                  # below a base URL of LASEM_MIRROR
    checksum: Optional[str]    # 'md5:...'; None: not known
    urls: Tuple[str, ...]      # of the file itself, the first is tried first; none: only a person can get it
    megabytes: int             # more than this is not the file
    # megabytes, a bound for all that an archive holds; None: it is read as it is
    unpacked: Optional[int] = None


def _idx(folder, megabytes, bases, checksums):
    """The four files of an IDX data set, in the order of readers.IdxFiles.NAMES."""
    return tuple(Remote('%s/%s.gz' % (folder, name), 'md5:' + checksum,
                        tuple('%s%s.gz' % (base, name) for base in bases), megabytes)
                 for name, checksum in zip(readers.IdxFiles.NAMES, checksums))


OFFICEHOME = (Remote('OfficeHomeDataset_10072016.zip', None, (), 2000, 4000),)
# By name of the source.
REMOTES = {
    'cifar10': (Remote('cifar-10-python.tar.gz', 'md5:c58f30108f718f92721af3b95e74349a',
                       ('https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',), 200, 250),),
    'cifar100': (Remote('cifar-100-python.tar.gz', 'md5:eb9058c3a382ffc7106e4002c42a8d85',
                        ('https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz',), 200, 250),),
    'stl10': (Remote('stl10_binary.tar.gz', 'md5:91f7769df0f17e558f3565bffb0c7dfb',
                     ('http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz',
                      'https://cs.stanford.edu/~acoates/stl10/stl10_binary.tar.gz'), 3000, 3500),),
    'officehome': OFFICEHOME, 'officehome-product': OFFICEHOME,
    'mnist': _idx('MNIST_data', 15, ('https://ossci-datasets.s3.amazonaws.com/mnist/',
                                     'https://storage.googleapis.com/cvdf-datasets/mnist/',
                                     'http://yann.lecun.com/exdb/mnist/'), (
        'f68b3c2dcbeaaa9fbdd348bbdeb94873', 'd53e105ee54ea40749a09fcbcd1e9432',
        '9fb629c4189551a2d022fa330f9573f3', 'ec29112dd5afa0611ce80d1b7f02629c')),
    'fashion': _idx('FASHION_data', 40, (
        'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/',
        'https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/'), (
        '8d4fb7e6c68d591d4c3dfef9ec88bf0d', '25c81989df183df01b3e8a0aad5dffbe',
        'bef4ecab320f06d8554ea6380940ec79', 'bb300cfdad3c16e7a12a480ee83cd310')),
}


def fetch(source, data_dir, say, given=(), bar=True, dry=False):
    """Sees to it that a data set's raw files are where its reader looks for them.

    An interrupted download is resumed by the next call, from any of its URLs.

    Args:
        source: readers.Source.
        data_dir: folder of the data sets.
        say: function of one line for the user.
        given: paths of files that were downloaded by hand; with them the network is not used.
        bar: show a progress bar if stderr is a terminal.
        dry: only say what would be done; nothing is written, and the network is not used.
    Returns:
        Whether the files are there.
    Raises:
        UserError: the data set must be fetched by hand; no URL gives the right file; a given file is not the
            right one; a file cannot be written.
    """
    if _there(source, data_dir):
        say('%s is there already, nothing to download' % source.title)
        return True
    given, target = _recognised(source, given), source.folders(data_dir)[0]
    if dry:
        for remote in REMOTES[source.name]:
            say('would take %s from %s' % (os.path.basename(remote.path),
                                           given.get(remote.path) or ' or '.join(_urls(remote))))
        say('and put the files of %s into %s; a dry run after that tells the rest' % (source.title, target))
        return False
    try:
        with _working_folder(source, target, say) as (folder, lock):
            if not _there(source, data_dir):       # another process may have fetched it meanwhile
                ready = _prepared(source, folder, given, say, bar)
                lock.check('the download of %s' % source.title)
                _place(ready, target)
                if not _there(source, data_dir):
                    raise UserError(
                        '%s: %s held a part of it before, which was kept; move it away and try again'
                        % (source.title, target))
                say('%s is in %s' % (source.title, target))
    except BrokenPipeError:                        # nobody reads what is said
        raise
    except OSError as error:
        raise UserError('%s: %s cannot be written: %s' % (source.title, error.filename or data_dir,
                                                          error.strerror or error)) from error
    return True


def _there(source, data_dir):
    try:
        source.files(data_dir)
    except Incomplete:
        return False
    return True


def _prepared(source, folder, given, say, bar):
    """The folder that is to be; it lies in the working folder."""
    remotes = REMOTES[source.name]
    paths = [given.get(remote.path) or _download(source, remote,
                                                 os.path.join(folder, os.path.basename(remote.path)),
                                                 say, bar) for remote in remotes]
    new = os.path.join(folder, NEW)
    ready = source.folders(new)[0]
    shutil.rmtree(new, ignore_errors=True)
    try:
        for remote, path in zip(remotes, paths):
            if remote.unpacked is None:
                with open(path, 'rb') as stream:
                    unpack.write(stream, os.path.join(ready, os.path.basename(remote.path)))
            else:
                say('unpacking %s' % path)
                unpack.unpack(path, remote.path.endswith('.zip'), ready, source.place_of, remote.unpacked
                              * MEGABYTE,
                                len(source.names) or None)
        if not _there(source, new):
            raise unpack.BadArchive('files of %s are not in it' % source.title)
    except unpack.BadArchive as error:
        raise UserError('%s: %s; nothing was kept of it; get %s anew from %s'
                        % (path, error, source.archive, source.home)) from error
    return ready


def _place(ready, target):
    """Moves files, or whole folders, to where a reader looks; into a folder that is there only what it lacks.

    A reader takes them when all are there, so those that were missing come last.
    """
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(ready), key=lambda name: (not os.path.exists(os.path.join(target, name)),
                                                            name)):
        old, new = os.path.join(target, name), os.path.join(ready, name)
        if not os.path.lexists(old) or not os.path.isdir(old) and not os.path.isdir(new):
            os.replace(new, old)
        elif os.path.isdir(old) and os.path.isdir(new) and (_folders_in(new) or not _shown(old)):
            _place(new, old)


def _folders_in(folder):
    return any(os.path.isdir(os.path.join(folder, name)) for name in os.listdir(folder))


def _shown(folder):
    return [name for name in os.listdir(folder) if not name.startswith('.')]


@contextlib.contextmanager
def _working_folder(source, target, say):
    """A folder that no other process uses, and the lock on it.

    The folder is removed when all went well, otherwise kept for the next attempt.
    """
    folder = os.path.join(os.path.dirname(target), 'downloads', os.path.basename(target))
    os.makedirs(folder, exist_ok=True)
    try:
        lock = Lock(folder + '.lock').acquire(
            DAY, lambda holder, seconds: say('%s is fetching %s; waiting for it' % (holder, source.title)))
    except Held as holder:
        raise UserError('%s has been fetching %s for a day; stop that process, or try again later'
                        % (holder, source.title)) from holder
    try:
        os.makedirs(folder, exist_ok=True)
        yield folder, lock
        shutil.rmtree(folder)
    finally:
        shutil.rmtree(os.path.join(folder, NEW), ignore_errors=True)       # it may hold a part only
        lock.release()


# ---- files that are there ----

def _recognised(source, paths):
    """dict path of a Remote -> the given file that it is, by checksum; the files' own names do not count.

    Raises:
        UserError: a file is none of them, one of them was not given, or nothing was and only a person can get
            it.
    """
    remotes, given = REMOTES[source.name], {}
    for path in paths:
        checksum = _checksum(path)
        fitting = [remote.path for remote in remotes if remote.checksum in (None, checksum)]
        if not fitting:
            raise UserError(
                '--archive %s: its checksum is %s, expected %s (%s); it is damaged or another file' % (
                path, checksum, ' or '.join(remote.checksum for remote in remotes), source.archive))
        given[fitting[0]] = path
    absent = [remote for remote in remotes if remote.path not in given]
    if given and absent:
        raise UserError('--archive: %s also needs %s' % (
            source.title, ', '.join(os.path.basename(remote.path) for remote in absent)))
    if absent and not absent[0].urls:
        raise UserError(
            '%s cannot be fetched by a program; get %s in a browser from %s and give it with --archive FILE'
            % (source.title, source.archive, source.home))
    return given


def _checksum(path):
    """'md5:...' of a given file."""
    if not os.path.isfile(path):
        raise UserError('--archive %s: there is no such file' % path)
    try:
        return 'md5:' + _pooch().file_hash(path, 'md5')
    except OSError as error:
        raise UserError('--archive %s cannot be read: %s' % (path, error.strerror)) from error


# ---- the network ----

def _pooch():
    """Imported when something is downloaded or checked:
    it takes as long as all the rest of the command line."""
    try:
        import pooch
    except ImportError as error:
        raise UserError('downloads need pooch, which cannot be imported (%s); run: python3 -m pip install -r '
                        'requirements.txt' % error) from error
    pooch.get_logger().setLevel('WARNING')
    return pooch


def _urls(remote):
    """Where a file may be had, one's own mirrors first."""
    bases = [_base(base) for base in re.split(r'[\s,]+', os.environ.get(MIRRORS, '')) if base]
    return tuple('%s/%s' % (base.rstrip('/'), remote.path) for base in bases) + remote.urls


def _base(address):
    """A base URL of LASEM_MIRROR; that of a folder of this machine as http_download.py takes it: a path
    without %20 and `~`."""
    if address.startswith(('http://', 'https://')):
        return address
    folder = re.match(r'file:(?://(?:localhost)?(?=[/~])|(?!//))([/~].*)', address)
    if not folder:
        raise UserError('%s: %s is no base URL; it must begin with http://, https:// or file:///'
                        % (MIRRORS, address.rpartition('@')[-1]))
    path = re.sub(b'%([0-9A-Fa-f]{2})', lambda sign: bytes([int(sign.group(1), 16)]),
                  os.fsencode(folder.group(1)))
    try:
        return http_download.FOLDER + path_argument(os.fsdecode(path))
    except argparse.ArgumentTypeError as error:
        raise UserError('%s: %s' % (MIRRORS, error)) from error


def _download(source, remote, path, say, bar):
    """`path`, after the file was fetched there from the first URL that has it."""
    pooch, part, failures = _pooch(), path + UNFINISHED, []
    folder, name = os.path.split(path)

    def bring(url, output, _):       # called by pooch unless the file is there; it then compares the checksum
        say('fetching %s%s' % (url, ' (%d bytes of it are here)' % before if before else ''))
        http_download.receive(url, part, remote.megabytes * MEGABYTE, bar)
        os.replace(part, output)

    for url in _urls(remote):
        for _ in range(ATTEMPTS):
            before = http_download.size_of(part)
            try:
                return pooch.retrieve(url, remote.checksum, name, folder, downloader=bring)
            except http_download.Failure as error:
                failure, again = str(error), http_download.size_of(part) > before
            except ValueError:      # the checksum; what an earlier attempt had left may be to blame
                failure, again = 'not the right file, its checksum differs', before > 0
            if not again:
                break
        failures.append('%s (%s)' % (url, failure))
        say('%s: %s' % (url, failure))
    raise UserError(
        '%s: %s could not be fetched from %s; try again later (it goes on where it stopped), set %s to the '
        'base URL of a mirror, or get it in a browser (%s) and give it with --archive'
        % (source.title, name, ', '.join(failures), MIRRORS, source.home))
