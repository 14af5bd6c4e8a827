"""A mechanism: one kernel that all tasks share, plus a low-rank update that each task has of its own.

    python3 main.py --plugin examples/low_rank.py --data_type DIGITS5 --model_type LASEM_LowRank --lifelong
"""
from classification.plugin import Mechanism, Option, mechanism, nn, number, tf, whole


@mechanism('LowRank', 'a shared kernel plus a low-rank update of the task\'s own', shared=('kernel', 'bias'),
           own=('left', 'right'), makes_kernels=True, options=(
               Option('rank', 2, whole(1), 'LowRank: rank of a task\'s update', flag='rank', stored=True),
               Option('update_decay', 1e-4, number(0), 'LowRank: weight of half the sum of its squares')))
class LowRank(Mechanism):
    """kernel = shared + left * right, as matrices [height * width * in, out]."""

    def update(self, task):
        """The task's own part, [height, width, in, out]; 0 at first, since `right` starts at zero."""
        height, width, inputs, outputs = self.spec.shape
        left = self.own(task, 'left', (height * width * inputs, self.options['rank']), nn.glorot_uniform)
        right = self.own(task, 'right', (self.options['rank'], outputs), nn.zeros)
        return tf.reshape(tf.matmul(left, right), self.spec.shape)

    def weights(self, task):
        kernel = self.shared('kernel', self.spec.shape, nn.truncated_normal)
        return kernel + self.update(task), self.shared('bias', self.spec.shape[-1:], nn.bias_value)

    def extra_loss(self, task):
        return self.options['update_decay'] * tf.nn.l2_loss(self.update(task))
