"""Kernels made from a knowledge base and a task's factors."""
from utils.lazy_tensorflow import tf


def tucker_product(core, mixers):
    """W[p,q,r,s] = sum_ijkl core[i,j,k,l] U0[i,p] U1[j,q] U2[k,r] U3[l,s] (Bulat et al. 2020).

    Args:
        core: [height, width, in, out].
        mixers: four square matrices U0..U3, one per axis of the core.
    """
    shape = core.shape.as_list()
    # each step multiplies the leading axis and moves it to the back
    for mixer, size in zip(mixers, shape):
        core = tf.matmul(tf.reshape(core, [size, -1]), mixer, transpose_a=True)
    return tf.reshape(core, shape)              # four steps turn full circle


def orthogonality(mixers):
    """sum_m |U_m^T U_m - I|_F: 0 if every factor is orthogonal. Its gradient at 0 is taken as 0."""
    total = 0.
    for mixer in mixers:
        rest = tf.matmul(mixer, mixer, transpose_a=True) - tf.eye(int(mixer.shape[0]), dtype=mixer.dtype)
        total += tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(rest)), 1e-30))
    return total


def deconvolved_kernel(knowledge, filters, bias, mixer, size, stride=2):
    """A kernel from a knowledge base: transposed convolution, then a task tensor (DF-CNN, Lee et al. 2019).

    Args:
        knowledge: [1, h, h, c], shared by all tasks.
        filters: [t, t, s, c]; bias: [1, 1, 1, s]; mixer: [s, in, out]: the task's own.
        size: height and width of the kernel.
    Returns:
        kernel [size, size, in, out].
    """
    channels = int(filters.shape[2])
    spread = tf.nn.conv2d_transpose(knowledge, filters, [1, size, size, channels], [1, stride, stride, 1],
                                    'SAME')
    return tf.tensordot((spread + bias)[0], mixer, axes=[[2], [0]])
