"""Fixed patterns: which layers are shared is said beforehand (HPS, TF, DF-CNN with a transfer configuration;
STL; SNN)."""
from classification.model.declare import method, selection
from classification.model.method import Method
from utils import utils_nn as nn


@selection('Hybrid', 'the chosen layers shared', pattern='asked', joint=True,
           short=lambda mechanism: (mechanism,))
@method('STL', 'an independent network per task', pattern='none', joint=True)
class FixedPattern(Method):
    """One pattern for every task: HPS, TF, DF-CNN, APD with a transfer configuration. STL shares nothing."""
    networks_stay = True

    def __init__(self, setting):
        super(FixedPattern, self).__init__(setting)
        self.pattern = setting.options['pattern']

    def pattern_of(self, task):
        return self.pattern

    def build(self, parameters, task, batch, phase=0):
        self.loss, self.update = self.train_pattern(parameters, task, self.pattern, batch)


@method('SNN', 'one network for all tasks, the output layer too', key='single_network',
        architecture='singlenn_cnn', pattern='all', one_head=True, joint=True)
class SingleNetwork(FixedPattern):
    """SNN: everything is shared, the output layer too; plain sequential fine-tuning."""

    def head(self, parameters, task, features):
        return nn.head(features, self.net, self.setting.class_counts[task],
                       lambda layer, part, shape, initial: parameters.shared(
                           layer, 'hps', part, shape, initial))
