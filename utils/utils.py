"""Small helpers with no other home: random draws, errors for people, signals, files that are never half
written."""
import argparse
import contextlib
import difflib
import hashlib
import io
import json
import os
import re
import signal
import stat
import sys

import numpy as np

from utils.paths import home_folder

# Ctrl-C, and what batch systems, terminals and limits of CPU time send.
STOP_SIGNALS = [getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2',
                                                   'SIGXCPU')]
# 75: EX_TEMPFAIL, "try again", as queues understand it
EXIT_FAILED, EXIT_USER_ERROR, EXIT_INTERRUPTED = 1, 2, 75
LONGEST_ERROR = 2000


class UserError(ValueError):
    """A mistake that the person at the keyboard can mend;
    its text is the one line they read (exit status 2)."""


def readable(text):
    """A text as UTF-8 can hold it: what the command line or a file name has in another encoding, as \\x and
    its bytes."""
    try:
        return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
    except UnicodeEncodeError:      # halves of signs, as JSON can hold them
        return text.encode('utf-8', 'backslashreplace').decode('utf-8')


def without_credentials(text, address=None):
    """A text without the `user:password@` of the addresses in it.

    Args:
        text: str.
        address: one whose `user:password@` may be in the text by itself too, or that may lack its
            `protocol://`.
    """
    own = re.match(r'(?:[\w+.-]+://)?([^/?#]*@)', address or '')
    if own:
        text = text.replace(own.group(1), '')
    return re.sub(r'(?<=://)[^\s/?#]*@', '', text)


def printable(text):
    """A text in one line, whatever signs a path, a file or a library brought into it."""
    return ''.join(sign if sign.isprintable() else sign.encode('unicode_escape').decode('ascii')
                   for sign in readable(text))


def printable_line(text):
    """A text in one line of bearable length, without passwords."""
    text = printable(without_credentials(text))
    return text if len(text) <= LONGEST_ERROR else '%s ... %s' % (
        text[:LONGEST_ERROR // 2], text[-LONGEST_ERROR // 2:])


def tell_error(error):
    """Writes an error as one line on stderr; returns the exit status."""
    sys.stderr.write('error: %s\n' % printable_line(str(error)))
    return EXIT_USER_ERROR


class OutputError(OSError):
    """Standard output cannot be written. A closed pipe is a BrokenPipeError instead."""


class _Stdout(io.TextIOWrapper):
    """Standard output; what it cannot write is an OutputError, which no other file's error is.

    Each flush raises the first one again: argparse passes over it.
    """
    failure = None

    def write(self, text):
        with self._failing():
            return super(_Stdout, self).write(text)

    def flush(self):
        if self.failure is not None:
            raise self.failure
        with self._failing():
            super(_Stdout, self).flush()

    @contextlib.contextmanager
    def _failing(self):
        try:
            yield
        except (BrokenPipeError, OutputError) as error:
            self.failure = error
            raise
        except OSError as error:
            self.failure = OutputError(error.errno, error.strerror)
            raise self.failure from error


class _Stderr(io.TextIOWrapper):
    """Standard error; what it cannot write is lost."""

    def write(self, text):
        try:
            return super(_Stderr, self).write(text)
        except OSError:
            _drop(self)
            return len(text)

    def flush(self):
        try:
            super(_Stderr, self).flush()
        except OSError:
            _drop(self)


def _drop(stream):
    """What a stream has not written, and what it is given from now on, goes nowhere."""
    stream.failure = None
    with contextlib.suppress(OSError):      # in tests it has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def show(text):
    """Prints what is told about training: if the screen is gone, or the disk behind it full, training goes
    on."""
    try:
        print(text)
        sys.stdout.flush()
    except OSError:
        _drop(sys.stdout)


def prepare_process():
    """What every command line begins with: no file of it can be written by everybody, and stdout takes every
    sign.

    Signs that its encoding lacks are printed as \\x and a number, where they would raise an error. A standard
    stream that is closed becomes one that cannot be written, so that no other file gets its number.
    """
    os.umask(os.umask(0o022) | 0o002)
    _place_for_caches()
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
    sys.stdout = _as(_Stdout, sys.stdout, 1)
    sys.stderr = _as(_Stderr, sys.stderr, 2)


def _as(kind, stream, number):
    """A standard stream as another kind, beside the one that a library may know already;
    None: it was closed."""
    encoding, errors = (stream.encoding, stream.errors) if stream else (None, 'strict')
    if stream:
        with contextlib.suppress(OSError):
            stream.flush()
    return kind(open(number, 'wb', closefd=False), encoding, 'backslashreplace' if errors == 'strict'
                else errors, line_buffering=True)


def _place_for_caches():
    """Where there is no home, or none that can be written, libraries keep their settings and caches in a
    folder in /tmp.

    Otherwise some cannot be imported, some complain, and Keras makes a folder named ~.
    """
    home = home_folder()
    if home is not None and os.access(home, os.W_OK):
        return
    import tempfile
    folder = os.path.join(tempfile.gettempdir(), 'lasem-%d' % os.getuid())
    with contextlib.suppress(OSError):      # nowhere to write, then
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if os.lstat(folder).st_uid == os.getuid():      # and not a folder of somebody who was there first
            for name in ('XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'KERAS_HOME'):
                os.environ.setdefault(name, folder)


def run_command(main, interrupted=''):
    """Ends this process with the exit status of a command line.

    Ctrl-C prints `interrupted`, a closed pipe nothing, another output that cannot be written one line of
    error.
    """
    prepare_process()
    try:
        try:
            sys.exit(main())
        finally:
            sys.stdout.flush()      # here, where a closed pipe can be caught
    except ModuleNotFoundError as error:
        if error.name.split('.')[0] in ('classification', 'utils'):
            raise
        sys.exit(
            tell_error('%s is not installed for this Python; run: python3 -m pip install -r requirements.txt'
                       % error.name))
    except BrokenPipeError:
        os._exit(EXIT_FAILED)
    except OutputError as error:
        sys.stderr.write('error: the output cannot be written: %s\n' % error.strerror)
        os._exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.stderr.write(interrupted)
        os._exit(130)


@contextlib.contextmanager
def silent_libraries():
    """Nothing reaches stderr, not even from C; the text of a raised exception is what counts."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def lookup(table, name, option):
    """Returns table[name], matched whole and without regard to case.

    Raises:
        UserError: names what could have been asked for, the nearest match first.
    """
    known = {key.lower(): key for key in table}
    if name.lower() in known:
        return table[known[name.lower()]]
    near = [key for key in sorted(known) if name and key.startswith(name.lower())]
    near = near or difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    hint = ' (did you mean %s?)' % known[near[0]] if near else ''
    raise UserError('--%s %s is not known%s; choose one of: %s'
                    % (option, name, hint, ', '.join(sorted(table))))


def at_least(least, most=float('inf')):
    """For argparse's `type`: whole numbers from `least` to `most`."""
    def number(text):
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError('%s: at least %d%s is needed' % (
                text, least, '' if most == float('inf') else ' and at most %d' % most))
        return int(text)
    number.__name__ = 'whole number'        # in argparse's message
    return number


def size_text(size):
    """A number of bytes, like '390 MB'."""
    unit, name = next((pair for pair in ((1e9, 'GB'), (1e6, 'MB')) if size >= pair[0]), (1e3, 'kB'))
    return '%.3g %s' % (size / unit, name)


def check_version(path, version, known):
    """Refuses a file whose version is newer than the one that this code knows.

    Raises:
        UserError
    """
    if version > known:
        raise UserError(
            '%s was written by newer code (version %d of such files; this code reads up to version %d); go '
            'on with that code, or give another result folder (--result_dir)'
            % (path, version, known))


def plural(number, noun):
    """'1 task', '2 tasks'."""
    return '%d %s%s' % (number, noun, '' if number == 1 else 's')


def tasks_in(order):
    """The different tasks of an order, by data-set index: as fields per task go."""
    return sorted(set(order))


def error_text(error):
    """What an exception has to say, for people."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return '%s: %s' % (error.filename, error.strerror)
    return '%s: %s' % (type(error).__name__, str(error).split('\n')[0])


def take_signals(handler):
    """Signals that ask to stop go to `handler`: dict number -> what it was before.

    One that was ignored when the program began (`nohup`) stays ignored; except for SIGINT, which shells let
    every command ignore that a script starts in the background.
    """
    return {number: signal.signal(number, handler) for number in STOP_SIGNALS
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN}


@contextlib.contextmanager
def signals_to(handler):
    """Signals that ask to stop go to `handler`; afterwards as before."""
    before = take_signals(handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _digest(seed, trial, task, epoch, step, purpose):
    place = '%r|%r|%r|%r|%r|%s' % (seed, trial, task, epoch, step, purpose)
    return hashlib.sha256(place.encode('utf-8')).digest()


def random_state(seed, trial=None, task=None, epoch=None, step=None, purpose=''):
    """A NumPy generator that is a pure function of its place in the run, so a resumed run repeats every draw.

    `task` is the data-set index of a task; `purpose` is a word or a variable's name, so that no two draws
    coincide.
    """
    digest = _digest(seed, trial, task, epoch, step, purpose)
    return np.random.RandomState(np.frombuffer(digest, dtype='>u4').astype(np.uint32))


def stateless_seed(seed, trial=None, task=None, epoch=None, step=None, purpose=''):
    """The same place as a pair of int32 for `tf.random.stateless_*`."""
    digest = _digest(seed, trial, task, epoch, step, purpose)
    return np.frombuffer(digest[:8], dtype='>i4').astype(np.int32)


def sha256_of(stream):
    """Hexadecimal SHA-256 of what a file object still holds."""
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(1 << 20), b''):
        digest.update(block)
    return digest.hexdigest()


def read_dict(path):
    """The dict in a JSON file; {} where there is no file, or none that holds one."""
    try:
        with open(path, encoding='utf-8') as stream:
            content = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_atomically(path, content, alone=False):
    """Writes bytes or text, or what yields them: a reader, or a crash, finds the old file or the new one,
    nothing between.

    With `alone` nobody else writes to the file now, since the caller holds a lock: then what a killed write
    left is replaced by the next one, instead of staying for ever beside other such files.

    A file that is there keeps its mode and, where that is permitted, its owner; a symbolic link stays one, to
    the new file.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, '.%s.%s' % (name, 'new' if alone else os.urandom(4).hex()))
    if alone:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)        # perhaps another user's
    # Less what the umask forbids; never for all the world to write.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o664)
    try:
        with os.fdopen(handle, 'wb') as stream:
            for piece in (content,) if isinstance(content, (str, bytes)) else content:
                stream.write(piece.encode('utf-8') if isinstance(piece, str) else piece)
            stream.flush()
            _keep_owner_and_mode(target, stream.fileno())
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        if os.path.exists(temporary):
            os.remove(temporary)
        if isinstance(error, OSError):          # of a write the system does not say to which file
            raise OSError(error.errno, error.strerror, path) from error
        raise


def _keep_owner_and_mode(path, descriptor):
    """Gives an open file what the file at `path` has, if there is one."""
    try:
        before = os.stat(path)
    except FileNotFoundError:
        return
    for owner in (before.st_uid, -1):       # the group at least
        with contextlib.suppress(OSError):  # not permitted, or unknown in this container
            os.fchown(descriptor, owner, before.st_gid)
            break
    with contextlib.suppress(OSError):      # a file system without modes
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
