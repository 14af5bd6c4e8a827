"""Prints how long a training step takes, and LASEM's tree beside one explicit network per pattern.

    make bench                       all models, CIFAR-100's 4-layer network, batch 10
    make bench MODELS=LASEM_HPS      one of them
    python scripts/bench.py --memory peak memory of LASEM_HPS with 64 patterns (STL-10, 6 layers, 96x96)
    python scripts/bench.py --epochs seconds per epoch of the first sample command at 1, 5 and 10 learned tasks

Times are medians over repetitions in which the variants take turns, in one process on one machine; only ratios travel.
"""
import argparse
from collections import OrderedDict
import os
import resource
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

from utils import runtime  # noqa: E402
from utils.runtime import tf  # noqa: E402
from classification.gen_data import Part, Task  # noqa: E402
from classification.model.method import Batch, Setting  # noqa: E402
from classification.model.registry import SELECTIONS  # noqa: E402
from classification.task_graph import TaskGraph  # noqa: E402
from tests.explicit import Explicit  # noqa: E402
from utils import utils_env_cl as env  # noqa: E402
from utils.utils import random_state  # noqa: E402
from utils.utils_nn import Parameters, assign  # noqa: E402

OPTIONS = dict(env.CHANNEL_GATE['published_code'], channel_gate_mode='published_code', apd_mode='published_code',
               auxiliary_loss_weight=0.1, regularization_scale=(1e-7, 1e-7), lambda1=4e-4, lambda2=100.,
               em_cnt_prior=False, em_prior_init_cnt=1., reset_prior=False, darts_approx_order=1,
               darts_selection_data='train', em_maxP=0.9, dim_reduction_scale=2., fisher_multiplier=1.,
               den_drift_threshold=env.DEN_DRIFT_THRESHOLD['l2'], den_split_cap=None)
OPTIONS.update(env.EWC)
OPTIONS.update(env.DEN)
CLASSES, BATCH, REPETITIONS, STEPS = 10, 10, 7, 5


class Stepper(object):
    """A method's graph, and one training step of it on random images."""

    def __init__(self, method, threads):
        net = method.net
        self.method, self.graph = method, tf.Graph()
        with self.graph.as_default():
            parameters = Parameters({}, [0], lambda name: random_state(0, purpose=name))
            tensors = [tf.placeholder(kind, shape) for kind, shape in (
                (tf.float32, (BATCH,) + net.image_shape), (tf.int32, [BATCH]), (tf.float32, []), (tf.int32, [2]))]
            batch = Batch(*(tensors + [BATCH]))
            single = batch._replace(images=batch.images[:1], labels=batch.labels[:1], size=1)
            method.build(parameters, 0, batch._replace(single=single))
            initialise, start = tf.global_variables_initializer(), parameters.start_values()
        self.parameters = sum(int(np.prod(v.shape.as_list())) for v in parameters.trained)
        self.session = tf.Session(graph=self.graph, config=runtime.session_config(threads))
        self.session.run(initialise)
        assign(self.session, start)
        method.start_phase(self.session, 0, 0)
        state = np.random.RandomState(0)
        self.feed = dict(zip(tensors, (state.uniform(-1, 1, (BATCH,) + net.image_shape),
                                       state.randint(0, CLASSES, BATCH), 1e-4, (1, 2))))

    def step(self):
        """One step; explicit networks take two session calls, as the E-step needs its result."""
        if isinstance(self.method, Explicit):
            likelihood = self.session.run(self.method.likelihood, self.feed)
            self.feed[self.method.posterior] = likelihood / likelihood.sum()
        self.session.run(self.method.update, self.feed)


def milliseconds(steppers):
    """Median milliseconds of a step of each, taking turns."""
    times = [[] for _ in steppers]
    for stepper in steppers:
        stepper.step()
        stepper.step()
    for _ in range(REPETITIONS):
        for stepper, found in zip(steppers, times):
            began = time.time()
            for _ in range(STEPS):
                stepper.step()
            found.append(1000 * (time.time() - began) / STEPS)
    return [float(np.median(found)) for found in times]


def _setting(model, net):
    depth = len(net.layers)
    pattern = env.pattern_from_name('top2' if model.pattern in ('asked', 'searched') else model.pattern, depth)
    return Setting(net, {0: CLASSES}, model.mechanism,
                   dict(OPTIONS, pattern=pattern, groups=(1,) * depth, favoured='S' * depth), 0.5)


def _peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.


def bench_steps(names, threads):
    """One line per model."""
    _, network = env.network_of('cifar100', 'CIFAR100_10', 4, 'hps')
    net = env.build_net(network, (32, 32, 3))
    print('TensorFlow %s, %d threads; CIFAR-100 network of 4 layers, batch %d; medians of %d x %d steps'
          % (tf.__version__, threads, BATCH, REPETITIONS, STEPS))
    print('%-18s %12s %12s %8s %12s' % ('model', 'ms per step', 'explicit ms', 'ratio', 'parameters'))
    for name in names:
        model = env.MODELS[name]
        if model.selection == 'bruteforce':
            continue            # its steps are those of the fixed patterns
        method = SELECTIONS[model.selection](_setting(model, net))
        steppers = [Stepper(method, threads)]
        if model.selection == 'lasem':
            steppers.append(Stepper(Explicit(method.setting, method.patterns), threads))
        found = milliseconds(steppers)
        compared = ('%12.1f %7.2fx' % (found[1], found[1] / found[0])) if len(found) == 2 else '%12s %8s' % ('', '')
        print('%-18s %12.1f %s %12d' % (name, found[0], compared, steppers[0].parameters))
        sys.stdout.flush()
    print('peak memory of this process: %.0f MB' % _peak_megabytes())


def bench_memory(threads):
    """LASEM_HPS with 64 patterns on STL-10's images."""
    _, network = env.network_of('stl10', 'STL10_15t', 6, 'hps')
    net = env.build_net(network, (96, 96, 3))
    before = _peak_megabytes()
    stepper = Stepper(SELECTIONS['lasem'](_setting(env.MODELS['LASEM_HPS'], net)), threads)
    stepper.step()
    began = time.time()
    stepper.step()
    print('LASEM_HPS, 64 patterns, STL-10 network of 6 layers, 96x96, batch %d on TensorFlow %s: %.0f ms per step, peak '
          'memory %.0f MB (%.0f MB before)' % (BATCH, tf.__version__, 1000 * (time.time() - began), _peak_megabytes(), before))


def bench_epochs(names, threads):
    """Training and evaluation of an epoch: CIFAR-100 at 4 %, 170 + 30 + 1000 images per task."""
    _, network = env.network_of('cifar100', 'CIFAR100_10', 4, 'hps')
    net, state = env.build_net(network, (32, 32, 3)), np.random.RandomState(0)
    pixels = state.randint(0, 256, (1200, 32, 32, 3)).astype(np.uint8)
    scale = np.full(3, 1 / 255., np.float32)
    bounds = OrderedDict([('train', (0, 170)), ('valid', (170, 200)), ('test', (200, 1200))])
    tasks = [Task(index, CLASSES, classes=(), **{part: Part(
        state.randint(0, CLASSES, last - first).astype(np.int32), scale, 0 * scale, pixels, np.arange(first, last), None)
        for part, (first, last) in bounds.items()}) for index in range(10)]
    print('TensorFlow %s, %d threads; CIFAR-100 at 4 %%, 4 layers' % (tf.__version__, threads))
    print('%-12s %7s %18s %20s %18s' % ('model', 'tasks', 'training (s/epoch)', 'evaluation (s/epoch)', 'peak memory (MB)'))
    for name in names:
        for learned in (1, 5, 10):
            model = env.MODELS[name]
            method = SELECTIONS[model.selection](_setting(model, net)._replace(class_counts={t: CLASSES for t in range(10)}))
            for task in range(learned - 1):
                method.remember(task, 'TTSS')
            with TaskGraph(method, {}, tasks[learned - 1], tasks[:learned], lambda name: random_state(0, purpose=name), BATCH,
                           env.EVALUATION_BATCH[32], runtime.session_config(threads)) as graph:
                method.start_phase(graph.session, learned - 1, 0)
                found = [_epoch(graph, tasks[:learned]) for _ in range(4)][1:]
            print('%-12s %7d %18.2f %20.2f %18.0f' % ((name, learned) + tuple(np.median(found, axis=0)) + (_peak_megabytes(),)))
            sys.stdout.flush()


def _epoch(graph, tasks):
    times = [time.time()]
    for step in range(17):
        graph.step({'training': np.arange(10 * step, 10 * step + 10)}, 1e-4, (1, step))
    times.append(time.time())
    for task in tasks:
        graph.accuracy(task)
    return np.diff(times + [time.time()])


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--models', default='', help='models, separated by commas (default: all)')
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--memory', action='store_true')
    parser.add_argument('--epochs', action='store_true')
    flags = parser.parse_args()
    if flags.memory:
        bench_memory(flags.threads)
        return
    names = [env.canonical_model(name) for name in flags.models.split(',') if name] or list(env.MODELS)
    if flags.epochs:
        bench_epochs(names if flags.models else ['Hybrid_HPS', 'LASEM_HPS'], flags.threads)
        return
    bench_steps(names, flags.threads)


if __name__ == '__main__':
    main()
