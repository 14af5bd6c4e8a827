"""Methods, graphs and trials small enough for a test: few pixels, few channels, made images, a handful of
steps."""
import itertools
from collections import OrderedDict

import numpy as np
import tensorflow.compat.v1 as tf

from classification.experiment.experiment import Experiment
from classification.gen_data import Split, Task
from classification.model import registry
from classification.model.method import Batch, Setting
from classification.model.registry import METHODS, MODELS, default_options
from classification.results.ragged import unpacked
from classification.train import Interrupted, Trial
from classification.trial.context import TrialContext
from classification.trial.task_graph import GraphSettings, TaskGraph
from utils import runtime
from utils import utils_env_cl as env
from utils.utils_nn import Parameters, assign

NETWORK = env.Network(kernels=(3, 3, 3), channels=(4, 5, 6), pools=(1, 2, 1), hidden=(7,),
                      df_knowledge=((2, 3), (2, 4), (2, 5)), df_tensor=((3, 5), (3, 6), (3, 7)))
NET = env.build_net(NETWORK, (8, 8, 3))
CLASSES = {0: 3, 1: 2}
BATCH = 4


def make_method(selection, mechanism='hps', keep=1., net=NET, classes=None, **options):
    """A method on the tiny network, dropout off unless `keep` says otherwise."""
    return METHODS[selection].make(Setting(net, classes or CLASSES, mechanism,
                                           dict({'pattern': None}, **options), keep))


def draw(name):
    """Initial values that depend on the variable's name only."""
    return np.random.RandomState(sum(ord(letter) * (place + 1) for place, letter in enumerate(name))
                                 % (2 ** 31))


class Rig(object):
    """A graph that trains one task from placeholders and evaluates all learned tasks."""

    def __init__(self, method, store, task, learned, batch=BATCH, dtype=tf.float32):
        self.method, self.graph = method, tf.Graph()
        with self.graph.as_default():
            self.parameters = Parameters(store, [task], draw, dtype)
            self.images = tf.placeholder(dtype, (batch,) + method.net.image_shape)
            self.labels = tf.placeholder(tf.int32, [batch])
            self.rate, self.seed = tf.placeholder(dtype, []), tf.placeholder(tf.int32, [2])
            method.build(self.parameters, task, Batch(self.images, self.labels, self.rate, self.seed, batch))
            self.eval_images = tf.placeholder(dtype, (None,) + method.net.image_shape)
            self.logits_of = {index: method.logits(self.parameters, index, self.eval_images)
                              for index in learned}
            start, initialise = self.parameters.start_values(), tf.global_variables_initializer()
            self.built()
        self.graph.finalize()
        self.session = tf.Session(graph=self.graph, config=runtime.session_config(1))
        self.session.run(initialise)
        assign(self.session, start)
        method.start_phase(self, task, 0)

    def built(self):
        """For tests that add tensors of their own."""

    def step(self, images, labels, rate=1e-2, seed=(1, 2), fetch=None):
        """One training step; returns what `fetch` gave before the update's effects are visible."""
        feed = {self.images: images, self.labels: labels, self.rate: rate, self.seed: seed}
        return self.session.run([self.method.update] if fetch is None else [fetch, self.method.update],
                                feed)[0]

    def logits(self, task, images):
        return self.session.run(self.logits_of[task], {self.eval_images: images})

    def values(self):
        """dict name -> array of all parameters."""
        names = list(self.parameters.variables)
        return OrderedDict(zip(names, self.session.run([self.parameters.variables[name] for name in names])))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.session.close()


def random_batch(seed=0, classes=2, batch=BATCH, shape=(8, 8, 3)):
    """(images, labels)."""
    state = np.random.RandomState(seed)
    return state.uniform(-1, 1, (batch,) + shape), state.randint(0, classes, batch)


# ---- the convolutional part in NumPy ----

def numpy_convolution(x, kernel, bias, padding):
    """A convolution with stride 1, before its activation."""
    size = kernel.shape[0]
    if padding == 'SAME':
        before = (size - 1) // 2
        x = np.pad(x, ((0, 0), (before, size - 1 - before), (before, size - 1 - before), (0, 0)), 'constant')
    out = np.zeros((len(x), x.shape[1] - size + 1, x.shape[2] - size + 1, kernel.shape[3])) + bias
    for i, j in itertools.product(range(size), range(size)):
        out += x[:, i:i + out.shape[1], j:j + out.shape[2]].dot(kernel[i, j])
    return out


def numpy_pool(x, size, padding):
    """Max pooling."""
    if size == 1:
        return x
    rows, columns = x.shape[1], x.shape[2]
    if padding == 'SAME':
        add = [(-n) % size for n in (rows, columns)]
        x = np.pad(x, ((0, 0),) + tuple((a // 2, a - a // 2) for a in add) + ((0, 0),), 'constant',
                   constant_values=-np.inf)
    rows, columns = x.shape[1] // size, x.shape[2] // size
    return x[:, :rows * size, :columns * size].reshape(len(x), rows, size, columns, size, -1).max(axis=(2, 4))


def numpy_features(net, images, weights):
    """What the head sees, from a (kernel, bias) per layer."""
    inputs = []
    x = images
    for layer, (kernel, bias) in enumerate(weights):
        inputs.append(x)
        x = np.maximum(numpy_convolution(x, kernel, bias, net.padding), 0)
        for start, end in net.skips:
            if end == layer:
                skipped = inputs[start]
                for passed in range(start, layer):
                    skipped = numpy_pool(skipped, net.layers[passed].pool, net.padding)
                x = x + skipped
        x = numpy_pool(x, net.layers[layer].pool, net.padding)
    return x.reshape(len(x), -1)


# ---- trials: images made from random numbers, two layers ----

TRIAL_NETWORK = env.Network(kernels=(3, 3, 3), channels=(3, 4, 4), pools=(2, 1, 1), hidden=(),
                            df_knowledge=((2, 2),) * 3, df_tensor=((3, 3),) * 3)
SIZES = OrderedDict([('train', 63), ('valid', 13), ('test', 17)])      # no multiples of the batch

# Options of which small networks and few steps need other values.
_SMALL = {'channel_gate': dict(gating_module_size=4), 'lasem_fixed': dict(em_maxP=0.7),
          'ewc': dict(fisher_multiplier=1.),
          'den': dict(den_expansion=2), 'dfcnn': dict(regularization_scale=(1e-2, 1e-3)),
          'apd': dict(lambda1=0.1)}


def make_net(depth=2):
    """The first one, two or three layers."""
    return env.build_net(env.Network(*[row[:depth] for row in TRIAL_NETWORK]), (4, 4, 1))


def make_task(index):
    """A task of two classes: noise, and one of four corners that is brighter for one class than for the
    other."""
    state, parts = np.random.RandomState(100 + index), {}
    for part, size in SIZES.items():
        labels = state.permutation(np.arange(size, dtype=np.int32) % 2)
        pixels = state.randint(0, 100, (2 * size, 4, 4, 1)).astype(np.uint8)
        rows = state.permutation(2 * size)[:size]
        row, column = 2 * (index % 2), 2 * (index // 2 % 2)
        pixels[rows, row:row + 2, column:column + 2] += (90 * labels[:, None, None, None]).astype(np.uint8)
        parts[part] = Split(labels, np.full(1, 1 / 16., np.float32), np.full(1, -4., np.float32), pixels,
                            rows, None)
    return Task(index, 2, classes=('dark', 'bright'), **parts)


def make_experiment(model_type, order=(0, 1), epochs=2, early_stopping=0, pattern=None, lr=1e-2, depth=2,
                    seed=5, **options):
    """An experiment on the tasks of `make_task`."""
    model, net = MODELS[model_type], make_net(depth)
    if model.pattern != 'searched':
        pattern = pattern or env.pattern_from_name('alternating' if model.pattern == 'asked'
                                                   else model.pattern, depth)
    small = dict(_SMALL.get(model.mechanism, {}), **_SMALL.get(model.selection, {}))
    small = {name: value for name, value in small.items()
             if name in default_options(model_type, net, **options)}
    options = default_options(model_type, net, **dict(small, **options))
    return Experiment(
        data_type='made', data_percent=None, normalize='split', checksums={}, task_order=tuple(order),
        class_counts={task: 2 for task in sorted(set(order))}, model_type=model_type, net=net,
        pattern=pattern,
        options=options, training=env.Training(lr=lr, lr_decay=0.1, patience=epochs, epochs=epochs,
                                               batch_size=BATCH),
        early_stopping=early_stopping, keep=0.5, evaluation_batch=8, seed=seed, tensorflow=1)


def make_joint(model_type, tasks=(0, 1, 2), epochs=2, **options):
    """An experiment that learns its tasks jointly."""
    experiment = make_experiment(model_type, tasks, epochs, **options)
    return experiment._replace(lifelong=False, training=experiment.training._replace(patience=100))


def learned(model_type, patterns, **options):
    """(method, store) of tasks 0, 1, ... as if they were learned with these patterns, with values at
    random."""
    experiment = make_experiment(model_type, range(len(patterns)), **options)
    method = registry.make_method(model_type, Setting(experiment.net, experiment.class_counts,
                                                      experiment.model.mechanism,
                                             dict(experiment.options, pattern=patterns[0])))
    with tf.Graph().as_default():
        parameters = Parameters({}, (), lambda name: np.random.RandomState(len(name)))
        for task, pattern in enumerate(patterns):
            method.remember(task, pattern)
            method.logits(parameters, task, tf.placeholder(tf.float32, (None,) + experiment.net.image_shape))
    state = np.random.RandomState(0)
    return method, {name: state.normal(size=value.shape).astype(np.float32) for name,
                    value in parameters.start.items()}


def quick_config():
    """Without TensorFlow's rewriting of graphs, which takes longer than these trials train."""
    config = runtime.session_config(1)
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = -1
    return config


def make_trial(experiment, folder, say=lambda line: None, task=make_task, given=None, **more):
    """A trial of `experiment`; it checkpoints after every epoch. `task` makes a task from its index."""
    return Trial(experiment, 0, [task(index) for index in sorted(set(experiment.task_order))],
                 TrialContext(str(folder), quick_config(), minutes=0., log=say, **more), given)


def train(experiment, folder):
    """(trial, record) of a trial that nothing disturbs."""
    trial = make_trial(experiment, folder)
    return trial, trial.run()


def train_with_stops(experiment, folder, between=lambda: None, most=60, **more):
    """(trial, record, log) of a trial that is stopped after every epoch and taken up by a new object each
    time."""
    log = []
    for _ in range(most):
        trial = make_trial(experiment, folder, log.append, stopping=lambda: True, **more)
        try:
            return trial, trial.run(), log
        except Interrupted:
            between()
    raise AssertionError('the trial does not get to its end')


def accuracies(experiment, store, state, tasks):
    """Evaluates a parameter store; nothing may be missing in it."""
    def nothing_to_draw(name):
        raise AssertionError('%s is not in the store' % name)

    method = registry.make_method(experiment.model_type, Setting(
        experiment.net, experiment.class_counts, experiment.model.mechanism,
        dict(experiment.options, pattern=experiment.pattern)))
    method.state = state
    tasks = [make_task(task) for task in tasks]
    with TaskGraph(method, store, tasks[-1], tasks, nothing_to_draw,
                   GraphSettings(BATCH, 5, runtime.session_config(1))) as graph:
        return {task.index: graph.accuracy(task) for task in tasks}


def matrices_of(record):
    """dict (position, task) -> confusion matrix."""
    return unpacked(record.confusion, record.confusion_parts, 2)


def says_the_accuracies(record, tasks):
    """Asserts that the diagonals of the confusion matrices give the accuracy matrix exactly."""
    for (position, task), matrix in matrices_of(record).items():
        assert np.trace(matrix) / matrix.sum() == record.accuracy_matrix[position, tasks.index(task)]
        assert matrix.sum(axis=1).tolist() == np.bincount(make_task(task).test.labels).tolist()
    assert len(matrices_of(record)) == (~np.isnan(record.accuracy_matrix)).sum()
