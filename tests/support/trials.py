"""Trials small enough for a test: images made from random numbers, two layers, a handful of steps per epoch."""
import collections

import numpy as np
import tensorflow.compat.v1 as tf

from classification.experiment.experiment import Experiment
from classification.gen_data import Part, Task
from classification.model.method import Setting
from classification.model.registry import MODELS, default_options, make_method
from classification.train import Interrupted, Trial
from classification.trial.context import TrialContext
from utils import runtime
from utils import utils_env_cl as env
from utils.utils_nn import Parameters

_NETWORK = env.Network(kernels=(3, 3, 3), channels=(3, 4, 4), pools=(2, 1, 1), hidden=(),
                       df_knowledge=((2, 2),) * 3, df_tensor=((3, 3),) * 3)
BATCH = 4
SIZES = collections.OrderedDict([('train', 63), ('valid', 13), ('test', 17)])      # no multiples of the batch

# Options of which small networks and few steps need other values.
_SMALL = {'channel_gate': dict(gating_module_size=4), 'lasem_fixed': dict(em_maxP=0.7), 'ewc': dict(fisher_multiplier=1.),
          'den': dict(den_expansion=2), 'dfcnn': dict(regularization_scale=(1e-2, 1e-3)), 'apd': dict(lambda1=0.1)}


def make_net(depth=2):
    """The first one, two or three layers."""
    return env.build_net(env.Network(*[row[:depth] for row in _NETWORK]), (4, 4, 1))


def make_task(index):
    """A task of two classes: noise, and one of four corners that is brighter for one class than for the other."""
    state, parts = np.random.RandomState(100 + index), {}
    for part, size in SIZES.items():
        labels = state.permutation(np.arange(size, dtype=np.int32) % 2)
        pixels = state.randint(0, 100, (2 * size, 4, 4, 1)).astype(np.uint8)
        rows = state.permutation(2 * size)[:size]
        row, column = 2 * (index % 2), 2 * (index // 2 % 2)
        pixels[rows, row:row + 2, column:column + 2] += (90 * labels[:, None, None, None]).astype(np.uint8)
        parts[part] = Part(labels, np.full(1, 1 / 16., np.float32), np.full(1, -4., np.float32), pixels, rows, None)
    return Task(index, 2, classes=('dark', 'bright'), **parts)


def make_experiment(model_type, order=(0, 1), epochs=2, early_stopping=0, pattern=None, lr=1e-2, depth=2, seed=5,
                    **options):
    """An experiment on the tasks of `make_task`."""
    model, net = MODELS[model_type], make_net(depth)
    if model.pattern != 'searched':
        pattern = pattern or env.pattern_from_name('alternating' if model.pattern == 'asked' else model.pattern, depth)
    small = dict(_SMALL.get(model.mechanism, {}), **_SMALL.get(model.selection, {}))
    small = {name: value for name, value in small.items() if name in default_options(model_type, net, **options)}
    options = default_options(model_type, net, **dict(small, **options))
    return Experiment(
        data_type='made', data_percent=None, normalize='split', checksums={}, task_order=tuple(order),
        class_counts={task: 2 for task in sorted(set(order))}, model_type=model_type, net=net, pattern=pattern,
        options=options, training=env.Training(lr=lr, lr_decay=0.1, patience=epochs, epochs=epochs, batch_size=BATCH),
        early_stopping=early_stopping, keep=0.5, evaluation_batch=8, seed=seed, tensorflow=1)


def learned(model_type, patterns, **options):
    """(method, store) of tasks 0, 1, ... as if they were learned with these patterns, with values at random."""
    experiment = make_experiment(model_type, range(len(patterns)), **options)
    method = make_method(model_type, Setting(experiment.net, experiment.class_counts, experiment.model.mechanism,
                                             dict(experiment.options, pattern=patterns[0])))
    with tf.Graph().as_default():
        parameters = Parameters({}, (), lambda name: np.random.RandomState(len(name)))
        for task, pattern in enumerate(patterns):
            method.remember(task, pattern)
            method.logits(parameters, task, tf.placeholder(tf.float32, (None,) + experiment.net.image_shape))
    state = np.random.RandomState(0)
    return method, {name: state.normal(size=value.shape).astype(np.float32) for name, value in parameters.start.items()}


def quick_config():
    """Without TensorFlow's rewriting of graphs, which takes longer than these trials train."""
    config = runtime.session_config(1)
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = -1
    return config


def make_trial(experiment, folder, say=lambda line: None, task=make_task, given=None, **more):
    """A trial of `experiment`; it checkpoints after every epoch. `task` makes a task from its index."""
    return Trial(experiment, 0, [task(index) for index in sorted(set(experiment.task_order))],
                 TrialContext(str(folder), quick_config(), minutes=0., say=say, **more), given)


def train(experiment, folder):
    """(trial, record) of a trial that nothing disturbs."""
    trial = make_trial(experiment, folder)
    return trial, trial.run()


def train_with_stops(experiment, folder, between=lambda: None, most=60, **more):
    """(trial, record, log) of a trial that is stopped after every epoch and taken up by a new object each time."""
    log = []
    for _ in range(most):
        trial = make_trial(experiment, folder, log.append, stopping=lambda: True, **more)
        try:
            return trial, trial.run(), log
        except Interrupted:
            between()
    raise AssertionError('the trial does not get to its end')
