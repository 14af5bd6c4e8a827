"""Locks: one holder at a time, on file systems with locks and without, whatever becomes of the holder."""
import errno
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.support.commands import ROOT, process, waited_for
from utils import locks
from utils.locks import Held, Lock
from utils.utils import UserError

STALE = 0.5
HOLDER = '''
import sys, time
from utils.locks import Lock
lock = Lock(sys.argv[1], %r).acquire(0)
print('held')
sys.stdout.flush()
sys.stdin.read()
print(lock.still_mine())
lock.release()
''' % STALE


@pytest.fixture(params=['flock', 'ENOSYS', 'ENOLCK', 'EOPNOTSUPP', 'EINVAL'])
def system(request, monkeypatch):
    """What the system answers to flock in this process."""
    if request.param != 'flock':
        number = getattr(errno, request.param)

        def flock(descriptor, operation):
            raise OSError(number, os.strerror(number))
        monkeypatch.setattr(fcntl, 'flock', flock)
    return request.param


@pytest.fixture
def no_flock(monkeypatch):
    """The system has no locks."""
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    monkeypatch.setattr(fcntl, 'flock', flock)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'x.lock')


@pytest.fixture
def holder(path):
    """Another process, which has locks of the system and holds this one;
    ends without giving it back if killed."""
    child = subprocess.Popen([sys.executable, '-c', HOLDER, path], cwd=ROOT, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    assert child.stdout.readline() == b'held\n'
    yield child
    child.send_signal(signal.SIGCONT)
    child.kill()
    child.communicate()


def token(path, **facts):
    """A token that somebody else has left."""
    known = {'host': 'elsewhere', 'pid': 7, 'boot': 'b', 'space': 's', 'started': '', 'word': 'w',
             'heartbeat': '0', 'locked': ''}
    with open(path + '.token', 'w') as stream:
        json.dump(dict(known, **facts), stream)


def test_one_holder_at_a_time(system, path):
    with Lock(path).acquire(0) as first:
        with pytest.raises(Held, match='process %d on %s' % (os.getpid(), platform.node())):
            Lock(path).acquire(0.1)
        assert first.still_mine()
    assert not first.still_mine()
    with Lock(path).acquire(0):
        pass
    assert os.listdir(os.path.dirname(path)) == ['x.lock']


def test_an_empty_lock_file_means_nothing(system, path):
    open(path, 'w').close()
    with Lock(path).acquire(0):
        pass


def test_processes_with_and_without_locks_exclude_each_other(no_flock, path, holder):
    with pytest.raises(Held, match='process %d on ' % holder.pid):
        Lock(path).acquire(0.1)
    assert holder.communicate(b'')[0] == b'True\n'
    Lock(path).acquire(0).release()


def test_what_a_killed_process_held_is_free_at_once(system, path, holder):
    holder.kill()           # and not waited for: a zombie holds nothing
    waited_for(lambda: not locks._runs(holder.pid, ''))
    # its other threads may take a moment to end; stale it would be after 90 s
    Lock(path).acquire(5).release()
    assert os.listdir(os.path.dirname(path)) == ['x.lock']


def test_what_a_process_left_that_was_killed_while_it_broke_a_lock_goes_with_the_next_lock(path, holder):
    lock = Lock(path)
    with open(lock.token, encoding='ascii') as stream:
        facts = stream.read()
    with open(lock.breaker, 'w') as stream:
        stream.write(facts)
    holder.kill()
    holder.wait()
    os.remove(lock.token)           # which the breaker was for
    lock.acquire(5).release()
    assert os.listdir(os.path.dirname(path)) == ['x.lock']


def test_a_number_of_a_process_that_is_another_ones_by_now(system, path):
    token(path, **dict(locks._here(), started='1'))
    Lock(path).acquire(0).release()


def test_what_a_container_held_that_is_gone_is_free_at_once_where_there_are_locks(system, path):
    """It has a name and process numbers of its own, but one kernel with us, which freed its lock."""
    open(path, 'w').close()
    token(path, boot=locks._here()['boot'], locked=str(os.stat(path).st_ino))
    if system == 'flock':
        Lock(path).acquire(0).release()
    else:
        with pytest.raises(Held):
            Lock(path).acquire(0)


def test_a_heartbeat_keeps_it_and_a_silent_token_is_broken(system, path):
    token(path)
    with pytest.raises(Held, match='process 7 on elsewhere'):
        Lock(path, STALE).acquire(0)
    over, lock = threading.Event(), Lock(path, STALE)

    def beat():
        count = 0
        while not over.wait(STALE / 10):
            count += 1
            with open(path + '.token', 'r+') as stream:
                stream.write(json.dumps({'host': 'elsewhere', 'pid': 7, 'heartbeat': '%09d' % count}).ljust(
                    150))
    beating = threading.Thread(target=beat)
    beating.start()
    try:
        with pytest.raises(Held, match='process 7 on elsewhere'):
            lock.acquire(3 * STALE)
    finally:
        over.set()
        beating.join()
    began = time.monotonic()
    lock.acquire(60).release()
    assert 0.5 * STALE < time.monotonic() - began < 30
    assert os.listdir(os.path.dirname(path)) == ['x.lock']


def test_who_is_not_known_to_live_is_waited_for_until_it_is_clear(path):
    """However short the wait: 'already running' would be a lie."""
    token(path)
    said = []
    lock = Lock(path, STALE).acquire(0.01, lambda *words: said.append(words))
    assert lock.still_mine() and not said
    lock.release()


def test_a_pause_of_the_observer_is_no_silence_of_the_holder(path, monkeypatch):
    """A machine that stood still sees its clock jump, and the holder has had no time for a heartbeat."""
    token(path)
    now, lock = [1000.], Lock(path, 90)
    monkeypatch.setattr(locks.time, 'monotonic', lambda: now[0])
    for _ in range(3):
        with pytest.raises(Held):
            lock.acquire(0)
        now[0] += 1000
    for _ in range(100):
        now[0] += 1
        try:
            lock.acquire(0).release()
            break
        except Held:
            pass
    assert 3050 < now[0] < 4100


def test_two_observers_cannot_both_break_a_token(path, monkeypatch, no_flock):
    """The second finds the breaker of the first, however stale the token is."""
    token(path)
    one, other = Lock(path), Lock(path)
    for lock in (one, other):
        lock._seen[path + '.token'] = locks._content(path
                                                     + '.token'), 2 * lock.stale_seconds, time.monotonic()
    remove, seen = os.remove, []

    def within(name):
        if name == path + '.token' and not seen:
            seen.append(name)
            with pytest.raises(Held):       # at the worst moment
                other.acquire(0)
            assert os.path.exists(path + '.token')
        remove(name)
    monkeypatch.setattr(os, 'remove', within)
    one.acquire(0)
    assert seen and one.still_mine()
    one.release()


def test_a_breaker_that_was_killed_is_in_nobodys_way(path, no_flock):
    token(path)
    open(path + '.breaker', 'w').close()
    Lock(path, 0.2).acquire(5).release()
    assert os.listdir(os.path.dirname(path)) == ['x.lock']


def test_a_holder_that_was_stopped_finds_that_it_lost_the_lock(no_flock, path, holder):
    holder.send_signal(signal.SIGSTOP)
    with Lock(path, STALE).acquire(20) as lock:
        holder.send_signal(signal.SIGCONT)
        assert holder.communicate(b'')[0] == b'False\n'
        time.sleep(STALE)
        # its heartbeats go to its own token, and it gives back nothing of ours
        assert lock.still_mine()


def test_a_holder_that_was_stopped_and_missed_by_nobody_goes_on(path, holder):
    holder.send_signal(signal.SIGSTOP)
    time.sleep(2 * STALE)
    holder.send_signal(signal.SIGCONT)
    assert holder.communicate(b'')[0] == b'True\n'


def test_a_look_at_the_holder_takes_nothing(path, holder, tmp_path):
    def seen():
        return {name: (tmp_path / name).read_bytes() for name in os.listdir(str(tmp_path))
                if 'token' not in name}
    before = seen()
    found = locks.holder_of(path)
    assert (found.pid, found.ended) == (holder.pid, False) and 0 <= found.silent_seconds < 60
    holder.send_signal(signal.SIGSTOP)
    waited_for(lambda: locks._state(holder.pid)[0] == 'T')
    os.utime(path + '.token', (time.time() - 700,) * 2)
    assert locks.holder_of(path).silent_seconds > 600 and not locks.holder_of(path).ended
    holder.kill()
    holder.wait()
    assert locks.holder_of(path).ended and seen() == before
    os.remove(path + '.token')
    assert locks.holder_of(path) is None


def test_the_loss_is_one_line(path):
    lock = Lock(path, STALE).acquire(0)
    os.remove(path + '.token')
    token(path)
    with pytest.raises(UserError, match='^x was taken over by process 7 on elsewhere, because'):
        lock.check('x')
    lock.release()
    assert os.path.exists(path + '.token')


def test_no_permission_names_the_file(path):
    with pytest.raises(OSError) as error:
        Lock(os.path.join(path, 'no', 'folder')).acquire(5)
    assert error.value.filename == os.path.join(path, 'no', 'folder')


def test_the_system_says_something_else(path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    monkeypatch.setattr(fcntl, 'flock', flock)
    with pytest.raises(OSError) as error:
        Lock(path).acquire(5)
    assert (error.value.errno, error.value.filename) == (errno.EIO, path)


def test_the_lock_file_was_removed_while_it_was_being_locked(path, monkeypatch):
    flock, times = fcntl.flock, []

    def removed(descriptor, operation):
        flock(descriptor, operation)
        if not times:
            os.remove(path)
        times.append(operation)
    monkeypatch.setattr(fcntl, 'flock', removed)
    with Lock(path).acquire(0):
        assert os.path.exists(path) and len(times) == 2


def test_as_a_command(path):
    """scripts/environment.sh runs pip with it; Python need not have any package."""
    program = 'import os, sys; sys.exit(3 if os.path.exists(sys.argv[1] + ".token") else 4)'
    child, out, err = process(['-S', os.path.join(ROOT, 'utils', 'locks.py'), path, sys.executable, '-c',
                               program, path])
    assert (child.returncode, out, err) == (3, '', '')
    child, _, err = process(['-S', os.path.join(ROOT, 'utils', 'locks.py'), os.path.join(path, 'x'), 'true'])
    assert (child.returncode == 1
            and err == 'error: %s/x cannot be locked: [Errno 20] Not a directory: %r\n' % (path, path + '/x'))
