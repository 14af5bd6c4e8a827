"""Trials write what was drawn, and learn from what they are given: whole runs."""
import glob
import os
import shutil

import numpy as np
import pytest

from classification import gen_data
from classification.data import splits_file
from classification.experiment import compositions
from classification.results.mat_file import entries
from classification.results.trial_record import load_record
from tests.support.commands import QUICK, Run, is_refused, run_and_listen
from tests.support.result_files import same

TWO = QUICK[:-1] + ['2', '--model_type', 'HPS', '--num_tasks', '2', '--epochs_per_task', '1', '--quiet']


@pytest.fixture
def here(tmp_path, monkeypatch, train_here):
    """An empty folder; trials are trained in this process."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(name, *options):
    """The run folder of an experiment."""
    status, _, err = run_and_listen(TWO + ['--save_mat_name', name + '.mat'] + list(options))
    assert (status, err) == (0, ''), err
    folder, = glob.glob('Result/%s/*/' % name)
    return folder


def files_of(folder):
    return [splits_file.load(path) for path in splits_file.files(folder).values()]


def same_numbers(one, other, trials=('trial0', 'trial1')):
    """Asserts that trials recorded the same, bit for bit."""
    for trial in trials:
        mine, others = [load_record(os.path.join(folder, trial, 'record.npz')) for folder in (one, other)]
        for name in ('accuracy', 'best_test', 'loss', 'peak', 'accuracy_matrix', 'confusion'):
            np.testing.assert_array_equal(getattr(mine, name), getattr(others, name))


def drawn(folder='given'):
    """A folder with the splits of two trials, as a run folder has them; nothing is trained."""
    for number in range(2):
        os.makedirs(os.path.join(folder, 'trial%d' % number))
        gen_data.load_tasks('DIGITS5', '', group=number, num_tasks=2, say=lambda line: None,
                            keep=os.path.join(folder, 'trial%d' % number, 'splits.npz'))
    return folder


def test_what_is_written_is_what_was_trained_on(here, monkeypatch):
    seen, load = [], gen_data.load_tasks
    monkeypatch.setattr(gen_data, 'load_tasks',
                        lambda *args, **more: seen.append(load(*args, **more)) or seen[-1])
    folder = trained('a', '--shuffle_classes')
    assert len(seen) == 2 and seen[0][0].classes != seen[1][0].classes
    for tasks, splits in zip(seen, files_of(folder)):
        for task, cut in zip(tasks, splits.tasks):
            assert task.classes == cut.classes
            for split, (rows, labels) in cut.splits.items():
                np.testing.assert_array_equal(getattr(task, split).image_rows, rows)
                np.testing.assert_array_equal(getattr(task, split).labels, labels)


def test_given_back_they_give_the_same_numbers_and_the_same_file(here):
    first = trained('a')
    same_numbers(trained('b', '--splits', first, '--num_runs', '1'), first, ('trial0',))
    again = trained('b', '--splits', first)               # one more trial of the same experiment
    same_numbers(first, again)
    other = trained('c', '--splits', again, '--seed', '1', '--num_runs', '1')
    expected = [one.checksum() for one in files_of(first)]
    assert [one.checksum() for one in files_of(again)] == expected
    assert [one.checksum() for one in files_of(other)] == expected[:1]
    assert len({os.path.basename(folder.rstrip('/')) for folder in (first, again, other)}) == 3
    entry, = entries('Result/b.mat')
    assert entry['composition_rule'] == 'given' and len(entry['splits_checksum']) == 64
    assert 'composition_rule' not in entries('Result/a.mat')[0]


def test_the_copies_in_the_run_folder_outlive_the_folder_that_was_given(here):
    folder = trained('b', '--splits', drawn(), '--num_runs', '1')
    shutil.rmtree('given')
    status, out, err = run_and_listen(['--from_config', folder + 'config.json', '--num_runs', '2'])
    assert (status, err) == (0, ''), err
    assert glob.glob('Result/b/*/') == [folder] and len(files_of(folder)) == 2
    is_refused(TWO + ['--splits', 'given'], '--splits: given cannot be read')


def test_a_changed_folder_is_another_experiment_and_a_changed_copy_is_put_right(here):
    folder = trained('b', '--splits', drawn(), '--num_runs', '1')
    expected = [one.checksum() for one in files_of('given')]
    copy = os.path.join(folder, compositions.FOLDER, 'trial1.npz')
    shutil.copy(os.path.join('given', 'trial0', 'splits.npz'), copy)
    assert trained('b', '--splits', 'given') == folder     # the command copies them once more
    assert [one.checksum() for one in files_of(folder)] == expected
    shutil.copy(os.path.join('given', 'trial0', 'splits.npz'), os.path.join('given', 'trial1', 'splits.npz'))
    out = run_and_listen(TWO + ['--save_mat_name', 'b.mat', '--splits', 'given', '--dry_run'])[1]
    assert os.path.basename(folder.rstrip('/'))[-8:] not in out.split('\n')[0]


def test_a_trial_refuses_a_copy_that_was_changed_meanwhile(here, monkeypatch):
    keep = compositions.keep

    def then_changed(experiment, folder, run_folder):
        checksums = keep(experiment, folder, run_folder)
        copies = os.path.join(run_folder, compositions.FOLDER, 'trial%d.npz')
        shutil.copy(copies % 1, copies % 0)
        return checksums
    monkeypatch.setattr(compositions, 'keep', then_changed)
    is_refused(TWO + ['--num_runs', '1', '--splits', drawn()],
               'given_splits/trial0.npz is not the file that this experiment began with; '
               'run the same command again')


def test_a_grid_learns_from_given_splits(here):
    status, out, err = run_and_listen(TWO + ['--save_mat_name', 'b.mat', '--splits', drawn(),
                                             '--num_runs', '1', '--grid', 'learning_rate=0.02,0.01'])
    assert (status, err) == (0, ''), err
    expected = [one.checksum() for one in files_of('given')]
    folders = glob.glob('Result/b/*/')
    assert len(folders) == 2 and all([one.checksum() for one in files_of(folder)] == expected[:1]
                                     for folder in folders)


def test_processes_of_trials_write_and_read_them(tmp_path):
    one = Run(tmp_path / 'one', TWO[:-1] + ['--shuffle_classes', '--jobs', '2']).start()
    assert one.wait() == 0, one.said
    assert 'composition of tasks: drawn, another one in each trial (--shuffle_classes)' in one.said
    two = Run(tmp_path / 'two', TWO[:-1] + ['--splits', str(one.folder_of_run)]).start()
    assert two.wait() == 0, two.said
    same_numbers(str(one.folder_of_run), str(two.folder_of_run))
    fields = [run.entry() for run in (one, two)]
    same(fields[0]['final_accuracy'], fields[1]['final_accuracy'], 'final_accuracy')
