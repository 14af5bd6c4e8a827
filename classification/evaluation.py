"""How many images of each task a network classifies correctly: large batches, and nothing computed twice."""
import numpy as np
import tensorflow.compat.v1 as tf

from classification.gen_data import PARTS
from utils.utils_env_cl import ACTIVATION_BYTES


class Evaluation(object):
    """The part of a task's graph that evaluates. While another task is learned, the first layers of an earlier task may
    give the same maps at every evaluation; those are computed once and kept outside the graph, within ACTIVATION_BYTES.

    Args:
        method: the Method.
        parameters: utils_nn.Parameters of the graph that is being built.
        task: gen_data.Task that is learned.
        learned: list of gen_data.Task that are evaluated, the current one among them.
        constant: dict task -> how many of its first convolution layers give constant maps; a missing one has none.
        batch: images per session call.
    """

    def __init__(self, method, parameters, task, learned, constant, batch):
        self.batch, self._kept, self._logits, self._predicted, self._cut = batch, {}, {}, {}, {}
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
            layers = method.net.uncrossed(constant.get(each.index, 0))
            size = sum(getattr(each, part).size for part in PARTS)
            needed = 4 * size * maps[layers - 1].shape[1:].num_elements() if layers else 0
            if 0 < needed <= room:
                self._cut[each.index], room = maps[layers - 1], room - needed
        self._probes = dict(method.probes(parameters, task.index, images),
                            **{'logits%d' % index: logits for index, logits in self._logits.items()})

    def accuracy(self, session, task):
        """[3]: share of correct answers on a task's training, validation and test part, in [0, 1]."""
        parts = [getattr(task, part) for part in PARTS]
        ends = np.cumsum([part.size for part in parts])
        correct = np.concatenate(list(self._answers(session, task.index, parts))) == np.concatenate([p.labels for p in parts])
        return np.array([hits.mean() for hits in np.split(correct, ends[:-1])])

    def _answers(self, session, index, parts):
        """Yields what the network answers to the images of all parts, in order."""
        cut = self._cut.get(index)
        if index in self._kept:
            for start in range(0, len(self._kept[index]), self.batch):
                yield session.run(self._predicted[index], {cut: self._kept[index][start:start + self.batch]})
            return
        wanted, maps = [self._predicted[index]] + [cut] * (cut is not None), []
        for feed in self._feeds(parts):
            found = session.run(wanted, feed)
            maps += found[1:]
            yield found[0]
        if cut is not None:
            self._kept[index] = np.concatenate(maps)

    def _feeds(self, parts):
        """Yields the images of all parts in batches; one batch may hold the end of a part and the beginning of the next."""
        rows = np.concatenate([np.stack([np.full(part.size, place), np.arange(part.size)], axis=1)
                               for place, part in enumerate(parts)])
        for start in range(0, len(rows), self.batch):
            places, numbers = rows[start:start + self.batch].T
            of = [(part, numbers[places == place]) for place, part in enumerate(parts) if (places == place).any()]
            yield {self._pixels: np.concatenate([part.images(chosen) for part, chosen in of]),
                   self._scale: self._for_each([(part.scale, len(chosen)) for part, chosen in of]),
                   self._offset: self._for_each([(part.offset, len(chosen)) for part, chosen in of])}

    @staticmethod
    def _for_each(values):
        return np.concatenate([np.tile(value, (count, 1)) for value, count in values])[:, None, None, :]

    def probe(self, session, name, part):
        """[part.size, ...]: one of the method's probes, or 'logits<task>', for every image of a part, in stored order."""
        return np.concatenate([session.run(self._probes[name], feed) for feed in self._feeds([part])])
