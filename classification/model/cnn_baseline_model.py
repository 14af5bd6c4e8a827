"""Fixed patterns: which layers are shared is said beforehand (HPS, TF, DF-CNN with a transfer configuration; STL; SNN)."""
from classification.model.method import Method
from utils import utils_nn as nn


class FixedPattern(Method):
    """One pattern for every task: HPS, TF, DF-CNN, APD with a transfer configuration. STL shares nothing."""

    def __init__(self, setting):
        super(FixedPattern, self).__init__(setting)
        self.pattern = setting.options['pattern']

    def pattern_of(self, task):
        return self.pattern

    def build(self, parameters, task, batch, phase=0):
        self.loss, self.update = self.train_pattern(parameters, task, self.pattern, batch)


class SingleNetwork(FixedPattern):
    """SNN: everything is shared, the output layer too; plain sequential fine-tuning."""

    def head(self, parameters, task, features):
        return nn.head(features, self.net, self.setting.class_counts[task],
                       lambda layer, part, shape, initial: parameters.shared(layer, 'hps', part, shape, initial))
