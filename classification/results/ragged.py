"""Arrays of unequal sizes in two that need no pickle: all values in a row, and what each part is."""
from collections import OrderedDict

import numpy as np


def packed(arrays):
    """(values, parts) of a dict key -> array of counts or class numbers.

    The values have the smallest unsigned type that holds them all. A row of `parts` is a key, which is a
    number or a tuple of numbers, and the shape of its array.
    """
    keys = sorted(arrays)
    values = np.concatenate([np.zeros(0, np.uint8)] + [np.ravel(arrays[key]) for key in keys])
    parts = [np.ravel(key).tolist() + list(arrays[key].shape) for key in keys]
    kind = np.min_scalar_type(int(values.max()) if values.size else 0)
    return values.astype(kind), np.array(parts, np.int64)


def unpacked(values, parts, dimensions):
    """The dict that `packed` was given, of arrays with this many dimensions."""
    arrays, end = OrderedDict(), 0
    for part in parts.tolist():
        key, shape = part[:-dimensions], part[-dimensions:]
        start, end = end, end + int(np.prod(shape))
        arrays[tuple(key) if len(key) > 1 else key[0]] = values[start:end].reshape(shape)
    return arrays
