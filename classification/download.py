"""Fetches a data set's original files to where its reader looks for them, checked against the published checksums.

`python3 -m classification.download NAME`, or `main.py --download`; nothing else in this project uses the network.
Everything is prepared in DATA_DIR/downloads/; only whole, checked files are moved to where a reader would take them.
"""
import contextlib
import os
import re
import shutil
import sys
import tarfile
import zlib
from collections import OrderedDict
from typing import NamedTuple, Optional, Tuple

from filelock import FileLock, Timeout

from classification import readers
from classification.flags import Parser
from classification.gen_data import DATASETS
from utils.utils import EXIT_USER_ERROR, UserError

MIRRORS = 'LASEM_MIRROR'       # environment variable: base URLs that are tried first, separated by blanks or commas
ATTEMPTS = 5                   # at one URL, as long as each gets further than the one before it
TIMEOUT = (10, 60)             # seconds until a connection stands, and between two pieces of a file
PIECE = 1 << 16                # bytes
UNFINISHED = '.part'           # ending of a file that has not come whole
MEGABYTE = 1000000
MOST_MEMBERS = 1000            # of an archive


class Remote(NamedTuple):
    """One file of a data set, as its authors publish it."""
    path: str                  # below a base URL of LASEM_MIRROR
    checksum: str              # 'md5:...' or another algorithm of hashlib
    urls: Tuple[str, ...]      # of the file itself, the first is tried first
    megabytes: int             # more than this is not the file
    unpacked: Optional[int] = None      # megabytes, a bound for all that a .tar.gz holds; None: it is read as it is


def _idx(folder, megabytes, bases, checksums):
    """The four files of an IDX data set, in the order of readers.IdxFiles.NAMES."""
    return tuple(Remote('%s/%s.gz' % (folder, name), 'md5:' + checksum, tuple('%s%s.gz' % (base, name) for base in bases),
                        megabytes) for name, checksum in zip(readers.IdxFiles.NAMES, checksums))


# By name of the source. What is not here cannot be fetched by a program.
REMOTES = {
    'cifar10': (Remote('cifar-10-python.tar.gz', 'md5:c58f30108f718f92721af3b95e74349a',
                       ('https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',), 200, 250),),
    'cifar100': (Remote('cifar-100-python.tar.gz', 'md5:eb9058c3a382ffc7106e4002c42a8d85',
                        ('https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz',), 200, 250),),
    'stl10': (Remote('stl10_binary.tar.gz', 'md5:91f7769df0f17e558f3565bffb0c7dfb',
                     ('http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz',
                      'https://cs.stanford.edu/~acoates/stl10/stl10_binary.tar.gz'), 3000, 3500),),
    'mnist': _idx('MNIST_data', 15, ('http://yann.lecun.com/exdb/mnist/',
                                     'https://ossci-datasets.s3.amazonaws.com/mnist/',
                                     'https://storage.googleapis.com/cvdf-datasets/mnist/'), (
        'f68b3c2dcbeaaa9fbdd348bbdeb94873', 'd53e105ee54ea40749a09fcbcd1e9432',
        '9fb629c4189551a2d022fa330f9573f3', 'ec29112dd5afa0611ce80d1b7f02629c')),
    'fashion': _idx('FASHION_data', 40, ('http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/',
                                         'https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/'), (
        '8d4fb7e6c68d591d4c3dfef9ec88bf0d', '25c81989df183df01b3e8a0aad5dffbe',
        'bef4ecab320f06d8554ea6380940ec79', 'bb300cfdad3c16e7a12a480ee83cd310')),
}


def fetch(source, data_dir, say, archives=(), bar=True):
    """Sees to it that a data set's raw files are where its reader looks for them.

    An interrupted download is resumed by the next call, from any of its URLs.

    Args:
        source: readers.Source.
        data_dir: folder of the data sets.
        say: function of one line for the user.
        archives: paths of files that were downloaded by hand; with them the network is not used.
        bar: show a progress bar if stderr is a terminal.
    Raises:
        UserError: the data set must be fetched by hand; no URL gives the right file; an archive is not the right one;
            a file cannot be written.
    """
    if _there(source, data_dir):
        say('%s is there already, nothing to download' % source.title)
        return
    if source.name not in REMOTES:
        raise UserError('%s cannot be fetched by a program; download %s in a browser from %s and unpack it so that %s '
                        'exists, then leave --download and --archive away (%s tells how)'
                        % (source.title, source.archive, source.home, os.path.join(
                            data_dir, os.path.splitext(source.archive)[0], 'Product', 'Alarm_Clock'), readers.GUIDE))
    given = _recognised(source, archives)
    try:
        with _working_folder(source, data_dir, say) as folder:
            if not _there(source, data_dir):       # another process may have fetched it meanwhile
                _fetch(source, data_dir, folder, given, say, bar)
    except OSError as error:
        raise UserError('%s: %s cannot be written: %s' % (source.title, error.filename or data_dir,
                                                          error.strerror or error))


def _there(source, data_dir):
    try:
        source.files(data_dir)
    except UserError:
        return False
    return True


def _fetch(source, data_dir, folder, given, say, bar):
    target, ready = source.folders(data_dir)[0], OrderedDict()
    for remote in REMOTES[source.name]:
        archive = given.get(remote.path) or _download(source, remote, os.path.join(folder, remote.path), say, bar)
        if remote.unpacked is not None:
            say('unpacking %s' % archive)
            ready.update(_unpack(source, remote, archive, os.path.join(folder, 'unpacked'), os.path.basename(target)))
        else:
            name = os.path.basename(remote.path)
            ready[name] = archive
            if remote.path in given:
                ready[name] = os.path.join(folder, name)
                shutil.copyfile(archive, ready[name])
    _place(ready, target)
    say('%s is in %s' % (source.title, target))


def _place(ready, target):
    """Moves files to where a reader looks. It takes them when all are there, so those that were missing come last."""
    os.makedirs(target, exist_ok=True)
    for name in sorted(ready, key=lambda name: not os.path.exists(os.path.join(target, name))):
        os.replace(ready[name], os.path.join(target, name))


@contextlib.contextmanager
def _working_folder(source, data_dir, say):
    """A folder that no other process uses; removed when all went well, otherwise kept for the next attempt."""
    folder = os.path.join(data_dir, 'downloads', source.name)
    os.makedirs(folder, exist_ok=True)
    if not os.access(folder, os.W_OK):      # some versions of filelock would wait for ever
        raise OSError(0, 'no permission to write', folder)
    lock = FileLock(folder + '.lock')
    try:
        lock.acquire(timeout=0.1)
    except Timeout:
        say('another process is fetching %s; waiting for it' % source.title)
        lock.acquire()
    try:
        os.makedirs(folder, exist_ok=True)
        yield folder
        shutil.rmtree(folder)
    finally:
        lock.release()


# ---- an archive that is there ----

def _recognised(source, archives):
    """dict path of a Remote -> the given file that it is, by checksum; the files' own names do not count.

    Raises:
        UserError: a file is none of them, or one of them was not given.
    """
    remotes, given = REMOTES[source.name], {}
    for path in archives:
        if not os.path.isfile(path):
            raise UserError('--archive %s: there is no such file' % path)
        fitting = [remote.path for remote in remotes if _hash(path, remote) == remote.checksum]
        if not fitting:
            raise UserError('--archive %s: its checksum is %s, expected %s (%s); it is damaged or another file' % (
                path, _hash(path, remotes[0]), ' or '.join(remote.checksum for remote in remotes), source.archive))
        given[fitting[0]] = path
    absent = [os.path.basename(remote.path) for remote in remotes if remote.path not in given]
    if given and absent:
        raise UserError('--archive: %s also needs %s' % (source.title, ', '.join(absent)))
    return given


def _hash(path, remote):
    """'md5:...' of a file, by the algorithm of `remote`."""
    algorithm = remote.checksum.split(':')[0]
    try:
        return '%s:%s' % (algorithm, _pooch().file_hash(path, algorithm))
    except OSError as error:
        raise UserError('--archive %s cannot be read: %s' % (path, error.strerror))


# ---- the network ----

def _pooch():
    """Imported when something is downloaded or checked: it takes as long as all the rest of the command line."""
    try:
        import pooch
    except ImportError as error:
        raise UserError('downloads need pooch, which cannot be imported (%s); run: python3 -m pip install -r '
                        'requirements.txt' % error)
    pooch.get_logger().setLevel('WARNING')
    return pooch


def _own_mirrors(remote):
    bases = [base for base in re.split(r'[\s,]+', os.environ.get(MIRRORS, '')) if base]
    for base in bases:
        if not base.startswith(('http://', 'https://')):
            raise UserError('%s: %s is no base URL; it must begin with http:// or https://' % (MIRRORS, base))
    return tuple('%s/%s' % (base.rstrip('/'), remote.path) for base in bases)


def _download(source, remote, path, say, bar):
    """`path`, after the file was fetched there from the first URL that has it."""
    pooch = _pooch()
    import requests
    name, part, failures = os.path.basename(path), path + UNFINISHED, []
    for url in _own_mirrors(remote) + remote.urls:
        say('fetching %s' % url)
        for _ in range(ATTEMPTS):
            before = _size(part)
            try:
                return pooch.retrieve(url, remote.checksum, name, os.path.dirname(path), downloader=_Resuming(
                    part, remote.megabytes * MEGABYTE, bar))
            except requests.RequestException as error:
                failure, again = _reason(error), _size(part) > before
            except ValueError:      # the checksum; what an earlier attempt had left may be to blame
                failure, again = 'not the right file, its checksum differs', before > 0
            if not again:
                break
        failures.append('%s (%s)' % (url, failure))
        say('%s: %s' % (url, failure))
    raise UserError('%s: %s could not be fetched from %s; try again later (it goes on where it stopped), set %s to the '
                    'base URL of a mirror, or download it by hand (%s) and give it with --archive'
                    % (source.title, name, ', '.join(failures), MIRRORS, source.home))


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def _reason(error):
    """Few words; those of the libraries fill several lines."""
    import requests
    if error.response is not None:
        return 'HTTP status %d' % error.response.status_code
    if type(error) is requests.RequestException:       # of _Resuming
        return str(error)
    return 'timed out' if isinstance(error, requests.Timeout) else 'no connection'


class _Resuming(object):
    """A downloader for pooch that goes on where an earlier one stopped.

    Args:
        part: path of the file that holds what came so far.
        most: bytes; a file that is larger is refused.
        bar: show a progress bar if stderr is a terminal.
    """

    def __init__(self, part, most, bar):
        self.part, self.most, self.bar = part, most, bar

    def __call__(self, url, output_file, _):
        """Raises requests.RequestException; what came so far is kept."""
        import requests
        with requests.Session() as session:
            start = _size(self.part)
            response = self._ask(session, url, start)
            if start and not _continues(response, start):
                start, response = 0, response if response.status_code == 200 else self._ask(session, url, 0)
            response.raise_for_status()
            self._receive(response, start)
        os.replace(self.part, output_file)

    def _receive(self, response, start):
        """Adds what comes to the `start` bytes that are there."""
        import requests
        from tqdm import tqdm
        length, size, broke = response.headers.get('Content-Length'), start, False
        expected = None if length is None else start + int(length)
        if (expected or 0) > self.most:
            raise requests.RequestException('%d bytes, so not the right file' % expected)
        with open(self.part, 'ab' if start else 'wb') as stream, tqdm(
                total=expected, initial=start, unit='B', unit_scale=True, leave=False, file=sys.stderr,
                desc=os.path.basename(self.part)[:-len(UNFINISHED)], disable=None if self.bar else True) as shown:
            try:
                for piece in response.iter_content(PIECE):
                    size += len(piece)
                    if size > self.most:
                        break
                    stream.write(piece)
                    shown.update(len(piece))
            except requests.RequestException:
                broke = True
            stream.flush()
            os.fsync(stream.fileno())
        if size > self.most:
            os.remove(self.part)
            raise requests.RequestException('more than %d bytes, so not the right file' % self.most)
        if broke or expected not in (None, size):
            raise requests.RequestException('the connection broke after %d bytes' % size)

    @staticmethod
    def _ask(session, url, start):
        headers = {'Accept-Encoding': 'identity'}      # the bytes as they are: they are counted, and continued
        if start:
            headers['Range'] = 'bytes=%d-' % start
        return session.get(url, headers=headers, stream=True, timeout=TIMEOUT)


def _continues(response, start):
    """Whether an answer holds the rest of a file of which `start` bytes are there."""
    return response.status_code == 206 and response.headers.get('Content-Range', '').startswith('bytes %d-' % start)


# ---- archives ----

def _unpack(source, remote, archive, folder, inside):
    """dict name -> path of the files that the reader needs, taken out of the archive's folder `inside`.

    Nothing else is written, so neither links nor paths that lead elsewhere can do harm.
    """
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    ready, room, members = OrderedDict(), remote.unpacked * MEGABYTE, 0
    try:
        with tarfile.open(archive, 'r|gz') as stream:
            for member in stream:
                room, members = room - member.size, members + 1
                if room < 0 or members > MOST_MEMBERS:
                    raise _unsafe(source, archive, 'it holds more than the original')
                parts = os.path.normpath(member.name).split(os.sep)
                if os.path.isabs(member.name) or '..' in parts or not (member.isfile() or member.isdir()):
                    raise _unsafe(source, archive, '%s in it is no plain file or leads elsewhere' % member.name)
                if member.isfile() and parts[:-1] == [inside] and parts[-1] in source.names:
                    ready[parts[-1]] = os.path.join(folder, parts[-1])
                    _extract(stream.extractfile(member), ready[parts[-1]])
                if len(ready) == len(source.names):
                    return ready           # STL-10's unlabelled images, 2.8 GB, are not even decompressed
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise _unsafe(source, archive, 'it is damaged (%s)' % error)
    raise _unsafe(source, archive, '%s is not in it' % ', '.join(
        '%s/%s' % (inside, name) for name in source.names if name not in ready))


def _unsafe(source, archive, what):
    return UserError('%s: %s; nothing was unpacked; get %s anew from %s' % (archive, what, source.archive, source.home))


def _extract(content, path):
    with open(path, 'wb') as stream:
        shutil.copyfileobj(content, stream, PIECE)
        stream.flush()
        os.fsync(stream.fileno())


# ---- the command line ----

def main(argv=None):
    """Runs the command line; returns the exit status."""
    sources = OrderedDict((dataset.source.name, dataset.source) for dataset in DATASETS.values())
    sources.update((name.lower(), dataset.source) for name, dataset in DATASETS.items())
    parser = Parser(prog='python3 -m classification.download', allow_abbrev=False, description=__doc__.split('\n')[0])
    parser.add_argument('name', metavar='NAME', type=str.lower, choices=sorted(sources),
                        help='of the data set, or a --data_type: %s' % ', '.join(sorted(sources)))
    parser.add_argument('--data_dir', default='Data', help='where to (default: %(default)s)')
    parser.add_argument('--archive', nargs='+', default=(), metavar='FILE',
                        help='already downloaded: checked and unpacked, without network')
    parser.add_argument('--quiet', action='store_true', help='print errors only')
    flags = parser.parse_args(argv)
    try:
        fetch(sources[flags.name], flags.data_dir, (lambda line: None) if flags.quiet else _say, flags.archive,
              not flags.quiet)
        return 0
    except UserError as error:
        sys.stderr.write('error: %s\n' % error)
        return EXIT_USER_ERROR


def _say(line):
    print(line)
    sys.stdout.flush()


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write('interrupted; the same command goes on where it stopped\n')
        sys.exit(130)
