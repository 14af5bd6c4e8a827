"""Test images whose task nobody tells: every learned task's network answers, and the most confident one is
believed."""
import numpy as np

from classification.analysis.learned_network import LearnedNetwork
from utils.lazy_tensorflow import tf


def confidence(logits):
    """[n]: log probability of the most probable class, by the softmax over the classes of one head.

    Args:
        logits: [n, classes].
    """
    logits = np.array(logits, np.float64)
    others = np.exp(logits - logits.max(axis=1, keepdims=True))
    others[np.arange(len(logits)), logits.argmax(axis=1)] = 0.
    return -np.log1p(others.sum(axis=1))        # probabilities that round to 1 stay apart


def most_confident(logits):
    """What the head with the most probable class answers to each image; of equal ones the first.

    Args:
        logits: list of [n, classes of the head].
    Returns:
        (int [n]: place of the head, int [n]: its most probable class).
    """
    heads = np.argmax([confidence(of_head) for of_head in logits], axis=0)
    classes = np.array([np.argmax(of_head, axis=1) for of_head in logits])
    return heads, classes[heads, np.arange(len(heads))]


def shares(method, store, tasks, batch, config):
    """[len(tasks), 2]: of each task's test images the share for which the right task is chosen and in it the
    right class, and the share for which the right task is chosen.

    An image is seen as a user could show it who does not know its task: each network gets it scaled like the
    test images of the network's own task. That matters where each task is standardised by itself. Noise and
    an order of channels are part of the image.

    Args:
        method: a Method that has learned the tasks.
        store: its parameter store, dict name -> array.
        tasks: list of gen_data.Task; of equally confident networks the first is believed.
        batch: images per session call.
        config: tf.ConfigProto.
    """
    def build(parameters):
        pixels, scaled, logits = tf.placeholder(tf.float32, (None,) + method.net.image_shape), {}, []
        for task in tasks:
            scaling = task.test.scale.tobytes(), task.test.offset.tobytes()
            if scaling not in scaled:
                scaled[scaling] = pixels * task.test.scale + task.test.offset
            logits.append(method.logits(parameters, task.index, scaled[scaling]))
        return pixels, logits

    with LearnedNetwork(method, store, build, config) as network:
        pixels, logits = network.wanted

        def answers(split):
            for start in range(0, split.size, batch):
                images = split.images(np.arange(start, min(start + batch, split.size))).astype(np.float32)
                # one network after the other: as much memory as an evaluation takes
                yield most_confident([network.session.run(of_head, {pixels: images}) for of_head in logits])

        found = []
        for place, task in enumerate(tasks):
            heads, classes = np.concatenate(list(answers(task.test)), axis=1)
            found.append([np.mean((heads == place) & (classes == task.test.labels)), np.mean(heads == place)])
    return np.array(found)
