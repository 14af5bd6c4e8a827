"""Whatever strikes a run, and however many run at once, no number is lost: the short versions of `make soak`."""
import os
import subprocess
import sys

from classification.mat_file import entries
from tests.faults.soak import OPTIONS
from tests.processes import ROOT, Run


def passes(program, *options):
    """What a program of this folder prints; it must end well."""
    done = subprocess.Popen([sys.executable, '-m', 'tests.faults.' + program] + list(options), cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=dict(os.environ, TF_USE_LEGACY_KERAS='1', OMP_NUM_THREADS='1'))
    said = done.communicate()[0].decode('utf-8')
    print(said)
    assert done.returncode == 0, said
    return said


def test_struck_at_every_stage():
    """Six kills of a trial, one at each of its stages, and each of the other faults once."""
    said = passes('soak', '--forked', '--rounds', '6', '--others', '9', '--models', 'LASEM_HPS')
    assert '15 of  15 rounds struck' in said and 'losses: 0' in said


def test_many_at_once():
    passes('many')


def test_memory_and_open_files_stay_flat():
    """In a process of its own: what other tests have left behind moves too."""
    assert '120 epochs' in passes('endurance', '--epochs', '120')


def test_two_experiments_at_once_under_one_name_are_both_kept(tmp_path):
    """The same experiment twice at once is refused: tests/test_resume.py."""
    options = OPTIONS + ['--model_type', 'HPS', '--epochs_per_task', '2', '--seed']
    runs = [Run(tmp_path / 'run', options + [seed]) for seed in '01']
    for number, run in enumerate(runs):
        run.said_at = tmp_path / ('said%d.txt' % number)
        run.start()
    for run in runs:
        assert run.wait() == 0 and run.errors() == [], run.said
    assert sorted(entry['seed'].item() for entry in entries(str(tmp_path / 'run' / 'found.mat'))) == [0, 1]
    assert sorted(os.listdir(str(tmp_path / 'run'))) == ['.found.mat.lock', 'found', 'found.mat']
