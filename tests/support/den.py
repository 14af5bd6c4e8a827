"""DEN's small network and its shrinking, computed the plain way in NumPy, and bodies of random numbers, tasks
and options of its trials."""
import numpy as np

from classification.gen_data import Split, Task
from classification.model.den_blocks import Body, layers_of, to_block
from classification.model.method import Setting
from classification.model.registry import make_method
from tests.support import tiny
from utils import utils_env_cl as env

NET = env.build_net(env.Network(kernels=(3, 3), channels=(3, 4), pools=(2, 2), hidden=(5,)), (8, 8, 2))
LAYERS = layers_of(NET)
POSITIONS = (9, 9, 4, 1)      # of the convolutions, behind the flattened 2x2 map, of the head
WIDTHS = [3, 4, 5]
CLASSES = 3


def logits(body, head_bias, images):
    """[n, classes] from the definition of a block:
    entry (p, i, j) is what unit j reads of unit i at position p."""
    x = np.asarray(images, np.float64)
    for block, bias in zip(body.blocks[:2], body.biases[:2]):
        size = x.shape[1]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), 'constant')
        x = sum(np.einsum('nyxi,ij->nyxj', padded[:, p // 3:p // 3 + size, p % 3:p % 3 + size], block[p])
                for p in range(9)) + bias
        x = np.maximum(x, 0).reshape(len(x), size // 2, 2, size // 2, 2, -1).max(axis=(2, 4))
    x = np.einsum('npi,pij->nj', x.reshape(len(x), 4, -1), body.blocks[2])      # 2x2 positions, row by row
    x = np.maximum(x + body.biases[2], 0)
    return x.dot(body.head[0]) + head_bias


def random_body(seed, widths=WIDTHS, presence=1., scale=0.5, dtype=np.float64):
    """A Body in which a share `presence` of the edges is not 0."""
    state = np.random.RandomState(seed)
    sizes = [NET.image_shape[2]] + list(widths) + [CLASSES]
    blocks = [(state.uniform(-scale, scale, (m, i, j)) * (state.uniform(size=(i, j)) < presence)).astype(
        dtype)
              for m, i, j in zip(POSITIONS, sizes, sizes[1:])]
    return Body(blocks[:-1], [state.uniform(-.2, .5, n).astype(dtype) for n in widths], blocks[-1])


def copy_of(body):
    """A deep copy."""
    return Body([block.copy() for block in body.blocks], [bias.copy() for bias in body.biases],
                body.head.copy())


def narrowed(body, widths):
    """The first units of each layer."""
    sizes = [NET.image_shape[2]] + list(widths)
    return Body([block[:, :i, :j] for block, i, j in zip(body.blocks, sizes, sizes[1:])],
                [bias[:j] for bias, j in zip(body.biases, widths)], body.head[:, :widths[-1]])


IMAGES = np.random.RandomState(9).uniform(-1, 1, (6, 8, 8, 2))
HEAD_BIAS = np.array([.1, -.2, .3])


# ---- shrinking ----

def soft(x, threshold):
    """Entry by entry."""
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)


def shorter(vector, threshold):
    """The vector, its length less by `threshold`."""
    length = np.sqrt((vector ** 2).sum())
    return vector * max(0, 1 - threshold / length) if length else vector


def edges_shrunk(block, threshold):
    """Edge by edge."""
    out = np.zeros_like(block)
    for i in range(block.shape[1]):
        for j in range(block.shape[2]):
            out[:, i, j] = shorter(block[:, i, j], threshold * np.sqrt(block.shape[0]))
    return out


def shrunk(block, threshold, by_edge=True):
    """Edges as a whole where they have several weights."""
    return edges_shrunk(block, threshold) if by_edge and len(block) > 1 else soft(block, threshold)


def groups_shrunk(columns, bias, threshold):
    """(columns, bias), unit by unit."""
    out = np.stack([shorter(columns[:, :, j], threshold) for j in range(columns.shape[2])], axis=2)
    return out, np.where(out.any(axis=(0, 1)), bias, 0)


K = 2
ORDER, COUNTS = (2, 0, 1), {0: 2, 1: 3, 2: 3}      # learned in this order; classes by data-set index
PAIR = (1, 0)
CHANNELS = NET.image_shape[2]


def options(**changes):
    """Thresholds and penalties with which the small network, in a few steps, selects, grows, prunes and
    splits."""
    chosen = dict(env.DEN, den_expansion=K, den_split_cap=2, den_drift_threshold=(0.05, 0.05), l1_lambda=1e-4,
                  den_l1_mode='per_step', den_zero_eps=0.1, den_zero_mode='absolute', l2_lambda=1e-3,
                  reg_lambda=0.05, gl_lambda=0.3, loss_threshold=-1.)
    assert set(changes) <= set(chosen)
    return dict(chosen, **changes)


def method_of(**changes):
    return make_method('DEN', Setting(NET, COUNTS, 'den', options(**changes), 1.))


def blocks_of(values, task, prefix=''):
    """(blocks with the head's, biases) of what `stored` named."""
    names = ['%s%s/%s/den/' % (prefix, layer.name, 'shared' if place < 3 else 'task%d' % task)
             for place, layer in enumerate(LAYERS)]
    names = names if not prefix else names[:3]
    return ([to_block(values[name + 'kernel'], m) for name, m in zip(names, POSITIONS)],
            [values[name + 'bias'] for name in names])


def make_task(index):
    """A task of COUNTS[index] classes: noise, and a quarter of the image that is brighter, another one for
    each class."""
    state, parts, classes = np.random.RandomState(100 + index), {}, COUNTS[index]
    for part, size in tiny.SIZES.items():
        labels = state.permutation(np.arange(size, dtype=np.int32) % classes)
        pixels = state.randint(0, 100, (size,) + NET.image_shape).astype(np.uint8)
        for row, label in enumerate(labels):
            down, right = divmod((label + index) % 4, 2)
            pixels[row, 4 * down:4 * down + 4, 4 * right:4 * right + 4, index % 2] += 90
        parts[part] = Split(labels, np.full(2, 1 / 100., np.float32), np.full(2, -.5, np.float32), pixels,
                            np.arange(size), None)
    return Task(index, classes, classes=tuple('abc'[:classes]), **parts)
