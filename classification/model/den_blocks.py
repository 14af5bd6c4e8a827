"""Structure of a network that grows: which weights a unit has, what it reads, what is added, split and
deleted.

Yoon et al., "Lifelong Learning with Dynamically Expandable Networks", ICLR 2018. NumPy only. Everything works
on the block view [m, n_in, n_out] of a weight array: positions, units that are read, units that read. A unit
is an output channel of a convolution or a neuron; edge (i, j) is the vector [:, i, j], present if an entry is
not 0. Layers count from 0, units are only ever appended, and the head reads the last hidden layer.
"""
from math import erf
from typing import Any, List, NamedTuple

import numpy as np

ALMOST_NOTHING = 1e-12      # a norm up to here says nothing of a direction


class Layer(NamedTuple):
    """A layer of any width."""
    name: str               # 'conv0', 'fc1'
    # m: taps of a kernel; pixels of the flattened map; 1 between fully connected layers
    positions: int
    kernel: int = 0         # its size; 0: fully connected

    def shape(self, inputs, outputs):
        """Of the weights as TensorFlow wants them."""
        if self.kernel:
            return (self.kernel, self.kernel, inputs, outputs)
        return (self.positions * inputs, outputs)


class Body(NamedTuple):
    """The weights of one task's network."""
    blocks: List[Any]       # of the hidden layers, [m_l, n_{l-1}, n_l] each
    biases: List[Any]       # [n_l] each
    head: Any               # [m, n_H, classes]

    @property
    def widths(self):
        """Units of each hidden layer."""
        return [len(bias) for bias in self.biases]


def layers_of(net):
    """The hidden layers of a utils_env_cl.Net, input side first, and the head."""
    height, width = net.output_sizes[-1]
    positions = (height * width,) + (1,) * len(net.hidden)
    return [Layer('conv%d' % place, spec.kernel ** 2, spec.kernel) for place,
            spec in enumerate(net.layers)] + [
        Layer('fc%d' % place, size) for place, size in enumerate(positions)]


def to_block(weights, positions, reshape=np.reshape):
    """[m, in, out] of weights [height, width, in, out] or [m * in, out]; row p * in + c is position p, unit
    c.

    Args:
        reshape: np.reshape or tf.reshape.
    """
    return reshape(weights, (positions, -1, int(weights.shape[-1])))


def from_block(block, kernel=0, reshape=np.reshape):
    """The weights that a block [m, in, out] is the view of; kernel 0: those of a fully connected layer."""
    inputs, outputs = int(block.shape[1]), int(block.shape[2])
    return reshape(block, (kernel, kernel, inputs, outputs) if kernel
                   else (int(block.shape[0]) * inputs, outputs))


# ---- which edges there are ----

def present(block):
    """bool [in, out]: edges that are not 0."""
    return (block != 0).any(axis=0)


def without_small_edges(block, least):
    """A copy in which the edges whose entries are all smaller than `least` are 0."""
    return np.where(np.abs(block).max(axis=0) < least, 0, block).astype(block.dtype)


def density(block):
    """Share of the edges that are present, in [0, 1]."""
    return float(present(block).mean())


def fresh_density(positions, least, deviation):
    """Share of the edges of fresh weights, drawn within two standard deviations, that are not below
    `least`."""
    small = min(erf(least / deviation / 2 ** 0.5) / erf(2 ** 0.5), 1.)
    return 1. - small ** positions


def reached(blocks, top):
    """Units that can reach the units `top` of the last layer over present edges.

    Args:
        top: bool [n_H].
    Returns:
        list of bool arrays: of the image's channels, then of each layer.
    """
    units = [np.array(top, bool)]
    for block in reversed(blocks):
        units.insert(0, present(block)[:, units[0]].any(axis=1))
    return units


def trace(blocks, top):
    """Units to retrain: those that can reach the units `top`, and all from the first layer down where there
    are none (section 3.1, algorithm 2).

    Returns:
        (list of bool arrays: of the image's channels, always all, then of each hidden layer; how many of the
        hidden layers, counted from the image, had none).
    """
    selected = reached(blocks, top)
    empty = sum(not units.any() for units in selected[1:])
    for units in selected[:empty + 1]:
        units[:] = True
    return selected, empty


# ---- expansion (section 3.2, algorithm 3) ----

def grow(block, columns, rows, concatenate=np.concatenate):
    """A block [m, o_in, o_out] with new units.

    Args:
        columns: [m, o_in + k_in, k]: what the new units read, of old and new.
        rows: [m, k_in, o_out]: what the old units read of the new ones below; k_in may be 0.
        concatenate: np.concatenate or tf.concat.
    """
    return concatenate([concatenate([block, rows], 1), columns], 2)


def _dead(body, layer, old):
    """Units born in this task, numbers from `old` on, that compute or reach nothing."""
    following = (body.blocks + [body.head])[layer + 1]
    silent = ~body.blocks[layer].any(axis=(0, 1)) & (body.biases[layer] == 0)
    unread = ~following.any(axis=(0, 2))
    return np.flatnonzero((silent | unread) & (np.arange(len(silent)) >= old))


def _delete(body, layer, units):
    blocks, biases, head = list(body.blocks), list(body.biases), body.head
    blocks[layer], biases[layer] = np.delete(blocks[layer], units, axis=2), np.delete(biases[layer], units)
    if layer + 1 < len(blocks):
        blocks[layer + 1] = np.delete(blocks[layer + 1], units, axis=1)
    else:
        head = np.delete(head, units, axis=1)
    return Body(blocks, biases, head)


def prune(body, old_widths):
    """Deletes new units that compute nothing (no incoming edge, bias 0) or that nothing reads, until there
    are none.

    Args:
        old_widths: units per layer before the task; they stay.
    """
    while True:
        found = False
        for layer in reversed(range(len(body.blocks))):
            units = _dead(body, layer, old_widths[layer])
            if len(units):
                body, found = _delete(body, layer, units), True
        if not found:
            return body


# ---- split (section 3.3, algorithm 4) ----

def drift(now, before, metric):
    """How far units have moved since the previous task, [n]; a larger number is a longer way.

    Args:
        now, before: incoming weights [m, in, n].
        metric: 'l2', the paper's length of the change, or 'cosine', minus the cosine of the angle between
            both: 1 for a unit that lost or got all its weights.
    """
    axes = (0, 1)
    now, before = np.asarray(now, np.float64), np.asarray(before, np.float64)
    if metric == 'l2':
        return np.sqrt(np.square(now - before).sum(axis=axes))
    lengths = np.sqrt(np.square([now, before]).sum(axis=(1, 2)))
    product = lengths.prod(axis=0)
    cosine = np.divide((now * before).sum(axis=axes), product, out=np.ones_like(product), where=product > 0)
    return np.where((product == 0) & (lengths.max(axis=0) > ALMOST_NOTHING), 1., -cosine)


def most_drifted(distance, limit, cap):
    """Units above `limit`, the most drifted first (ties: the lower number), at most `cap` (None: all).

    Returns:
        (numbers of the units to split, how many were above the limit).
    """
    order = np.argsort(-distance, kind='mergesort')
    candidates = order[distance[order] > limit]
    return candidates[:cap], len(candidates)


def _moved(block, units):
    """Edges from split units come from their duplicates instead, which stand behind all others."""
    block = np.concatenate([block, block[:, units]], axis=1)
    block[:, units] = 0
    return block


def split(body, previous, chosen):
    """Duplicates of the chosen units keep what the task learned; the originals are as they were before it.

    Old units that are not split keep their edges from the restored units and read no duplicate.

    Args:
        previous: (blocks, biases) before the task.
        chosen: per layer, the numbers of the units; duplicate r of a layer is unit (its width) + r.
    """
    blocks, biases, below = [], [], np.zeros(0, int)
    for block, bias, old, old_bias, units in zip(body.blocks, body.biases, previous[0], previous[1], chosen):
        inputs, old_inputs, old_units = block.shape[1], old.shape[1], old.shape[2]
        moved = _moved(block, below)
        new = moved.copy()
        new[:, :inputs, :old_units], new[:, inputs:, :old_units] = block[:, :, :old_units], 0
        new[:, :, units] = 0
        new[:, :old_inputs, units] = old[:, :, units]
        new_bias = bias.copy()
        new_bias[units] = old_bias[units]
        blocks.append(np.concatenate([new, moved[:, :, units]], axis=2))
        biases.append(np.concatenate([new_bias, bias[units]]))
        below = units
    return Body(blocks, biases, _moved(body.head, below))


# ---- evaluation and counting ----

def prefix(block, inputs, outputs):
    """What a task reads that was learned when a layer had `outputs` units and the one below had `inputs`."""
    return block[:, :inputs, :outputs]


def softmax(logits):
    """Probabilities from logits [n, classes]."""
    logits = np.asarray(logits, np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def cross_entropy(logits, labels):
    """Mean softmax cross-entropy of logits [n, classes] for labels [n]."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]))
