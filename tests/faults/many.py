"""Many processes at once on the same files: nothing is lost, nothing is done twice.

    python -m tests.faults.many                  prints a table; the exit status is 1 if anything was lost
    python -m tests.faults.many --without all    the same where the system has no locks
    python -m tests.faults.many --without half   the same where every second process finds none

Part of `make soak` and of the tests.
"""
import argparse
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import numpy as np  # noqa: E402
import scipy.io  # noqa: E402,F401  before the forks

from classification.data import readers  # noqa: E402
from classification.results.mat_file import append_entry, entries  # noqa: E402
from tests.faults import no_locks  # noqa: E402
from tests.support import data_files  # noqa: E402
from tests.support.result_files import write_published  # noqa: E402

APPENDERS, EACH, PREPARERS = 16, 4, 8
SECONDS = 120       # before it is taken to hang
FORK = multiprocessing.get_context('fork')
draws = random.Random(0)
WITHOUT = [0]       # of every two processes, so many find no locks


def at_once(number, work):
    """`number` processes that call work(index) from the same moment on, which is when this returns."""
    barrier = FORK.Barrier(number + 1)

    def begin(index):
        if index % 2 < WITHOUT[0]:
            os.environ[no_locks.FAIL_WITH] = str(no_locks.ERRORS[index // 2 % 2])
        barrier.wait()
        work(index)
    processes = [FORK.Process(target=begin, args=(index,)) for index in range(number)]
    for process in processes:
        process.start()
    barrier.wait(SECONDS)
    return processes


def append(path, index):
    """Appends some entries, large enough to take a while, and notes each that is in."""
    for number in range(EACH):
        run_id = '%d.%d' % (index, number)
        append_entry(path, {'run_id': run_id, 'history': np.random.RandomState(index).uniform(
            size=(500, 10))})
        with open(os.path.join(os.path.dirname(path), 'done.%s' % run_id), 'w'):
            pass


def lost_entries(folder, killed):
    """(entries noted as written, how many of them are not in the file):
    some of the processes are killed on the way."""
    path = os.path.join(folder, 'x.mat')
    write_published(path)
    processes = at_once(APPENDERS, lambda index: append(path, index))
    for process in draws.sample(processes, killed):
        time.sleep(draws.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
    for process in processes:
        process.join()
    noted = {name[len('done.'):] for name in os.listdir(folder) if name.startswith('done.')}
    assert len(noted) == APPENDERS * EACH or killed, 'only %d entries were appended' % len(noted)
    found = [entry.get('run_id') for entry in entries(path)]
    assert found[0] is None and len(found) == len(set(found)) <= 1 + len(noted) + killed, found
    append_entry(path, {'run_id': 'last'})       # no lock was left behind
    left = {name for name in os.listdir(folder) if not name.startswith('done.')} - {'x.mat', '.x.mat.lock'}
    assert not left, 'left behind: %s' % left
    return len(noted), len(noted - set(found))


def decodings(folder, killed):
    """How often a data set was decoded to the end by many processes at once, the first ones killed in the
    midst."""
    images, _ = data_files.mnist(folder, 30, 5)
    decode = readers.MNIST.decode

    def noted(data_dir, say):
        begun = len([name for name in os.listdir(folder) if name.startswith('begun.')])
        open(os.path.join(folder, 'begun.%d' % os.getpid()), 'w').close()
        if begun < killed:
            os.kill(os.getpid(), signal.SIGKILL)
        found = decode(data_dir, say)
        time.sleep(0.2)
        open(os.path.join(folder, 'decoded.%d' % os.getpid()), 'w').close()
        return found

    def prepare(index):
        said = []
        assert np.array_equal(readers.MNIST.images(folder, said.append), images)
        assert all('waiting for it' in line for line in said), said
    readers.MNIST.decode = noted
    try:
        processes = at_once(PREPARERS, prepare)
        for process in processes:
            process.join()
    finally:
        del readers.MNIST.decode
    assert sorted(process.exitcode for process in processes) == [-9] * killed + [0] * (PREPARERS - killed)
    left = [name for name in os.listdir(os.path.join(folder, 'cache'))
            if not name.endswith(('.npy', '.lock', '.json'))]
    assert not left, 'left behind: %s' % left
    return len([name for name in os.listdir(folder) if name.startswith('decoded.')])


def table():
    """(text, how much was lost or done twice)."""
    lines, wrong = ['| at once | killed | done | lost, or done twice |', '|---|---|---|---|'], 0
    for killed in (0, APPENDERS // 2):
        folder = tempfile.mkdtemp()
        noted, lost = lost_entries(folder, killed)
        shutil.rmtree(folder)
        lines.append('| %d processes append %d entries each to one `.mat` | %d | %d entries | %d |' % (
            APPENDERS, EACH, killed, noted, lost))
        wrong += lost
    for killed in (0, 2):
        folder = tempfile.mkdtemp()
        times = decodings(folder, killed)
        shutil.rmtree(folder)
        lines.append('| %d processes prepare one data set | %d | %d preparation | %d |' % (
            PREPARERS, killed, times, times - 1))
        wrong += times - 1
    return '\n'.join(lines), wrong


def command_line():
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--without', choices=('none', 'half', 'all'), default='none',
                        help='locks of the system')
    flags = parser.parse_args()
    WITHOUT[0] = ('none', 'half', 'all').index(flags.without)
    if WITHOUT[0] and not no_locks.preloaded():      # that is possible at the start of a process only
        with tempfile.TemporaryDirectory() as folder:
            return subprocess.call([sys.executable, '-m', 'tests.faults.many'] + sys.argv[1:],
                                   env=dict(os.environ, **no_locks.preloading(no_locks.library(folder))))
    text, wrong = table()
    print(text)
    return 1 if wrong else 0


if __name__ == '__main__':
    try:
        sys.exit(command_line())
    except no_locks.NoCompiler as problem_:
        print('skipped, no C compiler: %s' % problem_)
