"""The graph and session in which a task, or all, are learned: the training data, the update, the
evaluation."""
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from classification.data.augmentation import augmented
from classification.model.method import Batch
from classification.trial.evaluation import EarlierNetworks, Evaluation
from utils import utils_nn as nn
from utils.lazy_tensorflow import tf
from utils.utils_nn import Parameters, assign


class GraphSettings(NamedTuple):
    """How a graph is run: the same for all graphs of a trial."""
    batch_size: int            # images per training step
    evaluation_batch: int      # images per evaluation call
    config: Any                # tf.ConfigProto
    augments: bool = False     # whether steps get training images that are augmented


class TaskGraph(object):
    """Built for one task (and phase) and closed at its end; nothing is added to the graph after it is built.

    Args:
        method: the Method; it builds the update and each task's logits.
        store: parameter store, dict name -> array.
        task: gen_data.Task to learn.
        learned: list of gen_data.Task that are evaluated, the current one among them.
        draw: function variable name -> RandomState for initial values.
        settings: GraphSettings.
        phase: number of the method's phase.
        earlier: EarlierNetworks that outlive this graph; None: they do not.
    """

    def __init__(self, method, store, task, learned, draw, settings, phase=0, earlier=None):
        self.method, self.task, self.learned = method, task, learned
        self._elsewhere = dict(store)   # parameters, those that are in no variable of the graph among them
        self._closes = [EarlierNetworks(method, settings.config)] if earlier is None else []
        earlier = earlier or self._closes[0]
        earlier.begin(self.trained_tasks())
        self.batch_size, self._augments = settings.batch_size, settings.augments
        self.learning_rate = None      # of the last step
        # name -> (split, pixel variable or None, label variable, placeholder of row numbers)
        self._data = {}
        # name -> placeholder of a batch's images, where they are not taken from the pixel variable
        self._fed = {}
        self._constant = []  # maps of a training step that depend on its images alone
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.parameters = Parameters(store, self.trained_tasks(), draw)
            self._learning_rate = tf.placeholder(tf.float32, [], 'learning_rate')
            self._seed = tf.placeholder(tf.int32, [2], 'dropout_seed')
            self._losses = [self._stored('loss_sum', [], tf.float64),
                            self._stored('last_loss', [], tf.float32)]
            self._update, self._loss = self.training(phase)
            constant = {other.index: method.frozen_layers(other.index, phase) for other in learned
                        if other.index not in self.trained_tasks()
                        and method.outputs_may_change(other.index, phase)}
            self._evaluation = Evaluation(method, self.parameters, task, self.trained_tasks(),
                                          earlier, constant, settings.evaluation_batch)
            self._taken = self._take_losses()
            self.variables = OrderedDict((variable.op.name, variable) for variable in tf.global_variables())
            others = tf.global_variables() + tf.local_variables()
        self.graph.finalize()
        self.session = tf.Session(graph=self.graph, config=settings.config)
        values = self.parameters.start_values()
        for split, pixels, labels, _ in self._data.values():
            values[labels] = split.labels
            if pixels is not None:
                values[pixels] = split.images()
        assign(self.session, values, others)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.session.close()
        for earlier in self._closes:
            earlier.close()

    def trained_tasks(self):
        return [self.task.index]

    def training(self, phase):
        """(update, loss) of one step."""
        batch = self._inputs(self.task.train, 'training', self._augments)
        if self.method.validation_batches:
            batch = batch._replace(selection=self._inputs(self.task.valid, 'validation'))
        if self.method.single_images:
            batch = batch._replace(single=self._single_images())
        self.method.build(self.parameters, self.task.index, batch, phase)
        self._constant = self.method.frozen_maps(self.parameters, self.task.index, batch.images)
        return self._summed(self.method.update, self.method.loss), self.method.loss

    def _summed(self, update, loss):
        """The update, which also adds the loss to that of the epoch; the graph does it in next to no time."""
        if loss is None:        # a phase without epochs
            return update
        total, last = self._losses
        return tf.group(update, tf.assign_add(total, tf.cast(loss, tf.float64)),
                        tf.assign(last, tf.cast(loss, tf.float32)))

    def _take_losses(self):
        """[sum of the losses so far, the last one]; the sum begins anew."""
        losses = [tf.identity(loss) for loss in self._losses]
        with tf.control_dependencies(losses):
            begin_anew = tf.assign(self._losses[0], 0.)
        with tf.control_dependencies([begin_anew]):
            return [tf.identity(loss) for loss in losses]

    # ---- inputs ----

    def _inputs(self, split, name, fed=False):
        """A step feeds row numbers; the pixels of the task are in the graph as they are stored, 8 bits a
        value.

        With `fed`, and where a split computes its images when they are asked for, a step feeds them as well.
        """
        first, pixels = split.images(np.arange(1)), None
        computed = first.dtype != np.uint8
        with tf.device('/cpu:0'):
            rows = tf.placeholder(tf.int32, [self.batch_size], name + '_rows')
            labels = self._stored(name + '_labels', [split.size], tf.int32)
            if not computed and (not fed or self.method.single_images):
                pixels = self._stored(name + '_pixels', (split.size,) + first.shape[1:], tf.uint8)
            truth = tf.gather(labels, rows)
        self._data[name] = (split, pixels, labels, rows)
        if not fed and not computed:
            with tf.device('/cpu:0'):
                images = tf.gather(pixels, rows)
            return self._batch(split, images, truth, self.batch_size)
        self._fed[name] = tf.placeholder(tf.float32, (self.batch_size,) + first.shape[1:], name + '_images')
        return Batch(self._fed[name], truth, self._learning_rate, self._seed, self.batch_size,
                     split.size // self.batch_size)

    def _stored(self, name, shape, kind):
        return tf.Variable(tf.zeros(shape, kind), trainable=False, name=name,
                           collections=[tf.GraphKeys.LOCAL_VARIABLES])

    def _batch(self, split, images, truth, size):
        images = tf.cast(images, tf.float32) * split.scale + split.offset
        return Batch(images, truth, self._learning_rate, self._seed, size, split.size // size)

    def _single_images(self):
        split, pixels, labels, _ = self._data['training']
        self._single = tf.placeholder(tf.int32, [], 'single_row')
        return self._batch(split, pixels[self._single][None], labels[self._single][None], 1)

    # ---- use ----

    def step(self, rows, learning_rate, seed, fetch_loss=False, augmentation=None):
        """One training step; returns the loss if asked.

        Args:
            rows: dict 'training' (and 'validation', where the method asks for it) -> row numbers [batch
                size].
            augmentation: RandomState with which the training images are augmented; None: they are not.
        """
        self.learning_rate = learning_rate
        feed = {self._learning_rate: learning_rate, self._seed: seed}
        for name, numbers in rows.items():
            feed[self._data[name][3]] = numbers
            if name in self._fed:
                images = self._data[name][0].seen(numbers)
                feed[self._fed[name]] = images if augmentation is None or name != 'training' else augmented(
                    images, augmentation)
        if self._constant and not self._augments:
            feed.update(zip(self._constant, self._evaluation.constant_rows(self.session, rows['training'])))
        if fetch_loss:
            return self.session.run([self._update, self._loss], feed)[1]
        self.session.run(self._update, feed)

    def take_loss(self):
        """(sum of the losses of the steps since this was asked last, loss of the last step)."""
        return tuple(map(float, self.session.run(self._taken)))

    def updates(self):
        """Every update that `step` may run."""
        return [update for update in [self._update] if update is not None]

    def accuracy(self, task):
        """[3]: share of correct answers on a task's training, validation and test split, in [0, 1]."""
        return self._evaluation.accuracy(task, self.session, self._everything)

    def answers(self, task):
        """[test size]: the class given to each test image of a task when `accuracy` was asked last."""
        return self._evaluation.answers[task.index]

    def probe(self, name, split):
        """[split.size, ...]: one of the method's probes, or 'logits<task>', for every image of a split, in
        stored order."""
        return self._evaluation.probe(name, split, self.session, self._everything)

    def sweep(self, op, rows, feed=lambda row: {}):
        """Runs `op` once for each training image with a number in `rows`; for methods that ask for single
        images.

        Args:
            feed: function row -> dict placeholder -> value.
        """
        for row in rows:
            values = {self._single: row}
            values.update(feed(row))
            self.session.run(op, values)

    def all_values(self):
        """dict op name -> array: every variable, optimizer slots and accumulators included."""
        return OrderedDict(zip(self.variables, self.session.run(list(self.variables.values()))))

    def restore_all(self, values):
        """Sets every variable to what `all_values` gave; a checkpoint of before has earlier tasks' too."""
        assign(self.session, {self.variables[name]: value for name, value in values.items()
                              if name in self.variables})

    def values(self):
        """dict name -> array: the parameters of the graph."""
        return OrderedDict(zip(self.parameters.variables,
                               self.session.run(list(self.parameters.variables.values()))))

    def _everything(self):
        """dict name -> array: the parameters of the graph and of earlier tasks' networks."""
        return dict(self._elsewhere, **self.values())

    def set_values(self, values):
        """Sets parameters by name, those of earlier tasks' networks too."""
        self._elsewhere.update(values)
        assign(self.session, {self.parameters.variables[name]: value for name, value in values.items()
                              if name in self.parameters.variables})


class JointGraph(TaskGraph):
    """The training data of every task, and an update for each; their optimizer is one, so shared parameters
    have one running mean of squared gradients."""

    def trained_tasks(self):
        return [task.index for task in self.learned]

    def training(self, phase):
        optimizer, self._updates = nn.rmsprop(self._learning_rate, 'RMSProp'), {}
        for task in self.learned:
            batch = self._inputs(task.train, self._name(task.index), self._augments)
            loss = self.method.pattern_loss(self.parameters, task.index, self.method.pattern_of(task.index),
                                            batch)
            update = nn.apply(optimizer, loss, self.parameters.trained)
            self._updates[task.index] = self._summed(update, loss), loss
        return self._updates[self.task.index]

    @staticmethod
    def _name(task):
        return 'training%d' % task

    def updates(self):
        return [update for update, _ in self._updates.values()]

    def take(self, task):
        """From now on `step` trains this task."""
        self._update, self._loss = self._updates[task]
        for inputs in (self._data, self._fed):
            inputs.update({'training': inputs[name] for name in [self._name(task)] if name in inputs})
