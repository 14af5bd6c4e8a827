"""Trials as tasks of an existing Dask cluster: each lets some worker start the ordinary child process of a trial.

Dask only starts processes. All else goes through the run folder, which every machine sees: a trial writes what it says to
a file in its trial folder, and goes on while the sign of life of the command that wants it is renewed. So it stops at its
next epoch when it is asked to, when that command was killed, and when the scheduler is gone; when its worker was killed
it stops because its stdin closes, as on one machine.
"""
import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings

from filelock import FileLock, Timeout

from classification.trial_process import CONFIG, GRACE_SECONDS, RECORD, SIGN, run_trial_process, tell, trial_folder
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USER_ERROR, UserError, counted, write_atomically

SAID = 'said.txt'            # in a trial folder: what its process says on stdout
TRIES = 3                    # of a trial whose process was stopped or killed on its machine
CONNECT_SECONDS = 5
RESULT_SECONDS = 60          # to fetch one number from a worker
POLL_SECONDS = 0.5           # between looks at what a trial says
BEAT_SECONDS, LOOK_SECONDS = 10, 2         # between renewals of the sign of life, and looks at it
SILENCE_SECONDS = 90         # without a renewal: the command that wanted the trial was killed
LOCK_SECONDS = 150           # a file server frees what a dead machine held after 90 s or so
SIDE_BY_SIDE = 200           # trials handed out at once; the workers decide how many of them run
SAME = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'TF_ENABLE_ONEDNN_OPTS')   # change the last bits
ALIKE = 'all machines need this folder, this Python and the result folder at the same path'


# ---- where main.py was started ----

class Cluster(object):
    """Starts trials on a Dask cluster; what train_wrapper.LocalPool does on this machine.

    Args:
        address: of the scheduler.
        main: path of main.py, the same on all machines.
        gpu: N-th of the GPUs that a worker sees, -1: the CPU.
        say: function of one line for the user.
    Raises:
        UserError: Dask is not installed, or no scheduler answers at this address.
    """
    size = SIDE_BY_SIDE

    def __init__(self, address, main, gpu, say):
        # Until this process ends: Dask's own lines about a scheduler that is gone come late.
        logging.disable(logging.CRITICAL)
        try:
            import distributed
        except ImportError:
            raise UserError('--scheduler needs Dask; run: %s -m pip install -r %s' % (
                sys.executable, os.path.join(os.path.dirname(main), 'requirements-cluster.txt')))
        workers = _number_of_workers(distributed, address)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try:
                self.client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
            except Exception as error:      # it went away just now
                raise _no_scheduler(address, error)
        self.address, self.main, self.gpu = address, main, gpu
        self.token, self.stopping, self.heart, self.trouble = uuid.uuid4().hex, threading.Event(), None, None
        say('Dask scheduler %s: %s' % (address, counted(workers, 'worker') if workers else
                                       'no worker yet; the trials begin when one comes'))

    def start(self, run_folder, number):
        """Hands a trial to the cluster; what stands for its process here."""
        run_folder = os.path.abspath(run_folder)
        if self.heart is None:
            self._renew(run_folder, 0)
            self.heart = threading.Thread(target=self._beat, args=(run_folder,))
            self.heart.start()
        return _ClusterTrial(self, run_folder, number)

    def end(self, trial):
        """The trial has ended."""
        trial.forget()

    def close(self):
        """No trial shall run any more."""
        self.stopping.set()
        if self.heart is not None:
            self.heart.join()
        try:
            self.client.close(timeout=CONNECT_SECONDS)
        except Exception:       # there is nobody to say goodbye to
            pass

    def lost(self):
        """Dask has given up the trials of this command."""
        if not self.stopping.is_set():
            self.trouble = 'error: the Dask scheduler %s %s' % (
                self.address, 'was restarted' if self.client.status == 'running' else 'is gone')
            self.stopping.set()

    def _renew(self, run_folder, count):
        write_atomically(os.path.join(run_folder, SIGN), '%s %d' % (self.token, count))

    def _beat(self, run_folder):
        count = 0
        while not self.stopping.wait(BEAT_SECONDS):
            count += 1
            try:
                self._renew(run_folder, count)
            except OSError:      # perhaps the file server is back at the next beat
                pass
        os.remove(os.path.join(run_folder, SIGN))


def _number_of_workers(distributed, address):
    """How many workers the scheduler at an address has now.

    Raises:
        UserError: none answers, or it runs another version of Dask.
    """
    async def ask():
        there = distributed.core.rpc(address, timeout=CONNECT_SECONDS,
                                     connection_args=distributed.Security().get_connection_args('client'))
        try:
            identity = await there.identity()
            if identity.get('type') != 'Scheduler':
                raise ValueError('a Dask %s is there' % str(identity.get('type')).lower())
            return identity, dict((await there.versions())['packages'])['distributed']
        finally:
            await there.close_rpc()

    loop = asyncio.new_event_loop()
    try:
        identity, version = loop.run_until_complete(asyncio.wait_for(ask(), 2 * CONNECT_SECONDS))
    except Exception as error:
        raise _no_scheduler(address, error)
    finally:
        loop.close()
    if version != distributed.__version__:
        raise UserError('--scheduler %s: it runs Dask distributed %s, this Python has %s; all machines need the same'
                        % (address, version, distributed.__version__))
    return identity.get('n_workers', len(identity['workers']))


def _no_scheduler(address, error):
    reason = str(error).split('\n')[0].strip() or 'no answer in %d s' % (2 * CONNECT_SECONDS)
    return UserError('--scheduler %s: no Dask scheduler answers there: %s; an address like tcp://host:8786 is needed'
                     % (address, reason))


class _ClusterTrial(object):
    """A trial on the cluster, as far as it looks like the subprocess.Popen of one: stdout, wait and send_signal."""

    def __init__(self, cluster, run_folder, number):
        self.cluster, self.run_folder, self.number = cluster, run_folder, number
        self.folder = trial_folder(run_folder, number)
        self.status, self.read = None, 0
        self.forget()
        write_atomically(os.path.join(self.folder, SAID), '')      # a network file system remembers what is missing
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
            if self.cluster.stopping.is_set() or self.status not in (None, EXIT_INTERRUPTED) and self.status >= 0:
                break
            if attempt < TRIES:
                yield _line(note='trial %d was stopped or killed where it ran; try %d of %d'
                                 % (self.number, attempt + 1, TRIES))
        else:
            self.status, reason = EXIT_FAILED, 'it was stopped or killed %d times where it ran' % TRIES
        if reason:
            yield _line(error=reason)

    def _submit(self, attempt):
        same = [word for name in SAME for word in ([] if name in os.environ else ['-u', name])]     # Dask sets some
        same += ['%s=%s' % (name, os.environ[name]) for name in SAME if name in os.environ]
        command = [sys.executable, self.cluster.main, '--run_cluster_trial', self.run_folder, str(self.number),
                   self.cluster.token, str(self.cluster.gpu)]
        # A function of Python's, so workers need not find this project; the folder: an error that names it if it is not there.
        try:
            return self.cluster.client.submit(
                subprocess.call, ['env'] + same + command, stdin=subprocess.PIPE, cwd=self.run_folder, start_new_session=True,
                key='trial%d-%s-%d' % (self.number, self.cluster.token, attempt), pure=False)
        except Exception:
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
            with FileLock(os.path.join(self.folder, '.lock')).acquire(timeout=0):
                return False
        except Timeout:
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
            _wait_until(lambda: not self._runs(), GRACE_SECONDS)      # then the same command can begin at once
            return 0 if self._recorded() else EXIT_INTERRUPTED, None
        return None, None

    def _checked(self, status):
        """The outcome of a process that ended with a status."""
        if status == 0 and not _wait_until(self._recorded, RESULT_SECONDS):
            return EXIT_FAILED, 'it has ended, but %s is not there; %s' % (os.path.join(self.folder, RECORD), ALIKE)
        if status > 0 and self.read == 0 and not self.cluster.stopping.is_set():
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
    end = time.time() + seconds
    while not condition():
        if time.time() > end:
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


# ---- on the worker's machine ----

def run_cluster_trial(run_folder, number, token, gpu):
    """Runs a trial in a process that a Dask worker started; returns the exit status."""
    from classification.train_wrapper import git_commit, versions, visible_devices
    folder, sign = trial_folder(run_folder, number), os.path.join(run_folder, SIGN)
    if not _wanted(_read(sign, ''), token):
        return EXIT_INTERRUPTED
    for descriptor, path in ((1, os.path.join(folder, SAID)), (2, os.path.join(run_folder, 'stderr.txt'))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), descriptor)
    if os.path.exists(os.path.join(folder, RECORD)):
        return 0            # Dask runs a task again when its result was lost with a worker
    watcher = threading.Thread(target=_watch, args=(sign, token))
    watcher.daemon = True
    watcher.start()
    tell(note='trial %d: process %d on %s' % (number, os.getpid(), socket.gethostname()))
    try:
        os.environ['CUDA_VISIBLE_DEVICES'] = visible_devices(gpu, os.environ.get('CUDA_VISIBLE_DEVICES'))
        with open(os.path.join(run_folder, CONFIG)) as stream:
            config = json.load(stream)
        here = dict(versions(), code=git_commit())
        for name, there in sorted(dict(config['versions'], code=config['git_commit']).items()):
            if here[name] != there:
                raise UserError('%s is %s on %s, and %s where main.py was started; all machines need the same'
                                % (name, here[name] or 'unknown', socket.gethostname(), there or 'unknown'))
    except UserError as error:
        tell(error=str(error))
        return EXIT_USER_ERROR
    return run_trial_process(run_folder, number, LOCK_SECONDS)


def _read(path, otherwise):
    try:
        with open(path) as stream:
            return stream.read()
    except FileNotFoundError:
        return ''
    except OSError:         # the file server will be back
        return otherwise


def _wanted(sign, token):
    return sign.split(' ')[0] == token


def _watch(path, token):
    """Stops this process, as a signal would, when nobody waits for it any more."""
    seen, since = None, time.monotonic()
    while True:
        sign = _read(path, seen or token)
        if sign != seen:
            seen, since = sign, time.monotonic()
        if not _wanted(sign, token) or time.monotonic() - since > SILENCE_SECONDS:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(LOOK_SECONDS)
