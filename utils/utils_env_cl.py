"""Every hyper-parameter of the data sets and the methods, as tables: one row, one fact to check against the
paper.

Nothing here imports TensorFlow, so that `--help`, `--list` and a wrong flag answer at once.
"""
import itertools
from collections import OrderedDict
from typing import NamedTuple, Tuple

from utils.utils import UserError


class Training(NamedTuple):
    """How fast and how long one task is learned."""
    lr: float              # at epoch 0; at epoch e of the whole run it is lr / (1 + lr_decay * e)
    lr_decay: float
    patience: int          # P of the published early stopping
    epochs: int            # epochs a task is given
    batch_size: int = 10
    improvement: float = 1.002      # validation accuracy must pass this times the best to count as better
    patience_multiplier: float = 1.5


TRAINING = {      # by family of data sets
    'mnist5':     Training(lr=1e-3, lr_decay=1 / 250., patience=500, epochs=100),
    'mnist10':    Training(lr=1e-3, lr_decay=1 / 250., patience=500, epochs=50),
    'fashion':    Training(lr=1e-3, lr_decay=1 / 250., patience=500, epochs=100),
    'cifar10_5':  Training(lr=2.5e-4, lr_decay=1 / 1000., patience=2000, epochs=400, batch_size=20),
    'cifar10_10': Training(lr=2.5e-4, lr_decay=1 / 1000., patience=2000, epochs=200, batch_size=20),
    'cifar100':   Training(lr=1e-4, lr_decay=1 / 4000., patience=2000, epochs=2000),
    'officehome': Training(lr=2e-5, lr_decay=1e-4, patience=1000, epochs=1000, batch_size=16),
    'stl10':      Training(lr=1e-4, lr_decay=0., patience=500, epochs=500),
    'digits5':    Training(lr=1e-3, lr_decay=1 / 250., patience=50, epochs=50),
}
KEEP_PROBABILITY = 0.5     # of dropout on the features before the head, in training only


class Network(NamedTuple):
    """The convolutional network of a data set, input side first; stride 1 everywhere."""
    kernels: Tuple[int, ...]
    channels: Tuple[int, ...]
    pools: Tuple[int, ...]            # max-pool size and stride; 1: none
    hidden: Tuple[int, ...]           # hidden fully connected layers of a task's head
    df_knowledge: Tuple = ()          # DF-CNN, per layer (h, c): knowledge base [1, h, h, c]
    df_tensor: Tuple = ()             # DF-CNN, per layer (t, s): deconvolution filter [t, t, s, c]


def _cifar(depth):
    knowledge = ((2, 16), (2, 24), (2, 32), (2, 36), (2, 64), (2, 72), (2, 72), (2, 72))
    tensor = ((3, 24), (3, 48), (3, 64), (3, 72), (3, 128), (3, 144), (3, 144), (3, 144))
    return Network(kernels=(3,) * depth, channels=(32, 32, 64, 64, 128, 128, 128, 128)[:depth],
                   pools=(1, 2, 1, 2, 1, 2, 1, 2)[:depth], hidden=(64,),
                   df_knowledge=knowledge[:depth], df_tensor=tensor[:depth])


_MNIST5 = Network(kernels=(5, 5), channels=(32, 64), pools=(2, 2), hidden=(32,),
                  df_knowledge=((3, 12), (3, 24)), df_tensor=((3, 24), (3, 48)))

NETWORKS = OrderedDict([      # by (family, number of convolution layers); a family's first row is its default
    (('mnist5', 2), _MNIST5),
    (('mnist10', 2), _MNIST5._replace(df_knowledge=((3, 12), (3, 40)), df_tensor=((3, 24), (3, 64)))),
    (('fashion', 4), _cifar(4)),
    (('cifar10_5', 4), _cifar(4)),
    (('cifar10_10', 4), _cifar(4)),
    (('cifar100', 4), _cifar(4)),
    (('cifar100', 6), _cifar(6)),
    (('cifar100', 8), _cifar(8)),
    (('cifar100', 17), Network(kernels=(7,) + (3,) * 16, channels=(64,) * 5 + (128,) * 4 + (256,) * 4 + (512,)
                               * 4,
                               pools=(2, 1, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1), hidden=(1000,))),
    (('officehome', 4), Network(kernels=(11, 5, 3, 3), channels=(64, 256, 256, 256), pools=(3, 3, 2, 2),
                                hidden=(256, 64), df_knowledge=((6, 24), (3, 64), (2, 64), (2, 64)),
                                df_tensor=((3, 48), (3, 128), (3, 128), (3, 128)))),
    (('officehome', 6), Network(kernels=(11, 5, 3, 3, 3, 3), channels=(64,) + (256,) * 5,
                                pools=(3, 3, 1, 2, 1, 2),
                                hidden=(256, 64), df_knowledge=((6, 24), (3, 64)) + ((2, 72),) * 4,
                                df_tensor=((5, 48), (3, 128)) + ((3, 144),) * 4)),
    (('officehome', 8), Network(kernels=(7, 7, 5, 5, 3, 3, 3, 3),
                                channels=(32, 32, 64, 64, 128, 128, 256, 256),
                                pools=(1, 3, 1, 3, 1, 2, 1, 2), hidden=(256, 64),
                                df_knowledge=((4, 12), (4, 24), (3, 32), (3, 48), (2, 64), (2, 72), (2, 72),
                                              (2, 72)),
                                df_tensor=((3, 24), (3, 48), (3, 64), (3, 96), (3, 128)) + ((3, 144),) * 3)),
    (('stl10', 6), Network(kernels=(3,) * 6, channels=(32, 32, 64, 64, 128, 128), pools=(1, 3, 1, 3, 1, 3),
                           hidden=(128, 16),
                           df_knowledge=((2, 12), (2, 24), (2, 32), (2, 48), (2, 64), (2, 96)),
                           df_tensor=((3, 24), (3, 48), (3, 64), (3, 96), (3, 128), (3, 192)))),
    (('stl10', 9), Network(kernels=(3,) * 9, channels=(32,) * 3 + (64,) * 3 + (128,) * 3,
                           pools=(1, 1, 3, 1, 1, 3, 1, 1, 3), hidden=(128, 16),
                           df_knowledge=((2, 12), (2, 24), (2, 24), (2, 32), (2, 48), (2, 48), (2, 64),
                                         (2, 96), (2, 96)),
                           df_tensor=((3, 24), (3, 48), (3, 48), (3, 64), (3, 96), (3, 96), (3, 128),
                                      (3, 192), (3, 192)))),
    (('digits5', 4), Network(kernels=(3,) * 4, channels=(16, 16, 32, 32), pools=(1, 2, 1, 2), hidden=(32,),
                             df_knowledge=((2, 8), (2, 8), (2, 12), (2, 12)),
                             df_tensor=((3, 12), (3, 12), (3, 16), (3, 16)))),
])
# The authors' release gives the TF family a smaller head on this data set; by (family, data set).
TF_HIDDEN = {('stl10', 'STL10_20t'): (128,)}
# It gives DEN, whose hidden layers are shared, other ones on these networks; by (family, layers).
DEN_HIDDEN = {('cifar10_5', 4): (128,), ('cifar10_10', 4): (128,), ('cifar100', 4): (128,)}

# --skip_connect_test_type: pairs (i, o); the pooled input of layer i is added to the activated output of
# layer o.
SKIP_CONNECTIONS = {
    ('cifar100', 4): {1: ((1, 1),), 2: ((3, 3),), 3: ((1, 1), (3, 3))},
    ('officehome', 6): {1: ((5, 5),), 2: ((2, 2), (3, 3), (4, 4)), 3: ((4, 4), (5, 5)), 4: ((2, 2), (3, 3)),
                        5: ((3, 3), (4, 4), (5, 5)), 6: ((2, 2),), 7: ((3, 3), (5, 5)), 8: ((2, 2), (4, 4)),
                        9: ((2, 2), (3, 3), (4, 4), (5, 5))},
    ('officehome', 8): {1: ((1, 1), (3, 3), (5, 5), (7, 7))},
}
ALWAYS_SKIPPED = {('cifar100', 17): ((1, 2), (3, 4), (7, 8), (11, 12), (15, 16))}

# Row: --test_type // 5. By number of convolution layers.
TRANSFER_CONFIGURATIONS = {
    2: ('all', 'top1', 'bottom1'),
    4: ('all', 'top1', 'top2', 'top3', 'bottom1', 'bottom2', 'bottom3', 'alternating', 'STST'),
    6: ('all', 'top1', 'top2', 'top3', 'top4', 'top5', 'bottom1', 'bottom2', 'bottom3', 'bottom4', 'bottom5',
        'alternating'),
    8: ('all', 'top2', 'top4', 'top6', 'bottom2', 'bottom4', 'bottom6', 'alternating', 'STSTSTST'),
    9: ('all', 'top3', 'top6', 'bottom3', 'bottom6', 'alternating'),
    17: ('all', 'top4', 'top8', 'top12', 'bottom5', 'bottom9', 'bottom13', 'alternating'),
}
# Office-Home with 6 layers never shares the first two layers below --test_type 45.
TRANSFER_CONFIGURATIONS_OF = {
    ('officehome', 6): ('TTSSSS', 'TTTTTS', 'TTTTSS', 'TTTSSS', 'TTSTTT', 'TTSSTT', 'TTSSST', 'TTTSTS',
                        'TTSTST')
                       + TRANSFER_CONFIGURATIONS[6][9:],
}

# Images per session call in evaluation, by the largest image height; a GPU takes a multiple.
EVALUATION_BATCH = ((8, 500), (32, 100), (float('inf'), 50))
EVALUATION_BATCH_GPU = 4
# Memory in which a trial keeps maps of layers that are not trained any more.
ACTIVATION_BYTES = 2 ** 30


# Hyper-parameters of the mechanisms; row: --test_type % 5.
TF_AUXILIARY_WEIGHT = (0.1, 0.05, 0.01, 0.005, 0.001)
# knowledge base, tensors
DFCNN_REGULARIZATION = ((1e-7, 1e-7), (1e-7, 1e-9), (1e-7, 1e-11), (1e-9, 1e-9), (1e-9, 1e-11))
APD_LAMBDA1, APD_LAMBDA2 = 4e-4, 100.
APD_STEPS = 4.      # --apd_mode paper: lambda1 is at least this many learning rates, above RMSProp's jitter
EWC_MULTIPLIER = (1e-3, 1., 1e3, 1e5, 1e7)      # of the penalty; row: --test_type
# ewc_mode: 'separate', a penalty per task, or 'online', one with decayed precision (times ewc_gamma per
# task). ewc_shared_fc: hidden fully connected layers are shared too. ewc_fisher_labels: 'exact', the
# expectation over the model's classes; 'sample', one drawn from the model; 'true', the data's.
# ewc_fisher_samples: images; None: the training set.
EWC = OrderedDict([('ewc_mode', 'separate'), ('ewc_gamma', 1.), ('ewc_shared_fc', False),
                   ('ewc_fisher_labels', 'exact'), ('ewc_fisher_samples', None)])
PROGNN_SCALE = (1., 2.)         # of the dimension reduction; row: --test_type
APD_PAPER = dict(                        # --apd_mode paper, beside lambda1 and lambda2
    apd_tau_start='sigma',               # a task's kernel starts as a copy of the shared one; or 'zeros'
    apd_train_past_masks=True,           # False: past tasks' masks stay as they are
    apd_consolidate_every=5,             # tasks; 0: never
    # largest spread of an entry within a group that still counts as shared
    apd_consolidate_spread=1e-2)
CHANNEL_GATE = {                         # by --channel_gate_mode
    'published_code': dict(sparsity_loss_weight=100., gating_module_size=256, gating_temperature=0.1),
    'paper': dict(
        channel_gate_hidden=16,
        # gates start open: from half open all close before anything is learned
        channel_gate_bias=2.,
        channel_gate_temperature=2 / 3.,     # of the sigmoid that gradients see
        # weight of the share of open gates; this and the next two are chosen here
        channel_gate_sparsity=1.,
        channel_gate_sparsity_start=0.2,     # share of a task's epochs before that weight acts
        # a kernel that fires on a larger share of the validation images is relevant
        channel_gate_relevance=0.5),
}
MAX_PATTERNS = 512

# DEN (Yoon et al. 2018). Names without the prefix den_ are the authors' release's. It has l1_lambda 1e-6 per
# step, l2_lambda 0.01 (place unknown: in the loss it kills the network), gl_lambda 0.8 and loss_threshold
# 0.01; here stand the authors' l2_lambda and values chosen on validation data.
DEN = OrderedDict([
    # k, units added to each hidden layer; DEN_EXPANSION has other values
    ('den_expansion', 16),
    # of a task's epochs: head, sub-network, expansion, split
    ('den_stage_fractions', (0.15, 0.35, 0.25, 0.25)),
    # 'l2': length of a unit's change; 'cosine': of its weights before and after
    ('den_drift_metric', 'l2'),
    ('den_split', True),                      # False: no unit is split
    ('den_expand', 'loss'),                   # 'loss': if the loss is high; 'always', 'never'
    ('l1_lambda', 0.1),                       # shrinks weights by this much, see den_l1_mode
    # in all steps of a task; 'per_step'; 'lr_scaled': per step x learning rate
    ('den_l1_mode', 'per_task'),
    ('den_l1_cap', 0.1),                      # 'per_task': a step takes at most this x learning rate
    ('den_edge_group_l1', True),              # where an edge has several weights it shrinks as a whole
    ('den_zero_eps', 2.),                     # edges below it become 0 when a stage ends, see den_zero_mode
    ('den_zero_mode', 'lr_scaled'),           # x learning rate, an optimizer's step; 'absolute'
    ('l2_lambda', 1e-4),                      # of half the sum of squared weights, in the loss
    ('reg_lambda', 0.5),                      # of half the sum of squared changes since the previous task
    ('den_reg_in_retraining', True),          # ... while the sub-network is retrained, too
    ('gl_lambda', 2.),                        # of the sum of the lengths of new units' incoming weights
    # tau: units are added above it; the authors' 0.01 is a mean over ten outputs
    ('loss_threshold', 0.1),
    ('den_new_to_old_start', 'random'),       # 'zeros': at first old units do not read new ones
    ('den_optimizer', 'adam'),                # or 'rmsprop'
    ('den_dropout', False),
])
DEN_EXPANSION = {'officehome': 32}            # by family
# A unit is split if it moved farther than this (l2), or if the cosine is below it; (convolutions, fully
# connected layers).
DEN_DRIFT_THRESHOLD = {'l2': (0.05, 0.05), 'cosine': (0.98, 0.01)}

# Sizes of LASEMG's layer groups, by depth; row: --test_type // 5 (one row: whatever --test_type says).
LAYER_GROUPS = {
    2: ((1, 1),),
    4: ((1, 1, 1, 1),),
    6: ((3, 3),),
    8: ((2, 2, 2, 2),),
    9: ((3, 3, 3),),
    17: ((5, 4, 4, 4), (5, 4, 4, 2, 2), (5, 4, 2, 2, 2, 2), (5,) + (2,) * 6, (3,) + (2,) * 7),
}


def evaluation_batch(height):
    """Images of this height per session call in evaluation on a CPU."""
    return next(batch for most, batch in EVALUATION_BATCH if height <= most)


def listed(sizes):
    """'128,16'."""
    return ','.join(map(str, sizes))


def groups_of(depth):
    """The rows of layer groups of a depth; by default every layer is a group."""
    return LAYER_GROUPS.get(depth, ((1,) * depth,))


def layer_groups(asked, context):
    """Sizes of the groups: `asked` ('2,1,1', from --layer_groups) or, for None, the table's.

    Args:
        context: declarations.Context.
    Raises:
        UserError: the sizes do not add up to the depth, or the table has no row.
    """
    depth, rows = context.depth, groups_of(context.depth)
    if asked is None:
        row = context.test_type // 5 if len(rows) > 1 else 0
        if not 0 <= row < len(rows):
            raise UserError(
                '--test_type %d has no layer groups for %d layers; choose 0 to %d or use --layer_groups'
                % (context.test_type, depth, 5 * len(rows) - 1))
        return rows[row]
    sizes = [_count(size.strip()) for size in asked.split(',')]
    if min(sizes) < 1 or sum(sizes) != depth:
        raise UserError('--layer_groups %s: sizes of groups are needed that add up to %d layers, like %s'
                        % (asked, depth, listed(rows[0])))
    return tuple(sizes)


def _count(text):
    """A number of layers; 0 for what is none."""
    return int(text) if text.isdecimal() and len(text) <= 3 else 0


def pattern_from_name(name, depth, option='transfer_config'):
    """Which layers are shared, e.g. 'TTSS' (S: shared; leftmost: the layer next to the image).

    Args:
        name: 'all', 'none', 'topK', 'bottomK', 'alternating' (layers 1, 3, 5, ...), or one letter S or T per
            layer.
        depth: number of convolution layers.
    Raises:
        UserError: the name means nothing at this depth.
    """
    word = name.lower()
    if word in ('all', 'none'):
        return ('S' if word == 'all' else 'T') * depth
    if word in ('alternating', 'alt'):
        return ('TS' * depth)[:depth]
    for prefix in ('top', 'bottom'):
        shared = _count(word[len(prefix):])
        if word.startswith(prefix) and 1 <= shared < depth:
            return 'T' * (depth - shared) + 'S' * shared if prefix == 'top' else 'S' * shared + 'T' * (
                depth - shared)
    if len(word) == depth and set(word) <= set('st'):
        return word.upper()
    raise UserError(
        '--%s %s is not known for %d layers; choose all, none, top1..top%d, bottom1..bottom%d, alternating, '
        'or %d letters S (shared) and T (task-specific)'
        % (option, name, depth, depth - 1, depth - 1, depth))


def patterns_of(groups):
    """Every pattern that is constant within the groups, in the published order.

    Args:
        groups: numbers of layers, input side first; (1, 1, 1) for no grouping.
    Returns:
        list of 2^len(groups) texts; index = sum_g 2^g * [group g is task-specific], so 'SSS' is first.
    """
    choices = itertools.product('ST', repeat=len(groups))
    return [''.join(letter * size for letter, size in zip(reversed(choice), groups)) for choice in choices]


def pattern_names(family, depth):
    """The names in the order of `--test_type // 5`."""
    every = ('all',) + tuple('%s%d' % (end, count) for end in ('top', 'bottom')
                             for count in range(1, depth)) + ('alternating',)
    return TRANSFER_CONFIGURATIONS_OF.get((family, depth), TRANSFER_CONFIGURATIONS.get(depth, every))


def pattern_from_test_type(test_type, family, depth):
    """The pattern that a `--test_type` number means.

    Raises:
        UserError: outside the table; names the valid range.
    """
    names = pattern_names(family, depth)
    if not 0 <= test_type < 5 * len(names):
        raise UserError('--test_type %d has no transfer configuration for %d layers; choose 0 to %d '
                        '(--list shows what they mean) or use --transfer_config'
                        % (test_type, depth, 5 * len(names) - 1))
    return pattern_from_name(names[test_type // 5], depth)


def network_of(family, data_type, depth):
    """The network row of a data set; a model may have another one (declare.Model.network).

    Args:
        depth: number of convolution layers, or -1 for the family's default.
    Returns:
        (depth, Network).
    Raises:
        UserError: no such depth for this data set; names the valid ones.
    """
    depths = [row_depth for row_family, row_depth in NETWORKS if row_family == family]
    depth = depths[0] if depth == -1 else depth
    if depth not in depths:
        raise UserError('--num_clayers %d is not defined for %s; choose one of: %s'
                        % (depth, data_type, ', '.join(map(str, depths))))
    return depth, NETWORKS[family, depth]


def skip_connections(family, depth, preset):
    """The pairs (i, o) of a `--skip_connect_test_type` preset, () for none.

    Raises:
        UserError: the preset is not defined for this network.
    """
    if (family, depth) in ALWAYS_SKIPPED:
        return ALWAYS_SKIPPED[family, depth]
    rows = SKIP_CONNECTIONS.get((family, depth), {})
    if preset and preset not in rows:
        raise UserError('--skip_connect_test_type %d is not defined for this network; choose one of: %s'
                        % (preset, ', '.join(str(row) for row in [0] + sorted(rows))))
    return rows.get(preset, ())


class ConvSpec(NamedTuple):
    """One convolution block: convolution, bias, ReLU, skip, max-pool."""
    kernel: int
    in_channels: int
    out_channels: int
    pool: int = 1
    df_knowledge: Tuple[int, int] = (0, 0)
    df_tensor: Tuple[int, int] = (0, 0)

    @property
    def shape(self):
        """Of the kernel: [height, width, in, out]."""
        return (self.kernel, self.kernel, self.in_channels, self.out_channels)


class Net(NamedTuple):
    """The network of one experiment, all sizes resolved."""
    image_shape: Tuple[int, int, int]
    layers: Tuple[ConvSpec, ...]
    hidden: Tuple[int, ...]
    padding: str                          # 'SAME' or 'VALID', of convolutions and pools
    skips: Tuple[Tuple[int, int], ...]

    @property
    def output_sizes(self):
        """(height, width) behind each layer."""
        sizes, (height, width) = [], self.image_shape[:2]
        for layer in self.layers:
            for window, stride in ((layer.kernel, 1), (layer.pool, layer.pool)):
                height, width = [-(-(size if self.padding == 'SAME' else size - window + 1) // stride)
                                 for size in (height, width)]
            sizes.append((height, width))
        return sizes

    @property
    def map_sizes(self):
        """How many values each layer gives for an image."""
        return [height * width * layer.out_channels
                for (height, width), layer in zip(self.output_sizes, self.layers)]

    def uncrossed(self, layers):
        """The most layers, at most `layers`, after which the network can be cut:
        no skip connection passes over the cut."""
        while any(start < layers <= end for start, end in self.skips):
            layers -= 1
        return layers

    @property
    def num_features(self):
        """Length of the flattened output of the last block."""
        height, width = self.output_sizes[-1]
        return height * width * self.layers[-1].out_channels


def build_net(network, image_shape, padding='SAME', skips=()):
    """A Net from a row of NETWORKS.

    Raises:
        UserError: a layer shrinks to nothing, or a skip connection joins maps of different sizes.
    """
    depth = len(network.kernels)
    inputs = (image_shape[2],) + tuple(network.channels[:-1])
    layers = tuple(ConvSpec(*row) for row in zip(
        network.kernels, inputs, network.channels, network.pools,
        network.df_knowledge or ((0, 0),) * depth, network.df_tensor or ((0, 0),) * depth))
    net = Net(tuple(image_shape), layers, tuple(network.hidden), padding,
              tuple(tuple(pair) for pair in skips))
    for layer, size in enumerate(net.output_sizes):
        if min(size) < 1:
            raise UserError(
                'layer %d shrinks images of %dx%d to nothing with %s padding; leave --cnn_padtype_valid away'
                % (layer, image_shape[0], image_shape[1], padding))
    if net.skips and padding != 'SAME':
        raise UserError('skip connections need SAME padding; leave --cnn_padtype_valid away')
    return net
