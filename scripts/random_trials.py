"""Trials on random images, and how long their epochs take: for bench.py and task_start.py."""
import contextlib
import tempfile
import time

import numpy as np

from classification.experiment.experiment import Experiment
from classification.gen_data import SPLITS, Split, Task
from classification.model.method import Setting
from classification.model.registry import MODELS, default_options
from classification.train import Interrupted, Trial
from classification.trial.context import TrialContext
from utils import runtime
from utils import utils_env_cl as env

CLASSES, BATCH = 10, 10
TASKS = (1, 5, 10)
SIZES = (170, 30, 1000)       # images of a task of CIFAR-100 at 4 %: training, validation, test


def setting_of(model, net):
    """Setting of a model that learns one of `random_tasks`, with the pattern top2 where one is asked for."""
    depth = len(net.layers)
    pattern = env.pattern_from_name('top2' if model.pattern in ('asked', 'searched') else model.pattern,
                                    depth)
    return Setting(net, {0: CLASSES}, model.mechanism, dict(default_options(model.name, net, test_type=1),
                                                            pattern=pattern), 0.5)


def random_tasks(count, sizes=SIZES, shape=(32, 32, 3)):
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


def experiment(name, net, epochs, tasks):
    """Experiment that learns so many of `random_tasks` with a model."""
    setting = setting_of(MODELS[name], net)
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
    so that those are learned at once; test images are as many, since a trial keeps its answers to them.
    """
    trained, medians = experiment(name, net, 5 if name != 'DEN' else 8, TASKS[-1]), []
    full, few = [random_tasks(TASKS[-1], sizes, net.image_shape) for sizes in (SIZES, (BATCH, 4, SIZES[-1]))]
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
