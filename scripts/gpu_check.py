"""Does training on a GPU give what the CPU gives, how fast, and do experiments go on across both?

    scripts/gpu_check.sh [--gpu N] [--report FILE] [--models HPS,DEN]

Each model type trains on DIGITS5 and on generated images in CIFAR-100's format.

First a few steps on both devices, from the same values with the same images. `loss` is the largest relative
difference of a step's loss; `weights` that of a variable beside what the steps changed; `logits` that of the
outputs on the test images. `again` says whether the device gives the same bits a second time. Then the
speeds, on the device and on the CPU. `ops` and `launches`: operations that a step runs, and what it launches
on the GPU; a launch takes microseconds, however small the work. `MB`: memory of a step on the device.

Then two whole tasks by main.py. `weights` is the difference of the parameters beside their size; `shapes`:
they chose other layers or widths. Accuracies are shown and not judged: a network that is just leaving chance
turns rounding into accuracy, on the CPU alone too. At last runs that are stopped on one device and go on on
another, whose accuracies may differ a little, and on the same device and two trials at a time, which must
give the same where the steps did.

Everything that is printed also goes to the file.
"""
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import numpy as np  # noqa: E402

from classification.experiment.flags import Parser  # noqa: E402
from classification.model.registry import models_argument  # noqa: E402
from classification.results import parameter_files  # noqa: E402
from classification.results.read_results import load_results  # noqa: E402
from classification.runs.local_pool import visible_devices  # noqa: E402
from scripts import gpu_steps  # noqa: E402
from scripts.gpu_steps import DATA, MODELS, options_of, write_cifar  # noqa: E402
from utils.cores import cores  # noqa: E402
from utils.tensorflow_version import tensorflow_version  # noqa: E402
from utils.utils import EXIT_USER_ERROR, UserError, plural, run_command, tell_error  # noqa: E402

LOSS, WEIGHTS, LOGITS = 1e-4, 1e-2, 1e-3       # tolerances of the steps
RUN_WEIGHTS = 5e-2          # and of two whole tasks, in which rounding grows
ACCURACY = 0.08             # and of HPS and LASEM that went on on another device
RESULT = 'found.mat'
SECONDS = 600               # a run that takes longer hangs
CHILD_FAILED = 'it ended with exit status %d: %s'


# ---- whole runs, by main.py ----

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

    def words(self, name, options, gpu, more=()):
        """The command."""
        return [sys.executable, os.path.join(ROOT, 'main.py'), '--gpu', str(gpu), '--threads',
                str(self.threads), '--quiet',
                '--result_dir', self.path(name), '--save_mat_name', RESULT] + options + list(more)

    def start(self, name, options, gpu, more=()):
        """The process of a run."""
        return subprocess.Popen(self.words(name, options, gpu, more), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, universal_newlines=True, cwd=self.folder)

    def result(self, name, child):
        """The one experiment of a run that was started.

        Raises:
            UserError: it failed.
        """
        said = self._ended(child)
        if child.returncode:
            raise UserError(CHILD_FAILED % (child.returncode, ' '.join(said.split())[-300:]))
        return load_results(self.path(name, RESULT))[0]

    @staticmethod
    def _ended(child):
        """What a process said, when it has ended."""
        try:
            return child.communicate(timeout=SECONDS)[0]
        except subprocess.TimeoutExpired:
            child.kill()
            raise UserError('it had not ended after %d s: %s' % (
                SECONDS, ' '.join(child.communicate()[0].split())[-300:])) from None

    def pair(self, model, data):
        """What a model's run on the device gives beside its run on the CPU: dict of the differences."""
        options = options_of(model, data, self.folder) + ['--num_runs', '1', '--saveparam']
        names = ['%s-%s-%s' % (model, data, side) for side in ('device', 'cpu')]
        children = [self.start(name, options, gpu) for name, gpu in zip(names, (self.gpu, -1))]
        results = [self.result(name, child) for name, child in zip(names, children)]
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
        child = self.start(name, options, first)
        log = self._log_inside_second_task(name, child)
        child.send_signal(signal.SIGINT)
        self._ended(child)
        if child.returncode == 0:
            raise UserError('it ended before it could be stopped')
        result = self.result(name, self.start(name, options, then))
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
        child.kill()
        raise UserError('it did not come to its second task: %s' % ' '.join(child.communicate()[0].split())[
            -300:])

    def side_by_side(self, model):
        """Two trials at a time on the device; what became of the first, in words."""
        options = options_of(model, 'DIGITS5', self.folder) + ['--num_runs', '2', '--jobs', '2']
        name = 'side-%s' % model
        return self.beside_device_alone(self.result(name, self.start(name, options, self.gpu)), model, True)


def accuracy_difference(result, other):
    """Largest difference of the first trial's accuracies after each task, in [0, 1]."""
    return float(np.nanmax(np.abs(result['accuracy_matrix'][0] - other['accuracy_matrix'][0])))


# ---- what is said ----

class Report(object):
    """Prints lines, also into a file; counts what is not well."""

    def __init__(self, stream):
        self.stream, self.faults = stream, []

    def say(self, line=''):
        """One line."""
        for stream in (sys.stdout, self.stream):
            stream.write(line + '\n')
            stream.flush()

    def fault(self, line):
        """One line about what is not well."""
        self.faults.append(line)
        self.say('  FAULT: ' + line)

    def beyond(self, what, value, most):
        """Says it if a difference is above its tolerance, or no number."""
        if value is not None and not value <= most:
            self.fault('%s differs by %.2g, more than %g' % (what, value, most))


def check_steps(report, names, folder, gpu):
    """The table of steps; returns the names of the models whose steps on the device repeat bit for bit.

    Raises:
        UserError: the device cannot be tried.
    """
    report.say('%-14s %-8s %9s %9s %9s %6s %18s %20s %6s %8s %6s' % (
        'steps of', 'data', 'loss', 'weights', 'logits', 'again', 'ms/step (CPU)', 'images/s (CPU)', 'ops',
        'launches', 'MB'))
    expected, repeating, row = [(name, data) for name in names for data in DATA], set(names), {}
    visible = visible_devices(gpu, os.environ.get('CUDA_VISIBLE_DEVICES'))
    with tempfile.TemporaryFile('w+') as errors:
        child = subprocess.Popen([sys.executable, gpu_steps.__file__, str(min(gpu, 0)), folder] + names,
                                 stdout=subprocess.PIPE, stderr=errors, universal_newlines=True,
                                 env=dict(os.environ, CUDA_VISIBLE_DEVICES=visible))
        for line in child.stdout:
            row, (name, data) = json.loads(line), expected.pop(0)
            report.say('%-14s %-8s %9.1e %9.1e %9.1e %6s %8.2f (%7.2f) %9.0f (%8.0f) %6d %8s %6s' % (
                name, data, row['loss'], row['weights'], row['logits'], 'same' if row['again'] else 'near',
                row['milliseconds'], row['cpu_milliseconds'], row['images'], row['cpu_images'],
                row['operations'], row['kernels'] or '-',
                '-' if row['bytes'] is None else '%.0f' % (row['bytes'] / 2. ** 20)))
            judge_steps(report, '%s on %s' % (name, data), row)
            if not row['again']:
                repeating.discard(name)
        status, said = child.wait(), errors.seek(0) or ' '.join(errors.read().split())[-300:]
    if status == EXIT_USER_ERROR:
        raise UserError(said.replace('error: ', '', 1))
    if status or expected:
        report.fault('%s on %s: ' % (expected or [('the steps', 'all data')])[0]
                     + CHILD_FAILED % (status, said))
    for name, value in row.get('card', {}).items():
        report.say('  %s: %s' % (name, value))
    return repeating


def judge_steps(report, what, row):
    """Says what of a row of `compare_steps` is not well."""
    report.beyond('the loss of ' + what, row['loss'], LOSS)
    report.beyond('the output of ' + what, row['logits'], LOGITS)
    report.beyond('what a few steps teach ' + what, row['weights'], WEIGHTS)


def check_runs(report, names, runs):
    """The table of whole runs, two tasks each; then runs on both devices, and side by side."""
    report.say()
    report.say('%-14s %-8s %9s %9s %10s %8s %20s' % ('two tasks of', 'data', 'accuracy', 'weights',
                                                     'posterior', 'layers',
                                                   'training s (CPU)'))
    with ThreadPoolExecutor(runs.workers) as workers:
        waiting = OrderedDict(((name, data), workers.submit(runs.pair, name, data)) for name in names
                              for data in DATA)
        for (name, data), pair in waiting.items():
            what = '%s on %s' % (name, data)
            try:
                row = pair.result()
            except UserError as problem:
                report.fault('%s: %s' % (what, problem))
                continue
            report.say('%-14s %-8s %9.3f %9s %10s %8s %9.1f (%8.1f)' % (
                name, data, row['accuracy'], 'shapes' if row['weights'] is None else '%.1e' % row['weights'],
                '%.1e' % row['posterior'] if 'posterior' in row else '-',
                {None: '-', 0: 'same'}.get(row.get('layers'), row.get('layers')), row['seconds'],
                row['cpu_seconds']))
            report.beyond('what two tasks teach ' + what, row['weights'], RUN_WEIGHTS)
    report.say()
    for name in names[:2]:
        for what, action in (
                ('stopped on the device, ended on the CPU',
                 lambda: runs.stopped(name, 'there', runs.gpu, -1)),
                ('stopped on the CPU, ended on the device', lambda: runs.stopped(name, 'back', -1, runs.gpu)),
                ('stopped on the device, ended there',
                 lambda: runs.stopped(name, 'again', runs.gpu, runs.gpu)),
                ('two trials at a time on the device', lambda: runs.side_by_side(name))):
            try:
                report.say('%s, %s: %s' % (name, what, action()))
            except UserError as problem:
                report.fault('%s, %s: %s' % (name, what, problem))


def driver_says():
    """Lines of nvidia-smi about the cards, none where it is not there."""
    try:
        return subprocess.run(['nvidia-smi',
                               '--query-gpu=name,driver_version,memory.total,memory.used,utilization.gpu',
                               '--format=csv'], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True).stdout.splitlines()
    except OSError:
        return []


def check(report, names, gpu):
    """Everything."""
    began = time.monotonic()
    report.say('GPU check: TensorFlow %s, Python %s, %d cores, device %s' % (
        tensorflow_version(), sys.version.split()[0], cores(), 'the CPU itself' if gpu < 0 else 'GPU %d'
        % gpu))
    for line in driver_says() if gpu >= 0 else ():
        report.say('  ' + line)
    with tempfile.TemporaryDirectory() as folder:
        write_cifar(folder)
        repeating = check_steps(report, names, folder, gpu)
        if report.faults:
            report.say('The whole runs are left out, since steps differ or fail.')
        else:
            check_runs(report, names, Runs(folder, gpu, repeating))
    report.say()
    report.say('%s in %.0f s' % ('All is well' if not report.faults else plural(len(report.faults), 'fault'),
                                 time.monotonic() - began))


def main():
    """Exit status."""
    arguments = Parser(description=__doc__.split('\n')[0])
    arguments.add_argument('--gpu', type=int, default=0,
                           help='N-th of the visible GPUs; -1: the CPU beside itself (default: %(default)s)')
    arguments.add_argument('--report', default='gpu_check.txt', metavar='FILE',
                           help='where the lines also go (default: %(default)s)')
    arguments.add_argument('--models', type=lambda text: tuple(models_argument(text)), default='',
                           help='some of %s, separated by commas' % ', '.join(MODELS))
    flags = arguments.parse_args()
    if flags.gpu < -1:
        arguments.error('--gpu %d: -1 (the CPU) or a number from 0 on is needed' % flags.gpu)
    others = [name for name in flags.models if name not in MODELS]
    if others:
        arguments.error('--models %s: it is not among those that are checked: %s'
                        % (', '.join(others), ', '.join(MODELS)))
    try:
        stream = open(flags.report, 'w')
    except OSError as problem:
        return tell_error('--report %s: %s' % (flags.report, problem.strerror))
    with stream:
        report = Report(stream)
        try:
            check(report, [name for name in MODELS if not flags.models or name in flags.models], flags.gpu)
        except UserError as problem:
            return tell_error(problem)
    return 1 if report.faults else 0


if __name__ == '__main__':
    run_command(main)
