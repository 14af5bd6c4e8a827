"""Commands of the project: main.py called in this process and in others, which are frozen, killed and started
again; a cluster of processes; plug-ins; what the scripts of the tables would start.
"""
import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import psutil

import main
from classification import gen_data
from classification.experiment import plugin_files
from classification.experiment.resolve import resolve
from classification.model import declare
from classification.results.mat_file import entries
from classification.runs.trial_process import trial_folder
from classification.trial import checkpoint
from utils import utils_env_cl as env

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.path.join(ROOT, 'examples')
TABLES = ['table_cifar100', 'table_officehome', 'table_stl10']
DIGITS = ['--data_type', 'DIGITS5', '--model_type', 'HPS', '--test_type', '10', '--lifelong']
SHORT = DIGITS + ['--num_tasks', '2', '--epochs_per_task', '2', '--threads', '1', '--save_mat_name',
                  'digits.mat']
MAT = os.path.join('Result', 'digits.mat')
QUICK = ['--data_type', 'DIGITS5', '--num_clayers', '2', '--lifelong', '--threads', '1',
         '--checkpoint_minutes', '0', '--num_runs', '1']
# What a user types, word for word behind main.py; the longest first.
SAMPLES = [
    '--gpu 0 --data_type OfficeHome --num_clayers 4 --model_type DEN --lifelong --save_mat_name '
    'officehome_den.mat',
    '--gpu 0 --data_type OfficeHome --num_clayers 4 --model_type DARTS_HPS --lifelong '
    '--save_mat_name officehome_darts_hps.mat',
    '--gpu 0 --data_type OfficeHome --num_clayers 4 --model_type ProgNN --test_type 1 --lifelong '
    '--save_mat_name officehome_prognn.mat',
    '--gpu 0 --data_type OfficeHome --num_clayers 4 --model_type Hybrid_TF --test_type 30 --lifelong '
    '--save_mat_name officehome_tfBot3.mat',
    '--gpu 0 --data_type STL10_20t --num_clayers 6 --model_type Hybrid_DFCNN --test_type 55 --lifelong '
    '--save_mat_name stl10_dfcnnAlter.mat',
    '--gpu 0 --data_type CIFAR100_10 --data_percent 4 --num_clayers 4 --model_type LASEM_HPS --lifelong '
    '--save_mat_name cifar100_lasem_hps.mat',
    '--gpu 0 --data_type CIFAR100_10 --data_percent 4 --num_clayers 4 --model_type HPS --test_type 10 '
    '--lifelong --save_mat_name cifar100_hpsTop2.mat',
]
SECONDS = 120       # before a run is taken to hang; only a defect makes a test wait that long


# ---- in this process ----

def run(options):
    """Exit status of the command line."""
    try:
        return main.main(options)
    except SystemExit as end:
        return end.code


def run_and_listen(options):
    """(exit status, what it said on stdout, on stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(options)
    return status, out.getvalue(), err.getvalue()


def process(arguments):
    """(ended process, its stdout, its stderr) of Python."""
    child = subprocess.Popen([sys.executable] + arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = child.communicate()
    return child, out.decode('utf-8'), err.decode('utf-8')


def experiment_of(*options):
    """The Experiment that these options mean; the last one of a name wins."""
    return resolve(main.parser().parse_args(DIGITS + list(options)), lambda line: None)


def imports_nothing_of_tensorflow(options):
    """Asserts it of a process with these options: (exit status, stdout)."""
    child, out, err = process(['-X', 'importtime', main.__file__] + options)
    imported = re.findall(r'import time:.*\| +(\S+)$', err, re.MULTILINE)
    assert 'argparse' in imported and not [name for name in imported if name.startswith('tensorflow')]
    return child.returncode, out


def is_refused(options, says):
    """Asserts that the answer is one line of error with these words, and status 2."""
    status, out, err = run_and_listen(options)
    assert (status, out) == (2, '') and err.startswith('error: ') and err.count(
        '\n') == 1 and says in err, err


# ---- in processes of their own ----

def resumptions(log):
    """(position, epoch of the task) at which a trial was taken up, each time."""
    return [tuple(int(word.rstrip(',')) for word in line.split('resumed at')[1].split()
                  if word.rstrip(',').isdigit())
            for line in log if 'resumed at' in line]


class Run(object):
    """The command line in a process of its own, its results in `folder`; may be started again after it ended.

    Args:
        folder: pathlib.Path; its result file is `found.mat` there.
        options: what follows `program` on the command line.
        program: what Python is given to run.
        seconds: before it is taken to hang.
    """

    def __init__(self, folder, options, program=('-m', 'tests.support.command_line'), seconds=SECONDS):
        self.folder, self.program, self.seconds, self.parent, self.said = folder, list(
            program), seconds, None, ''
        self.said_at = folder / 'said.txt'
        self.children = []
        self.options = options + ['--save_mat_name', 'found.mat', '--result_dir', str(folder)]

    def start(self):
        self.folder.mkdir(exist_ok=True)
        self.parent = start(self.program + self.options, self.said_at)
        return self

    def wait(self):
        """The exit status; what was said is in `said`."""
        status = self.parent.wait(self.seconds)
        self.said = self.said_at.read_text()
        return status

    def errors(self):
        """Lines that speak of an error."""
        return [line for line in self.said.splitlines() if line.startswith(('error', 'Traceback'))]

    def run_folders(self):
        """Those of all experiments, the newest last."""
        return sorted((self.folder / 'found').iterdir(), key=lambda folder: folder.stat().st_ctime)

    @property
    def folder_of_run(self):
        """Of the experiment that was begun last."""
        return self.run_folders()[-1]

    @property
    def checkpoint(self):
        return os.path.join(trial_folder(str(self.folder_of_run), 0), 'checkpoint')

    def last_checkpoint(self):
        """What it says."""
        return checkpoint.load(self.checkpoint, _fail)[0]

    def log(self):
        return (self.folder_of_run / 'log.txt').read_text().splitlines()

    def entry(self):
        """The one experiment in the result file."""
        found, = entries(str(self.folder / 'found.mat'))
        return found

    def child(self, number=None):
        """The process of a running trial, of the one with this number if it is given; waits for it."""
        def look():
            assert self.parent.poll() is None, self.said_at.read_text()
            for child in psutil.Process(self.parent.pid).children():
                words = command_of(child)
                if main.TRIAL_COMMAND in words and (number is None or words[-1] == str(number)):
                    return child
            return None
        self.children.append(waited_for(look, 0.05))
        return self.children[-1]

    def child_stopped_when(self, condition):
        """Freezes trial 0 (SIGSTOP) when its last checkpoint meets a condition.

        Returns:
            (process of the trial, what its last checkpoint says).
        """
        child, seen = self.child(0), [None]

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


def _fail(line):
    raise AssertionError(line)


def start(words, said, popen=subprocess.Popen, folder=ROOT, **environment):
    """A Python process in a working folder that writes what it says to a file."""
    with open(str(said), 'w') as stream:      # without Keras TensorFlow 2 is there in two thirds of the time
        return popen([sys.executable] + words, cwd=str(folder), stdout=stream, stderr=subprocess.STDOUT,
                     env=dict(os.environ, TF_USE_LEGACY_KERAS='1', **environment))


def waited_for(condition, pause=0.003):
    """What `condition` returns once it is true."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
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


def inside(position):
    """Whether a checkpoint was written in the midst of a task, not before this position."""
    return lambda meta: meta['inside'] and meta['epoch'] > 0 and meta['position'] >= position


def place_of(meta):
    return meta['position'], meta['epoch']


class DaskCluster(object):
    """A scheduler and workers on this machine, in a folder of their own."""

    def __init__(self, folder, workers):
        self.folder, self.workers = folder, []
        self.folder.mkdir()
        self.scheduler = self._start('dask_scheduler', ['--host', '127.0.0.1', '--port', '0'],
                                     'scheduler.txt')
        self.address = waited_for(self._address)
        for number in range(workers):       # with one thread, in a working folder that is not the project's
            name = 'worker%d' % number
            self.workers.append(self._start('dask_worker', [
                '--nthreads', '1', '--no-nanny', '--local-directory', str(self.folder / name)],
                                            name + '.txt'))

    def _address(self):
        path = self.folder / 'scheduler.json'
        assert self.scheduler.poll() is None, (self.folder / 'scheduler.txt').read_text()
        try:
            return json.loads(path.read_text())['address']
        except (IOError, OSError, ValueError):      # not written yet
            return None

    def _start(self, command, options, said):
        words = ['-c', 'from distributed.cli.%s import main; main()' % command, '--no-dashboard',
                 '--scheduler-file', str(self.folder / 'scheduler.json')] + options
        return start(words, self.folder / said, folder=self.folder)

    def trial(self, number):
        """The process of a trial, if a worker runs it."""
        return next((child for child in self.trials() if command_of(child)[-3:-2] == [str(number)]), None)

    def trials(self):
        """Processes of trials on all workers, also on dead ones."""
        return [process for process in psutil.process_iter()
                if [word.startswith(str(self.folder.parent)) for word in command_of(process)[-4:-3]] == [True]
                and main.CLUSTER_TRIAL_COMMAND in command_of(process) and not gone(process)]

    def end(self):
        for process in [self.scheduler] + self.workers:
            process.kill()
            process.wait()
        for trial in self.trials():
            trial.kill()


# ---- plug-ins, scripts ----

def example(name):
    """Path of an example."""
    return os.path.join(EXAMPLES, name + '.py')


class Plugins(object):
    """Loads plug-ins, and forgets them again: the tables are then what they were."""

    def __init__(self):
        self.tables = (declare.MECHANISMS, declare.METHODS, declare.MODELS, gen_data.DATASETS, env.TRAINING,
                       env.NETWORKS, plugin_files.LOADED)
        self.kept = [list(table.items()) for table in self.tables]

    def load(self, *paths):
        plugin_files.load(list(map(str, paths)))

    def added(self):
        """Names that the tables have and had not; networks apart, of which tests add small ones."""
        return [name for table, rows in zip(self.tables, self.kept) if table is not env.NETWORKS
                for name in table if name not in dict(rows)]

    def forget(self):
        for table, rows in zip(self.tables, self.kept):
            table.clear()
            table.update(rows)
        for name in [name for name in sys.modules if name.startswith(plugin_files.PREFIX)]:
            del sys.modules[name]


def listed_commands(script, *options):
    """The options of each command that a script lists."""
    out = subprocess.check_output([os.path.join(ROOT, 'scripts', script + '.sh')] + list(options),
                                  env=dict(os.environ, LIST='1', PYTHON='python'))
    lines = [shlex.split(line) for line in out.decode('utf-8').splitlines()]
    assert [line[:3] for line in lines] == [['%d:' % number, 'python', 'main.py']
                                            for number in range(1, len(lines) + 1)]
    return [line[3:] for line in lines]
