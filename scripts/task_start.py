"""Prints what a task costs beside its epochs: the processor time of a trial, by part and by position.

    python3 scripts/task_start.py                        10 tasks of 8x8 images, 4 epochs each
    python3 scripts/task_start.py --models HPS --tasks 20 --images cifar

A session call is slow when it is made for the first time: TensorFlow then prepares the part of the graph that
it runs. Processor time, since that of a clock depends on what else the machine does.
"""
import os
import sys
import tempfile
import time
from collections import OrderedDict
from unittest import mock
from weakref import WeakKeyDictionary

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from classification.experiment.flags import Parser  # noqa: E402
from classification.model.registry import models_argument  # noqa: E402
from classification.train import Trial  # noqa: E402
from classification.trial import checkpoint  # noqa: E402
from classification.trial.context import TrialContext  # noqa: E402
from classification.trial.evaluation import EarlierNetworks, Evaluation  # noqa: E402
from classification.trial.task_graph import TaskGraph  # noqa: E402
from scripts import random_trials  # noqa: E402
from utils import runtime  # noqa: E402
from utils import utils_env_cl as env  # noqa: E402
from utils.lazy_tensorflow import tf  # noqa: E402
from utils.utils import at_least, run_command  # noqa: E402

# name -> (family of the network, image shape, images for training, validation, test)
IMAGES = {'digits': ('digits5', (8, 8, 1), (160, 40, 160)),
          'cifar': ('cifar100', (32, 32, 3), (170, 30, 1000))}
STEP, EVALUATION, OTHER = 'step', 'evaluation', 'variables set or read'
FIRST = {STEP: 'first step', EVALUATION: 'first evaluations', OTHER: 'variables: first calls'}
GRAPHS, CHECKPOINTS, REST = 'building graphs', 'checkpoints', 'all else'
EPOCHS = (STEP, EVALUATION)
# what is measured, and the part that it belongs to
MEASURED = ((TaskGraph, '__init__', GRAPHS), (EarlierNetworks, 'of', GRAPHS), (TaskGraph, 'step', STEP),
            (Evaluation, 'accuracy', EVALUATION), (checkpoint, 'save', CHECKPOINTS))


class Parts(object):
    """Processor seconds of each part of a trial, without those of the parts inside it.

    Args:
        clock: function that gives seconds.
    """

    def __init__(self, clock=time.process_time):
        self.seconds, self._clock, self._open = OrderedDict(), clock, []

    def measured(self, part, action, *args, **more):
        """What `action` gives; its time belongs to this part."""
        self._open.append([part, 0.])
        began = self._clock()
        try:
            return action(*args, **more)
        finally:
            seconds, (part, inside) = self._clock() - began, self._open.pop()
            self.seconds[part] = self.seconds.get(part, 0.) + seconds - inside
            if self._open:
                self._open[-1][1] += seconds

    def now(self):
        """The part that is being measured."""
        return self._open[-1][0] if self._open else REST


def _spied(parts, owner, name, part):
    action = getattr(owner, name)
    return mock.patch.object(owner, name, lambda *args, **more: parts.measured(part, action, *args, **more))


def _spied_calls(parts):
    """Session calls, which are told apart by what they are part of and by whether they were made before."""
    run, made = tf.Session.run, WeakKeyDictionary()

    def spy(session, fetches, feed_dict=None, **more):
        listed = fetches if isinstance(fetches, list) else [fetches]
        call = tuple(frozenset(each.name for each in tensors) for tensors in (listed, feed_dict or ()))
        part, before = parts.now() if parts.now() in EPOCHS else OTHER, made.setdefault(session, set())
        if call not in before:
            part = FIRST[part]
            before.add(call)
        return parts.measured(part, run, session, fetches, feed_dict, **more)
    return mock.patch.object(tf.Session, 'run', spy)


def position_seconds(model, images, tasks, epochs, threads):
    """[dict part -> processor seconds] of each position of a trial."""
    family, shape, sizes = IMAGES[images]
    net, parts, found = env.build_net(env.network_of(family, images, 4)[1], shape), Parts(), []
    experiment = random_trials.experiment(model, net, epochs, tasks)
    learn = Trial._learn_task

    def spy(trial, task):
        before = dict(parts.seconds)
        parts.measured(REST, learn, trial, task)
        found.append({part: seconds - before.get(part, 0.) for part, seconds in parts.seconds.items()})
    with tempfile.TemporaryDirectory() as folder, _spied_calls(parts):
        spies = [_spied(parts, *row) for row in MEASURED] + [mock.patch.object(Trial, '_learn_task', spy)]
        for patch in spies:
            patch.start()
        try:
            Trial(experiment, 0, list(random_trials.random_tasks(tasks, sizes, shape).values()),
                  TrialContext(folder, runtime.session_config(threads), minutes=1e9)).run()
        finally:
            for patch in spies:
                patch.stop()
    return found


def table(found):
    """Lines: the parts, those of the epochs last; of all positions together, and of the first, the middle and
    the last."""
    shown = sorted({0, len(found) // 2, len(found) - 1})
    fixed = (GRAPHS,) + tuple(FIRST.values()) + (OTHER, CHECKPOINTS, REST)
    rows = [(part, [position.get(part, 0.) for position in found]) for part in fixed + EPOCHS]
    rows.append(('all but %s and %s' % EPOCHS, [sum(position.get(part, 0.) for part in fixed)
                                                for position in found]))
    head = ' '.join('%8s' % ('task %d' % (place + 1)) for place in shown)
    return ['%-28s %8s %s' % ('seconds', 'trial', head)] + [
        '%-28s %8.2f %s' % (part, sum(seconds), ' '.join('%8.3f' % seconds[place] for place in shown))
        for part, seconds in rows]


def main():
    """Command line."""
    parser = Parser(description=__doc__.split('\n')[0])
    parser.add_argument('--models', type=lambda text: tuple(models_argument(text)),
                        default=('Hybrid_HPS', 'LASEM_HPS'), help='models, separated by commas')
    parser.add_argument('--images', choices=sorted(IMAGES), default='digits')
    parser.add_argument('--tasks', type=at_least(1), default=10)
    parser.add_argument('--epochs', type=at_least(1), default=4)
    parser.add_argument('--threads', type=at_least(1), default=1)
    flags = parser.parse_args()
    for model in flags.models:
        print('%s on TensorFlow %s: %d tasks, %d epochs each, images like %s' % (
            model, tf.__version__, flags.tasks, flags.epochs, flags.images))
        found = position_seconds(model, flags.images, flags.tasks, flags.epochs, flags.threads)
        print('\n'.join(table(found)))


if __name__ == '__main__':
    run_command(main)
