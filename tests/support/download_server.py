"""An HTTP server on this machine that misbehaves as it is told, and data sets packed as their authors do."""
import hashlib
import http.server
import io
import os
import re
import socketserver
import tarfile
import threading
import time
import zipfile

from classification.data.download import Remote


class Server(object):
    """Serves `files`, a dict path -> bytes. What was asked is in `asked`: (path, value of the header Range).

    Attributes that a test may change:
        breaks: path -> list of numbers of bytes after which the next answers break off.
        ranges: whether it knows Range; 'wrong': it sends another range than was asked for.
        status: path -> what it answers instead.
        headers: what it sends besides.
        length: whether it says how long a file is.
        gate: threading.Event it waits for before it sends a file's second half.
    """

    def __init__(self):
        self.files, self.asked, self.sent = {}, [], 0
        self.breaks, self.ranges, self.status, self.headers, self.length, self.gate = {}, True, {}, {}, True, None
        self.server = _Threads(('127.0.0.1', 0), type('Handler', (_Handler,), {'told': self}))
        self.url = 'http://127.0.0.1:%d' % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class _Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.0'

    def do_GET(self):
        told, wanted = self.told, self.headers.get('Range')
        told.asked.append((self.path, wanted))
        if self.path in told.status or self.path not in told.files:
            self.send_error(told.status.get(self.path, 404))
            return
        content, status, start = told.files[self.path], 200, 0
        if wanted and told.ranges:
            status, start = 206, int(re.match(r'bytes=(\d+)-$', wanted).group(1))
            if told.ranges == 'wrong':
                start += 1
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(status)
        if status == 206:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(content) - 1, len(content)))
        if told.length:
            self.send_header('Content-Length', str(len(content) - start))
        for name, value in told.headers.items():
            self.send_header(name, value)
        self.end_headers()
        rest = content[start:]
        if told.breaks.get(self.path):
            rest = rest[:told.breaks[self.path].pop(0)]
        half = len(rest) // 2
        try:
            for part in (rest[:half], rest[half:]):
                self.wfile.write(part)
                self.wfile.flush()
                told.sent += len(part)
                if told.gate:
                    told.gate.wait(30)
        except OSError:
            pass       # who asked has gone

    def log_message(self, *words):
        """Keeps still."""


def content_of(path):
    with open(str(path), 'rb') as stream:
        return stream.read()


def packed(folder):
    """A folder as the bytes of a .tar.gz."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w:gz', compresslevel=1) as archive:
        archive.add(str(folder), os.path.basename(str(folder)))
    return stream.getvalue()


def zipped(folder):
    """A folder as the bytes of a .zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        for place, _, names in os.walk(str(folder)):
            for name in names:
                path = os.path.join(place, name)
                archive.write(path, os.path.relpath(path, os.path.dirname(str(folder))))
    return stream.getvalue()


def remote(path, content, *bases, **more):
    """A row of the table of downloads for this content."""
    return Remote(path, 'md5:' + hashlib.md5(content).hexdigest(), tuple('%s/%s' % (base, path) for base in bases),
                  **dict(dict(megabytes=5), **more))


def waited(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.01)
