"""A trial that was handed to a Dask cluster, as main.py sees it. See cluster.py."""
import asyncio
import json
import os
import subprocess
import sys
import time

from classification.runs.cluster_worker import SAID
from classification.runs.trial_process import GRACE_SECONDS, RECORD, lock_of, trial_folder
from utils.locks import Held, Lock
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED

TRIES = 3                    # of a trial whose process was stopped or killed on its machine
RESULT_SECONDS = 60          # to fetch one number from a worker, or to see a file that was written
POLL_SECONDS = 0.5           # between looks at what a trial says
# change the last bits
SAME = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'TF_ENABLE_ONEDNN_OPTS')
ALIKE = 'all machines need this folder, this Python and the result folder at the same path'


class ClusterTrial(object):
    """A trial on the cluster, as far as it looks like the subprocess.Popen of one:
    stdout, wait and send_signal."""

    def __init__(self, cluster, run_folder, number):
        self.cluster, self.run_folder, self.number = cluster, run_folder, number
        self.folder = trial_folder(run_folder, number)
        self.status, self.read = None, 0
        # one for all looks: it remembers heartbeats
        self.lock = Lock(lock_of(self.folder))
        self.forget()
        # a network file system remembers what is missing
        open(os.path.join(self.folder, SAID), 'w').close()
        self.stdout = self._lines()

    def wait(self):
        """The exit status of the trial, once all its lines were read."""
        return self.status

    def send_signal(self, number):
        """Asks all trials to stop, whatever the signal: they have one sign of life."""
        self.cluster.stopping.set()

    def forget(self):
        """Removes what the trial said."""
        try:
            os.remove(os.path.join(self.folder, SAID))
        except OSError:
            pass

    def _lines(self):
        for attempt in range(1, TRIES + 1):
            future = self._submit(attempt)
            for line in self._lines_of(future):
                yield line
            self.status, reason = self._outcome(future)
            again = self.status is None or self.status < 0 or self.status == EXIT_INTERRUPTED
            if self.cluster.stopping.is_set() or not again:
                break
            if attempt < TRIES:
                yield _line(note='trial %d was stopped or killed where it ran; try %d of %d'
                                 % (self.number, attempt + 1, TRIES))
        else:
            self.status, reason = EXIT_FAILED, 'it was stopped or killed %d times where it ran' % TRIES
        if reason:
            yield _line(error=reason)

    def _submit(self, attempt):
        # Dask sets some
        same = [word for name in SAME for word in ([] if name in os.environ else ['-u', name])]
        same += ['%s=%s' % (name, os.environ[name]) for name in SAME if name in os.environ]
        command = [sys.executable, self.cluster.main, '--run_cluster_trial', self.run_folder,
                   str(self.number), self.cluster.token, str(self.cluster.gpu)]
        try:        # a function that every Python has: workers need not find this project
            return self.cluster.client.submit(
                subprocess.call, ['env'] + same + command, stdin=subprocess.PIPE, cwd=self.run_folder,
                start_new_session=True, key='trial%d-%s-%d' % (self.number, self.cluster.token, attempt),
                pure=False)
        except Exception:       # the scheduler is gone
            return None

    def _lines_of(self, future):
        """What the trial says until it ended, or shall and does not run."""
        while True:
            ended = future is None or future.done() or self.cluster.stopping.is_set() and not self._runs()
            try:
                with open(os.path.join(self.folder, SAID), 'rb') as stream:
                    stream.seek(self.read)
                    lines = stream.read().splitlines(True)
            except OSError:
                lines = []
            for line in lines:
                if line.endswith(b'\n'):
                    self.read += len(line)
                    yield line
            if ended:
                return
            time.sleep(POLL_SECONDS)

    def _runs(self):
        """Whether a process holds the trial."""
        try:
            with self.lock.acquire(timeout=0):
                return False
        except Held:
            return True

    def _outcome(self, future):
        """(exit status, None if it should be tried again; what went wrong beside it)."""
        status = 'cancelled' if future is None else future.status
        if status == 'finished':
            try:
                return self._checked(future.result(timeout=RESULT_SECONDS))
            except (Exception, asyncio.CancelledError):
                status = future.status
        if status == 'error':
            return EXIT_FAILED, _reason(future.exception(timeout=RESULT_SECONDS))
        if status == 'cancelled':
            self.cluster.lost()
        if self.cluster.stopping.is_set():
            if status != 'cancelled':
                self._cancel(future)
            # then the same command can begin at once
            _wait_until(lambda: not self._runs(), GRACE_SECONDS)
            return 0 if self._recorded() else EXIT_INTERRUPTED, None
        return None, None

    def _checked(self, status):
        """The outcome of a process that ended with a status."""
        if status == 0 and not _wait_until(self._recorded, RESULT_SECONDS):
            return EXIT_FAILED, 'it has ended, but %s is not there; %s' % (
                os.path.join(self.folder, RECORD), ALIKE)
        if status > 0 and status != EXIT_INTERRUPTED and self.read == 0 and (
                not self.cluster.stopping.is_set()):
            return EXIT_FAILED, 'a worker could not start it (status %d); %s' % (status, ALIKE)
        return status, None

    def _recorded(self):
        return RECORD in os.listdir(self.folder)      # os.path.exists may be behind on a network file system

    @staticmethod
    def _cancel(future):
        try:
            future.cancel()
        except Exception:       # the scheduler is gone; then nothing will run
            pass


def _wait_until(condition, seconds):
    """Whether it came true in this time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _line(**what):
    return json.dumps(what).encode('utf-8')


def _reason(error):
    """In one line, why Dask could not run a trial."""
    if type(error).__name__ == 'KilledWorker':
        return 'Dask gave it up: too many workers were lost while it ran'
    return 'a worker could not start it: %s; %s' % (str(error).split('\n')[0], ALIKE)
