"""Drawn command lines, and good files with drawn damage: the right thing comes out, or one line; nothing else
ever.

The draws are the same in every run.
"""
import contextlib
import gzip
import os
import pathlib
import pickle
import tempfile
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import main
from classification.data import data_cache, download, readers, stl10_designs
from classification.data.readers_officehome import OFFICEHOME
from classification.experiment.flags import parser
from classification.gen_data import DATASETS
from classification.model.registry import MODELS
from classification.report import command as report
from classification.results import mat_file, parameter_files
from classification.results.trial_record import load_record, save_record
from classification.trial import checkpoint
from tests.bad_input import result_files
from tests.bad_input.trial import PREFIX, c_stderr, listed, listened, replace
from tests.support import data_files
from tests.support.result_files import equal, record
from utils.utils import UserError

drawn = settings(max_examples=120, derandomize=True, deadline=None, database=None,
                 suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def quiet(line):
    """Nobody listens."""


@pytest.fixture(scope='module')
def folder():
    """An empty folder, which is not the current one."""
    with tempfile.TemporaryDirectory() as place:
        yield pathlib.Path(place)


# ---- command lines ----

INTEGERS = st.one_of(st.integers(-2, 12), st.sampled_from([-2 ** 70, -2 ** 31, 44, 45, 100, 2 ** 31,
                                                           2 ** 63 - 1, 2 ** 63])).map(str)
FLOATS = st.one_of(st.floats(allow_nan=True).map(repr),
                   st.sampled_from(['0', '1', '0.5', '-1', 'nan', 'inf', '1e-320', '1e999']))
WORDS = st.one_of(st.sampled_from(['', 'all', 'none', 'top2', 'bottom9', 'alternating', 'TTSS', 'TSTSTS',
                                   '2,2', '1,1,1,1', '4,0', '.', 'a/b',
                                   'params', 'temp_x', '-1', '--', 'x.mat', 'x' * 300, '0', '0,1', '\n',
                                   u'\u00e4 \u2028', '\udcff']),
                  st.text(max_size=6, alphabet=st.characters(blacklist_categories=('Cs',),
                                                             blacklist_characters='\0')))
OF_NAME = {'data_type': st.one_of(st.sampled_from(['DIGITS5'] * 3 + sorted(DATASETS)), WORDS),
           'model_type': st.one_of(st.sampled_from(sorted(MODELS)), WORDS),
           'num_clayers': st.sampled_from(['-1', '2', '4', '6', '17', '0']),
           'test_type': st.integers(-1, 60).map(str)}
# --help and --list end at once, a name of files leads elsewhere.
ACTIONS = [action for action in parser()._actions if action.dest not in ('help', 'list', 'dry_run')]


def _options(action):
    flag, kind = action.option_strings[-1], {int: INTEGERS, float: FLOATS}.get(action.type, WORDS)
    if action.nargs == 0:
        return st.just([flag])
    choices = st.sampled_from(sorted(map(str, action.choices)) + ['', 'x']) if action.choices else kind
    return OF_NAME.get(action.dest, choices).map(lambda value: ['%s=%s' % (flag, value)])


COMMANDS = st.lists(st.one_of([_options(action) for action in ACTIONS]), max_size=7)


@drawn
@given(COMMANDS, st.booleans())
def test_a_command_line_is_an_experiment_or_one_line(folder, options, lifelong):
    words = ['--data_type=DIGITS5', '--model_type=HPS'] + ['--lifelong'] * lifelong + [
        word for pair in options for word in pair]
    with tempfile.TemporaryDirectory(dir=str(folder)) as place:
        here = os.getcwd()
        os.chdir(place)
        try:
            with mock.patch.object(download, 'fetch', side_effect=UserError('there is no network')):
                status, _, err, raised = listened(main, words)
        finally:
            os.chdir(here)
        is_fine_or_one_line(status, err, raised)
        assert status == 0 or not listed(place)


def is_fine_or_one_line(status, err, raised):
    assert not raised
    if status == 0:
        assert not err
    else:
        assert status == 2 and err.startswith(PREFIX) and len(err.splitlines()) == 1 and err.endswith('\n')


# ---- files ----

EDITS = st.lists(st.tuples(st.sampled_from(['flip', 'flip', 'byte', 'insert', 'cut', 'remove', 'repeat']),
                           st.integers(0, 400), st.booleans(), st.integers(0, 255)), min_size=1, max_size=3)


def damaged(content, edits):
    """The content after drawn damage, near its begin or its end, where formats keep what they say about
    themselves."""
    for kind, place, from_end, value in edits:
        place = max(0, len(content) - 1 - place) if from_end else place
        before, at, after = content[:place], content[place:place + 1], content[place + 1:]
        content = {'flip': lambda: before + bytes(one ^ (1 << value % 8) for one in at) + after,
                   'byte': lambda: before + bytes([value]) * len(at) + after,
                   'insert': lambda: before + bytes([value]) * (1 + value % 9) + at + after,
                   'cut': lambda: before, 'remove': lambda: before + after[value:],
                   'repeat': lambda: before + (at + after)[:value] * 2 + after}[kind]()
    return content


def damaged_at(place, content, edits):
    """The same near any place of the content; None: near its begin or end."""
    place = 0 if place is None else place % len(content)
    return content[:place] + damaged(content[place:], edits)


def one_line(call, *arguments):
    """What a call gives; None if it says in one line what is wrong."""
    with c_stderr():
        try:
            return call(*arguments)
        except UserError as error:
            assert str(error)
            return None


def made(folder, write, *arguments):
    """A folder below that `write(folder, ...)` filled, once; and its files with their contents."""
    place = folder / '-'.join([write.__name__] + list(map(str, arguments)))
    if not place.exists():
        place.mkdir()
        write(place, *arguments)
    return place


def contents(place):
    return {path: path.read_bytes() for path in sorted(place.rglob('*')) if path.is_file()}


@contextlib.contextmanager
def with_damage(path, edits, change=damaged):
    """Damages a file, for a while."""
    good = path.read_bytes()
    replace(path, change(good, edits))
    try:
        yield good
    finally:
        replace(path, good)


def reads(source, place):
    """(images, labels by pool) of a source, as in its files; in this order they are asked for."""
    labels = source.labels(str(place))
    return source.decode(str(place), quiet), labels


def small_cifar100(place):
    """A few images: most of a larger file would be pixels."""
    for name, count in (('train', 3), ('test', 2)):
        data_files.write_python2_pickle(str(place / 'cifar-100-python' / name), {
            b'data': np.zeros((count, 3072), np.uint8), b'fine_labels': list(range(count)),
            b'filenames': ['a', 'b']})


def plain_mnist(place):
    data_files.mnist(place, 12, 1, compressed=False)


def zipped_mnist(place):
    data_files.mnist(place, 12, 1)


def small_stl10(place):
    data_files.stl10(place, 1, 1)


@pytest.mark.parametrize('source, write, shape', [
    (readers.MNIST, plain_mnist, (28, 28, 1)), (readers.MNIST, zipped_mnist, (28, 28, 1)),
    (readers.CIFAR100, small_cifar100, (32, 32, 3)), (readers.STL10, small_stl10, (96, 96, 3))],
                         ids=lambda one: getattr(one, '__name__', ''))
@drawn
@given(number=st.integers(0, 3), edits=EDITS)
def test_damaged_raw_data(folder, source, write, shape, number, edits):
    place = made(folder, write)
    paths = list(contents(place))
    path = paths[number % len(paths)]
    with with_damage(path, edits):
        read = one_line(reads, source, place)
    if read is not None:
        images, labels = read
        assert images.dtype == np.uint8 and images.shape == (sum(map(len, labels.values())),) + shape
        assert all(some.dtype == np.int32 and some.min(initial=0) >= 0 and some.max(initial=0) < 100
                   for some in labels.values())


@drawn
@given(edits=EDITS)
def test_a_damaged_idx_inside_a_whole_gzip(folder, edits):
    place = made(folder, zipped_mnist)
    path = place / 'MNIST_data' / 't10k-images-idx3-ubyte.gz'
    with with_damage(path, edits, lambda content,
                     edits: gzip.compress(damaged(gzip.decompress(content), edits))):
        read = one_line(reads, readers.MNIST, place)
    assert read is None or read[0].shape == (130, 28, 28, 1)


@drawn
@given(edits=EDITS, protocol=st.sampled_from([0, 1, 2, 4]))
def test_a_damaged_pickle_of_any_protocol(folder, edits, protocol):
    place = made(folder, small_cifar100)
    path = place / 'cifar-100-python' / 'train'
    good = pickle.dumps({'data': np.zeros((2, 3072), np.uint8), 'fine_labels': [1, 2],
                         'more': (None, 2.5, {'a': b'b'})}, protocol)
    with with_damage(path, edits, lambda content, edits: damaged(good, edits)):
        read = one_line(reads, readers.CIFAR100, place)
    assert read is None or read[0].dtype == np.uint8 and len(read[0]) == len(read[1]['train']) + 2


@drawn
@given(edits=EDITS, ending=st.sampled_from(['.jpg', '.png', '.bmp', '.tif', '.webp']))
def test_a_damaged_photograph(folder, edits, ending):
    import cv2
    image = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)
    path = folder / ('photograph' + ending)
    replace(path, damaged(cv2.imencode(ending, image)[1].tobytes(), edits))
    read = one_line(OFFICEHOME._decode_one, str(path))
    assert read is None or read.dtype == np.uint8 and read.shape == (128, 128, 3)


def cached(place):
    return data_cache.cached(str(place), 'x', 'key', (5, 4, 4, 1),
                             lambda: np.arange(80, dtype=np.uint8).reshape(5, 4, 4, 1), quiet)


@drawn
@given(edits=EDITS)
def test_a_damaged_cache_gives_the_images_all_the_same(folder, edits):
    place = made(folder, cached)
    path, = (place / 'cache').glob('*.npy')
    with with_damage(path, edits):
        np.testing.assert_array_equal(cached(place), np.arange(80).reshape(5, 4, 4, 1))


@drawn
@given(edits=EDITS)
def test_a_damaged_design(folder, edits):
    preset, counts = stl10_designs.Preset(share=50, valid=50, tasks=2, classes=2), [8] * 10
    text = stl10_designs.to_text(stl10_designs.draw(preset, 0, 0, counts,
                                                    stl10_designs.draw_kinds(preset, 0)))
    path = folder / 'design.csv'
    replace(path, damaged(text.encode('ascii'), edits))
    design = one_line(lambda: stl10_designs.from_text('design.csv', stl10_designs._text(str(path)), preset,
                                                      counts))
    assert design is None or len(design) == 2 and all(len(task.classes) == 2 for task in design)


def result_file(place):
    result_files.good(place)


def published_file(place):
    (place / 'x.mat').write_bytes(result_files.changed_summary())


@pytest.mark.parametrize('write', [result_file, published_file], ids=lambda one: one.__name__)
@drawn
@given(edits=EDITS, anywhere=st.one_of(st.none(), st.integers(0, 40000)))
def test_a_damaged_result_file(folder, write, edits, anywhere):
    place = made(folder, write)
    path = place / 'x.mat'
    with with_damage(path, edits, lambda content, edits: damaged_at(anywhere, content, edits)):
        before = path.read_bytes()
        entries = one_line(mat_file.entries, str(path))
        assert entries is None or all(isinstance(entry, dict) for entry in entries)
        status, _, err, raised = listened(report, [str(path)])
        is_fine_or_one_line(status, err, raised)
        one_line(mat_file.append_entry, str(path), {'fingerprint': 'f'})
        assert path.read_bytes() == before or equal(mat_file.entries(str(path))[-1], {'fingerprint': 'f'})


def tensor_factors(place):
    result_files.parameters(place)


@drawn
@given(edits=EDITS, anywhere=st.integers(0, 10000))
def test_a_damaged_parameter_file_gives_its_values_or_none(folder, edits, anywhere):
    path = made(folder, tensor_factors) / 'tf.mat'
    store = parameter_files.load(str(path)).store
    with with_damage(path, edits, lambda content, edits: damaged_at(anywhere, content, edits)):
        read = one_line(parameter_files.load, str(path))
    assert read is None or {name: value.tobytes() for name, value in read.store.items()} == {
        name: value.tobytes() for name, value in store.items()}


@drawn
@given(edits=EDITS)
def test_a_damaged_checkpoint_is_put_aside(folder, edits):
    path, said = str(folder / 'checkpoint'), []
    groups = {'store': {'conv0/kernel': np.arange(6.).reshape(2, 3)}, 'slots': {'a': np.ones(3, np.float32)}}
    checkpoint.save(path, {'epoch': 3}, groups)
    with open(path, 'rb') as stream:
        content = stream.read()
    replace(path, damaged(content, edits))
    read = one_line(checkpoint.load, path, said.append)
    checkpoint.remove(path)
    if read is None:        # or refused: damage may make its version a newer one
        assert not said or len(said) == 1 and 'is damaged; the trial starts anew' in said[0]
    else:
        assert read[0] == {'epoch': 3} and not said
        np.testing.assert_array_equal(read[1]['store']['conv0/kernel'], np.arange(6.).reshape(2, 3))


@drawn
@given(edits=EDITS)
def test_a_damaged_record_gives_its_numbers_or_one_line(folder, edits):
    path = folder / 'record.npz'
    save_record(str(path), record([[.9, np.nan], [.8, .7]]))
    whole = load_record(str(path))
    replace(path, damaged(path.read_bytes(), edits))
    read = one_line(load_record, str(path))
    assert read is None or read.trial == whole.trial and read.accuracy.tobytes() == whole.accuracy.tobytes()
