"""Trials on a Dask cluster of real processes: the same numbers; killed workers, a killed scheduler, wrong
addresses."""
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

import main
from classification.data import splits_file
from classification.runs import cluster_trial, cluster_worker, supervisor, trial_process
from tests.support import command_line
from tests.support.commands import (
    QUICK,
    SECONDS,
    DaskCluster,
    Run,
    gone,
    inside,
    place_of,
    resumptions,
    waited_for,
)
from tests.support.result_files import same
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED

pytest.importorskip('distributed', reason='needs Dask: python3 -m pip install -r requirements-cluster.txt')

# two trials
LEARN = QUICK[:-1] + ['2', '--model_type', 'HPS', '--num_tasks', '2', '--epochs_per_task', '40']


@pytest.fixture(scope='module')
def dask(tmp_path_factory):
    made = DaskCluster(tmp_path_factory.mktemp('cluster') / 'dask', workers=2)
    yield made
    made.end()


@pytest.fixture(scope='module')
def calm(tmp_path_factory):
    """Function -> the Run on this machine that nobody disturbed; it is trained while the tests go on."""
    run = Run(tmp_path_factory.mktemp('calm'), LEARN)
    run.options = [command_line.ONE_PROCESS] + run.options
    run.start()

    def result():
        assert run.wait() == 0, run.said
        return run
    yield result
    if run.parent.poll() is None:
        run.parent.kill()
        run.parent.wait()


class ClusterRun(Run):
    """The command line with its trials on a cluster; of these, trial 0 is frozen and killed."""

    def __init__(self, dask, name):
        super(ClusterRun, self).__init__(dask.folder.parent / name, LEARN + ['--scheduler', dask.address])
        self.dask = dask

    def child(self, number=0):
        self.children.append(waited_for(lambda: self.dask.trial(number), 0.05))
        return self.children[-1]

    def go_on_unwanted(self, child):
        """Lets the frozen trial go on when the sign of life is gone and it is time to look for it."""
        waited_for(lambda: not (self.folder_of_run / trial_process.HEARTBEAT_FILE).exists())
        time.sleep(cluster_worker.LOOK_SECONDS)
        child.resume()


def same_as(calm, run):
    """Asserts that result file, table and settings are those of the other run, but for where it ran."""
    entries = [one.entry() for one in (run, calm)]
    for entry in entries:
        assert entry.pop('run_id') and entry.pop('command')
    same(entries[0], entries[1], 'entry')
    tables = [[line.split('  ')[:-1] for line in one.said.splitlines()
               if line[:4] in ('0   ', '1   ', 'mean')]
              for one in (run, calm)]           # the last column is a time
    assert tables[0] == tables[1] and len(tables[0]) == 4
    configs = [json.loads((one.folder_of_run / 'config.json').read_text()) for one in (run, calm)]
    for config in configs:
        assert config.pop('run_id') and config.pop('command') and config.pop('git_commit')
        config['settings'].pop('scheduler')
        assert sorted(config.pop('origin_of_trial')) == ['0', '1']         # when each began, among others
    assert configs[0] == configs[1]
    drawn = [[splits_file.load(path).checksum()
              for path in splits_file.files(str(one.folder_of_run)).values()]
             for one in (run, calm)]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 2


def test_a_killed_worker_costs_no_numbers(dask, calm):
    with ClusterRun(dask, 'killed').start() as run:
        child, meta = run.child_stopped_when(inside(0))
        child.parent().kill()               # the worker
        waited_for(lambda: len([worker for worker in dask.workers if worker.poll() is None]) == 1)
        child.resume()
        waited_for(lambda: gone(child))     # it does not train on
        left = run.last_checkpoint()
        assert left['inside'] and meta['global_epoch'] <= left['global_epoch'] <= meta['global_epoch'] + 2
        assert run.wait() == 0 and run.errors() == [], run.said
    assert resumptions(run.log()) == [place_of(left)] and left['epoch'] > 0
    assert run.said.count('trial 0: process ') == 2 and run.said.count('trial 1: process ') == 1
    assert [name for name in os.listdir(str(run.folder_of_run)) if 'sign' in name or 'said' in name] == []
    same_as(calm(), run)


@pytest.mark.soak
def test_a_signal_stops_the_trials_and_then_the_scheduler_is_killed(dask, calm):
    with ClusterRun(dask, 'stopped').start() as run:
        child, _ = run.child_stopped_when(inside(0))
        run.parent.send_signal(signal.SIGINT)
        run.go_on_unwanted(child)
        assert run.wait() == EXIT_INTERRUPTED and run.errors() == [], run.said
        assert run.said.splitlines()[-1] == 'interrupted; the same command resumes it'
        waited_for(lambda: not dask.trials())

        first = run.last_checkpoint()

        child, _ = run.start().child_stopped_when(lambda meta: meta['global_epoch'] > first['global_epoch'])
        dask.scheduler.kill()
        run.go_on_unwanted(child)
        assert run.wait() == EXIT_INTERRUPTED, run.said
        waited_for(lambda: not dask.trials())
        places = [place_of(first), place_of(run.last_checkpoint())]
        assert run.said.splitlines()[-1] == (
            'error: the Dask scheduler %s is gone; the same command resumes it'
            % dask.address)
        assert len(run.errors()) == 1 and 'istributed' not in run.said and 'Traceback' not in run.said
        run.options = [word for word in run.options if word not in ('--scheduler', dask.address)]
        assert run.start().wait() == 0, run.said
    assert resumptions([line for line in run.log() if ' trial 0: ' in line]) == places
    assert all(epoch > 0 for _, epoch in places)
    same_as(calm(), run)


@pytest.fixture
def no_silence():
    """Logging as before."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def short(tmp_path, no_silence, monkeypatch):
    """Function of options -> exit status of main.py in this process."""
    command_line.change(monkeypatch.setitem)

    def run(*options):
        return main.main(LEARN + ['--quiet', '--result_dir', str(tmp_path / 'Result')] + list(options))
    return run


CHILD = '''
import json, os, signal, sys
command, folder, number, token, gpu = sys.argv[1:]
with open(os.path.join(folder, 'trial' + number, 'said.txt'), 'a') as said:
    said.write(json.dumps({'note': 'begun'}) + chr(10))
with open(os.path.join(folder, 'begun.txt'), 'a') as begun:
    begun.write(number)
if number == '0':
    os.kill(os.getppid() if os.path.exists('worker') else os.getpid(), signal.SIGKILL)
    sys.exit()
with open(os.path.join(folder, 'trial' + number, 'said.txt'), 'a') as said:
    said.write(json.dumps({'failed': 'the loss of task 0 became nan in epoch 1'}) + chr(10))
sys.exit(1)
'''


@pytest.mark.soak
def test_a_trial_that_dies_again_and_again_is_given_up_and_one_that_fails_is_not_tried_again(
        tmp_path, short, monkeypatch, capfd):
    (tmp_path / 'child.py').write_text(CHILD)
    monkeypatch.setattr(supervisor, 'MAIN', str(tmp_path / 'child.py'))
    monkeypatch.setenv('DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES', '0')
    dask = DaskCluster(tmp_path / 'dask', workers=2)
    try:
        assert short('--scheduler', dask.address) == EXIT_FAILED
        said = capfd.readouterr().err.splitlines()
        begun, = (tmp_path / 'Result' / 'delete_this').glob('*/begun.txt')
        assert sorted(said) == [
            '2 trials failed (0, 1); the same command tries them again',
            'error: trial 0: it was stopped or killed %d times where it ran' % cluster_trial.TRIES,
            'error: trial 1: the loss of task 0 became nan in epoch 1 (the others go on; details in %s)'
            % begun.with_name('log.txt')]
        assert sorted(begun.read_text()) == ['0'] * cluster_trial.TRIES + ['1']

        begun.with_name('worker').touch()       # now its worker dies
        assert short('--scheduler', dask.address, '--num_runs', '1') == EXIT_FAILED
        assert capfd.readouterr().err.splitlines() == [
            'error: trial 0: Dask gave it up: too many workers were lost while it ran',
            '1 trial failed (0); the same command tries them again']

        monkeypatch.setattr(supervisor, 'MAIN', str(tmp_path / 'no such file.py'))
        assert short('--scheduler', dask.address, '--seed', '1') == EXIT_FAILED
        said = capfd.readouterr().err
        assert said.count('error: ') == 1
        assert said.endswith('2 trials failed (0, 1); the same command tries them again\n')
        assert 'a worker could not start it (status 2); all machines need this folder' in said
    finally:
        dask.end()


def free_port():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        return taken.getsockname()[1]


def test_an_address_where_nobody_listens_is_one_line(tmp_path):
    began = time.monotonic()
    address = 'tcp://127.0.0.1:%d' % free_port()
    options = LEARN[:2] + ['--result_dir', str(tmp_path / 'Result'), '--scheduler', address]
    asked = subprocess.Popen([sys.executable, main.__file__] + options, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    out, err = asked.communicate(timeout=SECONDS)
    assert (asked.returncode, out, err.count(b'\n')) == (2, b'', 1), (out, err)
    assert err.decode().startswith('error: --scheduler %s: no Dask scheduler answers there: ' % address)
    assert time.monotonic() - began < 25 and not (tmp_path / 'Result').exists()


@pytest.mark.parametrize('options, said', [
    (['--scheduler', 'nonsense'], 'missing port number'),
    (['--scheduler', 'http://127.0.0.1:80'], 'unknown address scheme'),
    (['--scheduler', 'tcp://127.0.0.1:x'], 'invalid literal'),
    (['--scheduler', ''], 'an address like tcp://host:8786'),
    (['--scheduler', 'tcp://127.0.0.1:1', '--jobs', '2'], 'leave --jobs away'),
    (['--scheduler', 'tcp://127.0.0.1:1', '--gpu', '0,1'], 'one number')])
def test_what_cannot_be_is_one_line(short, capfd, tmp_path, options, said):
    assert short(*options) == 2
    out, err = capfd.readouterr()
    assert out == '' and err.count('\n') == 1 and said in err and not (tmp_path / 'Result').exists()


def test_without_dask_the_line_says_what_installs_it(short, capfd, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'distributed', None)
    assert short('--scheduler', 'tcp://127.0.0.1:1') == 2
    command = capfd.readouterr().err.split('; run: ')[1].split()
    assert command[1:5] == ['-m', 'pip', 'install', '-r'] and os.path.exists(command[5])
    assert not (tmp_path / 'Result').exists()


@pytest.mark.parametrize('late', [True, False])
def test_a_worker_waits_for_a_sign_of_life_that_comes_late(late, tmp_path, monkeypatch):
    sign, looks = tmp_path / cluster_worker.HEARTBEAT_FILE, []
    sign.write_text('before 7')

    def look(seconds):
        looks.append(seconds)
        assert len(looks) < 100
        if late and len(looks) == 2:
            sign.write_text('token 0')
    monkeypatch.setattr(cluster_worker.time, 'sleep', look)
    monkeypatch.setattr(cluster_worker.time, 'monotonic',
                        lambda: float(cluster_worker.LOOK_SECONDS * len(looks)))
    monkeypatch.setattr(cluster_worker.os, 'dup2', lambda *files: None)
    record = tmp_path / 'trial0' / 'record.npz'
    record.parent.mkdir()
    record.touch()          # so it leaves at once with status 0
    status = cluster_worker.run_cluster_trial(str(tmp_path), 0, 'token', -1)
    assert status == (0 if late else EXIT_INTERRUPTED)


def test_a_worker_that_left_before_it_said_a_word_is_asked_again(tmp_path):
    cluster = SimpleNamespace(stopping=threading.Event())
    trial = SimpleNamespace(read=0, cluster=cluster)
    checked = cluster_trial.ClusterTrial._checked
    assert checked(trial, EXIT_INTERRUPTED) == (EXIT_INTERRUPTED, None)
    assert checked(trial, 2)[0] == EXIT_FAILED


@pytest.mark.parametrize('change', ['silence', 'another', 'gone'])
def test_a_trial_that_nobody_waits_for_stops(tmp_path, monkeypatch, change):
    sign, sent = tmp_path / 'sign', []
    sign.write_text('token 0')
    looks = []

    def look(seconds):
        looks.append(seconds)
        assert not sent and len(looks) < 1000
        if len(looks) < 10:
            sign.write_text('token %d' % len(looks))
        elif change == 'another':
            sign.write_text('other 0')
        elif change == 'gone' and sign.exists():
            sign.unlink()
    monkeypatch.setattr(cluster_worker.time, 'sleep', look)
    monkeypatch.setattr(cluster_worker.time, 'monotonic',
                        lambda: float(cluster_worker.LOOK_SECONDS * len(looks)))
    monkeypatch.setattr(cluster_worker.os, 'kill', lambda *what: sent.append(what))
    cluster_worker._watch(str(sign), 'token')
    assert sent == [(os.getpid(), signal.SIGTERM)]
    silent = cluster_worker.SILENCE_SECONDS // cluster_worker.LOOK_SECONDS
    assert len(looks) == 10 if change != 'silence' else silent + 9 <= len(looks) <= silent + 11
