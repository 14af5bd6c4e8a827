"""Prints how fast every model trains and evaluates, beside what the bare operations take.

    make bench                       every model, CIFAR-100's 4-layer network at 4 % of the data, batch 10
    make bench MODELS=LASEM_HPS      one of them
    python scripts/bench.py --tree   LASEM's tree beside one explicit network per pattern
    python scripts/bench.py --memory peak memory of LASEM_HPS with 64 patterns (STL-10, 6 layers, 96x96)

Times are medians over repetitions in which the variants take turns, ratios are medians of the ratios within a
repetition, on one machine; only ratios travel. Each model is measured in a process of its own. `ms/step`: a
training step of the first task; `bare`: its convolutions and matrix products alone; `images/s`: evaluated,
first task, and as a share of what the bare forward operations reach; `s/epoch`: training and evaluation of a
whole epoch when so many tasks are learned, from a trial as main.py runs it.
"""
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

from classification.experiment import plugin_files  # noqa: E402
from classification.experiment.experiment import Experiment  # noqa: E402
from classification.experiment.flags import PLUGIN, Parser, load_plugins  # noqa: E402
from classification.gen_data import SPLITS, Split, Task  # noqa: E402
from classification.model.method import Batch, Setting  # noqa: E402
from classification.model.registry import MODELS, default_options, models_argument  # noqa: E402
from classification.train import Interrupted, Trial  # noqa: E402
from classification.trial import evaluation as evaluate  # noqa: E402
from classification.trial.context import TrialContext  # noqa: E402
from classification.trial.task_graph import GraphSettings, TaskGraph  # noqa: E402
from scripts.explicit import Explicit  # noqa: E402
from scripts.yardsticks import Bare, Product, Torch, bare_operations  # noqa: E402
from utils import runtime  # noqa: E402
from utils import utils_env_cl as env  # noqa: E402
from utils.cores import cores  # noqa: E402
from utils.lazy_tensorflow import tf  # noqa: E402
from utils.utils import UserError, at_least, random_state, run_command, tell_error  # noqa: E402
from utils.utils_nn import Parameters, assign  # noqa: E402

CLASSES, BATCH, REPETITIONS, STEPS = 10, 10, 15, 5
TASKS = (1, 5, 10)


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


def _setting(model, net):
    depth = len(net.layers)
    pattern = env.pattern_from_name('top2' if model.pattern in ('asked', 'searched') else model.pattern,
                                    depth)
    return Setting(net, {0: CLASSES}, model.mechanism, dict(default_options(model.name, net, test_type=1),
                                                            pattern=pattern), 0.5)


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
            method = model.make(_setting(model, _net()))
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
    stepper = Stepper(MODELS['LASEM_HPS'].make(_setting(MODELS['LASEM_HPS'], net)), threads)
    stepper.step()
    began = time.monotonic()
    stepper.step()
    print('LASEM_HPS, 64 patterns, STL-10 network of 6 layers, 96x96, batch %d on TensorFlow %s: %.0f ms '
          'per step, peak memory %.0f MB (%.0f MB before)' % (
              BATCH, tf.__version__, 1000 * (time.monotonic() - began), _peak_megabytes(), before))


def random_tasks(count, sizes=(170, 30, 1000), shape=(32, 32, 3)):
    """Tasks of random pixels, as large as those of CIFAR-100 at 4 %: dict number -> Task."""
    state, ends = np.random.RandomState(0), np.cumsum((0,) + sizes)
    scale, pixels = np.full(shape[2], 1 / 255., np.float32), state.randint(0, 256, (ends[-1],) + shape)
    pixels = pixels.astype(np.uint8)
    return {index: Task(index, CLASSES, classes=(), **{name: Split(
        state.randint(0, CLASSES, last - first).astype(np.int32), scale, 0 * scale, pixels,
        np.arange(first, last), None)
        for name, first, last in zip(SPLITS, ends, ends[1:])}) for index in range(count)}


class Watch(object):
    """Observes a trial: knows where it is, and notes the seconds of its epochs at one position."""

    def __init__(self, position):
        self.position, self.at, self.seconds, self.before = position, 0, [], (None, None)

    def send(self, **what):
        """What the trial says after each epoch."""
        if 'epoch' in what:
            self.at, now = what['position'], time.monotonic()
            if self.at == self.position and self.before[0] == what['epoch'] - 1:
                self.seconds.append(now - self.before[1])      # the first epoch of a session also prepares it
            self.before = what['epoch'], now

    def arrived(self):
        """Whether the trial is at the position."""
        return self.at == self.position

    def left(self):
        """Whether the trial has come to another position."""
        return self.at > self.position


def experiment(name, net, epochs, tasks=TASKS[-1]):
    """Experiment that learns so many of `random_tasks` with a model."""
    setting = _setting(MODELS[name], net)
    searched = MODELS[name].pattern == 'searched'
    return Experiment(
        data_type='random', data_percent=None, normalize='split', checksums={},
        task_order=tuple(range(tasks)),
        class_counts={task: CLASSES for task in range(tasks)}, model_type=name, net=net,
        pattern=None if searched else setting.options['pattern'], options=setting.options,
        training=env.TRAINING['cifar100']._replace(epochs=epochs, batch_size=BATCH), early_stopping=0,
        keep=0.5, evaluation_batch=env.evaluation_batch(net.image_shape[0]), seed=0, tensorflow=1)


def epoch_seconds(name, net, threads):
    """Median seconds of an epoch with so many learned tasks: one number for each of TASKS.

    At these positions the tasks have their full size; between them a trial goes on with few images of each,
    so that those are learned at once.
    """
    trained, medians = experiment(name, net, 5 if name != 'DEN' else 8), []
    full, few = random_tasks(TASKS[-1]), random_tasks(TASKS[-1], (BATCH, 4, 4))
    with tempfile.TemporaryDirectory() as folder:
        for count in TASKS:
            for tasks in (few, full):
                watch = Watch(count - 1)
                context = TrialContext(folder, runtime.session_config(threads), minutes=1e9, send=watch.send,
                                       stopping=watch.arrived if tasks is few else watch.left)
                with contextlib.suppress(Interrupted):
                    Trial(trained, 0, list(tasks.values()), context).run()
            medians.append(float(np.median(watch.seconds)))
    return medians


def evaluation(name, net, threads):
    """(evaluated images per second, its share of what the bare forward operations reach), taking turns."""
    method, tasks = MODELS[name].make(_setting(MODELS[name], net)), random_tasks(1)
    batch = env.evaluation_batch(32)
    with TaskGraph(method, {}, tasks[0], [tasks[0]], lambda name: random_state(0, purpose=name),
                   GraphSettings(BATCH, batch, runtime.session_config(threads))) as graph:
        method.start_phase(graph.session, 0, 0)
        bare = Bare(bare_operations([graph._evaluation.network(tasks[0]).predicted]), batch, threads)
        ours, theirs = _milliseconds([lambda: graph.accuracy(tasks[0]), bare.run], 1)
    return _per_second(1200, ours), _ratio(1200 / ours, batch / theirs)


def _per_second(images, times):
    return float(np.median(1000 * images / times))


def batches_of_ten(net, threads):
    """Of the first sample command at 10 tasks: (s/epoch as it is, s/epoch with evaluation of every task in
    batches of 10, s of the convolutions and matrix products that an epoch as it is cannot do without)."""
    found, size = [], env.evaluation_batch(32)
    for batch, room in ((size, env.ACTIVATION_BYTES), (10, 0)):
        model, tasks = MODELS['Hybrid_HPS'], random_tasks(TASKS[-1])
        method = model.make(_setting(model, net)._replace(class_counts={t: CLASSES for t in tasks}))
        evaluate.ACTIVATION_BYTES = room
        settings, store = GraphSettings(BATCH, batch, runtime.session_config(threads)), {}
        draw = lambda name: random_state(0, purpose=name)  # noqa: E731
        for task in list(tasks.values())[:-1]:
            with TaskGraph(method, store, task, [task], draw, settings) as graph:
                store.update(graph.values())
        with TaskGraph(method, store, tasks[9], list(tasks.values()), draw, settings) as graph:
            times = []
            for _ in range(4):
                began = time.monotonic()
                for step in range(17):
                    graph.step({'training': np.arange(10 * step, 10 * step + 10)}, 1e-4, (1, step))
                for task in tasks.values():
                    graph.accuracy(task)
                times.append(time.monotonic() - began)
            found.append(float(np.median(times[1:])))
            if room:
                needed = [(17, Bare(bare_operations([method.update]), BATCH, threads))] + [
                    (1200. / size, Bare(
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
    method = MODELS[name].make(_setting(MODELS[name], net))
    stepper, product = Stepper(method, threads), Product(threads)
    bare = Bare(bare_operations([method.update]), BATCH, threads)
    found = _milliseconds([stepper.step, bare.run, product.run])
    row = dict(name=name, step=float(np.median(found[0])), bare=float(np.median(found[1])),
               ratio=_ratio(found[0], found[1]), peak=bare.flops / product.flops * _ratio(found[2], found[1]))
    row['evaluated'], row['forward'] = evaluation(name, net, threads)
    if name == 'Hybrid_HPS':
        row['sample'] = batches_of_ten(net, threads)
    row['epochs'] = epoch_seconds(name, net, threads)
    row['memory'] = _peak_megabytes()
    if name == 'Hybrid_HPS':
        row['torch'] = beside_torch(stepper, net, threads)
    return row


def bench_models(names, threads):
    """The table."""
    print('TensorFlow %s, %d threads; CIFAR-100 at 4 %%, network of 4 layers, batch %d; medians of %d '
          'repetitions'
          % (tf.__version__, threads, BATCH, REPETITIONS))
    print('%-18s %8s %8s %6s %9s %10s %8s %26s %7s' % ('model', 'ms/step', 'bare ms', 'ratio', 'bare/peak',
                                                       'images/s', 'of bare',
                                                       's/epoch at %d, %d, %d tasks' % TASKS, 'MB'))
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
        row = json.loads(ran.stdout.splitlines()[-1])
        print('%-18s %8.1f %8.1f %6.2f %8.0f%% %10.0f %7.0f%% %26s %7.0f' % (
            name, row['step'], row['bare'], row['ratio'], 100 * row['peak'], row['evaluated'],
            100 * row['forward'], ' '.join('%8.2f' % seconds for seconds in row['epochs']), row['memory']))
        if row.get('torch'):
            print('  PyTorch: %.1f ms/step (this is %.2f times that), %.0f images/s' % tuple(row['torch']))
        if 'sample' in row:
            now, tens, needed = row['sample']
            print('  an epoch at 10 tasks with every task evaluated in batches of 10: %.2f s, as it is %.2f '
                  's: %.1f times (its bare operations alone: %.2f s, %.1f '
                  'times)' % (tens, now, tens / now, needed,
                                                                  tens / needed))
        sys.stdout.flush()


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
