"""How many images of each task a network classifies correctly: large batches, and nothing computed twice."""
import numpy as np

from classification.gen_data import SPLITS
from utils.lazy_tensorflow import tf
from utils.utils_env_cl import ACTIVATION_BYTES


class Evaluation(object):
    """The part of a task's graph that evaluates, and what it computes once and keeps outside the graph,
    within
    ACTIVATION_BYTES: while a task is learned, the first layers of an earlier task may give the same maps at
    every evaluation, and the task's own network may read maps that nothing changes (`Method.constant_maps`).

    Args:
        method: the Method.
        parameters: utils_nn.Parameters of the graph that is being built.
        task: gen_data.Task that is learned.
        learned: list of gen_data.Task that are evaluated, the current one among them.
        constant: dict task -> how many of its first convolution layers give constant maps; a missing one has
            none.
        batch: images per session call.
    """

    def __init__(self, method, parameters, task, learned, constant, batch):
        self.batch, self._task = batch, task
        self.answers = {}      # task -> the class given to each of its test images by the last `accuracy`
        self._kept, self._logits, self._predicted, self._cut = {}, {}, {}, {}
        first = task.train.images(np.arange(1))
        self._pixels = tf.placeholder(first.dtype, (None,) + first.shape[1:], 'evaluated_pixels')
        self._scale, self._offset = [tf.placeholder(tf.float32, (None, 1, 1, first.shape[-1]), name)
                                     for name in ('scale', 'offset')]
        images, room = tf.cast(self._pixels, tf.float32) * self._scale + self._offset, ACTIVATION_BYTES
        for each in learned:
            maps = method.layer_outputs(parameters, each.index, images)
            logits = method.classify(parameters, each.index, maps[-1])
            self._logits[each.index] = logits
            self._predicted[each.index] = tf.argmax(logits, axis=1, output_type=tf.int32)
            if each.index == task.index:
                tensors = method.frozen_maps(parameters, task.index, images)
            else:
                layers = method.net.uncrossed(constant.get(each.index, 0))
                tensors = maps[layers - 1:layers]
            needed = np.cumsum([self._bytes(each, tensor) for tensor in tensors])
            self._cut[each.index] = tensors[:np.searchsorted(needed, room, 'right')]
            room -= sum(self._bytes(each, tensor) for tensor in self._cut[each.index])
        self._probes = dict(method.probes(parameters, task.index, images),
                            **{'logits%d' % index: logits for index, logits in self._logits.items()})

    def accuracy(self, session, task):
        """[3]: share of correct answers on a task's training, validation and test split, in [0, 1]."""
        splits = [getattr(task, split) for split in SPLITS]
        ends = np.cumsum([split.size for split in splits])
        answers = np.split(np.concatenate(list(self._answers(session, task.index, splits))), ends[:-1])
        self.answers[task.index] = answers[list(SPLITS).index('test')]
        return np.array([np.mean(given == split.labels) for given, split in zip(answers, splits)])

    def constant_rows(self, session, rows):
        """[array [len(rows), ...]]: for these training images of the task that is learned, the first of the
        method's constant maps, as many as there is room for."""
        task = self._task
        if self._cut[task.index] and task.index not in self._kept:
            self.accuracy(session, task)
        return [maps[rows] for maps in self._kept.get(task.index, ())]     # the training split comes first

    def _answers(self, session, index, splits):
        """Yields what the network answers to the images of all splits, in order."""
        size, cut, kept = sum(split.size for split in splits), self._cut[index], self._kept.get(index)
        starts, first = range(0, size, self.batch), kept is None
        if first:
            kept = [np.empty([size] + tensor.shape.as_list()[1:], np.float32) for tensor in cut]
        if first or index == self._task.index:
            feeds = self._feeds(splits)
        else:
            feeds = ({} for _ in starts)        # the images are needed no more
        for start, feed in zip(starts, feeds):
            rows = slice(start, start + self.batch)
            if not first:
                feed.update((tensor, maps[rows]) for tensor, maps in zip(cut, kept))
            found = session.run([self._predicted[index]] + (cut if first else []), feed)
            for maps, values in zip(kept, found[1:]):
                maps[rows] = values
            yield found[0]
        if cut:
            self._kept[index] = kept

    def _feeds(self, splits):
        """Yields the images of all splits in batches;
        one batch may hold the end of a split and the beginning of the next."""
        rows = np.concatenate([np.stack([np.full(split.size, split_number), np.arange(split.size)], axis=1)
                               for split_number, split in enumerate(splits)])
        for start in range(0, len(rows), self.batch):
            split_numbers, numbers = rows[start:start + self.batch].T
            of = [(split, numbers[split_numbers == number]) for number, split in enumerate(splits)
                  if (split_numbers == number).any()]
            yield {self._pixels: np.concatenate([split.images(chosen) for split, chosen in of]),
                   self._scale: self._for_each([(split.scale, len(chosen)) for split, chosen in of]),
                   self._offset: self._for_each([(split.offset, len(chosen)) for split, chosen in of])}

    @staticmethod
    def _bytes(task, tensor):
        """Memory that a tensor [n, ...] of floats takes for all images of a task."""
        return 4 * sum(getattr(task, split).size for split in SPLITS) * tensor.shape[1:].num_elements()

    @staticmethod
    def _for_each(values):
        return np.concatenate([np.tile(value, (count, 1)) for value, count in values])[:, None, None, :]

    def probe(self, session, name, split):
        """[split.size, ...]: one of the method's probes, or 'logits<task>', for every image of a split, in
        stored order."""
        return np.concatenate([session.run(self._probes[name], feed) for feed in self._feeds([split])])
