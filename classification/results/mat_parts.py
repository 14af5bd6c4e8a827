"""Result files as bytes: where their variables and experiments are, so that most of a file is copied and
never loaded.

Of plain files only, little-endian and not compressed, as SciPy writes them.
"""
import io
import mmap
import os
import re
import struct
import zlib
from typing import Any, List, NamedTuple

from classification.results.mat_check import CELL, COMPRESSED, MATRIX, check, element, numbers

SUMMARY, CONTINUES = 'training_summary', 'continues'
HEADER = 128                 # bytes before the first variable
HEADING = 64                 # bytes of the cell of experiments before its first element
MAX_BYTES = 2 ** 31 - 1     # of one variable, for MATLAB
BEGINNING = 4096             # bytes of a variable that hold its name, and a short text
PIECE = 1 << 20


class Span(NamedTuple):
    """Bytes of a stream."""
    start: int
    end: int
    stream: Any = None       # None: the file's own

    @property
    def size(self):
        """Number of bytes."""
        return self.end - self.start


class NoSummary(Exception):
    """It is not a result file."""


class Parts(NamedTuple):
    """Where everything is in a result file."""
    variables: List[Span]    # in the file's order
    summary: int             # which of them is the cell of experiments
    entries: List[Span]      # its elements


def is_plain(stream):
    """Whether a file is little-endian and no variable of it is compressed."""
    stream.seek(HEADER - 2)
    return stream.read(2) == b'IM' and all(kind != COMPRESSED for kind, _ in _variables(stream))


def parts_of(stream):
    """Parts of a plain file.

    Raises:
        ValueError: its sizes contradict each other.
        NoSummary: it has no cell training_summary.
    """
    check(view_of(stream))
    return unchecked_parts_of(stream)


def unchecked_parts_of(stream):
    """As parts_of, without a look at what is inside the experiments."""
    view = view_of(stream)
    spans = [span for _, span in _variables(stream)]
    found = [number for number, span in enumerate(spans) if _name_and_rest(view[span.start:span.end])[0]
             == SUMMARY]
    if len(found) != 1 or view[spans[found[0]].start + 16] != CELL:
        raise NoSummary()
    found, = found
    rest, position, entries = _name_and_rest(view[spans[found].start:spans[found].end])[1], spans[
        found].end, []
    while rest:
        behind = element(rest, '<')[2]
        entries.append(Span(position - len(rest), position - len(behind)))
        rest = behind
    return Parts(spans, found, entries)


def view_of(stream):
    """The bytes of a stream; what is not looked at takes no memory."""
    return memoryview(stream.getvalue() if isinstance(stream, io.BytesIO) else
                      mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _variables(stream):
    """(type, Span) of each variable of a little-endian file, as far as its sizes go."""
    end, position = stream.seek(0, os.SEEK_END), HEADER
    while position + 8 <= end:
        stream.seek(position)
        kind, size = struct.unpack('<2I', stream.read(8))
        yield kind, Span(position, min(position + 8 + size, end))
        position += 8 + size


def _name_and_rest(variable):
    """A variable's name, and what follows it."""
    _, rest, _ = element(variable, '<', padded=False)
    _, rest = numbers(rest, '<', 6, 'I')
    _, rest = numbers(rest, '<', 5, 'i')
    name, rest = numbers(rest, '<', 1, 'c')
    return b''.join(name).decode('latin-1'), rest


def heading(elements):
    """What precedes the elements of the variable `training_summary`, a row of a cell;
    each of them is a Span."""
    return struct.pack('<12I', MATRIX, cell_size(elements), 6, 8, 1, 0, 5, 8, 1, len(elements), 1,
                       len(SUMMARY)
                       ) + SUMMARY.encode('ascii')


def cell_size(elements):
    """Bytes of that variable, without its tag."""
    return HEADING - 8 + sum(one.size for one in elements)


def pieces(stream, spans):
    """Yields the bytes of a list of Span and bytes, a little at a time."""
    for span in spans:
        if not isinstance(span, Span):
            yield span
            continue
        source, left = span.stream or stream, span.size
        source.seek(span.start)
        while left:
            piece = source.read(min(PIECE, left))
            if not piece:
                raise OSError(0, 'it was cut off while it was read')
            left -= len(piece)
            yield piece


class Alone(object):
    """One experiment of a file as a file of its own, for SciPy's reader."""

    def __init__(self, stream, span):
        stream.seek(0)
        self.head = stream.read(HEADER) + heading([span])
        self.stream, self.span, self.position = stream, span, 0

    def tell(self):
        """Where the next byte is."""
        return self.position

    def seek(self, offset, whence=0):
        """As of any file."""
        self.position = offset + (0, self.position, len(self.head) + self.span.size)[whence]
        return self.position

    def read(self, count=-1):
        """As of any file."""
        left = max(0, len(self.head) + self.span.size - self.position)
        count = left if count < 0 else min(count, left)
        found = self.head[self.position:self.position + count]
        if len(found) < count:
            self.stream.seek(self.span.start + self.position + len(found) - len(self.head))
            found += self.stream.read(count - len(found))
        self.position += len(found)
        return found


# ---- several files ----

def target_of(path):
    """The file behind a symbolic link, beside which those that continue it lie; other paths stay."""
    return os.path.realpath(path) if os.path.islink(path) else path


def series(path):
    """The files of a result: NAME.mat, there or not, and NAME-2.mat, NAME-3.mat, ...
    as far as they continue it."""
    target = target_of(path)
    return [path] + [other for _, other in sorted(_numbered(target)) if continued(other)
                     == os.path.basename(target)]


def next_file(path):
    """The first of the names NAME-2.mat, ... behind which there is no file yet."""
    target = target_of(path)
    taken = [number for number, _ in _numbered(target)]
    return '%s-%d.mat' % (os.path.splitext(target)[0], max([1] + taken) + 1)


def first_of(path):
    """NAME.mat of a file that continues it; other paths stay."""
    name = continued(path)
    return path if name is None else os.path.join(os.path.dirname(path), name)


def _numbered(path):
    folder, name = os.path.split(os.path.splitext(path)[0])
    for other in os.listdir(folder or '.') if os.path.isdir(folder or '.') else ():
        found = re.match(re.escape(name) + r'-([2-9]|[1-9]\d{1,8})\.mat$', other)
        if found:
            yield int(found.group(1)), os.path.join(folder, other)


def continued(path):
    """The name of the file that a file says it continues; None: it says nothing of the kind."""
    if not os.path.isfile(path):        # a named pipe would be waited for for ever
        return None
    try:
        with open(path, 'rb') as stream:
            stream.seek(HEADER - 4)
            if stream.read(4) != b'\x00\x01IM':
                return None
            for kind, span in _variables(stream):
                stream.seek(span.start)
                variable = stream.read(min(span.size, BEGINNING))
                if kind == COMPRESSED:
                    variable = zlib.decompressobj().decompress(variable[8:], BEGINNING)
                found = _text(variable)
                if found is not None:
                    return found
    except (OSError, ValueError, struct.error, zlib.error):
        pass        # it is no such file
    return None


def _text(variable):
    """The text in the beginning of a variable `continues`; None of another variable."""
    size = struct.unpack('<I', variable[4:8])[0]
    if 8 + size > len(variable):
        return None         # too long for a name
    name, rest = _name_and_rest(memoryview(variable)[:8 + size])
    if name != CONTINUES:
        return None
    kind, data, _ = element(rest, '<')
    return bytes(data).decode('utf-16-le' if kind in (4, 17) else 'utf-8')
