"""Takes chosen files out of an archive, whatever else is in it.

Only the chosen ones are written, under names that the caller made. Paths that lead elsewhere, links, devices
and more than the original holds are answered with an error.
"""
import gzip
import os
import stat
import tarfile
import zipfile
import zlib

PIECE, LARGE = 1 << 16, 1 << 20      # bytes
MAX_MEMBERS = 100000      # the largest original has about 16,000
WORDS = 100                # characters of a name or of a library's message that are shown


class BadArchive(Exception):
    """What is wrong with an archive, in a few words."""


def unpack(archive, is_zip, folder, place_of, most, enough=None):
    """Writes chosen files of a .zip or .tar.gz into a folder.

    Args:
        archive: path.
        is_zip: which of the two it is.
        folder: path.
        place_of: list of the parts of a file's path in the archive -> path below `folder`; None: it is not
            wanted.
        most: bytes that all members together may hold.
        enough: number of files after which the rest is not looked at; None: all is.
    Raises:
        BadArchive: it is damaged, or not harmless.
        OSError: a file cannot be written.
    """
    written, total = set(), 0
    try:
        for number, (name, size, harmless, content) in enumerate(
                (_of_zip if is_zip else _of_tar)(archive, most)):
            total += size
            parts = [part for part in name.split('/') if part not in ('', '.')]
            if not harmless or size < 0 or name.startswith('/') or '..' in parts:
                raise BadArchive('%s in it is no plain file, or leads elsewhere' % _shown(name))
            if number >= MAX_MEMBERS or total > most:
                raise BadArchive('it holds more than the original')
            place = place_of(parts) if content and parts else None
            if place:
                with content() as stream:
                    write(stream, os.path.join(folder, place))
                written.add(place)
                if len(written) == enough:
                    return
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        # encrypted: RuntimeError
        raise BadArchive('it is damaged or no such archive (%s)' % _shown(error)) from error


def write(content, path):
    """Writes what the file object `content` holds to disk, folders too."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as stream:
        for piece in iter(lambda: content.read(PIECE), b''):
            stream.write(piece)
        # zeros after a power cut would pass for pixels; readers refuse smaller ones
        if stream.tell() >= LARGE:
            stream.flush()
            os.fsync(stream.fileno())


def _of_zip(path, _):
    """(name, size, whether it is a plain file or a folder, function that opens it; None of a folder) of each
    member."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            yield (member.filename, member.file_size, kind in (0, stat.S_IFREG, stat.S_IFDIR),
                   None if member.is_dir() else lambda: archive.open(member))


def _of_tar(path, most):
    """The same of a .tar.gz; nothing is decompressed before it is asked for."""
    with gzip.open(path) as stream, tarfile.open(fileobj=_Bounded(stream, most), mode='r|') as archive:
        for member in archive:
            # a sparse file's zeros cost its maker nothing
            plain = member.isreg() and not member.issparse()
            yield (member.name, member.size, plain or member.isdir(),
                   (lambda: archive.extractfile(member)) if plain else None)


class _Bounded(object):
    """A file object that ends in an error after so many bytes:
    a header of a tar can be as long as it likes."""

    def __init__(self, stream, most):
        self.stream, self.left = stream, most + (1 << 20)       # a megabyte of headers

    def read(self, count):
        try:
            content = self.stream.read(count)
        except (OSError, EOFError, zlib.error) as error:
            raise tarfile.ReadError(str(error)) from error
        self.left -= len(content)
        if self.left < 0:
            raise BadArchive('it holds more than the original')
        return content


def _shown(text):
    """Part of one line, whatever a stranger wrote."""
    return ascii(str(text))[1:-1][:WORDS]
