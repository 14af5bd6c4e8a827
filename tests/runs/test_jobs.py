"""Trials side by side: how many at a time, on which GPU, with how much memory; what stops them; the same
numbers."""
import errno
import os
import pathlib
import signal
import subprocess
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

import main
from classification.experiment.resolve import resolve
from classification.runs import cluster_trial, provenance, side_by_side, supervisor, trial_state
from classification.runs.experiment_files import ExperimentFiles, memory_fraction
from classification.runs.progress import Progress
from classification.runs.run_folder import ResultPaths
from classification.runs.trial_process import hold, trial_folder
from tests.support import command_line
from tests.support.commands import Run, waited_for
from tests.support.result_files import same_entry
from tests.support.run_folders import token
from utils import runtime
from utils.utils import EXIT_FAILED

TRIAL = '''
import os, sys, time
number = sys.argv[3]
with open(os.path.join(sys.argv[2], 'seen.txt'), 'a') as seen:
    seen.write('begin %s %s\\n' % (number, os.environ['CUDA_VISIBLE_DEVICES']))
if os.environ.get('DEVICE'):
    print('{"device": {"name": "a GPU"}}', flush=True)
time.sleep(0.3)
if os.environ.get('LONG'):
    import signal
    signal.signal(signal.SIGTERM, lambda *caught: sys.exit(75))
    with open(os.path.join(sys.argv[2], 'ready' + number), 'w'):
        time.sleep(60)
with open(os.path.join(sys.argv[2], 'seen.txt'), 'a') as seen:
    seen.write('end %s %s\\n' % (number, os.environ['CUDA_VISIBLE_DEVICES']))
sys.exit(5 if number == '1' else 0)
'''


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Function of options -> Supervisor whose trials are scripts that note when and where they run."""
    (tmp_path / 'trial.py').write_text(TRIAL)
    monkeypatch.setattr(supervisor, 'MAIN', str(tmp_path / 'trial.py'))
    monkeypatch.setattr(ExperimentFiles, 'write_temporary', lambda files: None)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES')

    def make(*options):
        flags = main.parser().parse_args(['--data_type', 'DIGITS5', '--lifelong', '--result_dir',
                                          str(tmp_path)]
                                          + list(options))
        experiment = resolve(flags, lambda line: None)
        paths = ResultPaths(flags.result_dir, 'jobs.mat', experiment)
        paths.make()
        files = ExperimentFiles(experiment, flags, [], lambda line: None, paths,
                                hold(paths.run, 'this experiment', pytest.fail),
                                provenance.of_command(experiment), range(flags.num_runs),
                                side_by_side.choose(flags, None, flags.num_runs, lambda: None))
        return supervisor.Supervisor(supervisor.choose_pool(flags, 6, None), files, 'the same command')
    return make


def events(run):
    with open(os.path.join(run.files.paths.run, 'seen.txt')) as stream:
        return [line.split() for line in stream]


@pytest.mark.parametrize('options, jobs, devices', [
    ((), 1, {'-1'}), (('--jobs', '3'), 3, {'-1'}), (('--jobs', '2', '--gpu', '4,7'), 2, {'4', '7'}),
    (('--jobs', '4', '--gpu', '0,1'), 4, {'0', '1'})])
def test_as_many_at_a_time_as_asked_for(make_run, capfd, options, jobs, devices):
    run = make_run(*options)
    # and one that fails costs no other
    assert run.train(list(range(6)), Progress(6, quiet=True)) == {1: 5}
    assert capfd.readouterr().err.count('error: trial 1 ended with status 5') == 1
    folders = [trial_folder(run.files.paths.run, number) for number in range(6)]
    left = trial_state.read(folders[1])         # its process could not say it
    assert (left['state'], left['reason']) == ('failed', 'it ended with status 5')
    assert not any(trial_state.read(folder) for folder in folders[:1] + folders[2:])
    running, most, used = [], 0, set()
    for what, number, device in events(run):
        if what == 'begin':
            running.append((number, device))
            assert sum(other == device for _, other in running) <= -(-jobs // len(devices))
            most = max(most, len(running))
        else:
            running.remove((number, device))
        used.add(device)
    assert (most, used, running) == (jobs, devices, [])


def test_a_reason_is_that_of_the_last_attempt_and_not_of_a_trial_that_runs_elsewhere(make_run):
    run = make_run()
    folders = [pathlib.Path(trial_folder(run.files.paths.run, number)) for number in range(2)]
    for folder in folders:
        folder.mkdir()
    trial_state.end_by(str(folders[0]), 'of the attempt before')
    token(folders[1])
    assert run.train([0, 1], Progress(2, quiet=True)) == {1: 5}
    assert (trial_state.read(str(folders[0])) == {'state': 'interrupted'}
            and not trial_state.read(str(folders[1])))
    for reason in ('what its process said', 'it ended with status 1'):
        run._keep_reason(0, reason)
    assert trial_state.read(str(folders[0]))['reason'] == 'what its process said'


@pytest.mark.parametrize('jobs', [1, 2])
def test_a_process_that_cannot_start_costs_no_other_trial_and_no_device(make_run, monkeypatch, capfd, jobs):
    run, start = make_run('--jobs', str(jobs)), subprocess.Popen

    def without_memory_for_trial_0(words, **options):
        if words[-1] == '0':
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return start(words, **options)
    monkeypatch.setattr(subprocess, 'Popen', without_memory_for_trial_0)
    assert run.train([0, 2, 3], Progress(3, quiet=True)) == {0: EXIT_FAILED}
    assert sorted(event[:2] for event in events(run)) == [
        [what, number] for what in ('begin', 'end') for number in '23']
    assert (run.pool.free, run.children) == (['-1'] * jobs, [])
    reason = 'it could not start: OSError: [Errno 12] Cannot allocate memory'
    left = trial_state.read(trial_folder(run.files.paths.run, 0))
    assert (left['state'], left['reason']) == ('failed', reason)
    assert capfd.readouterr().err == 'error: trial 0: %s\n' % reason


def test_a_failed_start_is_told_also_where_the_lock_cannot_be_read(make_run, monkeypatch, capfd):
    run = make_run()

    def refuse(*path, **options):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    monkeypatch.setattr(subprocess, 'Popen', refuse)
    monkeypatch.setattr(run.files.lock, 'still_mine', refuse)
    assert run.train([0, 2], Progress(2, quiet=True)) == dict.fromkeys((0, 2), EXIT_FAILED)
    assert capfd.readouterr().err.startswith('error: trial 0: it could not start: ')


def test_a_trial_of_a_cluster_that_cannot_say_anything_costs_no_other(make_run):
    run = make_run()
    folders = [trial_folder(run.files.paths.run, number) for number in range(2)]
    os.makedirs(os.path.join(folders[0], cluster_trial.SAID))        # so no such file can be written
    os.makedirs(folders[1])
    with open(os.path.join(folders[1], cluster_trial.RECORD), 'w'):
        pass
    done = SimpleNamespace(status='finished', done=lambda: True, result=lambda timeout: 0)
    cluster = SimpleNamespace(main='', token='', gpu=-1, stopping=threading.Event(),
                              client=SimpleNamespace(submit=lambda *words, **options: done))
    run.pool = SimpleNamespace(size=2, end=lambda trial: trial.forget(),
                               start=lambda *words: cluster_trial.ClusterTrial(cluster, *words))
    assert run.train([0, 1], Progress(2, quiet=True)) == {0: EXIT_FAILED}
    assert trial_state.read(folders[0])['reason'].startswith('it could not start: ' + folders[0])


def full_disk(*of_what):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'x')


def test_trials_go_on_where_a_full_disk_does_not_take_their_gpu(make_run, monkeypatch):
    monkeypatch.setenv('DEVICE', '1')
    monkeypatch.setattr(ExperimentFiles, 'write_config', lambda files, finished: full_disk())
    run, said = make_run(), []
    run.files.say = said.append
    assert run.train([0, 2], Progress(2, quiet=True)) == {}
    assert said == ['note: x: No space left on device'] * 2
    assert run.files.devices == dict.fromkeys('02', {'name': 'a GPU'})       # for the next time it is written


def test_trials_go_on_where_the_lock_cannot_be_read_for_the_temporary_file():
    said = []
    ExperimentFiles.write_temporary(SimpleNamespace(lock=SimpleNamespace(check=full_disk), say=said.append))
    assert said == ['note: x: No space left on device']


def test_what_ends_the_command_stops_the_trials(make_run, monkeypatch):
    def fail(files):
        raise RuntimeError('a fault of the command')
    monkeypatch.setattr(ExperimentFiles, 'write_temporary', fail)
    run = make_run()
    with pytest.raises(RuntimeError):
        run.train([0, 2, 3, 4], Progress(4, quiet=True))
    assert run.stopping and {number for _, number, _ in events(run)} <= {'0', '2'}


def test_a_signal_stops_all_of_them_and_no_other_begins(make_run, monkeypatch):
    monkeypatch.setenv('LONG', '1')
    run = make_run('--jobs', '2')
    failed = []
    worker = threading.Thread(target=lambda: failed.append(run.train(list(range(5)),
                                                                     Progress(5, quiet=True))))
    worker.start()
    waited_for(lambda: all(os.path.exists(os.path.join(run.files.paths.run, 'ready%d' % number))
                           for number in (0, 1)))
    began = time.monotonic()
    run.stop(signal.SIGTERM, None)
    worker.join()
    assert time.monotonic() - began < 30 and failed == [{}] and run.stopping
    assert sorted(number for _, number, _ in events(run)) == ['0', '1']


@pytest.mark.parametrize('options, share', [
    ([], None), (['--jobs', '2'], 0.45), (['--jobs', '2', '--gpu', '0,1'], None),
    (['--jobs', '3', '--gpu', '0,1'], 0.45),
    (['--jobs', '8', '--gpu', '0,1'], 0.225), (['--jobs', '2', '--gpu_memory_fraction', '0.3'], 0.3)])
def test_memory_of_a_gpu_is_divided(options, share):
    flags = main.parser().parse_args(options)
    assert memory_fraction(flags) == share
    config = runtime.session_config(1, True, share)
    assert config.gpu_options.allow_growth
    assert config.gpu_options.per_process_gpu_memory_fraction == pytest.approx(share or 0)


OPTIONS = ['--data_type', 'DIGITS5', '--num_clayers', '2', '--lifelong', '--threads', '1',
           '--checkpoint_minutes', '0',
           '--model_type', 'HPS', '--num_tasks', '2', '--epochs_per_task', '3', '--num_runs', '2']


def test_the_numbers_are_those_of_one_by_one(tmp_path):
    one = Run(tmp_path / 'one', OPTIONS, program=('-m', 'tests.support.command_line',
                                                  command_line.ONE_PROCESS)).start()
    assert one.wait() == 0, one.said
    side = Run(tmp_path / 'side', OPTIONS + ['--jobs', '2']).start()
    waited_for(lambda: len(children_of(side)) == 2)
    side.parent.send_signal(signal.SIGTERM)
    assert side.wait() == 75, side.said
    assert children_of(side) == []
    assert side.start().wait() == 0, side.said
    same_entry(one.entry(), side.entry())


def children_of(run):
    """Processes of its trials."""
    try:
        return [child for child in psutil.Process(run.parent.pid).children()
                if main.TRIAL_COMMAND in child.cmdline()]
    except psutil.Error:
        return []
