"""A disk that is really full, and one that cannot be written: a small tmpfs, which only root may mount.

    python -m tests.faults.disk       prints a table; the exit status is 1 if anything was lost

Part of `make soak`. Where nothing may be mounted it says so; `soak.py` has another full disk.
"""
import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import numpy as np  # noqa: E402

from tests.faults.soak import Victim, import_what_takes_long  # noqa: E402
from tests.support import data_files  # noqa: E402
from tests.support.result_files import same_entry, same_result  # noqa: E402

MEGABYTES, EPOCHS, MODEL = 2, 3, 'HPS'
FULL_ROUNDS, MAX_FREE = 6, 60000          # bytes that are free when the last round begins: up to so many
# a data set that is cached
MNIST = ['--data_type', 'MNIST5', '--data_percent', '1', '--epochs_per_task', '1']


class NotPermitted(Exception):
    """Nothing can be mounted here."""


def _mount(*words):
    done = subprocess.run(('mount',) + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise NotPermitted(done.stderr.decode().strip())


@contextlib.contextmanager
def small_disk(folder):
    """A tmpfs on a new folder.

    Raises:
        NotPermitted.
    """
    folder.mkdir()
    try:
        _mount('-t', 'tmpfs', '-o', 'size=%dm' % MEGABYTES, 'tmpfs', str(folder))
    except OSError as problem:          # no such program
        raise NotPermitted(str(problem)) from problem
    try:
        yield folder
    finally:
        subprocess.check_call(['umount', str(folder)])


def on(disk, folder):
    """A run with its results on a disk; what it says is elsewhere."""
    run = Victim(disk / 'run', MODEL, EPOCHS, forked=True)
    run.folder.mkdir()
    run.said_at = folder / 'said.txt'
    return run


def refused(run, status, words):
    """Asserts that a run said in one line what is wrong, and left with a status."""
    assert (run.wait(), len(run.errors())) == (status, 1) and words in run.errors()[0], run.said


def full_disk(folder, calm, draws):
    """Rounds in which the disk had too little room for the run to finish."""
    struck = 0
    with small_disk(folder / 'full') as disk:
        run = on(disk, folder)
        for number in range(FULL_ROUNDS):
            room = os.statvfs(str(disk))
            free = draws.randrange((number + 1) * MAX_FREE // FULL_ROUNDS)
            with open(str(disk / 'ballast'), 'wb') as ballast:
                ballast.write(b'\0' * max(0, room.f_bavail * room.f_frsize - free))
            if run.start().wait() == 0:
                (disk / 'ballast').unlink()
                break
            struck += 1
            assert run.parent.returncode in (1, 2), run.said
            assert len(run.errors()) == 1 and 'No space left' in run.errors()[0], run.said
            (disk / 'ballast').unlink()
        assert run.start().wait() == 0, run.said
        same_result(run, calm)
    assert struck, 'the disk never was full'
    return struck


def read_only_results(folder, calm):
    """Rounds in which results could not be written: before the first start, and after a kill."""
    with small_disk(folder / 'locked') as disk:
        run = on(disk, folder)
        for number in range(2):
            _mount('-o', 'remount,ro', str(disk))
            refused(run.start(), 2, 'cannot be written: Read-only file system')
            _mount('-o', 'remount,rw', str(disk))
            if not number:
                run.start(stage='training', visit=2, delay=0, what='SIGKILL', whom=('trial',))
                assert run.wait() == 1, run.said
        assert run.start().wait() == 0, run.said
        same_result(run, calm)
    return 2


def data(folder):
    """The entries of runs on a data set: with a cache, without one, and with that of another version."""
    entries = []

    def trained(name, *words):
        run = Victim(folder / name, MODEL, EPOCHS, forked=True)
        run.options += MNIST + ['--data_dir', str(place)]
        assert run.start().wait() == 0, run.said
        assert all(word in run.said for word in words) and 'Traceback' not in run.said, run.said
        entries.append(run)
    with small_disk(folder / 'data') as place:
        data_files.mnist(place)
        _mount('-o', 'remount,ro', str(place))
        trained('without', 'the images are decoded anew each time')
        _mount('-o', 'remount,rw', str(place))
        trained('made')
        cache, = (place / 'cache').glob('*.npy')
        images = np.load(str(cache))
        np.save(str(cache), images)                 # as before there was a checksum behind the pixels
        trained('older')
        np.save(str(cache), images[..., 0])         # of another shape
        trained('other')
    for run in entries[1:]:
        same_entry(run.entry(), entries[0].entry())
    return len(entries) - 1


def table():
    """Text: a row per fault. A loss is an AssertionError."""
    import_what_takes_long()
    place = pathlib.Path(tempfile.mkdtemp())
    try:
        calm = Victim(place / 'calm', MODEL, EPOCHS, forked=True)
        assert calm.start().wait() == 0, calm.said
        rows = [('full disk (tmpfs)', full_disk(place, calm, random.Random(0))),
                ('read-only results (tmpfs)', read_only_results(place, calm)),
                ('read-only data, cache of another version', data(place))]
    finally:
        shutil.rmtree(str(place))
    return '\n'.join(['| fault | rounds | losses |', '|---|---|---|']
                     + ['| %s | %d | 0 |' % row for row in rows])


if __name__ == '__main__':
    try:
        print(table())
    except NotPermitted as problem_:
        print('no small disk can be mounted here: %s' % problem_)
