"""Downloads: the right files in the right place, whatever servers, disks, archives and other processes do.

Nothing here leaves this machine: the server is a thread, the data sets are small.
"""
import contextlib
import gzip
import io
import os
import platform
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest

import main
from classification import download as download_command
from classification.data import download, http_download, readers, unpack
from classification.data.readers_officehome import OFFICEHOME, OFFICEHOME_PRODUCT
from classification.experiment import resolve
from classification.gen_data import DATASETS
from tests.support import data_files
from tests.support.commands import waited_for
from tests.support.data_files import Server, content_of, packed, remote, zipped
from utils.utils import UserError

ROOT = os.path.dirname(os.path.abspath(main.__file__))
TAR = 'cifar-100-python.tar.gz'
WRITERS = {readers.MNIST: data_files.mnist, readers.FASHION: data_files.fashion,
           readers.CIFAR10: data_files.cifar10,
           readers.CIFAR100: data_files.cifar100, readers.STL10: data_files.stl10}


def nobody(line):
    """Does not listen."""


@pytest.fixture(scope='module')
def originals(tmp_path_factory):
    """source -> (dict path of its remote file -> bytes, its images)."""
    made = {}
    for source, write in WRITERS.items():
        folder = tmp_path_factory.mktemp(source.name)
        images = write(folder, 60 if source is readers.MNIST else 2, 12 if source is readers.MNIST else 1)[0]
        target, = folder.iterdir()
        rows = download.REMOTES[source.name]
        contents = {row.path: packed(target) if row.unpacked
                    else content_of(target / os.path.basename(row.path))
                    for row in rows}
        made[source] = contents, images
    return made


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.delenv(download.MIRRORS, raising=False)
    made = Server()
    yield made
    made.close()


@pytest.fixture
def small(originals, server, monkeypatch):
    """The server has all data sets, and the table of downloads names it and their checksums."""
    monkeypatch.setattr(readers, 'DEBIAN_FASHION', 'none')
    for source, (contents, _) in originals.items():
        server.files.update(('/' + path, content) for path, content in contents.items())
        rows = tuple(remote(row.path, contents[row.path], server.url, unpacked=row.unpacked and 5)
                     for row in download.REMOTES[source.name])
        monkeypatch.setitem(download.REMOTES, source.name, rows)
    return server


def mirrors(monkeypatch, *bases):
    """CIFAR-100 comes from these."""
    row, = download.REMOTES['cifar100']
    urls = tuple('%s/%s' % (base, TAR) for base in bases)
    monkeypatch.setitem(download.REMOTES, 'cifar100', (row._replace(urls=urls),))


def command(*words):
    """(exit status, stdout, stderr) of `python3 -m classification.download`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = download_command.main([str(word) for word in words])
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()


def refused(*words):
    """The one line on stderr."""
    status, _, err = command(*words)
    assert status == 2 and err.startswith('error: ') and err.count('\n') == 1 and err.endswith('\n'), err
    return err


def cifar(folder, *words):
    return ('cifar100', '--data_dir', folder) + words


def is_right(source, folder, images):
    np.testing.assert_array_equal(source.decode(str(folder), nobody), images)


def tree(folder):
    """Paths of everything below a folder."""
    return sorted(os.path.relpath(os.path.join(place, name), str(folder))
                  for place, folders, names in os.walk(str(folder)) for name in folders + names)


# ---- what comes ----

@pytest.mark.parametrize('source', WRITERS, ids=lambda source: source.name)
def test_readers_read_what_was_fetched(source, small, originals, tmp_path):
    contents, images = originals[source]
    target = source.folders(str(tmp_path))[0]
    status, out, err = command(source.name, '--data_dir', tmp_path)
    assert (status, err) == (0, '') and '%s is in %s\n' % (source.title, target) in out
    assert sorted(small.asked) == sorted(('/' + path, None) for path in contents)
    is_right(source, tmp_path, images)
    name = os.path.basename(target)
    assert [path for path in tree(tmp_path) if not path.startswith(name)] == ['downloads', 'downloads/%s.lock'
                                                                              % name]
    paths = source.files(str(tmp_path)).values()
    assert {os.path.basename(path) for path in paths} == set(os.listdir(target))
    assert {os.stat(path).st_mode & 0o777 for path in paths} == {0o666 & ~mask()}
    assert command(source.name, '--data_dir', tmp_path) == (
        0, '%s is there already, nothing to download\n' % source.title, '')
    assert len(small.asked) == len(contents)


@pytest.mark.parametrize('source', WRITERS, ids=lambda source: source.name)
def test_a_part_is_completed(source, small, originals, tmp_path):
    assert command(source.name, '--data_dir', tmp_path)[0] == 0
    path = list(source.files(str(tmp_path)).values())[0]
    os.rename(path, path + '.lost')
    with pytest.raises(UserError, match='is missing; found instead: %s.lost; get ' % os.path.basename(path)):
        source.files(str(tmp_path))
    assert command(source.name, '--data_dir', tmp_path)[::2] == (0, '')
    is_right(source, tmp_path, originals[source][1])


def test_what_differs_from_its_copy_is_named_before_anything_is_fetched(small, tmp_path):
    data_files.mnist(tmp_path)
    name = readers.IdxFiles.NAMES[1]
    (tmp_path / 'MNIST_data' / name).write_bytes(b'another')
    assert '%s.gz differ in content; move the wrong one away' % name in refused('mnist', '--data_dir',
                                                                                tmp_path)
    assert small.asked == []


def mask():
    found = os.umask(0)
    os.umask(found)
    return found


def test_every_data_set_can_be_had():
    public = {name: dataset for name, dataset in DATASETS.items() if dataset.tasks}
    names = {dataset.source.name for dataset in public.values()}
    assert names == set(download.REMOTES) | {'digits'} and set(DATASETS) - set(public) == {'Images'}
    for name in list(names) + list(public):
        assert command(name, '--help')[0] == 0
    assert command('DIGITS5') == (0, 'DIGITS is there already, nothing to download\n', '')


def test_the_checksums_are_the_documented_ones():
    with open(os.path.join(ROOT, 'Data', 'README.md')) as stream:
        told = re.findall(r'\| `([0-9a-f]{32})` \|', stream.read())
    assert sorted('md5:' + checksum for checksum in told) == sorted(
        row.checksum for rows in download.REMOTES.values() for row in rows if row.checksum)


def test_quiet_says_nothing(small, tmp_path):
    assert command(*cifar(tmp_path, '--quiet')) == (0, '', '')


# ---- what breaks ----

def test_a_second_call_goes_on_where_the_first_stopped(small, originals, tmp_path):
    (contents, images), path = originals[readers.CIFAR100], '/' + TAR
    size = len(contents[TAR])
    small.breaks[path] = [size // 3, 0]
    line = refused(*cifar(tmp_path))
    assert 'CIFAR-100: %s could not be fetched from %s%s (the connection broke); try again later' % (
        TAR, small.url, path) in line
    assert 'LASEM_MIRROR' in line and '--archive' in line and readers.CIFAR100.home in line
    status, out, err = command(*cifar(tmp_path))
    assert (status, err) == (0, '') and '(%d bytes of it are here)' % (size // 3) in out
    assert small.asked[-1] == (path, 'bytes=%d-' % (size // 3)) and small.sent == size
    is_right(readers.CIFAR100, tmp_path, images)


def test_one_call_tries_again_as_long_as_it_gets_further(small, originals, tmp_path):
    images = originals[readers.CIFAR100][1]
    small.breaks['/' + TAR] = [1000, 2000, 3000]
    assert command(*cifar(tmp_path))[0] == 0
    assert [asked for _, asked in small.asked] == [None, 'bytes=1000-', 'bytes=3000-', 'bytes=6000-']
    is_right(readers.CIFAR100, tmp_path, images)


@pytest.mark.parametrize('ranges', [False, 'wrong'])
def test_a_server_that_cannot_go_on(ranges, small, originals, tmp_path):
    small.breaks['/' + TAR], small.ranges = [1000], ranges
    status, out, _ = command(*cifar(tmp_path))
    assert status == 0 and out.count('fetching') == 2       # and not a third time, after all had come in vain
    assert [asked for _, asked in small.asked] == [None, 'bytes=1000-'] + ([None] if ranges else [])
    is_right(readers.CIFAR100, tmp_path, originals[readers.CIFAR100][1])


@pytest.mark.parametrize('left', ['another beginning', 'whole', 'more', 'other bytes'])
def test_what_was_left_is_not_trusted(left, small, originals, tmp_path):
    contents, images = originals[readers.CIFAR100]
    part = tmp_path / 'downloads' / 'cifar-100-python' / (TAR + '.part')
    part.parent.mkdir(parents=True)
    part.write_bytes({'another beginning': b'x' * 1000, 'whole': contents[TAR], 'more': contents[TAR] + b'x',
                      'other bytes': b'x' * len(contents[TAR])}[left])
    assert command(*cifar(tmp_path))[0] == 0
    is_right(readers.CIFAR100, tmp_path, images)
    assert not part.parent.exists()
    assert left != 'whole' or small.sent == 0


def test_a_server_that_does_not_say_how_long(small, originals, tmp_path):
    small.length = False
    assert command(*cifar(tmp_path))[0] == 0
    is_right(readers.CIFAR100, tmp_path, originals[readers.CIFAR100][1])


def test_bytes_are_kept_as_they_are_sent(small, originals, tmp_path):
    small.headers = {'Content-Encoding': 'gzip', 'Content-Type': 'application/x-tar'}
    assert command(*cifar(tmp_path))[0] == 0
    is_right(readers.CIFAR100, tmp_path, originals[readers.CIFAR100][1])


def test_mirrors_are_tried_in_turn(small, originals, tmp_path, monkeypatch):
    small.files['/bad/' + TAR] = small.files['/' + TAR][:-1] + b'x'
    mirrors(monkeypatch, small.url + '/bad', small.url + '/none', small.url)
    status, out, err = command(*cifar(tmp_path))
    assert (status, err) == (0, '')
    assert [path for path, _ in small.asked] == ['/bad/' + TAR, '/none/' + TAR, '/' + TAR]
    bad, none = ['%s/%s/%s' % (small.url, name, TAR) for name in ('bad', 'none')]
    assert out.splitlines()[:4] == ['fetching ' + bad, bad + ': not the right file, its checksum differs',
                                    'fetching ' + none, none + ': HTTP status 404']
    is_right(readers.CIFAR100, tmp_path, originals[readers.CIFAR100][1])


def test_own_mirrors_come_first(small, tmp_path, monkeypatch):
    small.files['/own/' + TAR] = small.files['/' + TAR]
    monkeypatch.setenv(download.MIRRORS, '%s/first/, %s/own %s/third' % ((small.url,) * 3))
    assert command(*cifar(tmp_path))[0] == 0
    assert [path for path, _ in small.asked] == ['/first/' + TAR, '/own/' + TAR]
    monkeypatch.setenv(download.MIRRORS, 'ftp://elsewhere')
    assert 'LASEM_MIRROR: ftp://elsewhere is no base URL; it must begin with http' in refused(
        'mnist', '--data_dir', tmp_path)


def test_servers_that_have_nothing(small, tmp_path, monkeypatch):
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(('127.0.0.1', 0))
        nowhere = 'http://127.0.0.1:%d' % listener.getsockname()[1]       # nobody listens
    small.files['/page/' + TAR] = b'<html>Please log in</html>'
    small.files['/large/' + TAR] = b'x' * 5000001
    small.status['/ill/' + TAR] = 503
    bases = [nowhere] + [small.url + '/' + name for name in ('none', 'ill', 'page', 'large')]
    mirrors(monkeypatch, *bases)
    line = refused(*cifar(tmp_path))
    for base, reason in zip(bases, ['no connection', 'HTTP status 404', 'HTTP status 503',
                                    'not the right file, its checksum differs',
                                    'it has 5000001 bytes, so it is not the right file']):
        assert '%s/%s (%s)' % (base, TAR, reason) in line
    small.length = False
    mirrors(monkeypatch, small.url + '/large')
    assert 'it has more than 5000000 bytes' in refused(*cifar(tmp_path))
    assert not [path for path in tree(tmp_path) if 'tar.gz' in path or 'tmp' in os.path.basename(path)]


def test_a_server_that_sleeps(small, tmp_path, monkeypatch):
    monkeypatch.setattr(http_download, 'TIMEOUT', (1, 0.2))
    monkeypatch.setattr(download, 'ATTEMPTS', 2)
    small.gate = threading.Event()
    assert '%s (timed out)' % TAR in refused(*cifar(tmp_path))
    small.gate.set()


# ---- other processes ----

@contextlib.contextmanager
def process(small, folder):
    """`python3 -m classification.download cifar100` in a process of its own."""
    row, = download.REMOTES['cifar100']
    program = (
        'import sys; from classification import download as download_command; from classification.data '
        'import download; download.REMOTES["cifar100"] = (download.Remote(*%r),); status = '
        'download_command.main(sys.argv[1:]); assert "tensorflow" not in sys.modules; '
        'sys.exit(status)' % (tuple(row),))
    child = subprocess.Popen([sys.executable, '-c', program] + [str(word) for word in cifar(folder)],
                             cwd=ROOT,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def test_two_processes_download_once(small, originals, tmp_path):
    small.gate = threading.Event()
    with process(small, tmp_path) as first:
        waited_for(lambda: small.asked)
        with process(small, tmp_path) as second:
            assert second.stdout.readline() == 'process %d on %s is fetching CIFAR-100; waiting for it\n' % (
                first.pid, platform.node())
            small.gate.set()
            for child in (first, second):
                assert child.wait(30) == 0 and child.stderr.read() == ''
    assert len(small.asked) == 1
    is_right(readers.CIFAR100, tmp_path, originals[readers.CIFAR100][1])


def test_two_threads_download_once(small, originals, tmp_path):
    said, small.gate = [], threading.Event()
    workers = [threading.Thread(target=download.fetch, args=(readers.CIFAR100, str(tmp_path), said.append))
               for _ in range(2)]
    for worker in workers:
        worker.start()
    waited_for(lambda: any('waiting' in line for line in said))
    small.gate.set()
    for worker in workers:
        worker.join(30)
    assert len(small.asked) == 1
    is_right(readers.CIFAR100, tmp_path, originals[readers.CIFAR100][1])


def test_a_killed_download_goes_on(small, originals, tmp_path):
    (contents, images), small.gate = originals[readers.CIFAR100], threading.Event()
    part = tmp_path / 'downloads' / 'cifar-100-python' / (TAR + '.part')
    half = len(contents[TAR]) // 2
    with process(small, tmp_path) as child:
        waited_for(lambda: part.exists() and part.stat().st_size > half - 2 * unpack.PIECE)
        child.kill()
        child.wait()
    small.gate.set()
    came = part.stat().st_size
    assert 0 < came < len(contents[TAR])
    assert command(*cifar(tmp_path))[0] == 0
    assert [asked for _, asked in small.asked] == [None, 'bytes=%d-' % came]
    is_right(readers.CIFAR100, tmp_path, images)
    assert tree(tmp_path) == ['cifar-100-python', 'cifar-100-python/test', 'cifar-100-python/train',
                              'downloads', 'downloads/cifar-100-python.lock']


def test_killed_while_it_unpacked(small, originals, tmp_path, monkeypatch):
    """Files that were moved already, and half a file that was not."""
    class Killed(BaseException):
        pass

    replace = os.replace

    def but_the_last(path, place):
        if place == str(tmp_path / 'cifar-100-python' / 'train'):
            raise Killed
        replace(path, place)
    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', but_the_last)
        patch.setattr(shutil, 'rmtree', lambda *words, **more: None)
        with pytest.raises(Killed):
            download.fetch(readers.CIFAR100, str(tmp_path), nobody)
    (tmp_path / 'downloads' / 'cifar-100-python' / 'new' / 'cifar-100-python' / 'old').write_bytes(b'')
    assert command(*cifar(tmp_path))[0] == 0 and len(small.asked) == 1
    is_right(readers.CIFAR100, tmp_path, originals[readers.CIFAR100][1])
    assert sorted(os.listdir(str(tmp_path / 'cifar-100-python'))) == ['test', 'train']


def test_no_reader_finds_a_mixture(small, tmp_path, monkeypatch):
    """A reader takes files when all are there: those that are replaced must be right by then."""
    (tmp_path / 'cifar-100-python').mkdir()
    (tmp_path / 'cifar-100-python' / 'train').write_bytes(b'old')
    moved, replace = [], os.replace
    monkeypatch.setattr(os, 'replace', lambda path, place: moved.append(os.path.basename(place)) or replace(
        path, place))
    assert command(*cifar(tmp_path))[0] == 0
    assert moved[-2:] == ['train', 'test']


# ---- files that are there ----

def given(folder, contents):
    """Paths of these contents under names that tell nothing."""
    folder.mkdir(exist_ok=True)
    paths = [folder / ('%d.download' % place) for place in range(len(contents))]
    for path, content in zip(paths, contents):
        path.write_bytes(content)
    return paths


@pytest.mark.parametrize('source', [readers.CIFAR100, readers.MNIST], ids=lambda source: source.name)
def test_given_files_need_no_network(source, small, originals, tmp_path):
    contents, images = originals[source]
    paths = given(tmp_path / 'given', list(contents.values())[::-1])
    assert command(source.name, '--data_dir', tmp_path / 'data', '--archive', *paths)[::2] == (0, '')
    assert small.asked == [] and [content_of(path) for path in paths] == list(contents.values())[::-1]
    is_right(source, tmp_path / 'data', images)


def test_given_files_that_are_not_the_right_ones(small, originals, tmp_path):
    contents = list(originals[readers.MNIST][0].values())
    paths = given(tmp_path / 'given', contents + [contents[0][:-1], b''])
    data, expected = ['mnist', '--data_dir', tmp_path / 'data', '--archive'], [
        row.checksum for row in download.REMOTES['mnist']]
    for wrong in paths[4:]:
        line = refused(*data + paths[:3] + [wrong])
        assert '--archive %s: its checksum is md5:' % wrong in line and 'expected ' + ' or '.join(
            expected) in line
        assert 'damaged or another file' in line
    assert '--archive: MNIST also needs t10k-labels-idx1-ubyte.gz\n' in refused(*data + paths[:3])
    for absent in (tmp_path / 'none', tmp_path):
        assert '--archive %s: there is no such file' % absent in refused(*data + [absent])
    assert '--archive' in refused(*data)
    assert small.asked == [] and not (tmp_path / 'data').exists()


# ---- disks ----

@pytest.fixture
def disk(tmp_path):
    """Mounts a disk of so many megabytes; skips where that is not permitted."""
    mounted = []

    def mount(options):
        folder = tmp_path / 'disk'
        folder.mkdir(exist_ok=True)
        words = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(folder)]
        try:
            status = subprocess.call(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError:
            status = 1
        if status:
            pytest.skip('mount is not permitted')
        mounted.append(folder)
        return folder
    yield mount
    for folder in mounted:
        subprocess.check_call(['umount', str(folder)])


def test_a_full_disk(disk, small, originals, tmp_path):
    contents, images = originals[readers.CIFAR100]
    folder = disk('size=%d' % (len(contents[TAR]) // 2))
    for _ in range(2):
        assert re.match(r'error: CIFAR-100: \S*disk\S* cannot be written: No space left on device\n$',
                        refused(*cifar(folder)))
    subprocess.check_call(['mount', '-o', 'remount,size=%d' % (len(contents[TAR]) + 200000), str(folder)])
    # room for the archive, none for its files
    assert 'No space left on device' in refused(*cifar(folder))
    assert tree(folder) == ['downloads', 'downloads/cifar-100-python', 'downloads/cifar-100-python.lock',
                            'downloads/cifar-100-python/' + TAR]
    asked = len(small.asked)
    subprocess.check_call(['mount', '-o', 'remount,size=9m', str(folder)])
    assert command(*cifar(folder))[0] == 0 and len(small.asked) == asked
    is_right(readers.CIFAR100, folder, images)
    assert small.sent < 2.5 * len(contents[TAR])      # it went on where the disk was full


def test_a_disk_that_cannot_be_written(disk, small, tmp_path):
    folder = disk('ro')
    assert 'error: CIFAR-100: %s' % folder in refused(*cifar(folder)) and small.asked == []
    assert 'cannot be written: ' in refused(*cifar(folder))
    (tmp_path / 'file').write_bytes(b'')
    assert 'cannot be written: ' in refused(*cifar(tmp_path / 'file'))


# ---- archives that mean harm ----

def member(name='cifar-100-python/train', kind=tarfile.REGTYPE, content=b'', **more):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def tar(*members, **more):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w', format=more.get('format', tarfile.PAX_FORMAT)) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), 1)


def sparse():
    """A file of 8 MB that is a kilobyte in the archive."""
    header = bytearray(member(kind=tarfile.GNUTYPE_SPARSE, content=b'x' * 512)[0].tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b'00000000000\0' + b'00000001000\0'         # 512 bytes stand at 0
    header[483:495] = b'00040000000\0'                            # real size
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    return gzip.compress(bytes(header) + b'x' * 512 + bytes(1024))


def negative():
    header = bytearray(member(content=b'x')[0].tobuf(tarfile.GNU_FORMAT))
    header[124:136] = struct.pack('>Iq', 0xffffffff, -512)
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    return gzip.compress(bytes(header) + bytes(1024))


LEADS = 'is no plain file, or leads elsewhere'
TARS = {
    'path up': (tar(member('cifar-100-python/../../train', content=b'x')), LEADS),
    'path up at the end': (tar(member('cifar-100-python/..', content=b'x')), LEADS),
    'absolute path': (tar(member('/tmp/cifar-100-python/train', content=b'x')), LEADS),
    'symbolic link': (tar(member(kind=tarfile.SYMTYPE, linkname='/etc/passwd')), LEADS),
    'link to a folder': (
        tar(member('cifar-100-python', tarfile.SYMTYPE, linkname='/tmp'), member(content=b'x')), LEADS),
    'hard link': (tar(member(kind=tarfile.LNKTYPE, linkname='/etc/passwd')), LEADS),
    'device': (tar(member(kind=tarfile.CHRTYPE, devmajor=1, devminor=5)), LEADS),
    'pipe': (tar(member(kind=tarfile.FIFOTYPE)), LEADS),
    'sparse file': (sparse(), LEADS),
    'negative size': (negative(), LEADS),
    'lines in a name': (tar(member('../a\nerror: b\x1b[2J' + 500 * 'c', content=b'x')),
                        r'../a\nerror: b\x1b[2Jccc'),
    'too large': (tar(member(content=bytes(6000000))), 'it holds more than the original'),
    'too large in a file nobody wants': (tar(member('else', content=bytes(6000000)), member(content=b'x')),
                                         'it holds more than the original'),
    'too large in a header': (tar(member(pax_headers={'comment': 'x' * 7000000}, content=b'x')),
                              'it holds more than the original'),
    'too many': (tar(*[member('file%d' % number) for number in range(60)]),
                 'it holds more than the original'),
    'something lacks': (tar(member(content=b'x'), member('test', content=b'x')),
                        'files of CIFAR-100 are not in it'),
    'nothing in it': (tar(), 'files of CIFAR-100 are not in it'),
    'a folder of that name': (tar(member(kind=tarfile.DIRTYPE)), 'files of CIFAR-100 are not in it'),
    'cut off': (tar(member(content=os.urandom(5000)))[:3000], 'damaged'),
    'cut off inside': (gzip.compress(gzip.decompress(tar(member(content=bytes(5000))))[:3000]), 'damaged'),
    'no archive': (b'nothing like it', 'damaged'), 'empty': (b'', 'damaged'),
    'no tar': (gzip.compress(b'x' * 5000), 'damaged'),
}


@pytest.mark.parametrize('name', TARS)
def test_a_tar_that_means_harm(name, small, tmp_path, monkeypatch):
    """Even if its checksum is right."""
    content, says = TARS[name]
    path, = given(tmp_path / 'given', [content])
    monkeypatch.setattr(unpack, 'MAX_MEMBERS', 50)
    monkeypatch.setitem(download.REMOTES, 'cifar100', (remote(TAR, content, unpacked=5),))
    line = refused(*cifar(tmp_path / 'here' / 'data', '--archive', path))
    assert line.startswith('error: %s: ' % path) and says in line and 'get %s anew from' % TAR in line
    assert len(line) < 600 and line[:-1].isprintable()
    assert tree(tmp_path) == ['given', 'given/0.download', 'here', 'here/data', 'here/data/downloads',
                              'here/data/downloads/cifar-100-python',
                              'here/data/downloads/cifar-100-python.lock']


# ---- Office-Home ----

@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    """Folder of a small Office-Home, with what else is in the archive."""
    folder = tmp_path_factory.mktemp('officehome')
    data_files.officehome(folder, per_class=1)
    inside = folder / 'OfficeHomeDataset_10072016'
    shutil.copytree(str(inside / 'Product' / 'Alarm_Clock'), str(inside / 'Art' / 'Alarm_Clock'))
    (inside / 'ImageInfo.csv').write_text('nothing needed')
    (inside / 'Product' / 'Alarm_Clock' / '._00001.jpg').write_text('left by a Macintosh')
    return inside


@pytest.fixture(scope='module')
def archive(photographs):
    """The same as the bytes of a .zip."""
    return zipped(photographs)


def test_office_home_needs_a_person(small, tmp_path):
    for words in ([], ['--archive', tmp_path / 'none.zip']):
        for name in ('officehome', 'OfficeHome_Incremental'):
            line = refused(name, '--data_dir', tmp_path, *words)
            assert 'there is no such file' in line if words else (
                'Office-Home cannot be fetched by a program; get OfficeHomeDataset_10072016.zip in a browser '
                'from https://www.hemanthdv.org/officeHomeDataset.html and give it with --archive '
                'FILE' in line)
    assert small.asked == [] and os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize('source', [OFFICEHOME, OFFICEHOME_PRODUCT], ids=lambda source: source.name)
def test_office_home_from_a_given_zip(source, photographs, archive, small, tmp_path):
    path, = given(tmp_path / 'given', [archive])
    assert command(source.name, '--data_dir', tmp_path / 'data', '--archive', path)[::2] == (0, '')
    files, expected = source.files(str(tmp_path / 'data')), source.files(str(photographs.parent))
    assert {role: content_of(path) for role, path in files.items()} == {
        role: content_of(path) for role, path in expected.items()}
    inside = tmp_path / 'data' / 'OfficeHomeDataset_10072016'
    assert tree(inside) == [name for name in tree(photographs) if not re.search(r'^Art|\.csv$|/\._', name)]


def test_office_home_beside_what_is_there(photographs, archive, small, tmp_path):
    path, = given(tmp_path / 'given', [archive])
    inside = tmp_path / 'OfficeHomeDataset_10072016'
    words = ['officehome', '--data_dir', tmp_path, '--archive', path]
    mine = inside / 'Product' / 'Bed' / 'mine.jpg'
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b'mine')
    (inside / 'Product' / 'Alarm_Clock').mkdir()
    for lost in (None, inside / 'Real World', inside / 'Product' / 'TV'):
        if lost:
            shutil.rmtree(str(lost))
        assert command(*words)[0] == 0 and len(OFFICEHOME.files(str(tmp_path))) == 130
        assert os.listdir(str(mine.parent)) == ['mine.jpg']       # what was there is kept
    mine.parent.rename(inside / 'Bed')
    (inside / 'Product' / 'Bed').write_bytes(b'in the way')
    assert 'Office-Home: %s held a part of it before, which was kept; move it away' % inside in refused(
        *words)


PHOTOGRAPH = 'OfficeHomeDataset_10072016/Product/Alarm_Clock/'
WANTED = (PHOTOGRAPH + '00001.jpg').encode('ascii')


def damaged(whole):
    """A bit of a photograph differs."""
    content = bytearray(whole)
    content[content.index(WANTED) + len(WANTED) + 10] ^= 255
    return bytes(content)


def zip_with(name, mode=stat.S_IFREG | 0o644, content=b'x'):
    def make(whole):
        stream = io.BytesIO(whole)
        with zipfile.ZipFile(stream, 'a', zipfile.ZIP_DEFLATED) as archive:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
        return stream.getvalue()
    return make


def encrypted(whole):
    content = bytearray(whole)
    content[content.index(WANTED) - 24] |= 1           # in the header of the photograph
    content[content.rindex(WANTED) - 38] |= 1          # and in the directory
    return bytes(content)


ZIPS = {
    'path up': (zip_with(PHOTOGRAPH + '../x.jpg'), LEADS),
    'path up at the end': (zip_with('Product/Alarm_Clock/..'), LEADS),
    'absolute path': (zip_with('/tmp/Product/Alarm_Clock/x.jpg'), LEADS),
    'symbolic link': (zip_with(PHOTOGRAPH + 'x.jpg', stat.S_IFLNK | 0o777, b'/etc/passwd'), LEADS),
    'too large': (zip_with(PHOTOGRAPH + 'x.jpg', content=bytes(6000000)), 'it holds more than the original'),
    'too many': (lambda whole: whole, 'it holds more than the original'),
    'a bit differs': (damaged, 'damaged'), 'cut off': (lambda whole: whole[:len(whole) // 2], 'damaged'),
    'encrypted': (encrypted, 'damaged or no such archive (File'),
    'no zip': (lambda whole: b'nothing', 'damaged'),
}


@pytest.mark.parametrize('name', ZIPS)
def test_a_zip_that_means_harm(name, archive, small, tmp_path, monkeypatch):
    change, says = ZIPS[name]
    path, = given(tmp_path / 'given', [change(archive)])
    monkeypatch.setattr(unpack, 'MAX_MEMBERS', 50 if name == 'too many' else 1000)
    monkeypatch.setitem(download.REMOTES, 'officehome', (download.OFFICEHOME[0]._replace(unpacked=5),))
    line = refused('officehome', '--data_dir', tmp_path / 'data', '--archive', path)
    assert line.startswith('error: %s: ' % path) and says in line
    assert tree(tmp_path) == ['data', 'data/downloads', 'data/downloads/OfficeHomeDataset_10072016',
                              'data/downloads/OfficeHomeDataset_10072016.lock', 'given', 'given/0.download']


# ---- main.py ----

def run(*words):
    """(exit status, stdout, stderr) of main.py."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main.main(['--data_type', 'MNIST5', '--model_type', 'STL'] + [str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


def test_a_dry_run_says_what_it_would_fetch(small, originals, tmp_path):
    paths = given(tmp_path / 'given', list(originals[readers.MNIST][0].values()))
    here = ['--dry_run', '--lifelong', '--data_dir', tmp_path / 'data']
    target = 'and put the files of MNIST into %s; a dry run after that tells the rest' % (
        tmp_path / 'data' / 'MNIST_data')
    names = [os.path.basename(row.path) for row in download.REMOTES['mnist']]
    urls = [row.urls[0] for row in download.REMOTES['mnist']]
    for words, places in (['--download'], urls), (['--archive'] + paths, paths):
        status, out, err = run(*here + words)
        assert (status, err) == (0, '') and out.splitlines() == [
            'would take %s from %s' % pair for pair in zip(names, places)] + [target]
    assert run(*here + ['--archive', paths[0]])[0] == 2
    assert small.asked == [] and os.listdir(str(tmp_path)) == ['given']
    data_files.mnist(tmp_path / 'data')
    status, out, err = run(*here + ['--download'])
    assert status == 0 and 'MNIST is there already' in out and 'fingerprint' in out and small.asked == []


def test_a_run_downloads_only_when_asked(small, tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    status, _, err = run('--lifelong')
    assert status == 2 and err.count('\n') == 1 and 'is missing; get ' in err and 'or add --download' in err
    assert small.asked == [] and os.listdir(str(tmp_path)) == []
    flags = main.parser().parse_args('--data_type MNIST5 --lifelong --download --data_percent 1'.split())
    resolved, said = [], []
    for flags.download in (True, False):
        resolved.append(resolve.resolve(flags, said.append))
    assert len(small.asked) == 4 and said[-1] == 'MNIST is in ' + os.path.join('Data', 'MNIST_data')
    assert resolved[0] == resolved[1]


def test_a_mistake_is_found_before_anything_is_fetched(small, tmp_path):
    status, out, err = run('--lifelong', '--download', '--data_dir', tmp_path / 'data', '--epochs_per_task',
                           '0')
    assert (status, out) == (2, '') and '--epochs_per_task 0' in err
    status, out, err = run('--lifelong', '--download', '--data_dir', tmp_path / 'data', '--data_percent', '2')
    assert (status, out) == (2, '') and '--data_percent 2' in err
    assert small.asked == [] and os.listdir(str(tmp_path)) == []
    assert 'choose from' in refused('mnist6')


def test_nothing_of_the_network_is_imported_without_need(tmp_path):
    program = ('import sys, main; sys.exit(main.main(sys.argv[1:]) != 2 or '
               'len({"requests", "urllib3", "pooch", "tensorflow"} & set(sys.modules)))')
    child = subprocess.Popen([sys.executable, '-c', program, '--data_type', 'MNIST5', '--lifelong',
                              '--data_dir', str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE)
    assert b'is missing' in child.communicate()[1] and child.returncode == 0


def test_a_closed_pipe_is_no_error(small, tmp_path):
    def closed(line):
        raise BrokenPipeError()
    with pytest.raises(BrokenPipeError):       # and nothing about a disk
        download.fetch(readers.CIFAR100, str(tmp_path), closed)
    child = subprocess.Popen([sys.executable, '-m', 'classification.download', 'digits'], cwd=ROOT,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    assert child.stderr.read() == b''
    child.wait()
    child.stderr.close()
