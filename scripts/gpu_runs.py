"""Whole runs of main.py on a device and on the CPU, for gpu_check.py: beside each other, stopped and resumed,
two trials at a time."""
import contextlib
import glob
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil

from classification.results import parameter_files
from classification.results.read_results import load_results
from scripts.gpu_steps import options_of
from utils.cores import cores
from utils.utils import UserError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ACCURACY = 0.08             # by which accuracies may differ when a run went on on another device
RESULT = 'found.mat'
SECONDS = 600               # a process that takes longer hangs
KILL_SECONDS = 10           # to wait for a process that was killed; it does not end in a driver that hangs
CHILD_FAILED = 'it ended with exit status %d: %s'


# ---- processes ----

@contextlib.contextmanager
def started(command, **more):
    """A process (the arguments are those of Popen); it is killed if it has not ended when the block ends."""
    child = subprocess.Popen(command, universal_newlines=True, errors='replace', **more)
    try:
        yield child
    finally:
        kill(child)


def kill(child):
    """Kills a process that has not ended, and those that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if child.poll() is None:
            for process in psutil.Process(child.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=KILL_SECONDS)


def lines_of(child):
    """The lines that a process prints, until it has ended.

    Raises:
        UserError: it neither printed a line nor ended in time.
    """
    lines = queue.Queue()

    def read():
        for line in child.stdout:
            lines.put(line)
        child.wait()
        lines.put(None)
    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=SECONDS)
        except queue.Empty:
            raise UserError('it neither printed a line nor ended in %d s' % SECONDS) from None
        if line is None:
            return
        yield line


# ---- runs of main.py ----

class Runs(object):
    """Runs of main.py whose results lie in one folder.

    Args:
        folder: pathlike.
        gpu: N-th of the visible GPUs, -1: the CPU.
        repeating: names of the models whose steps gave the same bits a second time.

    Attributes:
        workers: pairs of runs at a time.
    """

    def __init__(self, folder, gpu, repeating):
        self.folder, self.gpu, self.repeating = folder, gpu, repeating
        self.workers = max(1, cores() // 4)
        self.threads = max(1, cores() // (2 * self.workers))

    def path(self, name, *words):
        """Path below the results of a run."""
        return os.path.join(self.folder, name, *words)

    @contextlib.contextmanager
    def start(self, name, options, gpu):
        """The process of a run; it is killed if it has not ended when the block ends."""
        command = [sys.executable, os.path.join(ROOT, 'main.py'), '--gpu', str(gpu), '--threads',
                   str(self.threads), '--quiet', '--result_dir', self.path(name), '--save_mat_name', RESULT]
        with open(self.path(name + '.txt'), 'w') as said, started(
                command + options, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                cwd=self.folder) as child:
            yield child

    def result(self, name, child):
        """The one experiment of a run that was started.

        Raises:
            UserError: it failed.
        """
        self._wait(name, child)
        if child.returncode:
            raise UserError(CHILD_FAILED % (child.returncode, self._said(name)))
        return load_results(self.path(name, RESULT))[0]

    def _wait(self, name, child):
        try:
            child.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError('it had not ended after %d s: %s' % (SECONDS, self._said(name))) from None

    def _said(self, name):
        """The end of what a run said."""
        with open(self.path(name + '.txt'), errors='replace') as stream:
            return ' '.join(stream.read().split())[-300:]

    def pair(self, model, data):
        """What a model's run on the device gives beside its run on the CPU: dict of the differences."""
        options = options_of(model, data, self.folder) + ['--num_runs', '1', '--saveparam']
        names = ['%s-%s-%s' % (model, data, side) for side in ('device', 'cpu')]
        with self.start(names[0], options, self.gpu) as device, self.start(names[1], options, -1) as cpu:
            results = [self.result(name, child) for name, child in zip(names, (device, cpu))]
        found = {'accuracy': accuracy_difference(*results), 'seconds': float(results[0]['training_time'][0]),
                 'cpu_seconds': float(results[1]['training_time'][0]), 'weights': self.weights(names)}
        runs = [result['result_of_each_run'][0] for result in results]
        if 'conv_sharing' in runs[0]:
            found['layers'] = int(np.sum(runs[0]['conv_sharing'] != runs[1]['conv_sharing']))
        if 'history_net_prior' in runs[0]:
            found['posterior'] = float(np.abs(runs[0]['history_net_prior']
                                              - runs[1]['history_net_prior']).max())
        return found

    def weights(self, names):
        """Difference of the parameters of two runs, relative to their size;
        None where their shapes differ."""
        stores = []
        for name in names:
            paths = glob.glob(os.path.join(glob.escape(self.path(name)), 'params', '*', '*',
                                           'model_parameter_*.mat'))
            stores.append(parameter_files.load(max(paths)).store)
        if [(name, stores[0][name].shape) for name in sorted(stores[0])] != [
                (name, stores[1][name].shape) for name in sorted(stores[1])]:
            return None
        return float(np.sqrt(sum(np.sum(np.square(stores[0][name] - stores[1][name])) for name in stores[0])
                             / sum(np.sum(np.square(stores[1][name])) for name in stores[1])))

    def stopped(self, model, name, first, then):
        """Stops a run on one device inside its second task and ends it on another;
        what became of it, in words."""
        options = options_of(model, 'DIGITS5', self.folder) + ['--num_runs', '1', '--checkpoint_minutes', '0']
        name = '%s-%s' % (name, model)
        with self.start(name, options, first) as child:
            log = self._log_inside_second_task(name, child)
            child.send_signal(signal.SIGINT)
            self._wait(name, child)
        if child.returncode == 0:
            raise UserError('it ended before it could be stopped')
        with self.start(name, options, then) as child:
            result = self.result(name, child)
        with open(log) as stream:
            if 'resumed at' not in stream.read():
                raise UserError('it was not taken up where it was stopped')
        return self.beside_device_alone(result, model, first == then)

    def beside_device_alone(self, result, model, same_device):
        """Says how near a result is to that of the run on the device alone; a UserError if it is too far."""
        alone = load_results(self.path('%s-DIGITS5-device' % model, RESULT))[0]
        histories = [each['result_of_each_run'][0]['history_test_error'] for each in (result, alone)]
        if np.array_equal(*histories):
            return 'the same accuracies as on the device alone'
        difference = accuracy_difference(result, alone)
        if same_device and model in self.repeating or not difference <= ACCURACY:
            raise UserError('accuracies differ by up to %.3f from those on the device alone' % difference)
        return 'accuracies within %.3f of those on the device alone' % difference

    def _log_inside_second_task(self, name, child):
        """Path of a run's log, once its checkpoint is inside the second task."""
        from classification.trial import checkpoint
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and child.poll() is None:
            for path in glob.glob(os.path.join(glob.escape(self.path(name)), '*', '*', 'trial0',
                                               'checkpoint')):
                meta = (checkpoint.load(path, lambda line: None) or [{}])[0]
                if meta.get('position') == 1 and meta.get('epoch'):
                    return os.path.join(os.path.dirname(os.path.dirname(path)), 'log.txt')
            time.sleep(0.05)
        raise UserError('it did not come to its second task: %s' % self._said(name))

    def side_by_side(self, model):
        """Two trials at a time on the device; what became of the first, in words."""
        options = options_of(model, 'DIGITS5', self.folder) + ['--num_runs', '2', '--jobs', '2']
        name = 'side-%s' % model
        with self.start(name, options, self.gpu) as child:
            return self.beside_device_alone(self.result(name, child), model, True)


def accuracy_difference(result, other):
    """Largest difference of the first trial's accuracies after each task, in [0, 1]."""
    return float(np.nanmax(np.abs(result['accuracy_matrix'][0] - other['accuracy_matrix'][0])))
