"""LASEM the long way: a network per pattern. The judge of the tree's numbers, and what its speed is compared
with."""
import tensorflow.compat.v1 as tf

from classification.model.cnn_baseline_model import FixedPattern
from utils import utils_nn as nn


class Explicit(FixedPattern):
    """One network per pattern in one graph of plain ops; the E-step is a session call of its own.

    `likelihood` is fetched first; the posterior computed from it is fed as `posterior` to `update`, whose
    gradient is ONE tf.gradients of the posterior-weighted sum of the patterns' losses.
    """

    def __init__(self, setting, patterns):
        super(Explicit, self).__init__(setting._replace(options=dict(setting.options, pattern=patterns[0])))
        self.patterns = patterns

    def build(self, parameters, task, batch, phase=0):
        self.posterior = tf.placeholder(parameters.dtype, [len(self.patterns)])
        likelihoods, losses = [], []
        for place, pattern in enumerate(self.patterns):
            features = nn.convolutional_part(self.net, batch.images,
                                             [[self.activations(parameters, task, pattern)]])
            truth = tf.one_hot(batch.labels, self.setting.class_counts[task], dtype=parameters.dtype)
            probabilities = tf.nn.softmax(self.head(parameters, task, features))
            likelihoods.append(tf.reduce_mean(tf.reduce_sum(probabilities * truth, axis=1)))
            dropped = nn.dropout(features, self.setting.keep, batch.seed + place)
            loss = tf.reduce_mean(nn.cross_entropy(self.head(parameters, task, dropped), batch.labels))
            losses.append(loss + self._extra(parameters, task, pattern))
        self.likelihood = tf.stack(likelihoods)
        self.loss = tf.reduce_sum(self.posterior * tf.stack(losses))
        self.update = nn.minimize(self.loss, parameters.trained, batch.learning_rate)

    def _extra(self, parameters, task, pattern):
        total = 0.
        for layer, letter in enumerate(pattern):
            mechanism = self.mechanism(parameters, layer)
            extra, always = mechanism.extra_loss(task), mechanism.regulariser(task)
            if letter == 'S' and extra is not None:
                total += extra / pattern.count('S') if self.setting.mechanism == 'apd' else extra
            if always is not None:
                total += always
        return total
