"""Whatever strikes a run, and however many run at once, no number is lost: the short versions of `make
soak`."""
import os
import subprocess
import sys

import psutil
import pytest

from classification.results.mat_file import entries
from classification.runs.trial_process import RECORD, trial_folder
from classification.runs.trial_state import STATE
from tests.faults import no_locks
from tests.faults.soak import OPTIONS, Victim
from tests.support.commands import ROOT, Run, freeze, gone, inside, resumptions, waited_for


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    """What the environment of processes holds that find no locks of the system: dict."""
    try:
        preloading = no_locks.preloading(no_locks.library(tmp_path_factory.mktemp('library')))
    except no_locks.NoCompiler as problem:
        pytest.skip('no C compiler: %s' % problem)
    return dict(preloading, **{no_locks.FAIL_WITH: str(no_locks.ERRORS[0])})


def passes(program, *options, **environment):
    """What a program of this folder prints; it must end well."""
    done = subprocess.Popen([sys.executable, '-m', 'tests.faults.' + program] + list(options), cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=dict(os.environ, TF_USE_LEGACY_KERAS='1', OMP_NUM_THREADS='1', **environment))
    said = done.communicate()[0].decode('utf-8')
    print(said)
    assert done.returncode == 0, said
    return said


def test_struck_at_every_stage():
    """Six kills of a trial, one at each of its stages, and each of the other faults once."""
    said = passes('soak', '--forked', '--rounds', '6', '--others', '12', '--models', 'LASEM_HPS')
    assert '18 of  18 rounds struck' in said and 'losses: 0' in said


def test_many_at_once():
    passes('many')


@pytest.mark.parametrize('without', ['half', 'all'])
def test_many_at_once_without_locks_of_the_system(without, library):
    assert '| 0 |' in passes('many', '--without', without)


@pytest.fixture
def runs(library, tmp_path, monkeypatch):
    """Three Victims with one experiment, to be started from an environment without locks of the system."""
    runs = [Victim(tmp_path / 'run', 'HPS', 4, forked=False) for _ in range(3)]
    for number, run in enumerate(runs):
        run.said_at = tmp_path / ('said%d.txt' % number)
    for name, value in library.items():
        monkeypatch.setenv(name, value)
    return runs


def test_a_run_that_was_stopped_and_taken_over_writes_nothing_more(runs, monkeypatch):
    """It finds no locks of the system, the others do.
    It is frozen for longer than its heartbeat may be silent."""
    first, refused, heir = runs
    with first.start(stale_seconds=1):
        child, _ = first.child_stopped_when(inside(0))
        parent = psutil.Process(first.parent.pid)
        freeze(parent)
        monkeypatch.delenv(no_locks.FAIL_WITH)
        is_refused(refused, parent.pid)
        assert heir.start(stale_seconds=1).wait() == 0 and heir.errors() == [], heir.said
        folder = trial_folder(str(heir.folder_of_run), 0)
        before = os.stat(os.path.join(folder, RECORD)), heir.entry()['run_id']
        parent.resume()
        child.resume()
        assert first.wait() == 2
        assert first.errors() and all('was taken over by' in line for line in first.errors()), first.said
        waited_for(lambda: gone(child))
        assert (os.stat(os.path.join(folder, RECORD)), heir.entry()['run_id']) == before
        assert sorted(os.listdir(folder)) == ['.lock', 'accuracy_matrix.csv', 'checkpoint', 'epochs.csv',
                                              'history.csv', RECORD, 'splits.npz', STATE]


def test_a_run_that_was_killed_is_taken_up_at_once_without_locks(runs):
    first, refused, heir = runs
    with first.start():
        child, _ = first.child_stopped_when(inside(0))
        is_refused(refused, first.parent.pid)
        first.kill(child)
    assert heir.start().wait() == 0 and heir.errors() == [], heir.said
    assert 'waiting' not in heir.said and len(resumptions(heir.log())) == 1


def is_refused(run, pid):
    """Asserts that the same experiment does not run twice at once."""
    assert run.start(lock_seconds=0.1).wait() == 2
    line, = run.errors()
    assert 'this experiment is already running: process %d on ' % pid in line


def test_memory_and_open_files_stay_flat():
    """In a process of its own: what other tests have left behind moves too."""
    assert '120 epochs' in passes('endurance', '--epochs', '120')


def test_two_experiments_at_once_under_one_name_are_both_kept(tmp_path):
    """The same experiment twice at once is refused: tests/runs/test_resume.py."""
    options = OPTIONS + ['--model_type', 'HPS', '--epochs_per_task', '2', '--seed']
    runs = [Run(tmp_path / 'run', options + [seed]) for seed in '01']
    for number, run in enumerate(runs):
        run.said_at = tmp_path / ('said%d.txt' % number)
        run.start()
    for run in runs:
        assert run.wait() == 0 and run.errors() == [], run.said
    assert sorted(entry['seed'].item() for entry in entries(str(tmp_path / 'run' / 'found.mat'))) == [0, 1]
    assert sorted(os.listdir(str(tmp_path / 'run'))) == ['.found.mat.lock', 'found', 'found.mat']
