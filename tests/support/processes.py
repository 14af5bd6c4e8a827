"""The command line in processes of its own, which a test freezes, kills and starts again."""
import os
import signal
import subprocess
import sys
import time

import psutil

import main
from classification.results.mat_file import entries
from classification.runs.trial_process import trial_folder
from classification.trial import checkpoint

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECONDS = 120       # before a run is taken to hang; only a defect makes a test wait that long


def resumptions(log):
    """(position, epoch of the task) at which a trial was taken up, each time."""
    return [tuple(int(word.rstrip(',')) for word in line.split('resumed at')[1].split() if word.rstrip(',').isdigit())
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
        self.folder, self.program, self.seconds, self.parent, self.said = folder, list(program), seconds, None, ''
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

    @property
    def folder_of_run(self):
        return next((self.folder / 'found').iterdir())

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

    def child(self):
        """The process of the running trial; waits for it."""
        def look():
            assert self.parent.poll() is None, self.said_at.read_text()
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
