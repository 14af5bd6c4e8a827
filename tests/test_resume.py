"""A trial that was interrupted, or killed, and taken up again equals one that was left alone, bit for bit."""
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import psutil
import pytest

import main
from classification import checkpoint, trial_process
from classification.mat_file import entries
from classification.trial_process import trial_folder
from tests import command_line
from tests.trials import make_experiment, train, train_with_stops
from utils import utils_env_cl as env

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIMES = ('training_time', 'time_per_task')      # what these names begin is not compared


def same(one, other, place):
    """Asserts that two records, results or stores are equal bit for bit, times aside."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert set(one) == set(other), place
        for key in one:
            if not key.startswith(TIMES):
                same(one[key], other[key], '%s %s' % (place, key))
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for index, pair in enumerate(zip(one, other)):
            same(pair[0], pair[1], '%s %d' % (place, index))
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), place
        assert one.tobytes() == other.tobytes(), '%s: %s is not %s' % (place, one, other)
    else:
        assert one == other, place


def same_trial(trial, record, other_trial, other_record):
    """Asserts that two trials recorded and left behind the same."""
    same(record._asdict(), other_record._asdict(), 'record')
    same(dict(trial.store), dict(other_trial.store), 'store')
    same(trial.method.state, other_trial.method.state, 'state')


def resumptions(log):
    """(position, epoch of the task) at which a trial was taken up, each time."""
    return [tuple(int(word.rstrip(',')) for word in line.split('resumed at')[1].split() if word.rstrip(',').isdigit())
            for line in log if 'resumed at' in line]


# ---- in one process: stopped after every epoch ----

CASES = [      # of every selection one at least; the network has one layer
    ('SNN', dict(order=(0, 1))),
    ('APD', dict(order=(0, 1), early_stopping=2, pattern='S')),
    ('Hybrid_DFCNN', dict(order=(0, 1), pattern='S')),
    ('LASEM_HPS', dict(order=(0, 1, 0))),
    ('LASEM_APD', dict(order=(0, 1), early_stopping=2, em_cnt_prior=True)),
    ('LASEMG_DFCNN', dict(order=(0,), reset_prior=True)),
    ('LASEM_fixed_TF', dict(order=(0,), favoured='S')),
    ('DARTS_HPS', dict(order=(0, 1, 0), darts_selection_data='valid')),
    ('BruteForce_HPS', dict(order=(0, 1, 0), early_stopping=2)),
]


@pytest.mark.parametrize('model_type, settings', CASES, ids=[model_type for model_type, _ in CASES])
def test_stopped_after_every_epoch(model_type, settings, tmp_path):
    experiment = make_experiment(model_type, depth=1, **settings)
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    trial, record = train(experiment, tmp_path / 'calm')
    stopped_trial, stopped_record, log = train_with_stops(experiment, tmp_path / 'stopped')
    same_trial(trial, record, stopped_trial, stopped_record)
    searched = [2 if model_type.startswith('BruteForce') and position == 1 else 1
                for position in range(len(experiment.task_order))]
    assert resumptions(log) == [(position, epoch) for position, phases in enumerate(searched)
                                for _ in range(phases) for epoch in (1, 2)]


def test_damaged_checkpoints_cost_time_and_no_numbers(tmp_path):
    experiment = make_experiment('LASEM_HPS', (0, 1), depth=1)
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    newest, before = [str(tmp_path / 'stopped' / name) for name in ('checkpoint', 'checkpoint.previous')]
    damaged = {2: [newest], 4: [newest, before]}        # after which stop: the last checkpoint, then both
    stops = []

    def damage():
        stops.append(None)
        for path in damaged.get(len(stops), ()):
            with open(path, 'r+b') as stream:
                stream.truncate(os.path.getsize(path) - 1)

    stopped_trial, stopped_record, log = train_with_stops(experiment, tmp_path / 'stopped', damage)
    same_trial(*(train(experiment, tmp_path / 'calm') + (stopped_trial, stopped_record)))
    # (0, 2) was lost and repeated; later everything was.
    assert resumptions(log) == [(0, 1), (0, 1), (0, 2), (0, 1), (0, 2), (1, 1), (1, 2)]
    assert [line.split('; ')[-1] for line in log if 'damaged' in line] == [
        'the one before it is used', 'the one before it is used', 'the trial starts anew']


# ---- child processes, killed ----

OPTIONS = ['--data_type', 'DIGITS5', '--num_clayers', '2', '--lifelong', '--threads', '1', '--checkpoint_minutes', '0',
           '--save_mat_name', 'found.mat']
SECONDS = 120       # before a run is taken to hang; only a defect makes a test wait that long


class Run(object):
    """The command line in a process of its own, its results in `folder`; may be started again after it ended."""

    def __init__(self, folder, options):
        self.folder, self.parent, self.said = folder, None, ''
        self.options = OPTIONS + options + ['--result_dir', str(folder)]

    def start(self):
        self.folder.mkdir(exist_ok=True)
        with open(str(self.folder / 'said.txt'), 'w') as said:
            self.parent = subprocess.Popen([sys.executable, '-m', 'tests.command_line'] + self.options, cwd=ROOT,
                                           stdout=said, stderr=subprocess.STDOUT)
        return self

    def wait(self):
        """The exit status; what was said is in `said`."""
        status = self.parent.wait(SECONDS)
        self.said = (self.folder / 'said.txt').read_text()
        return status

    def errors(self):
        """Lines that speak of an error."""
        return [line for line in self.said.splitlines() if line.startswith(('error', 'Traceback'))]

    @property
    def folder_of_run(self):
        return next((self.folder / 'found').iterdir())

    def log(self):
        return (self.folder_of_run / 'log.txt').read_text().splitlines()

    def entry(self):
        """The one experiment in the result file."""
        found, = entries(str(self.folder / 'found.mat'))
        return found

    def child(self):
        """The running trial; waits for it."""
        return waited_for(lambda: next((child for child in psutil.Process(self.parent.pid).children()
                                        if not gone(child) and main.TRIAL_COMMAND in command_of(child)), None))

    def stop_child_when(self, condition):
        """Freezes the trial (SIGSTOP) when its last checkpoint meets a condition.

        Returns:
            (process of the trial, what its last checkpoint says).
        """
        seen = set()

        def look():
            child = self.child()
            path = os.path.join(trial_folder(str(self.folder_of_run), 0), 'checkpoint')
            if not os.path.exists(path) or os.stat(path).st_ino in seen:
                return None
            child.suspend()
            waited_for(lambda: child.status() == psutil.STATUS_STOPPED)
            meta = checkpoint.load(path, pytest.fail)[0]
            if condition(meta):
                return child, meta
            seen.add(os.stat(path).st_ino)
            child.resume()
        return waited_for(look)

    def kill(self, child):
        """SIGKILL to the command and its trial."""
        self.parent.kill()
        child.kill()
        assert self.wait() == -signal.SIGKILL
        waited_for(lambda: gone(child))


def waited_for(condition):
    """What `condition` returns once it is true."""
    end = time.time() + SECONDS
    while time.time() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.002)
    raise AssertionError('waited in vain')


def command_of(process):
    """The words of its command line; none if it is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def gone(process):
    """Whether a process has ended, buried or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def inside(position, phase=0):
    """Whether a checkpoint was written in the midst of a task, not before this position."""
    return lambda meta: meta['inside'] and meta['epoch'] > 0 and (meta['position'], meta['phase']) >= (position, phase)


def place_of(meta):
    return meta['position'], meta['epoch']


def same_result(run, calm):
    """Asserts that the result files of two runs hold the same numbers."""
    one, other = run.entry(), calm.entry()
    for name in ('run_id', 'command'):
        assert one.pop(name) and other.pop(name)
    same(one, other, 'entry')
    assert len(np.unique(one['result_of_each_run'][0]['history_train_error'].round(3))) > 5      # something was learned


def test_killed_and_interrupted_in_every_way(tmp_path, monkeypatch, capfd):
    options = ['--model_type', 'HPS', '--transfer_config', 'top1', '--num_tasks', '3', '--epochs_per_task', '6',
               '--num_runs', '2']
    calm, run, stages = Run(tmp_path / 'calm', options).start(), Run(tmp_path / 'killed', options), Counter()

    run.start()                                     # before there is a checkpoint: both
    child = run.child()
    command_line.change(monkeypatch.setitem)
    monkeypatch.setattr(trial_process, 'LOCK_SECONDS', 0.1)
    waited_for(lambda: os.path.exists(str(tmp_path / 'killed/found')) and (run.folder_of_run / 'log.txt').exists())
    assert main.main(run.options + ['--quiet']) == 2               # the same experiment at the same time
    said = capfd.readouterr().err
    assert said.count('\n') == 1 and 'process %d on ' % run.parent.pid in said and 'already running' in said
    run.kill(child)
    stages['before the first checkpoint'] += 1

    run.start()                                     # the child only: it has failed, the other trial is trained
    child, meta = run.stop_child_when(inside(0))
    child.kill()
    assert run.wait() == 1
    stages['task %d' % meta['position']] += 1
    error, = run.errors()
    assert 'trial 0 ended with signal 9' in error and '1 trial failed (0)' in run.said
    assert run.entry()['train_valid_data_group'].ravel().tolist() == [1]

    run.start()                                     # the parent only: the child ends by itself, and not without a checkpoint
    child, killed_at = run.stop_child_when(inside(1))
    assert resumptions(run.log()) == [place_of(meta)]
    run.parent.kill()
    assert run.wait() == -signal.SIGKILL
    child.resume()
    waited_for(lambda: gone(child))
    left, _ = checkpoint.load(os.path.join(trial_folder(str(run.folder_of_run), 0), 'checkpoint'), pytest.fail)
    assert left['global_epoch'] == killed_at['global_epoch'] + 1
    assert 'finished' not in run.log()[-1]
    stages['task %d' % killed_at['position']] += 1

    run.start()                                     # asked to stop: it does, at the end of the epoch
    child, asked_at = run.stop_child_when(inside(2))
    assert resumptions(run.log())[1:] == [place_of(left)]
    run.parent.terminate()
    child.resume()
    assert run.wait() == 75
    assert run.errors() == [] and 'interrupted; the same command resumes it' in run.said
    assert gone(child)
    stages['task %d' % asked_at['position']] += 1

    assert run.start().wait() == 0 and run.errors() == []
    assert resumptions(run.log())[2:] == [(asked_at['position'], asked_at['epoch'] + 1)]
    assert [line.split(' ', 2)[2] for line in run.log() if 'finished' in line] == ['trial 1: finished', 'trial 0: finished']
    assert calm.wait() == 0
    same_result(run, calm)
    assert sorted(os.listdir(str(run.folder_of_run / 'trial0'))) == sorted(os.listdir(str(calm.folder_of_run / 'trial0')))
    print('kills: %s' % ', '.join('%s: %d' % stage for stage in sorted(stages.items())))
    assert set(stages) == {'before the first checkpoint', 'task 0', 'task 1', 'task 2'}


@pytest.mark.parametrize('options, victims, where', [
    (['LASEM_HPS', '--em_cnt_prior'], 'both', inside(1)),
    (['DARTS_HPS', '--darts_selection_data', 'valid'], 'child', inside(1)),
    (['BruteForce_HPS'], 'both', inside(1, 1)),
], ids=['LASEM', 'DARTS', 'BruteForce'])
def test_a_search_is_killed_inside_its_second_task(options, victims, where, tmp_path):
    epochs = 4 if options[0].startswith('Brute') else 6
    options = ['--model_type'] + options + ['--num_tasks', '2', '--epochs_per_task', str(epochs), '--num_runs', '1']
    calm, run = Run(tmp_path / 'calm', options).start(), Run(tmp_path / 'killed', options).start()
    child, meta = run.stop_child_when(where)
    if victims == 'both':
        run.kill(child)
    else:
        child.kill()
        assert run.wait() == 1
        assert not (tmp_path / 'killed/found.mat').exists()
    assert meta['position'] == 1 and 1 <= meta['epoch'] < epochs
    assert run.start().wait() == 0
    assert resumptions(run.log()) == [place_of(meta)]
    assert calm.wait() == 0
    assert resumptions(calm.log()) == []
    same_result(run, calm)


def test_a_loss_that_is_no_number_gets_one_line(tmp_path, monkeypatch, capfd):
    command_line.change(monkeypatch.setitem)
    monkeypatch.setitem(env.TRAINING, 'digits5', env.TRAINING['digits5']._replace(lr=1e30))
    run = Run(tmp_path, ['--model_type', 'STL', '--num_tasks', '1', '--epochs_per_task', '1', '--num_runs', '1', '--quiet'])
    assert main.main(run.options) == 1
    out, err = capfd.readouterr()
    first, last = err.splitlines()
    assert out == '' and last == '1 trial failed (0); the same command tries them again'
    assert first.startswith('error: trial 0: the loss of task 0 became nan in epoch 1 (')
    assert not (tmp_path / 'found.mat').exists()
    assert [line for line in run.log() if 'trial 0 failed: the loss of task 0 became nan in epoch 1' in line]
