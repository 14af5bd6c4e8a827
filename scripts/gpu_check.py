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
another, and two trials at a time.

Everything that is printed also goes to the file.
"""
import argparse
import glob
import json
import os
import pickle
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

from classification.experiment.flags import Parser, parser  # noqa: E402
from classification.model.registry import models_argument  # noqa: E402
from classification.results import parameter_files  # noqa: E402
from classification.results.read_results import load_results  # noqa: E402
from classification.runs.local_pool import visible_devices  # noqa: E402
from utils.cores import cores  # noqa: E402
from utils.tensorflow_version import tensorflow_version  # noqa: E402
from utils.utils import UserError, random_state, run_command, tell_error  # noqa: E402

MODELS = OrderedDict([('Hybrid_HPS', ['--transfer_config', 'top2']), ('LASEM_HPS', []),
                      ('Hybrid_DFCNN', ['--transfer_config', 'alternating']), ('DARTS_HPS', []), ('DEN', []),
                      ('ProgNN', ['--test_type', '1']), ('ChannelGate', [])])
DATA = OrderedDict([('DIGITS5', ['--data_type', 'DIGITS5', '--epochs_per_task', '8']),
                    ('CIFAR', ['--data_type', 'CIFAR100_10', '--num_clayers', '4', '--data_percent', '4',
                               '--epochs_per_task', '4'])])
IMAGES_PER_CLASS = 20       # in each of CIFAR-100's two files
STEPS = 8                   # that are compared; a multiple of them is timed
ROUNDING = 1e-5            # of a variable's size: what a few steps' sums in another order may amount to
LOSS, WEIGHTS, LOGITS = 1e-4, 1e-2, 1e-3       # tolerances of the steps
RUN_WEIGHTS = 5e-2          # and of two whole tasks, in which rounding grows
RESULT = 'found.mat'
SECONDS = 600               # a run that takes longer hangs
CHILD_FAILED = 'it ended with exit status %d: %s'


def write_cifar(folder):
    """Files in CIFAR-100's format: a pattern of 8x8 blocks for each class, under noise."""
    state = random_state(0, purpose='images of the GPU check')
    patterns = state.randint(0, 256, (100, 8, 8, 3))
    place = os.path.join(folder, 'cifar-100-python')
    os.makedirs(place)
    for name in ('train', 'test'):
        labels = state.permutation(np.repeat(np.arange(100), IMAGES_PER_CLASS))
        clean = patterns[labels].repeat(4, axis=1).repeat(4, axis=2)
        images = np.clip(clean + state.normal(0, 40, clean.shape), 0, 255).astype(np.uint8)
        with open(os.path.join(place, name), 'wb') as stream:
            pickle.dump({b'data': images.transpose(0, 3, 1, 2).reshape(len(labels), -1),
                         b'fine_labels': labels.tolist()},
                        stream, protocol=2)


def options_of(model, data, folder):
    """The flags of main.py, but for those of the device."""
    return DATA[data] + ['--data_dir', folder, '--lifelong', '--num_tasks', '2', '--model_type',
                         model] + MODELS[model]


# ---- a few steps, in a process of its own ----

class Traced(object):
    """A session whose calls leave what ran where."""

    def __init__(self, session):
        self.session, self.metadata = session, None

    def run(self, fetches, feed_dict=None):
        """As tf.Session.run."""
        from utils.lazy_tensorflow import tf
        self.metadata = tf.RunMetadata()
        return self.session.run(fetches, feed_dict,
                                options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE),
                                run_metadata=self.metadata)

    def counts(self):
        """(operations, launches on the GPU or None, bytes on the GPU or None) of the last call."""
        operations = launched = held = 0
        for device in self.metadata.step_stats.dev_stats:
            name = device.device.lower()
            if 'stream:all' in name:
                launched += len(device.node_stats)
            elif 'stream' not in name and 'memcpy' not in name:
                operations += len(device.node_stats)
            for node in device.node_stats:
                held = max([held] + [memory.allocator_bytes_in_use for memory in node.memory
                                     if 'GPU' in memory.allocator_name])
        return operations, launched or None, held or None


def compare_steps(model, data, folder, use_gpu):
    """Trains a few steps of the first task on the CPU and on the device:
    dict of the differences and the speeds."""
    from classification.experiment.resolve import resolve
    from classification.gen_data import load_tasks
    from utils import gpu, runtime
    from utils.utils_env_cl import EVALUATION_BATCH_GPU
    experiment = resolve(parser().parse_args(['--gpu', '-1'] + options_of(model, data, folder)),
                         lambda line: None)
    tasks = load_tasks(experiment.data_type, folder, experiment.data_percent, num_tasks=2,
                       say=lambda line: None)
    found = OrderedDict()
    device = runtime.session_config(cores(), use_gpu)
    if use_gpu:
        found['card'] = gpu.find(device)
        if found['card'] is None:
            raise UserError('TensorFlow %s sees no GPU that it can use' % tensorflow_version())
        gpu.check(device, found['card'])
    factor = EVALUATION_BATCH_GPU if use_gpu else 1
    ours = device_steps(experiment, tasks, device, factor)
    cpu = device_steps(experiment, tasks, runtime.session_config(cores()), 1)
    found.update(loss=float(np.max(np.abs(np.subtract(ours['losses'], cpu['losses']))
                                   / np.abs(cpu['losses']))),
                 weights=max(_beside_change(ours['weights'][name], cpu['weights'][name], cpu['start'][name])
                             for name in cpu['start']),
                 logits=float(np.abs(ours['logits'] - cpu['logits']).max() / np.abs(cpu['logits']).max()),
                 cpu_milliseconds=cpu['milliseconds'], cpu_images=cpu['images'])
    again = device_steps(experiment, tasks, device, factor, timed=False)['weights']
    found['again'] = all(np.array_equal(again[name], ours['weights'][name]) for name in again)
    found.update((name, ours[name]) for name in ('milliseconds', 'images', 'operations', 'kernels', 'bytes'))
    return found


def _beside_change(ours, theirs, start):
    """How far apart a variable's values are, beside how far they came, or ROUNDING of their size if that is
    more."""
    apart = np.linalg.norm(ours - theirs)
    return float(apart / max(np.linalg.norm(theirs - start),
                             ROUNDING * np.linalg.norm(theirs))) if apart else 0.


def device_steps(experiment, tasks, config, factor, timed=True):
    """dict: losses, the parameters before and after, milliseconds of a step, images evaluated per second,
    counts."""
    from classification.train import Trial
    from classification.trial.context import TrialContext
    from classification.trial.task_graph import TaskGraph
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(experiment, 0, tasks, TrialContext(folder, config, evaluation_factor=factor))
    task = tasks[0]
    draw = lambda name: random_state(0, purpose=name)  # noqa: E731
    with TaskGraph(trial.method, trial.method.start_task(0, {}, draw), task, [task], draw,
                   trial.settings) as graph:
        trial.method.start_phase(graph, 0, 0)
        start, found = graph.values(), {}

        def step(number, fetch=False):
            rows = random_state(0, step=number,
                                purpose='rows').permutation(min(task.train.size, task.valid.size))
            rows = np.resize(rows, experiment.training.batch_size)
            rows = {name: rows for name in ('training', 'validation')[:1 + trial.method.validation_batches]}
            return graph.step(rows, experiment.training.lr, (0, number), fetch)
        found.update(losses=[float(step(number, True)) for number in range(STEPS)], start=start,
                     weights=graph.values())
        if not timed:
            return found
        found['logits'] = graph.probe('logits0', task.test)
        seconds = _median_seconds(lambda: [step(number) for number in range(STEPS)])
        found['milliseconds'] = 1000 * seconds / STEPS
        size = sum(part.size for part in (task.train, task.valid, task.test))
        found['images'] = size / _median_seconds(lambda: graph.accuracy(task))
        graph.session = Traced(graph.session)
        step(0)
        found['operations'], found['kernels'], found['bytes'] = graph.session.counts()
        graph.session = graph.session.session
    return found


def _median_seconds(action, times=7):
    seconds = []
    action()
    for _ in range(times):
        began = time.monotonic()
        action()
        seconds.append(time.monotonic() - began)
    return float(np.median(seconds))


# ---- whole runs, by main.py ----

class Runs(object):
    """Runs of main.py whose results lie in one folder.

    Args:
        folder: pathlike.
        gpu: N-th of the visible GPUs, -1: the CPU.

    Attributes:
        workers: pairs of runs at a time.
    """

    def __init__(self, folder, gpu):
        self.folder, self.gpu = folder, gpu
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
        said, _ = child.communicate(timeout=SECONDS)
        if child.returncode:
            raise UserError(CHILD_FAILED % (child.returncode, ' '.join(said.split())[-300:]))
        return load_results(self.path(name, RESULT))[0]

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
        child.communicate(timeout=SECONDS)
        if child.returncode == 0:
            raise UserError('it ended before it could be stopped')
        result = self.result(name, self.start(name, options, then))
        with open(log) as stream:
            if 'resumed at' not in stream.read():
                raise UserError('it was not taken up where it was stopped')
        return self._beside_device_alone(result, model)

    def _beside_device_alone(self, result, model):
        alone = load_results(self.path('%s-DIGITS5-device' % model, RESULT))[0]
        histories = [each['result_of_each_run'][0]['history_test_error'] for each in (result, alone)]
        if np.array_equal(*histories):
            return 'the same accuracies as on the device alone'
        return 'accuracies within %.3f of those on the device alone' % accuracy_difference(result, alone)

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
        return self._beside_device_alone(self.result(name, self.start(name, options, self.gpu)), model)


def accuracy_difference(result, other):
    """Largest difference of the first trial's accuracies after each task, in [0, 1]."""
    return float(np.nanmax(np.abs(result['accuracy_matrix'][0] - other['accuracy_matrix'][0])))


# ---- what is said ----

class Report(object):
    """Prints lines and keeps them; counts what is not well."""

    def __init__(self):
        self.lines, self.faults = [], []

    def say(self, line=''):
        """One line."""
        print(line)
        sys.stdout.flush()
        self.lines.append(line)

    def fault(self, line):
        """One line about what is not well."""
        self.faults.append(line)
        self.say('  FAULT: ' + line)

    def beyond(self, what, value, most):
        """Says it if a difference is above its tolerance, or no number."""
        if value is not None and not value <= most:
            self.fault('%s differs by %.2g, more than %g' % (what, value, most))


def check_steps(report, names, folder, gpu):
    """The table of steps."""
    report.say('%-14s %-8s %9s %9s %9s %6s %18s %20s %6s %8s %6s' % (
        'steps of', 'data', 'loss', 'weights', 'logits', 'again', 'ms/step (CPU)', 'images/s (CPU)', 'ops',
        'launches', 'MB'))
    expected = [(name, data) for name in names for data in DATA]
    visible = visible_devices(gpu, os.environ.get('CUDA_VISIBLE_DEVICES'))
    with tempfile.TemporaryFile('w+') as errors:
        child = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), '--gpu', str(gpu), '--models', ','.join(names),
             '--steps', folder],
            stdout=subprocess.PIPE, stderr=errors, universal_newlines=True,
            env=dict(os.environ, CUDA_VISIBLE_DEVICES=visible))
        for line in child.stdout:
            row, (name, data) = json.loads(line), expected.pop(0)
            report.say('%-14s %-8s %9.1e %9.1e %9.1e %6s %8.2f (%7.2f) %9.0f (%8.0f) %6d %8s %6s' % (
                name, data, row['loss'], row['weights'], row['logits'], 'same' if row['again'] else 'near',
                row['milliseconds'], row['cpu_milliseconds'], row['images'], row['cpu_images'],
                row['operations'],
                row['kernels'] or '-', '-' if row['bytes'] is None else '%.0f' % (row['bytes'] / 2. ** 20)))
            judge_steps(report, '%s on %s' % (name, data), row)
        if child.wait() or expected:
            errors.seek(0)
            report.fault('%s on %s: ' % (expected or [('the steps', 'all data')])[0] + CHILD_FAILED % (
                child.returncode, ' '.join(errors.read().split())[-300:]))
            return
    for name, value in row.get('card', {}).items():
        report.say('  %s: %s' % (name, value))


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
        check_steps(report, names, folder, gpu)
        if report.faults:
            report.say('The whole runs are left out, since steps differ or fail.')
        else:
            check_runs(report, names, Runs(folder, gpu))
    report.say()
    report.say('%s in %.0f s' % ('All is well' if not report.faults else '%d faults' % len(report.faults),
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
    arguments.add_argument('--steps', help=argparse.SUPPRESS)
    flags = arguments.parse_args()
    if flags.gpu < -1:
        arguments.error('--gpu %d: -1 (the CPU) or a number from 0 on is needed' % flags.gpu)
    names = [name for name in MODELS if not flags.models or name in flags.models]
    if flags.steps:
        try:
            for name in names:
                for data in DATA:
                    print(json.dumps(compare_steps(name, data, flags.steps, flags.gpu >= 0)))
                    sys.stdout.flush()
        except UserError as problem:
            return tell_error(problem)
        return 0
    report = Report()
    try:
        stream = open(flags.report, 'w')
    except OSError as problem:
        return tell_error('--report %s: %s' % (flags.report, problem.strerror))
    with stream:
        check(report, names, flags.gpu)
        stream.write('\n'.join(report.lines) + '\n')
    return 1 if report.faults else 0


if __name__ == '__main__':
    run_command(main)
