"""A whole method: learning without forgetting. The network answers for earlier tasks as it did before.

    python3 main.py --plugin examples/lwf.py --data_type DIGITS5 --model_type LwF --lifelong --lwf_weight 2
"""
from classification.plugin import FixedPattern, Option, method, number, tf


@method('LwF', 'learning without forgetting: earlier tasks\' answers to the new images are kept',
        pattern='all', paper='Li & Hoiem, ECCV 2016', options=(
            Option('lwf_weight', 1., number(0), 'LwF: weight of distillation', flag='lwf_weight',
                   stored=True),
            Option('temperature', 2., number(1), 'LwF: temperature that softens the answers', stored=True)))
class LwF(FixedPattern):
    """All convolutions shared. For each earlier task, the loss also has the cross-entropy between what its
    head says of the new task's images and what it said when the task began (equation 2 of the paper); the
    heads of earlier tasks stay as they are."""

    def __init__(self, setting):
        super(LwF, self).__init__(setting)
        self.state['learned'] = []

    def pattern_loss(self, parameters, task, pattern, batch):
        loss = super(LwF, self).pattern_loss(parameters, task, pattern, batch)
        temperature = self.setting.options['temperature']
        for other in [learned for learned in self.state['learned'] if learned != task]:
            now = self.logits(parameters, other, batch.images) / temperature
            old = parameters.at({name: tf.constant(value) for name, value in parameters.start.items()})
            then = tf.nn.softmax(self.logits(old, other, batch.images) / temperature)
            distance = tf.nn.softmax_cross_entropy_with_logits_v2(labels=tf.stop_gradient(then), logits=now)
            loss += self.setting.options['lwf_weight'] * temperature ** 2 * tf.reduce_mean(distance)
        return loss

    def end_task(self, task, before, values, graph):
        if task not in self.state['learned']:
            self.state['learned'].append(task)
        return values
