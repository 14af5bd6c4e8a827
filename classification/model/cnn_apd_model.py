"""APD: a layer's kernel is a shared one under a task's mask, plus the task's own sparse kernel.

Yoon et al., "Scalable and Order-robust Continual Learning with Additive Parameter Decomposition", ICLR 2020.
The mode of the authors' release is the mechanism AdditiveMasks under a fixed pattern; this file adds what the
paper says.
"""
from collections import OrderedDict

import numpy as np

from classification.model.cnn_baseline_model import FixedPattern
from classification.model.declare import method
from classification.model.mechanisms import Mechanism, without
from utils import utils_nn as nn
from utils.declarations import Option, number, one_of, whole, yes_or_no
from utils.lazy_tensorflow import tf
from utils.utils import tasks_in
from utils.utils_env_cl import APD_PAPER
from utils.utils_nn import assign, bias_value, truncated_normal, zeros

ADDITIVE, GROUP = 'additive', 'group'      # parts of variables' names


class SparseAdditive(Mechanism):
    """theta = sigma * sigmoid(v) + tau: v has one value per output channel, tau is sparse (the paper's eq. 1
    and 2).

    What the task kernels of a group have in common is stored once, as a part of the group (section 3.2), and
    added.

    Args:
        groups: dict task -> number of its group in this layer; a task without one is alone.
    Options: lambda1, below which an entry of tau counts as zero; apd_tau_start; apd_train_past_masks.
    """
    name = 'apd'

    def __init__(self, spec, layer, parameters, options, groups):
        super(SparseAdditive, self).__init__(spec, layer, parameters, options)
        self.groups = groups

    def sigma(self):
        """The shared kernel."""
        return self.shared('kernel', self.spec.shape, truncated_normal)

    def additive(self, task):
        """tau, the task's own kernel; learned tasks' are trained too."""
        sigma = self.sigma()

        def start(shape, state):
            return self.parameters.start[sigma.op.name]
        return self.parameters.own(self.layer, task, self.name, ADDITIVE, self.spec.shape,
                                   start if self.options['apd_tau_start'] == 'sigma' else zeros,
                                   trainable=True)

    def kernel(self, task, additive):
        """[height, width, in, out] with `additive` in the place of tau."""
        mask = self.parameters.own(self.layer, task, self.name, 'mask', self.spec.shape[-1:],
                                   truncated_normal,
                                   trainable=True if self.options['apd_train_past_masks'] else None)
        kernel = self.sigma() * tf.sigmoid(mask) + additive
        if task in self.groups:
            kernel += self.parameters.shared(self.layer, self.name, '%s%d' % (GROUP, self.groups[task]),
                                             self.spec.shape, zeros, trainable=False)
        return kernel

    def bias(self, task):
        """[out]."""
        return self.own(task, 'bias', self.spec.shape[-1:], bias_value)

    def weights(self, task):
        """(kernel, bias) that training sees."""
        return self.kernel(task, self.additive(task)), self.bias(task)

    def evaluated_weights(self, task):
        """(kernel, bias) with small entries of tau taken for zero."""
        additive = self.additive(task)
        large = tf.cast(tf.abs(additive) > self.options['lambda1'], additive.dtype)
        return self.kernel(task, additive * large), self.bias(task)


class AdditiveDecomposition(FixedPattern):
    """As in the paper: past tasks' kernels are corrected while the shared one moves, groups store what they
    share once.

    Entries of tau of at most lambda1 count as zero. The optimizer leaves entries that the loss does not need
    within about a learning rate of zero, so tau is only as sparse as it should be where lambda1 is a few
    times that rate.

    Options: lambda1, factor of the sum of |tau| over all tasks; lambda2, factor of half the sum of squared
    changes of past tasks' kernels; the rows of utils_env_cl.APD_PAPER.
    """
    networks_stay = False           # grouping kernels adds parameters

    def __init__(self, setting):
        super(AdditiveDecomposition, self).__init__(setting)
        # (variable that holds a past task's kernel as it was when this task began, the kernel)
        self.targets = []
        self.consolidates = False      # whether kernels are grouped when the running task ends
        self.shared = [layer for layer, letter in enumerate(self.pattern) if letter == 'S']
        self.state.update(consolidated=0, nonzeros={}, groups={str(layer): {} for layer in self.shared})

    @property
    def learned(self):
        """The tasks learned so far."""
        return [int(task) for task in self.state['patterns']]

    def mechanism(self, parameters, layer):
        groups = {int(task): group for task, group in self.state['groups'][str(layer)].items()}
        return SparseAdditive(self.net.layers[layer], 'conv%d' % layer, parameters, self.setting.options,
                              groups)

    # ---- training and evaluation ----

    def build(self, parameters, task, batch, phase=0):
        self.targets = []
        super(AdditiveDecomposition, self).build(parameters, task, batch, phase)

    def start_phase(self, graph, task, phase):
        kernels = graph.session.run([kernel for _, kernel in self.targets])
        assign(graph.session, OrderedDict((target, kernel) for (target, _),
                                          kernel in zip(self.targets, kernels)))

    def extra_losses(self, parameters, layer, task, probability, share):
        """The paper's eq. 3: tau sparse in every task, past tasks' kernels as they were.

        A known task that is trained again may change.
        """
        mechanism, options = self.mechanism(parameters, layer), self.setting.options
        past = [other for other in self.learned if other != task]
        loss = options['lambda1'] * tf.add_n([tf.reduce_sum(tf.abs(mechanism.additive(any_task)))
                                              for any_task in past + [task]])
        for other in past:
            kernel = mechanism.weights(other)[0]
            target = tf.Variable(tf.zeros(kernel.shape, kernel.dtype), trainable=False,
                                 name='apd_target/conv%d/task%d' % (layer, other))
            self.targets.append((target, kernel))
            loss += options['lambda2'] * tf.nn.l2_loss(target - kernel)
        return loss

    def evaluated(self, parameters, task):
        """One function per layer, with small entries of tau taken for zero."""
        return [nn.activation(self.mechanism(parameters, layer).evaluated_weights(task) if letter == 'S' else
                              self.layer_weights(parameters, layer, task, False), self.net.padding)
                for layer, letter in enumerate(self.pattern)]

    def layer_outputs(self, parameters, task, images):
        return nn.layer_maps(self.net, images, self.evaluated(parameters, task))

    # ---- the end of a task ----

    def phases(self, task, epochs):
        """After every few learned tasks a second phase without epochs, in whose graph the grouped kernels
        count."""
        learned, every = len(self._with(task)), self.setting.options['apd_consolidate_every']
        self.consolidates = bool(every) and learned % every == 0 and self.state['consolidated'] != learned
        return [epochs] + [0] * self.consolidates

    def _with(self, task):
        """The tasks learned so far and this one."""
        return list(OrderedDict.fromkeys(self.learned + [task]))

    def end_phase(self, task, phase, before, values, graph):
        if phase == 0 and self.consolidates:
            learned = self._with(task)
            return self.grouped(self.sparse(values, learned), learned, graph.parameters.draw)
        return values

    def end_task(self, task, before, values, graph):
        """Entries of tau that count as zero become zero."""
        self.remember(task, self.pattern)
        if self.consolidates:
            self.state['consolidated'] = len(self.learned)
        values = self.sparse(values, self.learned)
        for other in self.learned:
            self.state['nonzeros'][str(other)] = [
                int(np.count_nonzero(values[self.additive_name(layer, other)])) if layer in self.shared else 0
                for layer in range(len(self.pattern))]
        return values

    def sparse(self, values, tasks):
        """A copy of `values` in which the entries of these tasks' tau that count as zero are zero."""
        names = [self.additive_name(layer, task) for layer in self.shared for task in tasks]
        large = {name: np.abs(values[name]) > self.setting.options['lambda1'] for name in names}
        return dict(values, **{name: np.where(large[name], values[name], np.zeros_like(values[name]))
                               for name in names})

    def grouped(self, store, tasks, draw):
        """A store in which what the kernels of a group of these tasks have in common is one tensor."""
        count = 2 * (len(tasks) // self.setting.options['apd_consolidate_every'])
        for layer in self.shared:
            prefix, groups = 'conv%d/shared/apd/%s' % (layer, GROUP), self.state['groups'][str(layer)]
            full = np.stack([store[self.additive_name(layer, task)] +
                             (store['%s%d' % (prefix, groups[str(task)])] if str(task) in groups else 0)
                             for task in tasks])
            own, members, tensors = consolidate(full, count, self.setting.options['apd_consolidate_spread'],
                                                draw(prefix))
            store = without(store, prefix)
            store.update((self.additive_name(layer, task), kernel) for task, kernel in zip(tasks, own))
            store.update(('%s%d' % (prefix, group), tensor) for group, tensor in enumerate(tensors))
            self.state['groups'][str(layer)] = {str(task): group for task, group in zip(tasks, members)
                                                if group is not None}
        return store

    @staticmethod
    def additive_name(layer, task):
        """Name of tau in the store."""
        return 'conv%d/task%d/apd/%s' % (layer, task, ADDITIVE)

    def num_parameters(self, store):
        """A sparse kernel, a task's or a group's, counts with its entries that are not zero."""
        sparse = ('/apd/' + ADDITIVE, '/shared/apd/' + GROUP)
        return sum(int(np.count_nonzero(value)) if any(part in name for part in sparse) else value.size
                   for name, value in store.items())

    def extra(self, order):
        """apd_nonzeros [tasks, layers]: entries of each task's own kernels that are not zero, after the last
        task."""
        return {'apd_nonzeros': np.array([self.state['nonzeros'][str(task)]
                                          for task in tasks_in(order)])}


def consolidate(full, count, spread, state):
    """Parts task kernels into groups and takes out what a group has in common (section 3.2 of the paper).

    Args:
        full: [tasks, ...], one layer's kernels.
        count: number of groups, at most.
        spread: largest difference within a group at which an entry is still the same for all, as the middle
            of its range.
        state: RandomState of the grouping (k-means).
    Returns:
        (own [tasks, ...]: what is left to each task; group of each task, None for a task alone; one tensor
        per group).
    """
    from sklearn.cluster import KMeans  # takes a second that hardly any run needs
    rows = full.reshape(len(full), -1)
    count = min(count, len(np.unique(rows, axis=0)))
    labels = KMeans(n_clusters=count, n_init=10, random_state=state).fit(rows).labels_
    own, group_of, tensors = full.copy(), [None] * len(full), []
    for label in range(count):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            continue
        low, high = full[members].min(axis=0), full[members].max(axis=0)
        same = high - low <= spread
        own[members] = np.where(same, 0, full[members])
        for member in members:
            group_of[member] = len(tensors)
        tensors.append(np.where(same, (low + high) / 2, 0).astype(full.dtype))
    return own, group_of, tensors


def _in_paper(options):
    return options['apd_mode'] == 'paper'


@method('APD', 'additive parameter decomposition of the chosen layers', mechanism='apd', pattern='asked',
        joint=True,
        aliases=('Additive_param_decompose',), architecture='additive_param_decompose_cnn',
        paper='Yoon et al., ICLR 2020', mode_versions=('apd_mode', {'paper': 2}), options=(
            Option('apd_mode', 'published_code', one_of('published_code', 'paper'),
                   'APD: as in the authors\' release of LASEM, or as APD\'s paper says', 'apd_mode'),
            Option('apd_tau_start', APD_PAPER['apd_tau_start'], one_of('sigma', 'zeros'),
                   'APD, paper: what a task\'s kernel starts as', stored=True, when=_in_paper),
            Option('apd_train_past_masks', APD_PAPER['apd_train_past_masks'], yes_or_no(),
                   'APD, paper: past tasks\' masks are trained', stored=True, when=_in_paper),
            Option('apd_consolidate_every', APD_PAPER['apd_consolidate_every'], whole(0),
                   'APD, paper: tasks between consolidations; 0: never', stored=True, when=_in_paper),
            Option('apd_consolidate_spread', APD_PAPER['apd_consolidate_spread'], number(0),
                   'APD, paper: largest spread of an entry within a group that counts as shared', stored=True,
                   when=_in_paper)))
def additive_decomposition(setting):
    """The method in the mode that its options say."""
    return {'published_code': FixedPattern, 'paper': AdditiveDecomposition}[setting.options['apd_mode']](
        setting)
