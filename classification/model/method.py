"""What a method is: its life cycle, its network, and hints with which evaluation saves work. Each part can be
read alone.

The loop (train.py) calls, for each task of the order: `start_task`; per phase `build`, `start_phase`, then
per epoch `start_epoch`, `update` for each step and `end_epoch`; `end_phase`; at last `end_task`.
`layer_outputs` and `classify` give the network that evaluates a task. Between graphs everything lives in the
parameter store, in `state` and in `arrays`.
"""
from typing import Any, Mapping, NamedTuple, Tuple

import numpy as np

from classification.model.declare import MECHANISMS
from classification.model.mechanisms import Own, size_of
from classification.model.phases import InTurn
from utils import utils_nn as nn
from utils.lazy_tensorflow import tf
from utils.utils import tasks_in
from utils.utils_env_cl import Net


class Setting(NamedTuple):
    """What a method is told about its run: no files, no flags."""
    net: Net
    class_counts: Mapping           # task -> number of classes
    mechanism: str                  # key of MECHANISMS
    # the method's and the mechanism's; 'pattern': the layers to share, None: searched for
    options: Mapping
    keep: float = 0.5               # keep probability of dropout
    order: Tuple[int, ...] = ()     # tasks as they come; one may return


class Batch(NamedTuple):
    """The tensors of one training step."""
    images: Any                     # float [n, height, width, channels]
    labels: Any                     # int32 [n]
    learning_rate: Any              # scalar
    seed: Any                       # int32 [2]: what dropout's mask is a function of
    size: int                       # n
    steps: int = 1                  # of an epoch
    selection: Any = None           # a Batch of validation images, for a method that asks for it
    single: Any = None              # a Batch of one training image, for a method that asks for it


def shared_layers(method, tasks):
    """bool [tasks, layers]: which layers each learned task shares."""
    return np.array([[letter == 'S' for letter in method.pattern_of(task)] for task in tasks])


class LifeCycle(object):
    """How a task is learned. Where a hook takes `graph`, it is the open TaskGraph, of which a method uses
    `session`, `parameters`, `task`, `values`, `set_values`, `probe`, `sweep` and `learning_rate`.

    Attributes:
        update, loss: the op of one training step, and its loss (a scalar tensor); `build` sets both.
    """
    policy = InTurn                 # what becomes of the phases of a task; or phases.Alternatives
    validation_batches = False      # a step also needs a batch of validation images
    single_images = False           # the method also asks for single training images (`graph.sweep`)
    update = loss = None

    def phases(self, task, epochs):
        """Epochs of each phase of learning a task; a phase has a graph of its own.
        Asked before each phase is built."""
        return [epochs]

    def planned_epochs(self, order, epochs):
        """Epochs of a whole trial, at most; for the progress display."""
        return epochs * len(order)

    def copies(self):
        """[layers]: how many times a training step computes each layer's maps; for the memory that it
        takes."""
        return [1] * len(self.net.layers)

    def values_beside_network(self):
        """How many values a task has beside its layers and its head, where they are many; for the memory that
        they take."""
        return 0

    def start_task(self, task, store, draw):
        """The parameter store with which a task begins: for values that are drawn anew.

        Args:
            store: dict name -> array, as earlier tasks left it.
            draw: function variable name -> RandomState.
        """
        return store

    def build(self, parameters, task, batch, phase=0):
        """Builds one training step of a task: sets `update` and `loss`.

        Args:
            parameters: utils_nn.Parameters, which makes variables.
            batch: Batch.
            phase: number of the phase.
        """
        raise AssertionError('a method says how it is trained')

    def start_phase(self, graph, task, phase):
        """After the variables have their values, but not when a phase is resumed:
        sets what is no parameter."""

    def start_epoch(self, graph, task):
        """Before the first step of an epoch."""

    def end_epoch(self, graph, task, last):
        """Before the evaluation at an epoch's end; the rows of the method's own histories: dict name -> 1-D
        array.

        Args:
            last: whether it is the phase's last epoch, whose parameters are handed on.
        """
        return {}

    def end_phase(self, task, phase, before, values, graph):
        """The parameter store with which the next phase begins; the graph is still open.

        Args:
            before: parameter store as it was when the task began.
            values: dict name -> array, the variables now.
        """
        return values

    def end_task(self, task, before, values, graph):
        """The parameter store to hand on, in the shapes of the open graph; called after the last phase's
        `end_phase`.

        Args:
            before: parameter store as it was when the task began.
            values: dict name -> array, as `end_phase` gave it.
        """
        return values


class Network(object):
    """What a task computes: layers, then a head. A task's pattern says which layers it shares."""

    def layer_outputs(self, parameters, task, images):
        """What each convolution layer gives, after its pool: list of [n, h, w, channels].

        Of a learned task's network, or of the current task's as it is now; no dropout.
        """
        return nn.layer_maps(self.net, images, self.activations(parameters, task, self.pattern_of(task)))

    def classify(self, parameters, task, maps):
        """Logits [n, classes] from what the last convolution layer gives."""
        return self.head(parameters, task, tf.reshape(maps, [-1, self.net.num_features]))

    def probes(self, parameters, task, images):
        """What the method measures on whole parts of a task's data:
        dict name -> tensor [n, ...] of evaluated images."""
        return {}

    # ---- what these are made of ----

    def logits(self, parameters, task, images):
        """Logits [n, classes] of a learned task, or of the current one as it is now; no dropout."""
        return self.classify(parameters, task, self.layer_outputs(parameters, task, images)[-1])

    def network_arrays(self):
        """Those of `arrays` that the networks of learned tasks read, which parameter files hold then."""
        return self.arrays

    def pattern_of(self, task):
        """Which layers a learned task shares, e.g. 'STTS'."""
        return self.state['patterns'][str(task)]

    def remember(self, task, pattern):
        """Stores which layers a task shares."""
        self.state['patterns'][str(task)] = pattern

    def mechanism(self, parameters, layer):
        """The mechanism object of a shared layer."""
        return MECHANISMS[self.setting.mechanism].make(self.net.layers[layer], 'conv%d' % layer, parameters,
                                                       self.setting.options)

    def layer_weights(self, parameters, layer, task, shared):
        """(kernel, bias) that a task uses in a layer."""
        if shared:
            return self.mechanism(parameters, layer).weights(task)
        return Own(self.net.layers[layer], 'conv%d' % layer, parameters).weights(task)

    def activations(self, parameters, task, pattern):
        """One function per layer for a fixed pattern."""
        return [nn.activation(self.layer_weights(parameters, layer, task, letter == 'S'), self.net.padding)
                for layer, letter in enumerate(pattern)]

    def head(self, parameters, task, features):
        """Logits from features; a task owns its head."""
        return nn.head(features, self.net, self.setting.class_counts[task],
                       lambda layer, part, shape, initial: parameters.own(
                           layer, task, 'own', part, shape, initial))

    def pattern_loss(self, parameters, task, pattern, batch):
        """Loss of ordinary training with a fixed pattern."""
        features = nn.convolutional_part(self.net, batch.images,
                                         [[self.activations(parameters, task, pattern)]])
        logits = self.head(parameters, task, nn.dropout(features, self.setting.keep, batch.seed))
        loss = tf.reduce_mean(nn.cross_entropy(logits, batch.labels))
        for layer, letter in enumerate(pattern):
            if letter == 'S':
                loss += self.extra_losses(parameters, layer, task, 1., 1. / pattern.count('S'))
        return loss

    def train_pattern(self, parameters, task, pattern, batch):
        """(loss, update) of ordinary training with a fixed pattern."""
        loss = self.pattern_loss(parameters, task, pattern, batch)
        return loss, nn.minimize(loss, parameters.trained, batch.learning_rate)

    def extra_losses(self, parameters, layer, task, probability, share):
        """What a layer's mechanism adds to the loss.

        Args:
            probability: of the layer being shared.
            share: expectation of [the layer is shared] / (number of shared layers), for losses that are
                means.
        """
        mechanism = self.mechanism(parameters, layer)
        if_shared, always = mechanism.extra_loss(task), mechanism.regulariser(task)
        weight = share if mechanism.averaged else probability
        return (0. if if_shared is None else weight * if_shared) + (0. if always is None else always)


class EvaluationHints(object):
    """What need not be computed again. A method that says nothing here is evaluated in full, and
    correctly.

    Attributes:
        networks_stay: whether the network of a learned task has the same operations, on parameters of the
            same names and shapes, until the task is trained again.
    """
    networks_stay = False

    def outputs_may_change(self, task, phase=0):
        """Whether an earlier task's accuracy can change in this phase of learning another task."""
        return 'S' in self.pattern_of(task)

    def frozen_layers(self, task, phase=0):
        """How many of an earlier task's first convolution layers give the same maps in this whole phase of
        another task."""
        pattern = self.pattern_of(task)
        return len(pattern) - len(pattern.lstrip('T'))

    def frozen_maps(self, parameters, task, images):
        """Maps [n, ...] that the network of the task being learned reads and that depend on the images alone,
        while it is learned; those that save most come first. Called after the network for these images is
        built."""
        return []

    def most_kept(self, images):
        """How many values evaluation keeps at most of maps that these hints say are constant, at one time.

        Args:
            images: of each task, how many.
        """
        values = self.net.map_sizes
        if any(getattr(type(self), name) is not getattr(EvaluationHints, name)
               for name in ('frozen_layers', 'frozen_maps')):       # hints of a plug-in: every map
            return sum(values) * max(images) * len(images)
        pattern = self.setting.options.get('pattern')
        layers = range(1, len(values))      # which a search may choose to begin with T
        if pattern is not None:
            layers = [len(pattern) - len(pattern.lstrip('T'))] if 'S' in pattern else []
        of_image = max([values[layer - 1] for layer in map(self.net.uncrossed, layers) if layer], default=0)
        return of_image * (sum(images) - min(images))       # of all tasks but the one that is learned


class Method(LifeCycle, Network, EvaluationHints):
    """A method on the common network: convolutions shared or not, then a head per task.

    Attributes:
        setting, net: Setting, and its utils_env_cl.Net.
        state: JSON-able dict that checkpoints keep; patterns: task, as text -> 'STTS' as chosen for a learned
            task.
        arrays: dict name -> array that checkpoints keep beside the parameters.
        left: dict name -> array of what the task just learned left for parameter files only, like a search's
            outcome.
        log, say: functions of one line, for the log, and for the log and the screen.
    """

    def __init__(self, setting):
        self.setting, self.net = setting, setting.net
        self.state, self.arrays, self.left = {'patterns': {}}, {}, {}
        self.log = self.say = lambda line: None

    def num_parameters(self, store):
        """How many values are kept: shared ones once, each task's own, heads."""
        return size_of(store)

    def state_bytes(self, store):
        """Bytes that are kept beside the parameters, and that later tasks or the networks need."""
        return sum(array.nbytes for array in self.arrays.values())

    def extra(self, order):
        """Fields of the method for the run's struct: dict name -> array; those per task go by data-set index.
        A search gives `conv_sharing` [tasks, layers]."""
        if self.setting.options.get('pattern', '') is not None:
            return {}
        return {'conv_sharing': shared_layers(self, tasks_in(order))}
