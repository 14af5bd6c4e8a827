"""A few training steps on a device and on the CPU, from the same values with the same images; the process
that gpu_check.py starts.

    python scripts/gpu_steps.py GPU FOLDER MODEL...

GPU is 0 or -1 (the CPU), FOLDER the one that `write_cifar` wrote into.

Prints a line of JSON for each model and data set.
"""
import json
import os
import pickle
import re
import sys
import tempfile
import time
from collections import OrderedDict

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

from classification.experiment.flags import parser  # noqa: E402
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
ROUNDING = 1e-5             # of a variable's size: what a few steps' sums in another order may amount to


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

    def operations(self):
        """Statistics of each operation that the last call ran."""
        devices = [device for device in self.metadata.step_stats.dev_stats
                   if not {'stream', 'memcpy'} & set(re.findall('[a-z]+', device.device.lower()))]
        # TensorFlow 1.14 has each once more, as NAME:TYPE
        return [node for device in devices for node in device.node_stats if ':' not in node.node_name]

    def counts(self):
        """(operations, launches on the GPU or None, bytes on the GPU or None) of the last call."""
        launched = held = 0
        for device in self.metadata.step_stats.dev_stats:
            name = device.device.lower()
            if 'stream:all' in name:
                launched += len(device.node_stats)
            for node in device.node_stats:
                held = max([held] + [memory.allocator_bytes_in_use for memory in node.memory
                                     if 'GPU' in memory.allocator_name])
        return len(self.operations()), launched or None, held or None


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


def main():
    """Exit status."""
    gpu, folder, models = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    try:
        for model in models:
            for data in DATA:
                print(json.dumps(compare_steps(model, data, folder, gpu >= 0)))
                sys.stdout.flush()
    except UserError as problem:
        return tell_error(problem)
    return 0


if __name__ == '__main__':
    run_command(main)
