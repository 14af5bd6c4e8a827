"""Large results: told before training, spread over files that MATLAB can read, added to without loading
them."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from classification import train_wrapper
from classification.experiment import sizes
from classification.report.groups import read_groups
from classification.results import mat_file, mat_parts
from classification.results.mat_file import append_entry, encoded, entries, find_entry, locate
from classification.results.mat_parts import continued, first_of, series
from classification.runs import provenance
from tests.support import result_files
from tests.support.commands import SHORT, experiment_of, is_refused, run, run_and_listen
from tests.support.tiny import make_experiment, train
from utils.utils import UserError, size_text

MODELS = ['STL', 'LASEM_HPS', 'LASEMG_HPS', 'DARTS_HPS', 'BruteForce_HPS', 'DEN', 'EWC']


# ---- the estimate ----

@pytest.mark.parametrize('model', MODELS)
def test_the_estimate_is_the_size_of_the_entry(model, tmp_path):
    experiment = make_experiment(model, order=(0, 1), epochs=3)
    _, record = train(experiment, tmp_path)
    made_by = dict(provenance.of_command(experiment), data_checksum='x' * 64,
                   data_folder='/data/raw/fashion-mnist',
                   host='node17.cluster', device='CPU', threads=4, started='2026-11-26T01:02:03Z')
    records = [record._replace(trial=number, origin=json.dumps([made_by])) for number in range(3)]
    more = dict(sizes.UNKNOWN, chosen_config=experiment.pattern
                or [sizes.chosen_patterns(record) for record in records])
    path = str(tmp_path / 'x.mat')
    append_entry(path, sizes.entry_of(experiment, records, more))
    assert abs(sizes.entry_bytes(experiment, 3) / os.path.getsize(path) - 1) < 0.1


@pytest.mark.parametrize('options, tasks', [
    (['--model_type', 'HPS'], 40), (['--model_type', 'LASEM_HPS'], 10),
    (['--model_type', 'DARTS_HPS', '--leep'], 10)])
def test_the_estimate_of_long_experiments_follows_their_arrays(options, tasks):
    experiment = experiment_of(*options)
    experiment = experiment._replace(task_order=tuple(range(tasks)),
                                     class_counts={task: 10 for task in range(tasks)},
                                     training=experiment.training._replace(epochs=2000))
    rows = 2000 * tasks
    floats = 3 * (tasks + 1) + 1 + 2 + (2 * 16 if 'LASEM_HPS' in options else 8 if 'DARTS_HPS' in options
                                    else 0) / 2.
    assert abs(sizes.entry_bytes(experiment, 5) / (5 * 8. * rows * floats) - 1) < 0.01


def test_joint_training_and_stl_analyses_have_estimates():
    joint = experiment_of()._replace(lifelong=False)
    assert 0 < sizes.entry_bytes(joint, 2) < 1e6
    assert sizes.entry_bytes(experiment_of('--model_type', 'STL', '--stl_analysis', '--stl_task_to_learn',
                                           '1'), 1) > 1e4


def test_a_dry_run_tells_the_size_and_needs_nothing_written(folder):
    status, out, err = run_and_listen(SHORT + ['--num_runs', '2', '--dry_run'])
    size = size_text(sizes.entry_bytes(experiment_of(*SHORT), 2))
    assert (status, err) == (0, '') and 'result file: this entry takes about %s\n' % size in out
    assert os.listdir(str(folder)) == []


def test_an_entry_that_is_too_large_by_itself_is_refused_before_training(folder, monkeypatch):
    size = sizes.entry_bytes(experiment_of(*SHORT), 2)
    monkeypatch.setattr(mat_parts, 'MAX_BYTES', size - 1)
    for more in ([], ['--dry_run']):
        is_refused(SHORT + ['--num_runs', '2'] + more,
                   'its entry in the result file would take %s, and MATLAB reads at most' % size_text(size))
    assert os.listdir(str(folder)) == []
    monkeypatch.setattr(mat_parts, 'MAX_BYTES', size)
    monkeypatch.setattr(train_wrapper.Run, 'run', lambda self: 0)
    assert run(SHORT + ['--num_runs', '2']) == 0


# ---- the next file ----

def entry(number, size=1000, **more):
    return dict({'run_id': 'r%d' % number, 'fingerprint': 'f%d' % number, 'values': np.arange(size) + 0.5
                 + number}, **more)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Path of a result file; a file takes two entries of the usual size."""
    monkeypatch.setattr(mat_parts, 'MAX_BYTES', 20000)
    return str(tmp_path / 'x.mat')


def stored(folder):
    return {name: [one['run_id'] for one in entries(str(folder / name))]
            for name in sorted(os.listdir(str(folder)))
            if name.endswith('.mat')}


def test_what_does_not_fit_goes_into_the_next_file(small, tmp_path):
    names = [os.path.basename(append_entry(small, entry(number))) for number in range(5)]
    assert names == ['x.mat', 'x.mat', 'x-2.mat', 'x-2.mat', 'x-3.mat']
    assert stored(tmp_path) == {'x.mat': ['r0', 'r1'], 'x-2.mat': ['r2', 'r3'], 'x-3.mat': ['r4']}
    assert [loadmat(path).get('continues', [None])[0] for path in series(small)] == [None, 'x.mat', 'x.mat']
    for number in range(5):
        np.testing.assert_array_equal(find_entry(small, 'f%d' % number)['values'],
                                      entry(number)['values'][None])
    assert os.path.basename(locate(small, 'f3')[0]) == 'x-2.mat' and locate(small, 'f9') == (None, None)


def test_a_file_that_continues_another_is_not_given_a_name_of_its_own(small, tmp_path):
    for number in range(3):
        append_entry(small, entry(number))
    is_refused(SHORT + ['--result_dir', str(tmp_path), '--save_mat_name', 'x-2.mat'],
               '--save_mat_name x-2.mat: that file continues x.mat; give --save_mat_name x.mat')


def test_what_a_crash_between_two_files_left_goes_when_the_entry_is_added_again(small, tmp_path):
    for number in (0, 1, 2):
        append_entry(small, entry(number))
    append_entry(str(tmp_path / 'other.mat'), entry(1))
    with open(str(tmp_path / 'other.mat'), 'rb') as other:         # the same run in both files
        mat_file._ResultFile(str(tmp_path / 'x-2.mat')).write(
            mat_parts.parts_of(other).entries[0]._replace(stream=other), None)
    assert stored(tmp_path)['x.mat'] == ['r0', 'r1'] and stored(tmp_path)['x-2.mat'] == ['r2', 'r1']
    append_entry(small, entry(1))
    assert stored(tmp_path)['x.mat'] == ['r0'] and stored(tmp_path)['x-2.mat'] == ['r2', 'r1']


def test_the_next_file_lies_beside_the_target_of_a_link(small, tmp_path):
    (tmp_path / 'shared').mkdir()
    os.symlink(os.path.join('shared', 'all.mat'), small)
    for number in range(3):
        append_entry(small, entry(number))
    assert stored(tmp_path / 'shared') == {'all.mat': ['r0', 'r1'], 'all-2.mat': ['r2']}
    assert find_entry(small, 'f2')['run_id'] == find_entry(str(tmp_path / 'shared' / 'all.mat'),
                                                           'f2')['run_id'] == 'r2'


def test_a_named_pipe_in_place_of_the_next_file_is_passed_over(small, tmp_path):
    os.mkfifo(str(tmp_path / 'x-2.mat'))
    for number in range(3):
        append_entry(small, entry(number))
    assert [os.path.basename(path) for path in series(small)] == ['x.mat', 'x-3.mat']


def test_every_file_can_be_read_by_matlab(small, tmp_path):
    for number in range(5):
        append_entry(small, entry(number))
    assert all(os.path.getsize(path) < 20000 + 500 for path in series(small))


def test_files_of_that_name_that_do_not_continue_it_are_passed_over(small, tmp_path):
    savemat(str(tmp_path / 'x-2.mat'), {'mine': 1})
    savemat(str(tmp_path / 'x-4.mat'), {'continues': 'other.mat', 'training_summary': 1})
    (tmp_path / 'x-5.mat').write_text('no MATLAB file')
    (tmp_path / 'x-06.mat').write_text('')
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(str(tmp_path))}
    for number in range(3):
        append_entry(small, entry(number))
    assert [os.path.basename(path) for path in series(small)] == ['x.mat', 'x-6.mat']
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_an_entry_is_replaced_where_it_is(small, tmp_path):
    for number in range(4):
        append_entry(small, entry(number))
    assert os.path.basename(append_entry(small, entry(1, fingerprint='new'))) == 'x.mat'
    assert os.path.basename(append_entry(small, entry(7, fingerprint='f2'), replace=True)) == 'x-2.mat'
    assert stored(tmp_path) == {'x.mat': ['r0', 'r1'], 'x-2.mat': ['r7', 'r3']}


def test_an_entry_that_has_grown_moves_to_a_file_that_takes_it(small, tmp_path):
    for number in range(3):
        append_entry(small, entry(number))
    assert os.path.basename(append_entry(small, entry(0, 1500))) == 'x-3.mat'
    assert stored(tmp_path) == {'x.mat': ['r1'], 'x-2.mat': ['r2'], 'x-3.mat': ['r0']}
    assert os.path.basename(append_entry(small, entry(1, 9000))) == 'x.mat'       # alone there
    assert stored(tmp_path) == {'x.mat': ['r1'], 'x-2.mat': ['r2'], 'x-3.mat': ['r0']}


@pytest.mark.parametrize('compressed', [False, True])
def test_next_files_that_matlab_wrote_again_are_known(compressed, small, tmp_path):
    for number in range(3):
        append_entry(small, entry(number))
    path = str(tmp_path / 'x-2.mat')
    content = loadmat(path, mat_dtype=True)
    savemat(path, {name: content[name] for name in ('training_summary', 'continues')},
            do_compression=compressed)
    assert continued(path) == 'x.mat' and first_of(path) == small and first_of(small) == small
    assert os.path.basename(append_entry(small, entry(3))) == 'x-2.mat' and stored(tmp_path)['x-2.mat'] == [
        'r2', 'r3']


def test_a_damaged_next_file_is_named(small, tmp_path):
    for number in range(3):
        append_entry(small, entry(number))
    path = tmp_path / 'x-2.mat'
    path.write_bytes(path.read_bytes()[:-100])
    for call in (lambda: append_entry(small, entry(4)), lambda: find_entry(small, 'f0')):
        with pytest.raises(UserError, match='x-2.mat is damaged'):
            call()


def test_the_report_reads_all_files_once(monkeypatch, tmp_path):
    path = str(tmp_path / 'x.mat')
    result_files.write(path, 'STL', [result_files.drawn('STL')], config=True)
    monkeypatch.setattr(mat_parts, 'MAX_BYTES', os.path.getsize(path) + 100)
    result_files.write(path, 'SNN', [result_files.drawn('SNN')], config=True)
    second, = series(path)[1:]
    for given in ([path], [path, second], [second, path]):
        (group,), notes = read_groups(given)
        assert sorted(one.label for one in group.members) == ['SNN', 'STL'] and notes == []
        assert all(one.config for one in group.members)


def test_a_finished_experiment_in_the_next_file_is_found(folder, monkeypatch):
    experiment = experiment_of(*SHORT)
    path = str(folder / 'Result' / 'digits.mat')
    os.mkdir(str(folder / 'Result'))
    append_entry(path, entry(0))
    monkeypatch.setattr(mat_parts, 'MAX_BYTES', 1)
    append_entry(path, entry(1, fingerprint=experiment.fingerprint(), train_valid_data_group=[0, 1]))
    status, out, _ = run_and_listen(SHORT + ['--num_runs', '2'])
    assert status == 0 and out.startswith('%s already holds this experiment'
                                          % os.path.join('Result', 'digits-2.mat'))


# ---- adding ----

@pytest.mark.parametrize('old', [0, 1, 6])
def test_adding_takes_little_memory(old, tmp_path):
    """Beyond what there was before, at most 1.3 times the file and the entry;
    here 12 MB an entry, five trials."""
    program = '''
import os, sys, threading, time
import numpy as np
from classification.results.mat_file import append_entry

def entry(number):
    return {'run_id': str(number),
            'runs': [{'values': np.full((3000, 100), float(number + run))} for run in range(5)]}

def memory():
    with open('/proc/self/statm') as stream:
        return int(stream.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

def watch():
    while not done:
        peak.append(memory())
        time.sleep(0.001)

append_entry('first.mat', {'run_id': 'imports'})
for number in range(int(sys.argv[1])):
    append_entry('x.mat', entry(number))
new, done = entry(-1), []
size = os.path.getsize('x.mat') if os.path.exists('x.mat') else 0
peak, watcher = [memory()], threading.Thread(target=watch)
watcher.start()
append_entry('x.mat', new)
done.append(1)
watcher.join()
print((max(peak) - peak[0]) / float(size + 12e6))
'''
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(mat_file.__file__))))
    share = float(subprocess.check_output([sys.executable, '-c', program, str(old)], cwd=str(tmp_path),
                                          env=dict(os.environ, PYTHONPATH=root)))
    assert share < 1.3


def test_other_variables_and_experiments_are_copied_as_they_are(tmp_path):
    path = str(tmp_path / 'x.mat')
    content = encoded({'before': [1., 2.], 'training_summary': [entry(0)], 'x' * 31: ['a', 'b']})
    (tmp_path / 'x.mat').write_bytes(content)
    append_entry(path, entry(1))
    after = (tmp_path / 'x.mat').read_bytes()
    assert after.startswith(content[:content.index(b'training_summary') - 48]) and after.endswith(
        content[-100:])
    assert len(after) == len(content) + len(encoded({'training_summary': [entry(1)]})) - 192
