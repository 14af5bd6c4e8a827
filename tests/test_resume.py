"""A trial that was interrupted, or killed, and taken up again equals one that was left alone, bit for bit."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

import main
from classification import checkpoint, trial_process
from classification.experiment import resolve
from classification.mat_file import entries
from classification.trial_process import trial_folder
from tests import command_line
from tests.trials import make_experiment, make_trial, train, train_with_stops
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

CASES = [      # of every selection one at least; the network has one layer; choices: what makes the case a hard one
    ('SNN', dict(order=(0, 1))),
    ('APD', dict(order=(0, 1), early_stopping=2, pattern='S')),
    ('Hybrid_DFCNN', dict(order=(0,), pattern='S')),
    ('LASEM_HPS', dict(order=(0, 1, 0), lr=0.03, seed=0, choices='ST')),             # a roll-back to before the stops
    ('LASEM_APD', dict(order=(0,), early_stopping=2, em_cnt_prior=True)),
    ('LASEMG_DFCNN', dict(order=(0,), reset_prior=True)),
    ('LASEM_fixed_TF', dict(order=(0,), favoured='S')),
    ('DARTS_HPS', dict(order=(0, 1, 0), darts_selection_data='valid')),
    ('BruteForce_HPS', dict(order=(0, 1, 0), early_stopping=2, lr=0.02, choices='SS')),      # the first alternative wins
    ('DEN', dict(order=(0, 1), epochs=5)),                                           # two epochs of stage B, one of others
]


@pytest.mark.parametrize('model_type, settings', CASES, ids=[model_type for model_type, _ in CASES])
def test_stopped_after_every_epoch(model_type, settings, tmp_path):
    settings = dict(settings)
    choices = settings.pop('choices', None)
    experiment = make_experiment(model_type, depth=1, **settings)
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    trial, record = train(experiment, tmp_path / 'calm')
    stopped_trial, stopped_record, log = train_with_stops(experiment, tmp_path / 'stopped')
    same_trial(trial, record, stopped_trial, stopped_record)
    if choices:
        assert ''.join(trial.method.pattern_of(task) for task in experiment.tasks) == choices
    phases = [[experiment.training.epochs] for _ in experiment.task_order]
    if model_type.startswith('BruteForce'):
        phases[1] *= 2
    elif model_type == 'DEN':
        phases[1] = record.extra['den_stage_epochs'][1]
        assert phases[1].tolist() == [1, 2, 1, 1] and record.extra['den_split'][1].any()
    assert resumptions(log) == [(position, epoch) for position, of_position in enumerate(phases)
                                for epochs in of_position for epoch in range(1, epochs + 1)]


def test_damaged_checkpoints_cost_time_and_no_numbers(tmp_path):
    experiment = make_experiment('Hybrid_HPS', (0,), epochs=4, depth=1)
    for name in ('calm', 'stopped'):
        (tmp_path / name).mkdir()
    newest, before = [str(tmp_path / 'stopped' / name) for name in ('checkpoint', 'checkpoint.previous')]
    damaged = {2: [newest], 5: [newest, before]}        # after which stop: the last checkpoint, then both
    stops = []

    def damage():
        stops.append(None)
        for path in damaged.get(len(stops), ()):
            with open(path, 'r+b') as stream:
                stream.truncate(os.path.getsize(path) - 1)

    stopped_trial, stopped_record, log = train_with_stops(experiment, tmp_path / 'stopped', damage)
    same_trial(*(train(experiment, tmp_path / 'calm') + (stopped_trial, stopped_record)))
    # The second epoch was lost and repeated; after the fourth, everything was.
    assert resumptions(log) == [(0, epoch) for epoch in (1, 1, 2, 3, 1, 2, 3, 4)]
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
        self.children = []
        self.options = OPTIONS + options + ['--result_dir', str(folder)]

    def start(self):
        self.folder.mkdir(exist_ok=True)
        self.parent = start(self.options, self.folder / 'said.txt')
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

    @property
    def checkpoint(self):
        return os.path.join(trial_folder(str(self.folder_of_run), 0), 'checkpoint')

    def last_checkpoint(self):
        """What it says."""
        return checkpoint.load(self.checkpoint, pytest.fail)[0]

    def log(self):
        return (self.folder_of_run / 'log.txt').read_text().splitlines()

    def entry(self):
        """The one experiment in the result file."""
        found, = entries(str(self.folder / 'found.mat'))
        return found

    def child(self):
        """The process of the running trial; waits for it."""
        def look():
            assert self.parent.poll() is None, (self.folder / 'said.txt').read_text()
            return next((child for child in psutil.Process(self.parent.pid).children()
                         if main.TRIAL_COMMAND in command_of(child)), None)
        self.children.append(waited_for(look, 0.05))
        return self.children[-1]

    def child_stopped_when(self, condition):
        """Freezes the trial (SIGSTOP) when its last checkpoint meets a condition.

        Returns:
            (process of the trial, what its last checkpoint says).
        """
        child, seen = self.child(), [None]

        def look():
            assert not gone(child), 'the trial ended before it was at the place to stop it'
            if written_at(self.checkpoint) in seen:
                return None
            freeze(child)
            meta = self.last_checkpoint()
            if condition(meta):
                return child, meta
            seen.append(written_at(self.checkpoint))
            child.resume()
        return waited_for(look)

    def kill(self, child):
        """SIGKILL to the command and its trial."""
        self.parent.kill()
        child.kill()
        assert self.wait() == -signal.SIGKILL
        waited_for(lambda: gone(child))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Ends what a failed test left running."""
        if self.parent.poll() is None:
            self.parent.kill()
            self.parent.wait()
        for child in self.children:
            if not gone(child):
                child.kill()


def freeze(process):
    """SIGSTOP; returns when it has stopped."""
    process.suspend()
    waited_for(lambda: process.status() == psutil.STATUS_STOPPED)


def start(options, said):
    """A process of tests/command_line.py that writes what it says to a file."""
    with open(str(said), 'w') as stream:      # without Keras TensorFlow 2 is there in two thirds of the time
        return subprocess.Popen([sys.executable, '-m', 'tests.command_line'] + options, cwd=ROOT, stdout=stream,
                                stderr=subprocess.STDOUT, env=dict(os.environ, TF_USE_LEGACY_KERAS='1'))


def waited_for(condition, pause=0.003):
    """What `condition` returns once it is true."""
    end = time.time() + SECONDS
    while time.time() < end:
        found = condition()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError('waited in vain')


def written_at(path):
    """When a file was written; None if there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


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


COMMANDS = {
    'HPS': ['HPS', '--transfer_config', 'top1', '--num_tasks', '2', '--epochs_per_task', '6'],
    'LASEM': ['LASEM_HPS', '--em_cnt_prior', '--num_tasks', '2', '--epochs_per_task', '6'],
    'DARTS': ['DARTS_HPS', '--darts_selection_data', 'valid', '--num_tasks', '2', '--epochs_per_task', '6'],
    'BruteForce': ['BruteForce_HPS', '--num_tasks', '2', '--epochs_per_task', '4'],
}


def run_of(name, folder):
    return Run(folder, ['--num_runs', '1', '--model_type'] + COMMANDS[name])


@pytest.fixture(scope='module')
def calm(tmp_path_factory):
    """Function name of a command -> the Run that nobody disturbed; they are trained while the tests go on."""
    folder = tmp_path_factory.mktemp('calm')
    runs = {name: run_of(name, folder / name) for name in sorted(COMMANDS)}
    process = start([word for name in COMMANDS for word in [command_line.ONE_PROCESS] + runs[name].options],
                    folder / 'said.txt')

    def result(name):
        assert process.wait(SECONDS) == 0, (folder / 'said.txt').read_text()
        assert resumptions(runs[name].log()) == []
        return runs[name]
    yield result
    if process.poll() is None:
        process.kill()
        process.wait()


def test_killed_at_every_stage(calm, tmp_path, monkeypatch, capfd):
    stages = Counter()
    with run_of('HPS', tmp_path).start() as run:
        # Before there is a checkpoint: both. But first, the same experiment at the same time.
        child = run.child()
        freeze(child)
        command_line.change(monkeypatch.setitem)
        monkeypatch.setattr(trial_process, 'LOCK_SECONDS', 0.1)
        assert main.main(run.options + ['--quiet']) == 2
        said = capfd.readouterr().err
        assert said.count('\n') == 1 and 'already running' in said
        assert 'process %d on %s' % (run.parent.pid, socket.gethostname()) in said
        assert not os.path.exists(run.checkpoint)
        run.kill(child)
        stages['before the first checkpoint'] += 1

        # The child only: its trial has failed.
        child, meta = run.start().child_stopped_when(inside(0))
        child.kill()
        assert run.wait() == 1
        error, = run.errors()
        assert 'trial 0 ended with signal 9; the same command resumes it' in error
        assert '1 trial failed (0)' in run.said and not (tmp_path / 'found.mat').exists()
        stages['inside task %d' % meta['position']] += 1

        # The parent only: the child ends by itself, with a checkpoint.
        child, killed_at = run.start().child_stopped_when(inside(1))
        assert resumptions(run.log()) == [place_of(meta)]
        run.parent.kill()
        assert run.wait() == -signal.SIGKILL
        child.resume()
        waited_for(lambda: gone(child))
        left = run.last_checkpoint()
        assert killed_at['global_epoch'] < left['global_epoch'] <= killed_at['global_epoch'] + 2 and left['inside']
        stages['inside task %d' % killed_at['position']] += 1

        assert run.start().wait() == 0 and run.errors() == []
        assert resumptions(run.log())[1:] == [place_of(left)]
        same_result(run, calm('HPS'))
        assert sorted(os.listdir(os.path.dirname(run.checkpoint))) == [
            '.holder', '.lock', 'accuracy_matrix.csv', 'history.csv', 'record.npz']
    print('kills: %s' % ', '.join('%s: %d' % stage for stage in sorted(stages.items())))
    assert set(stages) == {'before the first checkpoint', 'inside task 0', 'inside task 1'}


def kill_both(run, child):
    run.kill(child)


def ask_to_stop(run, child):
    run.parent.terminate()
    time.sleep(0.5)         # the parent passes it on; the frozen child learns of it when it goes on
    child.resume()
    assert run.wait() == 75 and run.errors() == []
    assert 'interrupted; the same command resumes it' in run.said
    assert gone(child)


SEARCHES = {       # how and where it is interrupted
    'LASEM': (kill_both, inside(1)), 'DARTS': (ask_to_stop, inside(1)), 'BruteForce': (kill_both, inside(1, phase=1))}


def interrupted_search(name, folder):
    """(the Run after it was interrupted and resumed, where that was)."""
    interrupt, where = SEARCHES[name]
    with run_of(name, folder).start() as run:
        child, _ = run.child_stopped_when(where)
        interrupt(run, child)
        meta = run.last_checkpoint()
        assert meta['inside'] and meta['position'] == 1
        assert run.start().wait() == 0, run.said
        return run, place_of(meta)


@pytest.fixture(scope='module')
def searches(tmp_path_factory):
    """name -> Future of `interrupted_search`; two at a time."""
    folder = tmp_path_factory.mktemp('searches')
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(interrupted_search, name, folder / name) for name in sorted(SEARCHES)}


@pytest.mark.parametrize('name', sorted(SEARCHES))
def test_a_search_is_interrupted_inside_its_second_task(name, searches, calm):
    run, place = searches[name].result()
    assert place[0] == 1 and place[1] >= 1
    assert resumptions(run.log()) == [place]
    same_result(run, calm(name))


def test_a_loss_that_is_no_number_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    command_line.change(monkeypatch.setitem)
    monkeypatch.setitem(env.TRAINING, 'digits5', env.TRAINING['digits5']._replace(lr=1e30))
    monkeypatch.setattr(trial_process, '_Stop', lambda: lambda: False)
    options = OPTIONS + ['--model_type', 'STL', '--num_tasks', '1', '--epochs_per_task', '1']
    experiment = resolve(main._parser().parse_args(options), pytest.fail)
    settings = dict(data_dir='', gpu=-1, threads=1, checkpoint_minutes=0, graph_folder=None)
    (tmp_path / 'trial0').mkdir()
    (tmp_path / trial_process.CONFIG).write_text(
        json.dumps({'experiment': json.loads(experiment.to_json()), 'settings': settings}))
    assert trial_process.run_trial_process(str(tmp_path), 0) == 1
    told, = capsys.readouterr().out.splitlines()
    assert json.loads(told) == {'failed': 'the loss of task 0 became nan in epoch 1'}
    assert 'trial 0 failed: the loss of task 0 became nan in epoch 1\n' in (tmp_path / trial_process.LOG).read_text()
    assert not (tmp_path / 'trial0' / trial_process.RECORD).exists()
