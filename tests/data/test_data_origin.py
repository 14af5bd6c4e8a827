"""Data are what they are said to be: no stale checksum, no mixture of two versions, no other folder in
silence."""
import gzip
import json
import os
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest

import main
from classification import gen_data
from classification.data import raw_checksums, readers
from classification.data.readers_officehome import OFFICEHOME, OFFICEHOME_PRODUCT
from classification.experiment.resolve import resolve
from classification.results.mat_file import entries
from classification.runs import provenance, trial_process
from classification.runs.local_pool import LocalPool
from tests.support import data_files
from tests.support.commands import DIGITS, ROOT, is_refused, run, run_and_listen
from utils.utils import UserError

FILES = list(readers.IdxFiles.NAMES)
OLD_CACHE = os.path.join(ROOT, 'tests', 'old_cache')      # of a version that trusted times


def quiet(line):
    """Nobody listens."""


@pytest.fixture
def settled(monkeypatch):
    """Files count as old enough at once."""
    monkeypatch.setattr(raw_checksums, 'SETTLED_NS', 0)


@pytest.fixture
def hashed(monkeypatch):
    """Sizes of what was hashed, appended as it happens."""
    sizes, plain = [], raw_checksums.sha256_of

    def noted(stream):
        sizes.append(os.fstat(stream.fileno()).st_size)
        return plain(stream)
    monkeypatch.setattr(raw_checksums, 'sha256_of', noted)
    return sizes


def another_process():
    """What this process knows is forgotten."""
    raw_checksums.KNOWN.clear()


def read_only(path):
    """os.statvfs of a file on a read-only mount."""
    return SimpleNamespace(f_flag=os.ST_RDONLY)


def tick():
    """Until the file system's clock goes on."""
    time.sleep(0.02)


def at_time_zero(folder):
    for path in folder.iterdir():
        os.utime(str(path), (0, 0))


def two_versions(folder):
    """FASHION_data leads to v1; v2 has the same images in reverse order. Returns the labels of both."""
    _, labels = data_files.fashion(folder, 12, 1, layout='v1', compressed=False)
    shutil.copytree(str(folder / 'v1'), str(folder / 'v2'))
    for path in (folder / 'v2').iterdir():
        content = path.read_bytes()
        header = 8 if 'labels' in path.name else 16
        items = np.frombuffer(content, np.uint8, offset=header).reshape((-1, 1 if header == 8 else 28 * 28))
        path.write_bytes(content[:header] + items[::-1].tobytes())
    for version in ('v1', 'v2'):
        at_time_zero(folder / version)
    os.symlink('v1', str(folder / 'FASHION_data'))
    return labels, np.concatenate([labels[:120][::-1], labels[120:][::-1]])


def turn(folder, version):
    (folder / 'FASHION_data').unlink()
    os.symlink(version, str(folder / 'FASHION_data'))


# ---- stale checksums ----

def test_a_link_that_is_turned_to_other_files_gives_their_labels_and_their_pixels(tmp_path, settled):
    labels = two_versions(tmp_path)
    seen = []
    for version in ('v1', 'v2'):
        turn(tmp_path, version)
        another_process()
        images = np.array(readers.FASHION.images(str(tmp_path), quiet))
        np.testing.assert_array_equal(images, readers.FASHION.decode(str(tmp_path), quiet))
        np.testing.assert_array_equal(np.concatenate(list(readers.FASHION.labels(str(tmp_path)).values())),
                                      labels[len(seen)])
        seen.append((images, gen_data.checksums('FASHION5', str(tmp_path), 0)['raw']))
    np.testing.assert_array_equal(seen[0][0][:120], seen[1][0][:120][::-1])
    assert seen[0][1] != seen[1][1]


@pytest.mark.parametrize('same_process', [True, False])
def test_content_that_changes_under_the_same_inode_and_time_is_read_again(same_process, tmp_path, settled):
    data_files.mnist(tmp_path, 12, 1)
    path = tmp_path / 'MNIST_data' / 't10k-labels-idx1-ubyte.gz'
    first = readers.MNIST.checksum(str(tmp_path))
    readers.MNIST.images(str(tmp_path), quiet)
    before = os.stat(str(path))
    tick()
    with open(str(path), 'r+b') as stream:
        stream.seek(4)
        stream.write(b'1234')      # the time in gzip's header
    os.utime(str(path), ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(str(path))
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size,
                                                                   after.st_mtime_ns)
    if not same_process:
        another_process()
    assert readers.MNIST.checksum(str(tmp_path)) != first


@pytest.mark.parametrize('change, again', [
    (lambda patch: None, False),
    (lambda patch: patch.setattr(raw_checksums.platform, 'node', lambda: 'another'), True),
    (lambda patch: patch.setattr(raw_checksums.os, 'statvfs', read_only), True)],
    ids=['unchanged', 'other host', 'read-only mount'])
def test_a_kept_checksum_is_used_again_on_its_host_if_the_file_system_can_be_written(
        change, again, tmp_path, settled, hashed, monkeypatch):
    data_files.mnist(tmp_path, 12, 1)
    first = readers.MNIST.checksum(str(tmp_path))
    readers.MNIST.checksum(str(tmp_path))
    # not before the images are known to be good
    assert len(hashed) == 4 and not (tmp_path / 'cache').exists()
    readers.MNIST.images(str(tmp_path), quiet)
    another_process()
    change(monkeypatch)
    assert readers.MNIST.checksum(str(tmp_path)) == first and len(hashed) == (8 if again else 4)


def test_the_checksum_of_a_file_that_has_just_changed_is_not_kept(tmp_path, hashed):
    data_files.mnist(tmp_path, 12, 1)
    readers.MNIST.images(str(tmp_path), quiet)
    assert [name for name in os.listdir(str(tmp_path / 'cache')) if name.endswith('.json')] == []
    raw_checksums.hand_over(str(tmp_path))
    another_process()
    raw_checksums.take(str(tmp_path))
    readers.MNIST.checksum(str(tmp_path))
    assert len(hashed) == 8


def test_a_file_of_the_future_is_never_trusted(tmp_path, settled, hashed):
    data_files.mnist(tmp_path, 12, 1)
    for path in (tmp_path / 'MNIST_data').iterdir():
        os.utime(str(path), (2 ** 32, 2 ** 32))
    for _ in range(2):
        another_process()
        readers.MNIST.images(str(tmp_path), quiet)
    assert len(hashed) == 8


def test_a_run_hands_its_checksums_to_the_trials_on_its_host_only(tmp_path, settled, hashed, monkeypatch):
    monkeypatch.setattr(raw_checksums.os, 'statvfs', read_only)
    data_files.mnist(tmp_path, 12, 1)
    first = readers.MNIST.checksum(str(tmp_path))
    raw_checksums.hand_over(str(tmp_path))
    for host, times in ((raw_checksums.platform.node(), 4), ('another', 8)):
        another_process()
        monkeypatch.setattr(raw_checksums.platform, 'node', lambda: host)
        raw_checksums.take(str(tmp_path))
        assert readers.MNIST.checksum(str(tmp_path)) == first and len(hashed) == times


@pytest.mark.parametrize('content', [b'', b'[1]', b'{"version": 2, "files": [1]}', b'\xff'])
def test_damaged_checksums_do_not_matter(content, tmp_path, settled):
    data_files.mnist(tmp_path, 12, 1)
    first = readers.MNIST.checksum(str(tmp_path))
    readers.MNIST.images(str(tmp_path), quiet)
    path, = (tmp_path / 'cache').glob('checksums-mnist@*.json')
    path.write_bytes(content)
    (tmp_path / raw_checksums.HANDED).write_bytes(content)
    another_process()
    raw_checksums.take(str(tmp_path))
    assert readers.MNIST.checksum(str(tmp_path)) == first


@pytest.mark.parametrize('times', [1, 9])
def test_a_file_that_changes_while_it_is_hashed_is_hashed_again_or_named(times, tmp_path, monkeypatch):
    data_files.mnist(tmp_path, 12, 1)
    path, plain, left = tmp_path / 'MNIST_data' / (FILES[0] + '.gz'), raw_checksums.sha256_of, [times]

    def changing(stream):
        found = plain(stream)
        if left[0] and stream.name == str(path):
            left[0] -= 1
            path.write_bytes(path.read_bytes() + b'x')
        return found
    monkeypatch.setattr(raw_checksums, 'sha256_of', changing)
    if times == 1:
        first = readers.MNIST.checksum(str(tmp_path))
        another_process()
        assert readers.MNIST.checksum(str(tmp_path)) == first
    else:
        with pytest.raises(UserError, match='%s was changed while it was being read; run the same'
                           % path.name):
            readers.MNIST.checksum(str(tmp_path))


def test_a_cache_of_before_gives_its_images_and_its_checksums_are_not_believed(tmp_path, settled,
                                                                               monkeypatch):
    images, _ = data_files.mnist(tmp_path, 2, 1, compressed=False)
    at_time_zero(tmp_path / 'MNIST_data')
    shutil.copytree(OLD_CACHE, str(tmp_path / 'cache'))
    with monkeypatch.context() as patch:
        patch.setattr(readers.MNIST, 'decode', None)
        np.testing.assert_array_equal(readers.MNIST.images(str(tmp_path), quiet), images)
    assert [path.name.split('@')[0] for path in (tmp_path / 'cache').glob('*.json')] == ['checksums-mnist']
    others, _ = data_files.mnist(tmp_path, 2, 1, seed=3, compressed=False)
    at_time_zero(tmp_path / 'MNIST_data')
    shutil.copy(os.path.join(OLD_CACHE, 'checksums-mnist.json'), str(tmp_path / 'cache'))
    another_process()
    assert not np.array_equal(images, others)
    np.testing.assert_array_equal(readers.MNIST.images(str(tmp_path), quiet), others)


# ---- one version ----

def test_labels_and_pixels_are_never_of_two_versions(tmp_path, monkeypatch):
    two_versions(tmp_path)
    labels = readers.FASHION.labels

    def then_turned(data_dir):
        found = labels(data_dir)
        turn(tmp_path, 'v2')
        return found
    monkeypatch.setattr(readers.FASHION, 'labels', then_turned)
    with pytest.raises(UserError,
                       match='-ubyte was changed while it was being read; run the same command again'):
        gen_data.load_tasks('FASHION5', str(tmp_path), 1, say=quiet)


@pytest.mark.parametrize('name, write', [('FASHION5', data_files.fashion), ('STL10_20t', data_files.stl10)])
def test_tasks_are_loaded_from_the_expected_data_only(name, write, tmp_path):
    write(tmp_path)
    place = str(tmp_path)
    expected = gen_data.checksums(name, place, 0)
    gen_data.load_tasks(name, place, 1 if name == 'FASHION5' else None, say=quiet, expected=expected)
    for what in [what for what in expected if expected[what]]:
        folder = gen_data.folder_of(name, place) if what == 'raw' else os.path.join(place, 'STL-10')
        with pytest.raises(UserError) as error:
            gen_data.load_tasks(name, place, 1 if name == 'FASHION5' else None, say=quiet,
                                expected=dict(expected, **{what: 'c0ffee'}))
        assert str(error.value).startswith('the data in %s (on ' % folder)
        assert 'are not those that this experiment began with; put those back and run the ' in str(
            error.value)


def test_a_trial_that_finds_other_data_refuses_and_the_others_are_kept(folder, monkeypatch):
    data_files.fashion('Data', layout='good')
    data_files.fashion('Data', layout='bad', seed=1)
    os.symlink('good', 'Data/FASHION_data')
    start = LocalPool.start

    def swapped_for_trial_1(pool, run_folder, number):
        turn(folder / 'Data', 'bad' if number else 'good')
        return start(pool, run_folder, number)
    options = (
        '--data_type FASHION5 --data_percent 1 --model_type HPS --lifelong --num_tasks 1 --epochs_per_task 1 '
        '--threads 1 --num_runs 2 --save_mat_name x.mat').split()
    with monkeypatch.context() as patch:
        patch.setattr(LocalPool, 'start', swapped_for_trial_1)
        status, out, err = run_and_listen(options)
    bad = str(folder / 'Data' / 'bad')
    assert status == 2 and err.count('error: ') == 1 and 'error: trial 1: the data in %s (on ' % bad in err
    entry, = entries('Result/x.mat')
    assert entry['train_valid_data_group'].ravel().tolist() == [0]
    turn(folder / 'Data', 'good')
    status, out, err = run_and_listen(options)
    assert status == 0 and 'error' not in err
    entry, = entries('Result/x.mat')
    assert entry['train_valid_data_group'].ravel().tolist() == [0, 1]
    where = str(folder / 'Data' / 'good')
    run_folder, = (folder / 'Result' / 'x').iterdir()
    assert out.count('data: Fashion-MNIST from %s\n' % where) == 1 and entry['data_folder'] == where
    assert json.loads((run_folder / 'config.json').read_text())['settings']['data_folder'] == where
    # two commands
    assert (run_folder / 'log.txt').read_text().count('data: Fashion-MNIST from %s\n' % where) == 2
    assert (run_folder / raw_checksums.HANDED).exists()


def test_a_resumed_trial_looks_at_its_data_too(tmp_path, capsys):
    data_files.fashion(tmp_path / 'Data')
    options = ['--data_type', 'FASHION5', '--data_percent', '1', '--lifelong', '--data_dir',
               str(tmp_path / 'Data')]
    experiment = resolve(main.parser().parse_args(options), pytest.fail)
    settings = dict(data_dir=str(tmp_path / 'Data'), gpu=[-1], gpu_memory_fraction=None, threads=1)
    (tmp_path / 'trial0').mkdir()
    (tmp_path / 'trial0' / 'checkpoint').write_bytes(b'not looked at')
    (tmp_path / trial_process.CONFIG).write_text(
        json.dumps({'experiment': json.loads(experiment.to_json()), 'settings': settings,
                    'origin': provenance.of_command(experiment)}))
    data_files.fashion(tmp_path / 'Data', seed=1)
    assert trial_process.run_trial_process(str(tmp_path), 0, stop=lambda: False) == 2
    told, = capsys.readouterr().out.splitlines()
    assert json.loads(told)['error'].startswith('the data in %s (on ' % (tmp_path / 'Data' / 'FASHION_data'))
    assert (tmp_path / 'trial0' / 'checkpoint').read_bytes() == b'not looked at'


# ---- which folder ----

@pytest.mark.parametrize('name, write, layout', [
    ('FASHION5', data_files.fashion, 'FashionMNIST/raw'), ('CIFAR100_10', data_files.cifar100,
                                                           'cifar-100-python')])
def test_a_dry_run_says_the_real_folder(name, write, layout, folder):
    write('elsewhere', layout=layout)
    os.symlink('elsewhere', 'Data')
    status, out, _ = run_and_listen(['--data_type', name, '--lifelong', '--model_type', 'HPS', '--dry_run'])
    assert status == 0
    assert out.count('data: %s from %s\n' % (gen_data.DATASETS[name].source.title, folder / 'elsewhere'
                                             / layout)) == 1


def test_the_digits_come_with_scikit_learn(folder):
    assert gen_data.folder_of('DIGITS5', 'nowhere') == 'scikit-learn (bundled)'
    assert run(DIGITS + ['--dry_run']) == 0


def test_the_folder_of_office_home_is_that_of_its_domains(tmp_path):
    data_files.officehome(tmp_path, 1)
    assert gen_data.folder_of('OfficeHome', str(tmp_path)) == str(tmp_path / 'OfficeHomeDataset_10072016')


# ---- incomplete folders ----

WRITERS = {readers.MNIST: data_files.mnist, readers.FASHION: data_files.fashion,
           readers.CIFAR10: data_files.cifar10,
           readers.CIFAR100: data_files.cifar100, readers.STL10: data_files.stl10}


def refused(source, folder):
    """The one line."""
    with pytest.raises(UserError) as error:
        source.files(str(folder))
    assert '\n' not in str(error.value)
    return str(error.value)


def test_a_file_of_another_name_does_not_make_debians_copy_the_data(folder, monkeypatch):
    data_files.fashion('system', layout='')
    monkeypatch.setattr(readers, 'DEBIAN_FASHION', str(folder / 'system'))
    options = ['--data_type', 'FASHION5', '--lifelong', '--dry_run']
    assert run(options) == 0
    data_files.fashion('Data')
    mine = folder / 'Data' / 'FASHION_data'
    (mine / 'train-labels-idx1-ubyte.gz').rename(mine / 'train-labels.gz')
    is_refused(options, 'Fashion-MNIST: Data/FASHION_data/train-labels-idx1-ubyte is missing; found instead: '
                        'train-labels.gz; get the four files')
    for path in list(mine.iterdir()):
        path.rename(mine / path.name.replace('-idx1-ubyte', '').replace('-idx3-ubyte', ''))
    is_refused(options,
               'Data/FASHION_data/train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, '
               't10k-labels-idx1-ubyte are missing; found instead: train-images.gz, ')


@pytest.mark.parametrize('source', WRITERS, ids=lambda source: source.name)
def test_a_part_of_a_data_set_hides_no_whole_one(source, tmp_path):
    WRITERS[source](tmp_path)
    first, *others = source.folders(str(tmp_path))
    shutil.copytree(first, others[1])
    for path in list(source.files(str(tmp_path)).values())[1:]:
        os.remove(path)
    line = refused(source, tmp_path)
    assert line.startswith('%s: %s' % (source.title, first)) and ' missing; found instead: only ' in line
    shutil.rmtree(first)
    assert source.folder(str(tmp_path)) == others[1]


def test_a_part_of_office_home_hides_no_whole_one(tmp_path):
    data_files.officehome(tmp_path, 1, layout='OfficeHomeDataset')
    data_files.officehome(tmp_path, 1, domains=('Product', 'Realworld'))
    mine = tmp_path / 'OfficeHomeDataset_10072016'
    assert OFFICEHOME_PRODUCT.folder(str(tmp_path)) == str(mine)
    line = refused(OFFICEHOME, tmp_path)
    assert '%s is missing; found instead: Realworld (no file); get ' % (mine / 'Real World') in line
    assert line.endswith('or give that file with --archive')
    (mine / 'Realworld').rename(mine / 'Real World')
    (mine / 'Real World' / 'Bed').rename(mine / 'Real World' / 'Beds')
    line = refused(OFFICEHOME, tmp_path)
    assert '%s is missing; found instead: Beds (no file); get ' % (mine / 'Real World' / 'Bed') in line
    (mine / 'Real World' / 'Beds').rename(mine / 'Real World' / 'Bed')
    shutil.copytree(str(mine / 'Real World'), str(mine / 'RealWorld'))
    assert 'RealWorld are both there; move the wrong one away' in refused(OFFICEHOME, tmp_path)
    shutil.rmtree(str(mine / 'Product'))
    (mine / 'Product').mkdir()
    assert 'Bed and 61 more are missing; found instead: nothing; get ' in refused(OFFICEHOME_PRODUCT,
                                                                                  tmp_path)


@pytest.mark.parametrize('name', FILES)
def test_a_plain_file_and_its_compressed_copy_must_be_the_same(name, tmp_path):
    images, _ = data_files.mnist(tmp_path, 12, 1)
    mine = tmp_path / 'MNIST_data'
    with gzip.open(str(mine / (name + '.gz'))) as stream:
        content = stream.read()
    (mine / name).write_bytes(content)
    np.testing.assert_array_equal(readers.MNIST.images(str(tmp_path), quiet), images)
    tick()
    (mine / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    line = 'MNIST: %s and %s differ in content; move the wrong one away' % (mine / name,
                                                                            mine / (name + '.gz'))
    assert refused(readers.MNIST, tmp_path) == line


# ---- what unpackers make ----

@pytest.mark.parametrize('rename', [
    lambda name: name.replace('-idx', '.idx'), lambda name: name.replace('-idx', '.idx') + '.gz',
    lambda name: os.path.join(name, name), lambda name: os.path.join(name, name.replace('-idx', '.idx'))],
    ids=['dot', 'dot, compressed', 'folder', 'folder, dot'])
def test_names_that_unpackers_give_to_the_files_of_mnist(rename, tmp_path):
    compressed = rename(FILES[0]).endswith('.gz')
    images, _ = data_files.mnist(tmp_path, 12, 1, layout='there', compressed=compressed)
    for name in FILES:
        target = tmp_path / 'MNIST_data' / rename(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'there' / (name + ('.gz' if compressed else ''))).rename(target)
    np.testing.assert_array_equal(readers.MNIST.images(str(tmp_path), quiet), images)


@pytest.mark.parametrize('source, layout', [
    (readers.CIFAR10, 'cifar-10-python/cifar-10-batches-py'),
    (readers.CIFAR100, 'cifar-100-python/cifar-100-python'),
    (readers.CIFAR100, 'cifar-100-python.tar/cifar-100-python'), (readers.STL10, 'stl10_binary/stl10_binary'),
    (readers.STL10, 'stl10_binary.tar/stl10_binary')])
def test_folders_that_unpackers_name_after_the_archive(source, layout, tmp_path):
    images, _ = WRITERS[source](tmp_path, 2, 1, layout=layout)
    np.testing.assert_array_equal(source.decode(str(tmp_path), quiet), images)


def test_office_home_in_a_folder_named_after_its_archive(tmp_path):
    data_files.officehome(tmp_path, 1, layout='OfficeHomeDataset_10072016/OfficeHomeDataset_10072016')
    assert len(OFFICEHOME.files(str(tmp_path))) == 130
