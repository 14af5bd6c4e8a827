"""Brings one file over HTTP, where what an earlier attempt left of it is continued, or from a folder."""
import os
import shutil
import sys

TIMEOUT = (10, 60)         # seconds until a connection stands, and between two pieces
PIECE = 1 << 16            # bytes
FOLDER = 'file://'         # what the address of a file of this machine begins with; its path follows


class Failure(Exception):
    """Why a file did not come, in a few words."""


def receive(url, part, most, bar):
    """Completes the file `part`.

    Args:
        url: where the whole file is.
        part: path; what is there is taken for the file's beginning, if the server can go on from there.
        most: bytes; a larger file is refused.
        bar: show a progress bar if stderr is a terminal.
    Raises:
        Failure: it is not complete; what came is kept.
        OSError: it cannot be written.
    """
    if url.startswith(FOLDER):
        _copy(url[len(FOLDER):], part, most)
        return
    import requests
    import urllib3
    trouble = 'no connection'
    try:
        with requests.Session() as session:
            start = size_of(part)
            response = _ask(session, url, start)
            if response.status_code == 416 and response.headers.get('Content-Range') == 'bytes */%d' % start:
                return      # it is complete
            if start and not _continues(response, start):
                start, response = 0, response if response.status_code == 200 else _ask(session, url, 0)
            if not start and response.status_code != 200:
                raise Failure('HTTP status %d' % response.status_code)
            trouble = 'the connection broke'
            _write(response, part, start, most, bar)
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise Failure('timed out') from None
    except requests.exceptions.SSLError:
        raise Failure('its certificate is not accepted') from None
    except (requests.RequestException, urllib3.exceptions.HTTPError):
        raise Failure(trouble) from None


def _copy(path, part, most):
    if not os.path.isfile(path):
        raise Failure('there is no such file')
    if os.path.getsize(path) > most:
        raise Failure('it has %d bytes, so it is not the right file' % os.path.getsize(path))
    try:
        original = open(path, 'rb')
    except OSError as error:
        raise Failure('it cannot be read: %s' % error.strerror) from error
    with original, open(part, 'wb') as stream:
        shutil.copyfileobj(original, stream)


def size_of(path):
    """Bytes of a file; 0 if there is none."""
    return os.path.getsize(path) if os.path.exists(path) else 0


def _ask(session, url, start):
    headers = {'Accept-Encoding': 'identity'}
    if start:
        headers['Range'] = 'bytes=%d-' % start
    return session.get(url, headers=headers, stream=True, timeout=TIMEOUT)


def _continues(response, start):
    """Whether an answer holds the rest of a file of which `start` bytes are there."""
    return response.status_code == 206 and response.headers.get('Content-Range', '').startswith(
        'bytes %d-' % start)


def _write(response, part, start, most, bar):
    """Adds what comes to the `start` bytes that are there."""
    from tqdm import tqdm
    length, size = response.headers.get('Content-Length', ''), start
    expected = start + int(length) if length.isdigit() else None
    if (expected or 0) > most:
        raise Failure('it has %d bytes, so it is not the right file' % expected)
    with open(part, 'ab' if start else 'wb') as stream, tqdm(
            total=expected, initial=start, unit='B', unit_scale=True, leave=False, file=sys.stderr,
            desc=os.path.splitext(os.path.basename(part))[0], disable=None if bar else True) as shown:
        # The bytes as they are sent: a server that calls a .gz "encoded" would have it decompressed.
        for piece in response.raw.stream(PIECE, decode_content=False):
            size += len(piece)
            if size > most:
                break
            stream.write(piece)
            shown.update(len(piece))
    if size > most:
        os.remove(part)
        raise Failure('it has more than %d bytes, so it is not the right file' % most)
    if expected not in (None, size):
        raise Failure('the connection broke')
