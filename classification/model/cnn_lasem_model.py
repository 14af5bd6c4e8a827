"""LASEM: which layers a task shares is a latent variable, inferred by EM while the network trains.

Lee, Behpour & Eaton, "Sharing Less is More: Lifelong Learning in Deep Networks with Selective Layer
Transfer", ICML 2021. All patterns are evaluated in one graph: see `utils_nn.convolutional_part`.
"""
import numpy as np

from classification.model.declare import selection
from classification.model.search import PatternSearch
from utils import utils_nn as nn
from utils.declarations import Option, number, or_none, text, yes_or_no
from utils.lazy_tensorflow import tf
from utils.utils import UserError
from utils.utils_env_cl import MAX_PATTERNS, layer_groups, pattern_from_name, patterns_of
from utils.utils_nn import assign

PAPER = 'Lee, Behpour & Eaton, ICML 2021'
PRIOR = (
    Option('em_cnt_prior', False, yes_or_no(), 'LASEM: prior from counts of the patterns that won a batch',
           'em_cnt_prior'),
    Option('em_prior_init_cnt', 1., number(0, needed='a finite count of at least 0'),
           'LASEM with --em_cnt_prior: count that each pattern starts with', 'em_prior_init_cnt',
           needs='em_cnt_prior'),
    Option('reset_prior', False, yes_or_no(), 'LASEM: the prior starts anew at each epoch', 'reset_prior'))
GROUPS = Option('groups', None, or_none(text()),
                'LASEMG: sizes of the groups, like 2,1,1 (default: the table\'s, by --test_type)',
                'layer_groups', stored=lambda sizes: {'layer_group_config': list(sizes)},
                resolve=lambda sizes, at: layer_groups(sizes, at))


def histories(size):
    """What a search over patterns adds to a trial's result."""
    patterns = 2 ** len(size.options.get('groups', size.layers))
    return [(name, (size.epochs, patterns), np.float32)
            for name in ('history_net_prior', 'history_net_prior_in_epoch')]


def few_patterns(context):
    """A UserError if there are more patterns than can be searched."""
    patterns = 2 ** len(context.options.get('groups', range(context.depth)))
    if patterns > MAX_PATTERNS:
        raise UserError(
            '%s would search %d patterns of %d layers; at most %d are possible: use LASEMG, or '
            '--layer_groups with fewer groups' % (context.name, patterns, context.depth, MAX_PATTERNS))


def single_layers(context):
    """What to know where each group is one layer: it is LASEM."""
    if set(context.options['groups']) == {1}:
        return ('%s: each layer is a group by itself, so the numbers are those of %s; --layer_groups makes '
                'larger groups' % (context.name, context.name.replace('LASEMG', 'LASEM')))
    return None


@selection('LASEMG', 'group-based LASEM', aliases=('LASEM_GROUP',), paper=PAPER, options=PRIOR + (GROUPS,),
           check=few_patterns, remark=single_layers, file_names='lasem', fields=histories)
class GroupedLasem(PatternSearch):
    """LASEM over patterns that are constant within groups of layers.

    Options: groups; em_cnt_prior and em_prior_init_cnt (prior from counts of winners, each starting at this
    count); reset_prior (the accumulators restart at each epoch).
    """

    def __init__(self, setting):
        super(GroupedLasem, self).__init__(setting)
        self.groups = self.layer_groups(setting)
        self.patterns = patterns_of(self.groups)
        self.shares = np.array([[letter == 'S' for letter in pattern] for pattern in self.patterns])

    def layer_groups(self, setting):
        """Sizes of the groups."""
        return tuple(setting.options['groups'])

    def copies(self):
        """Patterns that begin alike have their first layers in common."""
        return [len({pattern[:layer + 1] for pattern in self.patterns})
                for layer in range(len(self.net.layers))]

    # ---- one EM step in one session call ----

    def build_search(self, parameters, task, batch):
        self._bookkeeping(parameters.dtype)
        losses, likelihood = self._losses(parameters, task, batch)
        self.posterior = tf.stop_gradient(self.expectation(likelihood))
        # [patterns, layers]
        shared = tf.constant(self.shares, parameters.dtype)
        probability = tf.tensordot(self.posterior, shared, 1)
        share = tf.tensordot(self.posterior, shared / tf.maximum(tf.reduce_sum(shared, 1, keepdims=True), 1.),
                             1)
        # its gradient is the posterior-weighted sum of gradients
        self.loss = tf.reduce_sum(self.posterior * losses)
        for layer in range(len(self.net.layers)):
            self.loss += self.extra_losses(parameters, layer, task, probability[layer], share[layer])
        update = nn.minimize(self.loss, parameters.trained, batch.learning_rate)
        with tf.control_dependencies([update]):
            self.update = self._count(self.posterior)

    def _losses(self, parameters, task, batch):
        """(losses with dropout [patterns], likelihood without [patterns]) of every pattern on the batch."""
        branches, layer = [], 0
        for size in self.groups:
            branches.append([[nn.activation(self.layer_weights(parameters, place, task, shared),
                                            self.net.padding)
                              for place in range(layer, layer + size)] for shared in (True, False)])
            layer += size
        # [patterns * n, features]
        features = nn.convolutional_part(self.net, batch.images, branches)
        labels = tf.tile(batch.labels, [len(self.patterns)])

        def by_pattern(values):
            return tf.reduce_mean(tf.reshape(values, [len(self.patterns), batch.size]), axis=1)

        clean = nn.cross_entropy(self.head(parameters, task, tf.stop_gradient(features)), labels)
        dropped = nn.cross_entropy(self.head(parameters, task,
                                             nn.dropout(features, self.setting.keep, batch.seed)), labels)
        # exp(-cross-entropy): the probability of the truth
        return by_pattern(dropped), by_pattern(tf.exp(-clean))

    def expectation(self, likelihood):
        """Posterior of the patterns: prior x likelihood, normalised."""
        weight = self.prior * likelihood
        return weight / (tf.reduce_sum(weight) + 1e-30)

    # ---- prior and its histories ----

    def _bookkeeping(self, dtype):
        def variable(name, shape):
            return tf.Variable(tf.zeros(shape, dtype), trainable=False, name='lasem/' + name)
        patterns = [len(self.patterns)]
        self.prior = variable('prior', patterns)
        self.total, self.epoch_total = variable('total', patterns), variable('epoch_total', patterns)
        self.shared_now = tf.gather(tf.constant(self.shares), tf.argmax(self.prior))

    def _count(self, posterior):
        """Adds a posterior (or its winner) to the accumulators and makes the prior their mean."""
        added = posterior
        if self.setting.options['em_cnt_prior']:
            added = tf.one_hot(tf.argmax(posterior), len(self.patterns), dtype=posterior.dtype)
        total = self.total.assign_add(added)
        with tf.control_dependencies([self.epoch_total.assign_add(added)]):
            return self.prior.assign(total / tf.reduce_sum(total))

    def _start_counts(self):
        return np.full(len(self.patterns), self.setting.options['em_prior_init_cnt']
                       if self.setting.options['em_cnt_prior'] else 0.)

    def _restart(self, session):
        uniform = np.full(len(self.patterns), 1. / len(self.patterns))
        assign(session, {self.prior: uniform, self.total: self._start_counts()})

    def start_phase(self, graph, task, phase):
        if task == self.searching:
            self._restart(graph.session)

    def start_epoch(self, graph, task):
        if task == self.searching:
            assign(graph.session, {self.epoch_total: self._start_counts()})
            if self.setting.options['reset_prior']:
                self._restart(graph.session)

    def end_epoch(self, graph, task, last):
        if task != self.searching:
            unknown = np.full(len(self.patterns), np.nan, np.float32)
            return {'history_net_prior': unknown, 'history_net_prior_in_epoch': unknown}
        prior, in_epoch = graph.session.run([self.prior, self.epoch_total])
        return {'history_net_prior': prior.astype(np.float32),
                'history_net_prior_in_epoch': (in_epoch / in_epoch.sum()).astype(np.float32)}


@selection('LASEM', 'LASEM: EM over all patterns', paper=PAPER, options=PRIOR, check=few_patterns,
           fields=histories)
class Lasem(GroupedLasem):
    """LASEM over all patterns: every layer is a group of its own."""

    def layer_groups(self, setting):
        return (1,) * len(setting.net.layers)


@selection('LASEM_fixed', 'LASEM with given probabilities of the patterns', paper=PAPER, check=few_patterns,
           file_names='lasem', fields=histories,
           constants=(('em_cnt_prior', False), ('em_prior_init_cnt', 1.), ('reset_prior', False)),
           options=(Option('favoured', 'top1', text(),
                           'LASEM_fixed: the favoured pattern, as in --transfer_config',
                           'em_fix_maxC', stored=True, resolve=lambda name,
                           at: pattern_from_name(name, at.depth, 'em_fix_maxC')),
                    Option('em_maxP', 0.9, number(0, 1, 'a probability between 0 and 1'),
                           'LASEM_fixed: probability of the favoured pattern; the others share the rest',
                           'em_maxP', stored=True)))
class FixedLasem(Lasem):
    """LASEM_fixed: the posterior is given, em_maxP for one pattern and the rest evenly for the others; no
    E-step.

    Options: favoured, the pattern; em_maxP.
    """

    def expectation(self, likelihood):
        return self._given(likelihood.dtype)

    def _given(self, dtype):
        others = (1. - self.setting.options['em_maxP']) / (len(self.patterns) - 1)
        return tf.constant([self.setting.options['em_maxP'] if pattern == self.setting.options['favoured']
                            else others
                            for pattern in self.patterns], dtype)
