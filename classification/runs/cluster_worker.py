"""A trial on the machine of a Dask worker: the ordinary child, asked and heard through files; see
cluster.py."""
import os
import platform
import signal
import threading
import time

from classification.runs.local_pool import ERRORS
from classification.runs.trial_process import HEARTBEAT_FILE, RECORD, run_trial_process, send, trial_folder
from utils.utils import EXIT_INTERRUPTED, EXIT_USER_ERROR, UserError

SAID = 'said.txt'            # in a trial folder: what its process says on stdout
LOOK_SECONDS = 2             # between looks at the sign of life
SIGN_SECONDS = 10             # so long a file server may show an older one
SILENCE_SECONDS = 90         # without a new one: the command that wanted the trial was killed
LOCK_SECONDS = 150           # a file server frees what a dead machine held after 90 s or so


def run_cluster_trial(run_folder, number, token, gpu):
    """Runs a trial in a process that a Dask worker started; returns the exit status."""
    from classification.runs.local_pool import visible_devices
    folder, sign = trial_folder(run_folder, number), os.path.join(run_folder, HEARTBEAT_FILE)
    until = time.monotonic() + SIGN_SECONDS
    while not _wanted(_read(sign, ''), token):
        if time.monotonic() > until:
            return EXIT_INTERRUPTED
        time.sleep(LOOK_SECONDS)
    for descriptor, path in ((1, os.path.join(folder, SAID)), (2, os.path.join(run_folder, ERRORS))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), descriptor)
    if os.path.exists(os.path.join(folder, RECORD)):
        return 0            # Dask runs a task again when its result was lost with a worker
    watcher = threading.Thread(target=_watch, args=(sign, token))
    watcher.daemon = True
    watcher.start()
    send(note='trial %d: process %d on %s' % (number, os.getpid(), platform.node()))
    try:
        os.environ['CUDA_VISIBLE_DEVICES'] = visible_devices(gpu, os.environ.get('CUDA_VISIBLE_DEVICES'))
    except UserError as error:
        send(error=str(error))
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
