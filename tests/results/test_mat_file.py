"""Result files: what is in one stays in it bit for bit, and nothing else is ever touched."""
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from classification.results import mat_file
from classification.results.mat_file import append_entry, as_stored, entries, find_entry, write_temp
from tests.support.result_files import DUMP, dump, equal, write_published
from utils.locks import Lock
from utils.utils import UserError

ENTRY_OFFSET = 192      # of the first struct: header, then the cell's tag, flags, dimensions and name
ENTRY = {'model_specific_info': {'architecture': 'lasem_hps_cnn', 'dropout': True, 'skip_connect': [],
                                 'nothing': {}},
         'conv_sharing': [[True, False], [True, True]], 'few': np.ones((2, 3), np.float32), 'seed': 3,
         'chosen_config': ['SS', 'S-'], 'result_of_each_run': [{'training_time': 1.5}],
         'command': 'main.py --\u03b1 \U0001F600',
         'matrix': np.full((2, 3, 1), np.nan), 'empty': '', 'fingerprint': 'f0', 'run_id': 'r0'}


@pytest.mark.parametrize('value, dtype, content', [
    (True, np.bool_, [[True]]), ([False, True], np.bool_, [[False, True]]),
    (np.bool_(True), np.bool_, [[True]]),
    (3, np.int64, [[3]]), ((32, 32, 3), np.int64, [[32, 32, 3]]),
    ([[0, 1], [2, 3]], np.int64, [[0, 1], [2, 3]]),
    (0.1, np.float64, [[0.1]]), ([2, 1.5], np.float64, [[2, 1.5]]), (np.float32(0.5), np.float64, [[0.5]]),
    (np.array([1, 2], np.uint8), np.uint8, [[1, 2]]), (np.array([[1], [2]], np.float32), np.float32,
                                                       [[1], [2]]),
    ([], np.float64, np.zeros((0, 0))), ((), np.float64, np.zeros((0, 0))),
    (None, np.float64, np.zeros((0, 0))), (2 ** 63, np.uint64, [[2 ** 63]]),
])
def test_numbers_get_the_type_and_shape_of_the_published_files(value, dtype, content):
    array = as_stored(value)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, content)


@pytest.mark.parametrize('value, cell', [
    (['a', 'bc'], ['a', 'bc']), (np.array(['a', 'bc']), ['a', 'bc']), (['a'], ['a']),
    ([[1], [2, 3]], [np.array([[1]]), np.array([[2, 3]])]), ([1, 'a'], [np.array([[1]]), 'a']),
    ([None, None], [np.zeros((0, 0))] * 2), ([np.ones((1, 2)), np.ones((1, 2))], [np.ones((1, 2))] * 2),
    ([{'a': 'b'}], [{'a': 'b'}]),
])
def test_other_lists_are_cells(value, cell, tmp_path):
    assert equal(as_stored(value), cell)
    assert equal(as_stored(as_stored(value)), cell)
    append_entry(str(tmp_path / 'x.mat'), {'value': value})
    assert equal(entries(str(tmp_path / 'x.mat')), [{'value': cell}])


def test_what_was_appended_is_read_back(tmp_path):
    path = str(tmp_path / 'x.mat')
    append_entry(path, ENTRY)
    assert equal(entries(path), [as_stored(ENTRY)])
    assert loadmat(path)['training_summary'].shape == (1, 1)      # a cell also for one experiment
    assert sorted(os.listdir(str(tmp_path))) == ['.x.mat.lock', 'x.mat']


def test_the_published_file_is_as_it_was_seen(tmp_path):
    write_published(tmp_path / 'x.mat')
    assert dump(tmp_path / 'x.mat') == DUMP


def test_appending_to_a_published_file_keeps_it_bit_for_bit(tmp_path):
    path = str(tmp_path / 'x.mat')
    write_published(path)
    published = (tmp_path / 'x.mat').read_bytes()
    old, = entries(path)
    for time in range(3):
        append_entry(path, dict(ENTRY, run_id='r%d' % time))
    assert (tmp_path / 'x.mat').read_bytes()[ENTRY_OFFSET:].startswith(published[ENTRY_OFFSET:])
    assert dump(path).startswith(DUMP.replace('cell 1x1', 'cell 1x4', 1))
    assert equal(entries(path), [old] + [as_stored(dict(ENTRY, run_id='r%d' % time)) for time in range(3)])
    assert old['model_specific_info']['max_pooling'].dtype == np.bool_
    assert old['model_specific_info']['hidden_activation'] == {}


def test_types_that_only_other_programs_write_survive(tmp_path):
    path = str(tmp_path / 'x.mat')
    foreign = np.empty((1, 1), dtype=object)
    foreign[0, 0] = {'int8': np.int8([[-1]]), 'uint16': np.uint16([[1], [2]]), 'single': np.float32([[0.1]]),
                     'rows': np.array(['ab', 'cd']), 'column': np.array([['a'], [np.bool_([[True]])]],
                                                                        dtype=object),
                     'structs': np.array([(1, 'x'), (2, 'y')], dtype=[('a', 'O'), ('b', 'O')]), 'void': {},
                     'text': ''}
    savemat(path, {'training_summary': foreign, 'mine': [1.5, 2.5]})
    written = (tmp_path / 'x.mat').read_bytes()
    append_entry(path, ENTRY)
    end_of_entry = written.index(b'mine') - 48      # 'mine' comes after its tag, flags and dimensions
    assert (tmp_path / 'x.mat').read_bytes()[ENTRY_OFFSET:].startswith(written[ENTRY_OFFSET:end_of_entry])
    np.testing.assert_array_equal(loadmat(path)['mine'], [[1.5, 2.5]])


def test_a_compressed_file_can_be_appended_to(tmp_path):
    path = str(tmp_path / 'x.mat')
    write_published(path)
    plain, = entries(path)
    content = loadmat(path, mat_dtype=True)['training_summary']
    content[0, 0]['model_specific_info'][0, 0]['hidden_activation'][0, 0] = {}
    savemat(path, {'training_summary': content}, do_compression=True)
    append_entry(path, ENTRY)
    assert equal(entries(path), [plain, as_stored(ENTRY)])


def test_the_same_run_is_never_there_twice(tmp_path):
    path = str(tmp_path / 'x.mat')
    for run_id, seed in [('r0', 0), ('r1', 1), ('r0', 2)]:
        append_entry(path, dict(ENTRY, run_id=run_id, seed=seed))
    assert [(entry['run_id'], entry['seed'].item()) for entry in entries(path)] == [('r0', 2), ('r1', 1)]


def test_replace_puts_an_experiment_in_the_place_of_its_newest_entry(tmp_path):
    path = str(tmp_path / 'x.mat')
    write_published(path)
    for run_id, fingerprint in [('r0', 'f0'), ('r1', 'f0'), ('r2', 'f1')]:
        append_entry(path, dict(ENTRY, run_id=run_id, fingerprint=fingerprint))
    append_entry(path, dict(ENTRY, run_id='r3', fingerprint='f0'), replace=True)
    append_entry(path, dict(ENTRY, run_id='r4', fingerprint='f2'), replace=True)
    assert [entry.get('run_id') for entry in entries(path)] == [None, 'r0', 'r3', 'r2', 'r4']


def test_an_entry_without_identity_replaces_nothing(tmp_path):
    path = str(tmp_path / 'x.mat')
    write_published(path)
    append_entry(path, {'seed': 1}, replace=True)
    assert len(entries(path)) == 2


def test_find_entry_gives_the_newest_of_an_experiment(tmp_path):
    path = str(tmp_path / 'x.mat')
    assert find_entry(path, 'f0') is None
    write_published(path)
    for run_id in ('r0', 'r1'):
        append_entry(path, dict(ENTRY, run_id=run_id))
    assert find_entry(path, 'f0')['run_id'] == 'r1'
    assert find_entry(path, 'f1') is None


def test_the_temporary_file_holds_a_struct(tmp_path):
    path = str(tmp_path / 'temp_x.mat')
    write_temp(path, ENTRY)
    assert dump(path, 'training_summary_temp').startswith(
        '\ntraining_summary_temp: struct 1x1\n  .model_specific_info')
    with pytest.raises(UserError):
        entries(path)


def _published_bytes(tmp_path):
    write_published(tmp_path / 'whole.mat')
    return (tmp_path / 'whole.mat').read_bytes()


def _mat_bytes(tmp_path, **variables):
    savemat(str(tmp_path / 'other.mat'), variables)
    return (tmp_path / 'other.mat').read_bytes()


NOT_OURS = {
    'empty': (lambda folder: b'', 'version 5'),
    'text': (lambda folder: b'epoch,accuracy\n' * 50, 'version 5'),
    'hdf5': (lambda folder: b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM' + b'\x00' * 384
             + b'\x89HDF\r\n', '7.3'),
    'header only': (lambda folder: _published_bytes(folder)[:128], 'training_summary'),
    'other variable': (lambda folder: _mat_bytes(folder, x=1), 'training_summary'),
    'no cell': (lambda folder: _mat_bytes(folder, training_summary={'task_order': [0, 1]}),
                'training_summary'),
    'empty struct': (lambda folder: _mat_bytes(folder, training_summary={}), 'training_summary'),
    'cell of text': (lambda folder: _mat_bytes(folder, training_summary=np.array(['a'], object)),
                     'training_summary'),
    'parameters': (lambda folder: _mat_bytes(folder, parameter={'fc_weights': [1.0]}), 'training_summary'),
    'complex': (lambda folder: _mat_bytes(folder, training_summary=np.array([{'x': 1j}], object)), 'damaged'),
}
NOT_OURS.update(('cut at %d' % length, (lambda folder, length=length: _published_bytes(folder)[:length],
                                        'damaged'))
                for length in (130, 192, 200, 3000, 7000, 7311))


@pytest.mark.parametrize('kind', sorted(NOT_OURS))
def test_a_file_that_is_not_ours_is_refused_and_left_alone(kind, tmp_path):
    make, reason = NOT_OURS[kind]
    path = tmp_path / 'x.mat'
    path.write_bytes(make(tmp_path))
    before = path.read_bytes()
    for use, argument in ((append_entry, ENTRY), (find_entry, 'f0'), (lambda path, _: entries(path), None)):
        with pytest.raises(UserError) as error:
            use(str(path), argument)
        message = str(error.value)
        assert str(
            path) in message and reason in message and 'another file name' in message and '\n' not in message
    assert path.read_bytes() == before


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (str(tmp_path / 'x.mat'), str(tmp_path)):
        with pytest.raises(UserError, match=path):
            entries(path)


def test_a_name_that_matlab_cannot_read_is_our_mistake(tmp_path):
    for name in ('_hidden', '1st', 'scikit-image', 'n' * 32):
        with pytest.raises(AssertionError):
            append_entry(str(tmp_path / 'x.mat'), {name: 1})
    assert not (tmp_path / 'x.mat').exists()


def test_an_entry_that_cannot_be_written_back_costs_nothing(tmp_path):
    path = tmp_path / 'x.mat'
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = {'n' * 40: 1}
    savemat(str(path), {'training_summary': cell}, long_field_names=True)
    before = path.read_bytes()
    with pytest.raises(UserError, match='another file name'):
        append_entry(str(path), ENTRY)
    assert path.read_bytes() == before


def test_a_lock_that_is_never_given_back_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mat_file, 'LOCK_WAIT_S', 0.1)
    with Lock(str(tmp_path / '.x.mat.lock')).acquire(0):
        with pytest.raises(UserError, match='x.mat.lock'):
            append_entry(str(tmp_path / 'x.mat'), ENTRY)
    append_entry(str(tmp_path / 'x.mat'), ENTRY)


def test_importing_does_not_wait_for_scipy():
    program = 'import sys, classification.results.trial_record; sys.exit("scipy" in sys.modules)'
    assert subprocess.call([sys.executable, '-c', program]) == 0
