"""How many images of each task a network classifies correctly: large batches, and nothing computed twice."""
from typing import Any, Mapping, NamedTuple

import numpy as np

from classification.gen_data import SPLITS
from utils.lazy_tensorflow import tf
from utils.utils_env_cl import ACTIVATION_BYTES
from utils.utils_nn import FedParameters


class Inputs(object):
    """The images that a graph evaluates: fed as they are stored, scaled in the graph.

    Args:
        first: array [1, height, width, channels], one image as it is stored; all are of this kind.
    """

    def __init__(self, first):
        self.pixels = tf.placeholder(first.dtype, (None,) + first.shape[1:], 'evaluated_pixels')
        self.scale, self.offset = [tf.placeholder(tf.float32, (None, 1, 1, first.shape[-1]), name)
                                   for name in ('scale', 'offset')]
        self.images = tf.cast(self.pixels, tf.float32) * self.scale + self.offset

    def feeds(self, splits, batch):
        """Yields the images of all splits in batches;
        one batch may hold the end of a split and the beginning of the next."""
        rows = np.concatenate([np.stack([np.full(split.size, split_number), np.arange(split.size)], axis=1)
                               for split_number, split in enumerate(splits)])
        for start in range(0, len(rows), batch):
            split_numbers, numbers = rows[start:start + batch].T
            of = [(split, numbers[split_numbers == number]) for number, split in enumerate(splits)
                  if (split_numbers == number).any()]
            yield {self.pixels: np.concatenate([split.images(chosen) for split, chosen in of]),
                   self.scale: self._for_each([(split.scale, len(chosen)) for split, chosen in of]),
                   self.offset: self._for_each([(split.offset, len(chosen)) for split, chosen in of])}

    @staticmethod
    def _for_each(values):
        return np.concatenate([np.tile(value, (count, 1)) for value, count in values])[:, None, None, :]


class Network(NamedTuple):
    """A task's network as it is evaluated."""
    inputs: Inputs
    maps: Any                   # what each convolution layer gives
    logits: Any                 # [n, classes]
    predicted: Any              # [n]
    placeholders: Mapping       # dict name -> placeholder of a parameter, in a graph without variables
    session: Any                # None: that of the task that is learned


def _network(method, parameters, task, inputs, placeholders=(), session=None):
    maps = method.layer_outputs(parameters, task, inputs.images)
    logits = method.classify(parameters, task, maps[-1])
    return Network(inputs, maps, logits, tf.argmax(logits, axis=1, output_type=tf.int32), placeholders,
                   session)


class EarlierNetworks(object):
    """The networks of tasks that others are learned after, each in a small graph of its own, which is fed its
    parameters. One is built when it is first evaluated, and serves until it may look different: the graph of
    a task that is learned does not grow with the tasks before it, and preparing a session call takes time
    that goes with the size of the whole graph.

    Args:
        method: the Method.
        config: tf.ConfigProto.
    """

    def __init__(self, method, config):
        self._method, self._config, self._built = method, config, {}

    def begin(self, tasks):
        """From now on these are learned (their numbers)."""
        # arrays become constants of a graph
        stay = self._method.networks_stay and not self._method.network_arrays()
        for task in list(self._built):
            if task in tasks or not stay:
                self._built.pop(task).session.close()

    def of(self, task, first):
        """The Network of a task, for images like this one."""
        if task not in self._built:
            with tf.Graph().as_default() as graph:
                parameters = FedParameters()
                network = _network(self._method, parameters, task, Inputs(first), parameters.variables)
            graph.finalize()
            self._built[task] = network._replace(session=tf.Session(graph=graph, config=self._config))
        return self._built[task]

    def close(self):
        """Closes every session."""
        self.begin(list(self._built))


class Evaluation(object):
    """What evaluates while a task is learned, and what it computes once and keeps outside the graph, within
    ACTIVATION_BYTES: the first layers of an earlier task may give the same maps at every evaluation, and the
    task's own network may read maps that nothing changes (`Method.frozen_maps`).

    Args:
        method: the Method.
        parameters: utils_nn.Parameters of the graph that is being built.
        task: gen_data.Task that is learned.
        trained: numbers of those that the graph trains, `task` among them; their networks are part of it.
        earlier: EarlierNetworks, for all others.
        constant: dict task -> how many of its first convolution layers give constant maps; a missing one has
            none.
        batch: images per session call.
    """

    def __init__(self, method, parameters, task, trained, earlier, constant, batch):
        self.batch, self._task = batch, task
        self.answers = {}      # task -> the class given to each of its test images by the last `accuracy`
        self._method, self._earlier, self._constant = method, earlier, constant
        self._kept, self._cut, self._room = {}, {}, ACTIVATION_BYTES
        self._first = task.train.images(np.arange(1))
        self._inputs = Inputs(self._first)
        self._own = {index: _network(method, parameters, index, self._inputs) for index in trained}
        self._cut_off(task, method.frozen_maps(parameters, task.index, self._inputs.images))
        self._probes = dict(method.probes(parameters, task.index, self._inputs.images), **{
            'logits%d' % index: network.logits for index, network in self._own.items()})

    def network(self, task):
        """The Network of a gen_data.Task."""
        own = self._own.get(task.index)
        return self._earlier.of(task.index, self._first) if own is None else own

    def cut(self, task):
        """The tensors of a task's network that are computed once and kept."""
        if task.index not in self._cut:
            layers = self._method.net.uncrossed(self._constant.get(task.index, 0))
            self._cut_off(task, self.network(task).maps[layers - 1:layers])
        return self._cut[task.index]

    def _cut_off(self, task, tensors):
        needed = np.cumsum([self._bytes(task, tensor) for tensor in tensors])
        self._cut[task.index] = tensors[:np.searchsorted(needed, self._room, 'right')]
        self._room -= sum(self._bytes(task, tensor) for tensor in self._cut[task.index])

    # ---- use: `session` is that of the task's graph, `values` gives all parameters as they are now ----

    def accuracy(self, task, session, values):
        """[3]: share of correct answers on a task's training, validation and test split, in [0, 1].

        Args:
            task: gen_data.Task.
            session: of the graph in which a task is learned.
            values: function that gives dict name -> array, every parameter as it is now.
        """
        splits = [getattr(task, split) for split in SPLITS]
        ends = np.cumsum([split.size for split in splits])
        answers = np.split(np.concatenate(list(self._answers(task, splits, session, values))), ends[:-1])
        self.answers[task.index] = answers[list(SPLITS).index('test')]
        return np.array([np.mean(given == split.labels) for given, split in zip(answers, splits)])

    def constant_rows(self, session, rows):
        """[array [len(rows), ...]]: for these training images of the task that is learned, the first of the
        method's constant maps, as many as there is room for."""
        task = self._task
        if self._cut[task.index] and task.index not in self._kept:
            self.accuracy(task, session, None)
        return [maps[rows] for maps in self._kept.get(task.index, ())]     # the training split comes first

    def _answers(self, task, splits, session, values):
        """Yields what the network answers to the images of all splits, in order."""
        index, size = task.index, sum(split.size for split in splits)
        network, cut, kept = self.network(task), self.cut(task), self._kept.get(index)
        starts, first = range(0, size, self.batch), kept is None
        if first:
            kept = [np.empty([size] + tensor.shape.as_list()[1:], np.float32) for tensor in cut]
        if first or index == self._task.index:
            feeds = network.inputs.feeds(splits, self.batch)
        else:
            feeds = ({} for _ in starts)        # the images are needed no more
        run = self._runner(network, session, values)
        for start, feed in zip(starts, feeds):
            rows = slice(start, start + self.batch)
            if not first:
                feed.update((tensor, maps[rows]) for tensor, maps in zip(cut, kept))
            found = run([network.predicted] + (cut if first else []), feed)
            for maps, computed in zip(kept, found[1:]):
                maps[rows] = computed
            yield found[0]
        if cut:
            self._kept[index] = kept

    @staticmethod
    def _runner(network, session, values):
        """Function of fetches and feeds that runs a network with the parameters as they are now."""
        if network.session is None:
            return session.run
        now = values()
        parameters = {placeholder: now[name] for name, placeholder in network.placeholders.items()}
        return lambda fetches, feed: network.session.run(fetches, {**parameters, **feed})

    @staticmethod
    def _bytes(task, tensor):
        """Memory that a tensor [n, ...] of floats takes for all images of a task."""
        return 4 * sum(getattr(task, split).size for split in SPLITS) * tensor.shape[1:].num_elements()

    def probe(self, name, split, session, values):
        """[split.size, ...]: one of the method's probes, or 'logits<task>', for every image of a split, in
        stored order."""
        if name in self._probes:
            tensor, inputs, run = self._probes[name], self._inputs, session.run
        else:
            network = self._earlier.of(int(name[len('logits'):]), self._first)
            tensor, inputs, run = network.logits, network.inputs, self._runner(network, session, values)
        return np.concatenate([run(tensor, feed) for feed in inputs.feeds([split], self.batch)])
