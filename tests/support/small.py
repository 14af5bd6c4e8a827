"""A tiny network and a graph around one method, for tests that need no data set."""
from collections import OrderedDict

import numpy as np
import tensorflow.compat.v1 as tf

from classification.model.method import Batch, Setting
from classification.model.registry import METHODS
from utils import runtime
from utils.utils_env_cl import Network, build_net
from utils.utils_nn import Parameters, assign

NETWORK = Network(kernels=(3, 3, 3), channels=(4, 5, 6), pools=(1, 2, 1), hidden=(7,),
                  df_knowledge=((2, 3), (2, 4), (2, 5)), df_tensor=((3, 5), (3, 6), (3, 7)))
NET = build_net(NETWORK, (8, 8, 3))
CLASSES = {0: 3, 1: 2}
BATCH = 4


def make_method(selection, mechanism='hps', keep=1., net=NET, classes=None, **options):
    """A method on the tiny network, dropout off unless `keep` says otherwise."""
    return METHODS[selection].make(Setting(net, classes or CLASSES, mechanism, dict({'pattern': None}, **options), keep))


def draw(name):
    """Initial values that depend on the variable's name only."""
    return np.random.RandomState(sum(ord(letter) * (place + 1) for place, letter in enumerate(name)) % (2 ** 31))


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
            self.logits_of = {index: method.logits(self.parameters, index, self.eval_images) for index in learned}
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
        return self.session.run([self.method.update] if fetch is None else [fetch, self.method.update], feed)[0]

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
