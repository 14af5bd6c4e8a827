"""A few facts of each experiment in a result file, found without loading its numbers and without SciPy.

An entry takes megabytes of histories; of those only the sizes are passed over.
"""
import struct

from classification.results import mat_parts
from classification.results.mat_check import CHAR, SIZES, STRUCT, element, numbers

LETTERS = {1: 'b', 2: 'B', 3: 'h', 4: 'H', 5: 'i', 6: 'I', 7: 'f', 9: 'd', 12: 'q', 13: 'Q'}
ENCODINGS = {4: 'utf-16-le', 17: 'utf-16-le', 18: 'utf-32-le'}      # the others: UTF-8


def facts_of(path, names):
    """[{name: value}]: these fields of each experiment in a result file, as far as they are there.

    A value is a text, a list of numbers, or a dict of the texts and numbers of a struct.

    Raises:
        OSError, ValueError, KeyError, struct.error, NoSummary: it cannot be read like this, for instance
            since it is compressed.
    """
    with open(path, 'rb') as stream:
        if not mat_parts.is_plain(stream):
            raise ValueError('it is compressed')
        view = mat_parts.view_of(stream)
        return [_fields(element(view[span.start:span.end], '<')[1], names)
                for span in mat_parts.unchecked_parts_of(stream).entries]


def _fields(data, names=None):
    """The fields of a struct, of these names (None: all that are texts or numbers)."""
    flags, shape, rest = _heading(data)
    if flags != STRUCT or shape != (1, 1):
        return {}
    (length,), rest = numbers(rest, '<', 5, 'i')
    _, text, rest = element(rest, '<')
    fields = [bytes(text[start:start + length]).rstrip(b'\0').decode('latin-1')
              for start in range(0, len(text), length)]
    found = {}
    for name in fields:
        _, value, rest = element(rest, '<')
        if names is None or name in names:
            found[name] = _value(value)
    return {name: value for name, value in found.items() if value is not None}


def _value(data):
    """A text, a list of numbers, a dict; None of anything else."""
    if not data:
        return []
    flags, _, rest = _heading(data)
    if flags == STRUCT:
        return _fields(data)
    if flags < CHAR:
        return None
    kind, content, _ = element(rest, '<')
    if flags == CHAR:
        return bytes(content).decode(ENCODINGS.get(kind, 'utf-8'), 'replace')
    return list(struct.unpack('<%d%s' % (len(content) // SIZES[kind], LETTERS[kind]), content))


def _heading(data):
    """(class of an array, its shape, what follows its name)."""
    flags, rest = numbers(data, '<', 6, 'I')
    shape, rest = numbers(rest, '<', 5, 'i')
    return flags[0] & 0xff, shape, element(rest, '<')[2]
