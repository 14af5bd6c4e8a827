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
turns rounding into accuracy, on the CPU alone too. At last runs of Hybrid_HPS and LASEM_HPS that are stopped
on one device and go on on another, whose accuracies may differ a little, and on the same device and two
trials at a time, which must give the same where the steps did.

Everything that is printed also goes to the file.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from classification.experiment.flags import Parser  # noqa: E402
from classification.model.registry import models_argument  # noqa: E402
from classification.runs.local_pool import visible_devices  # noqa: E402
from scripts import gpu_steps  # noqa: E402
from scripts.gpu_runs import CHILD_FAILED, Runs, lines_of, started  # noqa: E402
from scripts.gpu_steps import DATA, MODELS, write_cifar  # noqa: E402
from utils.cores import cores  # noqa: E402
from utils.tensorflow_version import tensorflow_version  # noqa: E402
from utils.utils import EXIT_USER_ERROR, UserError, plural, printable, run_command, tell_error  # noqa: E402

LOSS, WEIGHTS, LOGITS = 1e-4, 1e-2, 1e-3       # tolerances of the steps
RUN_WEIGHTS = 5e-2      # and of two whole tasks, in which rounding grows
RESUMED = ('Hybrid_HPS', 'LASEM_HPS')       # models that are stopped and resumed, whose accuracies are judged
AFTER_ALL = ('the steps', 'all data')


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
        try:
            with started([sys.executable, gpu_steps.__file__, str(min(gpu, 0)), folder] + names,
                         stdout=subprocess.PIPE, stderr=errors,
                         env=dict(os.environ, CUDA_VISIBLE_DEVICES=visible)) as child:
                for line in lines_of(child):
                    row = row_of(line, expected)
                    name, data = expected.pop(0)
                    say_steps(report, name, data, row)
                    if not row['again']:
                        repeating.discard(name)
        except UserError as problem:
            report.fault('%s on %s: %s' % ((expected or [AFTER_ALL])[0] + (problem,)))
            return repeating
        status, said = child.returncode, errors.seek(0) or ' '.join(errors.read().split())[-300:]
    if status == EXIT_USER_ERROR:
        raise UserError(said.replace('error: ', '', 1))
    if status or expected:
        report.fault('%s on %s: ' % (expected or [AFTER_ALL])[0] + CHILD_FAILED % (status, said))
    for name, value in row.get('card', {}).items():
        report.say('  %s: %s' % (name, value))
    return repeating


def row_of(line, expected):
    """What `compare_steps` found, of a line of JSON; a UserError if it is none, or none is expected."""
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not (isinstance(row, dict) and 'loss' in row and expected):
        raise UserError('it printed what is no row of the table: %s' % printable(line.strip())[:300])
    return row


def say_steps(report, name, data, row):
    """A line of the table of steps, and what of it is not well."""
    report.say('%-14s %-8s %9.1e %9.1e %9.1e %6s %8.2f (%7.2f) %9.0f (%8.0f) %6d %8s %6s' % (
        name, data, row['loss'], row['weights'], row['logits'], 'same' if row['again'] else 'near',
        row['milliseconds'], row['cpu_milliseconds'], row['images'], row['cpu_images'],
        row['operations'], row['kernels'] or '-',
        '-' if row['bytes'] is None else '%.0f' % (row['bytes'] / 2. ** 20)))
    judge_steps(report, '%s on %s' % (name, data), row)


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
        try:
            for (name, data), pair in waiting.items():
                say_pair(report, name, data, pair)
        finally:            # after Ctrl-C no other run begins
            for pair in waiting.values():
                pair.cancel()
    report.say()
    resumed = [name for name in names if name in RESUMED]
    for name in resumed:
        resume(report, name, runs)
    if not resumed:
        report.say('No run is stopped and resumed: the accuracies of %s are not judged, only those of %s.'
                   % (', '.join(names), ' and '.join(RESUMED)))


def say_pair(report, name, data, pair):
    """A line of the table of whole runs; `pair` is the Future of what `Runs.pair` found."""
    what = '%s on %s' % (name, data)
    try:
        row = pair.result()
    except UserError as problem:
        report.fault('%s: %s' % (what, problem))
        return
    report.say('%-14s %-8s %9.3f %9s %10s %8s %9.1f (%8.1f)' % (
        name, data, row['accuracy'], 'shapes' if row['weights'] is None else '%.1e' % row['weights'],
        '%.1e' % row['posterior'] if 'posterior' in row else '-',
        {None: '-', 0: 'same'}.get(row.get('layers'), row.get('layers')), row['seconds'],
        row['cpu_seconds']))
    report.beyond('what two tasks teach ' + what, row['weights'], RUN_WEIGHTS)


def resume(report, name, runs):
    """What becomes of a model's runs that are stopped, and of two at a time; a line each."""
    for what, action in (
            ('stopped on the device, ended on the CPU', lambda: runs.stopped(name, 'there', runs.gpu, -1)),
            ('stopped on the CPU, ended on the device', lambda: runs.stopped(name, 'back', -1, runs.gpu)),
            ('stopped on the device, ended there', lambda: runs.stopped(name, 'again', runs.gpu, runs.gpu)),
            ('two trials at a time on the device', lambda: runs.side_by_side(name))):
        try:
            report.say('%s, %s: %s' % (name, what, action()))
        except UserError as problem:
            report.fault('%s, %s: %s' % (name, what, problem))


def driver_says():
    """Lines of nvidia-smi about the cards, none where it is not there."""
    try:
        with started(['nvidia-smi',
                      '--query-gpu=name,driver_version,memory.total,memory.used,utilization.gpu',
                      '--format=csv'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            return [line.rstrip('\n') for line in lines_of(child)]
    except OSError:
        return []
    except UserError as problem:
        return ['nvidia-smi: %s' % problem]


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
