"""Whether what a MATLAB file of version 5 says about itself fits together.

SciPy's reader believes the sizes in a file: one changed bit can make it take all memory or end the whole
process, where an error would do. So every size is compared with what there is before the file is given to it.
"""
import functools
import operator
import struct
import zlib

MATRIX, COMPRESSED = 14, 15
# bytes of an element's numbers
SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
TEXT_TYPES = (16, 17, 18)
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17
LAST_NUMERIC = 15
MAX_DEPTH, MAX_DIMENSIONS = 50, 32
MAX_BYTES = 2 ** 31      # in one compressed variable


def check(content):
    """Raises ValueError where the sizes in a file's content contradict each other or what there is."""
    order = '<' if content[126:128] == b'IM' else '>'
    rest = memoryview(content)[128:]
    while rest:
        kind, data, rest = element(rest, order, padded=False)
        if kind == COMPRESSED:
            kind, data, behind = element(_decompressed(data), order)
            _expect(not behind, 'bytes behind a variable')
        _expect(kind == MATRIX, 'no variable')
        _matrix(data, order, MAX_DEPTH)


def _expect(good, what):
    if not good:
        raise ValueError('its sizes do not fit together: %s' % what)


def _decompressed(data):
    stream = zlib.decompressobj()
    content = stream.decompress(data, MAX_BYTES)
    _expect(stream.eof, 'a compressed variable has no end')
    return memoryview(content)


def element(rest, order, padded=True):
    """(type, data, what follows) of the first element."""
    _expect(len(rest) >= 8, 'an element is cut off')
    kind, size = struct.unpack(order + 'II', rest[:8])
    if kind >> 16:      # a short one, in its own tag
        kind, size = kind & 0xffff, kind >> 16
        _expect(size <= 4, 'a short element of %d bytes' % size)
        return kind, rest[4:4 + size], rest[8:]
    end = 8 + (-(-size // 8) * 8 if padded else size)
    _expect(8 + size <= len(rest), 'an element of %d bytes where there are %d' % (size, len(rest) - 8))
    return kind, rest[8:8 + size], rest[end:]


def numbers(rest, order, kind, letter):
    """(numbers of the first element, what follows)."""
    found, data, rest = element(rest, order)
    _expect(found == kind and len(data) % SIZES[kind] == 0, 'an element of type %d' % found)
    return struct.unpack('%s%d%s' % (order, len(data) // SIZES[kind], letter), data), rest


def _matrix(data, order, depth):
    if not data:
        return      # an empty array
    _expect(depth, 'it is nested too deeply')
    flags, rest = numbers(data, order, 6, 'I')
    _expect(len(flags) == 2, 'flags')
    kind, is_complex = flags[0] & 0xff, flags[0] & 0x800
    if kind == OPAQUE:      # MATLAB's own objects: they have no shape
        return
    shape, rest = numbers(rest, order, 5, 'i')
    _expect(1 <= len(shape) <= MAX_DIMENSIONS and min(shape) >= 0, 'a shape')
    count = functools.reduce(operator.mul, shape)      # of any size, where NumPy's would overflow
    _, rest = numbers(rest, order, 1, 'b')
    if kind in (CELL, STRUCT, OBJECT):
        if kind == OBJECT:
            _, rest = numbers(rest, order, 1, 'b')
        _parts(rest, order, depth, count if kind == CELL else None, count)
    elif kind == FUNCTION:
        _parts(rest, order, depth, 1, 1)
    elif kind == SPARSE:
        for _ in range(4 if is_complex else 3):
            found, _, rest = element(rest, order)
            _expect(found in SIZES, 'an element of type %d' % found)
    else:
        _expect(CHAR <= kind <= LAST_NUMERIC, 'an array of class %d' % kind)
        for _ in range(2 if is_complex else 1):
            found, data, rest = element(rest, order)
            _expect(found in SIZES, 'an element of type %d' % found)
            fits = len(data) == count * SIZES[found]
            if kind == CHAR:      # SciPy and MATLAB write empty and encoded texts in several ways
                fits = fits or found in TEXT_TYPES and count <= len(data) or not count
            _expect(fits, '%d bytes for %d numbers' % (len(data), count))
        _expect(not rest, 'bytes behind an array')


def _parts(rest, order, depth, parts, count):
    """The elements of a cell; of a struct (`parts` is None) behind the names of its fields."""
    if parts is None:
        length, rest = numbers(rest, order, 5, 'i')
        _expect(len(length) == 1 and length[0] > 0, 'names of fields')
        found, names, rest = element(rest, order)
        _expect(found == 1 and len(names) % length[0] == 0, 'names of fields')
        parts = count * (len(names) // length[0])
    _expect(parts <= len(rest) // 8, '%d parts in %d bytes' % (parts, len(rest)))
    for _ in range(parts):
        kind, data, rest = element(rest, order)
        _expect(kind == MATRIX, 'a part of type %d' % kind)
        _matrix(data, order, depth - 1)
    _expect(not rest, 'bytes behind the parts')
