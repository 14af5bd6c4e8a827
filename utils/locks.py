"""Locks between processes of one machine, or of several machines that share a file system.

    python3 utils/locks.py FILE COMMAND [WORD...]    runs a command while it holds a lock; waits for the lock

A lock is taken in two ways together, because file systems differ. The system's lock (flock) ends with its
process, however that ends, but some file systems know none and others keep it on one machine. A token is a
file that only one process can create; that works everywhere, but a killed holder leaves it behind. Therefore
the holder renews a counter in the token, its heartbeat. Another process removes a token when its holder has
ended on this machine, or when its content has not changed for STALE_SECONDS on the clock of the process that
looks at it.

So a holder that was stopped for long and goes on may have lost its lock. Before it writes what the lock
protects it calls `Lock.check`.

This module imports the standard library only: scripts/environment.sh uses it before anything is installed.
"""
import contextlib
import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
import threading
import time
import uuid
from typing import NamedTuple, Optional

STALE_SECONDS = 90          # without a heartbeat: the holder is taken for dead
HEARTBEATS = 9                   # heartbeats in that time
SILENT_SECONDS = 2          # of waiting, before the user is told
DAY = 24 * 3600
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EBADF)


class Held(Exception):
    """Another process holds the lock; the text names it: 'process 7 on host'."""


class Lock(object):
    """A lock that one process holds at a time.

    Args:
        path: of the file that the system locks; it is made and stays. The token, PATH.token, is there while
            it is held.
        stale_seconds: STALE_SECONDS by default.
    """

    def __init__(self, path, stale_seconds=None):
        self.path, self.token, self.breaker = path, path + '.token', path + '.breaker'
        self.stale_seconds = STALE_SECONDS if stale_seconds is None else stale_seconds
        self._system = None         # descriptor of a file that the system has locked for us
        self._file = None           # descriptor of our token
        self._word = ''             # that no other token contains
        self._over, self._heartbeat = None, None
        # path -> (content, seconds for which it is known not to have changed, last look)
        self._seen = {}
        self._alive = False         # whether the holder was seen to live

    def acquire(self, timeout, waiting=lambda holder, seconds: None):
        """Takes the lock; waits for it for `timeout` seconds, and longer only to find out whether a token is
        stale.

        Args:
            waiting: called once if it takes long, with the holder and the seconds that it can still take.
        Raises:
            Held: another process holds it.
            OSError: a file cannot be written; it is named.
        """
        began, told = time.monotonic(), False
        try:
            while not self._taken():
                waited, longest = time.monotonic() - began, self._longest(timeout)
                if waited >= longest:
                    raise Held(self.holder())
                if waited >= SILENT_SECONDS and not told:
                    told = True
                    waiting(self.holder(), longest)
                time.sleep(min(0.5, 0.01 + waited / 20, max(longest - waited, 0)))
        except BaseException:
            self._unlock_system()
            raise
        return self

    def _longest(self, timeout):
        unknown = timeout and not self._alive
        return max(timeout, 2 * self.stale_seconds) if unknown else timeout

    def holder(self):
        """Who holds it: 'process 7 on host'."""
        with contextlib.suppress(OSError):
            facts = _facts(_content(self.token))
            if facts:
                return 'process %s on %s' % (facts.get('pid'), facts.get('host'))
        return 'another process'

    def still_mine(self):
        """Whether this process, which acquired it, still holds it."""
        return bool(self._word) and self._word in (_content(self.token) or '')

    def check(self, what):
        """To be called before anything is written that the lock protects.

        Raises:
            UserError: this process has lost the lock on `what`.
        """
        if self.still_mine():
            return
        from utils.utils import UserError  # needs NumPy, which is not there when an environment is made
        if os.path.exists(self.token):
            why = '%s, because this process did not run for %d s or longer' % (
                self.holder(), self.stale_seconds)
        else:
            why = 'another process, which has ended, or %s was deleted' % self.token
        raise UserError('%s was taken over by %s; this process ends without writing anything more'
                        % (what, why))

    def release(self):
        """Gives the lock back."""
        if self._file is None:
            return
        self._over.set()
        self._heartbeat.join()
        with contextlib.suppress(OSError):
            if self.still_mine():
                os.remove(self.token)
        os.close(self._file)
        self._file, self._word = None, ''
        self._unlock_system()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.release()

    # ---- both ways together ----

    def _taken(self):
        """Whether the lock is ours now."""
        if self._system is None and not self._lock_system():
            self._alive = True
            return False
        if self._create_token():
            left = _content(self.breaker)
            if left is not None and self._ended(_facts(left)):      # killed while it removed a stale token
                _remove(self.breaker)
            return True
        content = _content(self.token)
        if content is not None and self._stale(self.token, content):
            self._break(content)
            return self._create_token()
        return False

    # ---- the system's lock ----

    def _lock_system(self):
        """Takes the system's lock, if the file system knows locks;
        returns False if another process has it."""
        while True:
            descriptor = _opened(self.path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                current = os.path.samestat(os.fstat(descriptor), os.stat(self.path))
            except FileNotFoundError:       # the file was removed meanwhile
                current = False
            except BlockingIOError:
                os.close(descriptor)
                return False
            except OSError as error:
                os.close(descriptor)
                if error.errno in NO_LOCKS:
                    return True
                raise OSError(error.errno, error.strerror, self.path) from error
            if current:
                self._system = descriptor
                return True
            os.close(descriptor)

    def _unlock_system(self):
        if self._system is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(self._system, fcntl.LOCK_UN)        # also for a process that was forked meanwhile
            os.close(self._system)
            self._system = None

    # ---- the token ----

    def _create_token(self):
        """Whether there was no token and now is ours; its heart beats from here on."""
        word = uuid.uuid4().hex
        content = self._description(word, 0)
        try:
            self._file = os.open(self.token, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            self._write(content)
        except OSError as error:        # a full disk
            os.remove(self.token)
            os.close(self._file)
            self._file = None
            raise OSError(error.errno, error.strerror, self.token) from error
        self._word, self._over = word, threading.Event()
        self._heartbeat = threading.Thread(target=self._keep_beating)
        self._heartbeat.daemon = True
        self._heartbeat.start()
        return True

    def _keep_beating(self):
        count = 0
        while not self._over.wait(self.stale_seconds / HEARTBEATS):
            count += 1
            with contextlib.suppress(OSError):      # perhaps the file server is back at the next beat
                self._write(self._description(self._word, count))

    def _description(self, word, count):
        """The content of a token, equally long at each heartbeat."""
        facts = dict(_here(), word=word, heartbeat='%012d' % count,
                     locked='' if self._system is None else _inode(self._system))
        return json.dumps(facts, sort_keys=True).encode('ascii')

    def _write(self, content):
        """Writes in place: a token that another process has put there in the meantime is another file."""
        os.pwrite(self._file, content, 0)
        os.fsync(self._file)        # other machines see it only then

    def _stale(self, path, content):
        """Whether whoever wrote a token, or a breaker, is dead or taken for dead."""
        if self._ended(_facts(content)):
            return True
        now = time.monotonic()
        before, unchanged, looked = self._seen.get(path, (None, 0, now))
        # a long pause between two looks counts little: perhaps all machines stood still
        if content == before:
            unchanged += min(now - looked, self.stale_seconds / HEARTBEATS)
        else:
            self._alive, unchanged = self._alive or before is not None, 0
        self._seen[path] = content, unchanged, now
        return unchanged >= self.stale_seconds

    def _ended(self, facts):
        """Whether the process that a token describes is known to have ended."""
        here = _here()
        if any(facts.get(name) != here[name] for name in ('boot',) + (() if here['boot'] else ('host',))):
            return False            # it ran on another machine, or before this one was started anew
        if self._system is not None and facts.get('locked') == _inode(self._system):
            return True             # it had what we have now; also in a container with a name of its own
        if not _numbered_here(facts):
            return False
        self._alive = _runs(facts['pid'], facts.get('started'))
        return not self._alive

    def _break(self, content):
        """Removes a stale token, unless another process is about to.

        Only who has created the breaker removes a token, so nobody removes one that was created after a stale
        one. (A process that stops here for so long that its breaker becomes stale can; the token's owner then
        finds it gone.)
        """
        description = json.dumps(dict(_here(), word=uuid.uuid4().hex)).encode('ascii')
        try:
            breaker = os.open(self.breaker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            left = _content(self.breaker)
            if left is not None and self._stale(self.breaker, left) and _content(self.breaker) == left:
                _remove(self.breaker)
            return
        try:
            with os.fdopen(breaker, 'wb') as stream:
                stream.write(description)
            if _content(self.token) == content:
                _remove(self.token)
        finally:
            _remove(self.breaker)


class Holder(NamedTuple):
    """Who holds a lock, as its token says."""
    host: str
    pid: Optional[int]
    silent_seconds: float    # since the last heartbeat: the token's file time against this machine's clock
    ended: bool              # known to have ended; False: it runs, or that cannot be known here


def seconds_since(file_time):
    """How old a time of a file is by this machine's clock; 0 where another clock is ahead."""
    return max(0., time.time() - file_time)


def holder_of(path):
    """The Holder of the lock on a path; None if there is none. Takes nothing and writes nothing."""
    token = path + '.token'
    try:
        beaten = os.stat(token).st_mtime
        facts = _facts(_content(token))
    except OSError:
        return None
    pid = facts.get('pid')
    known = _numbered_here(facts)
    return Holder(str(facts.get('host') or 'another host'), pid if isinstance(pid, int) else None,
                  seconds_since(beaten), known and not _runs(pid, facts.get('started')))


def _opened(path):
    """Descriptor of a lock file, made if need be; one that belongs to somebody else need not be writable."""
    refusal = None
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDWR, os.O_RDONLY):
        try:
            return os.open(path, flags, 0o666)
        except PermissionError as error:
            refusal = refusal or error
        except FileNotFoundError:
            if refusal is None:
                raise
    raise refusal


def _content(path):
    """The text of a token; None if there is none."""
    try:
        with open(path, encoding='utf-8', errors='replace') as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _remove(path):
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def _facts(content):
    """What a token says; {} while it is being written."""
    try:
        facts = json.loads(content or '')
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _here():
    """What names this process: dict.

    'boot' is another word each time a machine starts, 'space' that in which its process numbers are valid;
    both are '' where the system has no such thing.
    """
    boot, space = _boot_and_space()
    pid = os.getpid()
    return {'host': platform.node(), 'boot': boot, 'space': space, 'pid': pid, 'started': _started(pid)}


def _boot_and_space():
    boot = space = ''
    with contextlib.suppress(OSError):
        with open('/proc/sys/kernel/random/boot_id') as stream:
            boot = stream.read().strip()
        space = os.readlink('/proc/self/ns/pid')
    return boot, space


def _numbered_here(facts):
    """Whether the number of the process that a token describes says something here."""
    boot, space = _boot_and_space()
    return bool(boot) and isinstance(facts.get('pid'), int) and (facts.get('boot'), facts.get('space')) == (
        boot, space)


def _inode(descriptor):
    return str(os.fstat(descriptor).st_ino)


def _state(pid):
    """Fields of /proc/PID/stat behind the name; none where they cannot be read."""
    try:
        with open('/proc/%d/stat' % pid) as stream:
            return stream.read().rpartition(')')[2].split()
    except OSError:
        return []


def _started(pid):
    """When a process began, in the system's own unit; '' if that is not known."""
    return ''.join(_state(pid)[19:20])


def _runs(pid, started):
    """Whether a process of this machine runs; its number can be another's by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):        # it is another user's
        pass
    state = _state(pid)
    return not state or state[0] not in 'ZX' and (not started or state[19] == started)


def main(words):
    """Runs a command while the lock is held, for scripts; returns its exit status."""
    def waiting(holder, seconds):
        print('waiting for %s, which holds %s' % (holder, words[0]), file=sys.stderr)

    try:
        lock = Lock(words[0]).acquire(DAY, waiting)
    except (Held, OSError) as problem:
        print('error: %s cannot be locked: %s' % (words[0], problem), file=sys.stderr)
        return 1
    with lock, contextlib.suppress(KeyboardInterrupt):
        # The command keeps the system's lock if this process is killed.
        return subprocess.call(words[1:], pass_fds=[lock._system] if lock._system is not None else [])
    return 130


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
