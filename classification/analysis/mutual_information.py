"""Mutual information of what a network computes with its images and with their labels, from kernels alone.

Matrix-based Renyi entropy: Giraldo, Rao & Principe, IEEE Trans. Information Theory 2015 (definitions 2 and
3); of several channels together and of convolution layers: Yu, Wickstrom, Jenssen & Principe, IEEE TNNLS
2020. All in bits.
"""
import numpy as np

MAX_IMAGES = 500


def gram(samples, width):
    """The Gram matrix of samples under a Gaussian kernel, divided by its trace, [n, n].

    K_ij = exp(-|x_i - x_j|^2 / (2 sigma^2)), sigma = width * n^(-1/(4 + d)). Of samples with several channels
    it is the Hadamard product of the channels' matrices, which is the kernel of the squared distances summed
    over the channels.

    Args:
        samples: [n, d], or [n, ..., channels], of which each channel is a sample of d values.
        width: h, greater than 0.
    """
    number = len(samples)
    size = int(np.prod(samples.shape[1:-1])) if samples.ndim > 2 else samples.shape[1]
    sigma = width * number ** (-1. / (4 + size))
    flat = np.reshape(samples, (number, -1)).astype(np.float64)
    flat = flat - flat.mean(axis=0)                   # distances stay; less is lost to rounding
    squares = np.square(flat).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2. * flat.dot(flat.T), 0.)
    np.fill_diagonal(distances, 0.)
    return np.exp(-distances / (2. * sigma ** 2)) / number      # the kernel of a sample with itself is 1


def entropy(matrix, alpha):
    """S(A) = log2(sum_i eig_i(A)^alpha) / (1 - alpha), between 0 and log2 n; alpha 1: the limit, -sum eig
    log2 eig.

    Args:
        matrix: [n, n], symmetric, positive semi-definite, of trace 1.
        alpha: greater than 0.
    """
    eigenvalues = np.linalg.eigvalsh(matrix)
    # Rounding makes something of the zeros: some negative, others such that they would count below alpha 1.
    noise = len(matrix) * np.finfo(float).eps * eigenvalues.max() if alpha < 1 else 0.
    eigenvalues = eigenvalues[eigenvalues > noise]
    if alpha == 1:
        return float(-(eigenvalues * np.log2(eigenvalues)).sum())
    return float(np.log2((eigenvalues ** alpha).sum()) / (1. - alpha))


def joint(one, other):
    """The matrix of two variables together: the Hadamard product, divided by its trace."""
    product = one * other
    return product / np.trace(product)


def mutual_information(one, other, alpha):
    """I = S(A) + S(B) - S(A, B) of two normalised Gram matrices of the same n samples."""
    return entropy(one, alpha) + entropy(other, alpha) - entropy(joint(one, other), alpha)


def of_layers(images, labels, layers, alpha, kernel_h, kernel_h_backward):
    """Mutual information of layers with the images and with the labels.

    Args:
        images: [n, height, width, channels], as the network sees them; one sample each, channels included.
        labels: int [n].
        layers: iterable of [n, height, width, channels]; only one is held at a time.
        alpha: order of the entropy, greater than 0.
        kernel_h: width of the kernels of images and layers.
        kernel_h_backward: of the labels, each a row of zeros with a 1 at its class.
    Returns:
        (I(image; layer), I(layer; label)), lists of numbers in bits.
    """
    of_images = gram(np.reshape(images, (len(images), -1)), kernel_h)
    of_labels = gram(np.equal(np.reshape(labels, (-1, 1)), np.unique(labels)), kernel_h_backward)
    with_images, with_labels = [], []
    for layer in layers:
        of_layer = gram(layer, kernel_h)
        with_images.append(mutual_information(of_images, of_layer, alpha))
        with_labels.append(mutual_information(of_layer, of_labels, alpha))
    return with_images, with_labels
