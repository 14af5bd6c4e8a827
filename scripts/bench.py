"""Prints how fast every model trains and evaluates, beside what the bare operations take.

    make bench                       every model, CIFAR-100's 4-layer network at 4 % of the data, batch 10
    make bench MODELS=LASEM_HPS      one of them
    python scripts/bench.py --tree   LASEM's tree beside one explicit network per pattern
    python scripts/bench.py --memory peak memory of LASEM_HPS with 64 patterns (STL-10, 6 layers, 96x96)

One network's convolutions and matrix products alone ("bare") are 1, measured in the same process: `step`, a
training step of the first task; `evaluation`, of an image of the first task; `epoch`, training and
evaluation of a whole epoch when so many tasks are learned, from a trial as main.py runs it, beside the bare
operations of an epoch of one task. In brackets: beside the method's own bare operations. Ratios are medians
of those within a repetition, in which the variants take turns; each model has a process of its own.
"""
import json
import os
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

from classification.experiment import plugin_files  # noqa: E402
from classification.experiment.flags import PLUGIN, Parser, load_plugins  # noqa: E402
from classification.model.method import Batch  # noqa: E402
from classification.model.registry import MODELS, models_argument  # noqa: E402
from classification.trial import evaluation as evaluate  # noqa: E402
from classification.trial.task_graph import GraphSettings, TaskGraph  # noqa: E402
from scripts.explicit import Explicit  # noqa: E402
from scripts.random_trials import (  # noqa: E402
    BATCH,
    CLASSES,
    SIZES,
    TASKS,
    epoch_seconds,
    random_tasks,
    setting_of,
)
from scripts.yardsticks import Bare, Torch, bare_operations  # noqa: E402
from utils import runtime  # noqa: E402
from utils import utils_env_cl as env  # noqa: E402
from utils.cores import cores  # noqa: E402
from utils.lazy_tensorflow import tf  # noqa: E402
from utils.utils import UserError, at_least, random_state, run_command, tell_error  # noqa: E402
from utils.utils_nn import Parameters, assign  # noqa: E402

REPETITIONS, STEPS = 15, 5
IMAGES, STEPS_OF_EPOCH = sum(SIZES), SIZES[0] // BATCH


class Stepper(object):
    """A method's graph, and one training step of it on random images."""

    def __init__(self, method, threads):
        net = method.net
        self.method, self.graph = method, tf.Graph()
        with self.graph.as_default():
            parameters = Parameters({}, [0], lambda name: random_state(0, purpose=name))
            tensors = [tf.placeholder(kind, shape) for kind, shape in (
                (tf.float32, (BATCH,) + net.image_shape), (tf.int32, [BATCH]), (tf.float32, []),
                (tf.int32, [2]))]
            batch = Batch(*(tensors + [BATCH]))
            single = batch._replace(images=batch.images[:1], labels=batch.labels[:1], size=1)
            method.build(parameters, 0, batch._replace(single=single))
            initialise, start = tf.global_variables_initializer(), parameters.start_values()
        self.session = tf.Session(graph=self.graph, config=runtime.session_config(threads))
        self.session.run(initialise)
        assign(self.session, start)
        method.start_phase(self, 0, 0)
        state = np.random.RandomState(0)
        self.feed = dict(zip(tensors, (state.uniform(-1, 1, (BATCH,) + net.image_shape),
                                       state.randint(0, CLASSES, BATCH), 1e-4, (1, 2))))

    def step(self):
        """One step; explicit networks take two session calls, as the E-step needs its result."""
        if isinstance(self.method, Explicit):
            likelihood = self.session.run(self.method.likelihood, self.feed)
            self.feed[self.method.posterior] = likelihood / likelihood.sum()
        self.session.run(self.method.update, self.feed)


def _milliseconds(actions, times_each=STEPS):
    """[actions, REPETITIONS]: milliseconds of each action, taking turns."""
    times = [[] for _ in actions]
    for _ in range(REPETITIONS):
        for action, found in zip(actions, times):
            action()            # its own data in the caches, and the threads of the one before asleep
            began = time.monotonic()
            for _ in range(times_each):
                action()
            found.append(1000 * (time.monotonic() - began) / times_each)
    return np.array(times)


def _ratio(times, others):
    """Median over the rounds of the ratio within a round: the machine's speed may change between rounds."""
    return float(np.median(times / others))


def _peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.


def _net():
    _, network = env.network_of('cifar100', 'CIFAR100_10', 4)
    return env.build_net(network, (32, 32, 3))


def bench_tree(names, threads):
    """LASEM's graph of all patterns beside one explicit network per pattern: one line per model."""
    print('TensorFlow %s, %d threads; CIFAR-100 network of 4 layers, batch %d; medians of %d x %d steps'
          % (tf.__version__, threads, BATCH, REPETITIONS, STEPS))
    print('%-18s %12s %12s %8s' % ('model', 'ms per step', 'explicit ms', 'ratio'))
    for name in names:
        model = MODELS[name]
        if model.selection == 'lasem':
            method = model.make(setting_of(model, _net()))
            steppers = [Stepper(method, threads), Stepper(Explicit(method.setting, method.patterns), threads)]
            tree, explicit = _milliseconds([stepper.step for stepper in steppers])
            print('%-18s %12.1f %12.1f %7.2fx' % (name, np.median(tree), np.median(explicit),
                                                  _ratio(explicit, tree)))
            sys.stdout.flush()


def bench_memory(threads):
    """LASEM_HPS with 64 patterns on STL-10's images."""
    _, network = env.network_of('stl10', 'STL10_15t', 6)
    net = env.build_net(network, (96, 96, 3))
    before = _peak_megabytes()
    stepper = Stepper(MODELS['LASEM_HPS'].make(setting_of(MODELS['LASEM_HPS'], net)), threads)
    stepper.step()
    began = time.monotonic()
    stepper.step()
    print('LASEM_HPS, 64 patterns, STL-10 network of 6 layers, 96x96, batch %d on TensorFlow %s: %.0f ms '
          'per step, peak memory %.0f MB (%.0f MB before)' % (
              BATCH, tf.__version__, 1000 * (time.monotonic() - began), _peak_megabytes(), before))


class OneNetwork(object):
    """The bare operations of one network: of a training step, of an evaluated batch."""

    def __init__(self, net, threads):
        method = MODELS['STL'].make(setting_of(MODELS['STL'], net))
        self.step = bare_step(Stepper(method, threads).method, threads)
        self.evaluated = env.evaluation_batch(net.image_shape[0])
        task = random_tasks(1, shape=net.image_shape)[0]
        with _graph_of('STL', task, net, threads) as graph:
            self.evaluation = bare_evaluation(graph, task, threads)

    def epoch(self):
        """Seconds of the bare operations of an epoch of one of `random_tasks`: (training, evaluation)."""
        step, evaluation = np.median(_milliseconds([self.step.run, self.evaluation.run], 1), axis=1)
        return step * STEPS_OF_EPOCH / 1000., evaluation * IMAGES / self.evaluated / 1000.


def bare_step(method, threads):
    """Bare operations of a method's training step."""
    return Bare(bare_operations([method.update]), BATCH, threads)


def bare_evaluation(graph, task, threads):
    """Bare operations of a batch of a task that a TaskGraph evaluates."""
    net = graph.method.net
    return Bare(bare_operations([graph._evaluation.network(task).predicted]),
                env.evaluation_batch(net.image_shape[0]), threads)


def _graph_of(name, task, net, threads):
    """TaskGraph of a model that learns its first task."""
    method = MODELS[name].make(setting_of(MODELS[name], net))
    graph = TaskGraph(method, {}, task, [task], lambda name: random_state(0, purpose=name),
                      GraphSettings(BATCH, env.evaluation_batch(net.image_shape[0]),
                                    runtime.session_config(threads)))
    method.start_phase(graph, 0, 0)
    return graph


def evaluation(name, net, threads, one):
    """Time to evaluate an image: (beside OneNetwork's bare operations, beside the model's own)."""
    task = random_tasks(1, shape=net.image_shape)[0]
    with _graph_of(name, task, net, threads) as graph:
        own = bare_evaluation(graph, task, threads)
        ours, plain, bare = _milliseconds([lambda: graph.accuracy(task), one.evaluation.run, own.run], 1)
    batches = IMAGES / float(one.evaluated)
    return _ratio(ours, batches * plain), _ratio(ours, batches * bare)


def _per_second(images, times):
    return float(np.median(1000 * images / times))


def batches_of_ten(net, threads):
    """Of the first sample command at 10 tasks: (s/epoch as it is, s/epoch with evaluation of every task in
    batches of 10, s of the convolutions and matrix products that an epoch as it is cannot do without)."""
    found, size = [], env.evaluation_batch(32)
    for batch, room in ((size, env.ACTIVATION_BYTES), (10, 0)):
        model, tasks = MODELS['Hybrid_HPS'], random_tasks(TASKS[-1], shape=net.image_shape)
        method = model.make(setting_of(model, net)._replace(class_counts={t: CLASSES for t in tasks}))
        evaluate.ACTIVATION_BYTES = room
        settings, store = GraphSettings(BATCH, batch, runtime.session_config(threads)), {}
        draw = lambda name: random_state(0, purpose=name)  # noqa: E731
        for task in list(tasks.values())[:-1]:
            with TaskGraph(method, store, task, [task], draw, settings) as graph:
                store.update(graph.values())
        with TaskGraph(method, store, tasks[len(tasks) - 1], list(tasks.values()), draw, settings) as graph:
            times = []
            for _ in range(4):
                began = time.monotonic()
                for step in range(STEPS_OF_EPOCH):
                    graph.step({'training': np.arange(10 * step, 10 * step + 10)}, 1e-4, (1, step))
                for task in tasks.values():
                    graph.accuracy(task)
                times.append(time.monotonic() - began)
            found.append(float(np.median(times[1:])))
            if room:
                needed = [(STEPS_OF_EPOCH, bare_step(method, threads))] + [
                    (IMAGES / float(size), Bare(
                    bare_operations([graph._evaluation.network(task).predicted], graph._evaluation.cut(task)),
                    size, threads)) for task in tasks.values()]
    bare = _milliseconds([each.run for _, each in needed], 1)
    evaluate.ACTIVATION_BYTES = env.ACTIVATION_BYTES
    return found + [float(np.dot([times for times, _ in needed], np.median(bare, axis=1))) / 1000]


def beside_torch(stepper, net, threads):
    """(ms per step of PyTorch, ours as a multiple of that, evaluated images per second of PyTorch); None
    where it is not installed. After everything else: its threads would slow the others."""
    try:
        trained, evaluated = [Torch(net, CLASSES, size, threads)
                              for size in (BATCH, env.evaluation_batch(32))]
    except ImportError:
        return None
    ours, theirs, evaluation_times = _milliseconds([stepper.step, trained.step, evaluated.evaluate])
    return (float(np.median(theirs)), _ratio(ours, theirs),
            _per_second(env.evaluation_batch(32), evaluation_times))


def measure(name, threads):
    """Everything about one model: dict."""
    net = _net()
    one = OneNetwork(net, threads)
    stepper = Stepper(MODELS[name].make(setting_of(MODELS[name], net)), threads)
    own = bare_step(stepper.method, threads)
    ours, plain, bare = _milliseconds([stepper.step, one.step.run, own.run])
    row = dict(name=name, step=(_ratio(ours, plain), _ratio(ours, bare)),
               evaluation=evaluation(name, net, threads, one))
    before = one.epoch()
    if name == 'Hybrid_HPS':
        row['sample'] = batches_of_ten(net, threads)
    seconds = epoch_seconds(name, net, threads)
    row['one'] = np.mean([before, one.epoch()], axis=0).tolist()
    row['epochs'] = [taken / sum(row['one']) for taken in seconds]
    row['memory'] = _peak_megabytes()
    if name == 'Hybrid_HPS':
        row['torch'] = beside_torch(stepper, net, threads)
    return row


def bench_models(names, threads):
    """The table."""
    print('TensorFlow %s, %d threads; CIFAR-100 at 4 %%, network of 4 layers, batch %d; medians of %d '
          'repetitions; 1 is one network\'s convolutions and matrix products'
          % (tf.__version__, threads, BATCH, REPETITIONS))
    print('%-18s %14s %14s %26s %7s %16s' % (
        'model', 'step (own)', 'evaluation', 'epoch at %d, %d, %d tasks' % TASKS, 'MB',
        'ms of 1: step, image'))
    for name in names:
        if MODELS[name].selection == 'bruteforce':
            print('%-18s trains one fixed pattern after the other, each as fast as %s'
                  % (name, name.split('_')[1]))
            continue
        ran = subprocess.run([sys.executable, os.path.abspath(__file__), '--one', name, '--threads',
                              str(threads)]
                             + plugin_files.words(),
                             stdout=subprocess.PIPE, universal_newlines=True)
        if ran.returncode:
            sys.exit('%s could not be measured' % name)
        print_row(json.loads(ran.stdout.splitlines()[-1]))
        sys.stdout.flush()


def print_row(row):
    """A model's line, and what is known of HPS alone."""
    training, evaluated = row['one']
    print('%-18s %6.2f (%5.2f) %6.2f (%5.2f) %26s %7.0f %8.1f %7.3f' % (
        (row['name'],) + tuple(row['step']) + tuple(row['evaluation'])
        + (' '.join('%8.1f' % times for times in row['epochs']), row['memory'],
           1000 * training / STEPS_OF_EPOCH, 1000 * evaluated / IMAGES)))
    if row.get('torch'):
        print('  PyTorch: %.1f ms/step (this is %.2f times that), %.0f images/s' % tuple(row['torch']))
    if 'sample' in row:
        now, tens, needed = row['sample']
        print('  an epoch at 10 tasks with every task evaluated in batches of 10: %.2f s, as it is %.2f s: '
              '%.1f times (its bare operations alone: %.2f s, %.1f times)'
              % (tens, now, tens / now, needed, tens / needed))


def main():
    """Command line."""
    try:
        load_plugins(None)
    except UserError as error:
        return tell_error(error)
    parser = Parser(description=__doc__.split('\n')[0])
    parser.add_argument('--plugin', **PLUGIN)
    parser.add_argument('--models', type=lambda text: tuple(models_argument(text)), default='',
                        help='models, separated by commas (default: all)')
    parser.add_argument('--threads', type=at_least(1), default=cores())
    parser.add_argument('--memory', action='store_true')
    parser.add_argument('--tree', action='store_true')
    parser.add_argument('--one', choices=list(MODELS), metavar='MODEL',
                        help='measures one model and prints it as JSON')
    flags = parser.parse_args()
    names = flags.models or list(MODELS)
    if flags.one:
        print(json.dumps(measure(flags.one, flags.threads)))
    elif flags.memory:
        bench_memory(flags.threads)
    elif flags.tree:
        bench_tree(names, flags.threads)
    else:
        bench_models(names, flags.threads)


if __name__ == '__main__':
    run_command(main)
